/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the store share: the folder, the loop, the answers, the things to store. */
#include "store-kit.h"
#include "check-fixture.h"

#include <dirent.h>
#include <unistd.h>

#include "helpers/clock.h"

struct datastore kit_datastore = {
    .name = (char *)(uintptr_t)"vms",
    .path = (char *)(uintptr_t)"/srv/vms",
    .recursive = true,
    .state = DATASTORE_ONLINE,
};

static void forget_loaded(struct kit *kit)
{
    for (size_t i = 0; i < kit->n_datastores; i++)
        datastore_free(kit->datastores[i]);
    for (size_t i = 0; i < kit->n_images; i++) {
        image_free(kit->images[i]);
        free(kit->image_datastores[i]);
    }
    for (size_t i = 0; i < kit->n_findings; i++)
        finding_free(kit->findings[i]);
    for (size_t i = 0; i < kit->n_events; i++)
        event_free(kit->events[i]);
    for (size_t i = 0; i < kit->n_mutes; i++)
        mute_free(kit->mutes[i]);
    free(kit->mutes);
    kit->mutes = NULL;
    kit->n_mutes = 0;
    free(kit->datastores);
    free(kit->images);
    free(kit->image_datastores);
    free(kit->findings);
    free(kit->events);
    kit->datastores = NULL;
    kit->images = NULL;
    kit->image_datastores = NULL;
    kit->findings = NULL;
    kit->events = NULL;
    kit->n_datastores = kit->n_images = kit->n_findings = kit->n_events = 0;
}

int kit_setup(void **state)
{
    struct kit *kit = calloc(1, sizeof(*kit));

    if (!kit)
        return -1;
    strcpy(kit->directory, "/tmp/test-store-XXXXXX");
    if (!mkdtemp(kit->directory) || sd_event_new(&kit->event) < 0)
        return -1;
    snprintf(kit->database, sizeof(kit->database), "%s/" CONTROL_DATABASE_NAME, kit->directory);
    kit->history_retention = UINT64_C(100) * 365 * 86400 * USEC_PER_SEC;
    kit->audits_kept = 50;
    *state = kit;
    return 0;
}

int kit_teardown(void **state)
{
    struct kit *kit = *state;
    DIR *directory;

    store_close(kit->store);
    directory = opendir(kit->directory);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    rmdir(kit->directory);
    sd_event_unref(kit->event);
    forget_loaded(kit);
    json_object_put(kit->rows);
    free(kit->aside);
    free(kit);
    return 0;
}

static void on_trouble(void *userdata, int error, size_t n_waiting)
{
    struct kit *kit = userdata;

    kit->n_trouble++;
    kit->trouble = error;
}

static void on_damaged(void *userdata, const char *path)
{
    struct kit *kit = userdata;

    kit->n_damaged++;
    snprintf(kit->damaged, sizeof(kit->damaged), "%s", path);
}

int kit_try_open(struct kit *kit)
{
    const struct store_options options = {
        .directory = kit->directory,
        .history_retention = kit->history_retention,
        .audits_kept = kit->audits_kept,
        .trouble = on_trouble,
        .damaged = on_damaged,
        .userdata = kit,
    };

    free(kit->aside);
    kit->aside = NULL;
    return store_open(kit->event, &options, &kit->holder, &kit->aside, &kit->store);
}

void kit_open(struct kit *kit)
{
    assert_int_equal(kit_try_open(kit), 0);
}

void kit_close(struct kit *kit)
{
    kit->store = store_close(kit->store);
}

static int add_pointer(void ***items, size_t *n, void *item)
{
    if ((*n & (*n - 1)) == 0) {
        void **grown = reallocarray(*items, *n == 0 ? 1 : *n * 2, sizeof(void *));

        if (!grown)
            return -ENOMEM;
        *items = grown;
    }
    (*items)[(*n)++] = item;
    return 0;
}

static int load_datastore(void *userdata, struct datastore *datastore)
{
    struct kit *kit = userdata;

    return add_pointer((void ***)&kit->datastores, &kit->n_datastores, datastore);
}

static int load_image(void *userdata, const char *datastore, struct image *image)
{
    struct kit *kit = userdata;
    size_t n = kit->n_images;

    add_pointer((void ***)&kit->image_datastores, &n, strdup(datastore));
    return add_pointer((void ***)&kit->images, &kit->n_images, image);
}

