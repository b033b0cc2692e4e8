/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues: lists of sums, as coreutils ("digest  name"), the BSDs ("ALGORITHM (name) = digest")
 * and OpenSSL ("ALGORITHM(name)= digest") write them.
 *
 * The forms: coreutils' manual, "cksum invocation" (escaped names, the mark of binary files); one
 * blank instead of two as linuxcontainers.org's, which systemd's pull-common.c takes, too;
 * Fedora's CHECKSUM files say "# name: N bytes" before each line. */
#include <errno.h>
#include <string.h>

#include "helpers/hex.h"
#include "provenance/catalogue-form.h"

/* A line without its end. */
struct line {
    const char *text;
    size_t size;
};

/* What a comment said of the size of a file. */
struct said_size {
    struct line name;
    uint64_t size;
};

static const char clearsigned[] = "-----BEGIN PGP SIGNED MESSAGE-----";

static bool next_line(const struct catalogue_reader *reader, const char **at, struct line *ret)
{
    const char *end = reader->text + reader->size, *newline;

    if (*at >= end)
        return false;
    newline = memchr(*at, '\n', (size_t)(end - *at));
    ret->text = *at;
    ret->size = (size_t)((newline ? newline : end) - *at);
    *at = newline ? newline + 1 : end;
    if (ret->size > 0 && ret->text[ret->size - 1] == '\r')
        ret->size--;        /* written on Windows; a name's own is escaped */
    return true;
}

static size_t count_digits(struct line line)
{
    size_t n = 0;

    while (n < line.size && hex_digit(line.text[n]) >= 0)
        n++;
    return n;
}

/* "# name: N bytes" */
static void take_comment(struct line line, struct said_size *said)
{
    static const char words[] = " bytes";
    const size_t n_words = sizeof(words) - 1;
    uint64_t size = 0, scale = 1;
    size_t i;

    said->name.size = 0;
    if (line.size < n_words + 5 || line.text[1] != ' ' ||
        memcmp(line.text + line.size - n_words, words, n_words) != 0)
        return;
    for (i = line.size - n_words;
         i > 2 && line.text[i - 1] >= '0' && line.text[i - 1] <= '9'; i--) {
        if (scale > UINT64_MAX / 100)
            return;             /* more than 18 digits */
        size += (uint64_t)(line.text[i - 1] - '0') * scale;
        scale *= 10;
    }
    if (scale == 1 || i < 5 || line.text[i - 1] != ' ' || line.text[i - 2] != ':')
        return;
    said->name = (struct line){ .text = line.text + 2, .size = i - 4 };
    said->size = size;
}

/* Undoes what coreutils does to a name with a backslash or the end of a line: \\, \n, \r. */
static int unescape(struct line name, char ret[static CATALOGUE_LINE_MAX + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < name.size; i++) {
        char c = name.text[i];

        if (c == '\\') {
            if (++i == name.size || !strchr("\\nr", name.text[i]))
                return -EBADMSG;
            c = name.text[i] == 'n' ? '\n' : name.text[i] == 'r' ? '\r' : '\\';
        }
        ret[n++] = c;
    }
    ret[n] = '\0';
    return 0;
}

/* digest, a blank, a blank or the mark of binary files or nothing, name */
static int parse_plain(struct catalogue_reader *reader, struct line line, size_t digits,
                       struct catalogue_record *record, struct line *ret_name)
{
    enum catalogue_algorithm algorithm;
    size_t begin = digits + 1;

    if (catalogue_algorithm_of_length(digits, &algorithm) < 0)
        return catalogue_refuse(reader, line.text, "a digest has %zu digits, which is not the "
                                "length of MD5, SHA-1, SHA-256, SHA-384 or SHA-512", digits);
    if (digits + 1 >= line.size || (line.text[digits] != ' ' && line.text[digits] != '\t'))
        return catalogue_refuse(reader, line.text, "no name follows the digest");
    (void)catalogue_set_digest(record, algorithm, line.text, digits);
    begin += line.text[begin] == ' ' || line.text[begin] == '*';
    *ret_name = (struct line){ .text = line.text + begin, .size = line.size - begin };
    return 0;
}

