/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A chain: an image and all its parents, found through the caller's resolver. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "chain.h"
#include "error.h"
#include "format.h"
#include "io.h"
#include "pieces.h"

enum { MAX_DEPTH_DEFAULT = 200 };   /* libvirt's VIR_MAX_BACKING_CHAIN */

struct layer {
    struct qca_io *io;          /* NULL for the leaf, which is the caller's */
    struct qca_image *image;
    struct qca_io *data_file;   /* NULL when it has none */
    bool has_pieces;            /* it opened the image's extents */
    struct qca_file_id id;
    uint32_t data_file_user;    /* whose, too: QCA_NO_LAYER when nobody else's */
    uint32_t data_file_of;      /* this layer's file is that layer's data file; else QCA_NO_LAYER */
};

/* A file, and what it was met as so far. */
struct file {
    struct qca_file_id id;
    uint32_t layer;             /* it is that layer, or QCA_NO_LAYER */
    uint32_t data_file_of;      /* it is that layer's data file (the first's), or QCA_NO_LAYER */
};

/* All files that were met: open addressing, a power of two of slots, 0 is free, else file + 1. */
struct files {
    struct file *files;
    uint32_t *slots;
    size_t n, capacity;         /* twice as many slots */
};

struct qca_chain {
    struct layer *layers;
    size_t n_layers;
    size_t capacity;
    struct files files;
};

DEFINE_CLEANUP(struct qca_chain *, qca_chain_free)

static int out_of_memory(struct qca_error *error, uint32_t layer)
{
    int r = error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field) { 0 },
                      "the chain needs more memory than allowed");

    if (error)
        error->layer = layer;
    return r;
}

/* ---- the files of a chain ----------------------------------------------------------------- */