static int load_finding(void *userdata, struct finding *finding)
{
    struct kit *kit = userdata;

    return add_pointer((void ***)&kit->findings, &kit->n_findings, finding);
}

static int load_event(void *userdata, struct event *event)
{
    struct kit *kit = userdata;

    return add_pointer((void ***)&kit->events, &kit->n_events, event);
}

static int load_mute(void *userdata, struct mute *mute)
{
    struct kit *kit = userdata;

    return add_pointer((void ***)&kit->mutes, &kit->n_mutes, mute);
}

void kit_load(struct kit *kit)
{
    const struct store_loader loader = {
        .datastore = load_datastore,
        .image = load_image,
        .finding = load_finding,
        .event = load_event,
        .mute = load_mute,
        .userdata = kit,
    };

    forget_loaded(kit);
    assert_int_equal(store_load(kit->store, &loader), 0);
}

void kit_reopen(struct kit *kit)
{
    kit_close(kit);
    kit_open(kit);
    kit_load(kit);
}

void kit_wait(struct kit *kit, const unsigned *counter, unsigned value)
{
    uint64_t end = usec_now(CLOCK_MONOTONIC) + 30 * USEC_PER_SEC;

    while (*counter < value) {
        assert_true(usec_now(CLOCK_MONOTONIC) < end);
        assert_true(sd_event_run(kit->event, USEC_PER_SEC) >= 0);
    }
}

void kit_committed(void *userdata, int error)
{
    struct kit *kit = userdata;

    kit->n_committed++;
    kit->n_failed += error < 0;
    kit->committed_error = error;
}

void kit_post(struct kit *kit, struct store_batch *batch)
{
    assert_int_equal(store_commit(kit->store, batch, kit_committed, kit), 0);
}

void kit_commit(struct kit *kit, struct store_batch *batch)
{
    unsigned before = kit->n_committed;

    kit_post(kit, batch);
    kit_wait(kit, &kit->n_committed, before + 1);
    assert_int_equal(kit->committed_error, 0);
}

void kit_rows(void *userdata, int error, json_object *rows, const char *next)
{
    struct kit *kit = userdata;

    kit->n_read++;
    kit->read_error = error;
    json_object_put(kit->rows);
    kit->rows = rows;
    snprintf(kit->next, sizeof(kit->next), "%s", next);
}

void kit_history(struct kit *kit, const char *path, const char *finding, uint64_t since,
                 uint64_t until, const char *cursor, unsigned limit)
{
    unsigned before = kit->n_read;

    assert_int_equal(store_history(kit->store,
                                   HISTORY(.path = path, .finding = finding, .since = since,
                                           .until = until, .cursor = cursor, .limit = limit),
                                   kit_rows, kit),
                     0);
    kit_wait(kit, &kit->n_read, before + 1);
    assert_int_equal(kit->read_error, 0);
}

void kit_audits(struct kit *kit, const char *path, const char *cursor, unsigned limit)
{
    unsigned before = kit->n_read;

    assert_int_equal(store_history(kit->store,
                                   HISTORY(.of = HISTORY_AUDITS, .path = path, .cursor = cursor,
                                           .limit = limit),
                                   kit_rows, kit),
                     0);
    kit_wait(kit, &kit->n_read, before + 1);
    assert_int_equal(kit->read_error, 0);
}

struct image *kit_image(struct kit *kit, const char *path)
{
    for (size_t i = 0; i < kit->n_images; i++)
        if (strcmp(kit->images[i]->path, path) == 0)
            return kit->images[i];
    return NULL;
}

sqlite3 *kit_sqlite(struct kit *kit)
{
    sqlite3 *sqlite;

    assert_int_equal(sqlite3_open_v2(kit->database, &sqlite, SQLITE_OPEN_READWRITE, NULL),
                     SQLITE_OK);
    sqlite3_busy_timeout(sqlite, 5000);
    return sqlite;
}

int64_t kit_sql(struct kit *kit, const char *sql)
{
    sqlite3 *sqlite = kit_sqlite(kit);
    sqlite3_stmt *statement;
    int64_t value = -1;

    assert_int_equal(sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL), SQLITE_OK);
    if (sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(sqlite);
    return value;
}

void kit_sql_run(struct kit *kit, const char *sql)
{
    sqlite3 *sqlite = kit_sqlite(kit);

    assert_int_equal(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sqlite);
}

/* ---- things to store ------------------------------------------------------------------------ */

static char *unconst(const char *string)
{
    return (char *)(uintptr_t)string;
}

