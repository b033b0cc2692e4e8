/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the library itself needs of a chain, beyond the public interface. */
#pragma once

#include "qcaudit/qcaudit.h"

/* Where the data of that layer lies: its data file, or the image itself. Borrowed. */
struct qca_io *chain_layer_data(const struct qca_chain *chain, size_t index);
