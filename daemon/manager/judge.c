/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From audits to findings: what changed is related, judged, given its remedy and kept, a moment
 * later and all at once. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "daemon/remedy/remedy.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* A chain of 1,847 layers that is audited one by one is judged a few times, not 1,847 times. */
#define JUDGE_DELAY (USEC_PER_SEC / 4)

/* ---- findings -------------------------------------------------------------------------------- */

static void finding_renew_remedy(struct manager *manager, struct finding *finding)
{
    json_object *remedy = NULL;
    int r;

    if (finding->state == FINDING_RESOLVED)
        return;
    /* Kept and sent findings have no command that depends on a look at locks: nobody knows when
     * they are read. */
    r = remedy_make(manager->graph, finding, NULL, &remedy);
    if (r < 0) {
        log_warning(r, "Cannot make the remedy of a finding: %m");
        return;
    }
    json_object_put(finding->remedy);
    finding->remedy = remedy;
}

/* Whose absence a second audit has to confirm. */
static void finding_plan_second(struct manager *manager, const struct finding *finding)
{
    struct image *image;

    if (finding->subject_kind != SUBJECT_IMAGE || finding->state == FINDING_RESOLVED ||
        finding->misses == 0)
        return;
    image = discover_find_image(manager->discover, finding->subject);
    if (image &&
        schedule_image(manager->schedule, image, SCHEDULE_CONFIRM, manager_now(manager)) >= 0)
        pass_dispatch(manager);
}

static int on_finding(void *userdata, struct finding *finding, const struct event *event)
{
    struct manager *manager = userdata;
    struct round *round = keep_round(manager);
    int r;

    if (!round)
        return -ENOMEM;
    if (finding->id == 0)
        finding->id = store_next_finding_id(manager->store);
    finding_renew_remedy(manager, finding);
    finding_plan_second(manager, finding);
    r = store_batch_finding(round->batch, finding);
    if (r >= 0 && event)
        r = keep_event(round, event, finding->id);
    if (event)
        contents_event(manager->contents, finding, event->type);
    return r;
}

static void apply(struct manager *manager, enum subject_kind kind, const char *subject,
                  const char *datastore, const struct judgement *judgement, uint32_t depth)
{
    int r;

    r = findings_apply(manager->findings, kind, subject, datastore, judgement, depth,
                       manager_now(manager), on_finding, manager);
    if (r < 0)
        log_error(r, "Cannot bring findings in line with a judgement: %m");
}

static void judgement_all_clear(struct judgement *judgement)
{
    *judgement = (struct judgement){ .confidence = CONFIDENCE_OFFLINE };
    for (size_t i = 0; i < _FINDING_MAX; i++)
        judgement->judged[i] = true;
}

/* Formats that are not understood are reported once per datastore, not for each image. An extent is
 * a part of an image. */
static void count_foreign(struct manager *manager, struct image *image, bool listed)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);
    bool counts = listed && image_is_foreign(image) && !graph_is_data_file(manager->graph, image);
    uint8_t format = counts ? (uint8_t)layer->info.format : QCA_FORMAT_UNKNOWN;

    if (format == image->counted)
        return;
    if (image->counted != QCA_FORMAT_UNKNOWN)
        image->datastore->n_foreign[image->counted]--;
    if (format != QCA_FORMAT_UNKNOWN)
        image->datastore->n_foreign[format]++;
    image->counted = format;
    image->datastore->dirty = true;
}

/* A second look will say more. */
static bool audit_is_final(const struct image *image)
{
    const struct audit *audit = image->audit;

    return audit->confidence > CONFIDENCE_RACY && !image_was_denied(image);
}

static bool has_image_name(const struct image *image)
{
    const struct image_name *name;

    LIST_FOREACH(name, &image->names, link)
        if (path_is_image_name(name->path))
            return true;
    return false;
}

/* Something calls it an image. */
static bool is_called_image(const struct manager *manager, const struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image);
    struct usage usage = graph_image_usage(manager->graph, image);

    return image->listed || (relation && relation->n_children > 0) || usage.n_entries > 0 ||
           image->baseline || image_is_record(image) || has_image_name(image) ||
           image->audit->locked != FILES_UNUSED || graph_is_data_file(manager->graph, image);
}

