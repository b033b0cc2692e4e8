/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The forms of catalogues: a row and a file for each, and what they share. Private to the readers
 * of catalogues. */
#pragma once

#include <stdarg.h>

#include "provenance/catalogue.h"

struct catalogue_reader {
    const char *text;
    size_t size;
    struct catalogue *catalogue;
    struct catalogue_problem *problem;
    bool names_repeat;          /* names are hints: several files may have one */
};

struct catalogue_form {
    const char *name;
    enum catalogue_level best;  /* of its records, when the list is not signed */
    bool names_repeat;
    /* By the beginning; only looks. The first row that says yes has it. */
    bool (*probe)(const char *text, size_t size);
    int (*read)(struct catalogue_reader *reader);
};

extern const struct catalogue_form catalogue_form_own, catalogue_form_gns3a,
    catalogue_form_simplestreams, catalogue_form_kgv, catalogue_form_glance,
    catalogue_form_virt_builder, catalogue_form_sums;

/* Says what is wrong at the byte at, NULL: with the list as a whole. Returns -EBADMSG. What comes
 * of the list is made safe to print by catalogue_refuse_shown(). */
int catalogue_refuse(struct catalogue_reader *reader, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "REASON: TEXT", of text at most so much as there is room for. */
int catalogue_refuse_shown(struct catalogue_reader *reader, const char *at, const char *reason,
                           const char *text, size_t length);

/* Takes what a list says of a file; at is where it says so. A record of the same name, version and
 * family gets its digests, and refuses others of the same algorithm. The strings stay the
 * caller's. */
int catalogue_add(struct catalogue_reader *reader, const char *at,
                  const struct catalogue_record *record);

/* Is it a name that a file may have here: no folder, UTF-8, nothing that hides? *ret_reason says
 * why not. */
bool catalogue_name_is_sound(const char *name, size_t length, const char **ret_reason);
/* Digits of either case; -EBADMSG when there are not as many as the algorithm gives. */
int catalogue_set_digest(struct catalogue_record *record, enum catalogue_algorithm algorithm,
                         const char *digits, size_t length);
/* By the number of digits; -EBADMSG. */
int catalogue_algorithm_of_length(size_t digits, enum catalogue_algorithm *ret_algorithm);
