/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store in good times: everything comes back after a restart, in order, once; history in pages;
 * retention. */
#include "store-kit.h"

#include <malloc.h>

#define SEVEN_DAYS (7 * 24 * 3600 * USEC_PER_SEC)

DEFINE_CLEANUP(struct audit_report *, audit_report_free)

static struct store_batch *new_batch(void)
{
    struct store_batch *batch;

    assert_int_equal(store_batch_new(&batch), 0);
    return batch;
}

static void put_image(struct kit *kit, const struct image *image)
{
    struct store_batch *batch = new_batch();

    assert_int_equal(store_batch_image(batch, image), 0);
    kit_commit(kit, batch);
}

static void put_audit(struct kit *kit, const struct image *image, const struct audit *audit)
{
    struct store_batch *batch = new_batch();

    assert_int_equal(store_batch_image(batch, image), 0);
    assert_int_equal(store_batch_audit(batch, image, audit), 0);
    kit_commit(kit, batch);
}

/* A clean stand-alone image of `virtual_size` bytes. */
static struct audit_report clean_report(struct layer_report *layer)
{
    *layer = (struct layer_report){
        .info = { .format = QCA_FORMAT_QCOW2, .version = 3, .cluster_size = 65536,
                 .virtual_size = 1 << 30 },
        .checked = true,
        .check = { .finished = true },
        .probed_format = QCA_FORMAT_QCOW2,
    };
    return (struct audit_report){ .layers = layer, .n_layers = 1 };
}

/* What is called otherwise has its history under the new name, and nothing of a file that had that
 * name before. */
static void a_rename_takes_the_history_along(void **state)
{
    struct kit *kit = *state;
    struct image a = kit_make_image("/srv/vms/a"), b = kit_make_image("/srv/vms/b");
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct audit audit = { .started = KIT_NOW, .finished = KIT_NOW + 5, .report = &report };
    struct finding of_a, of_b;
    struct store_batch *batch;

    kit_open(kit);
    put_audit(kit, &a, &audit);
    put_audit(kit, &b, &audit);
    put_audit(kit, &b, &audit);
    of_a = kit_make_finding(kit, FINDING_CLUSTERS_LEAKED, "/srv/vms/a");
    of_b = kit_make_finding(kit, FINDING_CLUSTERS_LEAKED, "/srv/vms/b");
    batch = new_batch();
    assert_int_equal(store_batch_finding(batch, &of_a), 0);
    assert_int_equal(store_batch_finding(batch, &of_b), 0);
    assert_int_equal(store_batch_image_gone(batch, "/srv/vms/b"), 0);
    assert_int_equal(store_batch_renamed(batch, "/srv/vms/a", "/srv/vms/b"), 0);
    kit_commit(kit, batch);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM image"), 1);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM image WHERE path = x'2f7372762f766d732f62'"
                                  " AND gone IS NULL"), 1);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM audit"), 1);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM finding"), 1);
    assert_int_equal(kit_sql(kit, "SELECT id FROM finding"), of_a.id);
    /* One that was never kept changes nothing. */
    batch = new_batch();
    assert_int_equal(store_batch_renamed(batch, "/srv/vms/x", "/srv/vms/b"), 0);
    kit_commit(kit, batch);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM image"), 1);
    kit_close(kit);
}

