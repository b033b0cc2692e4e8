/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A finding and its relations in, the exact commands out, with their preconditions. Pure; printed,
 * never run. */
#pragma once

#include "daemon/core/findings.h"
#include "daemon/relate/relate.h"
#include "daemon/remedy/looks.h"

/* Array of objects: {"precondition": text} | {"command": shell line} | {"text": what to do by
 * hand} | {"note": why no command is given}, in the order in which to follow them. Paths are quoted
 * for the shell. *ret_remedy is NULL when there is none. Commands that write, move or define are
 * given only after a look at locks, files and room: looks says what was seen, and takes what is
 * wanted; when it was had, the remedy is made again. NULL: without such commands, to be kept and
 * sent. */
int remedy_make(const struct graph *graph, const struct finding *finding, struct looks *looks,
                json_object **ret_remedy);
