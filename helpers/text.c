/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text for people: hostile bytes made safe for terminals and logs, shell quoting, sizes and times
 * in words. */
#include "helpers/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

struct range {
    uint32_t first, last;
};

static bool is_in(uint32_t c, const struct range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* Characters that reorder, hide or break text on a terminal, or that nobody sees: Unicode's
 * Default_Ignorable_Code_Point, with the other controls of format and the separators of lines. */
static bool character_is_hidden(uint32_t c)
{
    static const struct range hidden[] = {
        {0x80, 0x9f}, {0xad, 0xad}, {0x34f, 0x34f}, {0x61c, 0x61c}, {0x115f, 0x1160},
        {0x17b4, 0x17b5}, {0x180b, 0x180f}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
        {0x3164, 0x3164}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb},
        {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };

    return is_in(c, hidden, sizeof(hidden) / sizeof(hidden[0]));
}

/* Has it an appearance as text and one as a picture? Where such characters are, by blocks. */
static bool character_is_pictograph(uint32_t c)
{
    static const struct range pictographs[] = {
        {0xa9, 0xa9}, {0xae, 0xae}, {0x203c, 0x203c}, {0x2049, 0x2049}, {0x2122, 0x2122},
        {0x2139, 0x2139}, {0x2194, 0x21aa}, {0x231a, 0x23ff}, {0x24c2, 0x24c2}, {0x25aa, 0x25fe},
        {0x2600, 0x27bf}, {0x2934, 0x2935}, {0x2b05, 0x2b55}, {0x3030, 0x3030}, {0x303d, 0x303d},
        {0x3297, 0x3297}, {0x3299, 0x3299}, {0x1f000, 0x1faff},
    };

    return is_in(c, pictographs, sizeof(pictographs) / sizeof(pictographs[0]));
}

/* Length of the UTF-8 character at s (n > 0 bytes are there), 0 when there is none. */
static size_t character_decode(const unsigned char *s, size_t n, uint32_t *ret_character)
{
    size_t length;
    uint32_t c, least;

    if (s[0] < 0x80) {
        *ret_character = s[0];
        return 1;
    }
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        length = 2, c = s[0] & 0x1f, least = 0x80;
    else if (s[0] >= 0xe0 && s[0] <= 0xef)
        length = 3, c = s[0] & 0x0f, least = 0x800;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        length = 4, c = s[0] & 0x07, least = 0x10000;
    else
        return 0;
    if (length > n)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret_character = c;
    return length;
}

/* Bytes at s that belong to the printable character before them: which appearance a pictograph has,
 * and a key's frame. Such a selector anywhere else, a second one too, is a character that nobody
 * sees. */
static size_t selector_length(const unsigned char *s, size_t n, uint32_t before)
{
    if (n < 3 || s[0] != 0xef || s[1] != 0xb8 || (s[2] != 0x8e && s[2] != 0x8f))
        return 0;
    if (character_is_pictograph(before))
        return 3;
    /* 0 to 9, # and *, in a frame: U+20E3 */
    if (((before >= '0' && before <= '9') || before == '#' || before == '*') && n >= 6 &&
        memcmp(s + 2, "\x8f\xe2\x83\xa3", 4) == 0)
        return 6;
    return 0;
}

/* Length of the printable character at s (n > 0 bytes are there), 0 when its first byte must be
 * escaped. */
static size_t character_length(const unsigned char *s, size_t n)
{
    uint32_t c;
    size_t length = character_decode(s, n, &c);

    if (length == 0 || c < 0x20 || c == 0x7f || character_is_hidden(c))
        return 0;
    return length + selector_length(s + length, n - length, c);
}

/* Appends the escape of one byte, returns the new end. */
static char *append_escape(char *out, unsigned char byte)
{
    static const char letters[] = "abtnvfr";    /* 0x07 to 0x0d */

    *out++ = '\\';
    if (byte >= 0x07 && byte <= 0x0d) {
        *out++ = letters[byte - 0x07];
        return out;
    }
    *out++ = 'x';
    *out++ = "0123456789abcdef"[byte >> 4];
    *out++ = "0123456789abcdef"[byte & 15];
    return out;
}

/* Escapes into out, which has room for 4 * n bytes; a quote too when asked for. */
static char *append_escaped(char *out, const char *bytes, size_t n, bool quotes)
{
    const unsigned char *s = (const unsigned char *)bytes;

    for (size_t i = 0; i < n;) {
        size_t length = character_length(s + i, n - i);

        if (length == 0) {
            out = append_escape(out, s[i++]);
            continue;
        }
        if (s[i] == '\\' || (quotes && s[i] == '\''))
            *out++ = '\\';
        memcpy(out, s + i, length);
        out += length;
        i += length;
    }
    return out;
}

int text_escape(const char *bytes, size_t n, char **ret)
{
    char *text, *end, *shrunk;

    if (n > (SIZE_MAX - 1) / 4)
        return -ENOMEM;
    text = malloc(4 * n + 1);
    if (!text)
        return -ENOMEM;
    end = append_escaped(text, bytes, n, false);
    *end = '\0';
    shrunk = realloc(text, (size_t)(end - text) + 1);
    *ret = shrunk ? shrunk : text;
    return 0;
}

char *text_escape_string(const char *string)
{
    char *text;

    if (!string)
        string = "";
    return text_escape(string, strlen(string), &text) < 0 ? NULL : text;
}

bool text_is_utf8(const char *bytes, size_t n)
{
    const unsigned char *s = (const unsigned char *)bytes;

    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t length = character_decode(s + i, n - i, &c);

        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

bool text_is_safe(const char *bytes, size_t n)
{
    const unsigned char *s = (const unsigned char *)bytes;

    for (size_t i = 0, length; i < n; i += length) {
        length = character_length(s + i, n - i);
        if (length == 0)
            return false;
    }
    return true;
}

int text_quote_shell(const char *string, char **ret)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+:,./-";
    size_t n = strlen(string);
    char *quoted, *out;

    if (n > 0 && strspn(string, plain) == n) {
        quoted = strdup(string);
        if (!quoted)
            return -ENOMEM;
        *ret = quoted;
        return 0;
    }
    if (n > (SIZE_MAX - 4) / 4)
        return -ENOMEM;
    out = quoted = malloc(4 * n + 4);
    if (!quoted)
        return -ENOMEM;
    if (text_is_safe(string, n)) {
        *out++ = '\'';
        for (size_t i = 0; i < n; i++) {
            if (string[i] == '\'')
                out = mempcpy(out, "'\\'", 3);      /* out of the quotes, a quote, in again */
            *out++ = string[i];
        }
    } else {
        *out++ = '$';
        *out++ = '\'';
        out = append_escaped(out, string, n, true);
    }
    *out++ = '\'';
    *out = '\0';
    *ret = quoted;
    return 0;
}

const char *text_size(uint64_t bytes, char buf[static TEXT_SIZE_MAX])
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;
    uint64_t factor = 1, tenths;

    while (unit < 6 && bytes / factor >= 1024) {
        factor *= 1024;
        unit++;
    }
    tenths = unit == 0 ? 0 : bytes % factor / (factor / 1024) * 10 / 1024;
    if (tenths > 0)
        snprintf(buf, TEXT_SIZE_MAX, "%" PRIu64 ".%" PRIu64 "%c", bytes / factor, tenths,
                 units[unit]);
    else
        snprintf(buf, TEXT_SIZE_MAX, "%" PRIu64 "%c", bytes / factor, units[unit]);
    return buf;
}

