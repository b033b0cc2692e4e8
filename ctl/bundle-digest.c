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
    static __typeof__(EVP_Digest) *digest;
    static __typeof__(EVP_sha256) *sha256;
    void *library = digest ? NULL : dlopen(LIBRARY(OPENSSL_VERSION_MAJOR), RTLD_NOW | RTLD_LOCAL);
    unsigned n;

    if (library) {
        sha256 = dlsym(library, "EVP_sha256");
        digest = sha256 ? dlsym(library, "EVP_Digest") : NULL;
    }
    if (!digest)
        return complain(-ELIBACC, "Cannot compute digests with " LIBRARY(OPENSSL_VERSION_MAJOR));
    return digest(data, size, ret_digest, &n, sha256(), NULL) == 1 ? 0 : -EIO;
}
