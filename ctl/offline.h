/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's database, asked while no daemon runs. */
#pragma once

#include "ctl/ctl.h"

/* The daemon's answer to a question of the control interface, as far as the database knows it: not
 * what libvirt says. filter and path may be NULL. Prints its own errors. */
int offline_ask(struct ctl *ctl, const char *question, json_object *filter, const char *path,
                json_object **ret_answer);
