/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text files of VMware's products, line by line; whatever they hold, it is hostile. */
#include "vmware-text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "bytes.h"
#include "foreign.h"

/* ---- lines -------------------------------------------------------------------------------- */

struct text {
    const char *at;
    size_t n;
};

enum charset { CHARSET_UTF8, CHARSET_LATIN1, CHARSET_OTHER };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct text trim(struct text text)
{
    while (text.n > 0 && is_blank(*text.at))
        text.at++, text.n--;
    while (text.n > 0 && is_blank(text.at[text.n - 1]))
        text.n--;
    return text;
}

static bool next_line(struct text *text, struct text *ret_line)
{
    const char *end = text->n > 0 ? memchr(text->at, '\n', text->n) : NULL;
    size_t n = end ? (size_t)(end - text->at) : text->n;

    if (text->n == 0)
        return false;
    *ret_line = trim((struct text){ text->at, n });
    n += end != NULL;
    text->at += n;
    text->n -= n;
    return true;
}

static bool is_key(struct text key)
{
    for (size_t i = 0; i < key.n; i++)
        if (!isalnum((unsigned char)key.at[i]) && !strchr("._-:", key.at[i]))
            return false;
    return key.n > 0;
}

/* The key, and the value without its quotes; false: it is no such line. */
static bool split(struct text line, struct text *ret_key, struct text *ret_value)
{
    const char *equals = line.n > 0 ? memchr(line.at, '=', line.n) : NULL, *end;
    struct text key, value;

    if (!equals)
        return false;
    key = trim((struct text){ line.at, (size_t)(equals - line.at) });
    value = trim((struct text){ equals + 1, line.n - (size_t)(equals - line.at) - 1 });
    if (!is_key(key))
        return false;
    if (value.n > 0 && *value.at == '"') {
        value.at++, value.n--;
        end = memchr(value.at, '"', value.n);
        value.n = end ? (size_t)(end - value.at) : value.n;
    }
    *ret_key = key;
    *ret_value = value;
    return true;
}

bool vmware_key_is(const char *key, size_t n_key, const char *word)
{
    return n_key == strlen(word) && strncasecmp(key, word, n_key) == 0;
}

bool vmware_key_word(struct vmware_line *key, const char *word)
{
    size_t n = strlen(word);

    if (key->n_key < n || strncasecmp(key->key, word, n) != 0)
        return false;
    key->key += n;
    key->n_key -= n;
    return true;
}

bool vmware_key_number(struct vmware_line *key, unsigned max, unsigned *ret_number)
{
    unsigned number = 0;
    size_t n = 0;

    for (; n < key->n_key && isdigit((unsigned char)key->key[n]); n++) {
        number = 10 * number + (unsigned)(key->key[n] - '0');
        if (number > max)
            return false;
    }
    if (n == 0)
        return false;
    key->key += n;
    key->n_key -= n;
    *ret_number = number;
    return true;
}

/* ---- values ------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A quote, a bar and what cannot be printed are written as "|22": a bar and two digits. */
static size_t take_byte(struct text value, uint8_t *ret_byte)
{
    int high = value.n >= 3 && *value.at == '|' ? hex_digit(value.at[1]) : -1,
        low = high >= 0 ? hex_digit(value.at[2]) : -1;

    *ret_byte = low >= 0 ? (uint8_t)(16 * high + low) : (uint8_t)*value.at;
    return low >= 0 ? 3 : 1;
}

static void take_value(struct text value, enum charset charset, struct vmware_line *line)
{
    size_t n = 0;

    line->bad = false;
    while (value.n > 0 && !line->bad) {
        uint8_t byte;
        size_t used = take_byte(value, &byte), wanted = byte < 0x80 ? 1 : 2;

        if (n + wanted > VMWARE_VALUE_MAX || byte == 0 ||
            (byte >= 0x80 && charset == CHARSET_OTHER))
            line->bad = true;
        else if (byte >= 0x80 && charset == CHARSET_LATIN1) {
            line->value[n++] = (char)(0xc0 | byte >> 6);
            line->value[n++] = (char)(0x80 | (byte & 0x3f));
        } else
            line->value[n++] = (char)byte;
        value.at += used;
        value.n -= used;
    }
    line->value[n] = '\0';
}

/* The text's first line, on ESXi; without a word it is UTF-8, as what is not plain is an exception.
 * Windows-1252 differs from ISO 8859-1 in signs that hardly anybody gives to files. */
