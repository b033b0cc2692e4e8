/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors of the library and the stable names of their kinds. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"

static const char *const kind_names[_QCA_ERROR_MAX] = {
    [QCA_ERROR_NONE] = "none",
    [QCA_ERROR_IO] = "io",
    [QCA_ERROR_MEMORY] = "memory",
    [QCA_ERROR_NOT_THIS_FORMAT] = "not-this-format",
    [QCA_ERROR_HEADER] = "header",
    [QCA_ERROR_FEATURE] = "feature",
    [QCA_ERROR_TRUNCATED] = "truncated",
    [QCA_ERROR_LIMIT] = "limit",
    [QCA_ERROR_SNAPSHOT_TABLE] = "snapshot-table",
    [QCA_ERROR_BITMAPS] = "bitmaps",
    [QCA_ERROR_REFERENCE] = "reference",
    [QCA_ERROR_LOOP] = "loop",
    [QCA_ERROR_CHAIN_LIMIT] = "chain-limit",
    [QCA_ERROR_CANCELLED] = "cancelled",
    [QCA_ERROR_UNSUPPORTED] = "unsupported",
};

const char *qca_error_kind_name(enum qca_error_kind kind)
{
    return (unsigned)kind < _QCA_ERROR_MAX ? kind_names[kind] : NULL;
}

int error_set(struct qca_error *error, int errno_value, enum qca_error_kind kind,
              struct error_field field, const char *format, ...)
{
    va_list arguments;

    if (!error)
        return -errno_value;

    memset(error, 0, sizeof(*error));
    error->kind = kind;
    error->offset = field.offset;
    error->value = field.value;
    error->bound = field.bound;
    if (field.name)
        snprintf(error->field, sizeof(error->field), "%s", field.name);
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return -errno_value;
}

int error_set_memory(struct qca_error *error)
{
    return error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field){ 0 }, "out of memory");
}

int error_set_read(struct qca_error *error, int r, uint64_t offset, const char *what)
{
    enum qca_error_kind kind = r == -ENOMEM ? QCA_ERROR_MEMORY : QCA_ERROR_IO;
    const char *reason = strerrordesc_np(-r);

    return error_set(error, -r, kind, (struct error_field){ .offset = offset },
                     "cannot read %s: %s", what, reason ? reason : "unknown error");
}
