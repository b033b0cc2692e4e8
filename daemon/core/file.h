/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file: is it the same one, has it changed, and does fs-verity guard it? */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "helpers/client.h"

/* The same file again after a remount or reboot? Never the device number. */
struct identity {
    uint64_t fsid;
    uint64_t inode;
    int64_t btime;              /* nsec, 0 unknown */
};

/* Has it changed since it was audited? Unchanged: it is not read. */
struct fingerprint {
    uint64_t size, allocated;   /* bytes */
    int64_t mtime, ctime;       /* nsec */
    uint32_t mode, uid, gid, links;
};

#define VERITY_SIZE_MAX FILES_VERITY_MAX

/* fs-verity's measure of a file: the kernel checks every read against it, and nobody can write the
 * file. */
struct verity {
    uint16_t algorithm;         /* FS_VERITY_HASH_ALG_*; 0: the file has none */
    uint16_t size;              /* bytes of digest */
    uint8_t digest[VERITY_SIZE_MAX];
};

struct verity verity_from_stat(const struct files_stat *stat);
/* Both are there, and the same. NULL is none. */
bool verity_equal(const struct verity *a, const struct verity *b);
/* "sha256:HEX"; "" without. */
#define VERITY_TEXT_MAX (16 + 2 * VERITY_SIZE_MAX)
const char *verity_text(const struct verity *verity, char buf[static VERITY_TEXT_MAX]);
int verity_from_text(const char *text, struct verity *ret_verity);
struct identity identity_from_stat(const struct files_stat *stat);
bool identity_equal(const struct identity *a, const struct identity *b);
struct fingerprint fingerprint_from_stat(const struct files_stat *stat);
bool fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b);
