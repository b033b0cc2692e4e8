/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests, for qcaudit-worker. */
#include "helpers/worker-digest.h"

#include <errno.h>
#include <openssl/evp.h>

int worker_digest_prepare(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n;

    /* The crypto library reads its configuration when it is first used: that must be before the
     * sandbox. */
    return EVP_Digest("", 0, digest, &n, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

int worker_metadata_digest(struct qca_image *image, uint8_t ret_digest[32])
{
    return qca_metadata_digest(image, ret_digest);
}

int worker_file_digest(struct qca_io *io, unsigned algorithms,
                       const struct qca_digest_options *options, struct qca_error *error,
                       struct qca_file_digest *ret_digest)
{
    return qca_file_digest(io, algorithms, options, error, ret_digest);
}

int worker_content_digest(struct qca_map *map, const struct qca_digest_options *options,
                          struct qca_error *error, struct qca_content_digest *ret_digest)
{
    return qca_content_digest(map, options, error, ret_digest);
}