static void nothing_yet(void **state)
{
    struct kit *kit = *state;

    kit_open(kit);
    assert_null(kit->aside);
    kit_load(kit);
    assert_int_equal(kit->n_datastores + kit->n_images + kit->n_findings + kit->n_events, 0);
    assert_int_equal(store_waiting(kit->store), 0);
    kit_reopen(kit);
    assert_int_equal(kit->n_images, 0);
    assert_int_equal(kit_sql(kit, "PRAGMA user_version"), CONTROL_DATABASE_VERSION);
    assert_int_equal(kit_sql(kit, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

static void datastores_come_back(void **state)
{
    static const char *const unreadable[] = {
        "no JSON", "[]", "{}", "{\"left-out\":{},\"items\":5}",
        "{\"files\":-1,\"left-out\":{},\"items\":[]}",
        "{\"files\":5,\"left-out\":{},\"items\":[{\"reason\":\"excluded\",\"path\":\"/x\"}]}",
        "{\"files\":5,\"left-out\":{},\"items\":[{\"reason\":\"mount-gone\",\"path\":\"x\"}]}",
        "{\"files\":5,\"left-out\":{\"mount-gone\":\"1\"},\"items\":[]}",
    };
    struct kit *kit = *state;
    const struct coverage *back;
    char sql[400];
    struct datastore datastore = kit_datastore;
    struct store_batch *batch = new_batch();

    kit_open(kit);
    datastore.error = -ESTALE;
    datastore.state = DATASTORE_PAUSED;
    datastore.root = (struct files_root){
        .fsid = UINT64_MAX, .size = 10, .available = 3, .type = "nfs4", .network = true
    };
    datastore.watched = true;
    datastore.watch_error = -ENOSPC;
    datastore.overflows = 4;
    datastore.unreadable = 5;
    datastore.walk = 6;
    datastore.walk_started = KIT_NOW;
    datastore.walk_finished = KIT_NOW + 9;
    datastore.paused_until = UINT64_MAX;
    datastore.n_images = 12;
    datastore.coverage.files = UINT32_MAX + UINT64_C(7);
    datastore.coverage.folders = 8;
    datastore.coverage.mounts = 9;
    assert_int_equal(coverage_add(&datastore.coverage, FILES_LEFT_EXCLUDED, "/srv/vms/x", NULL), 0);
    assert_int_equal(coverage_add(&datastore.coverage, FILES_LEFT_REMOTE, "/srv/vms/\xff\n", "nfs"),
                     0);
    assert_int_equal(coverage_add(&datastore.coverage, FILES_LEFT_DEVICE, "/srv/vms/d",
                                  "/dev/vg/d"), 0);
    assert_int_equal(coverage_add(&datastore.coverage, FILES_LEFT_GONE, "/srv/vms/g", NULL), 0);
    assert_int_equal(store_batch_datastore(batch, &kit_datastore), 0);
    for (uint64_t i = 0; i < 3; i++) {
        series_add(&datastore.available, KIT_NOW + i * USEC_PER_SEC, UINT64_MAX - i, 1);
        assert_int_equal(store_batch_datastore(batch, &datastore), 0);
    }
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_datastores, 1);
    assert_string_equal(kit->datastores[0]->name, "vms");
    assert_string_equal(kit->datastores[0]->path, "/srv/vms");
    assert_true(kit->datastores[0]->recursive);
    assert_int_equal(kit->datastores[0]->state, DATASTORE_PAUSED);
    assert_int_equal(kit->datastores[0]->error, -ESTALE);
    datastore.root.device = 0;
    assert_memory_equal(&kit->datastores[0]->root, &datastore.root, sizeof(datastore.root));
    assert_true(kit->datastores[0]->watched);
    assert_int_equal(kit->datastores[0]->watch_error, -ENOSPC);
    assert_int_equal(kit->datastores[0]->overflows, 4);
    assert_int_equal(kit->datastores[0]->unreadable, 5);
    assert_int_equal(kit->datastores[0]->walk, 6);
    assert_int_equal(kit->datastores[0]->walk_started, KIT_NOW);
    assert_int_equal(kit->datastores[0]->walk_finished, KIT_NOW + 9);
    assert_true(kit->datastores[0]->paused_until == UINT64_MAX);
    assert_int_equal(kit->datastores[0]->n_images, 12);
    assert_int_equal(kit->datastores[0]->available.n, 3);
    assert_int_equal(kit->datastores[0]->available.samples[2].at, KIT_NOW + 2 * USEC_PER_SEC);
    back = &kit->datastores[0]->coverage;
    assert_true(back->files == datastore.coverage.files && back->folders == 8 && back->mounts == 9);
    assert_memory_equal(back->left_out, datastore.coverage.left_out, sizeof(back->left_out));
    assert_int_equal(back->n_items, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(back->items[i].why, datastore.coverage.items[i].why);
        assert_string_equal(back->items[i].path, datastore.coverage.items[i].path);
    }
    assert_string_equal(back->items[0].target, "nfs");
    assert_string_equal(back->items[1].target, "/dev/vg/d");
    assert_null(back->items[2].target);
    coverage_done(&datastore.coverage);
    /* What cannot be read is not known, and hinders nothing. */
    for (size_t i = 0; i < ELEMENTSOF(unreadable); i++) {
        snprintf(sql, sizeof(sql), "UPDATE datastore SET coverage = '%s'", unreadable[i]);
        kit_sql_run(kit, sql);
        kit_reopen(kit);
        assert_int_equal(kit->n_datastores, 1);
        back = &kit->datastores[0]->coverage;
        assert_true(back->n_items == 0 && back->files == 0 && coverage_gaps(back) == 0);
    }
}

static void images_come_back(void **state)
{
    struct kit *kit = *state;
    _cleanup_(audit_report_freep) struct audit_report *report = kit_rich_report();
    struct image image = kit_make_image("/srv/vms/\xff\n\x1b[31m \"x\".qcow2");
    struct audit audit = kit_make_audit(KIT_NOW, report);
    struct audit_report whole;
    const struct image *back;
    struct layer_report layer, storage;
    struct audit_report first = clean_report(&layer);
    struct audit earlier = kit_make_audit(KIT_NOW - 5, &first);

    image.parent = (struct reference){
        .state = REFERENCE_FOUND, .stored = strdup("\xfe/base"), .format = strdup("qcow2"),
        .path = strdup("/srv/vms/base"),
        .identity = { UINT64_MAX, 2, INT64_MIN },
    };
    image.data_file = (struct reference){ .state = REFERENCE_ESCAPES,
                                          .stored = strdup("/etc/shadow"),
                                          .error = -EPERM };
    image.former = calloc(1, sizeof(*image.former));
    assert_non_null(image.former);
    *image.former = (struct former){
        .path = strdup("/srv/vms/\xff\n \"before\""), .identity = { UINT64_MAX, 3, -4 }, .size = 5,
        .virtual_size = UINT64_C(1) << 62, .seen = KIT_NOW, .has_digest = true, .encrypted = true,
        .digest = { 1, 2, [31] = 255 }, .parent = { 6, 7, INT64_MAX },
    };
    kit_open(kit);
    put_audit(kit, &image, &audit);
    put_audit(kit, &image, &audit);
    put_audit(kit, &image, &earlier);
    put_audit(kit, &image, &audit);
    kit_reopen(kit);
    assert_int_equal(kit->n_images, 1);
    assert_string_equal(kit->image_datastores[0], "vms");
    back = kit_image(kit, image.path);
    assert_non_null(back);
    assert_true(back->id > 0);
    assert_null(back->datastore);
    assert_true(back->present);
    assert_int_equal(back->first_seen, image.first_seen);
    assert_int_equal(back->last_seen, image.last_seen);
    assert_int_equal(back->walk, image.walk);
    assert_memory_equal(&back->identity, &image.identity, sizeof(image.identity));
    assert_memory_equal(&back->fingerprint, &image.fingerprint, sizeof(image.fingerprint));
    assert_int_equal(back->use, image.use);
    assert_int_equal(back->worker_deaths, image.worker_deaths);
    assert_int_equal(back->past.format, QCA_FORMAT_QCOW2);
    assert_int_equal(back->past.until, KIT_NOW);
    assert_int_equal(back->past.size, 5);
    assert_int_equal(back->past.virtual_size, UINT64_MAX - 1);
    assert_int_equal(back->raw_size, UINT64_MAX - 2);
    assert_int_equal(back->parent.state, REFERENCE_FOUND);
    assert_string_equal(back->parent.stored, image.parent.stored);
    assert_string_equal(back->parent.format, "qcow2");
    assert_string_equal(back->parent.path, "/srv/vms/base");
    assert_memory_equal(&back->parent.identity, &image.parent.identity, sizeof(struct identity));
    assert_int_equal(back->data_file.state, REFERENCE_ESCAPES);
    assert_null(back->data_file.format);
    assert_null(back->data_file.path);
    assert_int_equal(back->data_file.error, -EPERM);
    assert_non_null(back->former);
    assert_string_equal(back->former->path, image.former->path);
    assert_memory_equal(&back->former->identity, &image.former->identity, sizeof(struct identity));
    assert_int_equal(back->former->size, 5);
    assert_true(back->former->virtual_size == UINT64_C(1) << 62);
    assert_int_equal(back->former->seen, KIT_NOW);
    assert_true(back->former->has_digest && back->former->encrypted);
    assert_memory_equal(back->former->digest, image.former->digest, 32);
    assert_memory_equal(&back->former->parent, &image.former->parent, sizeof(struct identity));
    assert_non_null(back->audit);
    assert_true(back->audit->id > 0);
    assert_int_equal(back->audit->started, audit.started);
    assert_int_equal(back->audit->finished, audit.finished);
    assert_int_equal(back->audit->confidence, audit.confidence);
    assert_int_equal(back->audit->use, audit.use);
    assert_int_equal(back->audit->deep, audit.deep);
    assert_memory_equal(&back->audit->identity, &audit.identity, sizeof(audit.identity));
    assert_memory_equal(&back->audit->fingerprint, &audit.fingerprint, sizeof(audit.fingerprint));
    whole = audit_whole_report(back->audit, &storage);
    kit_reports_equal(report, &whole);
    assert_non_null(back->audit_before);
    assert_int_equal(back->audit_before->started, earlier.started);
    whole = audit_whole_report(back->audit_before, &storage);
    kit_reports_equal(&first, &whole);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM report"), 2);
    reference_done(&image.parent);
    reference_done(&image.data_file);
    former_free(image.former);
}

/* What refers to nothing any more has no edge, what is gone is not loaded, what returns is. */
static void images_change(void **state)
{
    static const char *const unreadable[] = {
        "no JSON", "[]", "{\"path\":\"relative\"}", "{\"path\":\"/x\",\"size\":\"5\"}",
        "{\"path\":\"/x\",\"digest\":\"5\"}",
    };
    struct kit *kit = *state;
    struct image image = kit_make_image("/srv/vms/a");
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct audit audit = kit_make_audit(KIT_NOW, &report);
    struct store_batch *batch = new_batch();

    kit_open(kit);
    image.parent =
        (struct reference){ .state = REFERENCE_MISSING, .stored = image.path, .error = -ENOENT };
    put_audit(kit, &image, &audit);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM edge"), 1);
    image.parent = (struct reference){ .state = REFERENCE_NONE };
    image.fingerprint.size = 5;
    put_image(kit, &image);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM edge"), 0);
    kit_reopen(kit);
    assert_int_equal(kit->n_images, 1);
    assert_int_equal(kit->images[0]->fingerprint.size, 5);
    assert_non_null(kit->images[0]->audit);
    assert_null(kit->images[0]->former);
    for (size_t i = 0; i < sizeof(unreadable) / sizeof(unreadable[0]); i++) {
        char sql[256];

        snprintf(sql, sizeof(sql), "UPDATE image SET former = '%s'", unreadable[i]);
        kit_sql_run(kit, sql);
        kit_reopen(kit);
        assert_int_equal(kit->n_images, 1);
        assert_null(kit->images[0]->former);
    }

    assert_int_equal(store_batch_image_gone(batch, image.path), 0);
    assert_int_equal(store_batch_image_gone(batch, "/never/seen"), 0);
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_images, 0);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM report"), 0);
    kit_audits(kit, image.path, NULL, 10);
    assert_int_equal(json_object_array_length(kit->rows), 1);

    put_image(kit, &image);
    kit_reopen(kit);
    assert_int_equal(kit->n_images, 1);
    assert_null(kit->images[0]->audit);
}

static void findings_equal(const struct finding *a, const struct finding *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->subject_kind, b->subject_kind);
    assert_string_equal(a->subject, b->subject);
    assert_string_equal(a->datastore, b->datastore);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->severity, b->severity);
    assert_int_equal(a->confidence, b->confidence);
    assert_int_equal(a->first_seen, b->first_seen);
    assert_int_equal(a->last_seen, b->last_seen);
    assert_int_equal(a->changed, b->changed);
    assert_int_equal(a->resolved, b->resolved);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->misses, b->misses);
    assert_true(a->weight == b->weight);
    assert_true(json_object_equal(a->evidence, b->evidence));
    assert_true(json_object_equal(a->remedy, b->remedy));
    assert_int_equal(a->acknowledged_by == NULL, b->acknowledged_by == NULL);
    if (a->acknowledged_by) {
        assert_string_equal(a->acknowledged_by, b->acknowledged_by);
        assert_string_equal(a->acknowledged_reason, b->acknowledged_reason);
    }
    assert_int_equal(a->acknowledged_until, b->acknowledged_until);
    assert_true(a->acknowledged_weight == b->acknowledged_weight);
    assert_int_equal(a->reminded, b->reminded);
    assert_int_equal(a->reminders, b->reminders);
    assert_int_equal(a->muted_by, b->muted_by);
    assert_int_equal(a->muted_severity, b->muted_severity);
    assert_int_equal(a->mutes_broken, b->mutes_broken);
}