/* ALGORITHM (name) = digest; OpenSSL leaves out the first and the last blank. A name may hold all
 * that: what closes it is the last of its kind. */
static int parse_tagged(struct catalogue_reader *reader, struct line line,
                        struct catalogue_record *record, struct line *ret_name)
{
    const char *open = memchr(line.text, '(', line.size), *close = NULL, *end, *hex;
    enum catalogue_algorithm algorithm;
    size_t tag;

    end = line.text + line.size;
    for (const char *p = open; p && (p = memmem(p, (size_t)(end - p), ")", 1)); p++)
        if ((end - p > 4 && memcmp(p, ") = ", 4) == 0) || (end - p > 3 && memcmp(p, ")= ", 3) == 0))
            close = p;
    if (!close || close < open)
        return catalogue_refuse_shown(reader, line.text, "this line is no digest with its name",
                                      line.text, line.size);
    tag = (size_t)(open - line.text);
    if (tag > 0 && line.text[tag - 1] == ' ')
        tag--;
    if (catalogue_algorithm_parse(line.text, tag, &algorithm) < 0)
        return catalogue_refuse_shown(reader, line.text, "an algorithm is not known", line.text,
                                      tag);
    hex = close + (close[1] == '=' ? 3 : 4);
    if (catalogue_set_digest(record, algorithm, hex, (size_t)(end - hex)) < 0)
        return catalogue_refuse(reader, line.text, "a digest is not %zu hexadecimal digits",
                                2 * catalogue_algorithm_size(algorithm));
    *ret_name = (struct line){ .text = open + 1, .size = (size_t)(close - open - 1) };
    return 0;
}

static int take_line(struct catalogue_reader *reader, struct line line,
                     const struct said_size *said)
{
    struct catalogue_record record = { .size = CATALOGUE_SIZE_UNKNOWN };
    char plain[CATALOGUE_LINE_MAX + 1];
    bool escaped = line.text[0] == '\\';
    const char *whole = line.text;
    struct line name;
    size_t digits;
    int r;

    line.text += escaped;
    line.size -= escaped;
    digits = count_digits(line);
    r = digits >= 8 ? parse_plain(reader, line, digits, &record, &name)
                    : parse_tagged(reader, line, &record, &name);
    if (r < 0)
        return r;
    if (name.size > 0 && said->name.size == name.size &&
        memcmp(said->name.text, name.text, name.size) == 0)
        record.size = said->size;
    if (!escaped) {
        memcpy(plain, name.text, name.size);
        plain[name.size] = '\0';
    } else if (unescape(name, plain) < 0) {
        return catalogue_refuse(reader, whole, "a name is wrongly escaped");
    }
    record.name = plain;
    return catalogue_add(reader, whole, &record);
}

static int sums_read(struct catalogue_reader *reader)
{
    struct said_size said = { .size = 0 };
    const char *at = reader->text;
    struct line line;

    while (next_line(reader, &at, &line)) {
        int r = 0;

        if (line.size > CATALOGUE_LINE_MAX)
            return catalogue_refuse(reader, line.text, "a line is longer than %d bytes",
                                    CATALOGUE_LINE_MAX);
        if (line.size == sizeof(clearsigned) - 1 &&
            memcmp(line.text, clearsigned, line.size) == 0)
            return catalogue_refuse(reader, line.text,
                                    "it is signed within: it is read once that was verified");
        if (line.size == 0)
            continue;
        if (line.text[0] == '#')
            take_comment(line, &said);
        else
            r = take_line(reader, line, &said);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The last one that is asked: lines, and no JSON. */
static bool sums_probe(const char *text, size_t size)
{
    while (size > 0 && (*text == ' ' || *text == '\t' || *text == '\r' || *text == '\n')) {
        text++;
        size--;
    }
    return size == 0 || (*text != '{' && *text != '[' && *text != '<');
}

const struct catalogue_form catalogue_form_sums = {
    .name = "sums", .best = CATALOGUE_PINNED, .probe = sums_probe, .read = sums_read,
};
