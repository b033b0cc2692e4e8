/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks for the remedies that are being shown: locks, files and room as they are now. Pure: a
 * remedy asks here for a look, the manager has it done, and asks the remedies again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "helpers/client.h"

/* All looks of one question: a chain of 10,000 layers, and what is beside it. */
#define LOOKS_MAX 16384

enum look_kind {
    LOOK_FILE,                  /* the file at path: is it there, and who has it open */
    LOOK_ROOM,                  /* of the datastore in which path lies: bytes that are free */
    _LOOK_KIND_MAX
};

struct look {
    enum look_kind kind;
    char *path;
    bool asked;                 /* the manager's: it is under way, or answered */
    bool answered;
    int error;                  /* -ENOENT: nothing is there; -ETIMEDOUT, -ENOTCONN: nobody knows */
    enum files_use use;
    struct files_stat stat;
    uint64_t available;         /* LOOK_ROOM */
};

struct looks;

/* libvirt_unknown: libvirt is to be asked, and has not said anything yet. -ENOMEM. */
int looks_new(bool libvirt_unknown, struct looks **ret_looks);
struct looks *looks_free(struct looks *looks);
bool looks_libvirt_unknown(const struct looks *looks);

/* Returns the look at that place; NULL when nobody has looked yet: then it is wanted from now on.
 * -ENOMEM and too many are answered as a look that failed. */
const struct look *looks_ask(struct looks *looks, enum look_kind kind, const char *path);
/* The next that is wanted and was not asked for; it is now. NULL when there is none. */
struct look *looks_next(struct looks *looks);