static void findings_come_back(void **state)
{
    struct kit *kit = *state;
    struct finding plain, full, old, recent, daemon;
    struct store_batch *batch = new_batch();
    uint64_t now = usec_now(CLOCK_REALTIME);

    kit_open(kit);
    plain = kit_make_finding(kit, FINDING_METADATA_CORRUPT, "/srv/vms/a\xff");
    plain.evidence = json_object_new_object();
    json_object_object_add(plain.evidence, "corruptions", json_object_new_uint64(UINT64_MAX));
    json_object_object_add(plain.evidence, "name", json_object_new_string_len("a\xff\n/\"", 5));
    full = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/b");
    full.state = FINDING_ACKNOWLEDGED;
    full.evidence = json_object_new_object();
    full.remedy = json_tokener_parse(
        "[{\"command\": \"qemu-img check 'x'\", \"precondition\": \"stopped\"}]");
    full.acknowledged_by = (char *)(uintptr_t)"root";
    full.acknowledged_reason = (char *)(uintptr_t)"known \xff";
    full.acknowledged_until = KIT_NOW + 5;
    full.acknowledged_weight = UINT64_MAX;
    full.count = UINT32_MAX;
    full.misses = 1;
    full.reminded = KIT_NOW + 3;
    full.reminders = 4;
    full.muted_by = 6;
    full.muted_severity = SEVERITY_ERROR;
    full.mutes_broken = 5;
    old = kit_make_finding(kit, FINDING_DIRTY_BIT_SET, "/srv/vms/c");
    old.state = FINDING_RESOLVED;
    old.resolved = now - SEVEN_DAYS - 3600 * USEC_PER_SEC;
    recent = kit_make_finding(kit, FINDING_DIRTY_BIT_SET, "/srv/vms/d");
    recent.state = FINDING_RESOLVED;
    recent.resolved = now - SEVEN_DAYS + 3600 * USEC_PER_SEC;
    recent.evidence = json_object_new_object();
    daemon = kit_make_finding(kit, FINDING_DATABASE_RECOVERED, "");
    daemon.subject_kind = SUBJECT_DAEMON;
    daemon.datastore = daemon.subject;
    daemon.evidence = json_object_new_object();
    assert_int_equal(store_batch_finding(batch, &plain), 0);
    assert_int_equal(store_batch_finding(batch, &full), 0);
    assert_int_equal(store_batch_finding(batch, &old), 0);
    assert_int_equal(store_batch_finding(batch, &recent), 0);
    assert_int_equal(store_batch_finding(batch, &daemon), 0);
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_findings, 4);
    findings_equal(kit->findings[0], &plain);
    findings_equal(kit->findings[1], &full);
    findings_equal(kit->findings[2], &recent);
    findings_equal(kit->findings[3], &daemon);
    json_object_put(plain.evidence);
    json_object_put(full.evidence);
    json_object_put(full.remedy);
    json_object_put(recent.evidence);
    json_object_put(daemon.evidence);
}

static void finding_ids(void **state)
{
    struct kit *kit = *state;
    struct finding finding, again;
    struct store_batch *batch = new_batch();
    int64_t first;

    kit_open(kit);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
    first = finding.id;
    assert_true(first > 0);
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    finding.count = 2;
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    again = finding;
    again.id = 0;
    assert_int_equal(store_batch_finding(batch, &again), -EINVAL);
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_findings, 1);
    assert_int_equal(kit->findings[0]->id, first);
    assert_int_equal(kit->findings[0]->count, 2);

    /* A new life: a new id, one row. */
    again.id = store_next_finding_id(kit->store);
    assert_true(again.id > first);
    batch = new_batch();
    assert_int_equal(store_batch_finding(batch, &again), 0);
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_findings, 1);
    assert_int_equal(kit->findings[0]->id, again.id);

    /* Not even an id that was deleted is given again. */
    kit_sql_run(kit, "DELETE FROM finding");
    kit_reopen(kit);
    assert_true(store_next_finding_id(kit->store) > again.id);
}