static void settle(struct manager *manager, struct image *image)
{
    discover_settle(manager->discover, image);
    if (image_list_add(&manager->audited, image) < 0)
        log_error(-ENOMEM, "An image is not kept: %m");
    judge_soon(manager);
}

/* Keeps a tentative file as an image, or dismisses it; as soon as that is known. */
static void tentative_decide(struct manager *manager, struct image *image)
{
    if (graph_awaits_usage(manager->graph))
        return;
    if (is_called_image(manager, image))
        settle(manager, image);
    else if (audit_is_final(image) && image_list_add(&manager->dismissing, image) < 0)
        log_error(-ENOMEM, "A file that is no image is kept as one: %m");
}

void judge_dismiss(struct manager *manager)
{
    for (size_t i = 0; i < manager->dismissing.n_items; i++) {
        struct image *image = manager->dismissing.items[i];
        const struct datastore *datastore = image ? image->datastore : NULL;
        int r = 0;

        if (!image || !image->tentative || !pass_is_current(image))
            continue;           /* the last: its next audit is on its way */
        if (is_called_image(manager, image))
            settle(manager, image);
        else
            r = discover_dismiss(manager->discover, image, pass_is_settled(image));
        if (r < 0)
            log_error(r, "A file that is no image is kept as one: %m");
        keep_others(manager, datastore, true);
    }
    manager->dismissing.n_items = 0;
}

static void judge_one(struct manager *manager, struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image), *chain;
    struct usage usage = graph_image_usage(manager->graph, image);
    /* A domain's disk is an image, whatever it is called. */
    bool listed = judge_is_listed(image, relation) || usage_layer(&usage);
    struct judgement judgement;
    uint64_t held;
    int r;

    if (listed != image->listed) {
        image->listed = listed;
        manager->listed_valid = false;
    }
    count_foreign(manager, image, listed);
    image->judge_again = UINT64_MAX;
    if (image->audit && image->unrested && image->audit_before &&
        image->audit_before->identity.inode != 0 &&
        !identity_equal(&image->audit_before->identity, &image->audit->identity))
        findings_replaced(manager->findings, SUBJECT_IMAGE, image->path);
    if (!image->audit || image->unrested)
        return;
    contents_plan(manager->contents, &manager->config->policy, image);
    former_settle(manager, image);
    if (!listed) {
        judgement_all_clear(&judgement);
    } else {
        r = judge_image(&manager->config->policy, manager->graph, image, image->audit_before,
                        manager_now(manager), &judgement);
        if (r < 0) {
            log_error(r, "Cannot judge an image: %m");
            return;
        }
        image->judge_again = judge_image_again(&manager->config->policy, manager->graph, image,
                                               manager_now(manager));
    }
    /* Of an own layer: the disk's deepest chain. */
    chain = relation && relation->deepest_leaf
                ? graph_relation(manager->graph, relation->deepest_leaf)
                : relation;
    apply(manager, SUBJECT_IMAGE, image->path, image->datastore->name, &judgement,
          chain ? chain->depth : 0);
    judgement_done(&judgement);
    held = findings_held_until(manager->findings, SUBJECT_IMAGE, image->path);
    if (held < image->judge_again)
        image->judge_again = held;
    if (image->settles > 0 && image->settles < image->judge_again)
        image->judge_again = image->settles;
    usages_image_judged(manager->usages, image);
    if (image->tentative)
        tentative_decide(manager, image);
}

static void judge_one_domain(void *userdata, const struct virt_status *status,
                             const struct virt_domain *domain, uint64_t *ret_again)
{
    struct manager *manager = userdata;
    _cleanup_free_ char *subject = usage_domain_subject(status, domain);
    struct judgement judgement;
    int r = subject ? judge_domain(&manager->config->policy, manager->graph, domain,
                                   manager_now(manager), &judgement)
                    : -ENOMEM;

    if (r < 0) {
        log_error(r, "Cannot judge a domain: %m");
        return;
    }
    apply(manager, SUBJECT_DOMAIN, subject, "", &judgement, 0);
    judgement_done(&judgement);
    *ret_again = findings_held_until(manager->findings, SUBJECT_DOMAIN, subject);
}

