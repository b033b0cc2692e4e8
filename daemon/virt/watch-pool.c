/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All pools of a connection, and the volumes of those that are not of files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/virt/watch-internal.h"
#include "daemon/virt/xml.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct virt_pools *, virt_pools_unref)

struct volume {
    char *name;
    char *path;                 /* of a block device */
};

static int compare_volumes(const void *a, const void *b)
{
    return strcmp(((const struct volume *)a)->name, ((const struct volume *)b)->name);
}

static int volume_read(struct virt_link *link, virStorageVolPtr item, bool devices,
                       struct volume *volume)
{
    const char *name = sym_virStorageVolGetName(item);
    int r = 0;

    if (!name || strlen(name) > VIRT_TEXT_MAX)
        return -ENOENT;
    if (devices) {
        r = link_call(link);
        if (r < 0)
            return r;
        volume->path = sym_virStorageVolGetPath(item);
        if (!volume->path)
            return link_error(link);
    }
    volume->name = strdup(name);
    return volume->name ? 0 : -ENOMEM;
}

/* Takes the volumes' texts, or frees them. */
static int pool_take_volumes(struct virt_pool *pool, struct volume *volumes, size_t n, bool devices)
{
    bool no_memory;

    qsort(volumes, n, sizeof(*volumes), compare_volumes);
    pool->volumes = calloc(n + 1, sizeof(*pool->volumes));
    pool->devices = devices ? calloc(n + 1, sizeof(*pool->devices)) : NULL;
    no_memory = !pool->volumes || (devices && !pool->devices);
    for (size_t i = 0; i < n; i++)
        if (no_memory) {
            free(volumes[i].name);
            free(volumes[i].path);
        } else {
            pool->volumes[i] = volumes[i].name;
            if (devices)
                pool->devices[i] = volumes[i].path;
        }
    return no_memory ? -ENOMEM : 0;
}

static int pool_read_volumes(struct virt_link *link, virStoragePoolPtr item, struct virt_pool *pool)
{
    bool devices = virt_pool_kind(pool->type) == VIRT_POOL_DEVICES;
    _cleanup_free_ struct volume *volumes = NULL;
    virStorageVolPtr *list;
    size_t n_volumes = 0;
    int n, r;

    r = link_call(link);
    if (r < 0)
        return r;
    n = sym_virStoragePoolListAllVolumes(item, &list, 0);
    if (n < 0)
        return link_error(link);
    pool->n_volumes = (size_t)n;
    volumes = calloc((size_t)n + 1, sizeof(*volumes));
    r = volumes ? 0 : -ENOMEM;
    for (int i = 0; i < n; i++) {
        if (r >= 0 && n_volumes < VIRT_VOLUMES_MAX) {
            struct volume volume = { 0 };

            r = volume_read(link, list[i], devices, &volume);
            if (r >= 0)
                volumes[n_volumes++] = volume;
            else
                free(volume.path);
            if (r == -ENOENT || r == -EIO)      /* deleted meanwhile */
                r = 0;
        }
        sym_virStorageVolFree(list[i]);
    }
    free(list);
    if (r < 0) {
        for (size_t i = 0; i < n_volumes; i++) {
            free(volumes[i].name);
            free(volumes[i].path);
        }
        return r;
    }
    return pool_take_volumes(pool, volumes, n_volumes, devices);
}

static uint64_t refreshed(const struct virt_link *link, const struct link_news *news,
                          const char *uuid)
{
    for (size_t i = news->n_refreshes; i-- > 0;)
        if (strcmp(news->refreshes[i].uuid, uuid) == 0)
            return news->refreshes[i].at;
    for (size_t i = 0; link->pools && i < link->pools->n_items; i++)
        if (strcmp(link->pools->items[i].uuid, uuid) == 0)
            return link->pools->items[i].refreshed;
    return 0;
}

static int pool_read(struct virt_link *link, const struct link_news *news, virStoragePoolPtr item,
                     struct virt_pool *ret_pool)
{
    _cleanup_(virt_pool_done) struct virt_pool pool = { 0 };
    _cleanup_free_ char *xml = NULL;
    int autostart = 0, r;

    r = link_call(link);
    if (r < 0)
        return r;
    xml = sym_virStoragePoolGetXMLDesc(item, 0);
    if (!xml)
        return link_error(link);
    r = virt_xml_pool(xml, &pool);
    if (r >= 0)
        r = link_call(link);
    if (r < 0)
        return r;
    r = sym_virStoragePoolIsActive(item);
    if (r < 0)
        return link_error(link);
    pool.active = r > 0;
    if (sym_virStoragePoolGetAutostart(item, &autostart) == 0)      /* a transient one has none */
        pool.autostart = autostart != 0;
    pool.refreshed = refreshed(link, news, pool.uuid);
    if (pool.active && virt_pool_kind(pool.type) != VIRT_POOL_FILES) {
        r = pool_read_volumes(link, item, &pool);
        if (r == -ENOTCONN || r == -ECANCELED || r == -ENOMEM)
            return r;
    }
    *ret_pool = pool;
    pool = (struct virt_pool){ 0 };
    return 0;
}

static int compare_pools(const void *a, const void *b)
{
    const struct virt_pool *pool_a = a, *pool_b = b;
    int order = strcmp(pool_a->name, pool_b->name);

    return order ?: strcmp(pool_a->uuid, pool_b->uuid);
}

static int pools_read(struct virt_link *link, const struct link_news *news, virStoragePoolPtr *list,
                      size_t n, struct virt_pools **ret_pools)
{
    _cleanup_(virt_pools_unrefp) struct virt_pools *pools = calloc(1, sizeof(*pools));
    int r = 0;

    if (!pools)
        return -ENOMEM;
    pools->refs = 1;
    pools->items = calloc(n + 1, sizeof(*pools->items));
    if (!pools->items)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (pools->n_items == VIRT_POOLS_MAX) {
            pools->n_left_out += n - i;
            break;
        }
        r = pool_read(link, news, list[i], &pools->items[pools->n_items]);
        if (r >= 0)
            pools->n_items++;
        else if (r == -EBADMSG || r == -E2BIG)
            pools->n_left_out++;
        else if (r != -ENOENT)
            return r;           /* a pool that was not told is not a pool that is not there */
    }
    qsort(pools->items, pools->n_items, sizeof(*pools->items), compare_pools);
    *ret_pools = TAKE_PTR(pools);
    return 0;
}

int link_read_pools(struct virt_link *link, const struct link_news *news)
{
    struct virt_pools *pools = NULL;
    virStoragePoolPtr *list = NULL;
    int n, r;

    r = link_call(link);
    if (r < 0)
        return r;
    n = sym_virConnectListAllStoragePools(link->connection, &list, 0);
    if (n < 0) {
        r = link_error(link);
        if (r != -EOPNOTSUPP)
            return r;
        n = 0;                  /* a driver without pools */
    }
    r = pools_read(link, news, list, (size_t)n, &pools);
    for (int i = 0; i < n; i++)
        sym_virStoragePoolFree(list[i]);
    free(list);
    if (r < 0)
        return r;
    virt_pools_unref(link->pools);
    link->pools = pools;
    return 0;
}
