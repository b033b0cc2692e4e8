/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status --brief: one line, that all is well or what is worst. */
#pragma once

#include "ctl/ctl.h"

/* "critical: metadata-corrupt: /srv/a.qcow2 has 3 corruptions (qcauditctl show 5); in all ...",
 * malloc'd, NULL without memory. */
char *brief_worst(const struct output *output, json_object *worst, json_object *open);
int brief_print(const struct ctl *ctl, json_object *status, uint64_t now);
