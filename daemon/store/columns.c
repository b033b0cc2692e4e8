/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tables as their .def describe them, and the statements that are made of them. */
#include "daemon/store/columns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/text-buffer.h"
#include "lib/cleanup.h"

#define DECLARED_INTEGER "INTEGER"
#define DECLARED_TEXT "TEXT"
#define DECLARED_BLOB "BLOB"
#define DECLARED_BYTES "BLOB"
#define DECLARED_CHARS "TEXT"
#define DECLARED_SENTENCE "TEXT"
#define DECLARED_WORD "TEXT"
#define DECLARED_FORMAT "TEXT"
#define DECLARED_ID128 "TEXT"
#define DECLARED_BLOCKS "TEXT"
#define DECLARED_JSON "TEXT"
#define DECLARED_OBJECT "TEXT"
#define DECLARED_COVERAGE "TEXT"
#define DECLARED_FORMER "TEXT"
#define DECLARED_REPORT "TEXT"
#define DECLARED_DIGEST "BLOB"

#define KEY(column, type, ...) { #column, DECLARED_##type, ":" #column, true, true },
#define COLUMN(column, type, ...) { #column, DECLARED_##type, ":" #column, false, true },
#define WRITTEN(column, type, ...) { #column, DECLARED_##type, ":" #column, false, false },
#define OPTIONAL(of, column, type, ...) WRITTEN(column, type, )
#define READ(column, type, ...) { #column, DECLARED_##type, NULL, false, true },
#define EXPRESSION(column, declared, sql) { #column, #declared, sql, false, false },
#define OWN(column, declared) { #column, #declared, NULL, false, false },
#define PARAMETER(name, type, ...)

static const struct column datastore_columns[] = {
#include "daemon/store/columns-datastore.def"
};
static const struct column sample_columns[] = {
#include "daemon/store/columns-sample.def"
};
static const struct column space_columns[] = {
#include "daemon/store/columns-space.def"
};
static const struct column image_columns[] = {
#include "daemon/store/columns-image.def"
};
static const struct column edge_columns[] = {
#include "daemon/store/columns-edge.def"
};
static const struct column audit_columns[] = {
#include "daemon/store/columns-audit.def"
};
static const struct column report_columns[] = {
#include "daemon/store/columns-report.def"
};
static const struct column finding_columns[] = {
#include "daemon/store/columns-finding.def"
};
static const struct column event_columns[] = {
#include "daemon/store/columns-event.def"
};
static const struct column event_removed_columns[] = {
#include "daemon/store/columns-event-removed.def"
};
static const struct column told_columns[] = {
#include "daemon/store/columns-told.def"
};
static const struct column baseline_columns[] = {
#include "daemon/store/columns-baseline.def"
};
static const struct column digest_columns[] = {
#include "daemon/store/columns-digest.def"
};
static const struct column mute_columns[] = {
#include "daemon/store/columns-mute.def"
};
static const struct column other_files_columns[] = {
#include "daemon/store/columns-other-files.def"
};
static const struct column disk_move_columns[] = {
#include "daemon/store/columns-disk-move.def"
};
static const struct column overlay_history_columns[] = {
#include "daemon/store/columns-overlay-history.def"
};

#define TABLE(name) { #name, name##_columns, ELEMENTSOF(name##_columns) }

static const struct table tables[] = {
    TABLE(datastore),
    TABLE(sample),
    TABLE(space),
    TABLE(image),
    TABLE(edge),
    TABLE(audit),
    TABLE(report),
    TABLE(finding),
    TABLE(event),
    TABLE(event_removed),
    TABLE(told),
    TABLE(baseline),
    TABLE(digest),
    TABLE(disk_move),
    TABLE(overlay_history),
    TABLE(mute),
    TABLE(other_files),
    {},
};

const struct table *store_tables(void)
{
    return tables;
}

const struct table *store_table(const char *name, size_t length)
{
    for (const struct table *table = tables; table->name; table++)
        if (strlen(table->name) == length && strncmp(table->name, name, length) == 0)
            return table;
    return NULL;
}

int store_table_n_read(const char *name)
{
    const struct table *table = store_table(name, strlen(name));
    int n = 0;

    for (size_t i = 0; table && i < table->n_columns; i++)
        n += table->columns[i].is_read;
    return n;
}

/* ---- statements ------------------------------------------------------------------------------ */

/* form: ' ' the columns, ':' their values, '=' what is set, '.' those that are loaded. */
static bool is_in(const struct column *column, char form)
{
    return form == '.' ? column->is_read
                       : column->value && !(form == '=' && column->is_key);
}

static void print_column(struct text_buffer *text, const struct column *column, char form,
                         const char *alias, size_t alias_length)
{
    switch (form) {
    case ':':
        text_buffer_put(text, column->value);
        break;
    case '=':
        text_buffer_put(text, column->name);
        text_buffer_put(text, " = excluded.");
        text_buffer_put(text, column->name);
        break;
    case '.':
        text_buffer_add(text, alias, alias_length);
        text_buffer_put(text, ".");
        text_buffer_put(text, column->name);
        break;
    default:
        text_buffer_put(text, column->name);
        break;
    }
}

static int print_columns(struct text_buffer *text, const char *what, size_t length)
{
    const char *dot = memchr(what, '.', length), *name = what;
    const struct table *table;
    const char *comma = "";
    char form = ' ';

    if (dot) {
        form = '.';
        name = dot + 1;
    } else if (what[0] == ':' || what[0] == '=') {
        form = what[0];
        name = what + 1;
    }
    table = store_table(name, length - (size_t)(name - what));
    if (!table)
        return -EINVAL;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (!is_in(&table->columns[i], form))
            continue;
        text_buffer_put(text, comma);
        print_column(text, &table->columns[i], form, what, dot ? (size_t)(dot - what) : 0);
        comma = ", ";
    }
    return 0;
}

int store_sql_expand(const char *template, char **ret_sql)
{
    struct text_buffer text = {};
    _cleanup_free_ char *sql = NULL;
    int r = 0, ended;

    while (r == 0 && *template) {
        size_t plain = strcspn(template, "{"), braced = strcspn(template + plain, "}");

        text_buffer_add(&text, template, plain);
        template += plain;
        if (!*template)
            break;
        if (!template[braced])
            r = -EINVAL;
        else
            r = print_columns(&text, template + 1, braced - 1);
        template += r == 0 ? braced + 1 : 0;
    }
    ended = text_buffer_end(&text, &sql);
    if (r == 0)
        r = ended;
    if (r == 0)
        *ret_sql = TAKE_PTR(sql);
    return r;
}
