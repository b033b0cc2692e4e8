/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as an archive of evidence. Its digests are a simple sum here, so that inputs reach what
 * lies behind them. */
#include <string.h>

#include "fuzz.h"
#include "helpers/bundle.h"
#include "lib/cleanup.h"

static int sum(const void *data, size_t size, uint8_t ret_digest[32])
{
    const uint8_t *bytes = data;
    uint32_t value = 1;

    for (size_t i = 0; i < size; i++)
        value = value * 31 + bytes[i];
    memset(ret_digest, 0, 32);
    memcpy(ret_digest, &value, sizeof(value));
    return 0;
}

/* Nothing that leads anywhere when somebody unpacks it. */
static void demand_plain(const char *name)
{
    if (strlen(name) > TAR_NAME_MAX || name[0] == '/' || name[0] == '.' || strstr(name, "/.") ||
        strstr(name, "//") || strpbrk(name, " \n\t\x1b\\"))
        abort();
}

static void on_problem(void *userdata, const char *name, enum bundle_problem problem)
{
    if (problem != BUNDLE_MISSING)
        demand_plain(name);
    ++*(size_t *)userdata;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bundle bundle;
    struct qca_io *io;
    size_t problems = 0;

    if (size > FUZZ_INPUT_MAX || qca_io_new_memory(data, size, &io) < 0)
        return 0;
    if (bundle_read(io, sum, on_problem, &problems, &bundle) >= 0)
        for (size_t i = 0; i < bundle.n; i++) {
            const struct bundle_member *member = &bundle.members[i];
            _cleanup_free_ char *text = NULL;

            demand_plain(member->name);
            if (member->place.offset + member->place.size > size)
                abort();
            if (bundle_data(io, member, &text) < 0)
                abort();
            if (problems == 0 && bundle_find(&bundle, member->name) != member)
                abort();
        }
    bundle_done(&bundle);
    qca_io_free(io);
    return 0;
}
