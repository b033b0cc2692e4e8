/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signatures: what gpgv says, line by line; clear-signed texts; base64 and armour; keys of
 * libcrypto. tests/cli/catalogue.bats has the programs as a whole. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "provenance/signature-part.h"

#define PRIMARY "0123456789ABCDEF0123456789ABCDEF01234567"
#define OTHER "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
#define VALID(hash, primary)                                                                       \
    "[GNUPG:] VALIDSIG " OTHER " 2026-01-01 1 0 4 0 22 " hash " 00 " primary "\n"
#define GOOD_LINES "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 0123 x\n" VALID("8", PRIMARY)

/* ---- gpgv ------------------------------------------------------------------------------------ */

static enum signature_problem judge(const char *status, int exit_status, bool detached)
{
    struct signature_result result = { .problem = SIGNATURE_UNUSABLE };

    openpgp_judge(status, strlen(status), exit_status, OTHER "0," PRIMARY, detached, &result);
    assert_true(result.reason[0] != '\0');
    if (result.problem == SIGNATURE_GOOD)
        assert_string_equal(result.key, PRIMARY);
    else
        assert_string_equal(result.key, "");
    return result.problem;
}

static void test_status(void **state)
{
    static const struct { const char *status; enum signature_problem problem; } cases[] = {
        { GOOD_LINES, SIGNATURE_GOOD },
        { GOOD_LINES GOOD_LINES, SIGNATURE_GOOD },
        { "", SIGNATURE_UNUSABLE },
        { "[GNUPG:] NODATA 1\n", SIGNATURE_NONE },
        { "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 0123 x\n", SIGNATURE_UNUSABLE },
        { VALID("8", OTHER), SIGNATURE_WRONG_KEY },
        { VALID("8", "01234567"), SIGNATURE_WRONG_KEY },
        { VALID("8", ""), SIGNATURE_UNUSABLE },
        { "[GNUPG:] VALIDSIG " PRIMARY "\n", SIGNATURE_UNUSABLE },
        { VALID("2", PRIMARY), SIGNATURE_WEAK },
        { VALID("1", PRIMARY), SIGNATURE_WEAK },
        { VALID("3", PRIMARY), SIGNATURE_WEAK },
        { GOOD_LINES VALID("8", OTHER), SIGNATURE_WRONG_KEY },
        { GOOD_LINES "[GNUPG:] BADSIG 01 x\n", SIGNATURE_BAD },
        { GOOD_LINES "[GNUPG:] EXPSIG 01 x\n", SIGNATURE_EXPIRED },
        { GOOD_LINES "[GNUPG:] EXPKEYSIG 01 x\n", SIGNATURE_EXPIRED },
        { GOOD_LINES "[GNUPG:] REVKEYSIG 01 x\n", SIGNATURE_REVOKED },
        { GOOD_LINES "[GNUPG:] ERRSIG 01 22 8 00 1 9 " OTHER "\n", SIGNATURE_WRONG_KEY },
        { GOOD_LINES "[GNUPG:] ERRSIG 01 1 1 00 1 5 " OTHER "\n", SIGNATURE_WEAK },
        { GOOD_LINES "[GNUPG:] ERRSIG\n", SIGNATURE_UNUSABLE },
        /* the name of a key, and what is no status */
        { "[GNUPG:] GOODSIG 01 [GNUPG:] VALIDSIG x\n", SIGNATURE_UNUSABLE },
        { "gpgv: " GOOD_LINES, SIGNATURE_GOOD },
        { "x" VALID("8", PRIMARY), SIGNATURE_UNUSABLE },
        { "[GNUPG:]\n[GNUPG:] \n\n \n", SIGNATURE_UNUSABLE },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        enum signature_problem problem = judge(cases[i].status, 0, true);

        if (problem != cases[i].problem)
            print_error("%s: %s\n", cases[i].status, signature_problem_name(problem));
        assert_int_equal(problem, cases[i].problem);
    }
    assert_int_equal(judge(GOOD_LINES, 1, true), SIGNATURE_UNUSABLE);
    assert_int_equal(judge("[GNUPG:] PLAINTEXT 62 1 x\n" GOOD_LINES, 0, true), SIGNATURE_UNUSABLE);
    assert_int_equal(judge("[GNUPG:] PLAINTEXT 74 1 x\n" GOOD_LINES, 0, false), SIGNATURE_GOOD);
}

