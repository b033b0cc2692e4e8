/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt says of each image: an index by path over one snapshot of libvirt's knowledge. */
#include "daemon/virt/usage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

struct usage_index {
    struct virt_status *status;
    struct usage_entry *entries;        /* by path, then live ones first, then by kind and layer */
    size_t n_entries, n_allocated;
    struct alias { const char *from; char *to; } *aliases;      /* by from, once it is made */
    size_t n_aliases;
    usage_look_fn look;         /* while it is made */
    void *look_userdata;
    const struct usage_index *before;
    void (*each)(void *userdata, const char *path);     /* instead of gathering */
    bool complete;
};

/* ---- digests of what may change a judgement -------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *byte = bytes;

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_number(uint64_t hash, uint64_t number)
{
    return hash_bytes(hash, &number, sizeof(number));
}

/* With its end: "a" and "b" are not "ab". */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    return text ? hash_bytes(hash, text, strlen(text) + 1) : hash_number(hash, 0);
}

static uint64_t entry_digest(const struct usage_entry *entry)
{
    const struct virt_domain *domain = entry->domain;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    hash = hash_number(hash,
                       (uint64_t)entry->kind << 2 | (uint64_t)entry->live << 1 | entry->writes);
    hash = hash_number(hash, entry->layer);
    hash = hash_text(hash, domain->uuid);
    hash = hash_text(hash, domain->name);
    hash = hash_number(hash, domain->connection);
    hash = hash_number(hash, (uint64_t)(uint32_t)domain->id << 8 | domain->state);
    hash = hash_number(hash, domain->migrating);
    hash = hash_number(hash, (uint64_t)entry->pending << 1 | entry->missing);
    if (entry->disk) {
        const struct virt_disk *disk = entry->disk;

        hash = hash_text(hash, disk->target);
        hash = hash_text(hash, disk->device);
        hash = hash_number(hash, (uint64_t)disk->read_only << 2 | (uint64_t)disk->shareable << 1 |
                                     disk->transient);
        hash = hash_text(hash, disk->job.type);
        hash = hash_number(hash, disk->job.ready);
        if (entry->kind == USAGE_LAYER)
            hash = hash_text(hash, disk->layers[entry->layer].format);
    }
    if (entry->snapshot) {
        hash = hash_text(hash, entry->snapshot->name);
        hash = hash_number(hash, entry->snapshot->created);
        hash = hash_number(hash, entry->snapshot->deleting);
    }
    return hash;
}

/* ---- gathering ------------------------------------------------------------------------------- */

/* Keeps the identity that the last index noted of the same layer in the same run of the domain. */
static void entry_keep_note(const struct usage_index *before, struct usage_entry *entry)
{
    struct usage usage = usage_find(before, entry->path);

    for (size_t i = 0; i < usage.n_entries; i++) {
        const struct usage_entry *old = &usage.entries[i];

        if (old->noted && old->run == entry->run &&
            strcmp(old->domain->uuid, entry->domain->uuid) == 0) {
            entry->noted = true;
            entry->identity = old->identity;
            return;
        }
    }
}

static int gather(struct usage_index *index, const char *path, struct usage_entry entry)
{
    struct usage_file file = { .path = NULL };

    if (!path || path[0] != '/')
        return 0;
    if (index->each) {
        index->each(index->look_userdata, path);
        return 0;
    }
    if (index->look)
        index->look(index->look_userdata, path, &file);
    entry.path = path;
    entry.missing = file.missing;
    entry.pending = file.pending;
    entry.run = entry.domain->id;
    if (file.path && strcmp(file.path, path) != 0) {
        struct alias *aliases = reallocarray(index->aliases, index->n_aliases + 1,
                                             sizeof(*aliases));

        if (!aliases)
            return -ENOMEM;
        index->aliases = aliases;
        aliases[index->n_aliases] = (struct alias){ .from = path, .to = strdup(file.path) };
        if (!aliases[index->n_aliases].to)
            return -ENOMEM;
        entry.path = aliases[index->n_aliases++].to;
    }
    if (entry.live && entry.kind == USAGE_LAYER) {
        entry.noted = file.known;
        entry.identity = file.identity;
        entry_keep_note(index->before, &entry);
    }
    if (index->n_entries == index->n_allocated) {
        size_t n = index->n_allocated > 0 ? index->n_allocated * 2 : 64;
        struct usage_entry *entries = reallocarray(index->entries, n, sizeof(*entries));

        if (!entries)
            return -ENOMEM;
        index->entries = entries;
        index->n_allocated = n;
    }
    entry.digest = entry_digest(&entry);
    index->entries[index->n_entries++] = entry;
    return 0;
}

