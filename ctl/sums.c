/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of digests: GNU's "digest  name" and BSD's "ALGORITHM (name) = digest", with names escaped
 * as GNU does. */
#include "ctl/sums.h"

#include <errno.h>
#include <string.h>

#include "helpers/hex.h"
#include "helpers/text.h"

static const struct sum_kind kinds[] = {
    {"SHA256", "sha256", QCA_DIGEST_SHA256, 32},
    {"MD5", "md5", QCA_DIGEST_MD5, 16},
    {"SHA1", "sha1", QCA_DIGEST_SHA1, 20},
    {"SHA512", "sha512", QCA_DIGEST_SHA512, 64},
    {"CONTENT-SHA256", NULL, 0, 32},
};

const struct sum_kind *sum_kind_at(size_t index)
{
    return index < ELEMENTSOF(kinds) ? &kinds[index] : NULL;
}

const uint8_t *sum_of_report(const struct audit_report *report, const struct sum_kind *kind)
{
    const struct qca_file_digest *file = report->file_digest;

    if (kind->algorithm == 0)
        return report->content_digest && report->content_digest->complete
                   ? report->content_digest->digest
                   : NULL;
    if (!file)
        return NULL;
    switch (kind->algorithm) {
    case QCA_DIGEST_SHA256: return file->sha256;
    case QCA_DIGEST_MD5: return file->md5;
    case QCA_DIGEST_SHA1: return file->sha1;
    case QCA_DIGEST_SHA512: return file->sha512;
    default: return NULL;
    }
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Backslash, newline and carriage return as \\, \n and \r. */
static char *gnu_escape(const char *name)
{
    char *escaped = malloc(2 * strlen(name) + 1), *out = escaped;

    if (!escaped)
        return NULL;
    for (; *name; name++) {
        const char *special = strchr("\\\n\r", *name);

        if (special)
            *out++ = '\\';
        *out++ = !special || *name == '\\' ? *name : *name == '\n' ? 'n' : 'r';
    }
    *out = '\0';
    return escaped;
}

int sum_print(const struct ctl *ctl, const char *file, const struct sum_kind *kind,
              const uint8_t *digest)
{
    bool terminal = ctl->output.terminal;
    _cleanup_free_ char *name = terminal ? text_escape_string(file) : gnu_escape(file);
    char hex[2 * SUM_SIZE_MAX + 1];
    const char *mark;

    if (!name)
        return complain(-ENOMEM, "Cannot show the digest");
    mark = strcmp(name, file) == 0 ? "" : "\\";
    hex_encode(digest, kind->size, hex);
    if (ctl->tag || kind->algorithm == 0)
        (void)printf("%s%s (%s) = %s\n", mark, kind->name, name, hex);
    else
        (void)printf("%s%s  %s\n", mark, hex, name);
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

static size_t count_digits(const char *text)
{
    size_t n = 0;

    while (hex_digit(text[n]) >= 0)
        n++;
    return n;
}

static void take_digest(const char *hex, struct sum_line *line)
{
    for (size_t i = 0; i < line->kind->size; i++)
        line->digest[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
}

/* Undoes gnu_escape() in place. */
static int gnu_unescape(char *name)
{
    char *out = name;

    for (; *name; name++) {
        if (*name == '\\') {
            name++;
            if (*name != '\\' && *name != 'n' && *name != 'r')
                return -EINVAL;
            *out++ = *name == '\\' ? '\\' : *name == 'n' ? '\n' : '\r';
        } else
            *out++ = *name;
    }
    *out = '\0';
    return 0;
}

/* OpenSSL calls SHA-256 SHA2-256 since its version 3. */
static bool is_tag(const struct sum_kind *kind, const char *tag, size_t length)
{
    if (length > 5 && strncasecmp(tag, "SHA2-", 5) == 0 && kind->option && kind->size >= 32)
        return strlen(kind->name) == length - 2 &&
               strncasecmp(kind->name + 3, tag + 5, length - 5) == 0;
    return strlen(kind->name) == length && strncasecmp(kind->name, tag, length) == 0;
}

/* ALGORITHM (name) = digest; OpenSSL leaves out the first and the last blank. */
static int parse_tagged(char *line, struct sum_line *ret, const char **ret_why)
{
    char *open = strchr(line, '('), *close = NULL, *hex;
    size_t tag = (size_t)(open - line);

    for (char *p = open; (p = strstr(p, ")")); p++)
        if (strncmp(p, ") = ", 4) == 0 || strncmp(p, ")= ", 3) == 0)
            close = p;
    *ret_why = "it has neither the form of GNU's nor of BSD's lists";
    if (!close)
        return -EINVAL;
    if (tag > 0 && line[tag - 1] == ' ')
        tag--;
    hex = strchr(close, '=') + 2;
    for (size_t i = 0; i < ELEMENTSOF(kinds) && !ret->kind; i++)
        if (is_tag(&kinds[i], line, tag))
            ret->kind = &kinds[i];
    *ret_why = "its algorithm is not known: SHA256, SHA512, SHA1, MD5 and CONTENT-SHA256 are";
    if (!ret->kind)
        return -EINVAL;
    *ret_why = "its digest has not as many digits as its algorithm gives";
    if (count_digits(hex) != 2 * ret->kind->size || hex[2 * ret->kind->size])
        return -EINVAL;
    take_digest(hex, ret);
    *close = '\0';
    ret->name = open + 1;
    return 0;
}

/* digest, blank, blank or asterisk, name; the BSDs' -r leaves out the second one */
static int parse_plain(char *line, size_t digits, bool content, struct sum_line *ret,
                       const char **ret_why)
{
    *ret_why = "it has neither the form of GNU's nor of BSD's lists";
    if (digits == 0 || (line[digits] != ' ' && line[digits] != '\t'))
        return -EINVAL;
    for (size_t i = 0; i < ELEMENTSOF(kinds) && !ret->kind; i++)
        if (digits == 2 * kinds[i].size && (digits != 64 || (kinds[i].algorithm == 0) == content))
            ret->kind = &kinds[i];
    *ret_why = "its digest has not as many digits as that of SHA-256, SHA-512, SHA-1 or MD5";
    if (!ret->kind)
        return -EINVAL;
    take_digest(line, ret);
    ret->name = line + digits + 1;
    ret->name += *ret->name == ' ' || *ret->name == '*';
    return 0;
}

int sum_parse(char *line, size_t size, bool content, struct sum_line *ret_line,
              const char **ret_why)
{
    bool escaped = line[0] == '\\';
    struct sum_line parsed = { .kind = NULL };
    size_t digits;
    int r;

    *ret_why = "it holds a NUL";
    if (strlen(line) != size)
        return -EINVAL;
    /* a list written on Windows; a name's own carriage return is escaped */
    if (size > 0 && line[size - 1] == '\r')
        line[--size] = '\0';
    if (size == 0 || line[0] == '#')
        return 0;
    line += escaped;
    digits = count_digits(line);
    r = digits >= 8 || !strchr(line, '(') ? parse_plain(line, digits, content, &parsed, ret_why)
                                          : parse_tagged(line, &parsed, ret_why);
    if (r < 0)
        return r;
    *ret_why = "its name is empty or wrongly escaped";
    if (escaped && gnu_unescape(line + (parsed.name - line)) < 0)
        return -EINVAL;
    if (!parsed.name[0])
        return -EINVAL;
    *ret_line = parsed;
    return 1;
}
