/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole struct audit_report as JSON text and back, both directions from one description of its
 * members. */
#include "daemon/store/report.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <string.h>

#include "helpers/json-text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct audit_report *, audit_report_free)

enum field_type {
    FIELD_BOOL,
    FIELD_INT,          /* int */
    FIELD_U8,
    FIELD_U32,
    FIELD_U64,
    FIELD_I64,
    FIELD_OFFSET,       /* uint64_t, QCA_NO_OFFSET left out instead of zero */
    FIELD_SNAPSHOT,     /* uint32_t, QCA_ACTIVE left out instead of zero */
    FIELD_ENUM,         /* by its name */
    FIELD_STRING,       /* char *, may be NULL */
    FIELD_CHARS,        /* char[size], NUL-ended */
    FIELD_BYTES,        /* uint8_t[size], hexadecimal */
    FIELD_COUNTS,       /* uint32_t[_QCA_ISSUE_MAX]: an object by the names of issue kinds */
    FIELD_OBJECT,       /* a struct */
    FIELD_ARRAY,        /* pointer to structs, their number at count */
};

struct fields;

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    size_t size;                        /* of the member, or of an array's element */
    size_t count;                       /* FIELD_ARRAY: offset of the size_t */
    const char *(*name)(unsigned value);    /* FIELD_ENUM */
    unsigned n_names;
    const struct fields *members;       /* FIELD_OBJECT, FIELD_ARRAY */
};

struct fields {
    const struct field *items;
    size_t n_items;
};

#define PLAIN(s, m, k, t)                                                                          \
    { .key = (k), .type = FIELD_##t, .offset = offsetof(struct s, m),                              \
      .size = sizeof(((struct s *)0)->m) }
#define ENUM(s, m, k, f, n) \
    { .key = (k), .type = FIELD_ENUM, .offset = offsetof(struct s, m), .name = (f), .n_names = (n) }
#define OBJECT(s, m, k, f)                                                                         \
    {                                                                                              \
        .key = (k), .type = FIELD_OBJECT, .offset = offsetof(struct s, m), .members = (f)          \
    }
#define ARRAY(s, m, c, k, f)                                                                       \
    { .key = (k), .type = FIELD_ARRAY, .offset = offsetof(struct s, m),                            \
      .size = sizeof(*((struct s *)0)->m),                                                         \
      .count = offsetof(struct s, c), .members = (f) }
