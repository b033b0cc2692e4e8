/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mutes: made and removed by administrators, kept in the database and in the ledger, and logged. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

static int refuse(char **ret_message, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(char **ret_message, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(ret_message, format, arguments) < 0)
        *ret_message = NULL;
    va_end(arguments);
    return -EINVAL;
}

static bool has_class(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->n_classes; i++)
        if (strcmp(policy->classes[i].name, name) == 0)
            return true;
    return false;
}

int mutes_make(struct manager *manager, struct mute *mute, int64_t *ret_id, control_done_fn reply,
               void *reply_userdata, char **ret_message)
{
    const struct finding *finding = findings_by_id(manager->findings, mute->finding_id);
    uint64_t now = manager_now(manager);
    int r;

    if (mute->class && !has_class(&manager->config->policy, mute->class)) {
        _cleanup_free_ char *shown = text_escape_string(mute->class);

        return refuse(ret_message, "The configuration has no class \"%s\"", shown ?: "");
    }
    if (mute->finding_id != 0 && (!finding || finding->state == FINDING_RESOLVED))
        return refuse(ret_message, "There is no finding %lld that is not resolved",
                      (long long)mute->finding_id);
    if (mute->until != 0 && mute->until <= now)
        return refuse(ret_message, "The time until which it is to be muted is over already");
    mute->made = now;
    r = mutes_add(findings_mutes(manager->findings), mute);
    if (r == -E2BIG)
        return refuse(ret_message, "There are %d mutes already: remove one first", MUTES_MAX);
    if (r < 0)
        return r;
    *ret_id = mute->id;
    keep_answer(manager, reply, reply_userdata);
    judge_now(manager);
    return 0;
}

int mutes_unmake(struct manager *manager, int64_t id, const char *by, control_done_fn reply,
                 void *reply_userdata)
{
    int r = mutes_remove(findings_mutes(manager->findings), id, by, manager_now(manager));

    if (r < 0)
        return r == -EALREADY ? -ENOENT : r;
    keep_answer(manager, reply, reply_userdata);
    judge_now(manager);
    return 0;
}

/* "finding chain-deep, path /srv/lab/<*>, class lab, number 17": what it asks for. */
static int criteria_text(const struct mute *mute, char **ret_text)
{
    _cleanup_free_ char *path = mute->path ? text_escape_string(mute->path) : NULL;
    char number[32] = "";

    if (mute->path && !path)
        return -ENOMEM;
    if (mute->finding_id > 0)
        (void)snprintf(number, sizeof(number), ", number %lld", (long long)mute->finding_id);
    return asprintf(ret_text, "%s%s%s%s%s%s%s", mute->finding ? ", finding " : "",
                    mute->finding ?: "", path ? ", path " : "", path ?: "",
                    mute->class ? ", class " : "", mute->class ?: "", number) < 0 ? -ENOMEM : 0;
}

/* The caller counted from a moment before. */
static int log_mute(const struct mute *mute)
{
    _cleanup_free_ char *criteria = NULL, *by = text_escape_string(mute->by),
                        *reason = text_escape_string(mute->reason),
                        *ended_by = text_escape_string(mute->ended_by ?: "");
    char lasts[TEXT_DURATION_MAX] = "";
    const char *what;
    int r = by && reason && ended_by ? criteria_text(mute, &criteria) : -ENOMEM;

    if (r < 0)
        return r;
    what = criteria + strlen(", ");
    if (mute->until > mute->made)
        (void)text_duration(mute->until - mute->made + USEC_PER_SEC / 2, lasts);
    if (mute->ended == 0)
        log_notice(0, "Mute %lld by %s, %s%s: %s (%s)", (long long)mute->id, by,
                   *lasts ? "for " : "without end", lasts, reason, what);
    else if (mute->ended_by)
        log_notice(0, "Mute %lld was removed by %s (%s; made by %s: %s)", (long long)mute->id,
                   ended_by, what, by, reason);
    else
        log_notice(0, "Mute %lld has ended, its time is over (%s; made by %s: %s)",
                   (long long)mute->id, what, by, reason);
    return 0;
}

static int keep_mute(void *userdata, struct mute *mute)
{
    struct manager *manager = userdata;
    struct round *round;
    int r;

    if (!mute->changed)
        return 0;
    round = keep_round(manager);
    r = round ? store_batch_mute(round->batch, mute) : -ENOMEM;
    if (r < 0)
        return r;
    mute->changed = false;
    contents_mute(manager->contents, mute);
    return log_mute(mute);
}

void mutes_keep(struct manager *manager)
{
    int r = mutes_each(findings_mutes(manager->findings), keep_mute, manager);

    if (r < 0)
        log_error(r, "Cannot keep a mute: %m");
}
