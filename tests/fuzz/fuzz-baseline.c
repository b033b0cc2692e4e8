/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as a file of block digests, and as a journal of baselines: refused, or read to their
 * end within their bounds. */
#include <stdlib.h>
#include <string.h>

#include "daemon/contents/baseline.h"
#include "daemon/contents/ledger.h"
#include "fuzz.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

static void blocks(FILE *file)
{
    struct blocks_difference difference;
    struct blocks_header header;
    uint64_t next, end;
    size_t bad;

    if (blocks_partial_end(file, &header, &next, &end) == 0 && next > INT64_MAX / QCA_BLOCK_SIZE)
        abort();
    /* with itself, there is no difference */
    if (blocks_compare(file, file, true, file, NULL, 0, &difference, &bad) == 0 &&
        difference.bytes > INT64_MAX)
        abort();
}

static int on_entry(void *userdata, json_object *entry)
{
    struct baseline *baseline = NULL;
    _cleanup_(json_object_putp) json_object *again = NULL;
    json_object *object;

    if (!json_object_object_get_ex(entry, "baseline", &object) ||
        baseline_from_json(object, &baseline) < 0)
        return 0;
    if (baseline_to_json(baseline, &again) < 0)
        abort();
    baseline_free(baseline);
    /* what was understood is written, and understood again */
    if (baseline_from_json(again, &baseline) < 0)
        abort();
    baseline_free(baseline);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ledger_report report;
    _cleanup_fclose_ FILE *file = NULL;

    if (size == 0 || size > FUZZ_INPUT_MAX)
        return 0;
    file = fmemopen((void *)(uintptr_t)data, size, "r");
    if (!file)
        abort();
    blocks(file);
    rewind(file);
    if (ledger_read(file, on_entry, NULL, &report) == 0 && report.end > size)
        abort();
    return 0;
}