static int gather_disks(struct usage_index *index, const struct virt_domain *domain,
                        const struct virt_disk *disks, size_t n_disks, bool live)
{
    int r = 0;

    for (size_t i = 0; i < n_disks && r >= 0; i++) {
        const struct virt_disk *disk = &disks[i];
        struct usage_entry entry = { .live = live, .domain = domain, .disk = disk };
        bool read_only = disk->read_only || virt_disk_is_medium(disk);

        for (size_t layer = 0; layer < disk->n_layers && r >= 0; layer++) {
            entry.kind = USAGE_LAYER;
            entry.layer = layer;
            /* A commit writes a layer further down; which one, libvirt does not tell in the disk's
             * XML. */
            entry.writes = layer == 0 ? !read_only && !disk->transient
                                      : live && disk->job.type && strstr(disk->job.type, "commit");
            r = gather(index, disk->layers[layer].path, entry);
            if (r >= 0 && disk->layers[layer].data_file) {
                entry.kind = USAGE_FILE;
                r = gather(index, disk->layers[layer].data_file, entry);
            }
        }
        entry.layer = 0;
        if (r >= 0 && disk->job.mirror) {
            entry.kind = USAGE_MIRROR;
            entry.writes = live;
            r = gather(index, disk->job.mirror, entry);
        }
    }
    return r;
}

static int gather_snapshot(struct usage_index *index, const struct virt_domain *domain,
                           const struct virt_snapshot *snapshot)
{
    struct usage_entry entry = { .kind = USAGE_FILE, .domain = domain, .snapshot = snapshot };
    int r = gather(index, snapshot->memory_path, entry);

    for (size_t i = 0; i < snapshot->n_disks && r >= 0; i++) {
        if (snapshot->disks[i].kind != VIRT_SNAPSHOT_EXTERNAL)
            continue;
        entry.kind = USAGE_MADE;
        r = gather(index, snapshot->disks[i].path, entry);
        entry.kind = USAGE_BEFORE;
        if (r >= 0)
            r = gather(index, snapshot->disks[i].before, entry);
    }
    return r;
}

static int gather_domain(struct usage_index *index, const struct virt_domain *domain)
{
    bool active = virt_domain_is_active(domain);
    int r = gather_disks(index, domain, domain->disks, domain->n_disks, active);

    if (r >= 0)
        r = gather_disks(index, domain, domain->defined_disks, domain->n_defined_disks, false);
    for (char **file = domain->files; file && *file && r >= 0; file++)
        r = gather(index, *file,
                   (struct usage_entry){ .kind = USAGE_FILE, .live = active, .domain = domain });
    for (char **file = domain->backup_files; file && *file && r >= 0; file++)
        r = gather(index, *file,
                   (struct usage_entry){
                       .kind = USAGE_FILE, .live = active, .writes = true, .domain = domain });
    for (size_t i = 0; i < domain->n_snapshots && r >= 0; i++)
        r = gather_snapshot(index, domain, &domain->snapshots[i]);
    return r;
}