/* A finding that a newer or older catalogue knows does no harm to the others. */
static void unknown_rows_are_left_out(void **state)
{
    struct kit *kit = *state;
    struct finding finding, other;
    struct event event;
    struct image image = kit_make_image("/srv/vms/a");
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct audit audit = kit_make_audit(KIT_NOW, &report);
    struct store_batch *batch = new_batch();

    kit_open(kit);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
    other = kit_make_finding(kit, FINDING_SNAPSHOT_OLD, "/srv/vms/a");
    event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW);
    store_batch_finding(batch, &finding);
    store_batch_finding(batch, &other);
    store_batch_event(batch, &event);
    kit_commit(kit, batch);
    put_audit(kit, &image, &audit);
    kit_sql_run(kit, "UPDATE finding SET type = 'from-the-future' WHERE type = 'chain-deep';UPDATE "
                     "event SET finding = 'from-the-future'; UPDATE report SET version = 99");
    kit_reopen(kit);
    assert_int_equal(kit->n_findings, 1);
    assert_int_equal(kit->findings[0]->id, other.id);
    assert_int_equal(kit->n_events, 0);
    assert_int_equal(kit->n_images, 1);
    assert_null(kit->images[0]->audit);
}

#define TEXT(literal) ((char *)(uintptr_t)(literal))

static struct mute make_mute(int64_t id)
{
    return (struct mute){
        .id = id, .finding = TEXT("chain-deep"), .path = TEXT("/srv/\xff*"),
        .class = TEXT("lab"), .finding_id = 12, .by = TEXT("root"), .reason = TEXT("a\nb"),
        .made = KIT_NOW, .until = KIT_NOW + 5, .ended = KIT_NOW + 3, .ended_by = TEXT("uid 5"),
    };
}

static void commit_mute(struct kit *kit, const struct mute *mute)
{
    struct store_batch *batch;

    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_mute(batch, mute), 0);
    assert_true(store_batch_is_precious(batch));
    kit_commit(kit, batch);
}

static void mutes(void **state)
{
    struct kit *kit = *state;
    struct mute full = make_mute(7), sparse = { .id = 3, .path = TEXT("**"), .by = TEXT(""),
                                                .reason = TEXT("") };

    kit_open(kit);
    commit_mute(kit, &full);
    commit_mute(kit, &sparse);
    sparse.until = 9;
    commit_mute(kit, &sparse);
    kit_reopen(kit);
    assert_int_equal(kit->n_mutes, 2);
    assert_int_equal(kit->mutes[0]->id, 3);
    assert_null(kit->mutes[0]->finding);
    assert_null(kit->mutes[0]->class);
    assert_null(kit->mutes[0]->ended_by);
    assert_string_equal(kit->mutes[0]->path, "**");
    assert_int_equal(kit->mutes[0]->until, 9);
    assert_int_equal(kit->mutes[1]->id, 7);
    assert_string_equal(kit->mutes[1]->finding, full.finding);
    assert_string_equal(kit->mutes[1]->path, full.path);
    assert_string_equal(kit->mutes[1]->class, full.class);
    assert_int_equal(kit->mutes[1]->finding_id, full.finding_id);
    assert_string_equal(kit->mutes[1]->by, full.by);
    assert_string_equal(kit->mutes[1]->reason, full.reason);
    assert_int_equal(kit->mutes[1]->made, full.made);
    assert_int_equal(kit->mutes[1]->until, full.until);
    assert_int_equal(kit->mutes[1]->ended, full.ended);
    assert_string_equal(kit->mutes[1]->ended_by, full.ended_by);
    assert_false(kit->mutes[1]->changed);
    /* Those that ended long before the newest go; what holds stays, and so does the newest. */
    full.id = 8;
    full.made = KIT_NOW + 8 * UINT64_C(86400000000);
    commit_mute(kit, &full);
    kit_reopen(kit);
    assert_int_equal(kit->n_mutes, 2);
    assert_int_equal(kit->mutes[0]->id, 3);
    assert_int_equal(kit->mutes[1]->id, 8);
}

/* What is muted is in the history, and nobody is told of it. */
static void muted_events(void **state)
{
    struct kit *kit = *state;
    struct store_batch *batch;
    struct finding finding;
    struct event event;

    kit_open(kit);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vm/a");
    event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW);
    event.muted_by = 3;
    event.outbox = 0;
    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_event(batch, &event), 0);
    kit_commit(kit, batch);
    kit_history(kit, NULL, NULL, 0, 0, NULL, 10);
    assert_int_equal(json_object_array_length(kit->rows), 1);
    assert_int_equal(json_object_get_int64(json_object_object_get(
                         json_object_array_get_idx(kit->rows, 0), "muted-by")), 3);
    kit_reopen(kit);
    assert_int_equal(kit->n_events, 0);
}

static void outbox(void **state)
{
    struct kit *kit = *state;
    struct finding finding;
    struct event opened, acknowledged, resolved;
    struct store_batch *batch = new_batch();

    kit_open(kit);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
    opened = kit_make_event(&finding, EVENT_OPENED, KIT_NOW);
    acknowledged = kit_make_event(&finding, EVENT_ACKNOWLEDGED, KIT_NOW + 1);
    resolved = kit_make_event(&finding, EVENT_RESOLVED, KIT_NOW + 2);
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    assert_int_equal(store_batch_event(batch, &opened), 0);
    assert_int_equal(store_batch_event(batch, &acknowledged), 0);
    assert_int_equal(store_batch_event(batch, &resolved), 0);
    assert_true(store_batch_is_precious(batch));
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_events, 2);
    assert_true(sd_id128_equal(kit->events[0]->id, opened.id));
    assert_int_equal(kit->events[0]->type, EVENT_OPENED);
    assert_int_equal(kit->events[0]->at, KIT_NOW);
    assert_int_equal(kit->events[0]->finding, FINDING_CHAIN_DEEP);
    assert_int_equal(kit->events[0]->finding_id, finding.id);
    assert_int_equal(kit->events[0]->subject_kind, SUBJECT_IMAGE);
    assert_string_equal(kit->events[0]->subject, "/srv/vms/a");
    assert_string_equal(kit->events[0]->datastore, "vms");
    assert_int_equal(kit->events[0]->severity, finding.severity);
    assert_int_equal(kit->events[0]->confidence, finding.confidence);
    assert_string_equal(kit->events[0]->message, opened.message);
    assert_int_equal(kit->events[0]->depth, 12);
    assert_true(sd_id128_equal(kit->events[1]->id, resolved.id));

    batch = new_batch();
    assert_int_equal(store_batch_told(batch, opened.id, OUTBOX_LOGS, "journal"), 0);
    assert_int_equal(store_batch_told(batch, opened.id, OUTBOX_LOGS, "journal"), 0);
    assert_int_equal(store_batch_told(batch, opened.id, OUTBOX_LOGS, "syslog"), 0);
    assert_false(store_batch_is_precious(batch));
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_events, 1);
    assert_true(sd_id128_equal(kit->events[0]->id, resolved.id));
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM told"), 2);
}

