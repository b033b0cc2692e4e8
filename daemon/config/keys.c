/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of configuration keys: what keys.def says, and the search in it. */
#include <errno.h>
#include <string.h>

#include "daemon/config/keys.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

const struct config_key config_keys[] = {
#define KEY(name_, type_, structure_, field, fallback_, minimum_, maximum_, word_, description_)   \
    { .name = name_, .type = CONFIG_##type_, .structure = CONFIG_IN_##structure_,                  \
      .offset = offsetof(struct structure_, field),                                                \
      .size = sizeof(((struct structure_ *)NULL)->field), .fallback = fallback_,                   \
      .minimum = minimum_, .maximum = maximum_, .word = CONFIG_WORD_##word_,                       \
      .description = description_ },
#include "daemon/config/keys.def"
#undef KEY
};
const size_t config_keys_count = ELEMENTSOF(config_keys);

const char *config_type_text(enum config_type type)
{
    static const char *const texts[] = {
        [CONFIG_BOOL] = "yes or no",
        [CONFIG_COUNT] = "a number",
        [CONFIG_DURATION] = "a duration such as 90s, 1h 30min or 7d",
        [CONFIG_SIZE] = "a size such as 512MiB or 1GiB",
        [CONFIG_RATE] = "a rate such as 50MiB/s",
        [CONFIG_SHARE] = "a share such as 20%",
        [CONFIG_WINDOW] = "a time of the day such as 22:00-05:00",
        [CONFIG_DATE] = "a date such as 2027-03-31",
        [CONFIG_SEVERITY] = "info, warning, error or critical",
        [CONFIG_NAME] = "a name",
        [CONFIG_VERSION] = "a version",
        [CONFIG_PATH] = "an absolute path",
        [CONFIG_PATTERNS] = "a list of patterns",
        [CONFIG_THRESHOLDS] = "thresholds by name of finding",
        [CONFIG_ENABLED] = "yes or no",
        [CONFIG_URIS] = "a list of libvirt's URIs",
        [CONFIG_POOLS] = "all, none, or a list of names",
        [CONFIG_EXCLUDES] = "a list of patterns",
        [CONFIG_DEVICES] = "a list of patterns of devices",
    };

    return texts[type];
}

const char *config_word_name(enum config_word word)
{
    static const char *const names[] = {
        [CONFIG_WORD_NEVER] = "never",
        [CONFIG_WORD_UNLIMITED] = "unlimited",
        [CONFIG_WORD_OFF] = "off",
        [CONFIG_WORD_ALWAYS] = "always",
    };

    return names[word];
}

uint64_t config_word_value(enum config_word word)
{
    return word == CONFIG_WORD_OFF ? UINT64_MAX : 0;
}

/* The part of a key's name after "section."; NULL when the key is not below it. */
static const char *name_below(const struct config_key *key, const char *section)
{
    size_t length = strlen(section);

    if (length == 0)
        return key->name;
    if (strncmp(key->name, section, length) != 0 || key->name[length] != '.')
        return NULL;
    return key->name + length + 1;
}

static size_t component_length(const char *name)
{
    return strcspn(name, ".[");
}

bool config_keys_below(const char *section,
                       bool (*each)(void *userdata, const char *name, const struct config_key *key),
                       void *userdata)
{
    char component[64], last[64] = "";

    /* The table is in order: the keys of a section follow one another. */
    for (size_t i = 0; i < config_keys_count; i++) {
        const char *rest = name_below(&config_keys[i], section);

        if (!rest || *rest == '*')
            continue;
        size_t length = component_length(rest);
        snprintf(component, sizeof(component), "%.*s", (int)length, rest);
        if (strcmp(component, last) == 0)
            continue;
        strcpy(last, component);
        if (each(userdata, component, rest[length] ? NULL : &config_keys[i]))
            return true;
    }
    return false;
}

const struct config_key *config_key_find(const char *section, const char *name)
{
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        const char *rest = name_below(key, section);

        if (rest && strcmp(rest, name) == 0)
            return key;
        if (key->type == CONFIG_ENABLED && strncmp(section, "thresholds.", 11) == 0 &&
            strcmp(name, "enabled") == 0)
            return key;
    }
    return NULL;
}

bool config_section_exists(const char *section, const char *name, bool *ret_is_list)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < config_keys_count; i++) {
        const char *rest = name_below(&config_keys[i], section);

        if (rest && length > 0 && strncmp(rest, name, length) == 0 &&
            (rest[length] == '.' || rest[length] == '[')) {
            *ret_is_list = rest[length] == '[';
            return true;
        }
    }
    return false;
}

struct nearest {
    const char *wanted;
    size_t distance;
    char name[64];
};

static bool nearest_try(void *userdata, const char *name, const struct config_key *key)
{
    struct nearest *nearest = userdata;
    size_t d = text_distance(nearest->wanted, name);

    if (d < nearest->distance) {
        nearest->distance = d;
        snprintf(nearest->name, sizeof(nearest->name), "%s", name);
    }
    return d == 0;
}

int config_key_nearest(const char *section, const char *name, char **ret)
{
    size_t length = strlen(name);
    struct nearest nearest = { .wanted = name, .distance = length / 3 + 2 };
    char *found = NULL;

    config_keys_below(section, nearest_try, &nearest);
    if (strcmp(section, "thresholds") == 0)
        for (enum finding_type type = 0; type < _FINDING_MAX; type++)
            nearest_try(&nearest, finding_definition(type)->name, NULL);
    else if (strncmp(section, "thresholds.", 11) == 0)
        nearest_try(&nearest, "enabled", NULL);

    /* The right name in the wrong place is better than a name that is far from it. */
    for (size_t i = 0; i < config_keys_count && nearest.distance > 2 && length > 0 && !found; i++) {
        size_t n = strlen(config_keys[i].name);

        if (n > length && config_keys[i].name[n - length - 1] == '.' &&
            strcmp(config_keys[i].name + n - length, name) == 0 &&
            !(found = strdup(config_keys[i].name)))
            return -ENOMEM;
    }
    if (!found && nearest.name[0] && !(found = strdup(nearest.name)))
        return -ENOMEM;
    *ret = found;
    return 0;
}
