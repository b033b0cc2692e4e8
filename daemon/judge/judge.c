/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge: what an audit can say at all, conditions and their evidence, and the daemon's own
 * state. */
#include "daemon/judge/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* ---- evidence ------------------------------------------------------------------------------- */

struct evidence evidence_new(void)
{
    json_object *object = json_object_new_object();

    return (struct evidence){ .object = object, .failed = !object };
}

struct evidence evidence_new_list(void)
{
    json_object *object = json_object_new_array();

    return (struct evidence){ .object = object, .failed = !object };
}

void evidence_done(struct evidence *evidence)
{
    json_object_put(evidence->object);
    *evidence = (struct evidence){ .object = NULL };
}

static void evidence_put(struct evidence *evidence, const char *key, json_object *value)
{
    if (evidence->failed)
        json_object_put(value);
    else
        evidence->failed = json_add(evidence->object, key, value) < 0;
}

void evidence_fields(struct evidence *evidence, const struct json_fields *fields, const void *base,
                     const char *const keys[])
{
    evidence->failed = evidence->failed ||
                       json_fields_show(fields, base, keys, evidence->object) < 0;
}

void evidence_number(struct evidence *evidence, enum evidence_number member, uint64_t value)
{
    evidence_put(evidence, evidence_number_key(member), json_object_new_uint64(value));
}

void evidence_issue_count(struct evidence *kinds, enum qca_issue_kind kind, uint64_t count)
{
    evidence_put(kinds, qca_issue_kind_name(kind), json_object_new_uint64(count));
}

void evidence_flag(struct evidence *evidence, enum evidence_flag member, bool value)
{
    evidence_put(evidence, evidence_flag_key(member), json_object_new_boolean(value));
}

static void put_escaped(struct evidence *evidence, enum evidence_text member, const char *escaped)
{
    evidence_put(evidence, evidence_text_key(member),
                 escaped ? json_object_new_string(escaped) : NULL);
}

void evidence_text(struct evidence *evidence, enum evidence_text member, const char *hostile)
{
    _cleanup_free_ char *escaped = NULL;

    if (!hostile)
        return;
    escaped = text_escape_string(hostile);
    put_escaped(evidence, member, escaped);
}

void evidence_value(struct evidence *evidence, enum evidence_part member, struct evidence *value)
{
    evidence->failed |= value->failed;
    evidence_put(evidence, evidence_part_key(member), TAKE_PTR(value->object));
}

void evidence_append(struct evidence *list, struct evidence *value)
{
    json_object *object = TAKE_PTR(value->object);

    list->failed |= value->failed;
    if (list->failed || json_object_array_add(list->object, object) < 0) {
        json_object_put(object);
        list->failed = true;
    }
}

/* ---- conditions ----------------------------------------------------------------------------- */

void conditions_done(struct conditions *conditions)
{
    for (size_t i = 0; i < conditions->n_items; i++)
        json_object_put(conditions->items[i].evidence);
    free(conditions->items);
    *conditions = (struct conditions){ .n_items = 0 };
}

void judgement_done(struct judgement *judgement)
{
    conditions_done(&judgement->conditions);
}

