/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signatures by a certificate: of a chain (RFC 5280, 6) that ends at a root which the administrator
 * pinned, and of the name that he expects. Cisco signs its known-good values so. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "provenance/signature-part.h"

#define CERTIFICATES_MAX 64
/* OpenSSL's: keys of 112 bits of security (RSA 2,048), and no digest weaker than SHA-224. */
#define AUTH_LEVEL 2

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(X509_STORE *, X509_STORE_free)
DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free)

/* Certificates, and lists of revoked ones. */
struct certificates {
    STACK_OF(X509) *certificates;
    STACK_OF(X509_CRL) *revoked;
};

static void certificates_done(struct certificates *list)
{
    sk_X509_pop_free(list->certificates, X509_free);
    sk_X509_CRL_pop_free(list->revoked, X509_CRL_free);
}

static int read_certificates(int fd, struct certificates *ret)
{
    _cleanup_(BIO_free_allp) BIO *bio = NULL;
    _cleanup_free_ char *text = NULL;
    STACK_OF(X509_INFO) *infos;
    size_t size;
    int r = signature_read(fd, SIGNATURE_SMALL_MAX, &text, &size);

    if (r < 0)
        return r;
    ret->certificates = sk_X509_new_null();
    ret->revoked = sk_X509_CRL_new_null();
    bio = BIO_new_mem_buf(text, (int)size);
    if (!ret->certificates || !ret->revoked || !bio)
        return -ENOMEM;
    infos = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL);
    for (int i = 0; infos && i < sk_X509_INFO_num(infos) && i < CERTIFICATES_MAX; i++) {
        X509_INFO *info = sk_X509_INFO_value(infos, i);

        if (info->x509 && sk_X509_push(ret->certificates, info->x509) > 0)
            info->x509 = NULL;
        if (info->crl && sk_X509_CRL_push(ret->revoked, info->crl) > 0)
            info->crl = NULL;
    }
    sk_X509_INFO_pop_free(infos, X509_INFO_free);
    ERR_clear_error();
    return 0;
}

/* Has the certificate exactly one common name, and this one? */
static bool is_of(X509 *certificate, const char *subject)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    int i = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    unsigned char *text = NULL;
    bool same;
    int n;

    if (i < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, i) >= 0)
        return false;
    n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
    same = n >= 0 && (size_t)n == strlen(subject) && memcmp(text, subject, (size_t)n) == 0;
    OPENSSL_free(text);
    return same;
}

static X509 *find_signer(const struct certificates *list, const char *subject)
{
    for (int i = 0; i < sk_X509_num(list->certificates); i++)
        if (is_of(sk_X509_value(list->certificates, i), subject))
            return sk_X509_value(list->certificates, i);
    return NULL;
}

/* Roots are those of their own file alone: each is an anchor, however it is signed. */
static int fill_store(X509_STORE *store, const struct certificates *roots,
                      const struct certificates *others)
{
    unsigned long flags = 0;

    for (int i = 0; i < sk_X509_num(roots->certificates); i++)
        if (X509_STORE_add_cert(store, sk_X509_value(roots->certificates, i)) != 1)
            return -ENOMEM;
    for (int i = 0; i < sk_X509_CRL_num(others->revoked); i++) {
        flags |= X509_V_FLAG_CRL_CHECK;
        if (X509_STORE_add_crl(store, sk_X509_CRL_value(others->revoked, i)) != 1)
            return -ENOMEM;
    }
    X509_STORE_set_flags(store, flags);
    return 0;
}

static enum signature_problem problem_of(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
        return SIGNATURE_EXPIRED;
    case X509_V_ERR_CERT_REVOKED:
        return SIGNATURE_REVOKED;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return SIGNATURE_WEAK;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return SIGNATURE_BAD;
    default:
        return SIGNATURE_WRONG_KEY;
    }
}

static int check_chain(X509 *signer, const struct certificates *roots,
                       const struct certificates *others, struct signature_result *result)
{
    _cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
    _cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *parameters;
    int error, r = store && context ? fill_store(store, roots, others) : -ENOMEM;

    if (r < 0)
        return r;
    if (X509_STORE_CTX_init(context, store, signer, others->certificates) != 1)
        return -ENOMEM;
    parameters = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_auth_level(parameters, AUTH_LEVEL);
    X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_ANY);
    if (X509_verify_cert(context) == 1) {
        result->problem = SIGNATURE_GOOD;
        return 0;
    }
    error = X509_STORE_CTX_get_error(context);
    ERR_clear_error();
    return signature_say(result, problem_of(error),
                         "the certificate, or one between it and the pinned root, is not taken: %s",
                         X509_verify_cert_error_string(error));
}

int signature_check_x509(const struct signature_files *files, const char *subject,
                         struct signature_result *result)
{
    _cleanup_(certificates_done) struct certificates roots = { .revoked = NULL },
                                                      others = { .revoked = NULL };
    EVP_PKEY *key;
    X509 *signer;
    int r = read_certificates(files->keys, &roots);

    if (r >= 0 && files->certificates >= 0)
        r = read_certificates(files->certificates, &others);
    if (r == -EFBIG)
        return signature_say(result, SIGNATURE_UNUSABLE, "a file of certificates is larger than "
                                                         "1 MiB");
    if (r < 0)
        return r;
    if (sk_X509_num(roots.certificates) == 0)
        return signature_say(result, SIGNATURE_UNUSABLE, "the file of roots holds no "
                                                         "certificate in PEM");
    signer = find_signer(&others, subject);
    if (!signer)
        signer = find_signer(&roots, subject);
    if (!signer)
        return signature_say(result, SIGNATURE_WRONG_KEY, "no certificate has the expected common "
                                                          "name");
    r = check_chain(signer, &roots, &others, result);
    if (r < 0 || result->problem != SIGNATURE_GOOD)
        return r;
    key = X509_get0_pubkey(signer);
    return key ? signature_check_key(key, files, result)
               : signature_say(result, SIGNATURE_UNUSABLE, "libcrypto does not take the signer's "
                                                           "key");
}
