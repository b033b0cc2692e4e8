/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fills struct qca_error: what failed, in which field, with which value. */
#pragma once

#include "qcaudit/qcaudit.h"

/* The part of an error that is about one field; what does not apply stays 0 or NULL. */
struct error_field {
    const char *name;           /* the specification's name */
    uint64_t offset;            /* host offset, bytes */
    uint64_t value;
    uint64_t bound;
};

/* Returns -errno_value, so that "return error_set(...)" reads well. error may be NULL. */
int error_set(struct qca_error *error, int errno_value, enum qca_error_kind kind,
              struct error_field field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Not even little memory is left: says so and returns -ENOMEM. */
int error_set_memory(struct qca_error *error);

/* A read at offset failed with r (negative errno): says so and returns r. */
int error_set_read(struct qca_error *error, int r, uint64_t offset, const char *what);
