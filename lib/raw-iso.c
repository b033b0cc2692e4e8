/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks that an ISO 9660 volume lies in the file: ECMA-119, 8.4 (primary volume descriptor). */
#include "raw.h"

enum {
    DESCRIPTOR = 16 * 2048,     /* 6.2.1 */
    AT_SPACE_SIZE = 80,         /* 8.4.8, in logical blocks, recorded twice (7.3.3) */
    AT_BLOCK_SIZE = 128,        /* 8.4.12 (7.2.3) */
    DESCRIPTOR_SIZE = 132,      /* as far as it is read */
    BLOCK_SIZE_MIN = 512,       /* 6.2.2: 2^n, at most the logical sector */
    BLOCK_SIZE_MAX = 2048,
};

/* A file that is longer is usual: padding, partitions appended. What is not recorded twice alike
 * says nothing. */
int iso_check(struct qca_image *image, struct check *check)
{
    uint8_t bytes[DESCRIPTOR_SIZE];
    uint32_t blocks, block_size;
    uint64_t size;
    int r = raw_read(image, check, DESCRIPTOR, bytes, sizeof(bytes), "the volume descriptor");

    if (r < 0)
        return r;
    blocks = le32_get(bytes + AT_SPACE_SIZE);
    block_size = le16_get(bytes + AT_BLOCK_SIZE);
    if (blocks != be32_get(bytes + AT_SPACE_SIZE + 4) ||
        block_size != be16_get(bytes + AT_BLOCK_SIZE + 2) || block_size < BLOCK_SIZE_MIN ||
        block_size > BLOCK_SIZE_MAX || (block_size & (block_size - 1)) != 0 || blocks == 0)
        return 0;
    size = (uint64_t)blocks * block_size;
    if (size <= image->info.file_size)
        return 0;
    return raw_issue(check, QCA_ISSUE_VOLUME_OUT_OF_FILE, QCA_TABLE_HEADER, DESCRIPTOR,
                     AT_SPACE_SIZE, 0, size);
}
