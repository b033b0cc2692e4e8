/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files: comparisons, and fs-verity's measure as text. */
#include "daemon/core/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "helpers/hex.h"
#include "lib/cleanup.h"

struct identity identity_from_stat(const struct files_stat *stat)
{
    return (struct identity){ .fsid = stat->fsid, .inode = stat->inode, .btime = stat->btime };
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
    return a->fsid == b->fsid && a->inode == b->inode && a->btime == b->btime;
}

struct fingerprint fingerprint_from_stat(const struct files_stat *stat)
{
    return (struct fingerprint){
        .size = stat->size, .allocated = stat->allocated, .mtime = stat->mtime,
        .ctime = stat->ctime,
        .mode = stat->mode, .uid = stat->uid, .gid = stat->gid, .links = stat->links,
    };
}

bool fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->size == b->size && a->allocated == b->allocated && a->mtime == b->mtime &&
           a->ctime == b->ctime && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
           a->links == b->links;
}

/* FS_VERITY_HASH_ALG_SHA256 and SHA512 (linux/fsverity.h). */
static const struct { uint16_t algorithm, size; const char *name; } verity_algorithms[] = {
    { 1, 32, "sha256" },
    { 2, 64, "sha512" },
};

const char *verity_text(const struct verity *verity, char buf[static VERITY_TEXT_MAX])
{
    buf[0] = '\0';
    for (size_t i = 0; i < ELEMENTSOF(verity_algorithms); i++)
        if (verity->algorithm == verity_algorithms[i].algorithm &&
            verity->size == verity_algorithms[i].size) {
            int n = snprintf(buf, VERITY_TEXT_MAX, "%s:", verity_algorithms[i].name);

            hex_encode(verity->digest, verity->size, buf + n);
        }
    return buf;
}

int verity_from_text(const char *text, struct verity *ret_verity)
{
    struct verity verity = { .algorithm = 0 };

    for (size_t i = 0; text && i < ELEMENTSOF(verity_algorithms); i++) {
        size_t n = strlen(verity_algorithms[i].name);

        if (strncmp(text, verity_algorithms[i].name, n) != 0 || text[n] != ':')
            continue;
        verity.algorithm = verity_algorithms[i].algorithm;
        verity.size = verity_algorithms[i].size;
        if (hex_decode(text + n + 1, verity.digest, verity.size) < 0)
            return -EBADMSG;
        *ret_verity = verity;
        return 0;
    }
    return -EBADMSG;
}

struct verity verity_from_stat(const struct files_stat *stat)
{
    struct verity verity = { .algorithm = stat->verity_algorithm, .size = stat->verity_size };

    memcpy(verity.digest, stat->verity, sizeof(verity.digest));
    return verity;
}

bool verity_equal(const struct verity *a, const struct verity *b)
{
    return a && b && a->algorithm != 0 && a->algorithm == b->algorithm && a->size == b->size &&
           memcmp(a->digest, b->digest, a->size) == 0;
}
