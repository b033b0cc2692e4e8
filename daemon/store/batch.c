/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Builds batches in the loop: copies what changed into rows of values; merges batches when too many
 * wait. */
#include "daemon/store/batch.h"

#include <errno.h>
#include <string.h>

#include "daemon/store/report.h"
#include "lib/cleanup.h"

static const char *const use_names[] = {
    [FILES_UNUSED] = "unused",
    [FILES_FROZEN] = "read-only",
    [FILES_WRITER] = "writer",
};

static int name_index(const char *const *names, size_t n_names, const char *name)
{
    for (size_t i = 0; name && i < n_names; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -EINVAL;
}

const char *store_use_name(enum files_use use)
{
    return (unsigned)use < ELEMENTSOF(use_names) ? use_names[use] : NULL;
}

int store_use_from_name(const char *name)
{
    return name_index(use_names, ELEMENTSOF(use_names), name);
}

/* ---- rows ----------------------------------------------------------------------------------- */

static struct row *row_free(struct row *row)
{
    if (!row)
        return NULL;
    for (unsigned i = 0; i < row->n_values; i++)
        free(row->values[i].data);
    free(row);
    return NULL;
}

DEFINE_CLEANUP(struct row *, row_free)

static struct row *row_new(enum row_kind kind, unsigned n_max)
{
    struct row *row = calloc(1, sizeof(*row) + n_max * sizeof(row->values[0]));

    if (row) {
        row->kind = kind;
        row->n_max = n_max;
    }
    return row;
}

static struct value *row_next(struct row *row)
{
    if (row->n_values == row->n_max) {
        row->failed = true;
        return NULL;
    }
    return &row->values[row->n_values++];
}

static void put_null(struct row *row)
{
    struct value *value = row_next(row);

    if (value)
        value->type = VALUE_NULL;
}

static void put_integer(struct row *row, int64_t integer)
{
    struct value *value = row_next(row);

    if (value)
        *value = (struct value){ .type = VALUE_INTEGER, .integer = integer };
}

/* The same bits, as SQLite knows signed numbers only. */
static void put_u64(struct row *row, uint64_t number)
{
    put_integer(row, (int64_t)number);
}

/* NULL becomes NULL. */
static void put_bytes(struct row *row, enum value_type type, const char *bytes)
{
    struct value *value = row_next(row);

    if (!value || !bytes)
        return;
    value->type = type;
    value->data = strdup(bytes);
    value->size = strlen(bytes);
    if (!value->data)
        row->failed = true;
}

static void put_text(struct row *row, const char *text)
{
    put_bytes(row, VALUE_TEXT, text);
}

static void put_blob(struct row *row, const char *bytes)
{
    put_bytes(row, VALUE_BLOB, bytes);
}

static void put_json(struct row *row, json_object *object)
{
    const char *text = NULL;

    if (object) {
        text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
                                                          JSON_C_TO_STRING_NOSLASHESCAPE);
        row->failed = row->failed || !text;
    }
    put_text(row, text);
}

static void put_identity(struct row *row, const struct identity *identity)
{
    put_u64(row, identity->fsid);
    put_u64(row, identity->inode);
    put_integer(row, identity->btime);
}

static void put_fingerprint(struct row *row, const struct fingerprint *fingerprint)
{
    put_u64(row, fingerprint->size);
    put_u64(row, fingerprint->allocated);
    put_integer(row, fingerprint->mtime);
    put_integer(row, fingerprint->ctime);
    put_integer(row, fingerprint->mode);
    put_integer(row, fingerprint->uid);
    put_integer(row, fingerprint->gid);
    put_integer(row, fingerprint->links);
}

static void put_reference(struct row *row, const struct reference *reference)
{
    put_text(row, reference_state_name(reference->state));
    put_blob(row, reference->stored);
    put_blob(row, reference->format);
    put_blob(row, reference->path);
    put_identity(row, &reference->identity);
    put_integer(row, reference->error);
}

static int batch_take(struct store_batch *batch, struct row *row)
{
    if (row->failed) {
        row_free(row);
        return -ENOMEM;
    }
    *batch->last = row;
    batch->last = &row->next;
    return 0;
}