int judging_add(struct judging *judging, enum finding_type type, enum severity severity,
                uint64_t weight, struct evidence *evidence, const char *format, ...)
{
    struct conditions *conditions = &judging->judgement->conditions;
    _cleanup_free_ char *summary = NULL;
    struct condition *items;
    va_list arguments;
    int r;

    if (judging->thresholds->disabled[type]) {
        evidence_done(evidence);
        return 0;
    }
    va_start(arguments, format);
    r = vasprintf(&summary, format, arguments);
    va_end(arguments);
    if (r < 0) {
        summary = NULL;
        return -ENOMEM;
    }
    put_escaped(evidence, TEXT_SUMMARY, summary);
    if (evidence->failed)
        return -ENOMEM;
    /* Of one type the stronger word stands. */
    for (size_t i = 0; i < conditions->n_items; i++) {
        struct condition *other = &conditions->items[i];

        if (other->type != type)
            continue;
        if (severity < other->severity ||
            (severity == other->severity && weight <= other->weight)) {
            evidence_done(evidence);
            return 0;
        }
        json_object_put(other->evidence);
        conditions->n_items--;
        memmove(other, other + 1, (conditions->n_items - i) * sizeof(*other));
        break;
    }
    items = reallocarray(conditions->items, conditions->n_items + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    conditions->items = items;
    items[conditions->n_items++] = (struct condition){
        .type = type,
        .severity = severity,
        .confidence = judging->judgement->confidence,
        .evidence = TAKE_PTR(evidence->object),
        .weight = weight,
    };
    judging->judgement->judged[type] = true;
    return 0;
}

void judging_hold(struct judging *judging, enum finding_type type, uint64_t hold)
{
    struct conditions *conditions = &judging->judgement->conditions;

    if (conditions->n_items > 0 && conditions->items[conditions->n_items - 1].type == type)
        conditions->items[conditions->n_items - 1].hold = hold;
}

void judging_sure(struct judging *judging)
{
    static const enum confidence by_use[] = {
        [FILES_UNUSED] = CONFIDENCE_OFFLINE,
        [FILES_FROZEN] = CONFIDENCE_FROZEN,
        [FILES_WRITER] = CONFIDENCE_CONFIRMED,
    };

    judging->audit_confidence = judging->judgement->confidence;
    judging->judgement->confidence = by_use[graph_use(judging->graph, judging->image)];
}

void judging_unsure(struct judging *judging)
{
    judging->judgement->confidence = judging->audit_confidence;
}

const struct usage_entry *judging_branch_disk(const struct judging *judging,
                                              const struct image *image)
{
    for (uint32_t i = 0; image && i < judging->thresholds->chain_limit; i++) {
        struct usage usage = graph_image_usage(judging->graph, image);
        const struct relation *relation = graph_relation(judging->graph, image);
        const struct usage_entry *source = usage_source(&usage);

        if (source)
            return source;
        if (!relation || relation->n_children != 1)
            return NULL;
        image = graph_child(image, 0);
    }
    return NULL;
}

struct condition *judging_condition(const struct judging *judging, enum finding_type type)
{
    struct conditions *conditions = &judging->judgement->conditions;

    for (size_t i = 0; i < conditions->n_items; i++)
        if (conditions->items[i].type == type)
            return &conditions->items[i];
    return NULL;
}

bool judging_has(const struct judging *judging, enum finding_type type)
{
    return judging_condition(judging, type);
}

void judging_looked(struct judging *judging, enum finding_type type)
{
    judging->judgement->judged[type] = judging->judgement->sure[type] = true;
}

bool steps_reached(const struct steps *steps, uint64_t value, enum severity *ret_severity,
                   uint64_t *ret_step)
{
    const struct { enum severity severity; uint64_t step; } all[] = {
        { SEVERITY_CRITICAL, steps->critical },
        { SEVERITY_ERROR, steps->error },
        { SEVERITY_WARNING, steps->warning },
    };

    for (size_t i = 0; i < ELEMENTSOF(all); i++)
        if (all[i].step != UINT64_MAX && value >= all[i].step) {
            *ret_severity = all[i].severity;
            *ret_step = all[i].step;
            return true;
        }
    return false;
}

/* ---- images --------------------------------------------------------------------------------- */

/* Is there anything to judge: is it there, was it audited, and is what is known still reachable? */
static bool image_is_judged(const struct image *image)
{
    return image->present && image->audit && image->audit->report &&
           (!image->datastore || image->datastore->state != DATASTORE_OFFLINE);
}

static void judging_init(struct judging *judging, const struct policy *policy,
                         const struct graph *graph, const struct image *image,
                         const struct audit *last, uint64_t now, struct judgement *judgement)
{
    *judging = (struct judging){
        .policy = policy,
        .thresholds = policy_thresholds(policy, image->path),
        .graph = graph,
        .image = image,
        .relation = graph_relation(graph, image),
        .usage = graph_image_usage(graph, image),
        .last = last,
        .now = now,
        .judgement = judgement,
    };
    judging->layer = image_layer_in(image, &judging->layer_storage);
    if (judging->relation && judging->relation->deepest_leaf) {
        judging->leaf = judging->relation->deepest_leaf;
        judging->chain = graph_relation(graph, judging->leaf);
    }
    if (judgement) {
        judgement->confidence = image->audit->confidence;
        /* Of another host it is not known what it wrote meanwhile. */
        if (judgement->confidence > CONFIDENCE_CONFIRMED &&
            graph_vmware_use(graph, image) == FILES_WRITER)
            judgement->confidence = CONFIDENCE_CONFIRMED;
        judgement->audited = image->audit->finished;
        judgement->other_file = last && last->identity.inode != 0 &&
                                !identity_equal(&last->identity, &image->audit->identity);
    }
}

/* Damage of this kind is what a copy made before a repair is kept for. */
static bool type_is_of_metadata(enum finding_type type)
{
    switch (type) {
    case FINDING_METADATA_CORRUPT:
    case FINDING_CLUSTERS_LEAKED:
    case FINDING_LEAK_BURST:
    case FINDING_CORRUPT_BIT_SET:
    case FINDING_DIRTY_BIT_SET:
    case FINDING_IMAGE_TRUNCATED:
    case FINDING_SNAPSHOT_TABLE_BAD:
    case FINDING_BITMAP_BAD:
    case FINDING_BITMAP_IN_USE:
    case FINDING_COMPRESSED_CLUSTER_BAD:
        return true;
    default:
        return false;
    }
}

/* IMG.before-repair beside IMG is the copy that a remedy asks for, and is as damaged as IMG was:
 * that is told of IMG alone, and of the copy for information. copy-of: IMG. */
static int judge_copy(struct judging *judging)
{
    static const char suffix[] = ".before-repair";
    struct conditions *conditions = &judging->judgement->conditions;
    size_t length = strlen(judging->image->path), n = sizeof(suffix) - 1;
    _cleanup_free_ char *original = NULL, *shown = NULL;
    const struct image *image;

    if (length <= n || strcmp(judging->image->path + length - n, suffix) != 0)
        return 0;
    original = strndup(judging->image->path, length - n);
    shown = original ? text_escape_string(original) : NULL;
    if (!shown)
        return -ENOMEM;
    image = graph_find(judging->graph, original);
    if (!image || !image->present || (judging->relation && judging->relation->n_children > 0))
        return 0;
    for (size_t i = 0; i < conditions->n_items; i++) {
        struct condition *condition = &conditions->items[i];
        struct evidence evidence = { .object = condition->evidence };

        if (!type_is_of_metadata(condition->type))
            continue;
        condition->severity = SEVERITY_INFO;
        put_escaped(&evidence, TEXT_COPY_OF, shown);
        if (evidence.failed)
            return -ENOMEM;
    }
    return 0;
}

int judge_image(const struct policy *policy, const struct graph *graph, const struct image *image,
                const struct audit *last, uint64_t now, struct judgement *ret_judgement)
{
    struct judgement judgement = { .confidence = CONFIDENCE_RACY };
    struct judging judging;
    int r = 0;

    if (image_is_judged(image)) {
        judging_init(&judging, policy, graph, image, last, now, &judgement);
        r = judge_content(&judging);
        if (r >= 0)
            r = judge_copy(&judging);
        if (r >= 0 && judging.layer) {
            r = judge_header(&judging);
            if (r >= 0)
                r = judge_chain(&judging);
            if (r >= 0)
                r = judge_safety(&judging);
            if (r >= 0)
                r = judge_integrity(&judging);
        }
        judging_sure(&judging);
        /* An audit says nothing about these. */
        for (enum finding_type type = 0; type < _FINDING_MAX; type++)
            if (finding_definition(type)->basis == BASIS_LIBVIRT)
                judgement.judged[type] = false;
        if (r >= 0)
            r = judge_use(&judging);
        if (r >= 0 && judging.layer)
            r = judge_written(&judging);
        if (r >= 0)
            r = judge_snapshots(&judging);
        if (r >= 0)
            r = judge_leftover(&judging);
        if (r >= 0 && judging.layer)
            r = judge_version(&judging);
        judging_unsure(&judging);
    }
    if (r < 0) {
        judgement_done(&judgement);
        return r;
    }
    *ret_judgement = judgement;
    return 0;
}

uint64_t judge_image_again(const struct policy *policy, const struct graph *graph,
                           const struct image *image, uint64_t now)
{
    uint64_t chain, integrity, safety, version;
    struct judging judging;

    if (!image_is_judged(image))
        return UINT64_MAX;
    judging_init(&judging, policy, graph, image, NULL, now, NULL);
    if (!judging.layer)
        return UINT64_MAX;
    chain = judge_chain_again(&judging);
    integrity = judge_integrity_again(&judging);
    safety = judge_safety_again(&judging);
    version = judge_version_again(&judging);
    if (safety < integrity)
        integrity = safety;
    if (version < integrity)
        integrity = version;
    return chain < integrity ? chain : integrity;
}

/* ---- datastores and the daemon -------------------------------------------------------------- */

/* datastore-offline: path, errno, error. */
static int judge_offline(struct judging *judging, const struct datastore *datastore)
{
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    _cleanup_free_ char *path = text_escape_string(datastore->path);

    if (!path)
        return -ENOMEM;
    evidence_text(&evidence, TEXT_PATH, datastore->path);
    if (datastore->error < 0) {
        evidence_number(&evidence, NUMBER_ERRNO, (uint64_t)-datastore->error);
        evidence_text(&evidence, TEXT_ERROR, strerror(-datastore->error));
    }
    return judging_add(judging, FINDING_DATASTORE_OFFLINE, SEVERITY_ERROR, 1, &evidence,
                       "is offline: %s: %s", path, text_offline_reason(datastore->error));
}

/* watch-degraded: reason ("watches-exhausted", "instances-exhausted", "events-lost", "network",
 * "error"), file-system, overflows, errno. */
static int judge_watch(struct judging *judging, const struct datastore *datastore)
{
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    const char *reason, *words;
    enum severity severity = SEVERITY_WARNING;

    if (datastore->root.network) {
        /* How it is on network file systems: to be known, but nothing to be alarmed by for ever. */
        severity = SEVERITY_INFO;
        reason = "network";
        words = "a network file system does not tell of other hosts' changes";
    } else if (datastore->watched || datastore->watch_error == 0) {
        return 0;
    } else if (datastore->watch_error == -ENOSPC) {
        reason = "watches-exhausted";
        words = "the limit fs.inotify.max_user_watches is used up";
    } else if (datastore->watch_error == -EMFILE) {
        reason = "instances-exhausted";
        words = "the limit fs.inotify.max_user_instances is used up";
    } else if (datastore->watch_error == -EOVERFLOW) {
        reason = "events-lost";
        words = "the kernel lost events";
    } else {
        reason = "error";
        words = strerror(-datastore->watch_error);
    }
    evidence_text(&evidence, TEXT_REASON, reason);
    evidence_text(&evidence, TEXT_FILE_SYSTEM, datastore->root.type);
    evidence_text(&evidence, TEXT_PATH, datastore->path);
    evidence_number(&evidence, NUMBER_OVERFLOWS, datastore->overflows);
    if (datastore->watch_error < 0)
        evidence_number(&evidence, NUMBER_ERRNO, (uint64_t)-datastore->watch_error);
    return judging_add(judging, FINDING_WATCH_DEGRADED, severity, 1, &evidence,
                       "sees changes only when it is walked: %s", words);
}

/* not-auditable of formats that are not understood: path, formats [format, images], images. */
static int judge_foreign(struct judging *judging, const struct datastore *datastore)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = { .object = NULL };
    char words[20 * _QCA_FORMAT_MAX] = "";
    uint64_t n = 0;

    for (unsigned format = 0; format < _QCA_FORMAT_MAX; format++)
        n += datastore->n_foreign[format];
    if (n == 0)
        return 0;
    evidence = evidence_new();
    list = evidence_new_list();
    for (unsigned format = 0; format < _QCA_FORMAT_MAX; format++) {
        const char *name = qca_format_name((enum qca_format)format);
        struct evidence item = { .object = NULL };
        size_t length = strlen(words);

        if (datastore->n_foreign[format] == 0)
            continue;
        item = evidence_new();
        evidence_text(&item, TEXT_FORMAT, name);
        evidence_number(&item, NUMBER_IMAGES, datastore->n_foreign[format]);
        evidence_append(&list, &item);
        (void)snprintf(words + length, sizeof(words) - length, "%s%u %s", length > 0 ? ", " : "",
                       datastore->n_foreign[format], name);
    }
    evidence_text(&evidence, TEXT_PATH, datastore->path);
    evidence_text(&evidence, TEXT_REASON, "format");
    evidence_number(&evidence, NUMBER_IMAGES, n);
    evidence_value(&evidence, PART_FORMATS, &list);
    return judging_add(judging, FINDING_NOT_AUDITABLE, SEVERITY_INFO, n, &evidence,
                       "has images whose content is not understood, and so not audited: %s",
                       words);
}