static void test_fingerprints(void **state)
{
    assert_true(openpgp_fingerprints_are_sound(PRIMARY));
    assert_true(openpgp_fingerprints_are_sound(PRIMARY "," OTHER));
    assert_true(openpgp_fingerprints_are_sound(PRIMARY "0123456789abcdef01234567"));
    assert_false(openpgp_fingerprints_are_sound(""));
    assert_false(openpgp_fingerprints_are_sound(PRIMARY ","));
    assert_false(openpgp_fingerprints_are_sound(PRIMARY "0"));
    assert_false(openpgp_fingerprints_are_sound("x" PRIMARY));
    assert_false(openpgp_fingerprints_are_sound(PRIMARY " "));
}

#define MESSAGE "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\ntext\n"
#define SIGNATURE "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"

static void test_clean(void **state)
{
    static const struct { const char *text; enum signature_problem problem; } cases[] = {
        { MESSAGE SIGNATURE, SIGNATURE_GOOD },
        { MESSAGE SIGNATURE "\r\n \n", SIGNATURE_GOOD },
        { "\n" MESSAGE SIGNATURE, SIGNATURE_UNSIGNED_PARTS },
        { "x\n" MESSAGE SIGNATURE, SIGNATURE_UNSIGNED_PARTS },
        { MESSAGE SIGNATURE "x", SIGNATURE_UNSIGNED_PARTS },
        { MESSAGE SIGNATURE MESSAGE SIGNATURE, SIGNATURE_UNSIGNED_PARTS },
        { MESSAGE MESSAGE SIGNATURE, SIGNATURE_UNSIGNED_PARTS },
        { MESSAGE, SIGNATURE_NONE },
        { MESSAGE "-----BEGIN PGP SIGNATURE-----\n", SIGNATURE_NONE },
        { SIGNATURE, SIGNATURE_NONE },
        { "", SIGNATURE_NONE },
        { "text", SIGNATURE_NONE },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct signature_result result = { .problem = SIGNATURE_GOOD };
        bool clean = openpgp_is_clean(cases[i].text, strlen(cases[i].text), &result);

        assert_int_equal(clean, cases[i].problem == SIGNATURE_GOOD);
        assert_int_equal(result.problem, cases[i].problem);
    }
}

/* ---- bytes as letters ------------------------------------------------------------------------ */

static void test_base64(void **state)
{
    static const struct { const char *text, *bytes; } cases[] = {
        { "Zg==", "f" }, { "Zm8=", "fo" }, { "Zm9v", "foo" }, { "Zm9vYg", "foob" },
        { " Zm9v\r\nYmFy\n", "foobar" }, { "_-8=", "\xff\xef" }, { "/+8=", "\xff\xef" },
        { "", NULL }, { "Z", NULL }, { "Zg==Zg==", NULL }, { "Zm9v!", NULL }, { "Zg===", NULL },
        { "Zm9vY", NULL },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        uint8_t bytes[64];
        size_t size = 0;
        int r = base64_decode(cases[i].text, strlen(cases[i].text), bytes, &size);

        assert_int_equal(r, cases[i].bytes ? 0 : -EBADMSG);
        if (r == 0) {
            assert_int_equal(size, strlen(cases[i].bytes));
            assert_memory_equal(bytes, cases[i].bytes, size);
        }
    }
}