/* ---- batches -------------------------------------------------------------------------------- */

int store_batch_new(struct store_batch **ret_batch)
{
    struct store_batch *batch = calloc(1, sizeof(*batch));

    if (!batch)
        return -ENOMEM;
    batch->last = &batch->first;
    batch->last_waiter = &batch->waiters;
    batch->n_merged = 1;
    *ret_batch = batch;
    return 0;
}

struct store_batch *store_batch_free(struct store_batch *batch)
{
    if (!batch)
        return NULL;
    while (batch->first) {
        struct row *row = batch->first;

        batch->first = row->next;
        row_free(row);
    }
    while (batch->waiters) {
        struct batch_waiter *waiter = batch->waiters;

        batch->waiters = waiter->next;
        free(waiter);
    }
    free(batch);
    return NULL;
}

bool store_batch_is_empty(const struct store_batch *batch)
{
    return !batch->first;
}

int store_batch_datastore(struct store_batch *batch, const struct datastore *datastore)
{
    const struct series *series = &datastore->available;
    const struct sample *last = series->n > 0 ? &series->samples[series->n - 1] : NULL;
    json_object *coverage = NULL;
    struct row *row;

    if (datastore->walk_finished > 0 && coverage_to_json(&datastore->coverage, &coverage) < 0)
        return -ENOMEM;
    row = row_new(ROW_DATASTORE, 22);
    if (!row) {
        json_object_put(coverage);
        return -ENOMEM;
    }
    put_text(row, datastore->name);
    put_blob(row, datastore->path);
    put_integer(row, datastore->recursive);
    put_text(row, datastore_state_name(datastore->state));
    put_integer(row, datastore->error);
    put_u64(row, datastore->root.fsid);
    put_u64(row, datastore->root.size);
    put_u64(row, datastore->root.available);
    put_text(row, datastore->root.type);
    put_integer(row, datastore->root.network);
    put_integer(row, datastore->watched);
    put_integer(row, datastore->watch_error);
    put_u64(row, datastore->overflows);
    put_u64(row, datastore->unreadable);
    put_u64(row, datastore->walk);
    put_u64(row, datastore->walk_started);
    put_u64(row, datastore->walk_finished);
    put_u64(row, datastore->paused_until);
    put_u64(row, datastore->n_images);
    put_u64(row, last ? last->at : 0);
    put_u64(row, last ? last->value : 0);
    put_json(row, coverage);
    json_object_put(coverage);
    return batch_take(batch, row);
}

int store_batch_image(struct store_batch *batch, const struct image *image)
{
    struct row *row;
    json_object *former = NULL;

    if (!image->datastore)
        return -EINVAL;
    if (image->former && former_to_json(image->former, &former) < 0)
        return -ENOMEM;
    row = row_new(ROW_IMAGE, 42);
    if (!row) {
        json_object_put(former);
        return -ENOMEM;
    }
    put_blob(row, image->path);
    put_text(row, image->datastore->name);
    put_blob(row, image->datastore->path);
    put_integer(row, image->present);
    put_u64(row, image->first_seen);
    put_u64(row, image->last_seen);
    put_u64(row, image->walk);
    put_identity(row, &image->identity);
    put_fingerprint(row, &image->fingerprint);
    put_text(row, store_use_name(image->use));
    put_integer(row, image->worker_deaths);
    put_reference(row, &image->parent);
    put_reference(row, &image->data_file);
    put_text(row, image->past.format == QCA_FORMAT_UNKNOWN ? NULL
                                                           : qca_format_name(image->past.format));
    put_u64(row, image->past.until);
    put_u64(row, image->past.size);
    put_u64(row, image->past.virtual_size);
    put_u64(row, image->raw_size);
    put_json(row, former);
    json_object_put(former);
    return batch_take(batch, row);
}

