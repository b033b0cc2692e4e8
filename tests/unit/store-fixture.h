/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A datastore of made-up images with their graph, for the tests of what is said about many of
 * them. */
#pragma once

#include "unit/model-fixture.h"

#include "daemon/relate/relate.h"

struct fixture_store {
    struct datastore datastore;
    struct datastore *datastores[1];    /* as a list */
    struct graph *graph;
    struct image **images;
    size_t n_images;
};

/* The policy is borrowed. */
static inline void fixture_store_begin(struct fixture_store *store, const char *name,
                                       const char *path, const struct policy *policy)
{
    store->datastore =
        (struct datastore){ .name = strdup(name), .path = strdup(path), .state = DATASTORE_ONLINE };
    assert_true(store->datastore.name && store->datastore.path);
    store->datastores[0] = &store->datastore;
    assert_int_equal(graph_new(&store->graph), 0);
    graph_set_policy(store->graph, policy);
}

static inline void fixture_store_end(struct fixture_store *store)
{
    graph_free(store->graph);
    for (size_t i = 0; i < store->n_images; i++)
        image_free(store->images[i]);
    free(store->images);
    free(store->datastore.name);
    free(store->datastore.path);
}

/* One more, audited at `audited`: as fixture_image() makes them. */
static inline struct image *fixture_store_add(struct fixture_store *store, const char *path,
                                              const char *parent, uint64_t audited)
{
    struct image *image = fixture_image(&store->datastore, path, store->n_images + 100, parent);

    image->audit->started = image->audit->finished = audited;
    store->images = reallocarray(store->images, store->n_images + 1, sizeof(image));
    assert_non_null(store->images);
    store->images[store->n_images++] = image;
    assert_int_equal(graph_add(store->graph, image), 0);
    return image;
}
