/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The graph of images: who is whose parent, and what follows: depth, loops, golden images, own layers. Pure. */
#pragma once

#include "model.h"

struct graph;

/* What follows for one image from its place in the graph. */
struct relation {
    struct image *parent;       /* NULL: none, or not found */
    struct image *const *children;      /* direct overlays */
    size_t n_children;
    uint32_t depth;             /* layers from here down to the base or to where it breaks, 1 alone; 0 in or above a loop */
    struct image *base;         /* deepest layer reached; NULL in or above a loop */
    bool complete;              /* every parent down to the base was found */
    bool in_loop;               /* is a member of a loop, */
    bool above_loop;            /* or hangs on one */
    struct image *loop_head;    /* member with the smallest path: the loop's one subject */
    bool leaf;                  /* no overlay uses it */
    bool golden;                /* by policy or inferred */
    bool golden_inferred;
    struct image *golden_layer; /* the nearest golden layer below (or itself); NULL without */
    struct image *own_layer;    /* the first layer above the golden image, else the base; itself if it is that */
    uint32_t unconsolidated;    /* layers above the own layer */
    struct image *oldest_unconsolidated;        /* the layer next above the own layer; NULL when 0 */
};

int graph_new(struct graph **ret_graph);
struct graph *graph_free(struct graph *graph);
/* The policy is borrowed, may be exchanged; everything is dirty then. */
void graph_set_policy(struct graph *graph, const struct policy *policy);

/* Tell of a new image, of one whose audit, parent reference, fingerprint or presence changed, and of one
 * that will be freed. Each marks what depends on it as dirty; nothing is computed yet. */
int graph_add(struct graph *graph, struct image *image);
int graph_update(struct graph *graph, struct image *image);
void graph_remove(struct graph *graph, struct image *image);

/* Computes what became dirty, in linear time, and tells of every image whose relation (or own facts)
 * changed: these have to be judged again. */
int graph_refresh(struct graph *graph, void (*changed)(void *userdata, struct image *image), void *userdata);

/* Valid until the next change of the graph; call after graph_refresh(). NULL for an image not in it. */
const struct relation *graph_relation(const struct graph *graph, const struct image *image);
/* By path, else by identity; NULL when not known. */
struct image *graph_find(const struct graph *graph, const char *path);
struct image *graph_find_identity(const struct graph *graph, const struct identity *identity);
/* When the layer was made, usec since the epoch, 0 unknown; *ret_source names where that is from:
 * "parent-mtime" (when the parent froze), else "birth-time", else "mtime". */
uint64_t graph_layer_created(const struct graph *graph, const struct image *image, const char **ret_source);