/* The logs and the program of alerts.exec are told, each for itself. */
static void outbox_of_two(void **state)
{
    struct kit *kit = *state;
    struct finding finding;
    struct event event;
    struct store_batch *batch = new_batch();

    kit_open(kit);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
    event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW);
    event.outbox = OUTBOX_LOGS | OUTBOX_EXEC;
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    assert_int_equal(store_batch_event(batch, &event), 0);
    kit_commit(kit, batch);
    batch = new_batch();
    assert_int_equal(store_batch_told(batch, event.id, OUTBOX_LOGS, "journal"), 0);
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_events, 1);
    assert_int_equal(kit->events[0]->outbox, OUTBOX_EXEC);
    batch = new_batch();
    assert_int_equal(store_batch_told(batch, event.id, OUTBOX_EXEC, "exec"), 0);
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_int_equal(kit->n_events, 0);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM told"), 2);
}

static int64_t row_integer(struct kit *kit, size_t at, const char *key)
{
    json_object *value;

    assert_true(json_object_object_get_ex(json_object_array_get_idx(kit->rows, at), key, &value));
    return json_object_get_int64(value);
}

static const char *row_string(struct kit *kit, size_t at, const char *key)
{
    json_object *value;

    assert_true(json_object_object_get_ex(json_object_array_get_idx(kit->rows, at), key, &value));
    return json_object_get_string(value);
}

static void history_in_pages(void **state)
{
    struct kit *kit = *state;
    static const char *const paths[] = { "/srv/vms/a\xff", "/srv/vms/b" };
    char id[SD_ID128_STRING_MAX];
    struct finding finding;
    struct event event;
    struct store_batch *batch;

    kit_open(kit);
    for (unsigned i = 0; i < 25; i++) {
        finding = kit_make_finding(kit, i % 5 == 0 ? FINDING_CHAIN_DEEP : FINDING_SNAPSHOT_OLD,
                                   paths[i % 2]);
        event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW + i);
        batch = new_batch();
        assert_int_equal(store_batch_event(batch, &event), 0);
        kit_post(kit, batch);
    }
    /* In turn after what was posted before it. */
    kit_history(kit, NULL, NULL, 0, 0, NULL, 10);
    assert_int_equal(json_object_array_length(kit->rows), 10);
    assert_int_equal(row_integer(kit, 0, "at"), KIT_NOW + 24);
    assert_int_equal(row_integer(kit, 9, "at"), KIT_NOW + 15);
    assert_string_equal(row_string(kit, 0, "event"), "opened");
    assert_string_equal(row_string(kit, 0, "finding"), "snapshot-old");
    assert_string_equal(row_string(kit, 0, "severity"), "error");
    assert_string_equal(row_string(kit, 0, "confidence"), "offline");
    assert_string_equal(row_string(kit, 0, "subject"), paths[0]);
    assert_string_equal(row_string(kit, 0, "subject-kind"), "image");
    assert_string_equal(row_string(kit, 0, "datastore"), "vms");
    assert_string_equal(row_string(kit, 0, "message"), "something happened");
    assert_int_equal(row_integer(kit, 0, "depth"), 12);
    assert_string_equal(row_string(kit, 0, "event-id"), sd_id128_to_string(event.id, id));
    kit_history(kit, NULL, NULL, 0, 0, kit->next, 10);
    assert_int_equal(row_integer(kit, 0, "at"), KIT_NOW + 14);
    kit_history(kit, NULL, NULL, 0, 0, kit->next, 10);
    assert_int_equal(json_object_array_length(kit->rows), 5);
    assert_int_equal(row_integer(kit, 4, "at"), KIT_NOW);
    assert_string_equal(kit->next, "");

    kit_history(kit, paths[0], NULL, 0, 0, NULL, 100);
    assert_int_equal(json_object_array_length(kit->rows), 13);
    kit_history(kit, NULL, "chain-deep", 0, 0, NULL, 100);
    assert_int_equal(json_object_array_length(kit->rows), 5);
    kit_history(kit, paths[1], "chain-deep", KIT_NOW + 1, KIT_NOW + 14, NULL, 100);
    assert_int_equal(json_object_array_length(kit->rows), 1);
    assert_int_equal(row_integer(kit, 0, "at"), KIT_NOW + 5);
    kit_history(kit, "/nobody", NULL, 0, 0, NULL, 100);
    assert_int_equal(json_object_array_length(kit->rows), 0);
    assert_int_equal(store_history(kit->store, HISTORY(.limit = 10, .cursor = "17x"), NULL, NULL),
                     -EINVAL);
    assert_int_equal(store_history(kit->store, HISTORY(.limit = 10, .cursor = "-3"), NULL, NULL),
                     -EINVAL);
    assert_int_equal(store_history(kit->store,
                                   HISTORY(.of = HISTORY_AUDITS, .path = paths[0], .limit = 10,
                                           .cursor = "99999999999999999999"),
                                   NULL, NULL),
                     -EINVAL);
}

static void audits_in_pages(void **state)
{
    struct kit *kit = *state;
    struct image image = kit_make_image("/srv/vms/a");
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct qca_error why = { .kind = QCA_ERROR_HEADER, .text = "x" };
    struct audit_report failed = { .error = -EINVAL, .open_error = &why };
    struct audit audit;

    kit_open(kit);
    for (unsigned i = 0; i < 7; i++) {
        audit = kit_make_audit(KIT_NOW + i * USEC_PER_SEC, i == 6 ? &failed : &report);
        layer.check.leaks = i;
        layer.check.corruptions = 2 * i;
        layer.check.check_errors = 3 * i;
        put_audit(kit, &image, &audit);
    }
    kit_audits(kit, image.path, NULL, 4);
    assert_int_equal(json_object_array_length(kit->rows), 4);
    assert_int_equal(row_integer(kit, 0, "opened"), 0);
    assert_int_equal(row_integer(kit, 0, "error"), -EINVAL);
    assert_false(json_object_object_get_ex(json_object_array_get_idx(kit->rows, 0), "leaks", NULL));
    assert_int_equal(row_integer(kit, 1, "opened"), 1);
    assert_false(json_object_object_get_ex(json_object_array_get_idx(kit->rows, 1), "error", NULL));
    assert_int_equal(row_integer(kit, 1, "started"), KIT_NOW + 5 * USEC_PER_SEC);
    assert_int_equal(row_integer(kit, 1, "finished"), KIT_NOW + 6 * USEC_PER_SEC);
    assert_string_equal(row_string(kit, 1, "confidence"), "frozen");
    assert_string_equal(row_string(kit, 1, "use"), "read-only");
    assert_int_equal(row_integer(kit, 1, "leaks"), 5);
    assert_int_equal(row_integer(kit, 1, "corruptions"), 10);
    assert_int_equal(row_integer(kit, 1, "check-errors"), 15);
    assert_int_equal(row_integer(kit, 1, "size"), 3);
    assert_int_equal(row_integer(kit, 1, "allocated"), 4);
    assert_int_equal(row_integer(kit, 1, "virtual-size"), 1 << 30);
    assert_int_equal(row_integer(kit, 1, "depth"), 1);
    kit_audits(kit, image.path, kit->next, 4);
    assert_int_equal(json_object_array_length(kit->rows), 3);
    assert_int_equal(row_integer(kit, 2, "leaks"), 0);
    assert_string_equal(kit->next, "");
}

static int64_t depth_of(struct kit *kit, const struct image *image)
{
    json_object *value;

    kit_audits(kit, image->path, NULL, 1);
    if (!json_object_object_get_ex(json_object_array_get_idx(kit->rows, 0), "depth", &value))
        return -1;
    return json_object_get_int64(value);
}

