/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests of a container as it lies there: several algorithms, one pass. */
#include <errno.h>
#include <openssl/evp.h>

#include "bytes.h"
#include "error.h"
#include "io.h"

#define CHUNK_SIZE (UINT64_C(1) << 20)
#define PROGRESS_STEP (UINT64_C(4) << 20)

enum { N_ALGORITHMS = 4 };

struct hasher {
    EVP_MD_CTX *contexts[N_ALGORITHMS];     /* NULL: not asked for */
    uint8_t *values[N_ALGORITHMS];
};

static void hasher_done(struct hasher *hasher)
{
    for (size_t i = 0; i < N_ALGORITHMS; i++)
        EVP_MD_CTX_free(hasher->contexts[i]);
}

static int hasher_begin(struct hasher *hasher, struct qca_file_digest *digest)
{
    const struct { unsigned bit; const EVP_MD *type; uint8_t *value; } rows[N_ALGORITHMS] = {
        { QCA_DIGEST_SHA256, EVP_sha256(), digest->sha256 },
        { QCA_DIGEST_MD5, EVP_md5(), digest->md5 },
        { QCA_DIGEST_SHA1, EVP_sha1(), digest->sha1 },
        { QCA_DIGEST_SHA512, EVP_sha512(), digest->sha512 },
    };

    for (size_t i = 0; i < N_ALGORITHMS; i++) {
        if (!(digest->algorithms & rows[i].bit))
            continue;
        hasher->values[i] = rows[i].value;
        hasher->contexts[i] = EVP_MD_CTX_new();
        if (!hasher->contexts[i])
            return -ENOMEM;
        if (EVP_DigestInit_ex(hasher->contexts[i], rows[i].type, NULL) != 1)
            return -EOPNOTSUPP;
    }
    return 0;
}

static int hasher_update(struct hasher *hasher, const void *data, size_t size)
{
    for (size_t i = 0; i < N_ALGORITHMS; i++)
        if (hasher->contexts[i] && EVP_DigestUpdate(hasher->contexts[i], data, size) != 1)
            return -EIO;
    return 0;
}

static int hasher_end(struct hasher *hasher)
{
    for (size_t i = 0; i < N_ALGORITHMS; i++)
        if (hasher->contexts[i] &&
            EVP_DigestFinal_ex(hasher->contexts[i], hasher->values[i], NULL) != 1)
            return -EIO;
    return 0;
}

static int hash_file(struct hasher *hasher, struct qca_io *io,
                     const struct qca_digest_options *options, struct qca_error *error)
{
    uint64_t size = qca_io_size(io), told = 0;
    _cleanup_free_ uint8_t *buf = malloc(CHUNK_SIZE);
    int r;

    if (!buf)
        return -ENOMEM;
    for (uint64_t offset = 0; offset < size; offset += CHUNK_SIZE) {
        size_t n = min_u64(CHUNK_SIZE, size - offset);

        r = qca_io_read(io, offset, buf, n);
        if (r < 0)
            return error_set_read(error, r, offset, "the file");
        if (io_shrank(io))
            return error_set(error, ESTALE, QCA_ERROR_TRUNCATED,
                             (struct error_field){ .offset = offset },
                             "the file became shorter while it was read");
        r = hasher_update(hasher, buf, n);
        if (r < 0)
            return r;
        if (options && options->progress && offset - told >= PROGRESS_STEP) {
            options->progress(options->userdata, offset, size);
            told = offset;
        }
        if (options && options->cancel &&
            atomic_load_explicit(options->cancel, memory_order_relaxed))
            return error_set(error, ECANCELED, QCA_ERROR_CANCELLED,
                             (struct error_field){ .offset = offset }, "cancelled");
    }
    return 0;
}

int qca_file_digest(struct qca_io *io, unsigned algorithms,
                    const struct qca_digest_options *options, struct qca_error *error,
                    struct qca_file_digest *ret_digest)
{
    struct qca_file_digest digest = { .algorithms = algorithms | QCA_DIGEST_SHA256,
                                      .size = qca_io_size(io) };
    struct hasher hasher = { .contexts = { NULL } };
    int r = hasher_begin(&hasher, &digest);

    if (r < 0)
        (void)error_set(error, -r, QCA_ERROR_UNSUPPORTED,
                        (struct error_field){ .value = algorithms },
                        "the crypto library lacks an algorithm");
    else
        r = hash_file(&hasher, io, options, error);
    if (r == 0)
        r = hasher_end(&hasher);
    hasher_done(&hasher);
    if (r == 0)
        *ret_digest = digest;
    return r;
}
