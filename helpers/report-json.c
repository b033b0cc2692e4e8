/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The members of a report, and of all that it holds. */
#include "helpers/report-json.h"

#include "helpers/report.h"
#include "lib/cleanup.h"

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
       PLAIN(qca_image_info, unknown_lines, "unknown-lines", U32),
       PLAIN(qca_image_info, identity, "identity", CHARS),
       PLAIN(qca_image_info, parent_identity, "parent-identity", CHARS),
       PLAIN(qca_image_info, second_parent_identity, "second-parent-identity", CHARS),
       PLAIN(qca_image_info, other_size, "other-size", U64));

FIELDS(issue_fields,
       ENUM(qca_issue, kind, "kind", issue_kind_name, _QCA_ISSUE_MAX),
       ENUM(qca_issue, table, "table", table_name, _QCA_TABLE_MAX),
       PLAIN(qca_issue, layer, "layer", U32),
       PLAIN(qca_issue, snapshot, "snapshot", SNAPSHOT),
       PLAIN(qca_issue, table_offset, "table-offset", OFFSET),
       PLAIN(qca_issue, index, "index", U64),
       PLAIN(qca_issue, host_offset, "host-offset", OFFSET),
       LENGTH(qca_issue, host_length, host_offset, "host-length"),
       PLAIN(qca_issue, guest_offset, "guest-offset", OFFSET),
       LENGTH(qca_issue, guest_length, guest_offset, "guest-length"),
       PLAIN(qca_issue, stored, "stored", U64),
       PLAIN(qca_issue, counted, "counted", U64),
       PLAIN(qca_issue, count, "count", U64),
       PLAIN(qca_issue, extent, "extent", U64));

FIELDS(check_fields,
       PLAIN(qca_check_result, finished, "finished", BOOL),
       OWNED(qca_check_result, error, "error", &error_fields),
       PLAIN(qca_check_result, corruptions, "corruptions", U64),
       PLAIN(qca_check_result, leaks, "leaks", U64),
       PLAIN(qca_check_result, check_errors, "check-errors", U64),
       KEPT(qca_check_result, image_end_offset, "image-end-offset", "image-end", U64),
       PLAIN(qca_check_result, total_clusters, "total-clusters", U64),
       PLAIN(qca_check_result, allocated_clusters, "allocated-clusters", U64),
       PLAIN(qca_check_result, compressed_clusters, "compressed-clusters", U64),
       PLAIN(qca_check_result, fragmented_clusters, "fragmented-clusters", U64),
       PLAIN(qca_check_result, leak_runs, "leak-runs", U64),
       PLAIN(qca_check_result, burst_leaks, "burst-leaks", U64),
       PLAIN(qca_check_result, burst_offset, "burst-offset", OFFSET),
       KEPT(qca_check_result, burst_end, "burst-end-offset", "burst-end", OFFSET),
       COUNTS(qca_check_result, kind_count, "kinds", issue_kind_name, _QCA_ISSUE_MAX),
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
       OWNED(audit_report, open_error, "open-error", &error_fields),
       ARRAY(audit_report, layers, n_layers, "layers", &layer_fields),
       PLAIN(audit_report, worker_signal, "worker-signal", INT),
       PLAIN(audit_report, worker_status, "worker-status", INT),
       ENUM(audit_report, reading, "reading", reading_name, _REPORT_READING_MAX),
       PLAIN(audit_report, bytes_read, "bytes-read", U64),
       PLAIN(audit_report, elapsed_usec, "elapsed-usec", U64),
       PLAIN(audit_report, cpu_usec, "cpu-usec", U64),
       PLAIN(audit_report, peak_memory, "peak-memory", U64));

const struct json_fields *report_fields_of_report(void)
{
    return &report_fields;
}

const struct json_fields *report_fields_of_info(void)
{
    return &info_fields;
}

const struct json_fields *report_fields_of_snapshot(void)
{
    return &snapshot_fields;
}

const struct json_fields *report_fields_of_check(void)
{
    return &check_fields;
}

const struct json_fields *report_fields_of_issue(void)
{
    return &issue_fields;
}
