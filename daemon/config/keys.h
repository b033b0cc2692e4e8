/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of configuration keys: what keys.def says, and the search in it. */
#pragma once

#include "daemon/config/settings.h"

enum config_type {
    CONFIG_BOOL,
    CONFIG_COUNT,
    CONFIG_DURATION,
    CONFIG_SIZE,
    CONFIG_RATE,
    CONFIG_SHARE,
    CONFIG_WINDOW,
    CONFIG_DATE,
    CONFIG_SEVERITY,
    CONFIG_NAME,
    CONFIG_VERSION,
    CONFIG_PATH,
    CONFIG_PATTERNS,
    CONFIG_THRESHOLDS,
    CONFIG_ENABLED,
    CONFIG_URIS,
    CONFIG_POOLS,
    CONFIG_EXCLUDES,
    CONFIG_DEVICES,
    _CONFIG_TYPE_MAX,
};

enum config_structure {
    CONFIG_IN_config,
    CONFIG_IN_config_datastore,
    CONFIG_IN_policy_class,
    CONFIG_IN_policy_version,
    CONFIG_IN_thresholds
};

enum config_word { CONFIG_WORD_NONE, CONFIG_WORD_NEVER, CONFIG_WORD_UNLIMITED, CONFIG_WORD_OFF,
                   CONFIG_WORD_ALWAYS };

struct config_key {
    const char *name;           /* "intervals.walk", "datastores[].path", "thresholds.*.enabled" */
    enum config_type type;
    enum config_structure structure;
    size_t offset, size;        /* of the field in its structure */
    const char *fallback;       /* the default, as in the file; NULL: must be given */
    const char *minimum, *maximum;      /* as in the file; NULL: no range */
    enum config_word word;
    const char *description;
};

extern const struct config_key config_keys[];
extern const size_t config_keys_count;

/* "a number", "a duration such as 90s, 1h 30min or 7d", ... */
const char *config_type_text(enum config_type type);
/* "never", "unlimited", "off", "always" and their values; NULL for CONFIG_WORD_NONE. */
const char *config_word_name(enum config_word word);
uint64_t config_word_value(enum config_word word);

/* Calls back with each different name directly below section ("" is the top,
 * "thresholds.chain-deep", "datastores[]") once, and the key when that is no section of its own.
 * "*" is left out. Stops when the callback returns true. */
bool config_keys_below(const char *section,
                       bool (*each)(void *userdata, const char *name, const struct config_key *key),
                       void *userdata);
/* Exactly this key, or "thresholds.*.enabled" for any finding's; NULL. */
const struct config_key *config_key_find(const char *section, const char *name);
/* True when there are keys below section.name, as a mapping or (is_list) as a list of mappings. */
bool config_section_exists(const char *section, const char *name, bool *ret_is_list);
/* The known name below section that is most like name, or one of the same name elsewhere
 * ("intervals.walk"); malloc'd, *ret is NULL when nothing is near. */
int config_key_nearest(const char *section, const char *name, char **ret);
