/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What gpgv says of signatures, by its status lines (GnuPG, doc/DETAILS), and what it does not say
 * of clear-signed texts (RFC 9580, 7). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "helpers/hex.h"
#include "provenance/signature-part.h"

#define FIELDS_MAX 12
#define DIGITS_V4 40
#define DIGITS_V6 64

static const char begin_message[] = "-----BEGIN PGP SIGNED MESSAGE-----",
                  begin_signature[] = "-----BEGIN PGP SIGNATURE-----",
                  end_signature[] = "-----END PGP SIGNATURE-----";

/* ---- clear-signed texts ---------------------------------------------------------------------- */

/* Is the line at text this one, but for blanks at its end? */
static bool is_line(const char *text, const char *end, const char *line)
{
    size_t n = strlen(line);

    if ((size_t)(end - text) < n || memcmp(text, line, n) != 0)
        return false;
    for (text += n; text < end && *text != '\n'; text++)
        if (*text != ' ' && *text != '\t' && *text != '\r')
            return false;
    return true;
}

static const char *next_line(const char *text, const char *end)
{
    const char *newline = memchr(text, '\n', (size_t)(end - text));

    return newline ? newline + 1 : end;
}

static const char *find_line(const char *text, const char *end, const char *line)
{
    for (; text < end; text = next_line(text, end))
        if (is_line(text, end, line))
            return text;
    return NULL;
}

bool openpgp_is_clean(const char *text, size_t size, struct signature_result *result)
{
    const char *end = text + size, *signature, *last;

    if (!is_line(text, end, begin_message)) {
        if (find_line(text, end, begin_message))
            (void)signature_say(result, SIGNATURE_UNSIGNED_PARTS,
                                "there is text before what is signed");
        else
            (void)signature_say(result, SIGNATURE_NONE, "the file is not signed, and no signature "
                                                        "of it was given");
        return false;
    }
    signature = find_line(text, end, begin_signature);
    last = signature ? find_line(signature, end, end_signature) : NULL;
    if (!last) {
        (void)signature_say(result, SIGNATURE_NONE, "the signature at its end is missing, or cut");
        return false;
    }
    if (find_line(next_line(text, end), end, begin_message)) {
        (void)signature_say(result, SIGNATURE_UNSIGNED_PARTS, "there is more than one signed text");
        return false;
    }
    for (last = next_line(last, end); last < end; last++)
        if (*last != ' ' && *last != '\n' && *last != '\r' && *last != '\t') {
            (void)signature_say(result, SIGNATURE_UNSIGNED_PARTS,
                                "there is text behind what is signed");
            return false;
        }
    return true;
}

/* ---- fingerprints ---------------------------------------------------------------------------- */

bool openpgp_fingerprints_are_sound(const char *pinned)
{
    for (;; pinned++) {
        size_t n = 0;

        while (hex_digit(pinned[n]) >= 0)
            n++;
        if (n != DIGITS_V4 && n != DIGITS_V6)
            return false;
        pinned += n;
        if (!*pinned)
            return true;
        if (*pinned != ',')
            return false;
    }
}

static bool is_pinned(const char *pinned, const char *fingerprint)
{
    size_t n = strlen(fingerprint);

    for (;;) {
        size_t length = strcspn(pinned, ",");

        if (length == n && n >= DIGITS_V4 && strncasecmp(pinned, fingerprint, n) == 0)
            return true;
        if (!pinned[length])
            return false;
        pinned += length + 1;
    }
}

/* ---- status ---------------------------------------------------------------------------------- */

/* What all lines say together: the worst counts. */
struct verdict {
    unsigned n_valid;
    bool none, plaintext;
    enum signature_problem worst;
    char key[SIGNATURE_KEY_MAX + 1];        /* of the first one that is valid and pinned */
    char other[SIGNATURE_KEY_MAX + 1];      /* of one that is not */
};

/* RFC 9580, 9.5: MD5, SHA-1 and RIPEMD-160 can be forged. */
static bool is_weak(const char *algorithm)
{
    return strcmp(algorithm, "1") == 0 || strcmp(algorithm, "2") == 0 ||
           strcmp(algorithm, "3") == 0;
}

/* The one that is said when there are several. */
static void worsen(struct verdict *verdict, enum signature_problem problem)
{
    static const int ranks[_SIGNATURE_PROBLEM_MAX] = {
        [SIGNATURE_UNUSABLE] = 1, [SIGNATURE_WRONG_KEY] = 2, [SIGNATURE_WEAK] = 3,
        [SIGNATURE_EXPIRED] = 4, [SIGNATURE_REVOKED] = 5, [SIGNATURE_BAD] = 6,
    };

    if (ranks[problem] > ranks[verdict->worst])
        verdict->worst = problem;
}

/* As a fingerprint or a key's ID is shown. */
static bool is_digits(const char *text)
{
    return strlen(text) <= SIGNATURE_KEY_MAX &&
           strspn(text, "0123456789ABCDEFabcdef") == strlen(text);
}

