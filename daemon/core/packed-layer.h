/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An audit's report of one layer, as it is kept between audits: most of it is zeros, which are left
 * out. */
#pragma once

#include "helpers/report.h"

struct packed_layer;

/* Takes what the layer points to. -ENOMEM: then it is the caller's still. */
int layer_pack(const struct layer_report *layer, struct packed_layer **ret_packed);
/* The memory that *ret_layer points to stays the packed layer's. */
void layer_unpack(const struct packed_layer *packed, struct layer_report *ret_layer);
struct packed_layer *packed_layer_free(struct packed_layer *packed);
