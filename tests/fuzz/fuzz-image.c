/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as an image: opened, digested, checked, and as a chain whose parents are the same bytes, or missing. */
#include <errno.h>

#include "fuzz.h"
#include "lib/cleanup.h"
#include "qcaudit/qcaudit.h"

#define MEMORY_LIMIT (UINT64_C(64) * 1024 * 1024)
#define DEPTH 8

DEFINE_CLEANUP(struct qca_io *, qca_io_free)
DEFINE_CLEANUP(struct qca_image *, qca_image_free)
DEFINE_CLEANUP(struct qca_chain *, qca_chain_free)

struct input {
    const uint8_t *data;
    size_t size;
    unsigned layers;
};

/* Each layer is the same bytes under another identity, up to DEPTH; then there is none. */
static int resolve(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                   struct qca_file_id *ret_id)
{
    struct input *input = userdata;

    if (input->layers == DEPTH)
        return -ENOENT;
    int r = qca_io_new_memory(input->data, input->size, ret_io);
    if (r < 0)
        return r;
    *ret_id = (struct qca_file_id){ 1, ++input->layers };
    return 0;
}

static void check(struct qca_image *image, bool scalar)
{
    const struct qca_check_options options = {
        .memory_limit = MEMORY_LIMIT, .max_issues = 100, .scalar_only = scalar,
    };
    struct qca_check_result result = { 0 };

    if (qca_check(image, &options, &result) >= 0)
        qca_check_result_done(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct qca_open_options options = { .memory_limit = MEMORY_LIMIT };
    const struct qca_chain_options chain_options = { .max_depth = DEPTH + 2, .memory_limit = MEMORY_LIMIT };
    struct input input = { data, size, 0 };
    struct qca_error error;
    uint8_t digest[32];
    _cleanup_(qca_io_freep) struct qca_io *io = NULL;
    _cleanup_(qca_image_freep) struct qca_image *image = NULL;
    _cleanup_(qca_chain_freep) struct qca_chain *chain = NULL;

    if (size > FUZZ_INPUT_MAX || qca_io_new_memory(data, size, &io) < 0)
        return 0;
    if (qca_image_open(io, &options, &error, &image) < 0)
        return 0;
    qca_metadata_digest(image, digest);
    check(image, false);
    check(image, true);
    qca_chain_open(image, &chain_options, resolve, &input, &error, &chain);
    return 0;
}
