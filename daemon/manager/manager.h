/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Owns all stages and hands the results of each to the next. */
#pragma once

#include <systemd/sd-event.h>

struct manager;

struct manager_options {
    const char *config_path;
    const char *state_directory;
    const char *runtime_directory;
    const char *worker_program;
    const char *files_program;
    int launcher_fd;            /* from launcher_start(), or -1 */
};

/* Reads the configuration: -EINVAL when it has mistakes. Every failure is logged. */
int manager_new(sd_event *event, const struct manager_options *options,
                struct manager **ret_manager);
/* Stops everything, writes what waits. */
struct manager *manager_free(struct manager *manager);
/* Takes the state folder, loads what was known, starts the datastores and the first pass. */
int manager_start(struct manager *manager);
