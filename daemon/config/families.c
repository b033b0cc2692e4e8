/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The families of images: the package's, and the site's beside the configuration. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config/settings.h"
#include "lib/cleanup.h"
#include "provenance/family.h"

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
    if (r < 0)
        return r;
    families_free(config->families);
    config->families = families;
    config->policy.families = families;
    return 0;
}
