/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What looking at signatures has in common: answers, files, and bytes as letters. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "provenance/signature-part.h"

const char *signature_problem_name(enum signature_problem problem)
{
    static const char *const names[_SIGNATURE_PROBLEM_MAX] = {
        [SIGNATURE_GOOD] = "good", [SIGNATURE_NONE] = "none", [SIGNATURE_BAD] = "bad",
        [SIGNATURE_WRONG_KEY] = "wrong-key", [SIGNATURE_EXPIRED] = "expired",
        [SIGNATURE_REVOKED] = "revoked", [SIGNATURE_WEAK] = "weak",
        [SIGNATURE_UNSIGNED_PARTS] = "unsigned-parts", [SIGNATURE_TOO_LARGE] = "too-large",
        [SIGNATURE_UNUSABLE] = "unusable",
    };

    return names[problem];
}

int signature_say(struct signature_result *result, enum signature_problem problem,
                  const char *format, ...)
{
    va_list ap;

    result->problem = problem;
    va_start(ap, format);
    (void)vsnprintf(result->reason, sizeof(result->reason), format, ap);
    va_end(ap);
    return 0;
}

int signature_read(int fd, size_t max, char **ret_bytes, size_t *ret_size)
{
    _cleanup_free_ char *bytes = NULL;
    off_t end = lseek(fd, 0, SEEK_END);     /* in the sandbox, fstat() is not there */
    size_t n = 0;

    if (end < 0)
        return -errno;
    if ((uint64_t)end > max)
        return -EFBIG;
    bytes = malloc((size_t)end + 1);
    if (!bytes)
        return -ENOMEM;
    while (n < (size_t)end) {
        ssize_t got = pread(fd, bytes + n, (size_t)end - n, (off_t)n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;              /* it became shorter meanwhile */
        n += (size_t)got;
    }
    bytes[n] = '\0';
    *ret_bytes = TAKE_PTR(bytes);
    *ret_size = n;
    return 0;
}

/* ---- bytes as letters ------------------------------------------------------------------------ */

static int letter_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

int base64_decode(const char *text, size_t size, uint8_t *ret, size_t *ret_size)
{
    size_t n = 0, letters = 0, padding = 0;
    uint32_t bits = 0;

    for (size_t i = 0; i < size; i++) {
        int value = letter_value(text[i]);

        if (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t')
            continue;
        if (text[i] == '=') {
            padding++;
            continue;
        }
        if (value < 0 || padding > 0)
            return -EBADMSG;
        bits = bits << 6 | (uint32_t)value;
        if (++letters % 4 == 0) {
            ret[n++] = (uint8_t)(bits >> 16);
            ret[n++] = (uint8_t)(bits >> 8);
            ret[n++] = (uint8_t)bits;
        }
    }
    if (letters == 0 || letters % 4 == 1 || padding > 2)
        return -EBADMSG;
    if (letters % 4 >= 2)
        ret[n++] = (uint8_t)(letters % 4 == 2 ? bits >> 4 : bits >> 10);
    if (letters % 4 == 3)
        ret[n++] = (uint8_t)(bits >> 2);
    *ret_size = n;
    return 0;
}

int armour_decode(char *text, size_t *size)
{
    static const char begin[] = "-----BEGIN PGP ";
    char *ret = text, *end = text + *size, *body, *last;

    while (text < end && (*text == '\n' || *text == '\r' || *text == ' '))
        text++;
    if ((size_t)(end - text) < sizeof(begin) || memcmp(text, begin, sizeof(begin) - 1) != 0)
        return 0;
    /* Headers end with an empty line; the sum of the whole begins with "=" in a line of its own. */
    body = memmem(text, (size_t)(end - text), "\n\n", 2);
    last = memmem(text, (size_t)(end - text), "\r\n\r\n", 4);
    if (last && (!body || last < body))
        body = last + 2;
    if (!body)
        return -EBADMSG;
    body += 2;
    last = memmem(body, (size_t)(end - body), "\n-----END PGP ", 14);
    if (!last)
        return -EBADMSG;
    for (char *p = last; p > body && p > last - 12; p--)
        if (p[0] == '\n' && p[1] == '=')
            last = p;
    return base64_decode(body, (size_t)(last - body), (uint8_t *)ret, size) < 0 ? -EBADMSG : 1;
}
