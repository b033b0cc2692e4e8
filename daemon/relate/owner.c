/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which images are left over: nothing refers to them, and everything that could refer to them was
 * read. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "daemon/relate/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define TREE_MAX 100000         /* layers that are looked at for one answer */
/* A snapshot of a running guest: the overlay is made first, then QEMU moves to it. */
#define SNAPSHOT_SLACK (INT64_C(60) * (int64_t)NSEC_PER_SEC)

/* ---- where libvirt's word counts ------------------------------------------------------------- */

/* A folder in which libvirt names images: the source of a domain's disk lies there, or it is a
 * pool's. All point into the status. */
struct owned {
    const char *path;           /* of the source, or of the pool's folder */
    size_t n_folder;            /* bytes of the folder's path; 0: the root */
    bool source;                /* path is of a disk's source */
};

struct owners {
    struct owned *folders;      /* by folder */
    size_t n_folders, n_allocated;
    const char **lost;          /* names of sources that are not there, sorted: one may lie
                                 * elsewhere under its name */
    size_t n_lost;
    bool unread;                /* some disk's layers are known neither to libvirt nor to the graph:
                                 * they could be any images */
    bool pending;               /* the same, until a source was looked up, or a datastore walked */
};

static const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) : 0;
}

static int compare_folders(const char *a, size_t n_a, const char *b, size_t n_b)
{
    int r = memcmp(a, b, n_a < n_b ? n_a : n_b);

    return r != 0 ? r : n_a < n_b ? -1 : n_a > n_b;
}