struct image kit_make_image(const char *path)
{
    return (struct image){
        .path = unconst(path),
        .datastore = &kit_datastore,
        .present = true,
        .first_seen = KIT_NOW,
        .last_seen = KIT_NOW + 1,
        .walk = 3,
        .identity = { .fsid = UINT64_MAX - 5, .inode = 77, .btime = 123456789 },
        .fingerprint = { .size = 1 << 20, .allocated = 4096, .mtime = -1, .ctime = 5,
                        .mode = 0100644, .uid = 107,
                         .gid = UINT32_MAX, .links = 2 },
        .use = FILES_FROZEN,
        .worker_deaths = 2,
        .past = { .format = QCA_FORMAT_QCOW2, .until = KIT_NOW, .size = 5,
                  .virtual_size = UINT64_MAX - 1 },
        .raw_size = UINT64_MAX - 2,
    };
}

struct finding kit_make_finding(struct kit *kit, enum finding_type type, const char *subject)
{
    return (struct finding){
        .id = store_next_finding_id(kit->store),
        .type = type,
        .subject_kind = SUBJECT_IMAGE,
        .subject = unconst(subject),
        .datastore = unconst("vms"),
        .state = FINDING_OPEN,
        .severity = SEVERITY_ERROR,
        .confidence = CONFIDENCE_OFFLINE,
        .first_seen = KIT_NOW,
        .last_seen = KIT_NOW + 1,
        .changed = KIT_NOW + 2,
        .count = 1,
        .weight = UINT64_MAX,
    };
}

struct event kit_make_event(const struct finding *finding, enum event_type type, uint64_t at)
{
    struct event event = {
        .type = type,
        .at = at,
        .finding = finding->type,
        .finding_id = finding->id,
        .subject_kind = finding->subject_kind,
        .subject = finding->subject,
        .datastore = finding->datastore,
        .severity = finding->severity,
        .confidence = finding->confidence,
        .message = unconst("something happened"),
        .depth = 12,
        .outbox = event_type_alerts(type) ? OUTBOX_LOGS : 0,
    };

    assert_int_equal(sd_id128_randomize(&event.id), 0);
    return event;
}

struct audit kit_make_audit(uint64_t started, struct audit_report *report)
{
    return (struct audit){
        .started = started,
        .finished = started + USEC_PER_SEC,
        .confidence = CONFIDENCE_FROZEN,
        .use = FILES_FROZEN,
        .deep = true,
        .identity = { .fsid = 1, .inode = UINT64_MAX, .btime = INT64_MIN },
        .fingerprint = { .size = 3, .allocated = 4, .mtime = 5, .ctime = 6, .mode = 7, .uid = 8,
                        .gid = 9, .links = 10 },
        .report = report,
    };
}

/* ---- a rich report ------------------------------------------------------------------------- */

/* Bytes no two of which are alike nearby, so that a member that is forgotten or swapped shows. */
static void fill(void *from, void *to, uint8_t seed)
{
    for (uint8_t *byte = from; byte < (uint8_t *)to; byte++)
        *byte = (uint8_t)(seed++ % 251 + 1);
}

static void fill_error(struct qca_error *error, enum qca_error_kind kind)
{
    error->kind = kind;
    error->layer = 3;
    error->offset = QCA_NO_OFFSET;
    error->value = UINT64_MAX - 1;
    error->bound = 1;
    memset(error->field, 'f', sizeof(error->field) - 1);
    memset(error->text, '"', sizeof(error->text) - 1);
}

/* Member by member, so that what pads them stays zero and whole structs can be compared. */
#define INFO_NUMBERS(X)                                                                            \
    X(version) X(file_size) X(virtual_size) X(cluster_size) X(refcount_bits) X(header_length)      \
    X(incompatible_features) X(compatible_features) X(autoclear_features) X(compression_type)      \
    X(crypt_header_offset) X(crypt_header_length) X(l1_offset) X(l1_entries)                       \
    X(refcount_table_offset) X(refcount_table_clusters) X(snapshots_offset) X(snapshot_count)