static size_t id_hash(struct qca_file_id id)
{
    uint64_t x = (id.a ^ (id.b * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xbf58476d1ce4e5b9);

    return x ^ (x >> 31);
}

/* The slot that holds id, or the free one where it belongs. */
static uint32_t *slot_find(const struct files *files, struct qca_file_id id)
{
    for (size_t i = id_hash(id);; i++) {
        uint32_t *slot = &files->slots[i & (2 * files->capacity - 1)];

        if (*slot == 0 ||
            (files->files[*slot - 1].id.a == id.a && files->files[*slot - 1].id.b == id.b))
            return slot;
    }
}

static int files_grow(struct files *files)
{
    size_t capacity = files->capacity ? 2 * files->capacity : 8;
    struct file *grown;
    uint32_t *slots;

    if (files->n < files->capacity)
        return 0;
    grown = reallocarray(files->files, capacity, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    files->files = grown;
    slots = calloc(2 * capacity, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    free(files->slots);
    files->slots = slots;
    files->capacity = capacity;
    for (size_t i = 0; i < files->n; i++)
        *slot_find(files, grown[i].id) = (uint32_t)i + 1;
    return 0;
}

/* The file of that id, entered when it is new; valid until the next call. */
static int files_meet(struct files *files, struct qca_file_id id, struct file **ret_file)
{
    uint32_t *slot;
    int r = files_grow(files);

    if (r < 0)
        return r;
    slot = slot_find(files, id);
    if (*slot == 0) {
        files->files[files->n++] = (struct file) { id, QCA_NO_LAYER, QCA_NO_LAYER };
        *slot = (uint32_t)files->n;
    }
    *ret_file = &files->files[*slot - 1];
    return 0;
}

static void files_done(struct files *files)
{
    free(files->files);
    free(files->slots);
}

/* ---- opening ------------------------------------------------------------------------------ */

struct opener {
    struct files *files;
    uint32_t max_depth;
    bool layer_only;
    uint64_t memory_limit;
    qca_resolve_fn resolve;
    void *userdata;
    struct qca_error *error;
};

static const char *refusal_text(int r)
{
    switch (r) {
    case -ENOENT:
        return "does not exist";
    case -EPERM:
        return "lies outside of what may be read";
    case -EMEDIUMTYPE:
        return "is remote or no file";
    case -EACCES:
        return "may not be read";
    case -ELOOP:
        return "is a loop of symbolic links";
    default:
        return "cannot be had";
    }
}

static const char *kind_text(enum qca_reference_kind kind)
{
    switch (kind) {
    case QCA_REFERENCE_PARENT:
        return "parent";
    case QCA_REFERENCE_DATA_FILE:
        return "data file";
    default:
        return "file of an extent";
    }
}

static int refused(struct qca_error *error, int r, const struct image_link *link, uint32_t layer)
{
    error_set(error, -r, QCA_ERROR_REFERENCE,
              (struct error_field){ .name = link->field, .value = (uint64_t)-r }, "the %s %s",
              kind_text(link->kind), refusal_text(r));
    if (error)
        error->layer = layer;
    return r;
}

/* Asks for the file that layer number number names by link. */
static int resolve_link(const struct opener *opener, const struct image_link *link, uint32_t number,
                        struct qca_io **ret_io, struct qca_file_id *ret_id)
{
    const struct qca_reference reference = { link->kind, number, link->name, link->format };
    int r = opener->resolve(opener->userdata, &reference, ret_io, ret_id);

    return r < 0 ? refused(opener->error, r, link, number) : 0;
}

static void opener_init(struct opener *opener, struct files *files,
                        const struct qca_chain_options *options, qca_resolve_fn resolve,
                        void *userdata, struct qca_error *error)
{
    *opener = (struct opener) {
        .files = files,
        .max_depth = options && options->max_depth ? options->max_depth : MAX_DEPTH_DEFAULT,
        .layer_only = options && options->layer_only,
        .memory_limit = options && options->memory_limit ? options->memory_limit
                                                         : UINT64_C(1) << 30,
        .resolve = resolve,
        .userdata = userdata,
        .error = error,
    };
}

static void layer_done(struct layer *layer)
{
    if (layer->has_pieces)
        pieces_close(layer->image);
    if (layer->io)              /* else the leaf, whose image is the caller's, too */
        qca_image_free(layer->image);
    qca_io_free(layer->io);
    qca_io_free(layer->data_file);
    *layer = (struct layer) { 0 };
}

/* Opens the data file of layer number number, whose image is there; its content is not looked
 * at. */
static int open_data_file(struct opener *opener, struct layer *layer, uint32_t number)
{
    struct image_link link;
    struct qca_file_id id;
    struct file *file;
    int r;

    layer->data_file_user = QCA_NO_LAYER;
    if (!image_link_find(layer->image, QCA_REFERENCE_DATA_FILE, &link))
        return 0;
    r = resolve_link(opener, &link, number, &layer->data_file, &id);
    if (r < 0)
        return r;
    if (files_meet(opener->files, id, &file) < 0)
        return out_of_memory(opener->error, number);
    if (file->layer != QCA_NO_LAYER)
        layer->data_file_user = file->layer;
    else
        layer->data_file_user = file->data_file_of;
    if (file->data_file_of == QCA_NO_LAYER)
        file->data_file_of = number;
    return 0;
}

/* Opens the extents of layer number number, where it is the descriptor of a disk in several
 * files. */
static int open_pieces(struct opener *opener, struct layer *layer, uint32_t number)
{
    struct image_link link;
    int r = 0;

    if (layer->image->pieces)           /* another chain of the leaf has them */
        return 0;
    layer->has_pieces = true;
    for (unsigned i = 0; r >= 0 && image_link_at(layer->image, i, &link); i++) {
        struct qca_file_id id;
        struct qca_io *io;
        struct file *file;

        if (link.kind != QCA_REFERENCE_EXTENT || !link.name)
            continue;
        r = resolve_link(opener, &link, number, &io, &id);
        if (r < 0)
            return r;
        r = qca_image_take_extent(layer->image, i, io, opener->error);
        if (r == 0 && files_meet(opener->files, id, &file) < 0)
            return out_of_memory(opener->error, number);
        if (r == 0 && file->layer != QCA_NO_LAYER)
            r = error_set(opener->error, ELOOP, QCA_ERROR_LOOP,
                          (struct error_field) { link.field, 0, i, 0 },
                          "an extent of layer %" PRIu32 " lies in the file of layer %" PRIu32,
                          number, file->layer);
        if (r < 0 && opener->error)
            opener->error->layer = number;
    }
    return r;
}

/* Undeclared: raw, never by content, which the guest of the child could have written (libvirt's
 * rule). QED and the first qcow have no place to declare it: they are opened as QEMU does, which
 * looks at the content, unless a header says that it may not. */
static enum qca_format parent_format(const struct image_link *link)
{
    return link->format ? qca_format_from_name(link->format) : QCA_FORMAT_RAW;
}

static bool parent_is_probed(const struct layer *child, const struct image_link *link)
{
    return !link->format && !qca_format_has(child->image->info.format, QCA_TRAIT_DECLARES_PARENT);
}

static bool find_parent(const struct layer *child, struct image_link *ret_link)
{
    return image_link_find(child->image, QCA_REFERENCE_PARENT, ret_link);
}

static uint64_t image_memory(const struct qca_image_info *info)
{
    return sizeof(struct qca_image) + 1024 + info->n_snapshots * (sizeof(*info->snapshots) + 64) +
           info->n_bitmaps * (sizeof(*info->bitmaps) + 64) +
           info->n_extensions * sizeof(*info->extensions) +
           info->n_extents * (sizeof(*info->extents) + 64 + sizeof(struct piece) +
                              sizeof(struct qca_image));
}

/* The leaf, as a layer. */
static int open_leaf(struct opener *opener, struct qca_image *leaf, struct qca_file_id id,
                     struct layer *ret_layer)
{
    struct layer layer = { .image = leaf, .id = id, .data_file_of = QCA_NO_LAYER };
    struct file *file;
    int r;

    if (files_meet(opener->files, id, &file) < 0)
        return out_of_memory(opener->error, 0);
    file->layer = 0;
    r = open_data_file(opener, &layer, 0);
    if (r == 0 && !opener->layer_only)
        r = open_pieces(opener, &layer, 0);
    if (r < 0) {
        layer_done(&layer);
        return r;
    }
    *ret_layer = layer;
    return 0;
}

/* Opens the parent that layer number child_number, which is child, names by link. */
static int open_parent(struct opener *opener, const struct layer *child,
                       const struct image_link *link, uint32_t child_number,
                       struct layer *ret_layer)
{
    uint32_t number = child_number + 1;
    bool probed = parent_is_probed(child, link);
    struct qca_open_options options = { .format = probed ? QCA_FORMAT_UNKNOWN : parent_format(link),
                                        .memory_limit = opener->memory_limit };
    _cleanup_(layer_done) struct layer layer = { .data_file_user = QCA_NO_LAYER };
    struct file *file;
    int r;

    if (number >= opener->max_depth) {
        r = error_set(
            opener->error, EMLINK, QCA_ERROR_CHAIN_LIMIT,
            (struct error_field) { .value = (uint64_t)number + 1, .bound = opener->max_depth },
            "the chain has more than %" PRIu32 " layers", opener->max_depth);
        goto failed;
    }
    if (!probed && options.format == QCA_FORMAT_UNKNOWN) {
        r = error_set(opener->error, EOPNOTSUPP, QCA_ERROR_UNSUPPORTED,
                      (struct error_field) { .name = link->format_field },
                      "the parent's declared format is not supported");
        goto failed;
    }
    r = resolve_link(opener, link, child_number, &layer.io, &layer.id);
    if (r < 0)
        return r;
    if (files_meet(opener->files, layer.id, &file) < 0)
        return out_of_memory(opener->error, number);
    if (file->layer != QCA_NO_LAYER) {
        r = error_set(opener->error, ELOOP, QCA_ERROR_LOOP,
                      (struct error_field) { .value = file->layer },
                      "layer %" PRIu32 " has layer %" PRIu32 " as its parent: the chain is a loop",
                      child_number, file->layer);
        goto failed;
    }
    file->layer = number;
    layer.data_file_of = file->data_file_of;

    r = qca_image_open(layer.io, &options, opener->error, &layer.image);
    if (r < 0) {
        if (opener->error)
            opener->error->layer = number;
        return r;
    }
    r = open_data_file(opener, &layer, number);
    if (r == 0)
        r = open_pieces(opener, &layer, number);
    if (r < 0)
        return r;
    *ret_layer = layer;
    layer = (struct layer) { 0 };
    return 0;

failed:
    if (opener->error)
        opener->error->layer = child_number;
    return r;
}

/* ---- a chain that stays open -------------------------------------------------------------- */

/* Takes over the layer's members. */
static int chain_append(struct qca_chain *chain, struct layer *layer)
{
    if (chain->n_layers == chain->capacity) {
        size_t capacity = chain->capacity ? 2 * chain->capacity : 8;
        struct layer *layers = reallocarray(chain->layers, capacity, sizeof(*layers));

        if (!layers) {
            layer_done(layer);
            return -ENOMEM;
        }
        chain->layers = layers;
        chain->capacity = capacity;
    }
    chain->layers[chain->n_layers++] = *layer;
    return 0;
}

int qca_chain_open(struct qca_image *leaf, const struct qca_chain_options *options,
                   qca_resolve_fn resolve, void *userdata, struct qca_error *error,
                   struct qca_chain **ret_chain)
{
    _cleanup_(qca_chain_freep) struct qca_chain *chain = calloc(1, sizeof(*chain));
    struct opener opener;
    struct image_link link;
    struct layer layer;
    int r;

    if (!chain)
        return out_of_memory(error, 0);
    opener_init(&opener, &chain->files, options, resolve, userdata, error);
    r = open_leaf(&opener, leaf, options ? options->id : (struct qca_file_id) { 0 }, &layer);
    if (r < 0)
        return r;
    for (uint32_t number = 0;; number++) {
        uint64_t memory = number > 0 ? image_memory(&layer.image->info) : 0;

        if (memory > opener.memory_limit) {
            layer_done(&layer);
            return out_of_memory(error, number);
        }
        opener.memory_limit -= memory;
        if (chain_append(chain, &layer) < 0)
            return out_of_memory(error, number);
        if (opener.layer_only || !find_parent(&chain->layers[number], &link))
            break;
        r = open_parent(&opener, &chain->layers[number], &link, number, &layer);
        if (r < 0)
            return r;
    }
    *ret_chain = TAKE_PTR(chain);
    return 0;
}

/* ---- a chain that is walked --------------------------------------------------------------- */

static int tell(const struct layer *child, const struct layer *parent, uint32_t number,
                qca_layer_fn told, void *userdata)
{
    struct qca_chain_link link = {
        .layer = number,
        .image = child->image,
        .on_device = child->id.is_device,
        .data_file_known = child->data_file,
        .data_file_size = child->data_file ? qca_io_size(child->data_file) : 0,
        .data_file_user = child->data_file_user,
    };

    /* that the layer next above has it, too, was told of that one */
    if (number > 0 && child->data_file_user == number - 1)
        link.data_file_user = QCA_NO_LAYER;

    if (parent) {
        link.parent = &parent->image->info;
        if (parent->data_file_user == number)
            link.data_file_user = number + 1;
        if (parent->data_file_of != QCA_NO_LAYER)
            link.data_file_user = parent->data_file_of;
        link.parent_is_newer = parent->id.mtime > child->id.mtime && child->id.mtime != 0;
        if (probe_content(parent->io, &link.parent_content, &link.parent_variant) < 0)
            link.parent_content = QCA_FORMAT_UNKNOWN;   /* is found by whoever reads it */
    }
    return told(userdata, &link);
}

int qca_chain_walk(struct qca_image *leaf, const struct qca_chain_options *options,
                   qca_resolve_fn resolve, qca_layer_fn layer, void *userdata,
                   struct qca_error *error, uint32_t *ret_depth)
{
    struct files files = { 0 };
    struct layer child = { 0 }, parent = { 0 };
    struct opener opener;
    uint32_t number = 0;
    int r, told;

    opener_init(&opener, &files, options, resolve, userdata, error);
    r = open_leaf(&opener, leaf, options ? options->id : (struct qca_file_id) { 0 }, &child);
    for (; r == 0; number++) {
        struct image_link link;
        bool more = find_parent(&child, &link);

        r = more ? open_parent(&opener, &child, &link, number, &parent) : 0;
        told = tell(&child, more && r == 0 ? &parent : NULL, number, layer, userdata);
        r = r < 0 ? r : told;
        layer_done(&child);
        child = parent;
        parent = (struct layer) { 0 };
        if (!more) {
            number++;
            break;
        }
    }
    layer_done(&child);
    files_done(&files);
    if (r < 0)
        return r;
    *ret_depth = number;
    return 0;
}

void qca_chain_free(struct qca_chain *chain)
{
    if (!chain)
        return;
    for (size_t i = 0; i < chain->n_layers; i++)
        layer_done(&chain->layers[i]);
    free(chain->layers);
    files_done(&chain->files);
    free(chain);
}

size_t qca_chain_depth(const struct qca_chain *chain)
{
    return chain->n_layers;
}

struct qca_image *qca_chain_layer(const struct qca_chain *chain, size_t index)
{
    return index < chain->n_layers ? chain->layers[index].image : NULL;
}

bool qca_chain_data_file_size(const struct qca_chain *chain, size_t index, uint64_t *ret_size)
{
    if (index >= chain->n_layers || !chain->layers[index].data_file)
        return false;
    *ret_size = qca_io_size(chain->layers[index].data_file);
    return true;
}

struct qca_io *chain_layer_data(const struct qca_chain *chain, size_t index)
{
    const struct layer *layer = &chain->layers[index];

    return layer->data_file ? layer->data_file : layer->image->io;
}
