/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parts of looking at a signature. Private to signature*.c. */
#pragma once

#include <openssl/evp.h>
#include <stdint.h>

#include "provenance/signature.h"

#define SIGNATURE_SMALL_MAX (1024 * 1024)           /* bytes of a signature, or of a file of keys */
#define SIGNATURE_ED25519_MAX (64 * 1024 * 1024)    /* its algorithm needs all of it in memory */

struct signature_files {
    int data, signature, keys, certificates;
};

/* Sets problem and reason; returns 0, as a problem is an answer. */
int signature_say(struct signature_result *result, enum signature_problem problem,
                  const char *format, ...) __attribute__((format(printf, 3, 4)));
/* All of a file of at most max bytes, with a NUL behind it; -EFBIG. malloc'd. */
int signature_read(int fd, size_t max, char **ret_bytes, size_t *ret_size);

/* Decodes base64 of both alphabets (RFC 4648, 4 and 5), with blanks and line ends between. -EBADMSG
 * for any other text. ret is as large as the text. */
int base64_decode(const char *text, size_t size, uint8_t *ret, size_t *ret_size);
/* The bytes of an ASCII armour (RFC 9580, 6.2), in place; 0 when it is none, 1. -EBADMSG. */
int armour_decode(char *text, size_t *size);

/* ---- in the sandbox, by libcrypto ------------------------------------------------------------ */

/* Each answers in *result; -ENOMEM or -errno of reading. */
int signature_check_pem(const struct signature_files *files, struct signature_result *result);
int signature_check_x509(const struct signature_files *files, const char *subject,
                         struct signature_result *result);
/* Is the signature by key? bytes are what the signature's file holds, binary or base64. */
int signature_check_key(EVP_PKEY *key, const struct signature_files *files,
                        struct signature_result *result);

/* ---- what gpgv says -------------------------------------------------------------------------- */

/* Is the text one clear-signed message and nothing else? Answers in *result when it is not. */
bool openpgp_is_clean(const char *text, size_t size, struct signature_result *result);
/* By its status and exit status. pinned as in struct signature_ask; detached: there was a file of
 * signatures. */
void openpgp_judge(const char *status, size_t size, int exit_status, const char *pinned,
                   bool detached, struct signature_result *result);
/* Is it a list of fingerprints: 40 or 64 digits each? */
bool openpgp_fingerprints_are_sound(const char *pinned);