static int compare_owned(const void *a, const void *b)
{
    const struct owned *x = a, *y = b;

    return compare_folders(x->path, x->n_folder, y->path, y->n_folder);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct owners *owners_free(struct owners *owners)
{
    if (!owners)
        return NULL;
    free(owners->folders);
    free(owners->lost);
    free(owners);
    return NULL;
}

static int owners_add(struct owners *owners, const char *path, size_t n_folder, bool source)
{
    if (owners->n_folders == owners->n_allocated) {
        size_t n = owners->n_allocated > 0 ? 2 * owners->n_allocated : 64;
        struct owned *grown = reallocarray(owners->folders, n, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        owners->folders = grown;
        owners->n_allocated = n;
    }
    owners->folders[owners->n_folders++] =
        (struct owned){ .path = path, .n_folder = n_folder, .source = source };
    return 0;
}

static int owners_add_lost(struct owners *owners, const char *name)
{
    const char **grown = reallocarray(owners->lost, owners->n_lost + 1, sizeof(*grown));

    if (!grown)
        return -ENOMEM;
    owners->lost = grown;
    owners->lost[owners->n_lost++] = name;
    return 0;
}

/* Does libvirt itself name all layers of the disk, or are there none below its source? */
static bool disk_is_told(const struct virt_disk *disk)
{
    const char *format = disk->layers[0].format;

    return (format && strcmp(format, "raw") == 0) || (disk->complete && disk->n_layers > 1);
}

static int owners_add_disk(struct owners *owners, const struct graph *graph,
                           const struct usage_index *index, const struct virt_disk *disk)
{
    const struct usage_entry *entry = usage_of_layer(index, disk, 0);
    const struct image *image;

    if (disk->n_layers == 0 || virt_disk_is_medium(disk))
        return 0;
    if (!entry) {               /* of the network, or what libvirt could not tell the path of */
        owners->unread |= disk->layers[0].source == VIRT_SOURCE_VOLUME && !disk_is_told(disk);
        return 0;
    }
    image = graph_find(graph, entry->path);
    owners->pending |= entry->pending;
    if (entry->missing) {
        if (!image || !image->present)
            return owners_add_lost(owners, path_name(entry->path));
    } else if ((!image || !image->present) && !disk_is_told(disk)) {
        owners->unread = true;
    }
    return owners_add(owners, entry->path, folder_length(entry->path), true);
}

static int owners_fill(struct owners *owners, const struct graph *graph,
                       const struct usage_index *index)
{
    const struct virt_status *status = usage_status(index);
    int r = 0;

    for (size_t i = 0; i < status->n_domains && r >= 0; i++) {
        const struct virt_domain *domain = &status->domains[i];

        for (size_t k = 0; k < domain->n_disks && r >= 0; k++)
            r = owners_add_disk(owners, graph, index, &domain->disks[k]);
        for (size_t k = 0; k < domain->n_defined_disks && r >= 0; k++)
            r = owners_add_disk(owners, graph, index, &domain->defined_disks[k]);
    }
    for (size_t i = 0; i < status->n_pools && r >= 0; i++) {
        const struct virt_pool *pool = &status->pools[i];

        if (pool->path && pool->path[0] == '/' && virt_pool_kind(pool->type) == VIRT_POOL_FILES) {
            size_t n = strlen(pool->path);

            while (n > 0 && pool->path[n - 1] == '/')
                n--;
            r = owners_add(owners, pool->path, n, false);
        }
    }
    /* A datastore that is to be walked may hold what is not found. */
    owners->pending |= owners->unread && !graph_datastores_are_read(graph);
    if (r >= 0 && owners->n_folders > 0)
        qsort(owners->folders, owners->n_folders, sizeof(*owners->folders), compare_owned);
    if (r >= 0 && owners->n_lost > 0)
        qsort(owners->lost, owners->n_lost, sizeof(*owners->lost), compare_names);
    return r;
}

/* Is it the same as before, as far as an answer depends on it? */
static bool owners_equal(const struct owners *a, const struct owners *b)
{
    size_t i = 0, k = 0;

    if (!a || !b)
        return a == b;
    if (a->unread != b->unread || a->pending != b->pending || a->n_lost != b->n_lost)
        return false;
    for (size_t n = 0; n < a->n_lost; n++)
        if (strcmp(a->lost[n], b->lost[n]) != 0)
            return false;
    while (i < a->n_folders && k < b->n_folders) {
        const struct owned *x = &a->folders[i], *y = &b->folders[k];

        if (compare_owned(x, y) != 0)
            return false;
        while (i < a->n_folders && compare_owned(&a->folders[i], x) == 0)
            i++;
        while (k < b->n_folders && compare_owned(&b->folders[k], y) == 0)
            k++;
    }
    return i == a->n_folders && k == b->n_folders;
}

void graph_note_owners(struct graph *graph)
{
    struct owners *owners = NULL, *old = graph->owners;

    if (usage_is_complete(graph->usage)) {
        owners = calloc(1, sizeof(*owners));
        /* Without memory nothing is known, and nothing is left over. */
        if (owners && owners_fill(owners, graph, graph->usage) < 0)
            owners = owners_free(owners);
    }
    if (!owners_equal(owners, old))
        graph->doubts_changed = true;
    graph->owners = owners;
    owners_free(old);
}

/* The first of those in the folder; NULL none. */
static const struct owned *owners_find(const struct owners *owners, const char *path, size_t n)
{
    size_t low = 0, high = owners->n_folders;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct owned *owned = &owners->folders[middle];

        if (compare_folders(owned->path, owned->n_folder, path, n) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < owners->n_folders && compare_folders(owners->folders[low].path,
                                                   owners->folders[low].n_folder, path, n) == 0)
        return &owners->folders[low];
    return NULL;
}

/* How other managers lay out and name what they own. Whatever libvirt says of what lies around it,
 * it knows nothing of these. */
static bool layout_is_others(const char *path)
{
    static const char *const places[] = {
        /* GNS3 */ "*/project-files/*", "*/images/QEMU/*", "*/images/IO[SU]/*",
        /* EVE-NG, PNETLab */ "*/addons/qemu/*", "*/unetlab/*",
        /* OpenStack */ "*/_base/*",
        /* vagrant, terraform, packer, minikube, docker */
        "*/.vagrant.d/*", "*/.terraform/*", "*/packer_cache/*", "*/.minikube/*",
        /* Proxmox */ "*/images/[0-9]*/*", "*/template/*", "*/private/[0-9]*/*",
        /* what is kept on purpose */ "*/backup/*", "*/backups/*", "*/archive/*",
    };
    static const char *const names[] = {
        /* Proxmox */
        "vm-[0-9]*-disk-*", "vm-[0-9]*-cloudinit*", "vm-[0-9]*-state-*", "base-[0-9]*-disk-*",
        /* GNS3's and EVE-NG's nodes */
        "hd[a-d]_disk.qcow2", "virtio[a-z].qcow2", "sata[a-z].qcow2", "scsi[a-z].qcow2",
        "megasas[a-z].qcow2", "hd[a-d].qcow2",
    };

    for (size_t i = 0; i < ELEMENTSOF(places); i++)
        if (fnmatch(places[i], path, 0) == 0)
            return true;
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (fnmatch(names[i], path_name(path), 0) == 0)
            return true;
    return false;
}

/* Would a manager that gives each machine a folder of its own have named both? "web1/web1.qcow2"
 * and "web2/web2.qcow2", or "disk" and "disk". */
static bool shapes_equal(const char *a, size_t n_a, const char *b, size_t n_b)
{
    const char *folder_a = memrchr(a, '/', n_a), *folder_b = memrchr(b, '/', n_b);
    const char *name_a = path_name(a), *name_b = path_name(b);
    size_t n_folder_a = folder_a ? (size_t)(a + n_a - folder_a - 1) : n_a,
           n_folder_b = folder_b ? (size_t)(b + n_b - folder_b - 1) : n_b;

    if (strcmp(name_a, name_b) == 0)
        return true;
    return n_folder_a > 0 && n_folder_b > 0 &&
           strncmp(name_a, a + n_a - n_folder_a, n_folder_a) == 0 &&
           strncmp(name_b, b + n_b - n_folder_b, n_folder_b) == 0 &&
           strcmp(name_a + n_folder_a, name_b + n_folder_b) == 0;
}

/* Does libvirt name images in folders next to this one, or right below it? */
static bool owners_have_near(const struct owners *owners, const char *path, size_t n_folder)
{
    const char *up = memrchr(path, '/', n_folder);
    size_t n_up = up ? (size_t)(up - path) : 0;

    for (size_t i = 0; i < owners->n_folders; i++) {
        const struct owned *owned = &owners->folders[i];
        const char *above;

        if (!owned->source)
            continue;
        above = memrchr(owned->path, '/', owned->n_folder);
        if (!above)
            continue;
        if ((size_t)(above - owned->path) == n_folder &&
            strncmp(owned->path, path, n_folder) == 0)
            return true;
        if ((size_t)(above - owned->path) == n_up && strncmp(owned->path, path, n_up) == 0 &&
            shapes_equal(owned->path, owned->n_folder, path, n_folder))
            return true;
    }
    return false;
}

/* Was what names the owners of images there read completely? Not for what other managers keep in
 * the same datastore. */
static bool owners_know(const struct graph *graph, const struct image *image)
{
    const struct owners *owners = graph->owners;
    size_t n = folder_length(image->path), least;

    if (owners && owners->unread)
        return false;
    if (records_know(graph, image))
        return true;
    if (!owners)
        return false;
    if (owners_find(owners, image->path, n))
        return true;
    if (layout_is_others(image->path))
        return false;
    least = image->datastore && image->datastore->path ? strlen(image->datastore->path) : n;
    while (n > least) {
        const char *up = memrchr(image->path, '/', n);

        n = up ? (size_t)(up - image->path) : 0;
        if (owners_find(owners, image->path, n))
            return true;
    }
    return owners_have_near(owners, image->path, folder_length(image->path));
}

bool owners_are_pending(const struct owners *owners)
{
    return owners->pending;
}

bool owners_miss(const struct owners *owners, const char *name)
{
    return owners && owners->n_lost > 0 &&
           bsearch(&name, owners->lost, owners->n_lost, sizeof(name), compare_names);
}

/* ---- what is left over ----------------------------------------------------------------------- */

/* Names that the graph does not know of may be in use as well as those that it knows. */
static bool has_other_names(const struct graph *graph, const struct node *node)
{
    struct seat *seat = spot_first(graph, seat_spot(&node->seats[SEAT_IDENTITY]));
    uint32_t known = 0;

    if (node->image->fingerprint.links < 2)
        return false;
    for (; seat; seat = seat_next(seat)) {
        const struct node *other = seat_node(seat);

        if (other != node &&
            (other->n_children > 0 || other->image->use != FILES_UNUSED ||
             graph_image_usage(graph, other->image).n_entries > 0))
            return true;
        known++;
    }
    return node->image->fingerprint.links > known;
}

/* An overlay that was parted from what it stands on is what survived of a disk; a template may be
 * waiting for its next clone. */
static bool node_is_free(const struct graph *graph, const struct node *node)
{
    const struct image *image = node->image;
    const struct relation *relation = &node->relation;

    return image->present && image_layer(image) && relation->complete && !relation->golden &&
           !relation->pending && !relation->in_loop && !relation->above_loop &&
           S_ISREG(image->fingerprint.mode) &&
           graph_use(graph, image) == FILES_UNUSED && !path_is_kept(image->path) &&
           !(node->kind_flags & (KIND_PLACE | KIND_NAME)) &&
           (!image->datastore || !image->datastore->root.network || records_know(graph, image)) &&
           graph_image_usage(graph, image).n_entries == 0 && !graph_is_data_file(graph, image) &&
           !record_owns(graph, image) && !image_is_tracking(image) && !node->record &&
           !has_other_names(graph, node) && !image_is_meant(graph, image);
}

/* Are the overlay and its parent one disk, as far as is known? A template is nobody's leftover
 * because a clone is. */
static bool node_joins_parent(const struct node *node)
{
    return node->parent && !node->parent->relation.golden &&
           node->relation.kind != RELATION_CLONE;
}

/* Is the overlay a later state of a disk that a domain, or a virtual machine, has as it was before?
 * With a definition that is older than the disk, from a backup say, it is the newest data that
 * nothing refers to. When the parent was written after the overlay was made, as by a merge, it is
 * no state of anything. */
static bool node_is_later_state(const struct graph *graph, const struct node *node)
{
    int64_t birth = image_birth(node->image), slack = SNAPSHOT_SLACK;
    struct usage usage;
    bool disk;

    if (!node_joins_parent(node))
        return false;
    disk = graph_machine(graph, node->parent->image);
    usage = graph_image_usage(graph, node->parent->image);
    for (size_t i = 0; i < usage.n_entries; i++) {
        const struct usage_entry *entry = &usage.entries[i];

        if (entry->kind != USAGE_LAYER || entry->layer != 0)
            continue;
        disk = true;
        if (entry->live && entry->writes)
            slack = 0;
    }
    if (birth == 0)
        birth = node->image->fingerprint.mtime;
    return disk && node->parent->image->fingerprint.mtime <= birth + slack;
}

/* Calls back for the node and all overlays above it, the parents first; false when the callback
 * did, or there are too many. */
static bool tree_each(const struct node *root,
                      bool (*each)(void *userdata, const struct node *node), void *userdata)
{
    _cleanup_free_ const struct node **queue = NULL;
    size_t n = 0, n_allocated = 0, at = 0;
    const struct node *node = root;

    for (;;) {
        if (!each(userdata, node) || n > TREE_MAX)
            return false;
        for (size_t i = 0; i < node->n_children; i++) {
            if (n == n_allocated) {
                size_t wanted = n_allocated > 0 ? 2 * n_allocated : 16;
                const struct node **grown = reallocarray(queue, wanted, sizeof(*grown));

                if (!grown)
                    return false;
                queue = grown;
                n_allocated = wanted;
            }
            queue[n++] = image_node(node->children[i]);
        }
        if (at == n)
            return true;
        node = queue[at++];
    }
}

/* Of a tree of layers. What tells whose one layer is, as the name of a machine's disk in a folder
 * of its own, tells it of those beside it. */
struct freedom {
    const struct graph *graph;
    const struct image *root;
    bool all_known, any_known, one_folder;
};

static bool each_is_free(void *userdata, const struct node *node)
{
    struct freedom *freedom = userdata;
    bool known;

    if (!node_is_free(freedom->graph, node))
        return false;
    known = owners_know(freedom->graph, node->image);
    freedom->all_known &= known;
    freedom->any_known |= known;
    freedom->one_folder &= path_same_folder(freedom->root->path, node->image->path);
    return freedom->all_known || freedom->one_folder;
}

static bool tree_is_free(const struct graph *graph, const struct node *node)
{
    struct freedom freedom = { .graph = graph, .root = node->image, .all_known = true,
                               .one_folder = true };

    return tree_each(node, each_is_free, &freedom) && (freedom.all_known || freedom.any_known);
}

bool graph_is_unused(const struct graph *graph, const struct image *image)
{
    const struct node *node = image_node(image);

    if (!node || !graph_knows_owners(graph, image) || record_has_above(graph, image) ||
        !tree_is_free(graph, node))
        return false;
    for (unsigned n = 0; n < TREE_MAX && node_joins_parent(node) &&
                         node_is_free(graph, node->parent); n++)
        node = node->parent;
    return !node_is_later_state(graph, node);
}

struct image *graph_unused_base(const struct graph *graph, const struct image *image)
{
    const struct node *node = image_node(image);

    if (!graph_is_unused(graph, image))
        return NULL;
    for (unsigned n = 0; n < TREE_MAX && node_joins_parent(node) &&
                         tree_is_free(graph, node->parent); n++)
        node = node->parent;
    return node->image;
}

struct gathering {
    struct image **images;
    size_t n, max;
};

static bool each_gathers(void *userdata, const struct node *node)
{
    struct gathering *gathering = userdata;

    if (gathering->n < gathering->max)
        gathering->images[gathering->n] = node->image;
    gathering->n++;
    return true;
}

size_t graph_tree(const struct image *base, struct image **ret_images, size_t max)
{
    struct gathering gathering = { .images = ret_images, .max = max };

    if (image_node(base))
        (void)tree_each(image_node(base), each_gathers, &gathering);
    return gathering.n;
}

/* What is judged with the base of its tree: whoever stands below a node that changed is told, even
 * one that it has become no layer of, as a clone. */
static void node_tell_below(struct graph *graph, struct node *node)
{
    for (unsigned n = 0; n < TREE_MAX && node->parent; n++) {
        node = node->parent;
        if ((node->flags & NODE_TOLD_BELOW) ||
            graph_image_usage(graph, node->image).n_entries > 0)
            return;
        node_mark_related(graph, node, NODE_TELL | NODE_TOLD_BELOW);
    }
}

void graph_tell_below(struct graph *graph)
{
    struct node *node;

    if (graph->owners || graph->n_records > 0)
        TAILQ_FOREACH(node, &graph->touched, touched)
            node_tell_below(graph, node);
}
