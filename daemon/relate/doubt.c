/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images that unresolved or unreadable references may mean: none of them is left over. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/relate/internal.h"
#include "helpers/path.h"
#include "lib/cleanup.h"

static const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

struct doubt_count {
    const struct datastore *datastore;  /* NULL: of all */
    size_t n_nodes;             /* that lie there: 0, it may be gone */
    bool read;                  /* all that it holds is known, as told last */
    unsigned pending;           /* images of which it is not known yet what they refer to */
    unsigned any[DOUBT_FORMATS];        /* references that could mean any image of the format; 0: of
                                         * whatever format */
};

static struct doubt_count *doubts_of(struct graph *graph, const struct datastore *datastore,
                                     bool make)
{
    struct doubt_count *grown;

    for (size_t i = 0; i < graph->n_doubts; i++)
        if (graph->doubts[i].datastore == datastore)
            return &graph->doubts[i];
    if (!make)
        return NULL;
    for (size_t i = 0; i < graph->n_doubts; i++)
        if (graph->doubts[i].datastore && graph->doubts[i].n_nodes == 0) {  /* it was removed */
            graph->doubts[i] = (struct doubt_count){ .datastore = datastore };
            return &graph->doubts[i];
        }
    grown = reallocarray(graph->doubts, graph->n_doubts + 1, sizeof(*grown));
    if (!grown)
        return NULL;
    graph->doubts = grown;
    grown[graph->n_doubts] = (struct doubt_count){ .datastore = datastore };
    return &grown[graph->n_doubts++];
}

static unsigned *doubt_counter(struct doubt_count *count, enum doubt doubt, unsigned format)
{
    return doubt == DOUBT_PENDING ? &count->pending : &count->any[format];
}

static unsigned format_slot(const char *declared)
{
    enum qca_format format = declared ? qca_format_from_name(declared) : QCA_FORMAT_UNKNOWN;

    return (unsigned)format < DOUBT_FORMATS ? (unsigned)format : 0;
}

/* Every image that could be left over is to be judged again. */
static void count_doubt(struct graph *graph, const struct node *node, int by)
{
    struct doubt_count *count;
    unsigned *counter;

    if (node->doubt != DOUBT_PENDING && node->doubt != DOUBT_ANY)
        return;
    count = doubts_of(graph, node->doubt_of, by > 0);
    if (!count) {               /* no memory to count it: nothing is left over from here on */
        graph->doubts_uncounted |= by > 0;
        return;
    }
    counter = doubt_counter(count, node->doubt, node->doubt_format);
    if (by < 0 && *counter == 0)
        return;
    *counter += (unsigned)by;
    if (*counter == (by > 0 ? 1 : 0))
        graph->doubts_changed = true;
}

/* A datastore that was not walked completely, or has files that nobody may read, may hold
 * overlays. */
static bool datastore_is_read(const struct datastore *datastore)
{
    return datastore->state == DATASTORE_ONLINE && datastore->unreadable == 0 &&
           (datastore->walk_finished > 0 || datastore->walk_started == 0);
}

bool graph_datastores_are_read(const struct graph *graph)
{
    for (size_t i = 0; i < graph->n_doubts; i++) {
        const struct doubt_count *count = &graph->doubts[i];

        if (count->datastore && count->n_nodes > 0 && !datastore_is_read(count->datastore))
            return false;
    }
    return true;
}

static void node_note_datastore(struct graph *graph, struct node *node,
                                const struct datastore *datastore)
{
    struct doubt_count *count;

    if (node->seen_datastore == datastore)
        return;
    count = node->seen_datastore ? doubts_of(graph, node->seen_datastore, false) : NULL;
    if (count && count->n_nodes > 0)
        count->n_nodes--;
    node->seen_datastore = NULL;
    count = datastore ? doubts_of(graph, datastore, true) : NULL;
    if (!count)
        return;
    count->n_nodes++;
    node->seen_datastore = datastore;
}

/* Images that the node's references could mean, and that the graph does not know. */
struct meaning {
    enum doubt doubt;
    unsigned format;
    const struct datastore *of; /* NULL: of all */
    const char *name;           /* an image of this name, at any rate, */
    const struct former *former;        /* or what it was before: then nothing else */
};

static void meaning_of_reference(const struct image *image, const struct reference *reference,
                                 const struct former *former, struct meaning *meaning)
{
    struct meaning found = { .of = image->datastore };

    switch (reference->state) {
    case REFERENCE_PENDING:
        found.doubt = DOUBT_PENDING;
        break;
    case REFERENCE_MISSING:
    case REFERENCE_IS_REMOTE:
        found.format = format_slot(reference->format);
        found.doubt = former ? DOUBT_NAMED : DOUBT_ANY;
        found.former = former;
        found.name = reference->stored ? path_name(reference->stored) : NULL;
        if (reference->stored && reference->stored[0] == '/' &&
            !(image->datastore && image->datastore->path &&
              path_is_below(reference->stored, image->datastore->path)))
            found.of = NULL;
        break;
    case REFERENCE_ESCAPES:     /* the same file by another mount, or from another host */
        found.doubt = DOUBT_NAMED;
        found.former = former;
        found.name = reference->stored ? path_name(reference->stored) : NULL;
        break;
    default:
        return;
    }
    if (found.doubt > meaning->doubt)
        *meaning = found;
}

