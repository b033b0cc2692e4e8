/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's part of the status: its connections, its pools, and the disks that nobody audits. */
#include <errno.h>
#include <string.h>

#include "daemon/control/query-internal.h"

static const char *connection_state(const struct virt_connection *connection)
{
    return connection->absent ? "absent" : !connection->connected ? "unreachable" :
           connection->complete ? "connected" : "reading";
}

static int connection_row(const struct virt_status *status, size_t index, json_object **ret_row)
{
    const struct virt_connection *connection = &status->connections[index];
    uint64_t n_domains = 0, n_active = 0, n_pools = 0;
    struct row row;

    for (size_t i = 0; i < status->n_domains; i++)
        if (status->domains[i].connection == index) {
            n_domains++;
            n_active += virt_domain_is_active(&status->domains[i]);
        }
    for (size_t i = 0; i < status->n_pools; i++)
        n_pools += status->pools[i].connection == index;
    row_begin(&row);
    row_string(&row, "uri", connection->uri);
    row_string(&row, "state", connection_state(connection));
    row_number(&row, "since", connection->since);
    row_string(&row, "error", connection->error);
    row_number(&row, "domains", n_domains);
    row_number(&row, "domains-active", n_active);
    row_number(&row, "pools", n_pools);
    row_number(&row, "left-out", connection->n_left_out);
    return row_end(&row, ret_row);
}

static const char *pool_datastore(const struct query_view *view, const struct virt_pool *pool)
{
    for (size_t i = 0; pool->path && i < view->n_datastores; i++) {
        const struct datastore *datastore = view->datastores[i];

        if (datastore->pool ? strcmp(datastore->pool, pool->name) == 0 &&
                                  strcmp(datastore->path, pool->path) == 0
                            : path_is_below(pool->path, datastore->path))
            return datastore->name;
    }
    return NULL;
}

static int pool_row(const struct query_view *view, const struct virt_pool *pool,
                    json_object **ret_row)
{
    struct row row;

    row_begin(&row);
    row_string(&row, "name", pool->name);
    row_string(&row, "type", pool->type);
    row_string(&row, "path", pool->path);
    row_bool(&row, "active", pool->active);
    row_bool(&row, "auditable", pool->auditable);
    row_string(&row, "datastore", pool_datastore(view, pool));
    if (!pool->auditable) {
        row_string(&row, "reason",
                   virt_pool_kind(pool->type) == VIRT_POOL_NETWORK
                       ? "its volumes are reached by a network protocol alone, not by a path"
                       : "it has no path");
        row_number(&row, "volumes", pool->n_volumes);
    }
    return row_end(&row, ret_row);
}

int query_virt(const struct query_view *view, const struct virt_status *status, json_object *entry)
{
    json_object *connections = json_object_new_array(), *pools = json_object_new_array(), *made;
    struct row row = { .object = entry };
    int r = connections && pools ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && status && i < status->n_connections; i++) {
        r = connection_row(status, i, &made);
        if (r >= 0)
            r = rows_add(connections, made);
    }
    for (size_t i = 0; r >= 0 && status && i < status->n_pools; i++) {
        r = pool_row(view, &status->pools[i], &made);
        if (r >= 0)
            r = rows_add(pools, made);
    }
    row_json(&row, "libvirt", connections);
    row_json(&row, "pools", pools);
    return r < 0 ? r : row.error;
}

int query_virt_outside(const struct virt_domain *domain, const struct virt_disk *disk,
                       json_object *rows)
{
    json_object *made;
    struct row row;
    int r;

    row_begin(&row);
    row_string(&row, "domain", domain->name);
    row_string(&row, "target", disk->target);
    row_string(&row, "path", disk->layers[0].path);
    r = row_end(&row, &made);
    return r < 0 ? r : rows_add(rows, made);
}