#define FIELDS(name, ...)                                                                          \
    static const struct field name##_items[] = { __VA_ARGS__ };                                    \
    static const struct fields name = { name##_items, ELEMENTSOF(name##_items) }

static const char *format_name(unsigned value)
{
    return qca_format_name((enum qca_format)value);
}

static const char *variant_name(unsigned value)
{
    return qca_variant_name((enum qca_variant)value);
}

static const char *error_kind_name(unsigned value)
{
    return qca_error_kind_name((enum qca_error_kind)value);
}

static const char *issue_kind_name(unsigned value)
{
    return qca_issue_kind_name((enum qca_issue_kind)value);
}

static const char *table_name(unsigned value)
{
    return qca_table_name((enum qca_table)value);
}

static const char *reading_name(unsigned value)
{
    return report_reading_name((enum report_reading)value);
}

static const char *crypt_name(unsigned value)
{
    static const char *const names[] = {
        [QCA_CRYPT_NONE] = "none", [QCA_CRYPT_AES] = "aes", [QCA_CRYPT_LUKS] = "luks",
    };

    return value < ELEMENTSOF(names) ? names[value] : NULL;
}

FIELDS(error_fields,
       ENUM(qca_error, kind, "kind", error_kind_name, _QCA_ERROR_MAX),
       PLAIN(qca_error, layer, "layer", U32),
       PLAIN(qca_error, offset, "offset", U64),
       PLAIN(qca_error, value, "value", U64),
       PLAIN(qca_error, bound, "bound", U64),
       PLAIN(qca_error, field, "field", CHARS),
       PLAIN(qca_error, text, "text", CHARS));

FIELDS(snapshot_fields,
       PLAIN(qca_snapshot, id, "id", STRING),
       PLAIN(qca_snapshot, name, "name", STRING),
       PLAIN(qca_snapshot, date_sec, "date-sec", I64),
       PLAIN(qca_snapshot, date_nsec, "date-nsec", U32),
       PLAIN(qca_snapshot, vm_state_size, "vm-state-size", U64),
       PLAIN(qca_snapshot, virtual_size, "virtual-size", U64),
       PLAIN(qca_snapshot, l1_offset, "l1-offset", U64),
       PLAIN(qca_snapshot, l1_entries, "l1-entries", U32));

FIELDS(bitmap_fields,
       PLAIN(qca_bitmap, name, "name", STRING),
       PLAIN(qca_bitmap, flags, "flags", U32),
       PLAIN(qca_bitmap, granularity_bits, "granularity-bits", U8),
       PLAIN(qca_bitmap, table_offset, "table-offset", U64),
       PLAIN(qca_bitmap, table_entries, "table-entries", U32));

FIELDS(extension_fields,
       PLAIN(qca_extension, type, "type", U32),
       PLAIN(qca_extension, length, "length", U32),
       PLAIN(qca_extension, offset, "offset", U64));

FIELDS(extent_fields,
       PLAIN(qca_extent_file, name, "name", STRING),
       PLAIN(qca_extent_file, type, "type", CHARS),
       PLAIN(qca_extent_file, size, "size", U64),
       PLAIN(qca_extent_file, offset, "offset", U64));

FIELDS(info_fields,
       ENUM(qca_image_info, format, "format", format_name, _QCA_FORMAT_MAX),
       ENUM(qca_image_info, variant, "variant", variant_name, _QCA_VARIANT_MAX),
       PLAIN(qca_image_info, version, "version", U32),
       PLAIN(qca_image_info, file_size, "file-size", U64),
       PLAIN(qca_image_info, virtual_size, "virtual-size", U64),
       PLAIN(qca_image_info, cluster_size, "cluster-size", U32),
       PLAIN(qca_image_info, refcount_bits, "refcount-bits", U32),
       PLAIN(qca_image_info, header_length, "header-length", U32),
       PLAIN(qca_image_info, incompatible_features, "incompatible", U64),
       PLAIN(qca_image_info, compatible_features, "compatible", U64),
       PLAIN(qca_image_info, autoclear_features, "autoclear", U64),
       PLAIN(qca_image_info, compression_type, "compression-type", U8),
       ENUM(qca_image_info, crypt_method, "crypt-method", crypt_name, QCA_CRYPT_LUKS + 1),
       PLAIN(qca_image_info, crypt_header_offset, "crypt-header-offset", U64),
       PLAIN(qca_image_info, crypt_header_length, "crypt-header-length", U64),
       PLAIN(qca_image_info, l1_offset, "l1-offset", U64),
       PLAIN(qca_image_info, l1_entries, "l1-entries", U32),
       PLAIN(qca_image_info, refcount_table_offset, "refcount-table-offset", U64),
       PLAIN(qca_image_info, refcount_table_clusters, "refcount-table-clusters", U32),
       PLAIN(qca_image_info, snapshots_offset, "snapshots-offset", U64),
       PLAIN(qca_image_info, snapshot_count, "snapshot-count", U32),
       PLAIN(qca_image_info, parent, "parent", STRING),
       PLAIN(qca_image_info, parent_format, "parent-format", STRING),
       PLAIN(qca_image_info, data_file, "data-file", STRING),
       ARRAY(qca_image_info, snapshots, n_snapshots, "snapshots", &snapshot_fields),
       ARRAY(qca_image_info, bitmaps, n_bitmaps, "bitmaps", &bitmap_fields),
       ARRAY(qca_image_info, extensions, n_extensions, "extensions", &extension_fields),
       ARRAY(qca_image_info, extents, n_extents, "extents", &extent_fields),
       PLAIN(qca_image_info, unknown_lines, "unknown-lines", U32));

FIELDS(issue_fields,
       ENUM(qca_issue, kind, "kind", issue_kind_name, _QCA_ISSUE_MAX),
       ENUM(qca_issue, table, "table", table_name, _QCA_TABLE_MAX),
       PLAIN(qca_issue, layer, "layer", U32),
       PLAIN(qca_issue, snapshot, "snapshot", SNAPSHOT),
       PLAIN(qca_issue, table_offset, "table-offset", OFFSET),
       PLAIN(qca_issue, index, "index", U64),
       PLAIN(qca_issue, host_offset, "host-offset", OFFSET),
       PLAIN(qca_issue, host_length, "host-length", U64),
       PLAIN(qca_issue, guest_offset, "guest-offset", OFFSET),
       PLAIN(qca_issue, guest_length, "guest-length", U64),
       PLAIN(qca_issue, stored, "stored", U64),
       PLAIN(qca_issue, counted, "counted", U64),
       PLAIN(qca_issue, count, "count", U64));

FIELDS(check_fields,
       PLAIN(qca_check_result, finished, "finished", BOOL),
       OBJECT(qca_check_result, error, "error", &error_fields),
       PLAIN(qca_check_result, corruptions, "corruptions", U64),
       PLAIN(qca_check_result, leaks, "leaks", U64),
       PLAIN(qca_check_result, check_errors, "check-errors", U64),
       PLAIN(qca_check_result, image_end_offset, "image-end", U64),
       PLAIN(qca_check_result, total_clusters, "total-clusters", U64),
       PLAIN(qca_check_result, allocated_clusters, "allocated-clusters", U64),
       PLAIN(qca_check_result, compressed_clusters, "compressed-clusters", U64),
       PLAIN(qca_check_result, fragmented_clusters, "fragmented-clusters", U64),
       PLAIN(qca_check_result, leak_runs, "leak-runs", U64),
       PLAIN(qca_check_result, burst_leaks, "burst-leaks", U64),
       PLAIN(qca_check_result, burst_offset, "burst-offset", OFFSET),
       PLAIN(qca_check_result, burst_end, "burst-end", OFFSET),
       PLAIN(qca_check_result, kind_count, "kinds", COUNTS),
       ARRAY(qca_check_result, issues, n_issues, "issues", &issue_fields));

FIELDS(layer_fields,
       PLAIN(layer_report, name, "name", STRING),
       OBJECT(layer_report, info, "info", &info_fields),
       PLAIN(layer_report, checked, "checked", BOOL),
       OBJECT(layer_report, check, "check", &check_fields),
       PLAIN(layer_report, has_metadata_digest, "has-metadata-digest", BOOL),
       PLAIN(layer_report, metadata_digest, "metadata-digest", BYTES),
       ENUM(layer_report, probed_format, "probed-format", format_name, _QCA_FORMAT_MAX),
       PLAIN(layer_report, snapshots_total, "snapshots-total", U64),
       PLAIN(layer_report, bitmaps_total, "bitmaps-total", U64),
       PLAIN(layer_report, extensions_total, "extensions-total", U64),
       PLAIN(layer_report, extents_total, "extents-total", U64));

FIELDS(report_fields,
       PLAIN(audit_report, error, "error", INT),
       OBJECT(audit_report, open_error, "open-error", &error_fields),
       ARRAY(audit_report, layers, n_layers, "layers", &layer_fields),
       PLAIN(audit_report, worker_signal, "worker-signal", INT),
       PLAIN(audit_report, worker_status, "worker-status", INT),
       ENUM(audit_report, reading, "reading", reading_name, _REPORT_READING_MAX),
       PLAIN(audit_report, bytes_read, "bytes-read", U64),
       PLAIN(audit_report, elapsed_usec, "elapsed-usec", U64),
       PLAIN(audit_report, cpu_usec, "cpu-usec", U64),
       PLAIN(audit_report, peak_memory, "peak-memory", U64));

/* ---- out ------------------------------------------------------------------------------------ */

static int encode_fields(const struct fields *fields, const void *base, json_object **ret);

/* Takes value, also on failure. A NULL value is what could not be allocated. */
static int add(json_object *object, const char *key, json_object *value)
{
    if (!value)
        return -ENOMEM;
    if (json_object_object_add(object, key, value) < 0) {
        json_object_put(value);
        return -ENOMEM;
    }
    return 0;
}

static int encode_array(const struct field *field, const void *base, json_object *object)
{
    const char *items = *(const char *const *)((const char *)base + field->offset);
    size_t n = *(const size_t *)((const char *)base + field->count);
    _cleanup_(json_object_putp) json_object *array = json_object_new_array_ext((int)n);

    if (!array)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        json_object *item;
        int r = encode_fields(field->members, items + i * field->size, &item);

        if (r < 0)
            return r;
        if (json_object_array_add(array, item) < 0) {
            json_object_put(item);
            return -ENOMEM;
        }
    }
    return n == 0 ? 0 : add(object, field->key, TAKE_PTR(array));
}

