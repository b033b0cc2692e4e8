/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The LUKS header inside a qcow2 image, as far as it can be judged without a key. */
#pragma once

#include "check.h"
#include "format.h"

/* Reports what cryptsetup or QEMU would refuse, or what would let a key be read from the data.
 * Reads the header only, never key material. */
int luks_check(struct qca_image *image, struct check *check);
