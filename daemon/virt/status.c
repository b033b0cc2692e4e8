/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A status put together from what each connection knows; domains and disks found in it. */
#include "daemon/virt/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/virt/part.h"
#include "lib/cleanup.h"

/* A status, and the parts its pointers lead into. */
struct holder {
    atomic_uint refs;
    struct virt_part **parts;
    size_t n_parts;
    struct virt_status status;
};

static struct holder *holder_of(struct virt_status *status)
{
    return (struct holder *)(void *)((char *)status - offsetof(struct holder, status));
}

static void holder_free(struct holder *holder)
{
    for (size_t i = 0; i < holder->status.n_connections; i++) {
        free(holder->status.connections[i].uri);
        free(holder->status.connections[i].error);
    }
    free(holder->status.connections);
    free(holder->status.domains);
    free(holder->status.pools);
    for (size_t i = 0; i < holder->n_parts; i++)
        virt_part_unref(holder->parts[i]);
    free(holder->parts);
    free(holder);
}

static void holder_freep(struct holder **holder)
{
    if (*holder)
        holder_free(*holder);
}

struct virt_status *virt_status_ref(struct virt_status *status)
{
    if (status)
        atomic_fetch_add(&holder_of(status)->refs, 1);
    return status;
}

struct virt_status *virt_status_unref(struct virt_status *status)
{
    if (status && atomic_fetch_sub(&holder_of(status)->refs, 1) == 1)
        holder_free(holder_of(status));
    return NULL;
}

static int connection_fill(struct virt_connection *connection, const char *uri,
                           const struct virt_part *part)
{
    connection->uri = strdup(uri);
    if (!connection->uri)
        return -ENOMEM;
    if (!part)
        return 0;
    connection->absent = part->absent;
    connection->connected = part->connected;
    connection->complete = part->complete;
    connection->since = part->since;
    connection->n_left_out = part->n_left_out;
    for (size_t i = 0; i < part->n_records; i++) {
        const struct virt_record *record = part->records[i];

        connection->n_left_out += record->body->n_left_out +
                                  (record->snapshots ? record->snapshots->n_left_out : 0) +
                                  (record->checkpoints ? record->checkpoints->n_left_out : 0);
    }
    connection->n_left_out += part->pools ? part->pools->n_left_out : 0;
    connection->error = part->error ? strdup(part->error) : NULL;
    return part->error && !connection->error ? -ENOMEM : 0;
}

static void part_fill(struct virt_status *status, size_t connection, const struct virt_part *part)
{
    for (size_t i = 0; i < part->n_records; i++) {
        status->domains[status->n_domains] = part->records[i]->domain;
        status->domains[status->n_domains++].connection = connection;
    }
    for (size_t i = 0; part->pools && i < part->pools->n_items; i++) {
        status->pools[status->n_pools] = part->pools->items[i];
        status->pools[status->n_pools++].connection = connection;
    }
}

int virt_status_new(char *const *uris, struct virt_part *const *parts, size_t n,
                    struct virt_status **ret_status)
{
    _cleanup_(holder_freep) struct holder *holder = calloc(1, sizeof(*holder));
    size_t n_domains = 0, n_pools = 0;
    struct virt_status *status;
    int r;

    if (!holder)
        return -ENOMEM;
    holder->refs = 1;
    status = &holder->status;
    for (size_t i = 0; i < n; i++) {
        n_domains += parts[i] ? parts[i]->n_records : 0;
        n_pools += parts[i] && parts[i]->pools ? parts[i]->pools->n_items : 0;
    }
    holder->parts = calloc(n + 1, sizeof(struct virt_part *));
    status->connections = calloc(n + 1, sizeof(*status->connections));
    status->domains = calloc(n_domains + 1, sizeof(*status->domains));
    status->pools = calloc(n_pools + 1, sizeof(*status->pools));
    if (!holder->parts || !status->connections || !status->domains || !status->pools)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        r = connection_fill(&status->connections[status->n_connections++], uris[i], parts[i]);
        if (r < 0)
            return r;
        if (!parts[i])
            continue;
        holder->parts[holder->n_parts++] = virt_part_ref(parts[i]);
        part_fill(status, i, parts[i]);
    }
    *ret_status = &TAKE_PTR(holder)->status;
    return 0;
}

bool virt_disk_is_medium(const struct virt_disk *disk)
{
    return disk->device &&
           (strcmp(disk->device, "cdrom") == 0 || strcmp(disk->device, "floppy") == 0);
}

bool virt_domain_is_active(const struct virt_domain *domain)
{
    return domain->id >= 0;
}

const struct virt_domain *virt_find_domain(const struct virt_status *status, const char *name,
                                           bool *ret_ambiguous)
{
    const struct virt_domain *found = NULL;
    bool ambiguous = false;

    for (size_t i = 0; status && i < status->n_domains; i++) {
        const struct virt_domain *domain = &status->domains[i];

        if (strcmp(domain->name, name) != 0 && strcmp(domain->uuid, name) != 0)
            continue;
        ambiguous = found != NULL;
        found = domain;
        if (ambiguous)
            break;
    }
    if (ret_ambiguous)
        *ret_ambiguous = ambiguous;
    return ambiguous ? NULL : found;
}

const struct virt_disk *virt_find_disk(const struct virt_domain *domain, const char *target)
{
    for (size_t i = 0; i < domain->n_disks; i++)
        if (strcmp(domain->disks[i].target, target) == 0)
            return &domain->disks[i];
    return NULL;
}

int virt_domain_compare(const struct virt_domain *a, const struct virt_domain *b)
{
    if (a->connection != b->connection)
        return a->connection < b->connection ? -1 : 1;
    return strcmp(a->uuid, b->uuid);
}

bool virt_connections_equal(const struct virt_status *a, const struct virt_status *b)
{
    if (!a || !b || a->n_connections != b->n_connections)
        return a == b;
    for (size_t i = 0; i < a->n_connections; i++)
        if (a->connections[i].connected != b->connections[i].connected ||
            a->connections[i].complete != b->connections[i].complete)
            return false;
    return true;
}

bool virt_status_equal(const struct virt_status *a, const struct virt_status *b)
{
    if (!a || !b || a->n_domains != b->n_domains || !virt_connections_equal(a, b))
        return false;
    for (size_t i = 0; i < a->n_connections; i++)
        if (a->connections[i].n_left_out != b->connections[i].n_left_out)
            return false;
    for (size_t i = 0; i < a->n_domains; i++)
        if (virt_domain_compare(&a->domains[i], &b->domains[i]) != 0 ||
            a->domains[i].version != b->domains[i].version)
            return false;
    return true;
}
