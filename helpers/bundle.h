/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive with a manifest of its members, which is its last one: lines as sha256sum has them. */
#pragma once

#include <stdio.h>

#include "helpers/tar.h"

#define BUNDLE_FOLDER "qcaudit-evidence"        /* that all members are in */
#define BUNDLE_MANIFEST "MANIFEST.sha256"
#define BUNDLE_MEMBERS_MAX 70000

/* SHA-256; who links no crypto library hands in what computes it. 0, or -errno. */
typedef int (*bundle_digest_fn)(const void *data, size_t size, uint8_t ret_digest[32]);

/* ---- making one ----------------------------------------------------------------------------- */

struct bundle_writer {
    int fd;
    uint64_t seconds;               /* that all members have as their time */
    bundle_digest_fn digest;
    FILE *manifest;
    char *text;                     /* the manifest's, */
    size_t size;                    /* once it is flushed */
    size_t n;
};

/* To be ended by bundle_writer_done(), also on failure. */
int bundle_begin(int fd, uint64_t seconds, bundle_digest_fn digest,
                 struct bundle_writer *ret_writer);
/* The name is within BUNDLE_FOLDER. */
int bundle_add(struct bundle_writer *writer, const char *name, const void *data, size_t size);
/* The manifest, and the archive's end. */
int bundle_end(struct bundle_writer *writer, uint8_t ret_manifest[32]);
void bundle_writer_done(struct bundle_writer *writer);

/* ---- reading one ---------------------------------------------------------------------------- */

enum bundle_problem {
    BUNDLE_DIFFERS,                 /* a member is not as the manifest has it, */
    BUNDLE_UNLISTED,                /* or is not in the manifest, */
    BUNDLE_MISSING,                 /* or only there, */
    BUNDLE_TWICE,                   /* or in the archive twice */
};

struct bundle {
    struct bundle_member *members;  /* by name; without the manifest */
    size_t n, allocated;
    uint8_t manifest[32];           /* its digest */
};

struct bundle_member {
    struct tar_member place;
    const char *name;               /* within BUNDLE_FOLDER */
    uint8_t digest[32];
    bool listed;
};

/* Reads all of it and compares each member with the manifest; problem() is called for each that is
 * not as it should be. -EBADMSG when it is nothing that bundle_end() made, -ENODATA when it is cut
 * off. To be ended by bundle_done(), also on failure. */
int bundle_read(struct qca_io *io, bundle_digest_fn digest,
                void (*problem)(void *userdata, const char *name, enum bundle_problem problem),
                void *userdata, struct bundle *ret_bundle);
/* NULL when there is none of that name. */
const struct bundle_member *bundle_find(const struct bundle *bundle, const char *name);
/* Its data, malloc'd, with a NUL behind it. */
int bundle_data(struct qca_io *io, const struct bundle_member *member, char **ret_data);
void bundle_done(struct bundle *bundle);