/* Is it something else than what it was, or than what it is called, so that what it referred to
 * cannot be read any more? Not where a domain uses it as it is. */
static bool header_is_lost(const struct graph *graph, const struct image *image)
{
    static const char *const extensions[] = { "*.qcow2", "*.qcow", "*.qed", "*.vmdk" };
    const struct layer_report *layer = image_layer(image);
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *source = usage_source(&usage);

    if (layer->probed_format != QCA_FORMAT_RAW || image->parent.state != REFERENCE_NONE ||
        image_is_tracking(image) || graph_is_data_file(graph, image))
        return false;
    if (image->former || (image->past.format != QCA_FORMAT_UNKNOWN &&
                          image->past.format != QCA_FORMAT_RAW))
        return true;
    if (source && source->disk->layers[0].format &&
        strcmp(source->disk->layers[0].format, "raw") == 0)
        return false;
    for (size_t i = 0; i < ELEMENTSOF(extensions); i++)
        if (fnmatch(extensions[i], path_name(image->path), FNM_CASEFOLD) == 0)
            return true;
    return false;
}

/* A definition that says raw may be wrong, where nobody saw the image raw: what its header names is
 * left alone then. */
static void meaning_of_raw(const struct image *image, struct meaning *meaning)
{
    const struct reference *reference = image->parent.state != REFERENCE_NONE ? &image->parent
                                                                              : &image->data_file;
    const char *path;

    if (image_was_raw(image))
        return;
    if (reference->state == REFERENCE_NONE && image->extents.n > 0)
        reference = &image->extents.items[0];
    path = reference->path ? reference->path : reference->stored;
    meaning->doubt = DOUBT_NAMED;
    meaning->name = path ? path_name(path) : NULL;
}

static struct meaning node_meaning(const struct graph *graph, const struct node *node)
{
    const struct image *image = node->image;
    struct meaning meaning = { .doubt = DOUBT_NONE, .of = image->datastore };

    /* What a record lost, or does not let anybody read, is a doubt in its folder alone. */
    if (!image->present || node->record)
        return meaning;
    if (!image->audit || !image->audit->report) {
        meaning.doubt = DOUBT_PENDING;
    } else if (!image_layer(image)) {
        /* Nobody could read what it refers to: what it did before, if that is known. */
        meaning.doubt = image->former ? DOUBT_NAMED : DOUBT_ANY;
        meaning.former = image->former;
        if (image->parent.state == REFERENCE_FOUND)
            meaning.doubt = DOUBT_NONE;
    } else if (node->raw) {
        meaning_of_raw(image, &meaning);
    } else {
        meaning_of_reference(image, &image->parent, image->former, &meaning);
        meaning_of_reference(image, &image->data_file, NULL, &meaning);
        for (size_t i = 0; i < image->extents.n; i++)
            meaning_of_reference(image, &image->extents.items[i], NULL, &meaning);
        if (image->data_file.state == REFERENCE_MISSING && meaning.doubt == DOUBT_ANY &&
            image->parent.state != REFERENCE_MISSING && image->parent.state != REFERENCE_IS_REMOTE)
            meaning.format = format_slot("raw");
        if (meaning.doubt == DOUBT_NONE && header_is_lost(graph, image)) {
            meaning.doubt = image->former ? DOUBT_NAMED : DOUBT_ANY;
            meaning.former = image->former;
        }
        if (meaning.doubt == DOUBT_NONE && node->relation.in_loop) {
            meaning.doubt = image->former ? DOUBT_NAMED : DOUBT_ANY;
            meaning.former = image->former;
            meaning.format = format_slot(image->parent.format);
        }
    }
    return meaning;
}

static struct spot former_spot(const struct graph *graph, const struct former *former)
{
    if (!former || former->identity.inode == 0)
        return (struct spot){ .kind = SPOT_NONE };
    return spot_of_identity(graph, SPOT_FORMER, &former->identity);
}

int node_doubt(struct graph *graph, struct node *node)
{
    struct meaning meaning = node_meaning(graph, node);
    const struct former *former = meaning.doubt == DOUBT_NAMED ? meaning.former : NULL;
    const char *name = meaning.name;
    struct seat *seats;
    int r = 0;

    node_note_datastore(graph, node, node->image->datastore);
    if (meaning.doubt != node->doubt || meaning.format != node->doubt_format ||
        meaning.of != node->doubt_of) {
        count_doubt(graph, node, -1);
        node->doubt = meaning.doubt;
        node->doubt_format = (uint8_t)meaning.format;
        node->doubt_of = meaning.of;
        count_doubt(graph, node, 1);
    }
    if (!node->doubt_seats && !former && !name)
        return 0;
    if (!node->doubt_seats) {
        r = seat_block_new(node, _DOUBT_SEAT_MAX, &node->doubt_seats);
        if (r < 0)
            return r;
        graph->n_doubtful++;
    }
    seats = node->doubt_seats->seats;
    r = seat_take(graph, &seats[DOUBT_SEAT_NAME], spot_of_text(graph, SPOT_FORMER_NAME, name));
    if (r >= 0) {
        graph->doubts_changed |= r > 0;
        r = seat_take(graph, &seats[DOUBT_SEAT_IDENTITY], former_spot(graph, former));
    }
    if (r >= 0) {
        graph->doubts_changed |= r > 0;
        r = seat_take(graph, &seats[DOUBT_SEAT_SIZE],
                      spot_of_number(graph, SPOT_FORMER_SIZE, former ? former->size : 0));
    }
    if (r < 0)
        return r;
    graph->doubts_changed |= r > 0;
    if (!former && !name) {
        free(TAKE_PTR(node->doubt_seats));
        graph->n_doubtful--;
    }
    return 0;
}

