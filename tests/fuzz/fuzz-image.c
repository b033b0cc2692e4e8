/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as an image: opened, checked, digested, and as a chain whose parents are the same bytes, or none, with the
 * map of what its guest sees.
 *
 * Byte 111 of the input, padding that no reader of qcow2 looks at, says how: with little memory (many passes), without
 * vector instructions, as the beginning of a large sparse file, with digests. However it is checked, the counters must
 * be the same. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"
#include "lib/cleanup.h"
#include "qcaudit/qcaudit.h"

#define MEMORY_LIMIT (UINT64_C(16) * 1024 * 1024)
#define MEMORY_LIMIT_TIGHT (UINT64_C(2944) * 1024)     /* what a check needs at least, and little more */
#define SPARSE_SIZE (UINT64_C(576) * 1024 * 1024)

enum {
    MAX_DEPTH = 4,
    MAX_EXTENTS = 64,
    MAX_DIGESTED = 256 * 1024,  /* bytes of a disk */
    MODE_PLACE = 111,
    MODE_SCALAR = 1 << 0,
    MODE_TIGHT = 1 << 1,
    MODE_SPARSE = 1 << 2,
    MODE_DIGEST = 1 << 3,
    MODES = 1 << 4,
};

DEFINE_CLEANUP(struct qca_io *, qca_io_free)
DEFINE_CLEANUP(struct qca_image *, qca_image_free)
DEFINE_CLEANUP(struct qca_chain *, qca_chain_free)
DEFINE_CLEANUP(struct qca_map *, qca_map_free)

struct input {
    const uint8_t *data;
    size_t size;
    unsigned layers;
};

/* The same bytes, of another file each time, as often as the name is long; then the name's end says what happens: it is
 * refused, a file that was there before, or goes on up to the limit. */
static int resolve(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                   struct qca_file_id *ret_id)
{
    static const int errors[] = { -ENOENT, -EPERM, -EMEDIUMTYPE, -EACCES, -ELOOP, -EIO };
    struct input *input = userdata;
    size_t length = strlen(reference->name);
    unsigned last = length ? (uint8_t)reference->name[length - 1] % 16 : 0;

    if (input->layers == length % MAX_DEPTH && last < sizeof(errors) / sizeof(*errors))
        return errors[last];
    int r = qca_io_new_memory(input->data, input->size, ret_io);
    if (r < 0)
        return r;
    *ret_id = (struct qca_file_id){ .a = 1, .b = last == 6 ? 0 : ++input->layers };
    return 0;
}

static int input_io(const struct input *input, bool sparse, int *fd, struct qca_io **ret_io)
{
    if (!sparse)
        return qca_io_new_memory(input->data, input->size, ret_io);
    *fd = memfd_create("image", MFD_CLOEXEC);
    if (*fd < 0 || write(*fd, input->data, input->size) != (ssize_t)input->size ||
        ftruncate(*fd, SPARSE_SIZE) < 0)
        return -errno;
    return qca_io_new_fd(*fd, ret_io);
}

static int check(struct qca_image *image, unsigned mode, struct qca_check_result *result)
{
    const struct qca_check_options options = {
        .memory_limit = mode & MODE_TIGHT ? MEMORY_LIMIT_TIGHT : MEMORY_LIMIT,
        .max_issues = 50,
        .scalar_only = mode & MODE_SCALAR,
        .deep = true,
        .data_file_size = qca_image_info(image)->file_size,
    };

    return qca_check(image, &options, result);
}

/* What does not depend on how the check was done. */
static bool same(const struct qca_check_result *a, const struct qca_check_result *b)
{
    return a->corruptions == b->corruptions && a->leaks == b->leaks && a->check_errors == b->check_errors &&
           a->image_end_offset == b->image_end_offset && a->total_clusters == b->total_clusters &&
           a->allocated_clusters == b->allocated_clusters && a->compressed_clusters == b->compressed_clusters &&
           a->fragmented_clusters == b->fragmented_clusters && a->leak_runs == b->leak_runs &&
           a->burst_leaks == b->burst_leaks && memcmp(a->kind_count, b->kind_count, sizeof(a->kind_count)) == 0;
}

static void check_all(struct qca_image *image, unsigned mode)
{
    _cleanup_(qca_check_result_done) struct qca_check_result plain = { 0 }, other = { 0 };

    if (check(image, 0, &plain) < 0 || !(mode & (MODE_SCALAR | MODE_TIGHT)))
        return;
    if (check(image, mode, &other) == 0 && plain.finished && other.finished && !same(&plain, &other))
        abort();
}

