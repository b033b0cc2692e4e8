/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stable names of formats, issues and tables. */
#include <string.h>

#include "cleanup.h"
#include "qcaudit/qcaudit.h"

struct issue_kind {
    const char *name;
    enum qca_counter counter;
    bool pointer;
    const char *text;
};

static const struct issue_kind kinds[_QCA_ISSUE_MAX] = {
#define QCA_X(id, name, counter, pointer, text)                                                    \
    [QCA_ISSUE_##id] = { name, QCA_COUNTER_##counter, pointer, text },
    QCA_ISSUE_KINDS(QCA_X)
#undef QCA_X
};

static const char *const tables[_QCA_TABLE_MAX] = {
    [QCA_TABLE_HEADER] = "header",
    [QCA_TABLE_L1] = "l1",
    [QCA_TABLE_L2] = "l2",
    [QCA_TABLE_REFCOUNT_TABLE] = "refcount-table",
    [QCA_TABLE_REFCOUNT_BLOCK] = "refcount-block",
    [QCA_TABLE_SNAPSHOTS] = "snapshots",
    [QCA_TABLE_BITMAP_DIRECTORY] = "bitmap-directory",
    [QCA_TABLE_BITMAP] = "bitmap",
    [QCA_TABLE_CRYPT] = "crypt",
    [QCA_TABLE_DATA] = "data",
    [QCA_TABLE_DIRECTORY] = "directory",
    [QCA_TABLE_BLOCK_MAP] = "block-map",
    [QCA_TABLE_DESCRIPTOR] = "descriptor",
    [QCA_TABLE_TRAILER] = "trailer",
    [QCA_TABLE_LOG] = "log",
};

static const struct { const char *name, *other_name; unsigned traits; } formats[] = {
#define QCA_X(id, row, name, other_name, traits) [QCA_FORMAT_##id] = { name, other_name, traits },
    QCA_FORMATS(QCA_X)
#undef QCA_X
};

static const char *const variants[_QCA_VARIANT_MAX] = {
    [QCA_VARIANT_RAW_MBR] = "mbr",
    [QCA_VARIANT_RAW_GPT] = "gpt",
    [QCA_VARIANT_RAW_ISO9660] = "iso9660",
    [QCA_VARIANT_RAW_LUKS] = "luks",
    [QCA_VARIANT_VMDK_SPARSE] = "sparse",
    [QCA_VARIANT_VMDK_STREAM] = "stream-optimized",
    [QCA_VARIANT_VMDK_COWD] = "vmfs-sparse",
    [QCA_VARIANT_VMDK_SESPARSE] = "se-sparse",
    [QCA_VARIANT_VMDK_DESCRIPTOR] = "descriptor",
    [QCA_VARIANT_FIXED] = "fixed",
    [QCA_VARIANT_DYNAMIC] = "dynamic",
    [QCA_VARIANT_DIFFERENCING] = "differencing",
    [QCA_VARIANT_VMDK_EXTENT] = "extent",
    [QCA_VARIANT_PARALLELS_BUNDLE] = "bundle",
};

const char *qca_format_name(enum qca_format format)
{
    return (unsigned)format < _QCA_FORMAT_MAX ? formats[format].name : NULL;
}

static bool is_name(const char *name, const char *wanted)
{
    return name && strcmp(name, wanted) == 0;
}

enum qca_format qca_format_from_name(const char *name)
{
    for (size_t i = 0; name && i < _QCA_FORMAT_MAX; i++)
        if (is_name(formats[i].name, name) || is_name(formats[i].other_name, name))
            return (enum qca_format)i;
    return QCA_FORMAT_UNKNOWN;
}

bool qca_format_has(enum qca_format format, enum qca_trait trait)
{
    return (unsigned)format < _QCA_FORMAT_MAX && formats[format].traits & trait;
}

bool qca_format_is_understood(enum qca_format format)
{
    return qca_format_has(format, QCA_TRAIT_UNDERSTOOD);
}

bool qca_info_is_understood(const struct qca_image_info *info)
{
    /* a version of its format whose header is not known */
    if (info->virtual_size == 0 && !qca_format_has(info->format, QCA_TRAIT_COMMANDS))
        return false;
    if (info->variant == QCA_VARIANT_DIFFERENCING && !info->parent)
        return false;
    return qca_format_is_understood(info->format) &&
           info->variant != QCA_VARIANT_VMDK_DESCRIPTOR &&
           info->variant != QCA_VARIANT_PARALLELS_BUNDLE &&
           info->variant != QCA_VARIANT_VMDK_COWD &&
           info->variant != QCA_VARIANT_VMDK_SESPARSE && info->variant != QCA_VARIANT_VMDK_EXTENT;
}

bool qca_info_fits_parent(const struct qca_image_info *child, const struct qca_image_info *parent)
{
    const char *is = parent->identity.text;

    return is[0] == '\0' || child->parent_identity.text[0] == '\0' ||
           strcmp(child->parent_identity.text, is) == 0 ||
           strcmp(child->second_parent_identity.text, is) == 0;
}

bool qca_extent_file_is_flat(const struct qca_extent_file *extent)
{
    return strcmp(extent->type, "FLAT") == 0 || strcmp(extent->type, "VMFS") == 0;
}

bool qca_extent_file_is_device(const struct qca_extent_file *extent)
{
    return strcmp(extent->type, "VMFSRDM") == 0 || strcmp(extent->type, "VMFSRAW") == 0;
}

const char *qca_variant_name(enum qca_variant variant)
{
    return (unsigned)variant < _QCA_VARIANT_MAX ? variants[variant] : NULL;
}

enum qca_variant qca_variant_from_name(const char *name)
{
    for (size_t i = 0; name && i < _QCA_VARIANT_MAX; i++)
        if (variants[i] && strcmp(variants[i], name) == 0)
            return (enum qca_variant)i;
    return QCA_VARIANT_NONE;
}

bool qca_format_contradicts(enum qca_format declared, enum qca_format content,
                            enum qca_variant variant)
{
    if (declared == content || declared == QCA_FORMAT_UNKNOWN || content == QCA_FORMAT_UNKNOWN)
        return false;
    if (qca_format_has(declared, QCA_TRAIT_IN_RAW))
        return content != QCA_FORMAT_RAW;
    if (declared == QCA_FORMAT_RAW)
        return !(qca_format_has(content, QCA_TRAIT_OPENS_RAW) ||
                 (variant == QCA_VARIANT_FIXED &&
                  qca_format_has(content, QCA_TRAIT_FIXED_OPENS_RAW)));
    return true;
}

const char *qca_issue_kind_name(enum qca_issue_kind kind)
{
    return (unsigned)kind < _QCA_ISSUE_MAX ? kinds[kind].name : NULL;
}

const char *qca_issue_kind_text(enum qca_issue_kind kind)
{
    return (unsigned)kind < _QCA_ISSUE_MAX ? kinds[kind].text : NULL;
}

enum qca_counter qca_issue_kind_counter(enum qca_issue_kind kind)
{
    return (unsigned)kind < _QCA_ISSUE_MAX ? kinds[kind].counter : QCA_COUNTER_BEYOND;
}

bool qca_issue_kind_is_pointer(enum qca_issue_kind kind)
{
    return (unsigned)kind < _QCA_ISSUE_MAX && kinds[kind].pointer;
}

enum qca_issue_kind qca_issue_kind_from_name(const char *name)
{
    for (size_t i = 0; name && i < _QCA_ISSUE_MAX; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return (enum qca_issue_kind)i;
    return _QCA_ISSUE_MAX;
}

const char *qca_table_name(enum qca_table table)
{
    return (unsigned)table < _QCA_TABLE_MAX ? tables[table] : NULL;
}
