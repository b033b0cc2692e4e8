/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Evidence of the layers next to an overlay: a series of names, a rhythm of times, a long run of
 * plain layers. Each looks at a few layers below and above alone, so that the cost does not depend
 * on how long a chain is. */
#include "daemon/relate/internal.h"
#include "helpers/clock.h"

#define SERIES_LEAST 4                  /* relations in a row */
#define RUN_LEAST 5
#define RHYTHM_LEAST 3                  /* intervals in a row */
#define RHYTHM_TOLERANCE 5              /* they may differ by a fifth, */
#define RHYTHM_SHORTEST (60 * (int64_t)NSEC_PER_SEC)    /* shorter ones are a script's */

static bool has_one_overlay(const struct node *node)
{
    return node->n_children - node->n_strangers == 1;
}

struct node *node_above(const struct node *node)
{
    for (size_t i = 0; has_one_overlay(node) && i < node->n_children; i++)
        if (!(image_node(node->children[i])->kind_flags & KIND_STRANGER))
            return image_node(node->children[i]);
    return NULL;
}

/* A relation is known by its overlay. How many in a row, the node's own among them, are so, up to
 * SERIES_SPAN below and above. */
static unsigned count_run(const struct node *node, bool (*is_so)(const struct node *node),
                          bool *ret_lowest)
{
    const struct node *other = node->parent;
    unsigned n = 1, steps;

    if (ret_lowest)
        *ret_lowest = true;
    for (steps = 0; other && other->parent && steps < SERIES_SPAN && is_so(other);
         other = other->parent, steps++, n++)
        if (ret_lowest)
            *ret_lowest = false;
    other = node_above(node);
    for (steps = 0; other && steps < SERIES_SPAN && is_so(other); steps++, n++)
        other = node_above(other);
    return n;
}

static bool has_series_name(const struct node *node)
{
    return node->parent && node->name_says != NAME_OTHER;
}

/* The first member of a series, as "s1" on "disk" below "s2" on "s1", counts, too. */
static bool begins_series(const struct node *node)
{
    const struct node *child = node;

    for (unsigned i = 0; i < SERIES_SPAN && has_series_name(child->parent); i++)
        child = child->parent;
    node = child->parent;
    return node->parent && (node->kind_flags & KIND_PLAIN) &&
           layer_name_follows(child->image->path, node->image->path);
}

bool node_in_series(const struct node *node)
{
    return has_series_name(node) &&
           count_run(node, has_series_name, NULL) + begins_series(node) >= SERIES_LEAST;
}

/* "disk" has "s1", "s2" and so on above it. What a series is named after, as "web" in "web.s1", is
 * no member of it: that is a disk's own layer. */
bool node_below_series(const struct node *node)
{
    const struct node *other = node_above(node);
    unsigned n = 0;

    if (!(node->kind_flags & KIND_PLAIN) || !other ||
        !layer_name_follows(other->image->path, node->image->path))
        return false;
    for (; other && n < SERIES_LEAST && has_series_name(other); other = node_above(other))
        n++;
    return n >= SERIES_LEAST - 1;
}

static bool is_plain(const struct node *node)
{
    return node->parent && !(node->kind_flags & KIND_STRANGER) &&
           has_one_overlay(node->parent) && (node->kind_flags & KIND_PLAIN);
}

/* Do the numbers of the names go down as the layers go up, as "disk.1" on "disk.2" does when the
 * older files are renamed at each snapshot? */
static bool counts_down(const struct node *overlay, const struct node *parent)
{
    return layer_name_follows(parent->image->path, overlay->image->path);
}

bool node_in_run(const struct node *node)
{
    const struct node *child = node_above(node);
    bool lowest;

    /* The lowest one may just as well be the clone of a template that snapshots stand on, unless
     * the base is called as one of them. */
    return is_plain(node) && count_run(node, is_plain, &lowest) >= RUN_LEAST &&
           (!lowest || (child && counts_down(node, node->parent) && counts_down(child, node)));
}

/* When the relation came into being, if it is a snapshot's: the parent was written until then. */
static int64_t began(const struct node *node)
{
    return node->parent && !image_is_device(node->parent->image)
               ? node->parent->image->fingerprint.mtime : 0;
}

bool node_in_rhythm(const struct node *node)
{
    int64_t times[2 * SERIES_SPAN + 1];
    unsigned n = 0, at, run = 0;
    const struct node *lowest = node, *other;

    for (unsigned i = 0; i < SERIES_SPAN && lowest->parent && lowest->parent->parent; i++)
        lowest = lowest->parent;
    for (other = lowest, at = 0; other && n < 2 * SERIES_SPAN + 1; other = node_above(other)) {
        if (other == node)
            at = n;
        else if (n > at && at > 0 && n - at > SERIES_SPAN)
            break;
        times[n] = began(other);
        if (times[n++] <= 0)
            return false;
    }
    /* Is it among enough intervals, each like the one before? */
    for (unsigned i = 1; i < n; i++) {
        int64_t interval = times[i] - times[i - 1],
                before = run > 0 ? times[i - 1] - times[i - 2] : interval,
                least = interval < before ? interval : before;

        if (interval < RHYTHM_SHORTEST) {
            run = 0;
            continue;
        }
        run = (interval > before ? interval - before : before - interval) <=
                      least / RHYTHM_TOLERANCE ? run + 1 : 1;
        if (run >= RHYTHM_LEAST && at <= i && at + run >= i)
            return true;
    }
    return false;
}