/* not-auditable of a whole datastore: path, images, file-system. */
static int judge_unreadable(struct judging *judging, const struct datastore *datastore)
{
    _cleanup_evidence_ struct evidence evidence = evidence_new();

    if (!datastore->all_denied)
        return judge_foreign(judging, datastore);
    evidence_text(&evidence, TEXT_PATH, datastore->path);
    evidence_text(&evidence, TEXT_FILE_SYSTEM, datastore->root.type);
    evidence_number(&evidence, NUMBER_IMAGES, datastore->n_denied);
    return judging_add(judging, FINDING_NOT_AUDITABLE, SEVERITY_WARNING, 1, &evidence,
                       "cannot be audited: its %llu image%s may not be read",
                       (unsigned long long)datastore->n_denied,
                       datastore->n_denied == 1 ? "" : "s");
}

int judge_datastore(const struct policy *policy, const struct datastore *datastore, uint64_t now,
                    struct judgement *ret_judgement)
{
    struct judgement judgement = { .confidence = CONFIDENCE_OFFLINE };
    struct judging judging = { .thresholds = &policy->thresholds,
                               .policy = policy,
                               .now = now,
                               .judgement = &judgement };
    int r = 0;

    switch (datastore->state) {
    case DATASTORE_OFFLINE:
        r = judge_offline(&judging, datastore);
        break;
    case DATASTORE_ONLINE:
        judgement.judged[FINDING_DATASTORE_OFFLINE] = true;
        /* The end of a walk shows whether all can be watched. */
        judgement.judged[FINDING_WATCH_DEGRADED] =
            !datastore->watched || datastore->walk_finished >= datastore->walk_started;
        judgement.judged[FINDING_NOT_AUDITABLE] = datastore->walk_finished != 0;
        r = judge_watch(&judging, datastore);
        if (r >= 0)
            r = judge_unreadable(&judging, datastore);
        if (r >= 0)
            r = judge_capacity(&judging, datastore);
        if (r >= 0 && datastore->walk_finished != 0)
            r = judge_coverage(&judging, datastore);
        break;
    case DATASTORE_PAUSED:
        /* what it shares with one that is not paused goes on */
        if (datastore->space.measured && datastore->space.measured->state == DATASTORE_ONLINE)
            r = judge_capacity(&judging, datastore);
        break;
    default:                    /* starting: says nothing yet, or nothing new */
        break;
    }
    if (r < 0) {
        judgement_done(&judgement);
        return r;
    }
    *ret_judgement = judgement;
    return 0;
}

