/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the name of an image says: the families that are read, and a name told by them. */
#pragma once

#include "ctl/ctl.h"
#include "provenance/family.h"

/* Those of the package with the site's, or those of --families with families.d beside it. Mistakes
 * are said, unless quiet. */
int identity_families(const struct ctl *ctl, bool quiet, struct families **ret_families);

/* A name, and what is known of it. */
struct identity {
    const char *name;           /* as it was given */
    struct family_match match;
    struct family_part parts[FAMILY_PARTS_MAX];
    size_t n_parts;
    const char *minimum;        /* version, of its train; NULL: none is said */
    bool below;                 /* older than that */
};

/* By the path of an image, which is not looked at; name stands for it. */
void identity_of(const struct families *families, const char *path, const char *name,
                 struct identity *ret_identity);
/* As `identify` prints it. */
int identity_json(const struct identity *identity, json_object **ret_object);
/* "Cisco NX-OSv 9000, 7.0(3)I7(4): release 7.0(3), train I7, rebuild 4", or what the name may be
 * of; malloc'd, safe to print; NULL without memory. */
char *identity_text(const struct identity *identity);
