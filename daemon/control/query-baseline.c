/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of contents: the baseline of an image, and what deviates from it. */
#include <errno.h>
#include <string.h>

#include "daemon/control/query-internal.h"
#include "helpers/hex.h"

static void put_digest(struct row *row, const char *key, const uint8_t digest[static 32])
{
    char text[65];

    hex_encode(digest, 32, text);
    row_string(row, key, text);
}

static int ranges_rows(const struct deviation *deviation, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < deviation->n_ranges; i++) {
        struct row row;
        int r;

        row_begin(&row);
        row_number(&row, "guest-offset", deviation->ranges[i].offset);
        row_number(&row, "guest-length", deviation->ranges[i].length);
        r = rows_end(rows, &row);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static void put_deviation(const struct deviation *deviation, struct row *row)
{
    json_object *ranges = NULL;
    int r;

    row_number(row, "found", deviation->found);
    row_number(row, "read", deviation->read);
    if (deviation->verdict != READING_INCOMPLETE)
        put_digest(row, "digest-now", deviation->digest);
    row_error(row, "error", deviation->error);
    if (!deviation->located)
        return;
    row_number(row, "different-blocks", deviation->blocks);
    row_number(row, "different-bytes", deviation->bytes);
    r = ranges_rows(deviation, &ranges);
    row_result(row, "ranges", r, ranges);
    row_number(row, "ranges-total", deviation->ranges_total);
}

static const char *baseline_state(const struct baseline *baseline)
{
    return baseline->deviation ? reading_verdict_name(baseline->deviation->verdict) : "verified";
}

int baseline_row(const struct baseline *baseline, json_object **ret_row)
{
    struct row row;

    row_begin(&row);
    row_string(&row, "state", baseline_state(baseline));
    row_string(&row, "source", baseline_source_name(baseline->source));
    if (baseline->has_digest) {
        row_number(&row, "since", baseline->since);
        row_number(&row, "verified", baseline->verified);
        put_digest(&row, "digest", baseline->digest);
        row_bool(&row, "encrypted", baseline->encrypted);
        row_number(&row, "zero-bytes", baseline->zeros);
    }
    row_bool(&row, "blocks", baseline->blocks);
    if (baseline->verity.algorithm) {
        char text[VERITY_TEXT_MAX];

        row_string(&row, "fs-verity", verity_text(&baseline->verity, text));
    }
    row_string(&row, "accepted-by", baseline->by);
    row_string(&row, "reason", baseline->reason);
    if (baseline->deviation)
        put_deviation(baseline->deviation, &row);
    return row_end(&row, ret_row);
}

void put_baselines(const struct query_view *view, struct row *row)
{
    uint64_t n = 0, deviating = 0, oldest = UINT64_MAX;

    for (size_t i = 0; i < view->n_images; i++) {
        const struct baseline *baseline = view->images[i]->baseline;

        if (!baseline || !baseline->has_digest || baseline_source_is_loose(baseline->source))
            continue;
        n++;
        deviating += baseline->deviation != NULL;
        if (baseline->verified < oldest)
            oldest = baseline->verified;
    }
    row_number(row, "baselines", n);
    row_number(row, "baselines-deviating", deviating);
    if (n > 0)
        row_number(row, "verified-oldest", oldest);
}
