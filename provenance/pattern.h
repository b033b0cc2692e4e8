/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Patterns of names: POSIX extended regular expressions that end in bounded time, and templates
 * that what they found is put into. */
#pragma once

#include <locale.h>
#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_TEXT_MAX 512    /* bytes of a pattern */
/* Signs of a pattern after all its repetitions are written out, and of these what may be there or
 * not: glibc's time for a name grows with the square of the latter. With 64, the slowest that was
 * found takes 2 ms for its first name of 255 bytes and 0.6 ms for others; with 1,000 220 ms. */
#define PATTERN_SIZE_MAX 256
#define PATTERN_CHOICES_MAX 64
#define PATTERN_DEPTH_MAX 16    /* brackets in each other */
#define PATTERN_GROUPS 10       /* \0 to \9 */
#define PATTERN_NAME_MAX 255    /* bytes of a name: what a file's may have */
#define PATTERN_REASON_MAX 128

struct pattern {
    regex_t regex;
    bool compiled;
    locale_t locale;            /* borrowed */
    size_t size;                /* of at most PATTERN_SIZE_MAX */
    /* With one of which bytes, and with what in small letters, a name begins that can fit: most
     * names fit none of all families' patterns, and regexec() takes ten times as long to say so. */
    uint8_t first[256 / 8];
    char prefix[16];
};

/* "C": names are bytes, and no administrator's locale changes what a pattern means. */
locale_t pattern_locale_new(void);

/* Case is ignored. -EINVAL: refused, for what reason holds then: neither back-references nor signs
 * that POSIX does not know are taken, and nothing that is too large. -ENOMEM. */
int pattern_compile(const char *text, locale_t locale, struct pattern *ret,
                    char reason[static PATTERN_REASON_MAX]);
void pattern_done(struct pattern *pattern);
/* False, too, for names that are longer than PATTERN_NAME_MAX. */
bool pattern_match(const struct pattern *pattern, const char *name,
                   regmatch_t ret_matches[static PATTERN_GROUPS]);

/* Why it is no template of that pattern's, a constant; NULL: it is one. */
const char *template_fault(const char *template, const struct pattern *pattern);
/* The template with \1 to \9 in place, without blanks, points, dashes and underscores at its ends.
 * -ENOBUFS when it does not fit. */
int template_expand(const char *template, const char *name,
                    const regmatch_t matches[static PATTERN_GROUPS], size_t size, char *ret_text);