static void fill_info(struct qca_image_info *info)
{
    struct qca_image_info filled;

    fill(&filled, &filled.parent, 7);
#define X(member) info->member = filled.member;
    INFO_NUMBERS(X)
#undef X
    info->format = QCA_FORMAT_QCOW2;
    info->crypt_method = QCA_CRYPT_LUKS;
    info->parent = strdup("a\n\x1b[31m\xff\"\\/\x01 base");
    info->parent_format = strdup("");
    info->data_file = strdup("\xc3\xa4");
    info->snapshots = calloc(3, sizeof(*info->snapshots));
    info->n_snapshots = 3;
    for (unsigned i = 0; i < 3; i++) {
        struct qca_snapshot *snapshot = &info->snapshots[i];

        snapshot->id = i == 2 ? NULL : strdup("1");
        snapshot->name = strdup("before\tupgrade");
        snapshot->date_sec = i == 0 ? INT64_MIN : INT64_MAX;
        snapshot->date_nsec = UINT32_MAX;
        snapshot->vm_state_size = UINT64_MAX;
        snapshot->virtual_size = 17 + i;
        snapshot->l1_offset = 65536;
        snapshot->l1_entries = 12;
    }
    info->bitmaps = calloc(2, sizeof(*info->bitmaps));
    info->n_bitmaps = 2;
    for (unsigned i = 0; i < 2; i++)
        info->bitmaps[i] = (struct qca_bitmap){ strdup(i ? "b" : ""), QCA_BITMAP_IN_USE, 16,
                                                UINT64_C(1) << 62, 8 + i };
    info->extensions = calloc(2, sizeof(*info->extensions));
    info->n_extensions = 2;
    for (unsigned i = 0; i < 2; i++)
        info->extensions[i] = (struct qca_extension){ 0xe2792aca + i, 5, 104 };
    info->variant = QCA_VARIANT_VMDK_DESCRIPTOR;
    info->unknown_lines = 7;
    info->identity = (struct qca_identity){ "8f67ca74" };
    info->second_parent_identity = (struct qca_identity){ "00000000" };
    info->other_size = UINT64_MAX - 2;
    info->parent_identity = (struct qca_identity){ "5f4a0f2e-6b6d-4d0e-8a3c-1d2e3f405162" };
    info->extents = calloc(2, sizeof(*info->extents));
    info->n_extents = 2;
    info->extents[0] = (struct qca_extent_file){ strdup("a-flat.vmdk"), "FLAT", 1 << 20, 512 };
    info->extents[1] = (struct qca_extent_file){ NULL, "ZERO", 512, 0 };
}

static void fill_check(struct qca_check_result *check)
{
    fill(&check->corruptions, &check->kind_count, 3);
    for (unsigned kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        fixture_count(check, kind, 3 + kind);
    check->error = calloc(1, sizeof(*check->error));
    fill_error(check->error, QCA_ERROR_IO);
    check->n_issues = 2 * _QCA_ISSUE_MAX;
    check->issues = calloc(check->n_issues, sizeof(*check->issues));
    for (unsigned i = 0; i < check->n_issues; i++) {
        struct qca_issue *issue = &check->issues[i];

        fill(issue, issue + 1, (uint8_t)i);
        issue->kind = i % _QCA_ISSUE_MAX;
        issue->table = i % _QCA_TABLE_MAX;
        if (i >= _QCA_ISSUE_MAX) {
            issue->snapshot = QCA_ACTIVE;
            issue->table_offset = issue->guest_offset = issue->host_offset = QCA_NO_OFFSET;
            issue->stored = issue->counted = 0;
        }
    }
}

struct audit_report *kit_rich_report(void)
{
    struct audit_report *report = calloc(1, sizeof(*report));

    assert_non_null(report);
    report->error = -ECHILD;
    report->open_error = calloc(1, sizeof(*report->open_error));
    fill_error(report->open_error, QCA_ERROR_HEADER);
    report->n_layers = 3;
    report->layers = calloc(3, sizeof(*report->layers));
    assert_non_null(report->layers);
    for (unsigned i = 0; i < 3; i++) {
        struct layer_report *layer = &report->layers[i];

        layer->name = i == 0 ? NULL : strdup("../parent");
        layer->checked = i != 1;
        layer->has_metadata_digest = i != 2;
        layer->probed_format = i == 2 ? QCA_FORMAT_RAW : QCA_FORMAT_QCOW2;
        fill(layer->metadata_digest, layer->metadata_digest + sizeof(layer->metadata_digest), 200);
        fill(&layer->snapshots_total, layer + 1, 111);
        fill_info(&layer->info);
        if (layer->checked)
            fill_check(&layer->check);
        layer->check.finished = i == 0;
    }
    report->worker_signal = 11;
    report->worker_status = -1;
    report->reading = REPORT_READING_UNCACHED;
    fill(&report->bytes_read, report + 1, 90);
    return report;
}

static void strings_equal(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a)
        assert_string_equal(a, b);
}

