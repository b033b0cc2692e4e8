/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The descriptor of a VMDK: text that names the parent, and the files that hold pieces of the disk
 * ("Virtual Disk Format 5.0", "The Descriptor File"; QEMU's block/vmdk.c for what others write). */
#include "vmdk.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "bytes.h"
#include "foreign.h"

enum { SECTOR = 512, NAME_MAX_IN_QEMU = 512 };

/* A piece of the text. */
struct span {
    const char *at;
    size_t n;
};

static struct span skip_spaces(struct span span)
{
    while (span.n > 0 && (*span.at == ' ' || *span.at == '\t' || *span.at == '\r')) {
        span.at++;
        span.n--;
    }
    return span;
}

static struct span trim(struct span span)
{
    span = skip_spaces(span);
    while (span.n > 0 && isspace((unsigned char)span.at[span.n - 1]))
        span.n--;
    return span;
}

/* The next line without its end; false at the end of the text, which a NUL is, too. */
static bool next_line(struct span *text, struct span *ret_line)
{
    const char *end = text->n > 0 ? memchr(text->at, '\n', text->n) : NULL;
    size_t n = end ? (size_t)(end - text->at) : text->n;

    if (text->n == 0 || *text->at == '\0')
        return false;
    *ret_line = (struct span){ text->at, strnlen(text->at, n) };
    if (ret_line->n < n)
        text->n = 0;
    else {
        n += end != NULL;
        text->at += n;
        text->n -= n;
    }
    return true;
}

static bool span_begins(struct span span, const char *word)
{
    return span.n >= strlen(word) && strncasecmp(span.at, word, strlen(word)) == 0;
}

static struct span skip_bom(struct span span)
{
    if (span.n >= 3 && memcmp(span.at, "\xef\xbb\xbf", 3) == 0)
        return (struct span){ span.at + 3, span.n - 3 };
    return span;
}

/* "key = value" with or without quotes; value is what is within them. */
static bool key_value(struct span line, struct span *ret_key, struct span *ret_value)
{
    const char *equals = line.n > 0 ? memchr(line.at, '=', line.n) : NULL;
    struct span key, value;

    if (!equals)
        return false;
    key = trim((struct span){ line.at, (size_t)(equals - line.at) });
    value = trim((struct span){ equals + 1, line.n - (size_t)(equals - line.at) - 1 });
    for (size_t i = 0; i < key.n; i++)
        if (!isalnum((unsigned char)key.at[i]) && !strchr("._-:", key.at[i]))
            return false;
    if (value.n > 0 && *value.at == '"') {
        const char *end;

        value.at++;
        value.n--;
        end = memchr(value.at, '"', value.n);
        if (end)
            value.n = (size_t)(end - value.at);
    }
    *ret_key = key;
    *ret_value = value;
    return key.n > 0;
}

bool vmdk_descriptor_begins(const uint8_t *bytes, size_t n, bool *ret_sure)
{
    struct span text = skip_bom((struct span){ (const char *)bytes, n }), line, key, value;

    *ret_sure = false;
    while (next_line(&text, &line)) {
        line = trim(line);
        if (line.n == 0)
            continue;
        if (*line.at == '#') {
            struct span words = skip_spaces((struct span){ line.at + 1, line.n - 1 });

            if (span_begins(words, "Disk DescriptorFile")) {
                *ret_sure = true;
                return true;
            }
            continue;
        }
        return key_value(line, &key, &value) && key.n == 7 && span_begins(key, "version") &&
               value.n == 1 && *value.at >= '1' && *value.at <= '3';
    }
    return false;
}

bool vmdk_descriptor_has_type(const uint8_t *text, size_t n)
{
    return memmem(text, n, "createType", 10) != NULL;
}

/* ---- extents ------------------------------------------------------------------------------ */

static struct span next_word(struct span *rest)
{
    struct span word = *rest = skip_spaces(*rest);

    word.n = 0;
    while (word.n < rest->n && !isspace((unsigned char)rest->at[word.n]))
        word.n++;
    rest->at += word.n;
    rest->n -= word.n;
    return word;
}

static bool number(struct span word, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (word.n == 0)
        return false;
    for (size_t i = 0; i < word.n; i++) {
        if (!isdigit((unsigned char)word.at[i]) ||
            __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(word.at[i] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return true;
}

static bool is_access(struct span word)
{
    return (word.n == 2 && span_begins(word, "RW")) ||
           (word.n == 6 && span_begins(word, "RDONLY")) ||
           (word.n == 8 && span_begins(word, "NOACCESS"));
}

/* "RW 4096 SPARSE "disk-s001.vmdk"", "RW 4096 FLAT "disk-flat.vmdk" 0", "RW 63 ZERO". 1: it is one,
 * 0: it is not. */
static int take_extent(struct qca_image *image, struct qca_error *error, struct span line)
{
    struct span rest = line, access = next_word(&rest), sectors = next_word(&rest),
                type = next_word(&rest);
    struct qca_extent_file extent = { 0 };
    uint64_t n, offset = 0, total;

    if (!is_access(access) || !number(sectors, &n) || type.n == 0 ||
        type.n >= sizeof(extent.type))
        return 0;
    for (size_t i = 0; i < type.n; i++) {
        if (!isalnum((unsigned char)type.at[i]))
            return 0;
        extent.type[i] = (char)toupper((unsigned char)type.at[i]);
    }
    rest = trim(rest);
    if (rest.n > 0 && *rest.at == '"') {
        const char *end = memchr(rest.at + 1, '"', rest.n - 1);
        size_t length = end ? (size_t)(end - rest.at) - 1 : 0;
        struct span after;

        if (!end || length == 0 || length >= NAME_MAX_IN_QEMU)
            return 0;
        after = (struct span){ end + 1, rest.n - length - 2 };
        (void)number(next_word(&after), &offset);
        extent.name = strndup(rest.at + 1, length);
        if (!extent.name)
            return -ENOMEM;
        if (strchr(extent.name, '\\') && !strchr(extent.name, '/'))
            foreign_windows_path(extent.name);
    } else if (strcmp(extent.type, "ZERO") != 0)
        return 0;
    if (n > (uint64_t)INT64_MAX / SECTOR || offset > (uint64_t)INT64_MAX / SECTOR ||
        add_overflows(image->info.virtual_size, n * SECTOR, &total) || total > INT64_MAX ||
        image->info.n_extents == QCA_EXTENT_FILES_MAX) {
        free(extent.name);
        return foreign_invalid(error, "Extent description", 0, n, QCA_EXTENT_FILES_MAX,
                               "the extents are too many, or larger than the largest file");
    }
    extent.size = n * SECTOR;
    extent.offset = offset * SECTOR;
    if (foreign_add_extent(&image->info, &extent) < 0) {
        free(extent.name);
        return -ENOMEM;
    }
    image->info.virtual_size = total;
    return 1;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static int take_parent(struct qca_image_info *info, struct span value)
{
    int r;

    if (info->parent)
        return 0;
    r = foreign_name((const uint8_t *)value.at, value.n, &info->parent);
    if (r < 0 || !info->parent)
        return r;
    if (strchr(info->parent, '\\') && !strchr(info->parent, '/'))
        foreign_windows_path(info->parent);
    info->parent_format = strdup(qca_format_name(info->format));
    return info->parent_format ? 0 : -ENOMEM;
}

/* A CID, which no parent is "ffffffff" of ("Virtual Disk Format 5.0", "The Header"), as identities
 * are written; other values are none. */
static void take_cid(struct span value, struct qca_identity *identity)
{
    uint32_t cid = 0;

    if (value.n == 0 || value.n > 8)
        return;
    for (size_t i = 0; i < value.n; i++) {
        if (!isxdigit((unsigned char)value.at[i]))
            return;
        cid = cid << 4 | (uint32_t)(isdigit((unsigned char)value.at[i])
                                        ? value.at[i] - '0'
                                        : tolower((unsigned char)value.at[i]) - 'a' + 10);
    }
    if (cid != UINT32_MAX)
        (void)snprintf(identity->text, sizeof(identity->text), "%08" PRIx32, cid);
}

static bool key_is(struct span key, const char *name)
{
    return key.n == strlen(name) && span_begins(key, name);
}

/* VirtualBox names the parent by its UUID alone (its src/VBox/Storage/VMDK.cpp,
 * VMDK_DDB_PARENT_UUID); one of zeros is none. */
static bool is_uuid(struct span value)
{
    bool any = false;

    for (size_t i = 0; i < value.n; i++)
        any |= isxdigit((unsigned char)value.at[i]) && value.at[i] != '0';
    return value.n == 36 && any;
}

static int take_line(struct qca_image *image, struct qca_error *error, struct span line,
                     bool embedded)
{
    struct qca_image_info *info = &image->info;
    struct span key, value;
    uint64_t version;
    int r;

    line = trim(line);
    if (line.n == 0 || *line.at == '#')
        return 0;
    r = embedded ? 0 : take_extent(image, error, line);
    if (r != 0)
        return r;
    if (!key_value(line, &key, &value)) {
        info->unknown_lines += !embedded;
        return 0;
    }
    if (key_is(key, "parentFileNameHint"))
        return take_parent(info, value);
    if (key_is(key, "CID"))
        take_cid(value, &info->identity);
    else if (key_is(key, "parentCID"))
        take_cid(value, &info->parent_identity);
    else if (key_is(key, "ddb.uuid.parent") && is_uuid(value))
        info->variant = QCA_VARIANT_DIFFERENCING;
    if (!embedded && key_is(key, "version") && number(value, &version) &&
        version <= UINT32_MAX)
        info->version = (uint32_t)version;
    return 0;
}

int vmdk_descriptor_parse(struct qca_image *image, struct qca_error *error, const uint8_t *bytes,
                          size_t size, bool embedded)
{
    enum qca_variant variant = image->info.variant;
    struct span text = skip_bom((struct span){ (const char *)bytes, size }), line;
    int r = 0;

    while (r >= 0 && next_line(&text, &line))
        r = take_line(image, error, line, embedded);
    if (r == -ENOMEM)
        return error_set_memory(error);
    /* a parent that is named is looked for by its name */
    if (image->info.variant == QCA_VARIANT_DIFFERENCING && image->info.parent)
        image->info.variant = variant;
    return r < 0 ? r : 0;
}
