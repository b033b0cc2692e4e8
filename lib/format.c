/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The formats by content, and opening an image of any of them. */
#include "format.h"

#include <errno.h>

#include "error.h"

#define MEMORY_LIMIT_DEFAULT (UINT64_C(1) << 30)

static const struct format *const formats[] = { &format_raw, &format_qcow2 };

static const struct format *format_find(enum qca_format format)
{
    for (size_t i = 0; i < ELEMENTSOF(formats); i++)
        if (formats[i]->format == format)
            return formats[i];
    return NULL;
}

int qca_probe(struct qca_io *io, enum qca_format *ret_format)
{
    uint8_t head[PROBE_SIZE];
    int r;

    r = qca_io_read(io, 0, head, sizeof(head));
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(formats); i++)
        if (formats[i]->probe && formats[i]->probe(head)) {
            *ret_format = formats[i]->format;
            return 0;
        }
    *ret_format = QCA_FORMAT_RAW;
    return 0;
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
            return error_set_read(error, r, 0, "the first bytes");
    }

    image = calloc(1, sizeof(*image));
    if (!image)
        return error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field){ 0 },
                         "out of memory");
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
    if (image->format && image->format->close)
        image->format->close(image);
    qca_image_info_done(&image->info);
    free(image);
}

const struct qca_image_info *qca_image_info(const struct qca_image *image)
{
    return &image->info;
}
