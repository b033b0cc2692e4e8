/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client's side of a report: records of a worker that may lie, put together within fixed
 * bounds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/report-wire.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define CONTENT_FLAGS (WORKER_CONTENT_DIGEST | WORKER_LAYER_DIGEST)

struct report_receiver {
    struct audit_report *report;
    struct report_room room;
    size_t allocated_layers;
    bool expect_more, expect_check, complete;
    unsigned digests;               /* enum worker_flags: those that were asked for */
    size_t expect_snapshots, expect_bitmaps, expect_extensions, expect_extents, expect_issues;
};

const char *report_reading_name(enum report_reading reading)
{
    static const char *const names[_REPORT_READING_MAX] = {
        [REPORT_READING_ORDINARY] = "ordinary", [REPORT_READING_DIRECT] = "direct",
        [REPORT_READING_UNCACHED] = "uncached", [REPORT_READING_CACHED] = "cached",
    };

    return (unsigned)reading < _REPORT_READING_MAX ? names[reading] : NULL;
}

void layer_report_done(struct layer_report *layer)
{
    free(layer->name);
    qca_image_info_done(&layer->info);
    qca_check_result_done(&layer->check);
}

static void drop_content(struct audit_report *report)
{
    for (size_t i = 0; i < report->n_layers; i++)
        layer_report_done(&report->layers[i]);
    free(report->layers);
    free(report->file_digest);
    free(report->content_digest);
    free(report->open_error);
    report->open_error = NULL;
}

const struct qca_error *audit_report_open_error(const struct audit_report *report)
{
    static const struct qca_error none = { .kind = QCA_ERROR_NONE };

    return report->open_error ? report->open_error : &none;
}

bool audit_report_worker_died(const struct audit_report *report)
{
    return report->error == -ECHILD || report->error == -ETIMEDOUT || report->error == -EBADMSG;
}

struct audit_report *audit_report_free(struct audit_report *report)
{
    if (!report)
        return NULL;
    drop_content(report);
    free(report);
    return NULL;
}

int report_receiver_new(size_t max_issues, struct report_receiver **ret_receiver)
{
    struct report_receiver *receiver = calloc(1, sizeof(*receiver));

    if (!receiver)
        return -ENOMEM;
    receiver->report = calloc(1, sizeof(*receiver->report));
    if (!receiver->report) {
        free(receiver);
        return -ENOMEM;
    }
    receiver->room = (struct report_room)REPORT_ROOM(max_issues);
    *ret_receiver = receiver;
    return 0;
}

struct report_receiver *report_receiver_free(struct report_receiver *receiver)
{
    if (!receiver)
        return NULL;
    audit_report_free(receiver->report);
    free(receiver);
    return NULL;
}

void report_receiver_expect(struct report_receiver *receiver, unsigned flags)
{
    receiver->digests = flags & (WORKER_FILE_DIGEST | CONTENT_FLAGS);
}

static bool layer_is_whole(const struct report_receiver *receiver)
{
    return !receiver->expect_more && !receiver->expect_check && receiver->expect_snapshots == 0 &&
           receiver->expect_bitmaps == 0 && receiver->expect_extensions == 0 &&
           receiver->expect_extents == 0 && receiver->expect_issues == 0;
}

static struct layer_report *last_layer(struct report_receiver *receiver)
{
    return &receiver->report->layers[receiver->report->n_layers - 1];
}

/* Allocates n of size bytes, n being within what is left of room. */
static int claim(size_t *room, size_t n, size_t size, void *ret_array)
{
    void *array = NULL;

    if (n > *room)
        return -EBADMSG;
    if (n > 0) {
        array = calloc(n, size);
        if (!array)
            return -ENOMEM;
    }
    *room -= n;
    memcpy(ret_array, &array, sizeof(array));
    return 0;
}

