/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state at a past time: by the record of events, which does not go back for ever. Functions
 * that ask print their own errors; past_print_status() leaves that to its caller. */
#pragma once

#include "ctl/ctl.h"

/* Since when the record is whole. */
int past_record(struct ctl *ctl, uint64_t *ret_begins);
/* -ENODATA, and says since when, for a time before that; -EINVAL for one that is still to come. */
int past_check(uint64_t when, uint64_t begins);
/* The findings that were open or acknowledged at ctl->at, as of --severity, --name, --path,
 * --datastore and --state; worst first. */
int past_findings(struct ctl *ctl, json_object **ret_rows);
/* Below a list of them: how many, and what they rest on. */
void past_print_count(const struct ctl *ctl, json_object *rows);
/* A status of ctl->at: at, record-begins, open{}, acknowledged{}, worst[]. */
int past_status(struct ctl *ctl, json_object **ret_status);
int past_print_status(struct ctl *ctl, json_object *status);
