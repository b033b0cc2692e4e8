/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signatures by public keys in PEM (RFC 7468, 13: "PUBLIC KEY"), as "openssl pkey -pubout" and
 * cosign write them. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "provenance/signature-part.h"

#define KEYS_MAX 64

DEFINE_CLEANUP(BIO *, BIO_free_all)

int signature_check_pem(const struct signature_files *files, struct signature_result *result)
{
    _cleanup_(BIO_free_allp) BIO *bio = NULL;
    _cleanup_free_ char *text = NULL;
    size_t size;
    EVP_PKEY *key;
    int r = signature_read(files->keys, SIGNATURE_SMALL_MAX, &text, &size);

    if (r == -EFBIG)
        return signature_say(result, SIGNATURE_UNUSABLE, "the file of keys is larger than 1 MiB");
    if (r < 0)
        return r;
    bio = BIO_new_mem_buf(text, (int)size);
    if (!bio)
        return -ENOMEM;
    (void)signature_say(result, SIGNATURE_UNUSABLE, "the file of keys holds no public key in PEM");
    for (unsigned n = 0; n < KEYS_MAX && (key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL)); n++) {
        r = signature_check_key(key, files, result);
        EVP_PKEY_free(key);
        if (r < 0 || result->problem == SIGNATURE_GOOD || result->problem == SIGNATURE_TOO_LARGE)
            break;
    }
    ERR_clear_error();
    return r;
}
