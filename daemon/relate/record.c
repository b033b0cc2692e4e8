/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What VMware's records say of disks: which are a virtual machine's (NAME.vmx), and which are
 * states of disks at snapshots (NAME.vmsd). They lie in the folder of the virtual machine. */
#include <string.h>
#include <strings.h>

#include "daemon/relate/internal.h"

static bool path_is_vmdk(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && strcasecmp(dot, ".vmdk") == 0;
}

/* A disk that was taken out of the virtual machine is named until its line is used again. */
static bool name_is_lost(const struct reference *name)
{
    return name->state != REFERENCE_FOUND && name->format && strcmp(name->format, "ABSENT") != 0;
}

uint8_t node_record(const struct node *node)
{
    const struct image *image = node->image;
    const struct layer_report *layer = image_layer(image);
    uint8_t record = RECORD_IS;

    if (!image_is_record(image))
        return 0;
    if (qca_format_has(layer ? layer->info.format : image->past.format, QCA_TRAIT_SNAPSHOTS))
        record |= RECORD_SNAPSHOTS;
    if (layer && qca_format_has(layer->info.format, QCA_TRAIT_RECORD) &&
        layer->info.crypt_method == QCA_CRYPT_NONE &&
        image->extents.n == image_count_extents(image))
        record |= RECORD_READ;
    for (size_t i = 0; i < image->extents.n; i++)
        if (name_is_lost(&image->extents.items[i]))
            return record | RECORD_LOST;
    return record;
}

struct spot node_folder_spot(const struct graph *graph, const struct node *node)
{
    if (node->record)
        return spot_of_folder(graph, SPOT_RECORDS, node->image->path);
    if (path_is_vmdk(node->image->path))
        return spot_of_folder(graph, SPOT_BESIDE, node->image->path);
    return (struct spot){ .kind = SPOT_NONE };
}

/* Once for all records of a folder. */
static void tell_beside(struct graph *graph, const struct node *record)
{
    struct spot spot = spot_of_folder(graph, SPOT_RECORDS, record->image->path);
    struct seat *seat = spot_first(graph, spot);

    if (!seat || (seat_node(seat)->flags & NODE_TOLD_FOLDER))
        return;
    node_mark(graph, seat_node(seat), NODE_TOLD_FOLDER);
    for (seat = spot_first(graph, spot_as(spot, SPOT_BESIDE)); seat; seat = seat_next(seat))
        node_mark(graph, seat_node(seat), NODE_RECORDED);
}

void graph_tell_beside(struct graph *graph)
{
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched)
        if (node->record && (node->flags & NODE_FACTS))
            tell_beside(graph, node);
    if (!graph->records_left)
        return;
    graph->records_left = false;
    GRAPH_FOREACH(node, graph)
        if (node->references && seat_is_taken(&node->references->seats[SEAT_FOLDER]) &&
            !node->record)
            node_mark(graph, node, NODE_RECORDED);
}

/* ---- whose word counts ----------------------------------------------------------------------- */

/* Whoever may write a file into a datastore can name any disk in it: that must neither make the
 * disk his, nor keep anybody from being told of it. */
static bool record_is_owners(const struct node *record, const struct image *image)
{
    uint32_t uid = record->image->fingerprint.uid;

    return record->image->present && (uid == 0 || uid == image->fingerprint.uid);
}

/* A disk elsewhere is named by its volume alone. */
static bool record_counts(const struct node *record, const struct reference *name,
                          const struct image *image)
{
    static const char volumes[] = "/vmfs/volumes/";

    return (record->record & RECORD_READ) && record_is_owners(record, image) &&
           (path_same_folder(record->image->path, image->path) ||
            (name->stored && strncmp(name->stored, volumes, sizeof(volumes) - 1) == 0));
}

/* The name of the image in a record that has a seat at the image's identity; NULL: it is none, or
 * does not count. */
static const struct reference *seat_name(struct seat *seat, const struct image *image)
{
    const struct node *node = seat_node(seat);
    size_t i = seat->index - _SEAT_OWN_MAX;

    if (!node->record || i >= node->image->extents.n ||
        !record_counts(node, &node->image->extents.items[i], image))
        return NULL;
    return &node->image->extents.items[i];
}

static struct seat *first_name(const struct graph *graph, const struct image *image)
{
    return spot_first(graph, spot_of_identity(graph, SPOT_DATA_FILE, &image->identity));
}

/* The virtual machine in whose folder the disk lies goes before one that has it for a backup. */
static bool is_nearer(const struct image *record, const struct image *found,
                      const struct image *image)
{
    bool near = path_same_folder(record->path, image->path);

    if (!found || near != path_same_folder(found->path, image->path))
        return !found || near;
    return strcmp(record->path, found->path) < 0;
}

static struct image *find_record(const struct graph *graph, const struct image *image,
                                 const char *what)
{
    struct image *found = NULL;

    if (graph->n_records == 0)
        return NULL;
    for (struct seat *seat = first_name(graph, image); seat; seat = seat_next(seat)) {
        const struct reference *name = seat_name(seat, image);
        struct image *record = seat_node(seat)->image;

        if (name && name->format && strcmp(name->format, what) == 0 &&
            is_nearer(record, found, image))
            found = record;
    }
    return found;
}

struct image *graph_machine(const struct graph *graph, const struct image *image)
{
    return find_record(graph, image, "DISK");
}

struct image *graph_snapshot_list(const struct graph *graph, const struct image *image)
{
    return find_record(graph, image, "SNAPSHOT");
}

