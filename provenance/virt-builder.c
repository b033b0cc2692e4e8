/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues: indexes of virt-builder.
 *
 * The form: virt-builder(1), "SOURCES OF TEMPLATES", "Creating and signing the index file":
 * sections "[os-version]" of "key=value", "key[lang]=value"; a value goes on in lines that begin
 * with a blank; "#" begins a comment. "file" is the template, whose name is relative to the index;
 * "checksum[sha512]" (or "checksum", which means the same) is of it as it lies there, compressed;
 * "compressed_size" its size, else "size", which is that of the disk. */
#include <errno.h>
#include <string.h>

#include "provenance/catalogue-form.h"

#define SECTION_MAX CATALOGUE_WORDS_MAX

struct section {
    const char *begin;          /* NULL: none yet */
    char name[SECTION_MAX + 1];
    char file[CATALOGUE_LINE_MAX + 1], title[CATALOGUE_WORDS_MAX + 1];
    char revision[CATALOGUE_WORDS_MAX + 1];
    struct catalogue_record record;
};

static int take_size(const char *digits, size_t n, uint64_t *ret)
{
    uint64_t size = 0;

    if (n == 0 || n > 18)
        return -EBADMSG;
    for (size_t i = 0; i < n; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return -EBADMSG;
        size = size * 10 + (uint64_t)(digits[i] - '0');
    }
    *ret = size;
    return 0;
}

/* What a section said, once it ends. */
static int end_section(struct catalogue_reader *reader, struct section *section)
{
    struct catalogue_record *record = &section->record;
    const char *slash = strrchr(section->file, '/');

    if (!section->begin)
        return 0;
    if (!section->file[0])
        return catalogue_refuse_shown(reader, section->begin, "a template names no file",
                                      section->name, strlen(section->name));
    if (record->algorithms == 0) {
        reader->catalogue->passed_over++;
        return 0;
    }
    record->name = slash ? (char *)(uintptr_t)slash + 1 : section->file;
    record->family = section->name;
    record->version = section->revision[0] ? section->revision : NULL;
    record->title = section->title[0] ? section->title : NULL;
    return catalogue_add(reader, section->begin, record);
}

static bool is_key(const char *key, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(key, name, n) == 0;
}

static int take_checksum(struct catalogue_reader *reader, struct section *section, const char *key,
                         size_t n_key, const char *value, size_t n)
{
    enum catalogue_algorithm algorithm = CATALOGUE_SHA512;
    const char *open = memchr(key, '[', n_key);

    if (open && (key[n_key - 1] != ']' ||
                 catalogue_algorithm_parse(open + 1, n_key - (size_t)(open - key) - 2,
                                           &algorithm) < 0))
        return catalogue_refuse_shown(reader, key, "an algorithm is not known", key, n_key);
    if (catalogue_set_digest(&section->record, algorithm, value, n) < 0)
        return catalogue_refuse(reader, key, "a digest is not %zu hexadecimal digits",
                                2 * catalogue_algorithm_size(algorithm));
    return 0;
}

static int take_text(struct catalogue_reader *reader, const char *at, const char *value, size_t n,
                     char *ret, size_t max)
{
    if (n > max)
        return catalogue_refuse(reader, at, "a value is longer than %zu bytes", max);
    memcpy(ret, value, n);
    ret[n] = '\0';
    return 0;
}

static int take_key(struct catalogue_reader *reader, struct section *section, const char *line,
                    size_t size)
{
    const char *equals = memchr(line, '=', size), *value;
    size_t n_key, n;

    if (!equals)
        return catalogue_refuse_shown(reader, line, "this line is no key with its value", line,
                                      size);
    if (!section->begin)
        return catalogue_refuse(reader, line, "a key is in no section");
    n_key = (size_t)(equals - line);
    value = equals + 1;
    n = size - n_key - 1;
    if (is_key(line, n_key, "file"))
        return take_text(reader, line, value, n, section->file, CATALOGUE_LINE_MAX);
    if (is_key(line, n_key, "name"))
        return take_text(reader, line, value, n, section->title, CATALOGUE_WORDS_MAX);
    if (is_key(line, n_key, "revision"))
        return take_text(reader, line, value, n, section->revision, CATALOGUE_WORDS_MAX);
    if (is_key(line, n_key, "checksum") || (n_key >= 9 && memcmp(line, "checksum[", 9) == 0))
        return take_checksum(reader, section, line, n_key, value, n);
    if (is_key(line, n_key, "compressed_size") &&
        take_size(value, n, &section->record.size) < 0)
        return catalogue_refuse(reader, line, "a size is no number");
    return 0;
}

static int begin_section(struct catalogue_reader *reader, struct section *section, const char *line,
                         size_t size)
{
    int r = end_section(reader, section);

    if (r < 0)
        return r;
    if (size < 3 || line[size - 1] != ']')
        return catalogue_refuse_shown(reader, line, "this line is no section", line, size);
    *section = (struct section){ .begin = line, .record.size = CATALOGUE_SIZE_UNKNOWN };
    return take_text(reader, line, line + 1, size - 2, section->name, SECTION_MAX);
}

static int virt_builder_read(struct catalogue_reader *reader)
{
    _cleanup_free_ struct section *section = calloc(1, sizeof(*section));
    const char *at = reader->text, *end = at + reader->size;
    int r = 0;

    if (!section)
        return -ENOMEM;
    while (r >= 0 && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *line = at;
        size_t size = (size_t)((newline ? newline : end) - at);

        at = newline ? newline + 1 : end;
        if (size > 0 && line[size - 1] == '\r')
            size--;
        if (size > CATALOGUE_LINE_MAX)
            return catalogue_refuse(reader, line, "a line is longer than %d bytes",
                                    CATALOGUE_LINE_MAX);
        /* Notes go on in lines that begin with a blank: nothing of use does. */
        if (size == 0 || *line == '#' || *line == ' ' || *line == '\t')
            continue;
        r = *line == '[' ? begin_section(reader, section, line, size)
                         : take_key(reader, section, line, size);
    }
    return r < 0 ? r : end_section(reader, section);
}

/* A section before anything but comments; a list of JSON begins otherwise, unless it is empty. */
static bool virt_builder_probe(const char *text, size_t size)
{
    const char *end = text + size, *newline;

    while (text < end && (*text == '#' || *text == '\n' || *text == '\r')) {
        newline = memchr(text, '\n', (size_t)(end - text));
        text = newline ? newline + 1 : end;
    }
    newline = memchr(text, '\n', (size_t)(end - text));
    return end - text > 2 && *text == '[' && newline && newline > text + 2 &&
           (newline[-1] == ']' || newline[-1] == '\r') && text[1] != '{' && text[1] != '[' &&
           text[1] != '"';
}

const struct catalogue_form catalogue_form_virt_builder = {
    .name = "virt-builder", .best = CATALOGUE_PINNED, .probe = virt_builder_probe,
    .read = virt_builder_read,
};
