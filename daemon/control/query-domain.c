/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of domains, and libvirt's word on images. */
#include <errno.h>
#include <string.h>

#include "daemon/control/query-internal.h"
#include "daemon/core/strv.h"

#define LISTED_MAX 1000         /* disks, snapshots, findings of one domain; users of one image */
#define TOLD_MAX 100            /* domains with one alert */

static const struct virt_status *view_status(const struct query_view *view)
{
    return usage_status(graph_usage(view->graph));
}

static const char *state_name(const struct virt_domain *domain)
{
    switch (domain->state) {
    case VIRT_SHUT_OFF: return "shut-off";
    case VIRT_RUNNING: return "running";
    case VIRT_PAUSED: return domain->io_error ? "io-error" : "paused";
    case VIRT_OTHER_ACTIVE: return "active";
    case VIRT_CRASHED: return "crashed";
    case VIRT_SAVED: return "saved";
    }
    return NULL;
}

/* ---- what libvirt says of an image ----------------------------------------------------------- */

static const char *kind_name(enum usage_kind kind)
{
    static const char *const names[] = {
        [USAGE_LAYER] = "layer",
        [USAGE_MIRROR] = "copy-target",
        [USAGE_FILE] = "file",
        [USAGE_MADE] = "made-by-snapshot",
        [USAGE_BEFORE] = "before-snapshot",
    };

    return names[kind];
}

void image_domain(const struct query_view *view, const struct image *image, struct row *row)
{
    struct usage usage = graph_image_usage(view->graph, image);
    const struct usage_entry *layer = usage_layer(&usage), *made = usage_made(&usage, NULL);

    if (layer) {
        row_string(row, "domain", layer->domain->name);
        row_string(row, "disk-target", layer->disk->target);
        row_number(row, "disk-layer", layer->layer);
        row_bool(row, "running", layer->live);
    }
    if (made)
        row_string(row, "made-by", made->snapshot->name);
}

int image_role(const struct query_view *view, const struct image *image, bool reason,
               struct row *row)
{
    _cleanup_free_ char *text = NULL;
    enum role role;
    int r = graph_role(view->graph, image, &role, reason ? &text : NULL);

    if (r < 0) {
        row->error = row->error < 0 ? row->error : r;
        return r;
    }
    row_string(row, "role", role_name(role));
    row_string(row, "role-reason", text);
    return 0;
}

int image_users(const struct query_view *view, const struct image *image, json_object **ret_rows)
{
    struct usage usage = graph_image_usage(view->graph, image);
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < usage.n_entries && i < LISTED_MAX; i++) {
        const struct usage_entry *entry = &usage.entries[i];
        struct row row;
        int r;

        row_begin(&row);
        row_string(&row, "kind", kind_name(entry->kind));
        row_string(&row, "domain", entry->domain->name);
        row_string(&row, "connection", usage_domain_uri(view_status(view), entry->domain));
        if (entry->disk)
            row_string(&row, "disk-target", entry->disk->target);
        if (entry->kind == USAGE_LAYER)
            row_number(&row, "disk-layer", entry->layer);
        if (entry->snapshot)
            row_string(&row, "snapshot", entry->snapshot->name);
        row_bool(&row, "running", entry->live);
        row_bool(&row, "writes", entry->writes);
        r = rows_end(rows, &row);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

bool domain_is_there(const struct query_view *view, const char *name)
{
    const struct virt_status *status = view_status(view);
    bool ambiguous = false;

    return status && (virt_find_domain(status, name, &ambiguous) || ambiguous);
}

bool image_is_of_domain(const struct query_view *view, const struct image *image, const char *name)
{
    const struct image *layer = image;

    /* Its own layers, and those above or below that a domain which is shut off does not name. */
    for (size_t n = 0; layer && n < LISTED_MAX; n++) {
        struct usage usage = graph_image_usage(view->graph, layer);
        const struct relation *relation = graph_relation(view->graph, layer);

        for (size_t i = 0; i < usage.n_entries; i++)
            if (strcmp(usage.entries[i].domain->name, name) == 0 ||
                strcmp(usage.entries[i].domain->uuid, name) == 0)
                return true;
        layer = relation && !relation->in_loop && relation->n_children == 1
                    ? graph_child(layer, 0) : NULL;
    }
    return false;
}

/* ---- whose alert it is ----------------------------------------------------------------------- */

struct domain_names {
    char **items;
    size_t n;
};

static int names_add(struct domain_names *names, const char *name, size_t length)
{
    for (size_t i = 0; i < names->n; i++)
        if (strncmp(names->items[i], name, length) == 0 && !names->items[i][length])
            return 0;
    if (names->n == TOLD_MAX)
        return 0;
    if (!names->items)
        names->items = calloc(TOLD_MAX + 1, sizeof(*names->items));
    if (!names->items)
        return -ENOMEM;
    names->items[names->n] = strndup(name, length);
    return names->items[names->n++] ? 0 : -ENOMEM;
}

static int names_add_users(struct domain_names *names, const struct usage *usage)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < usage->n_entries; i++)
        r = names_add(names, usage->entries[i].domain->name,
                      strlen(usage->entries[i].domain->name));
    return r;
}

