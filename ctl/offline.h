/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's database, read while no daemon runs. Every function prints its own errors. */
#pragma once

#include "ctl/ctl.h"

/* The rows of the daemon's methods, as far as the database knows them: the chains' relations it
 * does not. */
int offline_status(struct ctl *ctl, json_object **ret_entry);
int offline_images(struct ctl *ctl, json_object *filter, json_object **ret_rows);
int offline_findings(struct ctl *ctl, json_object *filter, json_object **ret_rows);
int offline_events(struct ctl *ctl, json_object *filter, json_object **ret_rows);
int offline_audits(struct ctl *ctl, const char *path, json_object **ret_rows);
int offline_readings(struct ctl *ctl, const char *path, json_object **ret_rows);