/* Depth is known once the chain is, to its end, in whatever order; a loop has none. */
static void depth(void **state)
{
    struct kit *kit = *state;
    struct image base = kit_make_image("/srv/vms/base"), middle = kit_make_image("/srv/vms/middle");
    struct image leaf = kit_make_image("/srv/vms/leaf"), fork = kit_make_image("/srv/vms/fork");
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct audit audit = kit_make_audit(KIT_NOW, &report);

    kit_open(kit);
    middle.parent = (struct reference){ .state = REFERENCE_PENDING };
    leaf.parent = fork.parent = (struct reference){ .state = REFERENCE_FOUND, .path = middle.path };
    put_audit(kit, &leaf, &audit);
    put_audit(kit, &fork, &audit);
    put_audit(kit, &middle, &audit);
    put_audit(kit, &base, &audit);
    assert_int_equal(depth_of(kit, &base), 1);
    assert_int_equal(depth_of(kit, &middle), -1);
    assert_int_equal(depth_of(kit, &leaf), -1);
    /* Its parent was looked for, and found. */
    middle.parent = (struct reference){ .state = REFERENCE_FOUND, .path = base.path };
    put_image(kit, &middle);
    assert_int_equal(depth_of(kit, &middle), 2);
    assert_int_equal(depth_of(kit, &leaf), 3);
    assert_int_equal(depth_of(kit, &fork), 3);
    put_audit(kit, &leaf, &audit);
    assert_int_equal(depth_of(kit, &leaf), 3);
    /* What was audited before the loop was made keeps its depth. */
    base.parent = (struct reference){ .state = REFERENCE_FOUND, .path = leaf.path };
    put_audit(kit, &base, &audit);
    assert_int_equal(depth_of(kit, &base), 0);
    assert_int_equal(depth_of(kit, &leaf), 3);
    put_audit(kit, &leaf, &audit);
    assert_int_equal(depth_of(kit, &leaf), 0);
}

/* A long chain whose base is audited last: all of it becomes known at once. */
static void depth_of_long_chain(void **state)
{
    enum { N = 500 };
    struct kit *kit = *state;
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct audit audit = kit_make_audit(KIT_NOW, &report);
    struct store_batch *batch = new_batch();

    kit_open(kit);
    for (unsigned i = N; i > 0; i--) {
        char path[32], parent[32];
        struct image image;

        snprintf(path, sizeof(path), "/srv/vms/%u", i);
        snprintf(parent, sizeof(parent), "/srv/vms/%u", i - 1);
        image = kit_make_image(path);
        if (i > 1)
            image.parent = (struct reference){ .state = REFERENCE_FOUND, .path = parent };
        if (i == 1) {
            kit_commit(kit, batch);
            assert_int_equal(kit_sql(kit, "SELECT count(*) FROM audit WHERE depth IS NOT NULL"), 0);
            batch = new_batch();
        }
        assert_int_equal(store_batch_image(batch, &image), 0);
        assert_int_equal(store_batch_audit(batch, &image, &audit), 0);
    }
    kit_commit(kit, batch);
    assert_int_equal(kit_sql(kit, "SELECT count(DISTINCT depth) FROM audit"), N);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM audit JOIN image ON image.audit = audit.id"
                             " WHERE CAST(substr(CAST(path AS TEXT), 10) AS INTEGER) <> depth"), 0);
}

static void audits_kept(void **state)
{
    struct kit *kit = *state;
    struct image image = kit_make_image("/srv/vms/a");
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct audit audit;

    kit->audits_kept = 5;
    kit_open(kit);
    for (unsigned i = 0; i < 12; i++) {
        audit = kit_make_audit(KIT_NOW + i, &report);
        put_audit(kit, &image, &audit);
    }
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM audit"), 5);
    assert_int_equal(kit_sql(kit, "SELECT min(started) FROM audit"), KIT_NOW + 7);
    store_set_retention(kit->store, kit->history_retention, 3);
    put_audit(kit, &image, &audit);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM audit"), 3);
    /* The last and the one before are never pruned. */
    store_set_retention(kit->store, kit->history_retention, 0);
    put_audit(kit, &image, &audit);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM audit"), 2);
    kit_reopen(kit);
    assert_int_equal(kit->images[0]->audit->started, KIT_NOW + 11);
}

/* The thread sweeps by itself; wait until it is through. */
static void wait_for_sql(struct kit *kit, const char *sql, int64_t value)
{
    uint64_t end = usec_now(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;

    while (kit_sql(kit, sql) != value) {
        assert_true(usec_now(CLOCK_MONOTONIC) < end);
        sd_event_run(kit->event, 10000);
    }
}

static void retention(void **state)
{
    struct kit *kit = *state;
    struct image image = kit_make_image("/srv/vms/a"), deleted = kit_make_image("/srv/vms/deleted");
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct audit audit;
    struct store_batch *batch = new_batch();
    struct finding finding;
    struct event event;

    kit_open(kit);
    for (unsigned i = 0; i < 1000; i++) {
        finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
        event = kit_make_event(&finding, EVENT_ACKNOWLEDGED, KIT_NOW + i);
        assert_int_equal(store_batch_event(batch, &event), 0);
    }
    event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW);
    assert_int_equal(store_batch_event(batch, &event), 0);
    event = kit_make_event(&finding, EVENT_ACKNOWLEDGED, usec_now(CLOCK_REALTIME));
    assert_int_equal(store_batch_event(batch, &event), 0);
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    finding = kit_make_finding(kit, FINDING_SNAPSHOT_OLD, "/srv/vms/a");
    finding.state = FINDING_RESOLVED;
    finding.resolved = KIT_NOW;
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    for (unsigned i = 0; i < 10; i++) {
        audit = kit_make_audit(KIT_NOW + i, &report);
        assert_int_equal(store_batch_image(batch, &image), 0);
        assert_int_equal(store_batch_audit(batch, &image, &audit), 0);
        assert_int_equal(store_batch_audit(batch, &deleted, &audit), 0);
    }
    assert_int_equal(store_batch_image_gone(batch, deleted.path), 0);
    kit_commit(kit, batch);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 1002);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM audit"), 20);
    kit_close(kit);
    kit_sql_run(kit, "UPDATE image SET gone = 1 WHERE gone IS NOT NULL");

    kit->history_retention = 3600 * USEC_PER_SEC;
    kit_open(kit);
    /* What is young, and what is still to be told, stays; so do the last two audits, and the open
     * finding. */
    wait_for_sql(kit, "SELECT count(*) FROM event", 2);
    wait_for_sql(kit, "SELECT count(*) FROM finding", 1);
    wait_for_sql(kit, "SELECT count(*) FROM image", 1);
    wait_for_sql(kit, "SELECT count(*) FROM audit", 2);
    kit_load(kit);
    assert_int_equal(kit->n_events, 1);
    assert_int_equal(kit->images[0]->audit->started, KIT_NOW + 9);
}