static void infos_equal(const struct qca_image_info *a, const struct qca_image_info *b)
{
    assert_memory_equal(a, b, offsetof(struct qca_image_info, parent));
    strings_equal(a->parent, b->parent);
    strings_equal(a->parent_format, b->parent_format);
    strings_equal(a->data_file, b->data_file);
    assert_int_equal(a->n_snapshots, b->n_snapshots);
    for (size_t i = 0; i < a->n_snapshots; i++) {
        strings_equal(a->snapshots[i].id, b->snapshots[i].id);
        strings_equal(a->snapshots[i].name, b->snapshots[i].name);
        assert_memory_equal(&a->snapshots[i].date_sec, &b->snapshots[i].date_sec,
                            sizeof(struct qca_snapshot) - offsetof(struct qca_snapshot, date_sec));
    }
    assert_int_equal(a->n_bitmaps, b->n_bitmaps);
    for (size_t i = 0; i < a->n_bitmaps; i++) {
        strings_equal(a->bitmaps[i].name, b->bitmaps[i].name);
        assert_int_equal(a->bitmaps[i].flags, b->bitmaps[i].flags);
        assert_int_equal(a->bitmaps[i].granularity_bits, b->bitmaps[i].granularity_bits);
        assert_int_equal(a->bitmaps[i].table_offset, b->bitmaps[i].table_offset);
        assert_int_equal(a->bitmaps[i].table_entries, b->bitmaps[i].table_entries);
    }
    assert_int_equal(a->n_extensions, b->n_extensions);
    if (a->n_extensions > 0)
        assert_memory_equal(a->extensions, b->extensions, a->n_extensions * sizeof(*a->extensions));
    assert_int_equal(a->n_extents, b->n_extents);
    for (size_t i = 0; i < a->n_extents; i++) {
        strings_equal(a->extents[i].name, b->extents[i].name);
        assert_memory_equal(a->extents[i].type, b->extents[i].type,
                            sizeof(struct qca_extent_file) -
                                offsetof(struct qca_extent_file, type));
    }
    assert_int_equal(a->unknown_lines, b->unknown_lines);
    assert_string_equal(a->identity.text, b->identity.text);
    assert_string_equal(a->parent_identity.text, b->parent_identity.text);
    assert_string_equal(a->second_parent_identity.text, b->second_parent_identity.text);
    assert_int_equal(a->other_size, b->other_size);
}

void kit_reports_equal(const struct audit_report *a, const struct audit_report *b)
{
    assert_int_equal(a->error, b->error);
    assert_true(fixture_same(a->open_error, b->open_error, sizeof(*a->open_error)));
    assert_int_equal(a->n_layers, b->n_layers);
    for (size_t i = 0; i < a->n_layers; i++) {
        const struct layer_report *x = &a->layers[i], *y = &b->layers[i];

        strings_equal(x->name, y->name);
        infos_equal(&x->info, &y->info);
        assert_int_equal(x->checked, y->checked);
        assert_int_equal(x->check.finished, y->check.finished);
        assert_true(fixture_same(x->check.error, y->check.error, sizeof(*x->check.error)));
        assert_memory_equal(&x->check.corruptions, &y->check.corruptions,
                            offsetof(struct qca_check_result, kind_count) -
                                offsetof(struct qca_check_result, corruptions));
        assert_true(fixture_same_counts(&x->check, &y->check));
        assert_int_equal(x->check.n_issues, y->check.n_issues);
        if (x->check.n_issues > 0)
            assert_memory_equal(x->check.issues, y->check.issues,
                                x->check.n_issues * sizeof(*x->check.issues));
        assert_int_equal(x->has_metadata_digest, y->has_metadata_digest);
        assert_memory_equal(x->metadata_digest, y->metadata_digest, sizeof(x->metadata_digest));
        assert_int_equal(x->probed_format, y->probed_format);
        assert_memory_equal(&x->snapshots_total, &y->snapshots_total,
                            sizeof(*x) - offsetof(struct layer_report, snapshots_total));
    }
    assert_int_equal(a->worker_signal, b->worker_signal);
    assert_int_equal(a->worker_status, b->worker_status);
    assert_int_equal(a->reading, b->reading);
    assert_memory_equal(&a->bytes_read, &b->bytes_read,
                        sizeof(*a) - offsetof(struct audit_report, bytes_read));
}
