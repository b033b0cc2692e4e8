/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of VHD and VHDX: the library's answers about an image, and QEMU's tools. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qcaudit/qcaudit.h"

/* The library's answers about an image that it opens. */
struct told {
    bool finished;
    uint32_t kinds[_QCA_ISSUE_MAX];     /* how often each was seen */
    unsigned n_kinds;                   /* that were seen at all */
    uint64_t virtual_size, allocated;
    bool has_content;                   /* complete */
    uint8_t content[32];
};

/* Checks it, and reads all of its disk without a parent. */
void tell_image(struct qca_image *image, struct told *ret);
/* The same of bytes, with a format or, with QCA_FORMAT_UNKNOWN, what they are. */
void tell_bytes(const void *bytes, size_t size, enum qca_format format, struct told *ret);
void tell_file(const char *path, enum qca_format format, struct told *ret);
/* Fails unless nothing is said against the image, and its disk is these bytes. */
void assert_sound(const char *what, const struct told *told, const void *disk, size_t size);
/* Fails unless this kind alone was seen. */
void assert_kind(const char *what, const struct told *told, enum qca_issue_kind kind);

/* Numbers of 2, 4 or 8 bytes. */
void put_be(uint8_t *at, uint64_t value, unsigned size);
void put_le(uint8_t *at, uint64_t value, unsigned size);

bool have_qemu(void);
/* A shell command in this directory, which must succeed. */
__attribute__((format(printf, 2, 3))) void run_in(const char *directory, const char *format, ...);
/* Makes image.FORMAT with these options of qemu-img create, and these of qemu-io; then it must be
 * sound, and hold what qemu-img reads. */
void assert_as_qemu(enum qca_format format, const char *create, const char *writes);
