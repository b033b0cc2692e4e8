/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The order of vendors' versions: which of two is newer, where that can be said at all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum version_order {
    VERSION_ORDER_GENERIC,
    VERSION_ORDER_JUNOS,        /* a letter is newer than a number: 21.2R3-S4 than 21.2R3.9 */
    VERSION_ORDER_NONE,         /* equality alone means something */
    _VERSION_ORDER_MAX,
};

enum version_result {
    VERSION_OLDER = -1,
    VERSION_SAME = 0,
    VERSION_NEWER = 1,
    VERSION_INCOMPARABLE = 2,
};

struct version {
    const char *text;           /* "" or NULL: unknown */
    const char *scheme;         /* those of different ones are never compared; NULL is one, too */
    enum version_order order;
    unsigned epoch;             /* of a product that was renumbered: counts before the text */
};

/* "generic", "junos", "none"; -1 for what is none. */
int version_order_from_name(const char *name);

/* The order of two texts of one scheme, negative, 0 or positive as of strcmp():
 *
 * Each text is taken in small letters as runs of digits, runs of letters and single '~'; all else
 * separates, and is no part of it, as are words that say nothing (v, release, rel, ga, final,
 * stable, version, build). They are compared run by run. '~' is oldest, then words of what comes
 * before a release (dev, nightly, snapshot; alpha; beta; preview, pre; epa; rc, cr), then the end
 * of the text, then letters, then numbers. Numbers go by their value, however long they are. So 1.2
 * is older than 1.2.0, 7.0(3)I7(4) older than 7.0(3)I7(4a), 7.1rc1 older than 7.1.
 *
 * It is a total order of what the texts consist of. Nothing is allocated. */
int version_compare_text(const char *a, const char *b, enum version_order order);

/* What a is to b. */
enum version_result version_compare(const struct version *a, const struct version *b);

/* How many runs train has, when text begins with all of them; else -1. A train that says nothing
 * ("", "any") is the beginning of every text, with 0. */
int version_in_train(const char *train, const char *text);

/* Do both say the same beginning? */
bool version_same_train(const char *a, const char *b);

/* The least version that is wanted of a train. */
struct version_minimum {
    const char *train;          /* its beginning, as "7.0(3)I7"; "any": all others */
    const char *version;
};

/* That of the longest train that the version is in; NULL when none is. Of equally long ones the
 * first. */
const struct version_minimum *version_minimum_of(const struct version_minimum *minimums, size_t n,
                                                 const char *text);