void node_undoubt(struct graph *graph, struct node *node)
{
    count_doubt(graph, node, -1);
    node->doubt = DOUBT_NONE;
    node_note_datastore(graph, node, NULL);
    for (int i = 0; node->doubt_seats && i < _DOUBT_SEAT_MAX; i++) {
        graph->doubts_changed |= seat_is_taken(&node->doubt_seats->seats[i]);
        seat_leave(graph, &node->doubt_seats->seats[i]);
    }
    if (node->doubt_seats)
        graph->n_doubtful--;
    free(TAKE_PTR(node->doubt_seats));
}

static unsigned image_format(const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    enum qca_format format = layer ? layer->probed_format : QCA_FORMAT_UNKNOWN;

    return (unsigned)format < DOUBT_FORMATS ? (unsigned)format : 0;
}

static bool spot_is_meant(const struct graph *graph, struct spot spot, const struct image *image)
{
    for (struct seat *seat = spot_first(graph, spot); seat; seat = seat_next(seat)) {
        const struct image *other = seat_node(seat)->image;

        if (other != image && (spot.kind == SPOT_FORMER || !former_is_there(graph, other)))
            return true;
    }
    return false;
}

bool image_is_meant(const struct graph *graph, const struct image *image)
{
    const struct node *node = image_node(image);
    const char *name = path_name(image->path);
    unsigned format = image_format(image);

    for (size_t i = 0; i < graph->n_doubts; i++) {
        const struct doubt_count *count = &graph->doubts[i];
        unsigned own = node->doubt == DOUBT_ANY && node->doubt_of == count->datastore;

        if (count->datastore && count->datastore != image->datastore)
            continue;
        if (count->any[0] > (own && node->doubt_format == 0))
            return true;
        if (format != 0 && count->any[format] > (own && node->doubt_format == format))
            return true;
    }
    if (owners_miss(graph->owners, name))
        return true;
    return spot_is_meant(graph, spot_of_identity(graph, SPOT_FORMER, &image->identity), image) ||
           spot_is_meant(graph, spot_of_text(graph, SPOT_FORMER_NAME, name), image) ||
           spot_is_meant(graph, spot_of_number(graph, SPOT_FORMER_SIZE, image->fingerprint.size),
                         image);
}

/* Is there a libvirt on this host that has not said yet, or not now, what its domains use? */
static bool libvirt_hides(const struct graph *graph)
{
    const struct virt_status *status = usage_status(graph->usage);

    if (graph->awaits_usage)
        return true;
    for (size_t i = 0; status && i < status->n_connections; i++)
        if (!status->connections[i].absent && !status->connections[i].complete)
            return true;
    return false;
}

bool graph_knows_owners(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);
    const struct datastore *datastore = image->datastore;

    if (!relation || relation->pending || graph->doubts_uncounted)
        return false;
    if (graph->owners ? owners_are_pending(graph->owners)
                      : libvirt_hides(graph) || !records_know(graph, image))
        return false;
    if (datastore && !datastore_is_read(datastore))
        return false;
    for (size_t i = 0; i < graph->n_doubts; i++)
        if ((!graph->doubts[i].datastore || graph->doubts[i].datastore == datastore) &&
            graph->doubts[i].pending > 0)
            return false;
    return true;
}

void graph_tell_doubtful(struct graph *graph)
{
    struct node *node;

    for (size_t i = 0; i < graph->n_doubts; i++) {
        struct doubt_count *count = &graph->doubts[i];
        bool read = count->datastore && count->n_nodes > 0 && datastore_is_read(count->datastore);

        graph->doubts_changed |= read != count->read;
        count->read = read;
    }
    if (!graph->doubts_changed)
        return;
    graph->doubts_changed = false;
    if (!graph->owners && !graph->had_owners && graph->n_records == 0)
        return;
    graph->had_owners = graph->owners;
    GRAPH_FOREACH(node, graph) {
        struct node *told = node;

        if (node->n_children > 0 || !node->image->present)
            continue;
        /* A disk's parent could be left over until it was judged with the disk. */
        if (graph_image_usage(graph, node->image).n_entries > 0)
            told = node->parent;
        if (!told)
            continue;
        node_mark_related(graph, told, NODE_TELL);
    }
}
