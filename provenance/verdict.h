/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is a file what a catalogue knows: the original, a repack of the same content, a modification? */
#pragma once

#include "provenance/catalogue.h"

enum verdict {
    VERDICT_UNKNOWN,            /* no record has its bytes, its content or its name */
    VERDICT_ORIGINAL,           /* the file's own bytes are those of a record */
    VERDICT_REPACKED,           /* a guest sees the same, in another container */
    VERDICT_RENAMED,            /* one of the two, under the name of another record */
    VERDICT_MODIFIED,           /* the name is a record's, and neither file nor content are */
    VERDICT_DIFFERENT,          /* the name is a record's, and the file is not; what a guest sees of
                                 * the original nobody knows: a repack or a modification */
    _VERDICT_MAX,
};

/* What is known of the file: name, size, digests of the file and of its content, as a record. */
struct judgement {
    enum verdict verdict;
    const struct catalogue *catalogue;          /* that of record; NULL: there is none */
    const struct catalogue_record *record;      /* whose bytes or content it has; else whose name */
    const struct catalogue_record *named;       /* renamed: the other, whose name it has; NULL
                                                 * where the caller knows better */
    bool weak;                  /* bytes that are equal by MD5 or SHA-1 alone: they can be forged */
    bool same_bytes;            /* renamed: the container is the same, too */
    bool archive;               /* the name is a record's without the ending of a compressed file:
                                 * its digests may be those of the archive */
};

/* "original" */
const char *verdict_name(enum verdict verdict);

/* Strong digests count before weak ones, equal bytes before equal content, and of several records
 * one of the file's own name first, then the one of the strongest level. Never fails. */
void verdict_of(const struct catalogue_record *file, const struct catalogue *const *catalogues,
                size_t n_catalogues, struct judgement *ret_judgement);
