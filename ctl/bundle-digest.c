/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 for archives of evidence, by a libcrypto that is loaded when it is needed. */
#include <dlfcn.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>
#include <stdio.h>

#include "ctl/bundle.h"

#define LIBRARY(major) LIBRARY_TEXT(major)
#define LIBRARY_TEXT(major) "libcrypto.so." #major

int bundle_digest(const void *data, size_t size, uint8_t ret_digest[32])
{
    /* It stays where it is loaded already. */
    void *library = dlopen(LIBRARY(OPENSSL_VERSION_MAJOR), RTLD_NOW | RTLD_LOCAL);
    __typeof__(EVP_Digest) *digest = library ? dlsym(library, "EVP_Digest") : NULL;
    __typeof__(EVP_sha256) *sha256 = library ? dlsym(library, "EVP_sha256") : NULL;
    unsigned n;

    if (!digest || !sha256)
        return complain(-ELIBACC, "Cannot compute digests with " LIBRARY(OPENSSL_VERSION_MAJOR));
    return digest(data, size, ret_digest, &n, sha256(), NULL) == 1 ? 0 : -EIO;
}
