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
};

static const char *const formats[_QCA_FORMAT_MAX] = {
    [QCA_FORMAT_RAW] = "raw",
    [QCA_FORMAT_QCOW2] = "qcow2",
    [QCA_FORMAT_VMDK] = "vmdk",
    [QCA_FORMAT_VDI] = "vdi",
    [QCA_FORMAT_VPC] = "vpc",
    [QCA_FORMAT_VHDX] = "vhdx",
    [QCA_FORMAT_QED] = "qed",
    [QCA_FORMAT_PARALLELS] = "parallels",
    [QCA_FORMAT_QCOW] = "qcow",
    [QCA_FORMAT_DMG] = "dmg",
    [QCA_FORMAT_CLOOP] = "cloop",
    [QCA_FORMAT_BOCHS] = "bochs",
    [QCA_FORMAT_OVA] = "ova",
    [QCA_FORMAT_LUKS] = "luks",
};

/* What libvirt calls some of them besides (src/conf/storage_source_conf.c). */
static const struct { const char *name; enum qca_format format; } other_names[] = {
    { "vhd", QCA_FORMAT_VPC },
    { "ploop", QCA_FORMAT_PARALLELS },
    { "iso", QCA_FORMAT_RAW },
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
};

const char *qca_format_name(enum qca_format format)
{
    return (unsigned)format < _QCA_FORMAT_MAX ? formats[format] : NULL;
}

enum qca_format qca_format_from_name(const char *name)
{
    for (size_t i = 0; name && i < _QCA_FORMAT_MAX; i++)
        if (formats[i] && strcmp(formats[i], name) == 0)
            return (enum qca_format)i;
    for (size_t i = 0; name && i < ELEMENTSOF(other_names); i++)
        if (strcmp(other_names[i].name, name) == 0)
            return other_names[i].format;
    return QCA_FORMAT_UNKNOWN;
}

bool qca_format_is_understood(enum qca_format format)
{
    switch (format) {
    case QCA_FORMAT_RAW:
    case QCA_FORMAT_QCOW2:
        return true;
    default:
        return false;
    }
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
    if (declared == QCA_FORMAT_LUKS)
        return content != QCA_FORMAT_RAW;
    if (declared == QCA_FORMAT_RAW)
        return !(content == QCA_FORMAT_DMG || content == QCA_FORMAT_OVA ||
                 (content == QCA_FORMAT_VPC && variant == QCA_VARIANT_FIXED));
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
