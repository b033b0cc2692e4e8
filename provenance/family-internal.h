/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the reading of families and the telling of names share. */
#pragma once

#include "provenance/family.h"
#include "provenance/pattern.h"

#define FAMILIES_MAX 4096
/* Signs of all patterns: what a name may cost beside those of one pattern. */
#define FAMILIES_SIZE_MAX 32768
/* Signs of the patterns that examples are held against, each time. */
#define FAMILIES_EXAMPLES_MAX (256 * 1024)

struct family_map { char *from, *to; };

struct family_name {
    struct pattern pattern;
    char *version;              /* a template; NULL: the name does not say it */
    char *scheme;
    enum version_order order;
    unsigned epoch;
    struct family_map *map;     /* of the version: a word that stands for it */
    size_t n_map;
};

struct family_decode_part { char *name, *text; };

/* One form of a version. */
struct family_form {
    struct pattern pattern;
    struct family_decode_part parts[FAMILY_PARTS_MAX];
    size_t n_parts;
};

struct family_decoding {
    char *name;
    struct family_form *forms;
    size_t n_forms;
};

struct family_rest {
    struct family_name *names;
    size_t n_names;
    enum version_order order;
    struct family_map *eve_stems;       /* what stands for PREFIX- before the names are tried */
    size_t n_eve_stems;
    struct family_map *minimums;        /* whose texts the family's refer to */
    size_t n_minimums;
    struct pattern eve_hint;    /* of the rest of a folder's name whose prefix several have */
    const struct family_decoding *decoding;
    const struct config_node *decoding_node;    /* while it is read */
    unsigned file, line, column;
};

struct families_rest {
    locale_t locale;
    struct pattern eve_disk, eve_version;
    struct family_decoding **decodings;
    size_t n_decodings;
    size_t size;                /* of all patterns */
    size_t examples_size;       /* of patterns that examples were held against */
    char **files;
    size_t n_files;
};

/* Destroyed also when half made. */
struct family *family_free(struct family *family);
struct family_decoding *family_decoding_free(struct family_decoding *decoding);
int families_new(struct families **ret_families);
/* The name that fits first, with its version; NULL: none. */
const struct family_name *family_match_names(const struct family *family, const char *stem,
                                             char ret_version[static FAMILY_TEXT_MAX]);
/* The file's name without one suffix of compression and one of an image. */
void family_stem(const char *file, char ret_stem[static PATTERN_NAME_MAX + 1]);
