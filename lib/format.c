/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The formats by content, and opening an image of any of them. */
#include "format.h"

#include <errno.h>

#include "block-layout.h"
#include "bytes.h"
#include "error.h"
#include "io.h"
#include "pieces.h"

#define MEMORY_LIMIT_DEFAULT (UINT64_C(1) << 30)

static const struct format *const formats[] = {
#define QCA_X(id, row, ...) &format_##row,
    QCA_FORMATS(QCA_X)
#undef QCA_X
};

static const struct format *format_find(enum qca_format format)
{
    for (size_t i = 0; i < ELEMENTSOF(formats); i++)
        if (formats[i]->format == format)
            return formats[i];
    return NULL;
}

int probe_begin(struct qca_io *io, struct probe *ret_probe)
{
    struct probe probe = { .io = io, .size = qca_io_size(io) };
    uint64_t n = min_u64(probe.size, PROBE_TAIL);
    int r = io_peek(io, 0, probe.head, sizeof(probe.head));

    if (r == 0 && n > 0)
        r = io_peek(io, probe.size - n, probe.tail + PROBE_TAIL - n, n);
    if (r < 0)
        return r;
    *ret_probe = probe;
    return 0;
}

int probe_content(struct qca_io *io, enum qca_format *ret_format, enum qca_variant *ret_variant)
{
    enum qca_format format = QCA_FORMAT_RAW;
    enum qca_variant variant = QCA_VARIANT_NONE;
    struct probe probe;
    int r = probe_begin(io, &probe);

    if (r < 0)
        return r;
    for (size_t i = 0; i < 2 * ELEMENTSOF(formats); i++) {
        const struct format *row = formats[i % ELEMENTSOF(formats)];
        bool at_end = i >= ELEMENTSOF(formats);
        bool (*is_it)(struct probe *) = at_end ? row->probe_end : row->probe;

        if (is_it && is_it(&probe)) {
            format = row->format;
            variant = at_end ? row->end_variant : QCA_VARIANT_NONE;
            break;
        }
        if (probe.error < 0)
            return probe.error;
    }
    *ret_format = format;
    *ret_variant = variant;
    return 0;
}

int qca_probe(struct qca_io *io, enum qca_format *ret_format)
{
    enum qca_variant variant;

    return probe_content(io, ret_format, &variant);
}

int qca_image_open(struct qca_io *io, const struct qca_open_options *options,
                   struct qca_error *error, struct qca_image **ret_image)
{
    enum qca_format demanded = options ? options->format : QCA_FORMAT_UNKNOWN, format = demanded;
    _cleanup_image_ struct qca_image *image = NULL;
    int r;

    if (demanded == QCA_FORMAT_UNKNOWN) {
        r = qca_probe(io, &format);
        if (r < 0)
            return error_set_read(error, r, 0, "what tells its format");
    }

    image = calloc(1, sizeof(*image));
    if (!image)
        return error_set_memory(error);
    image->io = io;
    image->memory_limit = options && options->memory_limit ? options->memory_limit
                                                           : MEMORY_LIMIT_DEFAULT;
    image->format = format_find(format);
    if (!image->format)
        return error_set(error, EOPNOTSUPP, QCA_ERROR_UNSUPPORTED,
                         (struct error_field) { .value = format }, "there is no such format");
    image->info.format = format;
    image->info.file_size = qca_io_size(io);

    r = image->format->open(image, error);
    if (r < 0)
        return r;
    *ret_image = TAKE_PTR(image);
    return 0;
}

void qca_image_free(struct qca_image *image)
{
    if (!image)
        return;
    pieces_close(image);
    if (image->format && image->format->close)
        image->format->close(image);
    qca_image_info_done(&image->info);
    free(image);
}

const struct qca_image_info *qca_image_info(const struct qca_image *image)
{
    return &image->info;
}

int qca_image_places(struct qca_image *image,
                     int (*found)(void *userdata, const struct qca_place *place), void *userdata)
{
    return image->format->places ? image->format->places(image, found, userdata) : -EOPNOTSUPP;
}

const struct block_layout *image_layout(const struct qca_image *image)
{
    const struct block_layout *layout = image->format->layout ? image->format->layout(image) : NULL;

    return layout && !layout->parent_unknown ? layout : NULL;
}

bool image_link_at(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    return image->format->link && image->format->link(image, index, ret_link);
}

bool image_link_find(const struct qca_image *image, enum qca_reference_kind kind,
                     struct image_link *ret_link)
{
    struct image_link link;

    for (unsigned i = 0; image_link_at(image, i, &link); i++)
        if (link.kind == kind) {
            *ret_link = link;
            return true;
        }
    return false;
}

bool image_link_parent(const struct qca_image *image, unsigned index, const char *field,
                       uint64_t offset, struct image_link *ret_link)
{
    if (index > 0 || !image->info.parent)
        return false;
    *ret_link = (struct image_link){
        .kind = QCA_REFERENCE_PARENT,
        .name = image->info.parent,
        .format = image->info.parent_format,
        .field = field,
        .format_field = field,
        .offset = offset,
    };
    return true;
}
