/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The descriptor of a VMDK: "Virtual Disk Format 5.0" of VMware, "The Descriptor File". */
#pragma once

#include "format.h"

enum { VMDK_DESCRIPTOR_MAX = (1 << 20) - 1 };   /* bytes, as QEMU reads of one at most */

/* Does it begin as a descriptor: VMware's comment, or a version as QEMU looks for? The latter says
 * little, so that createType is wanted, too, of which text holds n bytes. */
bool vmdk_descriptor_begins(const uint8_t *text, size_t n, bool *ret_sure);
bool vmdk_descriptor_has_type(const uint8_t *text, size_t n);
/* Fills in what the descriptor of size bytes says: virtual size, parent, extents. 0, -ENOMEM, or
 * -EINVAL with the reason. Of a descriptor that lies in a sparse file (embedded), what the extents
 * are is the file's own business: only the parent is taken. */
int vmdk_descriptor_parse(struct qca_image *image, struct qca_error *error, const uint8_t *text,
                          size_t size, bool embedded);