/* Written in the order given, each answered once. */
static void order(void **state)
{
    struct kit *kit = *state;
    struct image image = kit_make_image("/srv/vms/a");
    struct finding finding;

    kit_open(kit);
    for (unsigned i = 0; i < 500; i++) {
        struct store_batch *batch = new_batch();
        struct event event;

        finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
        event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW + i);
        image.walk = i;
        store_batch_image(batch, &image);
        store_batch_event(batch, &event);
        kit_post(kit, batch);
    }
    kit_wait(kit, &kit->n_committed, 500);
    assert_int_equal(store_waiting(kit->store), 0);
    assert_int_equal(kit->n_failed, 0);
    assert_int_equal(
        kit_sql(kit,
                "SELECT count(*) FROM event WHERE at - seq = (SELECT min(at - seq) FROM event)"),
        500);
    assert_int_equal(kit_sql(kit, "SELECT walk FROM image"), 499);
    assert_int_equal(kit->n_trouble, 0);
}

/* Closing writes what waits, and answers it. */
static void close_writes_what_waits(void **state)
{
    struct kit *kit = *state;
    struct image image = kit_make_image("/srv/vms/a");

    kit_open(kit);
    for (unsigned i = 0; i < 40; i++) {
        struct store_batch *batch = new_batch();

        image.walk = i;
        store_batch_image(batch, &image);
        kit_post(kit, batch);
    }
    kit_close(kit);
    assert_int_equal(kit->n_committed, 40);
    assert_int_equal(kit->n_failed, 0);
    assert_int_equal(kit_sql(kit, "SELECT walk FROM image"), 39);
    assert_int_equal(kit_sql(kit, "SELECT clean FROM state"), 1);
}

/* Nothing that the database refuses keeps what comes after it. */
static void refused(void **state)
{
    struct kit *kit = *state;
    struct image image = kit_make_image("/srv/vms/a");
    struct image bad = kit_make_image("/srv/vms/bad");
    struct store_batch *batch = new_batch();

    kit_open(kit);
    bad.use = 99;
    assert_int_equal(store_batch_image(batch, &image), 0);
    assert_int_equal(store_batch_image(batch, &bad), 0);
    kit_post(kit, batch);
    kit_wait(kit, &kit->n_committed, 1);
    assert_int_equal(kit->committed_error, -EBADMSG);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM image"), 0);
    image.datastore = NULL;
    batch = new_batch();
    assert_int_equal(store_batch_image(batch, &image), -EINVAL);
    assert_true(store_batch_is_empty(batch));
    image.datastore = &kit_datastore;
    assert_int_equal(store_batch_image(batch, &image), 0);
    kit_commit(kit, batch);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM image"), 1);
}

static size_t count_rows(const struct store_batch *batch, enum row_kind kind)
{
    const struct batch_row *row;
    size_t n = 0;

    STAILQ_FOREACH(row, &batch->rows, link)
        n += row->kind == kind;
    return n;
}

/* The latest state of each stays, and every finding and event. */
static void compact(void **state)
{
    struct kit *kit = *state;
    struct image a = kit_make_image("/srv/vms/a"), b = kit_make_image("/srv/vms/b");
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct store_batch *all = new_batch();
    struct finding finding;

    kit_open(kit);
    for (unsigned i = 0; i < 100; i++) {
        struct store_batch *batch = new_batch();
        struct audit audit = kit_make_audit(KIT_NOW + i, &report);
        struct event event;

        a.walk = b.walk = i;
        finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
        event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW + i);
        store_batch_datastore(batch, &kit_datastore);
        store_batch_image(batch, i % 2 ? &a : &b);
        store_batch_audit(batch, i % 2 ? &a : &b, &audit);
        store_batch_finding(batch, &finding);
        store_batch_event(batch, &event);
        store_batch_append(all, batch);
    }
    assert_int_equal(all->n_merged, 101);
    /* With an image its parent and data file, with an audit its report. */
    assert_int_equal(store_batch_compact(all), 99 + 3 * 98 + 2 * 96);
    assert_int_equal(count_rows(all, ROW_DATASTORE), 1);
    assert_int_equal(count_rows(all, ROW_IMAGE), 2);
    assert_int_equal(count_rows(all, ROW_PARENT), 2);
    assert_int_equal(count_rows(all, ROW_DATA_FILE), 2);
    assert_int_equal(count_rows(all, ROW_AUDIT), 4);
    assert_int_equal(count_rows(all, ROW_REPORT), 4);
    assert_int_equal(count_rows(all, ROW_FINDING), 100);
    assert_int_equal(count_rows(all, ROW_EVENT), 100);
    assert_int_equal(store_batch_compact(all), 0);
    store_batch_image(all, &a);
    kit_commit(kit, all);
    assert_int_equal(kit_sql(kit, "SELECT sum(walk) FROM image"), 99 + 98);
    assert_int_equal(kit_sql(kit, "SELECT sum(started) FROM audit"),
                     4 * KIT_NOW + 99 + 98 + 97 + 96);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM report r JOIN audit a ON a.id = r.audit"
                                  " AND a.image = r.image"),
                     4);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 100);
}

static int count_image(void *userdata, const char *datastore, struct image *image)
{
    size_t *n = userdata;

    *n += image->audit && audit_layer_seen(image->audit);
    image_free(image);
    return 0;
}

/* Whoever asks without end is told to wait, and answered when the others are. */
/* ---- contents -------------------------------------------------------------------------------- */

struct loaded { struct baseline *baseline; char *deviation, *verity; unsigned n; };

static int load_baseline(void *userdata, struct baseline *baseline, json_object *deviation,
                         const char *verity)
{
    struct loaded *loaded = userdata;

    baseline_free(loaded->baseline);
    free(loaded->deviation);
    free(loaded->verity);
    *loaded = (struct loaded){ baseline,
                               deviation ? strdup(json_object_to_json_string(deviation)) : NULL,
                               verity ? strdup(verity) : NULL, loaded->n + 1 };
    return 0;
}

