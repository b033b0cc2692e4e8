/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the library itself needs of the door to bytes, beyond the public interface. */
#pragma once

#include "cleanup.h"
#include "qcaudit/qcaudit.h"

/* Tells the source that these bytes will be read soon. Advice: never fails, costs nothing in
 * memory. */
void io_will_need(struct qca_io *io, uint64_t offset, uint64_t size);

/* Is what lies at offset a hole of the source, and up to where (offset < *ret_end <= size)? False
 * where the source cannot tell. offset is below the size. */
bool io_is_hole(struct qca_io *io, uint64_t offset, uint64_t *ret_end);

DEFINE_CLEANUP(struct qca_io *, qca_io_free)
#define _cleanup_io_ _cleanup_(qca_io_freep)
