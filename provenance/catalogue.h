/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues of known content: lists of files with their digests, read from the forms in which
 * vendors and managers publish them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"

#define CATALOGUE_RECORDS_MAX 100000
#define CATALOGUE_TEXT_MAX (64 * 1024 * 1024)   /* bytes of a list */
#define CATALOGUE_LINES_MAX 500000              /* comments and other algorithms' lines, too */
#define CATALOGUE_LINE_MAX 4096                 /* bytes; a name of 255, all escaped, and SHA-512
                                                 * take 700 */
#define CATALOGUE_NAME_MAX 255                  /* bytes of a file's name, as NAME_MAX */
#define CATALOGUE_WORDS_MAX 255                 /* bytes of a family, version or title */
#define CATALOGUE_SIZE_UNKNOWN UINT64_MAX

/* Weakest first: a record never overrides one of a stronger level. */
enum catalogue_level {
    CATALOGUE_CLAIM,            /* somebody says so; or only weak digests are there */
    CATALOGUE_PINNED,           /* the administrator took the list over as it was */
    CATALOGUE_SIGNED,           /* signed by a key that the administrator pinned */
};

enum catalogue_algorithm {
    CATALOGUE_MD5,
    CATALOGUE_SHA1,
    CATALOGUE_SHA256,
    CATALOGUE_SHA384,
    CATALOGUE_SHA512,
    _CATALOGUE_ALGORITHM_MAX,
};

#define CATALOGUE_DIGEST_MAX 64

struct catalogue_record {
    char *name;                 /* of the file, without a folder */
    char *family, *version, *title;     /* as the list has them; NULL: it has none */
    uint64_t size;              /* bytes; CATALOGUE_SIZE_UNKNOWN */
    unsigned algorithms;        /* a bit (1 << enum catalogue_algorithm) for each digest */
    uint8_t md5[16], sha1[20], sha256[32], sha384[48], sha512[64];
    bool has_content;
    uint8_t content[32];        /* qca_content_digest() of what a guest sees of the disk, the same
                                 * in any container; valid when has_content */
    enum catalogue_level level;
    bool weak;                  /* MD5 and SHA-1 alone: a file can be made to fit these */
};

/* "md5", ..., "sha512"; bytes of one; where a record has it. */
const char *catalogue_algorithm_name(enum catalogue_algorithm algorithm);
size_t catalogue_algorithm_size(enum catalogue_algorithm algorithm);
const uint8_t *catalogue_digest(const struct catalogue_record *record,
                                enum catalogue_algorithm algorithm);
/* By its name, as "sha256", "SHA-256" or "SHA2-256"; -ENOENT. */
int catalogue_algorithm_parse(const char *name, size_t length,
                              enum catalogue_algorithm *ret_algorithm);
/* "claim", "pinned", "signed". */
const char *catalogue_level_name(enum catalogue_level level);

struct catalogue {
    struct catalogue_record *records;   /* in the order of the list */
    size_t n;
    size_t allocated;
    size_t passed_over;         /* entries of the list that are of no use: helpers, no digest */
    const char *form;           /* name of its form; static */
    struct catalogue_index *index;      /* by name, version and family; of who adds */
};

/* Where a list is wrong, and how. */
struct catalogue_problem {
    size_t line;                /* from 1 on; 0: the list as a whole */
    char reason[256];           /* a sentence without its full stop, safe to print */
};

void catalogue_done(struct catalogue *catalogue);

/* Reads a list in whatever form it has. All of it or nothing: -EBADMSG with *ret_problem, -ENOMEM.
 * Records get the level, but a weak one is a claim, and so is what the form makes one, unless it is
 * signed. form: its name, NULL: by its content. */
int catalogue_read(const char *text, size_t size, const char *form, enum catalogue_level level,
                   struct catalogue *ret_catalogue, struct catalogue_problem *ret_problem);
/* The name of a form; NULL behind the last one. */
const char *catalogue_form_name(size_t index);

/* The first record of that name; NULL. Any version and family. */
const struct catalogue_record *catalogue_find_name(const struct catalogue *catalogue,
                                                   const char *name);

/* ---- two records ----------------------------------------------------------------------------- */

enum catalogue_relation {
    CATALOGUE_APART,            /* of different files, or no digest is of an algorithm of both */
    CATALOGUE_SAME,             /* of the same bytes */
    CATALOGUE_CONTRADICTION,    /* of the same file, and with other bytes */
};

/* Records of the same name, version and family are of the same file. Of several digests the
 * strongest decides that both have; a size that differs says that the bytes do. */
enum catalogue_relation catalogue_compare(const struct catalogue_record *a,
                                          const struct catalogue_record *b);
/* Which of two records of the same file is to be kept: is new at least as strong as old? */
bool catalogue_overrides(const struct catalogue_record *new, const struct catalogue_record *old);

DEFINE_CLEANUP(struct catalogue *, catalogue_done)
