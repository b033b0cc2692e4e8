/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parallels' DiskDescriptor.xml: docs/interop/prl-xml.txt of QEMU, "Description file". Of XML no
 * more is read than its writers use: elements, text and the five entities. */
#include "parallels.h"

#include <ctype.h>
#include <errno.h>

#include "bytes.h"
#include "foreign.h"

enum { DEPTH_MAX = 32, SECTOR = 512 };

/* A piece of the text. */
struct span {
    const char *at;
    size_t n;
};

/* Those of the specification that say where the disk is; what others add is passed by. */
enum element {
    NOTHING,
    OTHER,
    DISK_IMAGE,
    PARAMETERS,
    DISK_SIZE,
    STORAGE_DATA,
    STORAGE,
    START,
    END,
    IMAGE,
    TYPE,
    FILE_NAME,
};

static const struct { const char *name; enum element within; } elements[] = {
    [DISK_IMAGE] = { "Parallels_disk_image", NOTHING },
    [PARAMETERS] = { "Disk_Parameters", DISK_IMAGE },
    [DISK_SIZE] = { "Disk_size", PARAMETERS },
    [STORAGE_DATA] = { "StorageData", DISK_IMAGE },
    [STORAGE] = { "Storage", STORAGE_DATA },
    [START] = { "Start", STORAGE },
    [END] = { "End", STORAGE },
    [IMAGE] = { "Image", STORAGE },
    [TYPE] = { "Type", IMAGE },
    [FILE_NAME] = { "File", IMAGE },
};

struct open_element {
    enum element element;
    struct span name;
};

struct bundle {
    struct qca_image *image;
    struct qca_error *error;
    const char *text;           /* all of it, */
    struct span rest;           /* and what was not read yet */
    struct open_element open[DEPTH_MAX];
    unsigned depth;
    bool is_over;               /* the outermost element was closed */
    bool has_size;
    bool is_leaf;               /* nothing but text was met since the last element was opened */
    uint64_t start, end;        /* of a storage, sectors */
    size_t first;               /* extent of the storage */
    struct qca_extent_file extent;      /* of an image that is being read */
};

/* ---- text --------------------------------------------------------------------------------- */

static void skip(struct span *span, size_t n)
{
    span->at += n;
    span->n -= n;
}

static struct span trim(struct span span)
{
    while (span.n > 0 && isspace((unsigned char)*span.at))
        skip(&span, 1);
    while (span.n > 0 && isspace((unsigned char)span.at[span.n - 1]))
        span.n--;
    return span;
}

static bool begins(struct span span, const char *text)
{
    return span.n >= strlen(text) && memcmp(span.at, text, strlen(text)) == 0;
}

static bool equals(struct span span, const char *text)
{
    return span.n == strlen(text) && begins(span, text);
}

/* Goes behind the next occurrence of text; false when there is none. */
static bool skip_behind(struct span *span, const char *text)
{
    const char *found = memmem(span->at, span->n, text, strlen(text));

    if (!found)
        return false;
    skip(span, (size_t)(found - span->at) + strlen(text));
    return true;
}

static struct span take_name(struct span *span)
{
    struct span name = { span->at, 0 };

    while (name.n < span->n && (isalnum((unsigned char)name.at[name.n]) ||
                                memchr("_-.:", name.at[name.n], 4)))
        name.n++;
    skip(span, name.n);
    return name;
}

static bool to_number(struct span span, uint64_t *ret_value)
{
    uint64_t value = 0;

    span = trim(span);
    if (span.n == 0)
        return false;
    for (size_t i = 0; i < span.n; i++)
        if (!isdigit((unsigned char)span.at[i]) ||
            __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(span.at[i] - '0'), &value))
            return false;
    *ret_value = value;
    return true;
}

/* The character that the entity at the beginning of span stands for, with its length; 0: it is none
 * of the five. */
static char entity(struct span span, size_t *ret_length)
{
    static const struct { const char *text; char is; } entities[] = {
        { "&lt;", '<' }, { "&gt;", '>' }, { "&amp;", '&' }, { "&quot;", '"' }, { "&apos;", '\'' },
    };

    for (size_t i = 0; i < ELEMENTSOF(entities); i++)
        if (begins(span, entities[i].text)) {
            *ret_length = strlen(entities[i].text);
            return entities[i].is;
        }
    return 0;
}

/* A file's name as it is meant. 1; 0 when it is none that is allowed; -ENOMEM. */
static int to_name(struct span span, char **ret_name)
{
    uint8_t name[FOREIGN_NAME_MAX];
    size_t n = 0, length;

    for (span = trim(span); span.n > 0; skip(&span, length)) {
        length = 1;
        if (n == sizeof(name))
            return 0;
        name[n++] = (uint8_t)(*span.at == '&' ? entity(span, &length) : *span.at);
        if (name[n - 1] == 0)
            return 0;
    }
    return n == 0 ? 0 : foreign_name(name, n, ret_name) < 0 ? -ENOMEM : 1;
}