/* libvirt-unreachable: connections [uri, error, since-at] */
static int judge_connections(struct judging *judging, const struct virt_status *virt)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = { .object = NULL };
    const struct virt_connection *first = NULL;
    _cleanup_free_ char *uri = NULL, *error = NULL;
    size_t n = 0;

    judging->judgement->judged[FINDING_LIBVIRT_UNREACHABLE] = true;
    list = evidence_new_list();
    for (size_t i = 0; virt && i < virt->n_connections; i++) {
        const struct virt_connection *connection = &virt->connections[i];
        struct evidence item = { .object = NULL };

        /* Not connected and without a reason: not tried yet. */
        if (connection->connected || connection->absent || !connection->error)
            continue;
        first = first ? first : connection;
        item = evidence_new();
        evidence_text(&item, TEXT_URI, connection->uri);
        evidence_text(&item, TEXT_ERROR, connection->error);
        if (connection->since > 0)
            evidence_number(&item, NUMBER_SINCE_AT, connection->since);
        evidence_append(&list, &item);
        n++;
    }
    if (n == 0)
        return 0;
    uri = text_escape_string(first->uri);
    error = text_escape_string(first->error);
    if (!uri || !error)
        return -ENOMEM;
    evidence = evidence_new();
    evidence_value(&evidence, PART_CONNECTIONS, &list);
    return judging_add(judging, FINDING_LIBVIRT_UNREACHABLE, SEVERITY_INFO, n, &evidence,
                       "cannot ask libvirt (%s): %s; verdicts come from files only", uri, error);
}

