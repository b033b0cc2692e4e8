/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A finding and its relations in, the exact commands out, with their preconditions. Pure; printed,
 * never run. */
#pragma once

#include "relate.h"

/* Array of objects: {"precondition": text} | {"command": shell line} | {"text": what to do by
 * hand}, in the order in which to follow them. Paths are quoted for the shell. *ret_remedy is NULL
 * when there is none. */
int remedy_make(const struct graph *graph, const struct finding *finding, json_object **ret_remedy);