static int encode_counts(const struct field *field, const uint32_t *counts, json_object *object)
{
    _cleanup_(json_object_putp) json_object *kinds = json_object_new_object();

    if (!kinds)
        return -ENOMEM;
    for (unsigned i = 0; i < _QCA_ISSUE_MAX; i++)
        if (counts[i] > 0 && add(kinds, issue_kind_name(i), json_object_new_uint64(counts[i])) < 0)
            return -ENOMEM;
    return json_object_object_length(kinds) == 0 ? 0 : add(object, field->key, TAKE_PTR(kinds));
}

static int encode_bytes(const struct field *field, const uint8_t *bytes, json_object *object)
{
    char hex[2 * 64 + 1];

    for (size_t i = 0; i < field->size; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    for (size_t i = 0; i < field->size; i++)
        if (bytes[i] != 0)
            return add(object, field->key, json_object_new_string(hex));
    return 0;
}

static int encode_unsigned(const struct field *field, uint64_t value, uint64_t usual,
                           json_object *object)
{
    return value == usual ? 0 : add(object, field->key, json_object_new_uint64(value));
}

static int encode_signed(const struct field *field, int64_t value, json_object *object)
{
    return value == 0 ? 0 : add(object, field->key, json_object_new_int64(value));
}

static int encode_string(const struct field *field, const char *string, size_t length,
                         json_object *object)
{
    return string ? add(object, field->key, json_object_new_string_len(string, (int)length)) : 0;
}

static int encode_field(const struct field *field, const void *base, json_object *object)
{
    const void *member = (const char *)base + field->offset;
    json_object *members;
    const char *string;
    int r;

    switch (field->type) {
    case FIELD_BOOL:
        return *(const bool *)member ? add(object, field->key, json_object_new_boolean(true)) : 0;
    case FIELD_INT:
        return encode_signed(field, *(const int *)member, object);
    case FIELD_I64:
        return encode_signed(field, *(const int64_t *)member, object);
    case FIELD_U8:
        return encode_unsigned(field, *(const uint8_t *)member, 0, object);
    case FIELD_U32:
        return encode_unsigned(field, *(const uint32_t *)member, 0, object);
    case FIELD_SNAPSHOT:
        return encode_unsigned(field, *(const uint32_t *)member, QCA_ACTIVE, object);
    case FIELD_U64:
        return encode_unsigned(field, *(const uint64_t *)member, 0, object);
    case FIELD_OFFSET:
        return encode_unsigned(field, *(const uint64_t *)member, QCA_NO_OFFSET, object);
    case FIELD_ENUM:
        string = field->name(*(const unsigned *)member);
        return encode_string(field, string, string ? strlen(string) : 0, object);
    case FIELD_STRING:
        string = *(const char *const *)member;
        return encode_string(field, string, string ? strlen(string) : 0, object);
    case FIELD_CHARS:
        r = (int)strnlen(member, field->size);
        return r == 0 ? 0 : encode_string(field, member, (size_t)r, object);
    case FIELD_BYTES:
        return encode_bytes(field, member, object);
    case FIELD_COUNTS:
        return encode_counts(field, member, object);
    case FIELD_ARRAY:
        return encode_array(field, base, object);
    case FIELD_OBJECT:
        r = encode_fields(field->members, member, &members);
        return r < 0 ? r : add(object, field->key, members);
    }
    return -EINVAL;
}

static int encode_fields(const struct fields *fields, const void *base, json_object **ret)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();

    if (!object)
        return -ENOMEM;
    for (size_t i = 0; i < fields->n_items; i++) {
        int r = encode_field(&fields->items[i], base, object);

        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(object);
    return 0;
}

int store_report_encode(const struct audit_report *report, char **ret_text)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    const char *text;
    char *copy;
    int r;

    r = encode_fields(&report_fields, report, &object);
    if (r < 0)
        return r;
    text = json_object_to_json_string_ext(object,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    copy = text ? strdup(text) : NULL;
    if (!copy)
        return -ENOMEM;
    *ret_text = copy;
    return 0;
}

/* ---- in ------------------------------------------------------------------------------------- */

static int decode_fields(const struct fields *fields, json_object *object, void *base);

static int decode_unsigned(json_object *value, uint64_t max, uint64_t *ret)
{
    uint64_t number;

    if (!json_object_is_type(value, json_type_int))
        return -EBADMSG;
    if (json_object_get_int64(value) < 0)
        return -EBADMSG;
    number = json_object_get_uint64(value);
    if (number > max)
        return -EBADMSG;
    *ret = number;
    return 0;
}

static int decode_signed(json_object *value, int64_t min, int64_t max, int64_t *ret)
{
    if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < min ||
        json_object_get_int64(value) > max)
        return -EBADMSG;
    *ret = json_object_get_int64(value);
    return 0;
}

