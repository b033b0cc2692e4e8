/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The metadata digest, of qcow2 images: changes with every change of its structure. The formats do
 * not know of it, so that programs without digests do without libcrypto. */
#include <openssl/evp.h>

#include "qcow2.h"

#define CHUNK_BYTES (UINT64_C(256) << 10)
#define CRYPT_HEADER_MAX (UINT64_C(64) << 20)   /* bytes: LUKS version 1 has some 2 MiB */

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

/* One section: where it is, then what it holds, so that no two sections can be taken for each
 * other. */
static int digest_section(EVP_MD_CTX *digest, struct qca_image *image, uint64_t offset,
                          uint64_t size)
{
    uint64_t place[2] = { __builtin_bswap64(offset), __builtin_bswap64(size) };
    _cleanup_free_ uint8_t *buf = NULL;
    size_t chunk;
    int r;

    if (EVP_DigestUpdate(digest, place, sizeof(place)) != 1)
        return -EIO;
    /* What lies past the end of the file is no content: its absence shows in the sizes. */
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

        r = qcow2_read(image, offset + done, buf, n);
        if (r < 0)
            return r;
        /* Most tables end in zeros: how much is before them says as much as they would. */
        n = length_without_zeros(buf, n);
        used = __builtin_bswap64(n);
        if (EVP_DigestUpdate(digest, &used, sizeof(used)) != 1 ||
            EVP_DigestUpdate(digest, buf, n) != 1)
            return -EIO;
    }
    return 0;
}

static int qcow2_metadata_digest(struct qca_image *image, uint8_t ret_digest[32])
{
    const struct qca_image_info *info = &image->info;
    const struct qcow2 *qcow2 = image->qcow2;
    const struct { uint64_t offset, size; } sections[] = {
        { 0, info->cluster_size },
        { info->l1_offset, UINT64_C(8) * info->l1_entries },
        { info->refcount_table_offset,
          (uint64_t)info->refcount_table_clusters << qcow2->cluster_bits },
        { info->snapshots_offset, qcow2->snapshots_size },
        /* keys: no check can tell whether they are sound */
        { info->crypt_header_offset, min_u64(info->crypt_header_length, CRYPT_HEADER_MAX) },
    };
    size_t n_sections = ELEMENTSOF(sections) - (info->crypt_header_length == 0);
    _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *digest = EVP_MD_CTX_new();
    uint8_t value[EVP_MAX_MD_SIZE];
    int r;

    if (!digest)
        return -ENOMEM;
    if (EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return -EIO;
    for (size_t i = 0; i < n_sections; i++) {
        r = digest_section(digest, image, sections[i].offset, sections[i].size);
        if (r < 0)
            return r;
    }
    if (EVP_DigestFinal_ex(digest, value, NULL) != 1)
        return -EIO;
    memcpy(ret_digest, value, 32);
    return 0;
}

int qca_metadata_digest(struct qca_image *image, uint8_t ret_digest[32])
{
    return image->qcow2 ? qcow2_metadata_digest(image, ret_digest) : -EOPNOTSUPP;
}
