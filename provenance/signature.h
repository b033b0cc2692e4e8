/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is a file signed by a key that the administrator pinned? Asked of qcaudit-signature, which looks
 * at keys and signatures in a sandbox. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/cleanup.h"

enum signature_method {
    SIGNATURE_OPENPGP,          /* keys: a keyring; pinned: fingerprints of primary keys */
    SIGNATURE_PEM,              /* keys: public keys; pinned: none */
    SIGNATURE_X509,             /* keys: root certificates; pinned: the signer's common name */
    _SIGNATURE_METHOD_MAX,
};

enum signature_problem {
    SIGNATURE_GOOD,
    SIGNATURE_NONE,             /* there is no signature */
    SIGNATURE_BAD,              /* it is not of these bytes, or not by this key */
    SIGNATURE_WRONG_KEY,        /* by a key that is not pinned */
    SIGNATURE_EXPIRED,
    SIGNATURE_REVOKED,
    SIGNATURE_WEAK,             /* over a digest that can be forged, or by a short key */
    SIGNATURE_UNSIGNED_PARTS,   /* there is text outside of what is signed */
    SIGNATURE_TOO_LARGE,
    SIGNATURE_UNUSABLE,         /* key or signature are of no known kind, or could not be looked
                                 * at */
    _SIGNATURE_PROBLEM_MAX,
};

#define SIGNATURE_REASON_MAX 256
#define SIGNATURE_KEY_MAX 128   /* hexadecimal digits of a fingerprint, or a digest of a key */

struct signature_ask {
    enum signature_method method;
    int data;                   /* file descriptors, all of them regular files; data of any size */
    int signature;              /* -1: the data is a clear-signed text */
    int keys;
    int certificates;           /* X509: the signer's and those between; -1: none */
    const char *pinned;         /* fingerprints, separated by commas; or the name */
};

struct signature_result {
    enum signature_problem problem;
    char reason[SIGNATURE_REASON_MAX];  /* a sentence without its full stop; safe to print */
    char key[SIGNATURE_KEY_MAX + 1];    /* of the signer, when GOOD: the primary key's fingerprint,
                                         * or the SHA-256 of the public key (DER SPKI) */
    char *text;                 /* of a clear-signed file: what is signed; NULL: all of the data */
    size_t size;
};

const char *signature_problem_name(enum signature_problem problem);     /* "wrong-key" */

/* Opens a key, keyring or signature: a regular file, no symbolic link. trusted: nobody else may be
 * able to change it, nor the folders on the way. -errno with *ret_why (a sentence without its full
 * stop, malloc'd; NULL: errno says it). */
int signature_open(const char *path, bool trusted, int *ret_fd, char **ret_why);
/* A file of memory with these bytes, which nobody can change any more. */
int signature_memory(const void *bytes, size_t size, int *ret_fd);

/* Blocks for so long as that takes, a minute at most. -errno when it could not be asked. */
int signature_verify(const struct signature_ask *ask, struct signature_result *ret_result);
void signature_result_done(struct signature_result *result);
DEFINE_CLEANUP(struct signature_result *, signature_result_done)

/* How qcaudit-signature is started: these files. */
enum {
    SIGNATURE_FD_OUTPUT = 1,    /* the signed text of a clear-signed file */
    SIGNATURE_FD_ANSWER = 2,    /* its own words, "PROBLEM KEY REASON"; with OpenPGP, gpgv's log */
    SIGNATURE_FD_DATA = 3,
    SIGNATURE_FD_SIGNATURE,
    SIGNATURE_FD_KEYS,
    SIGNATURE_FD_CERTIFICATES,
    SIGNATURE_FD_STATUS,        /* gpgv's status */
    _SIGNATURE_FD_MAX,
};
