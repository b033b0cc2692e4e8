/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signatures by one public key, over a file: Ed25519, ECDSA on P-256 and P-384, RSA from 2,048 bits
 * on with PKCS #1 v1.5 or PSS, over SHA-256, SHA-384 or SHA-512; by libcrypto.
 *
 * A signature is the bytes alone, or these in base64, as "cosign sign-blob" writes them. That of
 * ECDSA is DER, or both numbers one after the other (IEEE P1363). */
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>
#include <unistd.h>

#include "helpers/hex.h"
#include "provenance/signature-part.h"

#define RSA_BITS_MIN 2048
#define RAW_SIGNATURE_MAX 96

DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free)

/* Those that may be signed; behind them those of which it is only said that they are weak. */
enum { SHA_256, SHA_384, SHA_512, N_STRONG, SHA_1 = N_STRONG, MD_5, N_DIGESTS };

struct digest_list {
    const EVP_MD *md[N_DIGESTS];
    uint8_t value[N_DIGESTS][EVP_MAX_MD_SIZE];
    unsigned size[N_DIGESTS];
};

/* ---- digests of the data --------------------------------------------------------------------- */

static int digest_file(EVP_MD_CTX *contexts[static N_DIGESTS], int fd)
{
    _cleanup_free_ uint8_t *bytes = malloc(1 << 20);
    off_t offset = 0;

    if (!bytes)
        return -ENOMEM;
    for (;;) {
        ssize_t n = pread(fd, bytes, 1 << 20, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        for (int i = 0; i < N_DIGESTS; i++)
            if (contexts[i])
                EVP_DigestUpdate(contexts[i], bytes, (size_t)n);
        offset += n;
    }
}

static int digest_data(int fd, struct digest_list *ret)
{
    EVP_MD_CTX *contexts[N_DIGESTS] = { NULL };
    int r;

    *ret = (struct digest_list){
        .md = { EVP_sha256(), EVP_sha384(), EVP_sha512(), EVP_sha1(), EVP_md5() },
    };
    for (int i = 0; i < N_DIGESTS; i++) {
        contexts[i] = EVP_MD_CTX_new();
        /* A system's policy may forbid the weak ones. */
        if (contexts[i] && EVP_DigestInit_ex(contexts[i], ret->md[i], NULL) <= 0) {
            EVP_MD_CTX_free(contexts[i]);
            contexts[i] = NULL;
        }
    }
    r = digest_file(contexts, fd);
    for (int i = 0; i < N_DIGESTS; i++) {
        if (r >= 0 && contexts[i])
            EVP_DigestFinal_ex(contexts[i], ret->value[i], &ret->size[i]);
        EVP_MD_CTX_free(contexts[i]);
    }
    return r;
}

/* ---- one signature --------------------------------------------------------------------------- */

static bool is_signed(EVP_PKEY *key, const struct digest_list *digests, int which, int padding,
                      const uint8_t *signature, size_t size)
{
    _cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);

    if (!context || digests->size[which] == 0 || EVP_PKEY_verify_init(context) <= 0)
        return false;
    if (padding != 0 && EVP_PKEY_CTX_set_rsa_padding(context, padding) <= 0)
        return false;
    if (EVP_PKEY_CTX_set_signature_md(context, digests->md[which]) <= 0)
        return false;
    return EVP_PKEY_verify(context, signature, size, digests->value[which],
                           digests->size[which]) == 1;
}

/* Over which digest it is signed; N_DIGESTS: none. */
static int find_digest(EVP_PKEY *key, const struct digest_list *digests, const uint8_t *signature,
                       size_t size)
{
    bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;

    for (int i = 0; i < N_DIGESTS; i++)
        if (rsa ? is_signed(key, digests, i, RSA_PKCS1_PADDING, signature, size) ||
                      is_signed(key, digests, i, RSA_PKCS1_PSS_PADDING, signature, size)
                : is_signed(key, digests, i, 0, signature, size))
            return i;
    return N_DIGESTS;
}

/* r and s one after the other -> DER; 0 bytes when they are none. */
static int raw_to_der(const uint8_t *raw, size_t size, uint8_t **ret_der)
{
    _cleanup_(ECDSA_SIG_freep) ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)size / 2, NULL),
           *s = BN_bin2bn(raw + size / 2, (int)size / 2, NULL);

    if (!pair || !r || !s || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return 0;
    }
    *ret_der = NULL;
    return i2d_ECDSA_SIG(pair, ret_der);
}

static int check_digests(EVP_PKEY *key, int data, const uint8_t *signature, size_t size,
                         struct signature_result *result)
{
    struct digest_list digests;
    int which, r = digest_data(data, &digests);

