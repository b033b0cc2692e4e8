/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds where each value of the configuration was written, and which of several holds. */
#include <string.h>

#include "daemon/config/origin.h"

static struct config_setting setting_from(const struct config *config,
                                          const struct config_origin *origin)
{
    return (struct config_setting){
        .value = origin->text,
        .class = origin->class > 0 ? config->policy.classes[origin->class - 1].name : NULL,
        .file = config->files[origin->file],
        .line = origin->line,
    };
}

/* The last that was read wins, and a class' before the general ones. text NULL: any. */
static const struct config_origin *find(const struct config *config, const struct config_key *key,
                                        int finding, size_t class, const char *text)
{
    const struct config_origin *found = NULL;

    for (size_t i = 0; i < config->n_origins; i++) {
        const struct config_origin *origin = &config->origins[i];

        if (origin->key == key && origin->finding == finding &&
            (origin->class == class || origin->class == 0) &&
            (!found || origin->class >= found->class) &&
            (!text || strcmp(origin->text, text) == 0))
            found = origin;
    }
    return found;
}

const struct config_origin *config_origin_of(const struct config *config,
                                             const struct config_key *key)
{
    return find(config, key, 0, 0, NULL);
}

struct config_setting config_setting_of(const struct config *config, const struct config_key *key,
                                        int finding, size_t class)
{
    const struct config_origin *origin = find(config, key, finding, class, NULL);

    return origin ? setting_from(config, origin)
                  : (struct config_setting){ .value = key->fallback ?: "" };
}

struct config_setting config_entry_of(const struct config *config, const struct config_key *key,
                                      size_t class, const char *text)
{
    const struct config_origin *origin = find(config, key, 0, class, text);

    return origin ? setting_from(config, origin) : (struct config_setting){ .value = text };
}