static void on_graph_changed(void *userdata, struct image *image);

static bool image_is_denied(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    return report && (report->error == -EACCES || report->error == -EPERM);
}

/* A datastore of which no image may be read is reported once, and not each image. Looked at when it
 * matters. */
static void judge_denied(struct manager *manager)
{
    struct datastore *const *datastores;
    struct image *const *images;
    size_t n, n_datastores;
    bool matters = false;

    for (size_t i = 0; i < manager->judging.n_items && !matters; i++)
        matters = manager->judging.items[i] && (image_is_denied(manager->judging.items[i]) ||
                                                manager->judging.items[i]->datastore->all_denied);
    if (!matters || discover_images(manager->discover, &images, &n) < 0)
        return;
    discover_datastores(manager->discover, &datastores, &n_datastores);
    for (size_t d = 0; d < n_datastores; d++) {
        uint64_t n_denied = 0, n_others = 0;

        for (size_t i = 0; i < n; i++)
            if (images[i]->datastore == datastores[d] && images[i]->audit &&
                judge_is_listed(images[i], graph_relation(manager->graph, images[i])))
                *(image_is_denied(images[i]) ? &n_denied : &n_others) += 1;
        datastores[d]->n_denied = n_denied;
        if (datastores[d]->all_denied == (n_denied > 0 && n_others == 0))
            continue;
        datastores[d]->all_denied = n_denied > 0 && n_others == 0;
        datastores[d]->dirty = true;
        for (size_t i = 0; i < n; i++)
            if (images[i]->datastore == datastores[d] && image_is_denied(images[i]))
                on_graph_changed(manager, images[i]);
    }
}

static void judge_datastores(struct manager *manager)
{
    struct datastore *const *datastores;
    struct round *round;
    size_t n;
    int r;

    bool dirty = false;

    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n; i++)
        dirty |= datastores[i]->dirty;
    if (dirty)
        capacity_count(manager);
    for (size_t i = 0; i < n; i++) {
        struct judgement judgement;

        if (!datastores[i]->dirty)
            continue;
        datastores[i]->dirty = false;
        round = keep_round(manager);
        r = round ? store_batch_datastore(round->batch, datastores[i]) : -ENOMEM;
        if (r >= 0)
            r = judge_datastore(&manager->config->policy, datastores[i], manager_now(manager),
                                &judgement);
        if (r < 0) {
            log_error(r, "Cannot judge datastore %s: %m", datastores[i]->name);
            continue;
        }
        apply(manager, SUBJECT_DATASTORE, datastores[i]->name, datastores[i]->name, &judgement, 0);
        judgement_done(&judgement);
    }
}

static void judge_self(struct manager *manager)
{
    struct daemon_facts facts = {
        .database_aside = manager->database_aside,
        .baselines_damaged = contents_damage(manager->contents),
        .virt = usage_status(usages_index(manager->usages)),
    };
    struct judgement judgement;
    struct virt_gaps gaps;
    int r;

    manager->daemon_dirty = false;
    facts.outside_known = virt_gaps(manager, &gaps);
    facts.outside = gaps.disks;
    facts.n_outside = gaps.n;
    facts.outside_total = gaps.total;
    for (enum alert_target target = 0; target < _ALERT_TARGET_MAX && manager->alert; target++) {
        facts.alert_errors[target] = manager->alert_errors[target] =
            alert_error(manager->alert, target);
        facts.alert_reasons[target] = alert_reason(manager->alert, target);
    }
    r = judge_daemon(&manager->config->policy, &facts, manager_now(manager), &judgement);
    if (r < 0) {
        log_error(r, "Cannot judge the daemon itself: %m");
        return;
    }
    apply(manager, SUBJECT_DAEMON, "", "", &judgement, 0);
    judgement_done(&judgement);
}

/* ---- one round ------------------------------------------------------------------------------- */

