/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The folders in which the usual managers keep images: those that exist are datastores where the
 * configuration says auto. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/discover/internal.h"
#include "helpers/files-mount.h"
#include "lib/cleanup.h"

static const struct usual {
    const char *name, *path;
} usual[] = {
    { "libvirt", "/var/lib/libvirt/images" },
    { "proxmox", "/var/lib/vz" },
    { "eve-ng-images", "/opt/unetlab/addons" },
    { "eve-ng-labs", "/opt/unetlab/tmp" },
    { "gns3", "/opt/gns3" },
    { "nova", "/var/lib/nova/instances" },
    { "glance", "/var/lib/glance/images" },
    { "cinder", "/var/lib/cinder/volumes" },
    { "uvtool", "/var/lib/uvtool/libvirt/images" },
    { "multipass", "/var/snap/multipass/common/data/multipassd/vault" },
};

/* Is there such a folder? A file system that could hang is not asked: what is mounted there is
 * there. */
static bool folder_exists(const struct mount_table *mounts, const char *path)
{
    char above[PATH_MAX];
    struct stat st;
    char *slash;

    snprintf(above, sizeof(above), "%s", path);
    do {
        const struct mount *mount = mount_table_at(mounts, above);

        if (mount && mount_type_is_remote(mount->type))
            return strcmp(above, path) == 0;
        slash = strrchr(above, '/');
        *slash = 0;
    } while (slash > above);
    return fstatat(AT_FDCWD, path, &st, AT_NO_AUTOMOUNT) == 0 && S_ISDIR(st.st_mode);
}

/* Does the configuration have it already, or something of it? */
static bool is_taken(const struct places *places, const char *path)
{
    for (size_t i = 0; i < places->n_items; i++)
        if (path_is_below(places->items[i].path, path) ||
            path_is_below(path, places->items[i].path))
            return true;
    return false;
}

int places_add_usual(struct places *places)
{
    _cleanup_(mount_table_done) struct mount_table mounts = { 0 };
    _cleanup_close_ int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : mount_table_read(fd, &mounts);

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(usual); i++) {
        struct config_datastore datastore = {
            .name = (char *)(uintptr_t)usual[i].name, .path = (char *)(uintptr_t)usual[i].path,
            .recursive = true, .watch = true, .mounts = true,
        };

        if (!is_taken(places, usual[i].path) && !places_have_name(places, usual[i].name) &&
            folder_exists(&mounts, usual[i].path))
            r = places_add_config(places, &datastore);
    }
    return r;
}