static int decode_name(json_object *value, const char *(*name)(unsigned value), unsigned n_names,
                       unsigned *ret)
{
    for (unsigned i = 0; i < n_names; i++) {
        const char *known = name(i);

        if (known && json_object_is_type(value, json_type_string) &&
            strcmp(known, json_object_get_string(value)) == 0) {
            *ret = i;
            return 0;
        }
    }
    return -EBADMSG;
}

static int decode_bytes(json_object *value, uint8_t *bytes, size_t size)
{
    const char *hex = json_object_is_type(value, json_type_string)
                          ? json_object_get_string(value) : "";

    if (strlen(hex) != 2 * size || strspn(hex, "0123456789abcdef") != 2 * size)
        return -EBADMSG;
    for (size_t i = 0; i < size; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &bytes[i]) != 1)
            return -EBADMSG;
    return 0;
}

static int decode_counts(json_object *value, uint32_t *counts)
{
    if (!json_object_is_type(value, json_type_object))
        return -EBADMSG;
    json_object_object_foreach(value, name, count) {
        enum qca_issue_kind kind = qca_issue_kind_from_name(name);
        uint64_t n = 0;
        int r = kind >= _QCA_ISSUE_MAX ? -EBADMSG : decode_unsigned(count, UINT64_MAX, &n);

        if (r < 0)
            return r;
        counts[kind] = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    }
    return 0;
}

