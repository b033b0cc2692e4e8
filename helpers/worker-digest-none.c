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
