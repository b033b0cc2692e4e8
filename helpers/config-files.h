/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* YAML files of an administrator: read where nobody else may change them, with all mistakes in the
 * order of their places. */
#pragma once

#include "helpers/config-tree.h"

/* Told of every mistake, not only the first, in the order of files and places. line and column
 * count from 1; 0: the whole file. All texts are safe to print. */
typedef void (*config_error_fn)(void *userdata, const char *file, unsigned line, unsigned column,
                                const char *message);

struct config_files {
    struct mistakes mistakes;
    char **names;               /* by the number that nodes and mistakes have */
    struct config_node **roots; /* as many; an entry may be NULL */
    size_t n;
    bool distrusts;             /* others may change a file or folder, which was not read */
};

void config_files_done(struct config_files *files);
/* Each returns 0 or -ENOMEM; what cannot be read, or is no YAML, is a mistake.
 * n bytes in memory; name stands for the file. */
int config_files_parse(struct config_files *files, const char *name, const char *bytes, size_t n);
/* A file; one that is missing is a mistake. */
int config_files_read(struct config_files *files, const char *path);
/* The *.yaml of a folder in order of name (bytes; hidden files are left out); none when the folder
 * is missing. */
int config_files_read_folder(struct config_files *files, const char *folder);
/* Says the mistakes: -EINVAL when there were any; -ENOMEM. */
int config_files_say(struct config_files *files, config_error_fn error, void *userdata);