static int copy_text(const union wire_record *record, unsigned index, char **ret)
{
    const char *text = wire_text(record, index);
    char *copy = NULL;

    if (text) {
        copy = strdup(text);
        if (!copy)
            return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

static bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static bool identity_is_valid(const struct qca_identity *identity)
{
    const char *text = identity->text;

    return memchr(text, '\0', sizeof(identity->text)) &&
           text[strspn(text, "0123456789abcdef-")] == '\0';
}

static bool layer_is_valid(const struct wire_layer *l)
{
    bool sizes = qca_format_has((enum qca_format)l->format, QCA_TRAIT_REFCOUNTS) ?
        is_power_of_two(l->cluster_size) && l->cluster_size >= 512 && l->cluster_size <= 2u << 20 &&
            is_power_of_two(l->refcount_bits) && l->refcount_bits <= 64 :
        true;

    return sizes && l->format > QCA_FORMAT_UNKNOWN && l->format < _QCA_FORMAT_MAX &&
           l->probed_format < _QCA_FORMAT_MAX && l->crypt_method <= QCA_CRYPT_LUKS &&
           l->has_metadata_digest <= 1 && l->checked <= 1 && l->snapshots_total >= l->n_snapshots &&
           l->bitmaps_total >= l->n_bitmaps && l->extensions_total >= l->n_extensions &&
           l->variant < _QCA_VARIANT_MAX && l->extents_total >= l->n_extents &&
           identity_is_valid(&l->identity) && identity_is_valid(&l->parent_identity) &&
           identity_is_valid(&l->second_parent_identity);
}

static int take_layer(struct report_receiver *receiver, const union wire_record *record)
{
    const struct wire_layer *l = &record->layer;
    struct audit_report *report = receiver->report;
    struct layer_report *layer;
    int r;

    if (!layer_is_whole(receiver) || l->index != report->n_layers ||
        report->n_layers >= WIRE_LAYERS_MAX || !layer_is_valid(l))
        return -EBADMSG;
    if (report->n_layers == receiver->allocated_layers) {
        size_t n = receiver->allocated_layers ? 2 * receiver->allocated_layers : 1;
        struct layer_report *layers = reallocarray(report->layers, n, sizeof(*layers));

        if (!layers)
            return -ENOMEM;
        report->layers = layers;
        receiver->allocated_layers = n;
    }
    layer = &report->layers[report->n_layers];
    *layer = (struct layer_report){
        .probed_format = (enum qca_format)l->probed_format,
        .checked = l->checked,
        .has_metadata_digest = l->has_metadata_digest,
        .snapshots_total = l->snapshots_total,
        .bitmaps_total = l->bitmaps_total,
        .extensions_total = l->extensions_total,
        .extents_total = l->extents_total,
    };
    report->n_layers++;
    layer->info.format = (enum qca_format)l->format;
    layer->info.crypt_method = (enum qca_crypt)l->crypt_method;
    layer->info.variant = (enum qca_variant)l->variant;
#define WIRE_X(field) layer->info.field = l->field;
    WIRE_INFO_FIELDS(WIRE_X)
#undef WIRE_X
    memcpy(layer->metadata_digest, l->metadata_digest, sizeof(layer->metadata_digest));

    r = copy_text(record, 0, &layer->name);
    if (r == 0)
        r = copy_text(record, 1, &layer->info.parent);
    if (r == 0)
        r = claim(&receiver->room.snapshots, l->n_snapshots, sizeof(struct qca_snapshot),
                  &layer->info.snapshots);
    if (r == 0)
        r = claim(&receiver->room.bitmaps, l->n_bitmaps, sizeof(struct qca_bitmap),
                  &layer->info.bitmaps);
    if (r == 0)
        r = claim(&receiver->room.extensions, l->n_extensions, sizeof(struct qca_extension),
                  &layer->info.extensions);
    if (r == 0)
        r = claim(&receiver->room.extents, l->n_extents, sizeof(struct qca_extent_file),
                  &layer->info.extents);
    receiver->expect_more = true;
    receiver->expect_check = l->checked;
    receiver->expect_snapshots = l->n_snapshots;
    receiver->expect_bitmaps = l->n_bitmaps;
    receiver->expect_extensions = l->n_extensions;
    receiver->expect_extents = l->n_extents;
    return r;
}

static int take_layer_more(struct report_receiver *receiver, const union wire_record *record)
{
    struct layer_report *layer = last_layer(receiver);
    int r;

    if (!receiver->expect_more)
        return -EBADMSG;
    receiver->expect_more = false;
    r = copy_text(record, 0, &layer->info.parent_format);
    if (r == 0)
        r = copy_text(record, 1, &layer->info.data_file);
    return r;
}

static int take_snapshot(struct report_receiver *receiver, const union wire_record *record)
{
    const struct wire_snapshot *w = &record->snapshot;
    struct qca_image_info *info = &last_layer(receiver)->info;
    struct qca_snapshot *s;
    int r;

    if (receiver->expect_more || receiver->expect_snapshots == 0 || !wire_text(record, 0) ||
        !wire_text(record, 1))
        return -EBADMSG;
    receiver->expect_snapshots--;
    s = &info->snapshots[info->n_snapshots++];
    *s = (struct qca_snapshot){
        .date_sec = w->date_sec, .date_nsec = w->date_nsec, .vm_state_size = w->vm_state_size,
        .virtual_size = w->virtual_size, .l1_offset = w->l1_offset, .l1_entries = w->l1_entries,
    };
    r = copy_text(record, 0, &s->id);
    if (r == 0)
        r = copy_text(record, 1, &s->name);
    return r;
}

static int take_bitmap(struct report_receiver *receiver, const union wire_record *record)
{
    const struct wire_bitmap *w = &record->bitmap;
    struct qca_image_info *info = &last_layer(receiver)->info;
    struct qca_bitmap *b;

    if (receiver->expect_more || receiver->expect_snapshots > 0 || receiver->expect_bitmaps == 0 ||
        !wire_text(record, 0) || w->granularity_bits > UINT8_MAX)
        return -EBADMSG;
    receiver->expect_bitmaps--;
    b = &info->bitmaps[info->n_bitmaps++];
    *b = (struct qca_bitmap){
        .flags = w->flags, .granularity_bits = (uint8_t)w->granularity_bits,
        .table_offset = w->table_offset,
        .table_entries = w->table_entries,
    };
    return copy_text(record, 0, &b->name);
}

static int take_extensions(struct report_receiver *receiver, const union wire_record *record)
{
    const struct wire_extensions *w = &record->extensions;
    struct qca_image_info *info = &last_layer(receiver)->info;

    if (receiver->expect_more || receiver->expect_snapshots > 0 || receiver->expect_bitmaps > 0 ||
        w->n == 0 || w->n > WIRE_EXTENSIONS_PER_RECORD || w->n > receiver->expect_extensions)
        return -EBADMSG;
    memcpy(info->extensions + info->n_extensions, w->extension, w->n * sizeof(w->extension[0]));
    info->n_extensions += w->n;
    receiver->expect_extensions -= w->n;
    return 0;
}

static int take_extent(struct report_receiver *receiver, const union wire_record *record)
{
    const struct wire_extent *w = &record->extent;
    struct qca_image_info *info = &last_layer(receiver)->info;
    size_t length = strnlen(w->type, sizeof(w->type));
    struct qca_extent_file *e;

    if (receiver->expect_more || receiver->expect_snapshots > 0 || receiver->expect_bitmaps > 0 ||
        receiver->expect_extensions > 0 || receiver->expect_extents == 0 || length == 0 ||
        length == sizeof(w->type) || !text_is_safe(w->type, length))
        return -EBADMSG;
    receiver->expect_extents--;
    e = &info->extents[info->n_extents++];
    *e = (struct qca_extent_file){.size = w->size, .offset = w->offset};
    memcpy(e->type, w->type, length);
    return copy_text(record, 0, &e->name);
}

/* Nothing is kept where there was none. */
static int keep_error(const struct qca_error *error, struct qca_error **ret_error)
{
    if (error->kind == QCA_ERROR_NONE && error->text[0] == '\0')
        return 0;
    *ret_error = malloc(sizeof(**ret_error));
    if (!*ret_error)
        return -ENOMEM;
    **ret_error = *error;
    return 0;
}

static int keep_counts(const uint32_t counts[static _QCA_ISSUE_MAX], uint32_t **ret_counts)
{
    unsigned kind = 0;

    while (kind < _QCA_ISSUE_MAX && counts[kind] == 0)
        kind++;
    if (kind == _QCA_ISSUE_MAX)
        return 0;
    *ret_counts = malloc(_QCA_ISSUE_MAX * sizeof(**ret_counts));
    if (!*ret_counts)
        return -ENOMEM;
    memcpy(*ret_counts, counts, _QCA_ISSUE_MAX * sizeof(**ret_counts));
    return 0;
}

static int take_check(struct report_receiver *receiver, const union wire_record *record)
{
    const struct wire_check *w = &record->check;
    struct qca_check_result *check = &last_layer(receiver)->check;
    int r;

    if (receiver->expect_more || receiver->expect_snapshots > 0 || receiver->expect_bitmaps > 0 ||
        receiver->expect_extensions > 0 || receiver->expect_extents > 0 ||
        !receiver->expect_check || w->finished > 1 ||
        !wire_qca_error_is_valid(&w->error))
        return -EBADMSG;
    receiver->expect_check = false;
#define WIRE_X(field) check->field = w->field;
    WIRE_CHECK_FIELDS(WIRE_X)
#undef WIRE_X
    check->finished = w->finished;
    r = keep_error(&w->error, &check->error);
    if (r >= 0)
        r = keep_counts(w->kind_count, &check->kind_count);
    if (r < 0)
        return r;
    receiver->expect_issues = w->n_issues;
    return claim(&receiver->room.issues, w->n_issues, sizeof(struct qca_issue), &check->issues);
}

static int take_issues(struct report_receiver *receiver, const union wire_record *record)
{
    const struct wire_issues *w = &record->issues;
    struct qca_check_result *check = &last_layer(receiver)->check;

    if (w->n == 0 || w->n > WIRE_ISSUES_PER_RECORD || w->n > receiver->expect_issues)
        return -EBADMSG;
    for (size_t i = 0; i < w->n; i++)
        if (w->issue[i].kind >= _QCA_ISSUE_MAX || w->issue[i].table >= _QCA_TABLE_MAX ||
            w->issue[i].layer != receiver->report->n_layers - 1)
            return -EBADMSG;
    memcpy(check->issues + check->n_issues, w->issue, w->n * sizeof(w->issue[0]));
    check->n_issues += w->n;
    receiver->expect_issues -= w->n;
    return 0;
}

static int take_file_digest(struct report_receiver *receiver, const struct wire_file_digest *w)
{
    struct audit_report *report = receiver->report;

    if (!(receiver->digests & WORKER_FILE_DIGEST) || report->file_digest || report->n_layers > 0)
        return -EBADMSG;
    report->file_digest = malloc(sizeof(*report->file_digest));
    if (!report->file_digest)
        return -ENOMEM;
    *report->file_digest = w->digest;
    return 0;
}

static int take_content_digest(struct report_receiver *receiver,
                               const struct wire_content_digest *w)
{
    struct audit_report *report = receiver->report;

    if (!(receiver->digests & CONTENT_FLAGS) || report->content_digest || report->n_layers == 0 ||
        !layer_is_whole(receiver) || w->complete > 1 || w->digest.n_bad > QCA_BAD_RANGES_MAX ||
        (w->complete == 0) != (w->digest.n_bad > 0))
        return -EBADMSG;
    for (size_t i = 0; i < w->digest.n_bad; i++)
        if (w->digest.bad[i].error >= 0 || !wire_error_is_valid(w->digest.bad[i].error) ||
            w->digest.bad[i].layer >= report->n_layers)
            return -EBADMSG;
    report->content_digest = malloc(sizeof(*report->content_digest));
    if (!report->content_digest)
        return -ENOMEM;
    *report->content_digest = w->digest;
    report->content_digest->complete = w->complete;
    return 0;
}

/* All that was asked for is there, unless it could not be had. */
static bool report_is_whole(const struct report_receiver *receiver)
{
    const struct audit_report *report = receiver->report;

    return (report->file_digest || !(receiver->digests & WORKER_FILE_DIGEST)) &&
           (report->content_digest || !(receiver->digests & CONTENT_FLAGS)) &&
           (report->n_layers > 0 || report->file_digest);
}

static int take_done(struct report_receiver *receiver, const struct wire_done *w)
{
    struct audit_report *report = receiver->report;
    int r;

    if (!layer_is_whole(receiver) || w->reading >= _REPORT_READING_MAX ||
        !wire_error_is_valid(w->error) || w->n_layers != report->n_layers ||
        (w->error == 0 && !report_is_whole(receiver)) || !wire_qca_error_is_valid(&w->open_error))
        return -EBADMSG;
    r = keep_error(&w->open_error, &report->open_error);
    if (r < 0)
        return r;
    report->error = (int)w->error;
    report->reading = (enum report_reading)w->reading;
    report->bytes_read = w->bytes_read;
    report->elapsed_usec = w->elapsed_usec;
    report->cpu_usec = w->cpu_usec;
    report->peak_memory = w->peak_memory;
    receiver->complete = true;
    return 1;
}

int report_receiver_take(struct report_receiver *receiver, const union wire_record *record)
{
    if (receiver->complete)
        return -EBADMSG;
    if (record->header.type == WIRE_LAYER)
        return take_layer(receiver, record);
    if (record->header.type == WIRE_DONE)
        return take_done(receiver, &record->done);
    if (record->header.type == WIRE_FILE_DIGEST)
        return take_file_digest(receiver, &record->file_digest);
    if (receiver->report->n_layers == 0)
        return -EBADMSG;
    switch (record->header.type) {
    case WIRE_LAYER_MORE:
        return take_layer_more(receiver, record);
    case WIRE_SNAPSHOT:
        return take_snapshot(receiver, record);
    case WIRE_BITMAP:
        return take_bitmap(receiver, record);
    case WIRE_EXTENSIONS:
        return take_extensions(receiver, record);
    case WIRE_EXTENT:
        return take_extent(receiver, record);
    case WIRE_CHECK:
        return take_check(receiver, record);
    case WIRE_ISSUES:
        return take_issues(receiver, record);
    case WIRE_CONTENT_DIGEST:
        return take_content_digest(receiver, &record->content_digest);
    default:
        return -EBADMSG;
    }
}

const struct audit_report *report_receiver_report(const struct report_receiver *receiver)
{
    return receiver->report;
}

struct audit_report *report_receiver_finish(struct report_receiver *receiver)
{
    return TAKE_PTR(receiver->report);
}

struct audit_report *report_receiver_abandon(struct report_receiver *receiver)
{
    drop_content(receiver->report);
    *receiver->report = (struct audit_report){0};
    return report_receiver_finish(receiver);
}
