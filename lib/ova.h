/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An appliance: the files in the archive, and what its descriptor and its manifest say of them. */
#pragma once

#include "check.h"
#include "format.h"

enum {
    OVA_NAME_SIZE = 256,        /* with its NUL; of a longer name nothing is said */
    OVA_MEMBERS_MAX = 1024,     /* an appliance has less than ten */
    OVA_TEXT_MAX = 1 << 20,     /* bytes of a descriptor or manifest that are read */
    OVA_NAMES_MAX = 4096,       /* that are looked for: each in all members */
};

struct ova_member {
    char name[OVA_NAME_SIZE];   /* "": too long */
    uint64_t header;            /* host offset of its header */
    uint64_t offset, size;      /* of its data: they are in the file */
    bool whole;                 /* these are the bytes of the file: no link, no sparse file */
};

struct ova {
    struct qca_image *image;
    struct check *check;
    struct ova_member *members;
    size_t n;
    unsigned names;             /* that were looked for */
};

/* All members are known: is each there that the descriptor and the manifest name? With
 * options.deep, and a function that makes digests: do they have those of the manifest? */
int ova_check_names(struct ova *ova);
