/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checks of a raw disk: of what its own content says of where it ends. A guest writes that, so
 * that nothing of it is a corruption of the image. */
#pragma once

#include "bytes.h"
#include "check.h"
#include "format.h"

enum { RAW_SECTOR = 512, RAW_SECTOR_4K = 4096 };

/* The bytes of a sector that size bytes reach into are all there: QEMU reads zeros behind the end
 * of the file. */
static inline uint64_t raw_disk_size(const struct qca_image *image)
{
    return round_up(image->info.file_size, RAW_SECTOR);
}

/* Bytes of a logical sector of the disk with a GPT; 0 when there is none. */
unsigned gpt_sector_size(struct qca_io *io, const uint8_t head[PROBE_SIZE]);
/* Each of them: 0 or what a read gave, which ends the check. */
int gpt_check(struct qca_image *image, struct check *check, unsigned sector_size);
/* Of a disk that has the protective partition of a GPT, and none behind it: is the backup there? */
int gpt_check_lost(struct qca_image *image, struct check *check);
int mbr_check(struct qca_image *image, struct check *check);
int iso_check(struct qca_image *image, struct check *check);
int luks_check_raw(struct qca_image *image, struct check *check);

/* A read of the file's own bytes; a failed one ends the check. */
int raw_read(struct qca_image *image, struct check *check, uint64_t offset, void *buf, size_t size,
             const char *what);
/* The structure at table_offset says of size bytes at offset, by its index-th entry. */
int raw_issue(struct check *check, enum qca_issue_kind kind, enum qca_table table,
              uint64_t table_offset, uint64_t index, uint64_t offset, uint64_t size);
/* size bytes from offset on end behind the end of the file; size above 0. */
bool raw_is_outside(const struct qca_image *image, uint64_t offset, uint64_t size);
/* The file is one of the disks of an array whose description lies at its end (md, metadata 0.90
 * and 1.0), so that partition tables at its beginning are those of the array. */
int raw_is_of_array(struct qca_image *image, struct check *check, bool *ret_array);
