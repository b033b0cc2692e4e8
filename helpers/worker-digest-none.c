/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* No digests, for qcaudit-checker. */
#include "helpers/worker-digest.h"

#include <errno.h>

int worker_digest_prepare(void)
{
    return -EOPNOTSUPP;
}

int worker_metadata_digest(struct qca_image *image, uint8_t ret_digest[32])
{
    return -EOPNOTSUPP;
}

int worker_file_digest(struct qca_io *io, unsigned algorithms,
                       const struct qca_digest_options *options, struct qca_error *error,
                       struct qca_file_digest *ret_digest)
{
    return -EOPNOTSUPP;
}

int worker_content_digest(struct qca_map *map, const struct qca_digest_options *options,
                          struct qca_error *error, struct qca_content_digest *ret_digest)
{
    return -EOPNOTSUPP;
}