    if (r < 0)
        return r;
    which = find_digest(key, &digests, signature, size);
    if (which == N_DIGESTS && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
        (size == 64 || size == RAW_SIGNATURE_MAX)) {
        uint8_t *der = NULL;
        int n = raw_to_der(signature, size, &der);

        if (n > 0)
            which = find_digest(key, &digests, der, (size_t)n);
        OPENSSL_free(der);
    }
    if (which == N_DIGESTS)
        return signature_say(result, SIGNATURE_BAD, "the signature is by another key, or bytes "
                                                    "were changed since");
    if (which >= N_STRONG)
        return signature_say(result, SIGNATURE_WEAK, "the signature is over %s alone, which can be "
                                                     "forged", which == SHA_1 ? "SHA-1" : "MD5");
    return signature_say(result, SIGNATURE_GOOD, "signed over %s",
                         which == SHA_256 ? "SHA-256" : which == SHA_384 ? "SHA-384" : "SHA-512");
}

static int check_ed25519(EVP_PKEY *key, int data, const uint8_t *signature, size_t size,
                         struct signature_result *result)
{
    _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
    _cleanup_free_ char *bytes = NULL;
    size_t n;
    int r = context ? signature_read(data, SIGNATURE_ED25519_MAX, &bytes, &n) : -ENOMEM;

    if (r == -EFBIG)
        return signature_say(result, SIGNATURE_TOO_LARGE, "Ed25519 needs all of a file in memory: "
                             "over 64 MiB, a list of digests is to be signed instead");
    if (r < 0)
        return r;
    if (EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) <= 0)
        return signature_say(result, SIGNATURE_UNUSABLE, "libcrypto does not take the key");
    if (EVP_DigestVerify(context, signature, size, (const uint8_t *)bytes, n) != 1)
        return signature_say(result, SIGNATURE_BAD, "the signature is by another key, or bytes "
                                                    "were changed since");
    return signature_say(result, SIGNATURE_GOOD, "signed by Ed25519");
}

/* The bytes of the signature: as they are, or from base64. */
static int read_signature(int fd, uint8_t **ret_bytes, size_t *ret_size)
{
    _cleanup_free_ char *text = NULL;
    size_t size, decoded;
    uint8_t *bytes;
    int r = signature_read(fd, SIGNATURE_SMALL_MAX, &text, &size);

    if (r < 0)
        return r;
    bytes = malloc(size + 1);
    if (!bytes)
        return -ENOMEM;
    if (base64_decode(text, size, bytes, &decoded) >= 0) {
        *ret_size = decoded;
    } else {
        memcpy(bytes, text, size);
        *ret_size = size;
    }
    *ret_bytes = bytes;
    return 0;
}

static int check_kind(EVP_PKEY *key, const struct signature_files *files, const uint8_t *signature,
                      size_t size, struct signature_result *result)
{
    char curve[64] = "";

    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_ED25519:
        return check_ed25519(key, files->data, signature, size, result);
    case EVP_PKEY_EC:
        (void)EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL);
        if (strcmp(curve, "prime256v1") != 0 && strcmp(curve, "secp384r1") != 0)
            return signature_say(result, SIGNATURE_UNUSABLE, "of elliptic curves, P-256 and P-384 "
                                                             "are taken");
        return check_digests(key, files->data, signature, size, result);
    case EVP_PKEY_RSA:
        if (EVP_PKEY_get_bits(key) < RSA_BITS_MIN)
            return signature_say(result, SIGNATURE_WEAK, "the key has %d bits, fewer than %d",
                                 EVP_PKEY_get_bits(key), RSA_BITS_MIN);
        return check_digests(key, files->data, signature, size, result);
    default:
        return signature_say(result, SIGNATURE_UNUSABLE, "the key is none of Ed25519, ECDSA and "
                                                         "RSA");
    }
}

/* SHA-256 of the key, as "openssl pkey -pubin -outform DER | sha256sum" says. */
static void name_key(EVP_PKEY *key, struct signature_result *result)
{
    uint8_t *der = NULL, digest[SHA256_DIGEST_LENGTH];
    int n = i2d_PUBKEY(key, &der);

    if (n > 0 && EVP_Digest(der, (size_t)n, digest, NULL, EVP_sha256(), NULL) == 1)
        hex_encode(digest, sizeof(digest), result->key);
    OPENSSL_free(der);
}

int signature_check_key(EVP_PKEY *key, const struct signature_files *files,
                        struct signature_result *result)
{
    _cleanup_free_ uint8_t *signature = NULL;
    size_t size = 0;
    int r = files->signature >= 0 ? read_signature(files->signature, &signature, &size) : 0;

    if (r == -EFBIG)
        return signature_say(result, SIGNATURE_UNUSABLE, "the signature is larger than 1 MiB");
    if (r < 0)
        return r;
    if (size == 0)
        return signature_say(result, SIGNATURE_NONE, "there is no signature");
    r = check_kind(key, files, signature, size, result);
    if (r >= 0 && result->problem == SIGNATURE_GOOD)
        name_key(key, result);
    return r;
}