static const char *alert_reason_text(const struct daemon_facts *facts, enum alert_target target)
{
    return facts->alert_reasons[target] ? facts->alert_reasons[target]
                                        : strerror(-facts->alert_errors[target]);
}

static void alert_evidence(struct evidence *evidence, const struct daemon_facts *facts,
                           enum alert_target target)
{
    evidence_text(evidence, TEXT_CHANNEL, alert_target_name(target));
    evidence_number(evidence, NUMBER_ERRNO, (uint64_t)-facts->alert_errors[target]);
    evidence_text(evidence, TEXT_ERROR, alert_reason_text(facts, target));
}

/* alert-channel-failed: channel, errno, error of the first; channels [channel, errno, error] */
static int judge_alerts(struct judging *judging, const struct daemon_facts *facts)
{
    static const char *const names[] = {
        [ALERT_JOURNAL] = "the journal", [ALERT_SYSLOG] = "syslog", [ALERT_CONSOLE] = "the console",
        [ALERT_EXEC] = "the program of alerts.exec",
    };
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = { .object = NULL };
    enum alert_target first = _ALERT_TARGET_MAX;
    uint64_t n = 0;

    judging->judgement->judged[FINDING_ALERT_CHANNEL_FAILED] = true;
    list = evidence_new_list();
    for (enum alert_target target = 0; target < _ALERT_TARGET_MAX; target++) {
        struct evidence item;

        if (facts->alert_errors[target] >= 0)
            continue;
        first = n++ == 0 ? target : first;
        item = evidence_new();
        alert_evidence(&item, facts, target);
        evidence_append(&list, &item);
    }
    if (n == 0)
        return 0;
    evidence = evidence_new();
    alert_evidence(&evidence, facts, first);
    evidence_value(&evidence, PART_CHANNELS, &list);
    return judging_add(judging, FINDING_ALERT_CHANNEL_FAILED, SEVERITY_ERROR, n, &evidence,
                       "could not deliver alerts to %s%s: %s", names[first],
                       n > 1 ? " and to another channel" : "", alert_reason_text(facts, first));
}

