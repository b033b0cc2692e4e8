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
    return QCA_FORMAT_UNKNOWN;
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
