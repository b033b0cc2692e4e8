/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether files are what catalogues know. */
#pragma once

#include "ctl/identity.h"
#include "provenance/verdict.h"

struct known_catalogues;

/* Those of --catalogue; without the option there are none, and nothing is read of any file. */
int known_catalogues_new(struct ctl *ctl, struct known_catalogues **ret_catalogues);
struct known_catalogues *known_catalogues_free(struct known_catalogues *catalogues);
DEFINE_CLEANUP(struct known_catalogues *, known_catalogues_free)

struct known {
    bool asked;                 /* there are catalogues, and a file of that name */
    struct judgement judgement;
    const char *list;           /* the name of the list that has the record, safe to print */
    bool unread;                /* what a guest sees of the file was wanted, and cannot be read */
};

/* The file of that name. A name of which there is no file is not asked of. A name that says another
 * appliance or version than that of the record whose content the file has makes it renamed. -errno,
 * which was said. */
int known_of(struct known_catalogues *catalogues, const struct families *families,
             const struct identity *identity, struct known *ret_known);
/* The original, or the same content in another container, under its own name or one that is no
 * other's. */
bool known_is_good(const struct known *known);
/* A sentence; malloc'd, safe to print; NULL without memory. */
char *known_text(const struct known *known);
/* "content": what the text says. */
int known_json(const struct known *known, json_object *object);