/* NULL where there is nothing to say, as table audit has it. */
static void put_layer(struct row *row, const struct layer_report *layer)
{
    const struct qca_image_info *info = layer ? &layer->info : NULL;
    const struct qca_check_result *check = layer && layer->checked ? &layer->check : NULL;

    put_text(row, info ? qca_format_name(info->format) : NULL);
    for (unsigned i = 0; !info && i < 9; i++)
        put_null(row);
    if (info) {
        put_integer(row, info->version);
        put_u64(row, info->virtual_size);
        put_integer(row, info->cluster_size);
        put_integer(row, info->refcount_bits);
        put_u64(row, info->incompatible_features);
        put_u64(row, info->compatible_features);
        put_u64(row, info->autoclear_features);
        put_u64(row, info->n_snapshots);
        put_u64(row, info->n_bitmaps);
    }
    for (unsigned i = 0; !check && i < 8; i++)
        put_null(row);
    if (check) {
        put_integer(row, check->finished);
        put_u64(row, check->corruptions);
        put_u64(row, check->leaks);
        put_u64(row, check->check_errors);
        put_u64(row, check->total_clusters);
        put_u64(row, check->allocated_clusters);
        put_u64(row, check->image_end_offset);
        put_u64(row, check->n_issues);
    }
}

int store_batch_audit(struct store_batch *batch, const struct image *image,
                      const struct audit *audit)
{
    static const struct audit_report no_report;
    const struct audit_report *report = audit->report ? audit->report : &no_report;
    _cleanup_(row_freep) struct row *row = NULL;
    _cleanup_free_ char *body = NULL;
    int r;

    if (!image->datastore)
        return -EINVAL;
    r = store_report_encode(report, &body);
    if (r < 0)
        return r;
    row = row_new(ROW_AUDIT, 53);
    if (!row)
        return -ENOMEM;
    put_blob(row, image->path);
    put_text(row, image->datastore->name);
    put_blob(row, image->datastore->path);
    put_u64(row, audit->started);
    put_u64(row, audit->finished);
    put_text(row, confidence_name(audit->confidence));
    put_text(row, store_use_name(audit->use));
    put_integer(row, audit->deep);
    put_identity(row, &audit->identity);
    put_fingerprint(row, &audit->fingerprint);
    put_integer(row, report->error);
    put_text(row, qca_error_kind_name(report->open_error.kind));
    put_integer(row, report->open_error.layer);
    put_u64(row, report->open_error.offset);
    put_u64(row, report->open_error.value);
    put_u64(row, report->open_error.bound);
    put_text(row, report->open_error.field);
    put_text(row, report->open_error.text);
    put_integer(row, report->worker_signal);
    put_integer(row, report->worker_status);
    put_u64(row, report->bytes_read);
    put_u64(row, report->elapsed_usec);
    put_u64(row, report->cpu_usec);
    put_u64(row, report->peak_memory);
    put_layer(row, report->n_layers > 0 ? &report->layers[0] : NULL);
    put_integer(row, STORE_REPORT_VERSION);
    put_text(row, body);
    return batch_take(batch, TAKE_PTR(row));
}

int store_batch_image_gone(struct store_batch *batch, const char *path)
{
    struct row *row = row_new(ROW_GONE, 1);

    if (!row)
        return -ENOMEM;
    put_blob(row, path);
    return batch_take(batch, row);
}

int store_batch_renamed(struct store_batch *batch, const char *before, const char *after)
{
    struct row *row = row_new(ROW_RENAMED, 2);

    if (!row)
        return -ENOMEM;
    put_blob(row, before);
    put_blob(row, after);
    return batch_take(batch, row);
}

int store_batch_finding(struct store_batch *batch, const struct finding *finding)
{
    const struct finding_definition *definition = finding_definition(finding->type);
    struct row *row;

    if (!definition || finding->id <= 0)
        return -EINVAL;
    row = row_new(ROW_FINDING, 23);
    if (!row)
        return -ENOMEM;
    put_integer(row, finding->id);
    put_text(row, definition->name);
    put_text(row, subject_kind_name(finding->subject_kind));
    put_blob(row, finding->subject);
    put_text(row, finding->datastore);
    put_text(row, finding_state_name(finding->state));
    put_text(row, severity_name(finding->severity));
    put_text(row, confidence_name(finding->confidence));
    put_u64(row, finding->first_seen);
    put_u64(row, finding->last_seen);
    put_u64(row, finding->changed);
    put_u64(row, finding->resolved);
    put_integer(row, finding->count);
    put_integer(row, finding->misses);
    put_u64(row, finding->weight);
    put_json(row, finding->evidence);
    put_json(row, finding->remedy);
    put_text(row, finding->acknowledged_by);
    put_text(row, finding->acknowledged_reason);
    put_u64(row, finding->acknowledged_until);
    put_u64(row, finding->acknowledged_weight);
    put_u64(row, finding->reminded);
    put_integer(row, finding->reminders);
    return batch_take(batch, row);
}