static int decode_array(const struct field *field, json_object *value, void *base)
{
    size_t n = json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 0;
    char *items;

    if (n == 0)
        return -EBADMSG;
    items = calloc(n, field->size);
    if (!items)
        return -ENOMEM;
    *(void **)((char *)base + field->offset) = items;
    *(size_t *)((char *)base + field->count) = n;
    for (size_t i = 0; i < n; i++) {
        int r = decode_fields(field->members, json_object_array_get_idx(value, i),
                              items + i * field->size);

        if (r < 0)
            return r;
    }
    return 0;
}

static int decode_string(const struct field *field, json_object *value, void *member)
{
    const char *string = json_object_is_type(value, json_type_string)
                             ? json_object_get_string(value)
                             : NULL;

    if (!string)
        return -EBADMSG;
    if (field->type == FIELD_STRING) {
        *(char **)member = strdup(string);
        return *(char **)member ? 0 : -ENOMEM;
    }
    if (strlen(string) >= field->size)
        return -EBADMSG;
    memcpy(member, string, strlen(string) + 1);
    return 0;
}

static int decode_field(const struct field *field, json_object *value, void *base)
{
    void *member = (char *)base + field->offset;
    uint64_t number = 0;
    int64_t integer = 0;
    int r;

    switch (field->type) {
    case FIELD_BOOL:
        *(bool *)member = json_object_get_boolean(value);
        return json_object_is_type(value, json_type_boolean) ? 0 : -EBADMSG;
    case FIELD_INT:
        r = decode_signed(value, INT_MIN, INT_MAX, &integer);
        *(int *)member = (int)integer;
        return r;
    case FIELD_I64:
        return decode_signed(value, INT64_MIN, INT64_MAX, member);
    case FIELD_U8:
        r = decode_unsigned(value, UINT8_MAX, &number);
        *(uint8_t *)member = (uint8_t)number;
        return r;
    case FIELD_U32:
    case FIELD_SNAPSHOT:
        r = decode_unsigned(value, UINT32_MAX, &number);
        *(uint32_t *)member = (uint32_t)number;
        return r;
    case FIELD_U64:
    case FIELD_OFFSET:
        return decode_unsigned(value, UINT64_MAX, member);
    case FIELD_ENUM:
        return decode_name(value, field->name, field->n_names, member);
    case FIELD_STRING:
    case FIELD_CHARS:
        return decode_string(field, value, member);
    case FIELD_BYTES:
        return decode_bytes(value, member, field->size);
    case FIELD_COUNTS:
        return decode_counts(value, member);
    case FIELD_ARRAY:
        return decode_array(field, value, base);
    case FIELD_OBJECT:
        return decode_fields(field->members, value, member);
    }
    return -EBADMSG;
}

