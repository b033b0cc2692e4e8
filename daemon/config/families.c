/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The families of images: the package's, and the site's beside the configuration. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config/settings.h"
#include "helpers/text.h"
#include "lib/cleanup.h"
#include "provenance/family.h"

/* The family that is called most like it; NULL: none is near. */
static const char *nearest_family(const struct families *families, const char *name)
{
    size_t distance = strlen(name) / 3 + 2;
    const char *nearest = NULL;

    for (size_t i = 0; i < families->n; i++) {
        size_t d = text_distance(name, families->items[i]->name);

        if (d < distance) {
            distance = d;
            nearest = families->items[i]->name;
        }
    }
    return nearest;
}

/* Families that the policy on versions names have to be known; with the place of each. */
static int check_families(const struct config *config, const struct families *families,
                          config_error_fn error, void *userdata)
{
    int r = 0;

    for (size_t i = 0; i < config->policy.n_versions; i++) {
        const struct policy_version *version = &config->policy.versions[i];
        _cleanup_free_ char *text = NULL;

        if (families_find(families, version->family))
            continue;
        const char *nearest = nearest_family(families, version->family);
        if (asprintf(&text, "versions[].family: unknown family \"%s\"%s%s%s", version->family,
                     nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                     nearest ? "\"?" : "") < 0)
            return -ENOMEM;
        if (error)
            error(userdata, version->file, version->line, version->column, text);
        r = -EINVAL;
    }
    return r;
}

int config_load_families(struct config *config, const char *path, config_error_fn error,
                         void *userdata)
{
    const char *slash = strrchr(path, '/'), *vendor = PKGDATADIR "/families.yaml";
    _cleanup_free_ char *folder = NULL;
    struct families *families = NULL;

    if (asprintf(&folder, "%.*sfamilies.d", slash ? (int)(slash - path) + 1 : 0, path) < 0)
        return -ENOMEM;
    /* As where the program was built and not installed. */
    if (access(vendor, F_OK) < 0)
        vendor = NULL;
    int r = families_load(vendor, folder, error, userdata, &families);
    if (r >= 0)
        r = check_families(config, families, error, userdata);
    if (r < 0) {
        families_free(families);
        return r;
    }
    families_free(config->families);
    config->families = families;
    config->policy.families = families;
    return 0;
}