/* What the extents promise is true of each, and its bytes can be had or there is a reason. */
static void check_extent(struct qca_map *map, const struct qca_extent *extent, uint64_t offset, size_t depth)
{
    uint8_t bytes[512];
    size_t size = extent->length < sizeof(bytes) ? extent->length : sizeof(bytes);
    int r = qca_map_read(map, extent, extent->length - size, bytes, size);

    if (extent->guest_offset != offset || extent->length == 0 || extent->length > qca_map_size(map) - offset ||
        extent->layer >= depth || !qca_extent_kind_name(extent->kind) ||
        (extent->kind == QCA_EXTENT_DAMAGED) != (extent->error != 0) ||
        (extent->kind == QCA_EXTENT_DATA && extent->host_length != extent->length) ||
        (extent->kind == QCA_EXTENT_DAMAGED && r >= 0))
        abort();
}

/* Blocks are told in rising order, none twice. */
static void take_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32], bool unallocated)
{
    uint64_t *next = userdata;

    if (first < *next || n == 0 || (unallocated && digests))
        abort();
    *next = first + n;
}

/* The same with SHA-256 of our own and without. */
static void digest_content(struct qca_map *map)
{
    uint64_t next = 0;
    const struct qca_digest_options options = { .blocks = take_blocks, .userdata = &next, .libcrypto_only = true };
    struct qca_content_digest ours, theirs;

    if (qca_content_digest(map, NULL, &ours) < 0 || qca_content_digest(map, &options, &theirs) < 0)
        return;
    if (memcmp(ours.digest, theirs.digest, sizeof(ours.digest)) != 0 || ours.complete != theirs.complete ||
        ours.bad_bytes != theirs.bad_bytes || next * QCA_BLOCK_SIZE >= theirs.size + QCA_BLOCK_SIZE)
        abort();
}

static void map_chain(struct qca_chain *chain, const char *snapshot, bool digest)
{
    const struct qca_map_options options = { .memory_limit = MEMORY_LIMIT, .snapshot = snapshot };
    _cleanup_(qca_map_freep) struct qca_map *map = NULL;
    struct qca_extent extent;
    struct qca_error error;
    uint64_t offset = 0;

    if (qca_map_new(chain, &options, &error, &map) < 0)
        return;
    for (unsigned i = 0; i < MAX_EXTENTS && qca_map_next(map, offset, &extent) > 0; i++) {
        check_extent(map, &extent, offset, qca_chain_depth(chain));
        offset += extent.length;
    }
    if (digest && qca_map_size(map) <= MAX_DIGESTED)
        digest_content(map);
}

static void follow_chain(struct qca_image *image, struct input *input, bool digest)
{
    const struct qca_chain_options options = { .max_depth = MAX_DEPTH, .memory_limit = MEMORY_LIMIT, .id = { .a = 1 } };
    const struct qca_image_info *info = qca_image_info(image);
    _cleanup_(qca_chain_freep) struct qca_chain *chain = NULL;
    struct qca_error error;

    if (qca_chain_open(image, &options, resolve, input, &error, &chain) < 0)
        return;
    map_chain(chain, NULL, digest);
    if (info->n_snapshots > 0)
        map_chain(chain, info->snapshots[info->n_snapshots - 1].name, digest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct qca_open_options options = { .memory_limit = MEMORY_LIMIT };
    unsigned mode = size > MODE_PLACE && data[MODE_PLACE] < MODES ? data[MODE_PLACE] : 0;
    struct input input = { data, size, 0 };
    struct qca_error error;
    struct qca_file_digest file;
    uint8_t digest[32];
    _cleanup_close_ int fd = -1;
    _cleanup_(qca_io_freep) struct qca_io *io = NULL;
    _cleanup_(qca_image_freep) struct qca_image *image = NULL;

    if (size > FUZZ_INPUT_MAX || input_io(&input, mode & MODE_SPARSE, &fd, &io) < 0)
        return 0;
    if (qca_image_open(io, &options, &error, &image) < 0)
        return 0;
    if (mode & MODE_DIGEST)
        qca_metadata_digest(image, digest);
    if ((mode & MODE_DIGEST) && !(mode & MODE_SPARSE))
        qca_file_digest(io, ~0U, NULL, &error, &file);
    check_all(image, mode);
    follow_chain(image, &input, mode & MODE_DIGEST);
    return 0;
}
