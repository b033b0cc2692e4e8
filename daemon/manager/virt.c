/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Libvirt's connections by the configuration, its pools as datastores. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/core/strv.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define OUTSIDE_MAX 100
#define FIRST_WORD_SECONDS 30   /* so long libvirt's first word is awaited */

/* An empty list of connections says that nobody is to ask libvirt. */
static bool is_asked(const struct config *config)
{
    return !config->libvirt_uris || config->libvirt_uris[0];
}

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
        log_warning(0, "libvirt cannot be reached at %s (%s); its last answers are taken to hold",
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

/* Does anybody look at the path? */
static bool is_covered(const struct manager *manager, const char *path)
{
    const struct datastore *datastore = discover_datastore_of(manager->discover, path);
    size_t n;

    if (discover_follows(manager->discover, path))
        return true;
    if (!datastore || datastore->recursive || datastore->of_devices ||
        discover_find_image(manager->discover, path))
        return datastore != NULL;
    /* directly in the folder */
    n = strlen(datastore->path);
    return strncmp(path, datastore->path, n) != 0 || !strchr(path + n + 1, '/');
}

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

            /* A drive's medium is no disk; without a path, it is reached by the network. */
            if (!path || path[0] != '/' || virt_disk_is_medium(disk))
                continue;
            /* The other name, links followed, where there is one. */
            if (!is_covered(manager, path) &&
                !is_covered(manager, usage_path(usages_index(manager->usages), path)))
                each(userdata, &status->domains[i], disk);
        }
}

static void on_gap(void *userdata, const struct virt_domain *domain, const struct virt_disk *disk)
{
    struct virt_gaps *gaps = userdata;
    struct usage usage = usage_find(gaps->index, disk->layers[0].path);

    /* Links may lead into a datastore: that is being looked up. */
    for (size_t i = 0; i < usage.n_entries; i++)
        gaps->pending |= usage.entries[i].pending;
    if (gaps->n < ELEMENTSOF(gaps->disks))
        gaps->disks[gaps->n++] = (struct outside_disk){
            .domain = domain->name, .target = disk->target, .path = disk->layers[0].path,
        };
    gaps->total++;
}

bool virt_gaps(const struct manager *manager, struct virt_gaps *ret_gaps)
{
    struct datastore *const *datastores;
    bool online = false;
    size_t n;

    *ret_gaps = (struct virt_gaps){ .index = usages_index(manager->usages) };
    if (!manager->virt)
        return !is_asked(manager->config);
    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n; i++) {
        if (datastores[i]->state == DATASTORE_STARTING)
            return false;       /* by which links it can be reached is not known yet */
        online |= datastores[i]->state == DATASTORE_ONLINE;
    }
    if (!is_complete(manager->virt) || usage_status(ret_gaps->index) != manager->virt)
        return false;
    virt_each_outside(manager, on_gap, ret_gaps);
    return !ret_gaps->pending || !online;
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

    if (json_add(entry, "disks-outside", outside.rows) < 0)
        return -ENOMEM;
    virt_each_outside(manager, on_outside, &outside);
    if (outside.error < 0)
        return outside.error;
    if (json_add(entry, "disks-outside-total", json_object_new_uint64(outside.n)) < 0)
        return -ENOMEM;
    return query_virt(view, manager->virt, entry);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Nothing to audit, said once in one sentence. */
static void tell_empty(struct manager *manager)
{
    bool empty = discover_is_empty(manager->discover);

    if (empty && !manager->empty)
        log_warning(0,
                    "There is no datastore: libvirt has no storage pool here, and %s; name the "
                    "folders that hold images in %s",
                    manager->config->datastores_auto ? "none of the usual folders exists"
                                                     : "the configuration names none",
                    manager->options.config_path);
    manager->empty = empty;
}

/* Has each connection said something, be it that there is nobody? */
static bool is_heard(const struct virt_status *status)
{
    for (size_t i = 0; i < status->n_connections; i++)
        if (!status->connections[i].complete && !status->connections[i].absent &&
            !status->connections[i].error)
            return false;
    return true;
}

static void stop_awaiting(struct manager *manager)
{
    if (!graph_awaits_usage(manager->graph))
        return;
    manager->virt_timer = sd_event_source_disable_unref(manager->virt_timer);
    graph_await_usage(manager->graph, false);
    judge_soon(manager);
}

static int on_virt_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;

    log_info(0, "libvirt has not answered for %d seconds: disks are judged without its word",
             FIRST_WORD_SECONDS);
    stop_awaiting(manager);
    return 0;
}

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
    tell_empty(manager);
    manager->daemon_dirty = true;       /* its disks may be in no datastore */
    log_debug(0, "libvirt: %zu domains, %zu pools", status->n_domains, status->n_pools);
    usages_take(manager->usages, status);       /* with the pools' datastores */
    if (is_heard(status))
        stop_awaiting(manager);
    control_status_soon(manager);
}

void virt_expect(struct manager *manager)
{
    const struct config *config = manager->config;

    discover_expect_pools(manager->discover, is_asked(config));
}

/* Layers that were merged and not deleted are a deep chain, until libvirt says that they are
 * nobody's disk: each start would tell of them anew. */
int virt_await(struct manager *manager)
{
    const struct config *config = manager->config;

    if (!is_asked(config))
        return 0;
    graph_await_usage(manager->graph, true);
    return manager_arm(manager, &manager->virt_timer, FIRST_WORD_SECONDS * USEC_PER_SEC,
                       on_virt_timer);
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
        tell_empty(manager);
        return 0;
    }
    manager->virt_watch = virt_watch_free(manager->virt_watch);
    if (!is_asked(config)) {
        manager->virt = virt_status_unref(manager->virt);
        stop_awaiting(manager);
        r = discover_set_pools(manager->discover, NULL, 0, true);
        tell_empty(manager);
        return r;
    }
    r = virt_watch_new(manager->event, &options, &manager->virt_watch);
    return r < 0 ? log_error(r, "Cannot start the threads that ask libvirt: %m") : 0;
}

void virt_done(struct manager *manager)
{
    manager->virt_watch = virt_watch_free(manager->virt_watch);
    manager->virt = virt_status_unref(manager->virt);
    manager->virt_timer = sd_event_source_disable_unref(manager->virt_timer);
}
