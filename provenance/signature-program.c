/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-signature: looks at one signature, with nothing but the files that it was started with;
 * signature.h says which. OpenPGP's it leaves to gpgv, in whose place it puts itself. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "helpers/sandbox.h"
#include "helpers/write.h"
#include "provenance/signature-part.h"

#define MEMORY_LIMIT (UINT64_C(256) << 20)      /* Ed25519's 64 MiB, and certificates */
#ifndef GPGV
#define GPGV "/usr/bin/gpgv"
#endif

#define FILE_OF(fd) "/proc/self/fd/" TEXT_OF(fd)
#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number

/* The numbers of signature.h, as text. */
#define DATA FILE_OF(3)
#define SIGNATURE FILE_OF(4)
#define KEYS FILE_OF(5)
#define STATUS TEXT_OF(7)
_Static_assert(SIGNATURE_FD_DATA == 3 && SIGNATURE_FD_SIGNATURE == 4 && SIGNATURE_FD_KEYS == 5 &&
                   SIGNATURE_FD_STATUS == 7, "the paths above");

/* Does not return unless gpgv cannot be started. */
static int become_gpgv(bool detached)
{
    const char *clear[] = {
        GPGV, "--homedir", "/nonexistent", "--status-fd", STATUS, "--keyring", KEYS, "--output",
        "-", DATA, NULL,
    };
    const char *of_two[] = {
        GPGV, "--homedir", "/nonexistent", "--status-fd", STATUS, "--keyring", KEYS, SIGNATURE,
        DATA, NULL,
    };
    char *const environment[] = { NULL };
    const int files[] = {
        SIGNATURE_FD_DATA, SIGNATURE_FD_KEYS, detached ? SIGNATURE_FD_SIGNATURE : -1,
    };
    const char *step = NULL;

    if (sandbox_verifier(files, ELEMENTSOF(files), &step) < 0)
        return EX_OSERR;
    (void)execve(GPGV, (char *const *)(uintptr_t)(detached ? of_two : clear), environment);
    return 127;
}

static bool is_there(int fd)
{
    struct stat st;

    return fstat(fd, &st) >= 0 && S_ISREG(st.st_mode);
}

static int answer(const struct signature_result *result)
{
    char text[SIGNATURE_REASON_MAX + SIGNATURE_KEY_MAX + 64];
    int n = snprintf(text, sizeof(text), "%s %s %s", signature_problem_name(result->problem),
                     result->key[0] ? result->key : "-", result->reason);

    return write_all(SIGNATURE_FD_ANSWER, text, (size_t)n) < 0 ? EX_IOERR : EXIT_SUCCESS;
}

static int check(const char *method, const char *pinned)
{
    const struct signature_files files = {
        .data = SIGNATURE_FD_DATA,
        .signature = is_there(SIGNATURE_FD_SIGNATURE) ? SIGNATURE_FD_SIGNATURE : -1,
        .keys = SIGNATURE_FD_KEYS,
        .certificates = is_there(SIGNATURE_FD_CERTIFICATES) ? SIGNATURE_FD_CERTIFICATES : -1,
    };
    struct signature_result result = { .problem = SIGNATURE_UNUSABLE };
    const char *step = NULL;
    int r;

    /* Nothing is read of the system's configuration, and all algorithms and the time zone are there
     * before the door closes. */
    if (setenv("TZ", "UTC0", 1) < 0)
        return EX_OSERR;
    tzset();
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_ADD_ALL_DIGESTS |
                                OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) != 1 ||
        sandbox_worker_begin(false, &step) < 0 || sandbox_worker(MEMORY_LIMIT, &step) < 0)
        return EX_OSERR;
    r = strcmp(method, "x509") == 0 ? signature_check_x509(&files, pinned, &result)
                                    : signature_check_pem(&files, &result);
    if (r < 0)
        (void)signature_say(&result, SIGNATURE_UNUSABLE, "a file cannot be read: %s", strerror(-r));
    return answer(&result);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return EX_USAGE;
    if (strcmp(argv[1], "openpgp") == 0)
        return become_gpgv(strcmp(argv[2], "detached") == 0);
    return check(argv[1], argv[2]);
}
