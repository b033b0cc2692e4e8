/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The digests of a worker: loading the crypto library takes as long as the check of a small image,
 * so the program that `qcauditctl check` starts is linked without. */
#pragma once

#include "qcaudit/qcaudit.h"

/* To be called before the sandbox. -EOPNOTSUPP in a program without digests. */
int worker_digest_prepare(void);
/* As qca_metadata_digest(). */
int worker_metadata_digest(struct qca_image *image, uint8_t ret_digest[32]);
/* As qca_file_digest() and qca_content_digest(). */
int worker_file_digest(struct qca_io *io, unsigned algorithms,
                       const struct qca_digest_options *options, struct qca_error *error,
                       struct qca_file_digest *ret_digest);
int worker_content_digest(struct qca_map *map, const struct qca_digest_options *options,
                          struct qca_error *error, struct qca_content_digest *ret_digest);
