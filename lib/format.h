/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of formats: what a format must offer, and the image it makes. */
#pragma once

#include "cleanup.h"
#include "qcaudit/qcaudit.h"

struct qcow2;
struct check;

struct qca_image {
    struct qca_io *io;
    const struct format *format;
    struct qca_image_info info;
    uint64_t memory_limit;      /* bytes */
    struct qcow2 *qcow2;        /* qcow2 only */
};

struct format {
    enum qca_format format;
    /* True when the first PROBE_SIZE bytes (zeros behind the end) are of this format; NULL: never
     * by content. */
    bool (*probe)(const uint8_t *head);
    /* Fills info and the private part; on failure qca_image_free() cleans up. */
    int (*open)(struct qca_image *image, struct qca_error *error);
    void (*close)(struct qca_image *image);                             /* may be NULL */
    int (*check)(struct qca_image *image, struct check *check);     /* NULL: it has no check */
};

enum { PROBE_SIZE = 512 };

extern const struct format format_raw;
extern const struct format format_qcow2;

DEFINE_CLEANUP(struct qca_image *, qca_image_free)
#define _cleanup_image_ _cleanup_(qca_image_freep)