static enum charset charset_of(struct text value)
{
    if (vmware_key_is(value.at, value.n, "UTF-8") || vmware_key_is(value.at, value.n, "US-ASCII"))
        return CHARSET_UTF8;
    if (vmware_key_is(value.at, value.n, "windows-1252") ||
        vmware_key_is(value.at, value.n, "ISO-8859-1"))
        return CHARSET_LATIN1;
    return CHARSET_OTHER;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static struct text skip_bom(struct text text)
{
    if (text.n >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0)
        return (struct text){ text.at + 3, text.n - 3 };
    return text;
}

/* Does the text begin with such a line, comments aside? */
static bool text_begins(struct text text)
{
    struct text line, key, value;

    if (memchr(text.at, 0, text.n))
        return false;
    text = skip_bom(text);
    while (next_line(&text, &line))
        if (line.n > 0 && *line.at != '#')
            return split(line, &key, &value);
    return false;
}

static int read_text(struct qca_io *io, uint64_t size, char **ret_text)
{
    char *text = malloc(size ? size : 1);
    int r = text ? qca_io_read(io, 0, text, size) : -ENOMEM;

    if (r < 0) {
        free(text);
        return r;
    }
    *ret_text = text;
    return 0;
}

bool vmware_text_probe(struct probe *probe, bool (*pleases)(const char *key, size_t n_key))
{
    struct text text = { (const char *)probe->head, (size_t)min_u64(probe->size, PROBE_SIZE) };
    struct text line, key, value;
    _cleanup_free_ char *all = NULL;
    int r;

    if (probe->size > VMWARE_TEXT_MAX || !text_begins(text))
        return false;
    r = read_text(probe->io, probe->size, &all);
    if (r < 0) {
        probe->error = r;
        return false;
    }
    text = (struct text){ all, probe->size };
    if (memchr(all, 0, text.n))
        return false;
    text = skip_bom(text);
    while (next_line(&text, &line))
        if (line.n > 0 && *line.at != '#' && split(line, &key, &value) && pleases(key.at, key.n))
            return true;
    return false;
}

int vmware_text_begin(struct qca_image *image, struct qca_error *error,
                      bool (*pleases)(const char *key, size_t n_key), const char *what)
{
    struct probe probe;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, what);
    if (vmware_text_probe(&probe, pleases))
        return 0;
    return probe.error < 0 ? error_set_read(error, probe.error, 0, what)
                           : foreign_other(image, error);
}

int vmware_text_each(struct qca_image *image, struct qca_error *error,
                     int (*each)(void *userdata, const struct vmware_line *line), void *userdata)
{
    _cleanup_free_ struct vmware_line *taken = malloc(sizeof(*taken));
    uint64_t size = min_u64(image->info.file_size, VMWARE_TEXT_MAX);
    enum charset charset = CHARSET_UTF8;
    struct text text, line, key, value;
    _cleanup_free_ char *all = NULL;
    int r = taken ? read_text(image->io, size, &all) : -ENOMEM;

    if (r == -ENOMEM)
        return error_set_memory(error);
    if (r < 0)
        return error_set_read(error, r, 0, "the text");
    text = skip_bom((struct text){ all, size });
    while (r >= 0 && next_line(&text, &line)) {
        if (line.n == 0 || *line.at == '#' || !split(line, &key, &value))
            continue;
        if (vmware_key_is(key.at, key.n, ".encoding"))
            charset = charset_of(value);
        taken->key = key.at;
        taken->n_key = key.n;
        take_value(value, charset, taken);
        r = each(userdata, taken);
    }
    return r == -ENOMEM ? error_set_memory(error) : r < 0 ? r : 0;
}

/* ---- files -------------------------------------------------------------------------------- */

bool vmware_names_disk(const struct vmware_line *line)
{
    size_t n = strlen(line->value);

    return line->bad || (n > 5 && strcasecmp(line->value + n - 5, ".vmdk") == 0);
}

int vmware_add_file(struct qca_image *image, struct qca_error *error,
                    const struct vmware_line *line, const char *type)
{
    struct qca_image_info *info = &image->info;
    struct qca_extent_file file = { 0 };

    /* Who does not know what a record names, does not know whom a disk belongs to. */
    if (line->bad)
        return foreign_invalid(error, "fileName", 0, 0, 0, "a file has a name that is not known");
    if (info->n_extents == QCA_EXTENT_FILES_MAX)
        return foreign_invalid(error, "fileName", 0, info->n_extents, QCA_EXTENT_FILES_MAX,
                               "the record names more files than a virtual machine has");
    /* powers of two: as many are allocated */
    if ((info->n_extents & (info->n_extents - 1)) == 0) {
        struct qca_extent_file *files = reallocarray(
            info->extents, info->n_extents ? 2 * info->n_extents : 1, sizeof(*files));

        if (!files)
            return -ENOMEM;
        info->extents = files;
    }
    snprintf(file.type, sizeof(file.type), "%s", type);
    file.name = strdup(line->value);
    if (!file.name)
        return -ENOMEM;
    if (strchr(file.name, '\\') && !strchr(file.name, '/'))
        foreign_windows_path(file.name);
    info->extents[info->n_extents++] = file;
    return 0;
}