/* VALIDSIG fingerprint date time expires version reserved algorithm digest class primary */
static void take_valid(struct verdict *verdict, char *const fields[], size_t n, const char *pinned)
{
    const char *primary = n > 10 ? fields[10] : "";

    if (n < 11 || !is_digits(primary)) {
        worsen(verdict, SIGNATURE_UNUSABLE);
        return;
    }
    verdict->n_valid++;
    if (is_weak(fields[8]))
        worsen(verdict, SIGNATURE_WEAK);
    if (is_pinned(pinned, primary)) {
        if (!verdict->key[0])
            strcpy(verdict->key, primary);
    } else {
        strcpy(verdict->other, primary);
        worsen(verdict, SIGNATURE_WRONG_KEY);
    }
}

/* ERRSIG keyid algorithm digest class time rc fingerprint; rc 9: the key is not there. */
static void take_error(struct verdict *verdict, char *const fields[], size_t n)
{
    if (n > 3 && is_weak(fields[3]) && !(n > 6 && strcmp(fields[6], "9") == 0))
        worsen(verdict, SIGNATURE_WEAK);
    else if (n > 6 && strcmp(fields[6], "9") == 0)
        worsen(verdict, SIGNATURE_WRONG_KEY);
    else
        worsen(verdict, SIGNATURE_UNUSABLE);
    if (n > 1 && is_digits(fields[1]) && !verdict->other[0])
        strcpy(verdict->other, fields[1]);
}

static void take_line(struct verdict *verdict, char *line, const char *pinned)
{
    static const struct { const char *word; enum signature_problem problem; } bad[] = {
        { "BADSIG", SIGNATURE_BAD }, { "EXPSIG", SIGNATURE_EXPIRED },
        { "EXPKEYSIG", SIGNATURE_EXPIRED }, { "REVKEYSIG", SIGNATURE_REVOKED },
    };
    static const char prefix[] = "[GNUPG:] ";
    char *fields[FIELDS_MAX], *save = NULL;
    size_t n = 0;

    if (strncmp(line, prefix, sizeof(prefix) - 1) != 0)
        return;
    for (char *field = strtok_r(line + sizeof(prefix) - 1, " ", &save); field && n < FIELDS_MAX;
         field = strtok_r(NULL, " ", &save))
        fields[n++] = field;
    if (n == 0)
        return;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        if (strcmp(fields[0], bad[i].word) == 0)
            worsen(verdict, bad[i].problem);
    if (strcmp(fields[0], "VALIDSIG") == 0)
        take_valid(verdict, fields, n, pinned);
    else if (strcmp(fields[0], "ERRSIG") == 0)
        take_error(verdict, fields, n);
    else if (strcmp(fields[0], "NODATA") == 0)
        verdict->none = true;
    else if (strcmp(fields[0], "PLAINTEXT") == 0)
        verdict->plaintext = true;
}

static void say_worst(const struct verdict *verdict, struct signature_result *result)
{
    switch (verdict->worst) {
    case SIGNATURE_BAD:
        (void)signature_say(result, SIGNATURE_BAD, "bytes were changed since it was signed");
        break;
    case SIGNATURE_REVOKED:
        (void)signature_say(result, SIGNATURE_REVOKED, "the key that signed it is revoked");
        break;
    case SIGNATURE_EXPIRED:
        (void)signature_say(result, SIGNATURE_EXPIRED, "the signature, or the key that made it, is "
                                                       "expired");
        break;
    case SIGNATURE_WEAK:
        (void)signature_say(result, SIGNATURE_WEAK, "the signature is over a digest that can be "
                                                    "forged (SHA-1 or MD5)");
        break;
    case SIGNATURE_WRONG_KEY:
        (void)signature_say(result, SIGNATURE_WRONG_KEY, "it is signed by %s, which is not pinned",
                            verdict->other);
        break;
    default:
        (void)signature_say(result, SIGNATURE_UNUSABLE, "gpgv cannot check the signature");
    }
}

void openpgp_judge(const char *status, size_t size, int exit_status, const char *pinned,
                   bool detached, struct signature_result *result)
{
    struct verdict verdict = { .worst = SIGNATURE_GOOD };
    const char *end = status + size;

    while (status < end) {
        const char *next = next_line(status, end);
        char line[512];
        size_t n = (size_t)(next - status);

        /* A longer one has the name of a key, which is of no use. */
        if (n < sizeof(line)) {
            memcpy(line, status, n);
            line[n - (line[n - 1] == '\n')] = '\0';
            take_line(&verdict, line, pinned);
        }
        status = next;
    }
    if (verdict.worst != SIGNATURE_GOOD)
        say_worst(&verdict, result);
    else if (detached && verdict.plaintext)
        (void)signature_say(result, SIGNATURE_UNUSABLE, "the signature's file holds a text of its "
                                                        "own, and is no detached signature");
    else if (verdict.n_valid == 0)
        (void)signature_say(result, verdict.none ? SIGNATURE_NONE : SIGNATURE_UNUSABLE,
                            verdict.none ? "there is no signature"
                                         : "gpgv found nothing that it could check");
    else if (exit_status != 0)
        (void)signature_say(result, SIGNATURE_UNUSABLE, "gpgv ended with status %d", exit_status);
    else {
        (void)signature_say(result, SIGNATURE_GOOD, "signed by a pinned key");
        memcpy(result->key, verdict.key, sizeof(result->key));
    }
}
