/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status --brief: one line, that all is well or what is worst. */
#pragma once

#include "ctl/ctl.h"

int brief_print(const struct ctl *ctl, json_object *status, uint64_t now);
