/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The descriptor of a Parallels disk that lies in several files, DiskDescriptor.xml. */
#pragma once

#include "format.h"

/* Bytes of the longest that is read: a file that is larger is something else, as such a text may
 * begin what a guest wrote. */
enum { BUNDLE_MAX = 1 << 20 };

bool bundle_probe(const struct probe *probe);
/* Fills in the virtual size, and the images as extents. */
int bundle_open(struct qca_image *image, struct qca_error *error);
