/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt says: its connections by the configuration, its pools as datastores. */
#include <errno.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/manager-internal.h"
#include "daemon/strv.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define OUTSIDE_MAX 100

/* ---- the connections ------------------------------------------------------------------------- */

static void connection_log(const struct virt_connection *before, const struct virt_connection *now)
{
    _cleanup_free_ char *uri = text_escape_string(now->uri),
                        *error = text_escape_string(now->error);

    if (!uri || !error ||
        (before && before->connected == now->connected && before->absent == now->absent))
        return;
    if (now->connected)
        log_info(0, "Connected to libvirt at %s", uri);
    else if (now->absent)
        log_info(0,
                 "No libvirt on this host; the datastores of the configuration are audited alone");
    else
        log_warning(0, "libvirt cannot be reached at %s (%s); what it said last is taken to hold",
                    uri, error);
}

/* Is all of it known, so that what is not there is not there? */
static bool is_complete(const struct virt_status *status)
{
    for (size_t i = 0; i < status->n_connections; i++)
        if (!status->connections[i].complete && !status->connections[i].absent)
            return false;
    return true;
}

/* ---- pools ----------------------------------------------------------------------------------- */

bool virt_pool_is_wanted(const struct config *config, const struct virt_pool *pool)
{
    if (!pool->auditable || !config->libvirt_pools)
        return pool->auditable;
    for (char *const *name = config->libvirt_pools; *name; name++)
        if (strcmp(*name, pool->name) == 0)
            return true;
    return false;
}

static void set_pools(struct manager *manager)
{
    const struct virt_status *status = manager->virt;
    _cleanup_free_ struct discover_pool *pools = calloc(status->n_pools + 1, sizeof(*pools));
    size_t n = 0;
    int r = pools ? 0 : -ENOMEM;

    for (size_t i = 0; pools && i < status->n_pools; i++) {
        const struct virt_pool *pool = &status->pools[i];

        if (virt_pool_is_wanted(manager->config, pool))
            pools[n++] = (struct discover_pool){
                .name = pool->name, .path = pool->path,
                .of_devices = virt_pool_kind(pool->type) == VIRT_POOL_DEVICES,
                .devices = pool->devices, .active = pool->active, .autostart = pool->autostart,
                .refreshed = pool->refreshed, .capacity = pool->capacity,
                .available = pool->available,
            };
    }
    if (r >= 0)
        r = discover_set_pools(manager->discover, pools, n, is_complete(status));
    if (r < 0)
        log_error(r, "Cannot bring the datastores in line with libvirt's pools: %m");
}

/* ---- disks in no datastore ------------------------------------------------------------------- */

void virt_each_outside(const struct manager *manager,
                       void (*each)(void *userdata, const struct virt_domain *domain,
                                    const struct virt_disk *disk),
                       void *userdata)
{
    const struct virt_status *status = manager->virt;

    for (size_t i = 0; status && i < status->n_domains; i++)
        for (size_t j = 0; j < status->domains[i].n_disks; j++) {
            const struct virt_disk *disk = &status->domains[i].disks[j];
            const char *path = disk->n_layers > 0 ? disk->layers[0].path : NULL;

            if (path && strncmp(path, "/dev/", 5) == 0 && strcmp(disk->device, "disk") != 0)
                continue;       /* the host's own drive */
            /* The other name, links followed, where there is one. */
            if (path && !discover_datastore_of(manager->discover, path) &&
                !discover_datastore_of(manager->discover, usage_path(usage_index(manager), path)))
                each(userdata, &status->domains[i], disk);
        }
}

struct outside {
    json_object *rows;
    uint64_t n;
    int error;
};

static void on_outside(void *userdata, const struct virt_domain *domain,
                       const struct virt_disk *disk)
{
    struct outside *outside = userdata;

    if (outside->n++ < OUTSIDE_MAX && outside->error >= 0)
        outside->error = query_virt_outside(domain, disk, outside->rows);
}

int virt_show(const struct manager *manager, const struct query_view *view, json_object *entry)
{
    struct outside outside = { .rows = json_object_new_array() };

    if (!outside.rows || json_object_object_add(entry, "disks-outside", outside.rows) < 0) {
        json_object_put(outside.rows);
        return -ENOMEM;
    }
    virt_each_outside(manager, on_outside, &outside);
    if (outside.error < 0)
        return outside.error;
    if (json_object_object_add(entry, "disks-outside-total", json_object_new_uint64(outside.n)) < 0)
        return -ENOMEM;
    return query_virt(view, manager->virt, entry);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_status(void *userdata, struct virt_status *status)
{
    struct manager *manager = userdata;
    struct virt_status *before = manager->virt;

    if (manager->stopping)
        return;
    for (size_t i = 0; i < status->n_connections; i++)
        connection_log(before && i < before->n_connections ? &before->connections[i] : NULL,
                       &status->connections[i]);
    manager->virt = virt_status_ref(status);
    set_pools(manager);
    virt_status_unref(before);
    log_debug(0, "libvirt: %zu domains, %zu pools", status->n_domains, status->n_pools);
    usage_on_status(manager, status);   /* with the pools' datastores */
    control_status_soon(manager);
}

void virt_expect(struct manager *manager)
{
    const struct config *config = manager->config;

    discover_expect_pools(manager->discover, !config->libvirt_uris || config->libvirt_uris[0]);
}

int virt_apply_config(struct manager *manager, const struct config *before)
{
    const struct config *config = manager->config;
    struct virt_watch_options options = {
        .uris = config->libvirt_uris, .poll = config->libvirt_poll, .status = on_status,
        .userdata = manager,
    };
    int r;

    if (before && manager->virt_watch && strv_equal(before->libvirt_uris, config->libvirt_uris) &&
        before->libvirt_poll == config->libvirt_poll) {
        if (manager->virt)
            set_pools(manager); /* others may be wanted */
        return 0;
    }
    manager->virt_watch = virt_watch_free(manager->virt_watch);
    if (config->libvirt_uris && !config->libvirt_uris[0]) {
        manager->virt = virt_status_unref(manager->virt);
        return discover_set_pools(manager->discover, NULL, 0, true);
    }
    r = virt_watch_new(manager->event, &options, &manager->virt_watch);
    return r < 0 ? log_error(r, "Cannot start the threads that ask libvirt: %m") : 0;
}

void virt_done(struct manager *manager)
{
    manager->virt_watch = virt_watch_free(manager->virt_watch);
    manager->virt = virt_status_unref(manager->virt);
}