static void on_graph_changed(void *userdata, struct image *image)
{
    struct manager *manager = userdata;

    if (image_list_add(&manager->judging, image) < 0)
        log_error(-ENOMEM, "An image is not judged: %m");
}

static void keep_images(struct manager *manager, struct image_list *list, bool audited)
{
    struct round *round;
    int r = 0;

    for (size_t i = 0; i < list->n_items && r >= 0; i++) {
        const struct image *image = list->items[i];

        if (!image || image->tentative)
            continue;
        round = keep_round(manager);
        r = round ? store_batch_image(round->batch, image) : -ENOMEM;
        if (r >= 0 && audited)
            r = store_batch_audit(round->batch, image, image->audit);
    }
    if (r < 0)
        log_error(r, "Cannot keep what is known of an image: %m");
    list->n_items = 0;
}

static int on_again(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;
    uint64_t now = manager_now(manager);
    struct image *const *images;
    size_t n;

    manager->again = UINT64_MAX;
    if (manager->stopping || discover_images(manager->discover, &images, &n) < 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (images[i]->judge_again <= now)
            on_graph_changed(manager, images[i]);
        else if (images[i]->judge_again < manager->again)
            manager->again = images[i]->judge_again;
    judge_now(manager);
    return 0;
}

static int on_tick(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;

    manager->daemon_dirty = true;
    judge_soon(manager);
    return 0;
}

/* One timer for what time alone changes in a judgement, one for reminders and acknowledgements that
 * end. */
static void plan_times(struct manager *manager, uint64_t next_tick)
{
    uint64_t now = manager_now(manager);
    int r = 0;

    manager->again_timer = sd_event_source_disable_unref(manager->again_timer);
    manager->tick_timer = sd_event_source_disable_unref(manager->tick_timer);
    if (manager->again != UINT64_MAX)
        r = sd_event_add_time(manager->event, &manager->again_timer, CLOCK_REALTIME,
                              manager->again > now ? manager->again : now + USEC_PER_SEC,
                              USEC_PER_SEC, on_again, manager);
    if (r >= 0 && next_tick != UINT64_MAX)
        r = sd_event_add_time(manager->event, &manager->tick_timer, CLOCK_REALTIME,
                              next_tick > now ? next_tick : now + USEC_PER_SEC, USEC_PER_SEC,
                              on_tick, manager);
    if (r < 0)
        log_error(r, "Cannot plan the next judgement: %m");
}

void judge_now(struct manager *manager)
{
    uint64_t next_tick = UINT64_MAX;
    int r;

    manager->judge_wanted = false;
    keep_images(manager, &manager->audited, true);
    keep_images(manager, &manager->attributes, false);
    r = graph_refresh(manager->graph, on_graph_changed, manager);
    if (r < 0)
        log_error(r, "Cannot compute the relations of images: %m");
    judge_denied(manager);
    for (size_t i = 0; i < manager->judging.n_items; i++) {
        struct image *image = manager->judging.items[i];

        if (!image)
            continue;
        judge_one(manager, image);
        if (image->judge_again < manager->again)
            manager->again = image->judge_again;
    }
    manager->judging.n_items = 0;
    if (!resolve_is_pending(manager))
        judge_dismiss(manager);
    judge_datastores(manager);
    if (usages_each_dirty(manager->usages, manager_now(manager), &manager->again, judge_one_domain,
                          manager))
        judge_soon(manager);
    if (manager->daemon_dirty)
        judge_self(manager);
    r = findings_tick(manager->findings, manager_now(manager), manager->config->alert_reminder,
                      on_finding, manager, &next_tick);
    if (r < 0)
        log_error(r, "Cannot renew findings: %m");
    mutes_keep(manager);
    plan_times(manager, next_tick);
    contents_flush(manager->contents);
    keep_commit(manager);
    contents_acknowledge(manager->contents);
    pass_check_finished(manager);
}

static int on_judge_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;

    if (!manager->stopping && manager->judge_wanted)
        judge_now(manager);
    return 0;
}

