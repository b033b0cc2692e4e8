/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ledger is read at the start: what the database lost, or has in an older state, is taken from
 * it. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct mute *, mute_free)

struct import {
    struct contents *contents;
    struct baselines *baselines;
    struct acknowledgements acknowledgements;
    struct mute **mutes;        /* that hold */
    size_t n_mutes;
};

static int take_baseline(struct import *import, json_object *object)
{
    struct baseline *baseline, *before;
    int r = baseline_from_json(object, &baseline);

    if (r < 0)
        return r;
    before = baselines_find(import->baselines, &baseline->identity);
    if (before)
        baselines_remove(import->baselines, before);
    r = baselines_add(import->baselines, baseline);
    if (r < 0)
        baseline_free(baseline);
    return r;
}

static const char *text_of(json_object *object, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(object, key, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value)
               : NULL;
}

static bool number_of(json_object *object, const char *key, json_object **ret_value)
{
    return json_object_object_get_ex(object, key, ret_value) &&
           json_object_is_type(*ret_value, json_type_int);
}

static int take_forgotten(struct import *import, json_object *object)
{
    json_object *fsid, *inode, *btime;
    struct identity identity;
    struct baseline *baseline;

    if (!json_object_is_type(object, json_type_object) || !number_of(object, "fsid", &fsid) ||
        !number_of(object, "inode", &inode) || !number_of(object, "btime", &btime))
        return -EBADMSG;
    identity = (struct identity){ json_object_get_uint64(fsid), json_object_get_uint64(inode),
                                  json_object_get_int64(btime) };
    baseline = baselines_find(import->baselines, &identity);
    if (baseline)
        baselines_remove(import->baselines, baseline);
    return 0;
}

static int take_acknowledgement(struct import *import, json_object *object)
{
    const char *finding = NULL, *kind = NULL, *subject = NULL, *by = NULL, *reason = NULL,
               *severity = NULL;
    json_object *until, *weight;
    struct acknowledgement *ack;

    if (json_object_is_type(object, json_type_object)) {
        finding = text_of(object, "finding");
        kind = text_of(object, "kind");
        subject = text_of(object, "subject");
        by = text_of(object, "by");
        reason = text_of(object, "reason");
        severity = text_of(object, "severity");
    }
    if (!finding || !kind || !subject || !by || !reason || !severity ||
        !number_of(object, "until", &until) || !number_of(object, "weight", &weight))
        return -EBADMSG;
    (void)acknowledged_take_out(&import->acknowledgements, finding, kind, subject);
    ack = calloc(1, sizeof(*ack));
    if (!ack)
        return -ENOMEM;
    *ack = (struct acknowledgement){
        .finding = strdup(finding), .kind = strdup(kind),
        .subject = strdup(subject), .by = strdup(by), .reason = strdup(reason),
        .severity = strdup(severity),
        .until = json_object_get_uint64(until), .weight = json_object_get_uint64(weight),
    };
    if (!ack->finding || !ack->kind || !ack->subject || !ack->by || !ack->reason ||
        !ack->severity) {
        acknowledged_free(ack);
        return -ENOMEM;
    }
    LIST_INSERT_HEAD(&import->acknowledgements, ack, link);
    return 0;
}

static int take_ended(struct import *import, json_object *object)
{
    const char *finding = NULL, *kind = NULL, *subject = NULL;

    if (json_object_is_type(object, json_type_object)) {
        finding = text_of(object, "finding");
        kind = text_of(object, "kind");
        subject = text_of(object, "subject");
    }
    if (!finding || !kind || !subject)
        return -EBADMSG;
    (void)acknowledged_take_out(&import->acknowledgements, finding, kind, subject);
    return 0;
}

static int copy_text(json_object *object, const char *key, char **ret_copy)
{
    const char *text = text_of(object, key);

    *ret_copy = text ? strdup(text) : NULL;
    return text && !*ret_copy ? -ENOMEM : 0;
}

static int mute_from_json(json_object *object, struct mute **ret_mute)
{
    _cleanup_(mute_freep) struct mute *mute = calloc(1, sizeof(*mute));
    json_object *id, *made, *until;

    if (!mute || copy_text(object, "finding", &mute->finding) < 0 ||
        copy_text(object, "path", &mute->path) < 0 ||
        copy_text(object, "class", &mute->class) < 0 || copy_text(object, "by", &mute->by) < 0 ||
        copy_text(object, "reason", &mute->reason) < 0)
        return -ENOMEM;
    if (!number_of(object, "id", &id) || !number_of(object, "made", &made) ||
        !number_of(object, "until", &until) || !mute->by || !mute->reason ||
        json_object_get_int64(id) <= 0)
        return -EBADMSG;
    mute->id = json_object_get_int64(id);
    mute->made = json_object_get_uint64(made);
    mute->until = json_object_get_uint64(until);
    mute->changed = true;       /* the database does not have it */
    *ret_mute = TAKE_PTR(mute);
    return 0;
}

/* Another word of the same one takes its place. */
static int take_mute(struct import *import, json_object *object)
{
    _cleanup_(mute_freep) struct mute *mute = NULL;
    json_object *ended;
    struct mute **mutes;
    size_t n = 0;
    int r;

    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, "ended", &ended))
        return -EBADMSG;
    r = mute_from_json(object, &mute);
    if (r < 0)
        return r;
    for (size_t i = 0; i < import->n_mutes; i++)
        if (import->mutes[i]->id == mute->id)
            mute_free(import->mutes[i]);
        else
            import->mutes[n++] = import->mutes[i];
    import->n_mutes = n;
    if (json_object_get_boolean(ended))
        return 0;
    mutes = reallocarray(import->mutes, n + 1, sizeof(*mutes));
    if (!mutes)
        return -ENOMEM;
    mutes[import->n_mutes++] = TAKE_PTR(mute);
    import->mutes = mutes;
    return 0;
}