int store_batch_event(struct store_batch *batch, const struct event *event)
{
    const struct finding_definition *definition = finding_definition(event->finding);
    char id[SD_ID128_STRING_MAX];
    struct row *row;

    if (!definition)
        return -EINVAL;
    row = row_new(ROW_EVENT, 13);
    if (!row)
        return -ENOMEM;
    put_text(row, sd_id128_to_string(event->id, id));
    put_text(row, event_type_name(event->type));
    put_u64(row, event->at);
    put_text(row, definition->name);
    put_integer(row, event->finding_id);
    put_text(row, subject_kind_name(event->subject_kind));
    put_blob(row, event->subject);
    put_text(row, event->datastore);
    put_text(row, severity_name(event->severity));
    put_text(row, confidence_name(event->confidence));
    put_text(row, event->message ? event->message : "");
    put_integer(row, event->depth);
    put_integer(row, event_type_alerts(event->type));
    return batch_take(batch, row);
}

int store_batch_told(struct store_batch *batch, sd_id128_t event_id, const char *channel)
{
    char id[SD_ID128_STRING_MAX];
    struct row *row = row_new(ROW_TOLD, 2);

    if (!row)
        return -ENOMEM;
    put_text(row, sd_id128_to_string(event_id, id));
    put_text(row, channel);
    return batch_take(batch, row);
}

bool store_batch_is_precious(const struct store_batch *batch)
{
    for (const struct row *row = batch->first; row; row = row->next)
        if (row->kind == ROW_EVENT || row->kind == ROW_BASELINE)
            return true;
    return false;
}

static void put_bytes_of(struct row *row, const uint8_t *bytes, size_t size)
{
    struct value *value = row_next(row);

    if (!value || !bytes)
        return;
    value->type = VALUE_BLOB;
    value->data = malloc(size);
    value->size = size;
    if (value->data)
        memcpy(value->data, bytes, size);
    else
        row->failed = true;
}

static void put_blocks_name(struct row *row, const struct baseline *baseline)
{
    char name[64];

    snprintf(name, sizeof(name), BLOCKS_NAME_FORMAT, BLOCKS_NAME_VALUES(baseline->identity));
    put_text(row, baseline->blocks ? name : NULL);
}

int store_batch_baseline(struct store_batch *batch, const struct baseline *baseline,
                         json_object *deviation, const char *verity)
{
    struct row *row = row_new(ROW_BASELINE, 31);

    if (!row)
        return -ENOMEM;
    put_identity(row, &baseline->identity);
    put_blob(row, baseline->path);
    put_text(row, baseline_source_name(baseline->source));
    put_u64(row, baseline->since);
    put_u64(row, baseline->verified);
    put_bytes_of(row, baseline->has_digest ? baseline->digest : NULL, sizeof(baseline->digest));
    put_u64(row, baseline->virtual_size);
    put_u64(row, baseline->zeros);
    put_bytes_of(row, baseline->has_metadata ? baseline->metadata : NULL,
                 sizeof(baseline->metadata));
    put_fingerprint(row, &baseline->fingerprint);
    put_integer(row, baseline->attributes);
    put_identity(row, &baseline->parent);
    put_text(row, verity);
    put_blocks_name(row, baseline);
    put_text(row, baseline->by);
    put_text(row, baseline->reason);
    put_u64(row, baseline->gone);
    put_blob(row, baseline->lost_child);
    put_json(row, deviation);
    put_integer(row, baseline->encrypted);
    return batch_take(batch, row);
}