void judge_soon(struct manager *manager)
{
    uint64_t delay = JUDGE_DELAY;
    int r;

    if (manager->stopping)
        return;
    manager->judge_wanted = true;
    /* Nothing more will come of itself: whoever waits for the result gets it at once. */
    if (audits_running(manager->audits) == 0 &&
        schedule_due(manager->schedule, manager_now(manager)) == 0)
        delay = 0;
    r = manager_arm(manager, &manager->judge_timer, delay, on_judge_timer);
    if (r < 0)
        log_error(r, "Cannot plan a judgement: %m");
}

/* ---- what is gone, what somebody says -------------------------------------------------------- */

static void subject_gone(struct manager *manager, enum subject_kind kind, const char *subject,
                         const struct datastore *datastore)
{
    const char *why = datastore->state == DATASTORE_REMOVED ? "no longer configured" : "gone";
    int r;

    r = findings_subject_gone(manager->findings, kind, subject, why, manager_now(manager),
                              on_finding, manager);
    if (r < 0)
        log_error(r, "Cannot resolve the findings of what is gone: %m");
}

void judge_image_forget(struct manager *manager, struct image *image)
{
    image_list_forget(&manager->audited, image);
    image_list_forget(&manager->attributes, image);
    image_list_forget(&manager->judging, image);
    image_list_forget(&manager->dismissing, image);
    contents_image_gone(manager->contents, image, store_sweep_time(manager->store));
    count_foreign(manager, image, false);
    former_note_gone(manager, image);
    graph_remove(manager->graph, image);
    graph_forget_disk_move(manager->graph, image->path);
}

void judge_image_gone(struct manager *manager, struct image *image)
{
    struct round *round = keep_round(manager);
    int r;

    judge_image_forget(manager, image);
    r = round ? store_batch_image_gone(round->batch, image->path) : -ENOMEM;
    if (r < 0)
        log_error(r, "Cannot keep that an image is gone: %m");
    subject_gone(manager, SUBJECT_IMAGE, image->path, image->datastore);
    manager->listed_valid = false;
    judge_soon(manager);
}

void judge_domain_gone(struct manager *manager, const char *subject)
{
    int r = findings_subject_gone(manager->findings, SUBJECT_DOMAIN, subject, "gone",
                                  manager_now(manager), on_finding, manager);

    if (r < 0)
        log_error(r, "Cannot resolve the findings of a domain that is gone: %m");
}

void judge_datastore_gone(struct manager *manager, const struct datastore *datastore)
{
    struct round *round = keep_round(manager);
    int r;

    r = round ? store_batch_datastore(round->batch, datastore) : -ENOMEM;
    if (r >= 0)
        r = store_batch_others(round->batch, datastore->name, NULL, 0);
    if (r < 0)
        log_error(r, "Cannot keep that a datastore was removed: %m");
    subject_gone(manager, SUBJECT_DATASTORE, datastore->name, datastore);
    judge_soon(manager);
}

int judge_acknowledge(struct manager *manager, int64_t id, const char *by, const char *reason,
                      uint64_t until, control_done_fn reply, void *reply_userdata)
{
    int r;

    r = findings_acknowledge(manager->findings, id, by, reason, until, manager_now(manager),
                             on_finding, manager);
    if (r < 0)
        return r;
    if (reply)
        keep_answer(manager, reply, reply_userdata);
    judge_now(manager);
    return 0;
}

void judge_datastore_answer(struct manager *manager, struct datastore *datastore,
                            control_done_fn reply, void *reply_userdata)
{
    datastore->dirty = true;
    keep_answer(manager, reply, reply_userdata);
    judge_now(manager);
}

void judge_done(struct manager *manager)
{
    manager->judge_timer = sd_event_source_disable_unref(manager->judge_timer);
    manager->again_timer = sd_event_source_disable_unref(manager->again_timer);
    manager->tick_timer = sd_event_source_disable_unref(manager->tick_timer);
    image_list_done(&manager->audited);
    image_list_done(&manager->attributes);
    image_list_done(&manager->judging);
    image_list_done(&manager->dismissing);
    free(manager->database_aside);
    manager->database_aside = NULL;
}
