/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The raw format: the file is the disk. */
#include "format.h"

static int raw_open(struct qca_image *image, struct qca_error *error)
{
    image->info.virtual_size = image->info.file_size;
    return 0;
}

const struct format format_raw = {
    .format = QCA_FORMAT_RAW,
    .open = raw_open,
};
