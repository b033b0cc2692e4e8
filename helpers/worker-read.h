/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a worker reads an image whose every byte on disk matters: past the page cache, and without a
 * trace in it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "helpers/report.h"

struct direct_reader;

/* Bytes that one read asks the file system for at most. */
#define DIRECT_READ_MAX (UINT32_C(1) << 20)

/* alignment is as in struct files_stat: 0 when it is not known. fd stays the caller's; its file
 * description must be nobody else's, as its flags are changed. threads (may be NULL): one of them
 * reads ahead, a piece at a time, for who reads in order; they must outlive the reader. before (may
 * be NULL) is told, on the caller's own thread, of the bytes that are going to be read from the
 * file system, and may wait, or stop it by a -errno. -ENOMEM. */
int direct_reader_new(int fd, uint32_t alignment, struct qca_threads *threads,
                      int (*before)(void *userdata, size_t size), void *userdata,
                      struct direct_reader **ret_reader);
/* takes NULL, returns NULL */
struct direct_reader *direct_reader_free(struct direct_reader *reader);
/* A qca_read_fn; userdata is the reader. */
int64_t direct_reader_read(void *userdata, uint64_t offset, void *buf, size_t size);
/* How it read so far: the least that it had to do. */
enum report_reading direct_reader_reading(const struct direct_reader *reader);
