/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The messages that the program of alerts.exec gets, as JSON; qcauditd(8) documents their
 * members. */
#pragma once

#include <json-c/json.h>

#include "daemon/core/findings.h"
#include "daemon/tell/collection.h"

/* One event. -ENOMEM, also of the others. */
int exec_message_event(const struct event *event, json_object **ret_message);
/* Many events; the first ones of events, worst first, are listed one by one. */
int exec_message_summary(const struct collection *collection, const struct event *const events[],
                         size_t n_events, json_object **ret_message);
/* A test: nothing is wrong. */
int exec_message_test(json_object **ret_message);