static void baselines_come_back(void **state)
{
    struct kit *kit = *state;
    struct loaded loaded = { .n = 0 };
    const struct store_loader loader = { .baseline = load_baseline, .userdata = &loaded };
    struct baseline b = {
        .identity = { UINT64_MAX, 2, -3 }, .path = (char[]){ "/odd\x80/path" },
        .source = BASELINE_ACCEPTED, .since = 4,
        .verified = 5, .has_digest = true, .encrypted = true, .digest = { 6 },
        .virtual_size = UINT64_MAX, .zeros = 7, .has_metadata = true,
        .metadata = { 8 }, .fingerprint = { 9, 10, 11, 12, 13, 14, 15, 16 }, .attributes = true,
        .parent = { 17, 18, 19 },
        .blocks = true, .by = (char[]){ "root" }, .reason = (char[]){ "why" }, .gone = 20,
        .lost_child = (char[]){ "/child" },
    };
    json_object *deviation = json_tokener_parse("{\"verdict\":\"modified\"}");
    struct store_batch *batch;

    kit_open(kit);
    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_baseline(batch, &b, deviation, "sha256:00"), 0);
    assert_true(store_batch_is_precious(batch));
    kit_commit(kit, batch);
    json_object_put(deviation);
    assert_int_equal(store_load(kit->store, &loader), 0);
    assert_int_equal(loaded.n, 1);
    assert_memory_equal(&loaded.baseline->identity, &b.identity, sizeof(b.identity));
    assert_memory_equal(&loaded.baseline->parent, &b.parent, sizeof(b.parent));
    assert_memory_equal(&loaded.baseline->fingerprint, &b.fingerprint, sizeof(b.fingerprint));
    assert_memory_equal(loaded.baseline->digest, b.digest, 32);
    assert_memory_equal(loaded.baseline->metadata, b.metadata, 32);
    assert_string_equal(loaded.baseline->path, b.path);
    assert_string_equal(loaded.baseline->by, "root");
    assert_string_equal(loaded.baseline->reason, "why");
    assert_string_equal(loaded.baseline->lost_child, "/child");
    assert_int_equal(loaded.baseline->source, BASELINE_ACCEPTED);
    assert_int_equal(loaded.baseline->virtual_size, UINT64_MAX);
    assert_int_equal(loaded.baseline->zeros, 7);
    assert_int_equal(loaded.baseline->gone, 20);
    assert_true(loaded.baseline->attributes && loaded.baseline->blocks &&
                loaded.baseline->has_digest);
    assert_non_null(strstr(loaded.deviation, "modified"));
    assert_string_equal(loaded.verity, "sha256:00");
    /* Once more, with less; then no more. */
    b = (struct baseline){ .identity = b.identity, .path = b.path };
    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_baseline(batch, &b, NULL, NULL), 0);
    kit_commit(kit, batch);
    assert_int_equal(store_load(kit->store, &loader), 0);
    assert_int_equal(loaded.n, 2);
    assert_false(loaded.baseline->has_digest || loaded.baseline->blocks || loaded.baseline->by);
    assert_null(loaded.deviation);
    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_baseline_gone(batch, &b.identity), 0);
    kit_commit(kit, batch);
    assert_int_equal(store_load(kit->store, &loader), 0);
    assert_int_equal(loaded.n, 2);
    baseline_free(loaded.baseline);
    free(loaded.deviation);
    free(loaded.verity);
}

static void readings_in_pages(void **state)
{
    struct kit *kit = *state;
    const struct digest_result digest = {
        .complete = true, .size = 1, .read_bytes = 2, .direct = true, .finished = 3
    };
    struct store_batch *batch;
    uint8_t content[32] = { 0xab };
    json_object *value;

    kit_open(kit);
    assert_int_equal(store_batch_new(&batch), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(store_batch_reading(batch, "/a", &digest, i == 4 ? NULL : content,
                                             i == 4 ? READING_INCOMPLETE : READING_VERIFIED,
                                             i == 4 ? "why" : NULL),
                         0);
    kit_commit(kit, batch);
    assert_int_equal(store_history(kit->store,
                                   HISTORY(.of = HISTORY_READINGS, .path = "/a", .limit = 3),
                                   kit_rows, kit),
                     0);
    kit_wait(kit, &kit->n_read, 1);
    assert_int_equal(kit->read_error, 0);
    assert_int_equal(json_object_array_length(kit->rows), 3);
    assert_true(
        json_object_object_get_ex(json_object_array_get_idx(kit->rows, 0), "explanation", &value));
    assert_string_equal(json_object_get_string(value), "why");
    assert_false(
        json_object_object_get_ex(json_object_array_get_idx(kit->rows, 0), "digest", &value));
    assert_true(
        json_object_object_get_ex(json_object_array_get_idx(kit->rows, 1), "digest", &value));
    assert_int_equal(strncmp(json_object_get_string(value), "ab00", 4), 0);
    assert_true(*kit->next);
}

struct tasks { unsigned n_done; int order, error, at[3]; };

static int run_task(void *userdata)
{
    struct tasks *tasks = userdata;

    tasks->order++;
    return -tasks->order;
}

static void task_done(void *userdata, int error)
{
    struct tasks *tasks = userdata;

    tasks->error = error;
    tasks->at[tasks->n_done] = error;
    tasks->n_done++;
}

/* In the order given, each told what came of it. */
static void tasks_in_order(void **state)
{
    struct kit *kit = *state;
    struct tasks tasks = { .n_done = 0 };

    kit_open(kit);
    for (int i = 0; i < 3; i++)
        assert_int_equal(store_task(kit->store, run_task, task_done, &tasks), 0);
    kit_wait(kit, &tasks.n_done, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tasks.at[i], -1 - i);
    /* What was given before the end is done before it. */
    tasks.n_done = 0;
    assert_int_equal(store_task(kit->store, run_task, task_done, &tasks), 0);
    kit_close(kit);
    assert_int_equal(tasks.n_done, 1);
    assert_int_equal(tasks.error, -4);
}

static void too_many_questions(void **state)
{
    struct kit *kit = *state;
    unsigned asked = 0;
    int r = 0;

    kit_open(kit);
    while (r == 0 && asked < 10000) {
        r = store_history(kit->store, HISTORY(.limit = 1000), kit_rows, kit);
        asked += r == 0;
    }
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(
        store_history(kit->store,
                      HISTORY(.of = HISTORY_AUDITS, .path = "/srv/vms/a", .limit = 1000), kit_rows,
                      kit),
        -EAGAIN);
    kit_wait(kit, &kit->n_read, asked);
    kit_history(kit, NULL, NULL, 0, 0, NULL, 10);
    assert_int_equal(kit->n_read, asked + 1);
}

/* Handed over one by one: the store itself holds none of them. */
static void many_images(void **state)
{
    enum { N = 100000, PER_BATCH = 1000 };
    struct kit *kit = *state;
    struct layer_report layer;
    struct audit_report report = clean_report(&layer);
    struct audit audit = kit_make_audit(KIT_NOW, &report);
    size_t n = 0;
    const struct store_loader loader = { .image = count_image, .userdata = &n };
    size_t before, after;

    kit_open(kit);
    for (unsigned i = 0; i < N; i += PER_BATCH) {
        struct store_batch *batch = new_batch();

        for (unsigned j = i; j < i + PER_BATCH; j++) {
            char path[64];
            struct image image;

            snprintf(path, sizeof(path), "/srv/vms/folder-%u/disk-%u.qcow2", j % 100, j);
            image = kit_make_image(path);
            assert_int_equal(store_batch_image(batch, &image), 0);
            assert_int_equal(store_batch_audit(batch, &image, &audit), 0);
        }
        kit_commit(kit, batch);
    }
    before = mallinfo2().uordblks;
    assert_int_equal(store_load(kit->store, &loader), 0);
    after = mallinfo2().uordblks;
    assert_int_equal(n, N);
    assert_true(after < before + (1 << 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rename_takes_the_history_along, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(nothing_yet, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(datastores_come_back, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(images_come_back, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(images_change, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(findings_come_back, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(finding_ids, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(unknown_rows_are_left_out, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(mutes, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(muted_events, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(outbox, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(outbox_of_two, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(history_in_pages, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(audits_in_pages, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(too_many_questions, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(baselines_come_back, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(readings_in_pages, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(tasks_in_order, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(depth, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(depth_of_long_chain, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(audits_kept, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(retention, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(order, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(close_writes_what_waits, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(refused, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(compact, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(many_images, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