static int decode_fields(const struct fields *fields, json_object *object, void *base)
{
    if (!json_object_is_type(object, json_type_object))
        return -EBADMSG;
    for (size_t i = 0; i < fields->n_items; i++) {
        const struct field *field = &fields->items[i];
        json_object *value;
        int r;

        if (!json_object_object_get_ex(object, field->key, &value)) {
            if (field->type == FIELD_OFFSET)
                *(uint64_t *)((char *)base + field->offset) = QCA_NO_OFFSET;
            else if (field->type == FIELD_SNAPSHOT)
                *(uint32_t *)((char *)base + field->offset) = QCA_ACTIVE;
            continue;
        }
        r = decode_field(field, value, base);
        if (r < 0)
            return r;
    }
    return 0;
}

int store_report_decode(const char *text, size_t size, int version,
                        struct audit_report **ret_report)
{
    _cleanup_(audit_report_freep) struct audit_report *report = NULL;
    _cleanup_(json_object_putp) json_object *object = NULL;
    int r;

    if (version != STORE_REPORT_VERSION)
        return -EBADMSG;
    r = json_text_parse(text, size, &object);
    if (r < 0)
        return r;
    report = calloc(1, sizeof(*report));
    if (!report)
        return -ENOMEM;
    r = decode_fields(&report_fields, object, report);
    if (r < 0)
        return r;
    *ret_report = TAKE_PTR(report);
    return 0;
}