/* ---- elements ----------------------------------------------------------------------------- */

static int refuse(const struct bundle *bundle, const char *field, const char *text)
{
    return foreign_invalid(bundle->error, field, (uint64_t)(bundle->rest.at - bundle->text), 0, 0,
                           text);
}

static enum element element_within(enum element within, struct span name)
{
    for (size_t i = 0; i < ELEMENTSOF(elements); i++)
        if (elements[i].name && elements[i].within == within && equals(name, elements[i].name))
            return (enum element)i;
    return OTHER;
}

static int take_size(struct bundle *bundle, struct span text)
{
    uint64_t sectors;

    if (bundle->has_size || !to_number(text, &sectors))
        return refuse(bundle, "Disk_size", "the size of the disk is no number, or is given twice");
    bundle->has_size = true;
    return foreign_size(bundle->image, bundle->error, "Disk_size", 0, sectors, SECTOR);
}

static int take_type(struct bundle *bundle, struct span text)
{
    struct qca_extent_file *extent = &bundle->extent;

    text = trim(text);
    if (text.n == 0 || text.n >= sizeof(extent->type))
        return refuse(bundle, "Type", "an image's type is not known");
    memset(extent->type, 0, sizeof(extent->type));
    for (size_t i = 0; i < text.n; i++) {
        if (!isalnum((unsigned char)text.at[i]))
            return refuse(bundle, "Type", "an image's type is not known");
        extent->type[i] = (char)toupper((unsigned char)text.at[i]);
    }
    return 0;
}

static int take_file(struct bundle *bundle, struct span text)
{
    int r;

    if (bundle->extent.name)
        return refuse(bundle, "File", "an image has two files");
    r = to_name(text, &bundle->extent.name);
    if (r == 0)
        return refuse(bundle, "File", "the name of an image's file is none");
    return r < 0 ? error_set_memory(bundle->error) : 0;
}

static int end_image(struct bundle *bundle)
{
    struct qca_extent_file *extent = &bundle->extent;

    if (!extent->name || !extent->type[0])
        return refuse(bundle, "Image", "an image has no file, or no type");
    if (bundle->image->info.n_extents == QCA_EXTENT_FILES_MAX)
        return refuse(bundle, "Image", "the images are too many");
    if (foreign_add_extent(&bundle->image->info, extent) < 0)
        return error_set_memory(bundle->error);
    *extent = (struct qca_extent_file){ 0 };
    return 0;
}

/* A storage's begin and end may be given after its images. */
static int end_storage(struct bundle *bundle)
{
    struct qca_image_info *info = &bundle->image->info;

    if (bundle->end < bundle->start || bundle->end > (uint64_t)INT64_MAX / SECTOR)
        return refuse(bundle, "End", "a storage ends before it begins, or beyond the largest file");
    for (size_t i = bundle->first; i < info->n_extents; i++)
        info->extents[i].size = (bundle->end - bundle->start) * SECTOR;
    return 0;
}

static int take_element(struct bundle *bundle, enum element element, struct span text)
{
    switch (element) {
    case DISK_SIZE:
        return take_size(bundle, text);
    case START:
        return to_number(text, &bundle->start)
                   ? 0 : refuse(bundle, "Start", "where a storage begins is no number");
    case END:
        return to_number(text, &bundle->end)
                   ? 0 : refuse(bundle, "End", "where a storage ends is no number");
    case TYPE:
        return take_type(bundle, text);
    case FILE_NAME:
        return take_file(bundle, text);
    case IMAGE:
        return end_image(bundle);
    case STORAGE:
        return end_storage(bundle);
    default:
        return 0;
    }
}

static int open_element(struct bundle *bundle, struct span name)
{
    enum element within = bundle->depth > 0 ? bundle->open[bundle->depth - 1].element : NOTHING,
                 element = element_within(within, name);

    if (bundle->depth == DEPTH_MAX || bundle->is_over || (!within && element != DISK_IMAGE))
        return refuse(bundle, "Parallels_disk_image", "the elements are not those of a disk");
    bundle->open[bundle->depth++] = (struct open_element){ element, name };
    bundle->is_leaf = true;
    if (element == STORAGE) {
        bundle->start = bundle->end = 0;
        bundle->first = bundle->image->info.n_extents;
    }
    return 0;
}

