/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images, audits and policies made of thin air, for the tests of the pure stages. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/datastore.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "helpers/clock.h"

#define HOUR (3600 * USEC_PER_SEC)
#define DAY (24 * HOUR)
#define HOUR_NSEC (3600 * (int64_t)NSEC_PER_SEC)
#define T0 INT64_C(1700000000000000000)         /* nsec: when the tests' world began */
#define T0_USEC (UINT64_C(1700000000000000))

/* An audited image that is well: qcow2 of 10 GiB, made and last written at T0. parent is its path,
 * or NULL. */
static inline struct image *fixture_image(struct datastore *datastore, const char *path,
                                          uint64_t inode, const char *parent)
{
    struct image *image = calloc(1, sizeof(*image));
    struct audit *audit = calloc(1, sizeof(*audit));
    struct audit_report *report = calloc(1, sizeof(*report));
    struct layer_report *layer = calloc(1, sizeof(*layer));

    assert_true(image && audit && report && layer);
    *layer = (struct layer_report){
        .info = { .format = QCA_FORMAT_QCOW2, .version = 3, .cluster_size = 65536,
                 .refcount_bits = 16,
                  .virtual_size = UINT64_C(10) << 30, .file_size = 1 << 20 },
        .checked = true,
        .check = { .finished = true, .image_end_offset = 1 << 20, .total_clusters = 163840,
                   .burst_offset = QCA_NO_OFFSET, .burst_end = QCA_NO_OFFSET },
        .probed_format = QCA_FORMAT_QCOW2,
    };
    *report = (struct audit_report){ .layers = layer, .n_layers = 1 };
    *audit = (struct audit){ .confidence = CONFIDENCE_OFFLINE, .report = report };
    *image = (struct image){
        .path = strdup(path), .datastore = datastore, .present = true, .audit = audit,
        .identity = { .fsid = 1, .inode = inode, .btime = T0 },
        .fingerprint = { .size = 1 << 20, .allocated = 1 << 20, .mtime = T0, .ctime = T0,
                        .mode = 0100600,
                         .links = 1 },
    };
    assert_non_null(image->path);
    if (parent) {
        layer->info.parent = strdup(parent);
        layer->info.parent_format = strdup("qcow2");
        image->parent = (struct reference){ .state = REFERENCE_FOUND, .stored = strdup(parent),
                                            .format = strdup("qcow2"), .path = strdup(parent) };
    }
    return image;
}
