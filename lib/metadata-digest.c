/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The metadata digest: changes with every change of an image's structure. The formats only say
 * where that lies, so that programs without digests do without libcrypto. */
#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>

#include "bytes.h"
#include "format.h"

#define CHUNK_BYTES (UINT64_C(256) << 10)

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

/* One section: where it is, then what it holds, so that no two sections can be taken for each
 * other. */
static int digest_section(EVP_MD_CTX *digest, struct qca_image *image, uint64_t offset,
                          uint64_t size)
{
    uint64_t place[2] = { htobe64(offset), htobe64(size) };
    _cleanup_free_ uint8_t *buf = NULL;
    size_t chunk;
    int r;

    if (EVP_DigestUpdate(digest, place, sizeof(place)) != 1)
        return -EIO;
    /* Bytes past the end of the file are no content: the sizes show that they are absent. */
    if (offset >= image->info.file_size)
        return 0;
    size = min_u64(size, image->info.file_size - offset);
    chunk = min_u64(size, CHUNK_BYTES);
    buf = malloc(chunk);
    if (!buf && chunk > 0)
        return -ENOMEM;
    for (uint64_t done = 0; done < size; done += chunk) {
        size_t n = min_u64(chunk, size - done);
        uint64_t used;

        r = qca_io_read(image->io, offset + done, buf, n);
        if (r < 0)
            return r;
        /* Most tables end in zeros: how much is before them says as much as they would. */
        n = length_without_zeros(buf, n);
        used = htobe64(n);
        if (EVP_DigestUpdate(digest, &used, sizeof(used)) != 1 ||
            EVP_DigestUpdate(digest, buf, n) != 1)
            return -EIO;
    }
    return 0;
}

int qca_metadata_digest(struct qca_image *image, uint8_t ret_digest[32])
{
    _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *digest = NULL;
    struct metadata_section section;
    uint8_t value[EVP_MAX_MD_SIZE];
    int r;

    if (!image->format->section)
        return -EOPNOTSUPP;
    digest = EVP_MD_CTX_new();
    if (!digest)
        return -ENOMEM;
    if (EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return -EIO;
    for (unsigned i = 0; image->format->section(image, i, &section); i++) {
        r = digest_section(digest, image, section.offset, section.size);
        if (r < 0)
            return r;
    }
    if (EVP_DigestFinal_ex(digest, value, NULL) != 1)
        return -EIO;
    memcpy(ret_digest, value, 32);
    return 0;
}
