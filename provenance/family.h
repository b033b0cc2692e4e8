/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Families of appliances and cloud images: told by the name of a file, or of the folder in which a
 * manager keeps it. */
#pragma once

#include <stdint.h>

#include "helpers/config-files.h"
#include "provenance/version.h"

#define FAMILY_TEXT_MAX 256     /* bytes of a version, with its NUL */
#define FAMILY_CANDIDATES_MAX 24
#define FAMILY_PARTS_MAX 9

/* One name that images of a family have. */
struct family_name;
/* How the versions of a family are taken apart. */
struct family_decoding;

struct family_example { char *file, *version; };

struct family {
    char *name;                 /* "cisco-nxosv9k" */
    char *vendor, *product;
    char *note;                 /* NULL: none */
    bool is_system;             /* for any purpose: what memory it needs depends on its work */
    uint64_t minimum_memory;    /* bytes; 0: not known */
    char **gns3;                /* names in GNS3's registry, n_gns3 */
    size_t n_gns3;
    char **eve_prefixes;        /* of folders of EVE-NG */
    size_t n_eve_prefixes;
    struct version_minimum *minimums;   /* of versions, by train */
    size_t n_minimums;
    struct family_example *examples;
    size_t n_examples;

    struct family_rest *rest;   /* private */
};

struct families {
    struct family **items;
    size_t n;

    struct families_rest *rest; /* private */
};

/* Reads the file, unless it is NULL, then the *.yaml of the folder, in order of name, that a site
 * has beside it; one that is missing, or NULL, is none. A family of a later file replaces that of
 * the same name. -EINVAL when there was any mistake; nothing is returned then. -ENOMEM. */
int families_load(const char *file, const char *folder, config_error_fn error, void *userdata,
                  struct families **ret_families);
/* The same of n bytes in memory; name stands for the file. */
int families_parse(const char *name, const char *bytes, size_t n, config_error_fn error,
                   void *userdata, struct families **ret_families);
struct families *families_free(struct families *families);
DEFINE_CLEANUP(struct families *, families_free)
/* NULL: there is none of this name. */
const struct family *families_find(const struct families *families, const char *name);

enum family_verdict {
    FAMILY_UNKNOWN,
    FAMILY_KNOWN,
    FAMILY_AMBIGUOUS,           /* the name fits several products, and does not say which */
};

struct family_match {
    enum family_verdict verdict;
    const struct family *families[FAMILY_CANDIDATES_MAX];       /* one when known */
    size_t n_families;
    bool by_folder;             /* the folder's name said it: EVE-NG calls disks by their bus */
    /* Of a known family. */
    char version[FAMILY_TEXT_MAX];      /* "": the name does not say it */
    const char *scheme;         /* NULL without a version */
    enum version_order order;
    unsigned epoch;
};

/* What the path's last parts say; a path that ends in / is of a folder. Nothing is opened. */
void family_identify(const struct families *families, const char *path,
                     struct family_match *ret_match);
/* The version as it is compared with others; text and scheme are borrowed. */
struct version family_match_version(const struct family_match *match);
/* The text as a minimum of the family's versions: of the scheme "release" where one of its names
 * has it, else of that of its first name whose versions have an order; of the newest numbering. It
 * is incomparable with all when there is none. */
struct version family_minimum_version(const struct family *family, const char *text);

struct family_part {
    const char *name;           /* "train" */
    char text[FAMILY_TEXT_MAX];
};

/* The parts of a version, in the order in which they are told; their number, 0: it is not known how
 * it is made. */
size_t family_decode(const struct family *family, const char *version,
                     struct family_part ret_parts[static FAMILY_PARTS_MAX]);

/* Where a file or family lies in an administrator's file, for tests and messages. */
struct family_place { const char *file; unsigned line, column; };
struct family_place family_place_of(const struct families *families, const struct family *family);