/* Is there a definition beside the list of snapshots? Without one nobody can start the virtual
 * machine. */
static bool list_has_machine(const struct graph *graph, const struct node *list)
{
    struct seat *seat = spot_first(graph,
                                   spot_of_folder(graph, SPOT_RECORDS, list->image->path));

    for (; seat; seat = seat_next(seat))
        if (!(seat_node(seat)->record & RECORD_SNAPSHOTS) &&
            record_is_owners(seat_node(seat), list->image))
            return true;
    return false;
}

bool record_owns(const struct graph *graph, const struct image *image)
{
    if (graph->n_records == 0)
        return false;
    for (struct seat *seat = first_name(graph, image); seat; seat = seat_next(seat)) {
        const struct node *record = seat_node(seat);

        if (seat_name(seat, image) && (!(record->record & RECORD_SNAPSHOTS) ||
                                       list_has_machine(graph, record)))
            return true;
    }
    return false;
}

bool record_has_above(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image), *own;
    const struct node *node;

    if (graph->n_records == 0 || !relation || !relation->own_layer)
        return false;
    own = graph_relation(graph, relation->own_layer);
    if (!own || !own->deepest_leaf || !graph_machine(graph, own->deepest_leaf))
        return false;
    node = image_node(own->deepest_leaf);
    while (node && node->image != image && node->relation.depth > relation->depth)
        node = node->parent;
    return node && node->image == image;
}

bool records_know(const struct graph *graph, const struct image *image)
{
    struct seat *seat;
    bool any = false;

    if (graph->n_records == 0 || !path_is_vmdk(image->path))
        return false;
    seat = spot_first(graph, spot_of_folder(graph, SPOT_RECORDS, image->path));
    for (; seat; seat = seat_next(seat)) {
        const struct node *record = seat_node(seat);

        if (!record_is_owners(record, image))
            continue;
        /* It may have been renamed, and be what the record looks for. */
        if ((record->record & (RECORD_READ | RECORD_LOST)) != RECORD_READ)
            return false;
        any = true;
    }
    return any;
}

bool graph_knows_snapshots(const struct graph *graph, const struct image *machine)
{
    struct seat *seat = spot_first(graph, spot_of_folder(graph, SPOT_RECORDS, machine->path));

    for (; seat; seat = seat_next(seat)) {
        const struct node *record = seat_node(seat);

        if ((record->record & RECORD_SNAPSHOTS) && !(record->record & RECORD_READ) &&
            record_is_owners(record, machine))
            return false;
    }
    return true;
}

/* One of the disk's owner's: by any other, whoever writes a file into the folder would say who has
 * the disk open. */
static bool has_record_beside(const struct graph *graph, const struct image *image)
{
    struct seat *seat;

    if (!path_is_vmdk(image->path))
        return false;
    seat = spot_first(graph, spot_of_folder(graph, SPOT_RECORDS, image->path));
    for (; seat; seat = seat_next(seat))
        if (record_is_owners(seat_node(seat), image))
            return true;
    return false;
}

bool graph_is_vmwares(const struct graph *graph, const struct image *image)
{
    const uint32_t layer = EVIDENCE_BIT(EVIDENCE_RECORD_SNAPSHOT) |
                           EVIDENCE_BIT(EVIDENCE_RECORD_NO_SNAPSHOT) |
                           EVIDENCE_BIT(EVIDENCE_DELTA_NAME);
    const struct node *node = image_node(image);

    return node && graph_image_usage(graph, image).n_entries == 0 &&
           ((node->evidence & layer) || graph_machine(graph, image) ||
            has_record_beside(graph, image));
}

enum files_use graph_vmware_use(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image), *own;
    const struct node *node = image_node(image);
    const struct image *disk = image, *machine;
    enum files_use use = FILES_UNUSED;

    if (!node || node->record || !path_is_vmdk(image->path))
        return FILES_UNUSED;
    for (size_t i = 0; i < image->extents.n; i++) {
        const struct reference *piece = &image->extents.items[i];
        const struct image *file = piece->state == REFERENCE_FOUND
                                       ? graph_find_identity(graph, &piece->identity) : NULL;

        if (file && file->use > use)
            use = file->use;
    }
    own = graph_relation(graph, relation->own_layer ? relation->own_layer : image);
    if (own && own->deepest_leaf)
        disk = own->deepest_leaf;
    machine = graph_machine(graph, disk);
    return machine && machine->use > use ? machine->use : use;
}

/* ---- evidence -------------------------------------------------------------------------------- */

/* The virtual machine of a list of snapshots is the one in whose folder it lies. A clone has the
 * parent of another one as its own. */
uint32_t record_evidence(const struct graph *graph, const struct node *node)
{
    const struct image *image = node->image, *below = node->parent->image, *list, *machine, *other;

    if (graph->n_records == 0)
        return 0;
    machine = graph_machine(graph, image);
    list = graph_snapshot_list(graph, below);
    other = list ? list : graph_machine(graph, below);
    if (machine && other && !path_same_folder(machine->path, other->path))
        return EVIDENCE_BIT(EVIDENCE_OTHER_MACHINE);
    if (list && (machine || path_same_folder(image->path, below->path)))
        return EVIDENCE_BIT(EVIDENCE_RECORD_SNAPSHOT);
    if (machine && graph_knows_snapshots(graph, machine))
        return EVIDENCE_BIT(EVIDENCE_RECORD_NO_SNAPSHOT);
    return 0;
}
