/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Origins: where each value of the configuration was written, and which of several holds. */
#pragma once

#include "daemon/config/keys.h"

/* A value, or one entry of a list, as it was written. */
struct config_origin {
    const struct config_key *key;
    int finding;                /* whose: of thresholds.*.enabled; else 0 */
    size_t class;               /* the class' place in the policy and 1; 0: not of a class; of an
                                 * entry of versions, its place and 1 */
    char *text;
    unsigned file, line, column;        /* file: place in config.files */
};

/* A value that holds. */
struct config_setting {
    const char *value;          /* as written; the default as in keys.def */
    const char *class;          /* that says so; NULL: it is the general one */
    const char *file;           /* NULL: it is the default */
    unsigned line;
};

/* Origin of the value of a general key that is no list; NULL: it is the default. */
const struct config_origin *config_origin_of(const struct config *config,
                                             const struct config_key *key);
/* Of a key that is no list, for images of the class (as in struct config_origin). finding: whose,
 * of thresholds.*.enabled. */
struct config_setting config_setting_of(const struct config *config, const struct config_key *key,
                                        int finding, size_t class);
/* The entry of a list that reads so; without a file when none does. */
struct config_setting config_entry_of(const struct config *config, const struct config_key *key,
                                      size_t class, const char *text);
