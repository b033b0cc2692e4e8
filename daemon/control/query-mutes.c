/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mutes as rows, and what of them a finding and the status show. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/control/query-internal.h"
#include "daemon/judge/judge.h"

/* The number of findings that each mute covers, by the mute's number. */
struct covering {
    int64_t id;
    uint64_t n;
};

struct mute_rows {
    const struct query_view *view;
    struct covering *covering;
    size_t n;
    json_object *rows;
};

static int count_mute(void *userdata, struct mute *mute)
{
    struct mute_rows *rows = userdata;
    struct covering *covering = reallocarray(rows->covering, rows->n + 1, sizeof(*covering));

    if (!covering)
        return -ENOMEM;
    rows->covering = covering;
    covering[rows->n++] = (struct covering){ .id = mute->id };
    return 0;
}

static int compare_coverings(const void *left, const void *right)
{
    const struct covering *a = left, *b = right;

    return a->id < b->id ? -1 : a->id > b->id;
}

static struct covering *covering_of(const struct mute_rows *rows, int64_t id)
{
    return rows->n == 0 ? NULL : bsearch(&(struct covering){ .id = id }, rows->covering, rows->n,
                                         sizeof(*rows->covering), compare_coverings);
}

static int count_finding(void *userdata, struct finding *finding)
{
    struct covering *covering = covering_of(userdata, finding->muted_by);

    if (covering && finding->state != FINDING_RESOLVED)
        covering->n++;
    return 0;
}

static int mute_row(void *userdata, struct mute *mute)
{
    const struct mute_rows *rows = userdata;
    const struct covering *covering = covering_of(rows, mute->id);
    struct row row;

    row_begin(&row);
    row_number(&row, "id", (uint64_t)mute->id);
    row_string(&row, "finding", mute->finding);
    row_string(&row, "path", mute->path);
    row_string(&row, "class", mute->class);
    if (mute->finding_id > 0)
        row_number(&row, "finding-id", (uint64_t)mute->finding_id);
    row_bool(&row, "all-images", mute_is_of_all_images(mute));
    row_string(&row, "made-by", mute->by);
    row_string(&row, "reason", mute->reason);
    row_number(&row, "made", mute->made);
    row_number(&row, "until", mute->until);
    row_bool(&row, "holds", mute_holds(mute, rows->view->now));
    row_number(&row, "ended", mute->ended);
    row_string(&row, "ended-by", mute->ended_by);
    row_number(&row, "findings", covering ? covering->n : 0);
    return rows_end(rows->rows, &row);
}

int query_mutes(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                char **ret_next)
{
    const struct mutes *mutes = findings_mutes(view->findings);
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    struct mute_rows all = { .view = view, .rows = rows };
    int r = rows ? mutes_each(mutes, count_mute, &all) : -ENOMEM;

    if (r >= 0)
        r = findings_each(view->findings, 0, count_finding, &all);
    if (r >= 0)
        r = mutes_each(mutes, mute_row, &all);
    free(all.covering);
    if (r < 0)
        return r;
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

void finding_mute(const struct query_view *view, const struct finding *finding, struct row *row)
{
    const struct mute *mute = mutes_get(findings_mutes(view->findings), finding->muted_by);

    if (finding->muted_by == 0 || finding->state == FINDING_RESOLVED)
        return;
    row_number(row, "muted-by", (uint64_t)finding->muted_by);
    row_string(row, "muted-severity", severity_name(finding->muted_severity));
    if (!mute)
        return;
    row_string(row, "muted-user", mute->by);
    row_string(row, "muted-reason", mute->reason);
    row_number(row, "muted-until", mute->until);
}

struct mute_sums {
    uint64_t now, holding;
    const struct mute *of_all;
};

static int sum_mute(void *userdata, struct mute *mute)
{
    struct mute_sums *sums = userdata;

    if (!mute_holds(mute, sums->now))
        return 0;
    sums->holding++;
    if (!sums->of_all && mute_is_of_all_images(mute))
        sums->of_all = mute;
    return 0;
}

void status_mutes(const struct query_view *view, struct row *row)
{
    struct mute_sums sums = { .now = view->now };

    (void)mutes_each(findings_mutes(view->findings), sum_mute, &sums);
    row_number(row, "mutes", sums.holding);
    if (sums.of_all)
        row_number(row, "mute-of-all-images", (uint64_t)sums.of_all->id);
}