/* Of a layer also those of the layers above it, which a domain that is shut off does not name. */
static int names_add_image(struct domain_names *names, const struct graph *graph, const char *path)
{
    const struct image *layer = graph_find(graph, path);
    struct usage usage;
    int r = 0;

    if (!layer) {               /* it is gone, and libvirt may name it still */
        usage = usage_find(graph_usage(graph), path);
        return names_add_users(names, &usage);
    }
    for (size_t n = 0; r >= 0 && layer && n < LISTED_MAX; n++) {
        const struct relation *relation = graph_relation(graph, layer);

        usage = graph_image_usage(graph, layer);
        r = names_add_users(names, &usage);
        layer = relation && !relation->in_loop && relation->n_children == 1
                    ? graph_child(layer, 0) : NULL;
    }
    return r;
}

/* Length of the name that usage_domain_subject() put before the connection. */
static size_t subject_name_length(const char *subject)
{
    size_t n = strlen(subject);
    const char *on = NULL;

    for (const char *next = subject; (next = strstr(next, " on ")); next++)
        on = next;
    return on ? (size_t)(on - subject) : n;
}

int query_event_domains(const struct graph *graph, enum subject_kind kind, const char *subject,
                        char ***ret_domains)
{
    struct domain_names names = { .items = NULL };
    int r = 0;

    if (kind == SUBJECT_DOMAIN)
        r = names_add(&names, subject, subject_name_length(subject));
    else if (kind == SUBJECT_IMAGE)
        r = names_add_image(&names, graph, subject);
    if (r < 0) {
        strv_free(names.items);
        return r;
    }
    *ret_domains = names.items;
    return 0;
}

int view_pool_path(const struct query_view *view, const char *name, const char **ret_path)
{
    const struct virt_status *status = view_status(view);

    for (size_t i = 0; status && i < status->n_pools; i++)
        if ((strcmp(status->pools[i].name, name) == 0 ||
             strcmp(status->pools[i].uuid, name) == 0) &&
            status->pools[i].path) {
            *ret_path = status->pools[i].path;
            return 0;
        }
    return -ENOENT;
}

/* ---- findings of a domain -------------------------------------------------------------------- */

struct domain_findings {
    const struct query_view *view;
    json_object *rows;          /* NULL: count alone */
    uint64_t n;
    enum severity worst;
    int error;
};

static void take_finding(void *userdata, const struct finding *finding)
{
    struct domain_findings *all = userdata;
    json_object *row;
    int r;

    all->n++;
    if (finding->severity > all->worst)
        all->worst = finding->severity;
    if (!all->rows || all->n > LISTED_MAX)
        return;
    r = finding_row(all->view, finding, true, &row);
    if (r >= 0)
        r = rows_add(all->rows, row);
    if (r < 0 && all->error == 0)
        all->error = r;
}

/* The domain's own, and those of its disks' images and of their layers. */
static int domain_findings(const struct query_view *view, const struct virt_domain *domain,
                           struct domain_findings *all)
{
    _cleanup_free_ char *subject = usage_domain_subject(view_status(view), domain);
    struct finding *const *findings;

    if (!subject)
        return -ENOMEM;
    findings = findings_of(view->findings, SUBJECT_DOMAIN, subject);
    for (enum finding_type type = 0; findings && type < _FINDING_MAX; type++)
        if (findings[type] && findings[type]->state != FINDING_RESOLVED)
            take_finding(all, findings[type]);
    for (size_t i = 0; i < domain->n_disks; i++) {
        const struct virt_disk *disk = &domain->disks[i];
        const char *path = disk->n_layers > 0 ? disk->layers[0].path : NULL;
        const struct image *image =
            path ? view_find_image(view, usage_path(graph_usage(view->graph), path)) : NULL;

        if (!image)
            continue;
        image_findings(view, image, take_finding, all);
        image_disk_findings(view, image, take_finding, all);
    }
    return all->error;
}

/* ---- domains --------------------------------------------------------------------------------- */

static const struct image *disk_image(const struct query_view *view, const struct virt_disk *disk)
{
    const char *path = disk->n_layers > 0 ? disk->layers[0].path : NULL;

    return path ? view_find_image(view, usage_path(graph_usage(view->graph), path)) : NULL;
}

static int domain_row(const struct query_view *view, const struct virt_domain *domain,
                      struct row *row)
{
    struct domain_findings all = { .view = view };
    uint64_t unconsolidated = 0, depth = 0, allocated = 0;
    int r = domain_findings(view, domain, &all);

