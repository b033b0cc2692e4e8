/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status --nagios: one line and performance data, as Nagios, Icinga and their kin read them. */
#pragma once

#include "ctl/ctl.h"

enum nagios_state { NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN };

/* Do the arguments ask for it? Before they are parsed, as what is wrong with them is to be told in
 * the same way. */
bool nagios_is_wanted(int argc, char **argv);
/* From here on what goes to stderr is kept for nagios_fail(). -errno when it cannot be kept. */
int nagios_begin(void);
/* Prints UNKNOWN with what was said on stderr, or with what else tells of the error; returns the
 * exit status. */
int nagios_fail(int error);
/* Prints the line; returns the exit status, or -errno with nothing printed. */
int nagios_print(const struct ctl *ctl, json_object *status, uint64_t now);