static int on_entry(void *userdata, json_object *entry)
{
    json_object *object;

    if (json_object_object_get_ex(entry, "baseline", &object))
        return take_baseline(userdata, object);
    if (json_object_object_get_ex(entry, "forgotten", &object))
        return take_forgotten(userdata, object);
    if (json_object_object_get_ex(entry, "acknowledged", &object))
        return take_acknowledgement(userdata, object);
    if (json_object_object_get_ex(entry, "ended", &object))
        return take_ended(userdata, object);
    if (json_object_object_get_ex(entry, "mute", &object))
        return take_mute(userdata, object);
    return 0;                   /* of a newer program */
}

/* Restores baselines that the database lost, or has in an older state. */
static int merge_one(void *userdata, struct baseline *baseline)
{
    struct import *import = userdata;
    struct contents *contents = import->contents;
    struct baseline *known = baselines_find(contents->baselines, &baseline->identity), *copy = NULL;
    json_object *object = NULL;
    int r;

    if (known && (known->since > baseline->since ||
                  (known->since == baseline->since && known->verified >= baseline->verified)))
        return 0;
    r = baseline_to_json(baseline, &object);
    if (r >= 0)
        r = baseline_from_json(object, &copy);
    json_object_put(object);
    if (r < 0)
        return r;
    if (known)
        baselines_remove(contents->baselines, known);
    r = baselines_add(contents->baselines, copy);
    if (r < 0) {
        baseline_free(copy);
        return r;
    }
    contents->imported++;
    return 0;
}

static int count_missing(void *userdata, struct baseline *baseline)
{
    struct import *import = userdata;

    if (!baselines_find(import->baselines, &baseline->identity))
        import->contents->anew = true;
    return 0;
}

static void tell_report(struct contents *contents, const char *path,
                        const struct ledger_report *report)
{
    if (report->torn) {
        log_notice(0, "%s: its last line was not written to its end, and is left out", path);
        (void)ledger_cut(path, report->end);
    }
    if (report->damaged > 0) {
        log_error(-EBADMSG, "%s: %llu damaged line%s, the first is line %llu: left out", path,
                  (unsigned long long)report->damaged, report->damaged == 1 ? "" : "s",
                  (unsigned long long)report->first_damaged);
        damage_tell(contents, "the journal of baselines (%llu line%s, first line %llu)",
                    (unsigned long long)report->damaged, report->damaged == 1 ? "" : "s",
                    (unsigned long long)report->first_damaged);
        contents->anew = true;  /* the next one is sound */
    }
}

/* Before anything else is written: the damaged lines are looked at by somebody, perhaps. */
static void keep_damaged(const char *path)
{
    _cleanup_free_ char *aside = NULL;

    if (asprintf(&aside, "%s.damaged", path) < 0) {
        aside = NULL;
        return;
    }
    if (rename(path, aside) < 0)
        log_warning(-errno, "Cannot rename %s: %m", path);
}

/* Mutes are in the database, where there is one. */
static void merge_mutes(struct import *import, bool first)
{
    struct contents *contents = import->contents;
    size_t n = 0;

    for (size_t i = 0; i < import->n_mutes; i++) {
        int r;

        if (!first) {
            mute_free(import->mutes[i]);
            continue;
        }
        r = contents->ops->mute(contents->userdata, import->mutes[i]);
        n += r >= 0;
        if (r < 0)
            log_error(r, "Cannot take a mute from the journal: %m");
    }
    if (n > 0)
        log_notice(0, "%zu mute%s taken from the journal, which the database does not have", n,
                   n == 1 ? "" : "s");
    free(import->mutes);
}

int ledger_load(struct contents *contents, bool first)
{
    struct import import = { .contents = contents };
    struct acknowledgement *ack;
    _cleanup_free_ char *path = ledger_path(contents);
    _cleanup_fclose_ FILE *file = NULL;
    struct ledger_report report = { .entries = 0 };
    int r = path ? baselines_new(&import.baselines) : -ENOMEM;

    if (r < 0)
        return r;
    file = state_file_open(path);
    if (file)
        r = ledger_read(file, on_entry, &import, &report);
    else if (errno != ENOENT)
        r = -errno;
    if (r < 0 && !state_error_passes(r)) {      /* else its content must not be lost for that */
        log_error(r, "Cannot read %s: %m", path);
        damage_tell(contents, "the journal of baselines (%s)", strerror(-r));
        contents->anew = true;
        keep_damaged(path);
        r = 0;
    } else if (r >= 0) {
        tell_report(contents, path, &report);
        if (report.damaged > 0)
            keep_damaged(path);
    }
    if (r >= 0)
        r = baselines_each(import.baselines, merge_one, &import);
    if (r >= 0)
        r = baselines_each(contents->baselines, count_missing, &import);
    if (r >= 0 && contents->imported > 0)
        log_notice(0, "%zu baseline%s taken from the journal, which the database does not have",
                   contents->imported, contents->imported == 1 ? "" : "s");
    /* Acknowledgements are in the database, where there is one; else they wait for their
     * findings. */
    while ((ack = LIST_FIRST(&import.acknowledgements))) {
        LIST_REMOVE(ack, link);
        ack->pending = first;
        LIST_INSERT_HEAD(&contents->acknowledgements, ack, link);
    }
    merge_mutes(&import, first);
    if (r >= 0 && contents->anew)
        ledger_write_anew(contents);
    baselines_free(import.baselines);
    return r;
}
