/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moves of domains' disks that were seen: from which image to which overlay. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/relate/internal.h"
#include "lib/cleanup.h"

struct disk_move {
    uint64_t at;
    const char *overlay, *parent;
    char text[];
};

static int move_compare(const void *a, const void *b)
{
    const struct disk_move *x = a, *y = b;

    return strcmp(x->overlay, y->overlay);
}

static struct disk_move *move_find(const struct graph *graph, const char *overlay)
{
    struct disk_move key = { .overlay = overlay };
    void *found = tfind(&key, &graph->moves, move_compare);

    return found ? *(struct disk_move **)found : NULL;
}

static void move_forget(struct graph *graph, struct disk_move *move)
{
    if (!move)
        return;
    tdelete(move, &graph->moves, move_compare);
    free(move);
}

int graph_note_disk_move(struct graph *graph, const char *overlay, const char *parent, uint64_t at)
{
    size_t n_overlay = strlen(overlay) + 1, n_parent = strlen(parent) + 1;
    struct disk_move *move = move_find(graph, overlay);
    struct image *image = graph_find(graph, overlay);

    if (move && strcmp(move->parent, parent) == 0)
        return 0;
    move_forget(graph, move);
    move = malloc(sizeof(*move) + n_overlay + n_parent);
    if (!move)
        return -ENOMEM;
    *move = (struct disk_move){ .at = at, .overlay = move->text, .parent = move->text + n_overlay };
    memcpy(move->text, overlay, n_overlay);
    memcpy(move->text + n_overlay, parent, n_parent);
    if (!tsearch(move, &graph->moves, move_compare)) {
        free(move);
        return -ENOMEM;
    }
    if (image && image_node(image))
        node_mark(graph, image_node(image), NODE_TELL | NODE_FACTS);
    return 1;
}

bool graph_has_disk_move(const struct graph *graph, const char *overlay)
{
    return move_find(graph, overlay);
}

bool graph_disk_moved(const struct graph *graph, const struct image *overlay,
                      const struct image *parent)
{
    const struct disk_move *move = graph->moves ? move_find(graph, overlay->path) : NULL;
    int64_t birth = image_birth(overlay);

    /* Another file lies there since. */
    return move && strcmp(move->parent, parent->path) == 0 &&
           (birth == 0 || (uint64_t)birth / 1000 <= move->at);
}

void graph_forget_disk_move(struct graph *graph, const char *overlay)
{
    move_forget(graph, move_find(graph, overlay));
}

void graph_free_moves(struct graph *graph)
{
    while (graph->moves)
        move_forget(graph, *(struct disk_move **)graph->moves);
}