static int compare_values(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_entries(const void *a, const void *b)
{
    const struct usage_entry *x = a, *y = b;
    int r = strcmp(x->path, y->path);

    if (r == 0)
        r = compare_values(y->live, x->live);
    if (r == 0)
        r = compare_values(x->kind, y->kind);
    if (r == 0)
        r = compare_values(x->layer, y->layer);
    if (r == 0)
        r = strcmp(x->domain->name, y->domain->name);
    return r != 0 ? r : compare_values(x->digest, y->digest);
}

static int compare_aliases(const void *a, const void *b)
{
    const struct alias *x = a, *y = b;

    return strcmp(x->from, y->from);
}

static bool status_is_complete(const struct virt_status *status)
{
    for (size_t i = 0; i < status->n_connections; i++)
        if (!status->connections[i].connected || !status->connections[i].complete ||
            status->connections[i].n_left_out > 0)
            return false;
    for (size_t i = 0; i < status->n_domains; i++)
        if (status->domains[i].error)
            return false;
    return status->n_connections > 0;
}

void usage_paths(const struct virt_status *status, void (*each)(void *userdata, const char *path),
                 void *userdata)
{
    struct usage_index index = { .each = each, .look_userdata = userdata };

    for (size_t i = 0; status && i < status->n_domains; i++)
        (void)gather_domain(&index, &status->domains[i]);       /* fails for lack of memory only,
                                                                 * and needs none */
}

int usage_index_new(struct virt_status *status, const struct usage_index *before,
                    usage_look_fn look, void *userdata, struct usage_index **ret_index)
{
    struct usage_index *index = calloc(1, sizeof(*index));
    int r = 0;

    if (!index)
        return -ENOMEM;
    index->status = virt_status_ref(status);
    index->look = look;
    index->look_userdata = userdata;
    index->before = before;
    for (size_t i = 0; status && i < status->n_domains && r >= 0; i++)
        r = gather_domain(index, &status->domains[i]);
    if (r < 0) {
        usage_index_free(index);
        return r;
    }
    index->look = NULL;
    index->before = NULL;
    index->complete = status && status_is_complete(status);
    if (index->n_entries > 0)
        qsort(index->entries, index->n_entries, sizeof(*index->entries), compare_entries);
    if (index->n_aliases > 0)
        qsort(index->aliases, index->n_aliases, sizeof(*index->aliases), compare_aliases);
    *ret_index = index;
    return 0;
}

struct usage_index *usage_index_free(struct usage_index *index)
{
    if (!index)
        return NULL;
    for (size_t i = 0; i < index->n_aliases; i++)
        free(index->aliases[i].to);
    free(index->aliases);
    free(index->entries);
    virt_status_unref(index->status);
    free(index);
    return NULL;
}

const struct virt_status *usage_status(const struct usage_index *index)
{
    return index ? index->status : NULL;
}

bool usage_is_complete(const struct usage_index *index)
{
    return index && index->complete;
}

/* ---- searching and comparing ----------------------------------------------------------------- */

/* The entries with the same path as the one at first. */
static struct usage usage_at(const struct usage_index *index, size_t first)
{
    size_t end = first;

    if (!index || first >= index->n_entries)
        return (struct usage){ .n_entries = 0 };
    while (end < index->n_entries &&
           strcmp(index->entries[end].path, index->entries[first].path) == 0)
        end++;
    return (struct usage){ .entries = &index->entries[first], .n_entries = end - first };
}

struct usage usage_find(const struct usage_index *index, const char *path)
{
    size_t low = 0, high = index ? index->n_entries : 0;
    struct usage usage;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(index->entries[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    usage = usage_at(index, low);
    return usage.n_entries > 0 && strcmp(usage.entries[0].path, path) == 0
               ? usage
               : (struct usage){ .n_entries = 0 };
}

const char *usage_path(const struct usage_index *index, const char *path)
{
    const struct alias key = { .from = path }, *found;

    if (!index || index->n_aliases == 0)
        return path;
    found = bsearch(&key, index->aliases, index->n_aliases, sizeof(key), compare_aliases);
    return found ? found->to : path;
}

const struct usage_entry *usage_of_layer(const struct usage_index *index,
                                         const struct virt_disk *disk, size_t layer)
{
    const char *path = layer < disk->n_layers ? disk->layers[layer].path : NULL;
    struct usage usage = { .n_entries = 0 };

    if (path && path[0] == '/')
        usage = usage_find(index, usage_path(index, path));
    for (size_t i = 0; i < usage.n_entries; i++)
        if (usage.entries[i].kind == USAGE_LAYER && usage.entries[i].disk == disk &&
            usage.entries[i].layer == layer)
            return &usage.entries[i];
    return NULL;
}

static bool usage_equal(const struct usage *a, const struct usage *b)
{
    if (a->n_entries != b->n_entries)
        return false;
    for (size_t i = 0; i < a->n_entries; i++)
        if (a->entries[i].digest != b->entries[i].digest)
            return false;
    return true;
}

void usage_index_compare(const struct usage_index *before, const struct usage_index *now,
                         void (*changed)(void *userdata, const char *path), void *userdata)
{
    struct usage a = usage_at(before, 0), b = usage_at(now, 0);
    size_t i = 0, k = 0;

    while (a.n_entries > 0 || b.n_entries > 0) {
        int order = a.n_entries == 0   ? 1
                    : b.n_entries == 0 ? -1
                                       : strcmp(a.entries[0].path, b.entries[0].path);

        if (order != 0 || !usage_equal(&a, &b))
            changed(userdata, order <= 0 ? a.entries[0].path : b.entries[0].path);
        if (order <= 0)
            a = usage_at(before, i += a.n_entries);
        if (order >= 0)
            b = usage_at(now, k += b.n_entries);
    }
}

/* ---- what follows for an image --------------------------------------------------------------- */

const struct usage_entry *usage_source(const struct usage *usage)
{
    for (size_t i = 0; i < usage->n_entries; i++)
        if (usage->entries[i].kind == USAGE_LAYER && usage->entries[i].layer == 0)
            return &usage->entries[i];
    return NULL;
}

const struct usage_entry *usage_layer(const struct usage *usage)
{
    const struct usage_entry *source = usage_source(usage);

    for (size_t i = 0; i < usage->n_entries; i++)
        if (usage->entries[i].kind == USAGE_LAYER &&
            (!source || usage->entries[i].live > source->live))
            return &usage->entries[i];
    return source;
}

const struct usage_entry *usage_writer(const struct usage *usage)
{
    for (size_t i = 0; i < usage->n_entries; i++)
        if (usage->entries[i].live && usage->entries[i].writes &&
            usage->entries[i].kind != USAGE_FILE)
            return &usage->entries[i];
    return NULL;
}

const struct usage_entry *usage_made(const struct usage *usage, const struct virt_domain *by_domain)
{
    for (size_t i = 0; i < usage->n_entries; i++)
        if (usage->entries[i].kind == USAGE_MADE &&
            (!by_domain || usage->entries[i].domain == by_domain))
            return &usage->entries[i];
    return NULL;
}

bool usage_is_medium(const struct usage *usage)
{
    for (size_t i = 0; i < usage->n_entries; i++)
        if (usage->entries[i].kind != USAGE_LAYER || !virt_disk_is_medium(usage->entries[i].disk))
            return false;
    return usage->n_entries > 0;
}

enum files_use usage_use(const struct usage *usage)
{
    enum files_use use = FILES_UNUSED;

    for (size_t i = 0; i < usage->n_entries; i++) {
        const struct usage_entry *entry = &usage->entries[i];

        if (!entry->live || entry->kind == USAGE_FILE || entry->kind == USAGE_MADE ||
            entry->kind == USAGE_BEFORE)
            continue;
        if (entry->writes)
            return FILES_WRITER;
        use = FILES_FROZEN;
    }
    return use;
}

const char *usage_domain_uri(const struct virt_status *status, const struct virt_domain *domain)
{
    return domain->connection < status->n_connections ? status->connections[domain->connection].uri
                                                      : "";
}

char *usage_domain_subject(const struct virt_status *status, const struct virt_domain *domain)
{
    char *subject;

    return asprintf(&subject, "%s on %s", domain->name, usage_domain_uri(status, domain)) < 0
               ? NULL
               : subject;
}