const char *text_duration(uint64_t usec, char buf[static TEXT_DURATION_MAX])
{
    static const struct { uint64_t usec; const char *name; } units[] = {
        {UINT64_C(31536000000000), "y"}, {UINT64_C(86400000000), "d"}, {UINT64_C(3600000000), "h"},
        {UINT64_C(60000000), "min"}, {UINT64_C(1000000), "s"}, {UINT64_C(1000), "ms"},
        {UINT64_C(1), "us"},
    };
    size_t i = 0;
    const size_t n = sizeof(units) / sizeof(units[0]);
    uint64_t next;

    if (usec == 0) {
        snprintf(buf, TEXT_DURATION_MAX, "0s");
        return buf;
    }
    while (usec < units[i].usec)
        i++;
    /* below a second one unit says enough */
    next = i + 1 < n && units[i].usec > 1000000 ? usec % units[i].usec / units[i + 1].usec : 0;
    if (next > 0)
        snprintf(buf, TEXT_DURATION_MAX, "%" PRIu64 "%s %" PRIu64 "%s", usec / units[i].usec,
                 units[i].name, next, units[i + 1].name);
    else
        snprintf(buf, TEXT_DURATION_MAX, "%" PRIu64 "%s", usec / units[i].usec, units[i].name);
    return buf;
}

const char *text_span(uint64_t usec, char buf[static TEXT_DURATION_MAX])
{
    static const struct { uint64_t usec; const char *name; } units[] = {
        {UINT64_C(86400000000), "day"}, {UINT64_C(3600000000), "hour"},
        {UINT64_C(60000000), "minute"}, {UINT64_C(1000000), "second"},
    };
    size_t i = 0;
    uint64_t n;

    /* One and a half days are 36 hours: rounded to a day, they would be half as much again. */
    while (i + 1 < sizeof(units) / sizeof(units[0]) && usec < 2 * units[i].usec &&
           usec != units[i].usec)
        i++;
    n = usec / units[i].usec;
    snprintf(buf, TEXT_DURATION_MAX, "%" PRIu64 " %s%s", n, units[i].name, n == 1 ? "" : "s");
    return buf;
}

const char *text_age(uint64_t when, uint64_t now, char buf[static TEXT_DURATION_MAX])
{
    char words[TEXT_DURATION_MAX];
    uint64_t distance = when > now ? when - now : now - when;

    if (when == 0)
        snprintf(buf, TEXT_DURATION_MAX, "never");
    else if (distance < 1000000)
        snprintf(buf, TEXT_DURATION_MAX, "just now");
    else {
        text_duration(distance, words);
        if (when > now)
            snprintf(buf, TEXT_DURATION_MAX, "in %.40s", words);
        else
            snprintf(buf, TEXT_DURATION_MAX, "%.40s ago", words);
    }
    return buf;
}

bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

const char *text_offline_reason(int error)
{
    switch (error) {
    case -ENODEV:
        return "it was unmounted, moved or removed";
    case -ESTALE:
        return "another file system is in its place, or the server's handle is stale";
    case -ENOMEDIUM:
        return "its storage pool is not active in libvirt";
    case -ETIMEDOUT:
        return "its file system does not answer";
    case -ECHILD:
        return "its helper qcaudit-files ended unexpectedly";
    case -EBADMSG:
        return "its helper qcaudit-files sent what it must not send";
    case 0:
        return "another file system, or nothing, is there";
    default:
        return strerror(-error);
    }
}

size_t text_distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);

    if (strlen(a) >= ELEMENTSOF(row) || n >= ELEMENTSOF(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            if (replaced < row[j])
                row[j] = replaced;
        }
    }
    return row[n];
}