    for (size_t i = 0; i < domain->n_disks; i++) {
        const struct image *image = disk_image(view, &domain->disks[i]);
        const struct relation *relation = image ? graph_relation(view->graph, image) : NULL;

        if (!relation)
            continue;
        allocated += image->fingerprint.allocated;
        if (relation->unconsolidated > unconsolidated)
            unconsolidated = relation->unconsolidated;
        if (relation->depth > depth)
            depth = relation->depth;
    }
    row_string(row, "name", domain->name);
    row_string(row, "uuid", domain->uuid);
    row_string(row, "connection", usage_domain_uri(view_status(view), domain));
    row_string(row, "state", state_name(domain));
    row_bool(row, "running", virt_domain_is_active(domain));
    row_bool(row, "persistent", domain->persistent);
    row_number(row, "memory", domain->memory_max);
    row_number(row, "disks", domain->n_disks);
    row_number(row, "depth", depth);
    row_number(row, "unconsolidated", unconsolidated);
    row_number(row, "allocated", allocated);
    row_number(row, "snapshots", domain->n_snapshots);
    row_number(row, "checkpoints", domain->n_checkpoints);
    row_string(row, "error-text", domain->error);
    row_number(row, "findings", all.n);
    if (all.n > 0)
        row_string(row, "severity", severity_name(all.worst));
    if (r < 0 && row->error == 0)
        row->error = r;
    return row->error;
}

int query_domains(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                  char **ret_next)
{
    const struct virt_status *status = view_status(view);
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; status && i < status->n_domains; i++) {
        struct row row;
        int r;

        row_begin(&row);
        (void)domain_row(view, &status->domains[i], &row);
        r = rows_end(rows, &row);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static int disks_rows(const struct query_view *view, const struct virt_domain *domain,
                      json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < domain->n_disks && i < LISTED_MAX; i++) {
        const struct virt_disk *disk = &domain->disks[i];
        const struct virt_layer *source = disk->n_layers > 0 ? &disk->layers[0] : NULL;
        const struct usage_entry *entry = usage_of_layer(graph_usage(view->graph), disk, 0);
        const struct image *image = disk_image(view, disk);
        struct row row;
        int r;

        row_begin(&row);
        row_string(&row, "disk-target", disk->target);
        row_string(&row, "device", disk->device);
        row_string(&row, "path", image ? image->path : source ? source->path : NULL);
        if (source && !source->path)
            row_string(&row, "source", source->name ? source->name : source->volume);
        row_string(&row, "format", source ? source->format : NULL);
        row_bool(&row, "read-only", disk->read_only);
        row_bool(&row, "shareable", disk->shareable);
        row_number(&row, "layers", disk->n_layers);
        row_string(&row, "job", disk->job.type);
        if (disk->job.type)
            row_bool(&row, "job-ready", disk->job.ready);
        row_string(&row, "error-text", disk->error);
        row_number(&row, "capacity", disk->capacity);
        if (entry && entry->missing)
            row_bool(&row, "missing", true);
        if (image) {
            const struct relation *relation = graph_relation(view->graph, image);

            row_string(&row, "datastore", image->datastore->name);
            row_number(&row, "allocated", image->fingerprint.allocated);
            if (relation) {
                row_number(&row, "depth", relation->depth);
                row_number(&row, "unconsolidated", relation->unconsolidated);
            }
        }
        r = rows_end(rows, &row);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static const char *snapshot_kind(const struct virt_snapshot *snapshot)
{
    bool internal = snapshot->memory_internal, external = snapshot->memory_path;

    for (size_t i = 0; i < snapshot->n_disks; i++) {
        internal |= snapshot->disks[i].kind == VIRT_SNAPSHOT_INTERNAL;
        external |= snapshot->disks[i].kind == VIRT_SNAPSHOT_EXTERNAL;
    }
    return internal && external ? "mixed" : external ? "external" : internal ? "internal" : "none";
}

static int snapshots_rows(const struct virt_domain *domain, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < domain->n_snapshots && i < LISTED_MAX; i++) {
        const struct virt_snapshot *snapshot = &domain->snapshots[i];
        struct row row;
        int r;

        row_begin(&row);
        row_string(&row, "name", snapshot->name);
        row_string(&row, "kind", snapshot_kind(snapshot));
        if (snapshot->created > 0)
            row_number(&row, "created", snapshot->created);
        row_bool(&row, "is-current", snapshot->current);
        if (snapshot->deleting)
            row_bool(&row, "deleting", true);
        r = rows_end(rows, &row);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

int query_domain(const struct query_view *view, const struct asked *asked, json_object **ret_entry,
                 char **ret_next)
{
    const struct virt_status *status = view_status(view);
    struct domain_findings all = { .view = view };
    const struct virt_domain *domain;
    json_object *value = NULL;
    bool ambiguous = false;
    struct row row;
    int r;

    domain = status ? virt_find_domain(status, asked->name, &ambiguous) : NULL;
    if (!domain)
        return ambiguous ? -EINVAL : -ENOENT;
    row_begin(&row);
    (void)domain_row(view, domain, &row);
    r = disks_rows(view, domain, &value);
    row_result(&row, "disks-list", r, value);
    r = snapshots_rows(domain, &value);
    row_result(&row, "snapshots-list", r, value);
    all.rows = json_object_new_array();
    r = all.rows ? domain_findings(view, domain, &all) : -ENOMEM;
    if (r < 0)
        json_object_put(TAKE_PTR(all.rows));
    row_result(&row, "findings-list", r, all.rows);
    return row_end(&row, ret_entry);
}
