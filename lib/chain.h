/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library's own interface to a chain, beyond the public one. */
#pragma once

#include "qcaudit/qcaudit.h"

/* The file with the data of that layer: its data file, or the image itself. Borrowed. */
struct qca_io *chain_layer_data(const struct qca_chain *chain, size_t index);