static void test_armour(void **state)
{
    static const struct { const char *text, *bytes; int r; } cases[] = {
        { "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\nZm9v\nYmFy\n=abcd\n"
          "-----END PGP PUBLIC KEY BLOCK-----\n", "foobar", 1 },
        { "\r\n-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n\r\nZm9v\r\n-----END PGP PUBLIC", "foo", 1 },
        { "\x99\x01", "\x99\x01", 0 },
        { "", "", 0 },
        { "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", NULL, -EBADMSG },
        { "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nZm9v", NULL, -EBADMSG },
        { "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n???\n-----END PGP X", NULL, -EBADMSG },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char text[256] = "";
        size_t size = strlen(cases[i].text);

        memcpy(text, cases[i].text, size);
        assert_int_equal(armour_decode(text, &size), cases[i].r);
        if (cases[i].r >= 0) {
            assert_int_equal(size, strlen(cases[i].bytes));
            assert_memory_equal(text, cases[i].bytes, size);
        }
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int memory(const void *bytes, size_t size)
{
    int fd;

    assert_int_equal(signature_memory(bytes, size, &fd), 0);
    assert_true(write(fd, "x", 1) < 0);     /* nobody changes it any more */
    return fd;
}

static enum signature_problem check(EVP_PKEY *key, int data, const void *signature, size_t size)
{
    struct signature_result result = { .problem = SIGNATURE_UNUSABLE };
    struct signature_files files = {
        .data = data, .signature = memory(signature, size), .keys = -1, .certificates = -1,
    };

    assert_int_equal(signature_check_key(key, &files, &result), 0);
    close(files.signature);
    return result.problem;
}

static void test_ed25519(void **state)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t signature[64];
    size_t size = sizeof(signature);
    int data = memory("data", 4), large;

    assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, signature, &size, (const uint8_t *)"data", 4), 1);
    assert_int_equal(check(key, data, signature, size), SIGNATURE_GOOD);
    assert_int_equal(check(key, data, signature, size - 1), SIGNATURE_BAD);
    signature[3] ^= 1;
    assert_int_equal(check(key, data, signature, size), SIGNATURE_BAD);
    assert_int_equal(check(key, data, "", 0), SIGNATURE_NONE);
    large = memfd_create("large", MFD_CLOEXEC);
    assert_int_equal(ftruncate(large, SIGNATURE_ED25519_MAX + 1), 0);
    assert_int_equal(check(key, large, signature, size), SIGNATURE_TOO_LARGE);
    close(large);
    close(data);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

/* DER, and both numbers one after the other as DSSE's test vector has them. */
static void test_ecdsa(void **state)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t der[128], raw[64] = { 0 };
    const uint8_t *place = der;
    size_t size = sizeof(der);
    int data = memory("data", 4);
    ECDSA_SIG *pair;

    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(context, der, &size, (const uint8_t *)"data", 4), 1);
    assert_int_equal(check(key, data, der, size), SIGNATURE_GOOD);
    pair = d2i_ECDSA_SIG(NULL, &place, (long)size);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + 32, 32), 32);
    assert_int_equal(check(key, data, raw, sizeof(raw)), SIGNATURE_GOOD);
    raw[63] ^= 1;
    assert_int_equal(check(key, data, raw, sizeof(raw)), SIGNATURE_BAD);
    memset(raw, 0, sizeof(raw));
    assert_int_equal(check(key, data, raw, sizeof(raw)), SIGNATURE_BAD);
    ECDSA_SIG_free(pair);
    close(data);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

static void test_files(void **state)
{
    char *why = NULL, *bytes;
    size_t size;
    int fd = -1, r;

    assert_int_equal(signature_open("/nonexistent/key", true, &fd, &why), -ENOENT);
    assert_null(why);
    assert_int_equal(signature_open("/", false, &fd, &why), -EMEDIUMTYPE);
    free(why);
    assert_int_equal(signature_open("/proc/self/exe", false, &fd, &why), -ELOOP);
    assert_non_null(strstr(why, "symbolic link"));
    free(why);
    fd = memory("12345", 5);
    assert_int_equal(signature_read(fd, 4, &bytes, &size), -EFBIG);
    r = signature_read(fd, 5, &bytes, &size);
    assert_int_equal(r, 0);
    assert_string_equal(bytes, "12345");
    free(bytes);
    close(fd);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status), cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_clean), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_armour), cmocka_unit_test(test_ed25519),
        cmocka_unit_test(test_ecdsa), cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