static int close_element(struct bundle *bundle, struct span name, struct span text)
{
    const struct open_element *open;

    if (bundle->depth == 0)
        return refuse(bundle, "Parallels_disk_image", "an element is closed that is not open");
    open = &bundle->open[--bundle->depth];
    if (open->name.n != name.n || memcmp(open->name.at, name.at, name.n) != 0)
        return refuse(bundle, "Parallels_disk_image", "an element is closed that is not open");
    if (!bundle->is_leaf)
        text.n = 0;
    bundle->is_leaf = false;
    bundle->is_over = bundle->depth == 0;
    return take_element(bundle, open->element, text);
}

/* ---- markup ------------------------------------------------------------------------------- */

/* Goes behind the tag's end; whether it closes itself. */
static bool skip_attributes(struct bundle *bundle, bool *ret_empty)
{
    struct span *rest = &bundle->rest;
    char quote = 0, before = 0;

    for (; rest->n > 0; before = *rest->at, skip(rest, 1)) {
        if (quote) {
            if (*rest->at == quote)
                quote = 0;
        } else if (*rest->at == '"' || *rest->at == '\'')
            quote = *rest->at;
        else if (*rest->at == '<')
            return false;
        else if (*rest->at == '>') {
            skip(rest, 1);
            *ret_empty = before == '/';
            return true;
        }
    }
    return false;
}

/* At a '<', behind text. */
static int take_tag(struct bundle *bundle, struct span text)
{
    struct span *rest = &bundle->rest, name;
    bool closes, empty = false;
    int r;

    skip(rest, 1);
    closes = begins(*rest, "/");
    if (closes)
        skip(rest, 1);
    name = take_name(rest);
    if (name.n == 0 || !skip_attributes(bundle, &empty) || (closes && empty))
        return refuse(bundle, "Parallels_disk_image",
                      "the descriptor is no XML, or ends too early");
    if (closes)
        return close_element(bundle, name, text);
    r = open_element(bundle, name);
    return r == 0 && empty ? close_element(bundle, name, (struct span){ name.at, 0 }) : r;
}

/* Comments and declarations; false when they do not end. */
static bool skip_other(struct bundle *bundle)
{
    bundle->is_leaf = false;
    return skip_behind(&bundle->rest, begins(bundle->rest, "<?") ? "?>" : "-->");
}

static int parse(struct bundle *bundle)
{
    const struct qca_image_info *info = &bundle->image->info;
    const char *next;
    int r = 0;

    while (r == 0 && (next = memchr(bundle->rest.at, '<', bundle->rest.n))) {
        struct span text = { bundle->rest.at, (size_t)(next - bundle->rest.at) };

        skip(&bundle->rest, text.n);
        if (begins(bundle->rest, "<?") || begins(bundle->rest, "<!--"))
            r = skip_other(bundle)
                    ? 0 : refuse(bundle, "Parallels_disk_image", "a comment does not end");
        else
            r = take_tag(bundle, text);
    }
    if (r == 0 && !bundle->is_over)
        return error_set(bundle->error, EINVAL, QCA_ERROR_TRUNCATED,
                         (struct error_field){ "Parallels_disk_image", 0, 0, info->file_size },
                         "the descriptor ends before its end");
    if (r == 0 && (!bundle->has_size || info->n_extents == 0))
        return refuse(bundle, "StorageData", "the descriptor says no size, or names no image");
    return r;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static struct span skip_bom(struct span span)
{
    if (begins(span, "\xef\xbb\xbf"))
        skip(&span, 3);
    return span;
}

bool bundle_probe(const struct probe *probe)
{
    struct span text = { (const char *)probe->head, min_u64(probe->size, PROBE_SIZE) };

    if (probe->size > BUNDLE_MAX)
        return false;
    for (text = trim(skip_bom(text)); begins(text, "<?") || begins(text, "<!--"); text = trim(text))
        if (!skip_behind(&text, begins(text, "<?") ? "?>" : "-->"))
            return false;
    if (!begins(text, "<"))
        return false;
    skip(&text, 1);
    return equals(take_name(&text), elements[DISK_IMAGE].name);
}

int bundle_open(struct qca_image *image, struct qca_error *error)
{
    size_t size = (size_t)min_u64(image->info.file_size, BUNDLE_MAX);
    _cleanup_free_ char *text = malloc(size + 1);
    struct bundle bundle = { .image = image, .error = error, .text = text };
    int r = text ? qca_io_read(image->io, 0, text, size) : -ENOMEM;

    if (r == -ENOMEM)
        return error_set_memory(error);
    if (r < 0)
        return error_set_read(error, r, 0, "the descriptor");
    image->info.variant = QCA_VARIANT_PARALLELS_BUNDLE;
    bundle.rest = skip_bom((struct span){ text, strnlen(text, size) });
    r = parse(&bundle);
    free(bundle.extent.name);
    return r;
}
