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

enum { MAX_DEPTH_DEFAULT = 200 };   /* libvirt's VIR_MAX_BACKING_CHAIN */

struct layer {
    struct qca_io *io;          /* NULL for the leaf, which is the caller's */
    struct qca_image *image;
    struct qca_io *data_file;   /* NULL when it has none */
};

struct qca_chain {
    struct layer *layers;
    size_t n_layers;
    size_t capacity;
    /* The files of all layers: open addressing, a power of two of slots, 0 is free, else layer +
     * 1. */
    uint32_t *slots;
    struct qca_file_id *ids;    /* per layer */
    size_t n_slots;
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

static size_t id_hash(struct qca_file_id id)
{
    uint64_t x = (id.a ^ (id.b * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xbf58476d1ce4e5b9);

    return x ^ (x >> 31);
}

/* The slot that holds id, or the free one where it belongs. */
static uint32_t *slot_find(const struct qca_chain *chain, struct qca_file_id id)
{
    for (size_t i = id_hash(id);; i++) {
        uint32_t *slot = &chain->slots[i & (chain->n_slots - 1)];

        if (*slot == 0 || (chain->ids[*slot - 1].a == id.a && chain->ids[*slot - 1].b == id.b))
            return slot;
    }
}

/* Room for one more layer, and for its id at a load of at most a half. */
static int chain_grow(struct qca_chain *chain)
{
    size_t capacity = chain->capacity ? 2 * chain->capacity : 8;
    struct qca_file_id *ids;
    struct layer *layers;
    uint32_t *slots;

    if (chain->n_layers < chain->capacity)
        return 0;
    layers = reallocarray(chain->layers, capacity, sizeof(*layers));
    if (!layers)
        return -ENOMEM;
    chain->layers = layers;
    ids = reallocarray(chain->ids, capacity, sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    chain->ids = ids;
    slots = calloc(2 * capacity, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    free(chain->slots);
    chain->slots = slots;
    chain->n_slots = 2 * capacity;
    chain->capacity = capacity;
    for (size_t i = 0; i < chain->n_layers; i++)
        *slot_find(chain, chain->ids[i]) = i + 1;
    return 0;
}

/* Takes over io, image and data file. There must be room. */
static void chain_append(struct qca_chain *chain, struct layer layer, struct qca_file_id id)
{
    chain->layers[chain->n_layers] = layer;
    chain->ids[chain->n_layers] = id;
    *slot_find(chain, id) = chain->n_layers + 1;
    chain->n_layers++;
}

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

static int refused(struct qca_error *error, int r, const struct qca_reference *reference)
{
    bool parent = reference->kind == QCA_REFERENCE_PARENT;

    error_set(error, -r, QCA_ERROR_REFERENCE,
              (struct error_field) { .name = parent ? "backing_file_offset" : "External data file name string",
                                     .value = (uint64_t)-r },
              "the %s %s", parent ? "parent" : "data file", refusal_text(r));
    if (error)
        error->layer = reference->layer;
    return r;
}

struct opener {
    struct qca_chain *chain;
    uint32_t max_depth;
    uint64_t memory_limit;
    qca_resolve_fn resolve;
    void *userdata;
    struct qca_error *error;
};

/* The data file of the layer that would be number layer; its content is not looked at. */
static int resolve_data_file(struct opener *opener, const struct qca_image_info *info,
                             uint32_t layer, struct qca_io **ret_io)
{
    struct qca_reference reference = { QCA_REFERENCE_DATA_FILE, layer, info->data_file, NULL };
    struct qca_file_id id;
    int r;

    if (!(info->incompatible_features & QCA_INCOMPAT_DATA_FILE) || !info->data_file)
        return 0;
    r = opener->resolve(opener->userdata, &reference, ret_io, &id);
    return r < 0 ? refused(opener->error, r, &reference) : 0;
}

static enum qca_format parent_format(const struct qca_image_info *child)
{
    /* Undeclared: raw, never by content, which the guest of the child could have written (libvirt's
     * rule). */
    return child->parent_format ? qca_format_from_name(child->parent_format) : QCA_FORMAT_RAW;
}

static uint64_t image_memory(const struct qca_image_info *info)
{
    return sizeof(struct qca_image) + 1024 + info->n_snapshots * (sizeof(*info->snapshots) + 64) +
           info->n_bitmaps * (sizeof(*info->bitmaps) + 64) +
           info->n_extensions * sizeof(*info->extensions);
}

/* Opens the parent of the last layer and appends it. */
static int open_parent(struct opener *opener)
{
    struct qca_chain *chain = opener->chain;
    uint32_t child_number = chain->n_layers - 1, number = chain->n_layers;
    const struct qca_image_info *child = &chain->layers[child_number].image->info;
    struct qca_reference reference = { QCA_REFERENCE_PARENT, child_number, child->parent,
                                       child->parent_format };
    struct qca_open_options options = { .format = parent_format(child),
                                        .memory_limit = opener->memory_limit };
    _cleanup_io_ struct qca_io *io = NULL, *data_file = NULL;
    _cleanup_image_ struct qca_image *image = NULL;
    struct qca_file_id id;
    uint64_t memory;
    int r;

    if (number >= opener->max_depth) {
        r = error_set(
            opener->error, EMLINK, QCA_ERROR_CHAIN_LIMIT,
            (struct error_field) { .value = (uint64_t)number + 1, .bound = opener->max_depth },
            "the chain has more than %" PRIu32 " layers", opener->max_depth);
        goto failed;
    }
    if (options.format == QCA_FORMAT_UNKNOWN) {
        r = error_set(opener->error, EOPNOTSUPP, QCA_ERROR_UNSUPPORTED,
                      (struct error_field) { .name = "Backing file format name string" },
                      "the parent's declared format is not supported");
        goto failed;
    }
    r = opener->resolve(opener->userdata, &reference, &io, &id);
    if (r < 0)
        return refused(opener->error, r, &reference);
    if (*slot_find(chain, id) != 0) {
        r = error_set(opener->error, ELOOP, QCA_ERROR_LOOP,
                      (struct error_field) { .value = *slot_find(chain, id) - 1 },
                      "layer %" PRIu32 " has layer %" PRIu32 " as its parent: the chain is a loop",
                      child_number, *slot_find(chain, id) - 1);
        goto failed;
    }

    r = qca_image_open(io, &options, opener->error, &image);
    if (r < 0) {
        if (opener->error)
            opener->error->layer = number;
        return r;
    }
    memory = image_memory(&image->info);
    if (memory > opener->memory_limit)
        return out_of_memory(opener->error, number);
    opener->memory_limit -= memory;
    r = resolve_data_file(opener, &image->info, number, &data_file);
    if (r < 0)
        return r;
    if (chain_grow(chain) < 0)
        return out_of_memory(opener->error, number);
    chain_append(chain, (struct layer) { TAKE_PTR(io), TAKE_PTR(image), TAKE_PTR(data_file) }, id);
    return 0;

failed:
    if (opener->error)
        opener->error->layer = child_number;
    return r;
}

int qca_chain_open(struct qca_image *leaf, const struct qca_chain_options *options,
                   qca_resolve_fn resolve, void *userdata, struct qca_error *error,
                   struct qca_chain **ret_chain)
{
    _cleanup_(qca_chain_freep) struct qca_chain *chain = calloc(1, sizeof(*chain));
    struct opener opener = {
        .chain = chain,
        .max_depth = options && options->max_depth ? options->max_depth : MAX_DEPTH_DEFAULT,
        .memory_limit = options && options->memory_limit ? options->memory_limit
                                                         : UINT64_C(1) << 30,
        .resolve = resolve,
        .userdata = userdata,
        .error = error,
    };
    struct layer first = { .image = leaf };
    int r;

    if (!chain || chain_grow(chain) < 0)
        return out_of_memory(error, 0);
    r = resolve_data_file(&opener, &leaf->info, 0, &first.data_file);
    if (r < 0)
        return r;
    chain_append(chain, first, options ? options->id : (struct qca_file_id) { 0 });

    while (!(options && options->layer_only) && chain->layers[chain->n_layers - 1].image->info.parent) {
        r = open_parent(&opener);
        if (r < 0)
            return r;
    }
    *ret_chain = TAKE_PTR(chain);
    return 0;
}

void qca_chain_free(struct qca_chain *chain)
{
    if (!chain)
        return;
    for (size_t i = 0; i < chain->n_layers; i++) {
        if (i > 0)
            qca_image_free(chain->layers[i].image);
        qca_io_free(chain->layers[i].io);
        qca_io_free(chain->layers[i].data_file);
    }
    free(chain->layers);
    free(chain->slots);
    free(chain->ids);
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

uint64_t qca_chain_data_file_size(const struct qca_chain *chain, size_t index)
{
    if (index >= chain->n_layers || !chain->layers[index].data_file)
        return 0;
    return qca_io_size(chain->layers[index].data_file);
}

struct qca_io *chain_layer_data(const struct qca_chain *chain, size_t index)
{
    const struct layer *layer = &chain->layers[index];

    return layer->data_file ? layer->data_file : layer->image->io;
}