int store_batch_disk_move(struct store_batch *batch, const char *overlay, const char *parent,
                          uint64_t at)
{
    struct row *row = row_new(ROW_DISK_MOVE, 3);

    if (!row)
        return -ENOMEM;
    put_blob(row, overlay);
    put_blob(row, parent);
    put_u64(row, at);
    return batch_take(batch, row);
}

int store_batch_baseline_gone(struct store_batch *batch, const struct identity *identity)
{
    struct row *row = row_new(ROW_BASELINE_GONE, 3);

    if (!row)
        return -ENOMEM;
    put_identity(row, identity);
    return batch_take(batch, row);
}

int store_batch_reading(struct store_batch *batch, const char *path,
                        const struct digest_result *digest, const uint8_t *content,
                        enum reading_verdict verdict, const char *explanation)
{
    struct row *row = row_new(ROW_READING, 12);

    if (!row)
        return -ENOMEM;
    put_blob(row, path);
    put_u64(row, digest->started);
    put_u64(row, digest->finished);
    put_bytes_of(row, content, 32);
    put_u64(row, digest->size);
    put_u64(row, digest->read_bytes);
    put_u64(row, digest->zero_bytes);
    put_u64(row, digest->unallocated_bytes);
    put_integer(row, digest->direct);
    put_u64(row, digest->n_bad);
    put_text(row, reading_verdict_name(verdict));
    put_text(row, explanation ? explanation : "");
    return batch_take(batch, row);
}

/* ---- too many wait -------------------------------------------------------------------------- */

void store_batch_append(struct store_batch *batch, struct store_batch *from)
{
    if (from->first) {
        *batch->last = from->first;
        batch->last = from->last;
        from->first = NULL;
    }
    if (from->waiters) {
        *batch->last_waiter = from->waiters;
        batch->last_waiter = from->last_waiter;
        from->waiters = NULL;
    }
    batch->n_merged += from->n_merged;
    batch->sequence = from->sequence;
    store_batch_free(from);
}

struct place {
    struct row *row;
    size_t index;
};

static bool may_be_superseded(const struct row *row)
{
    return row->kind == ROW_DATASTORE || row->kind == ROW_IMAGE || row->kind == ROW_AUDIT;
}

/* By kind and key, then in the order given. */
static int compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    const struct value *key_a = &a->row->values[0], *key_b = &b->row->values[0];
    int r;

    if (a->row->kind != b->row->kind)
        return a->row->kind < b->row->kind ? -1 : 1;
    if (key_a->size != key_b->size)
        return key_a->size < key_b->size ? -1 : 1;
    r = memcmp(key_a->data, key_b->data, key_a->size);
    if (r != 0)
        return r;
    return a->index < b->index ? -1 : a->index > b->index;
}

static bool same_key(const struct row *a, const struct row *b)
{
    return a->kind == b->kind && a->values[0].size == b->values[0].size &&
           memcmp(a->values[0].data, b->values[0].data, a->values[0].size) == 0;
}

size_t store_batch_compact(struct store_batch *batch)
{
    _cleanup_free_ struct place *places = NULL;
    size_t n = 0, n_dropped = 0;

    for (struct row *row = batch->first; row; row = row->next)
        n += may_be_superseded(row);
    places = n > 0 ? calloc(n, sizeof(*places)) : NULL;
    if (!places)
        return 0;
    n = 0;
    for (struct row *row = batch->first; row; row = row->next)
        if (may_be_superseded(row)) {
            places[n] = (struct place){ .row = row, .index = n };
            n++;
        }
    qsort(places, n, sizeof(*places), compare_places);
    for (size_t i = 0; i < n; i++) {
        /* What an audit found is compared with the one before. */
        size_t later = places[i].row->kind == ROW_AUDIT ? i + 2 : i + 1;

        places[i].row->failed = later < n && same_key(places[i].row, places[later].row);
    }
    for (struct row **at = &batch->first; *at;) {
        struct row *row = *at;

        if (!row->failed) {
            at = &row->next;
            continue;
        }
        *at = row->next;
        row_free(row);
        n_dropped++;
    }
    batch->last = &batch->first;
    while (*batch->last)
        batch->last = &(*batch->last)->next;
    return n_dropped;
}