/* database-recovered: file. */
int judge_daemon(const struct policy *policy, const struct daemon_facts *facts, uint64_t now,
                 struct judgement *ret_judgement)
{
    struct judgement judgement = { .confidence = CONFIDENCE_OFFLINE };
    struct judging judging = { .thresholds = &policy->thresholds,
                               .now = now,
                               .judgement = &judgement };
    int r = 0;

    if (facts->database_aside) {
        _cleanup_evidence_ struct evidence evidence = evidence_new();
        _cleanup_free_ char *file = text_escape_string(facts->database_aside);

        evidence_text(&evidence, TEXT_FILE, facts->database_aside);
        r = judging_add(&judging, FINDING_DATABASE_RECOVERED, SEVERITY_ERROR, 1, &evidence,
                        *facts->database_aside
                            ? "started a new database, the damaged one is %s"
                            : "started a new database, the old one was removed while in use%s",
                        file ? file : "");
    }
    if (r >= 0 && facts->baselines_damaged) {
        _cleanup_evidence_ struct evidence evidence = evidence_new();
        _cleanup_free_ char *what = text_escape_string(facts->baselines_damaged);

        evidence_text(&evidence, TEXT_WHAT, facts->baselines_damaged);
        r = judging_add(&judging, FINDING_BASELINES_DAMAGED, SEVERITY_ERROR, 1, &evidence,
                        "found damage in %s", what ? what : "what it kept");
    }
    if (r >= 0)
        r = judge_connections(&judging, facts->virt);
    if (r >= 0)
        r = judge_alerts(&judging, facts);
    if (r >= 0 && facts->outside_known)
        r = judge_outside(&judging, facts->outside, facts->n_outside, facts->outside_total);
    if (r < 0) {
        judgement_done(&judgement);
        return r;
    }
    *ret_judgement = judgement;
    return 0;
}
