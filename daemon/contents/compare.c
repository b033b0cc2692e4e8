/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compares the block digests of a reading with those it must have, and with those of the layers
 * around it. In a task. */
#include "daemon/contents/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

/* After a crash at the wrong moment it may be of another reading than the baseline. */
static bool has_digest(FILE *file, const uint8_t digest[static 32])
{
    struct blocks_reader *reader = NULL;
    bool same = blocks_reader_new(file, &reader) == 0 &&
                memcmp(blocks_reader_header(reader)->digest, digest, 32) == 0;

    blocks_reader_free(reader);
    return same;
}

/* The files of block digests of the layers above; which[] says whose each is. */
static size_t open_children(const struct finishing *finishing, struct blocks_child *children,
                            size_t *which)
{
    size_t n = 0;

    for (size_t i = 0; i < finishing->n_children; i++) {
        const struct candidate *candidate = &finishing->children[i];
        FILE *file = state_file_open(candidate->blocks);

        if (!file)
            continue;
        which[n] = i;
        children[n++] = (struct blocks_child){ .file = file, .stands = candidate->stands,
                                               .parts = candidate->parts };
    }
    return n;
}

/* Roots by their place among those that are there; a branch without its root is one by itself. */
static void number_roots(const struct finishing *finishing, struct blocks_child *children,
                         const size_t *which, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        children[i].root = i;
        for (size_t k = 0; k < n; k++)
            if (which[k] == finishing->children[which[i]].root)
                children[i].root = k;
    }
}

/* Another layer's file that is damaged or gone explains nothing. */
void finishing_compare(struct finishing *finishing)
{
    _cleanup_free_ struct blocks_child *children = calloc(finishing->n_children + 1,
                                                          sizeof(*children));
    _cleanup_free_ size_t *which = calloc(finishing->n_children + 1, sizeof(*which));
    _cleanup_fclose_ FILE *after = state_file_open(finishing->fresh),
                          *before = state_file_open(finishing->before);
    bool asked = before || !state_error_passes(-errno);
    FILE *below = finishing->below ? state_file_open(finishing->below) : NULL;
    size_t n = children && which ? open_children(finishing, children, which) : 0, bad = 0;
    int r = -EBADMSG;

    if (before && !has_digest(before, finishing->before_digest)) {
        fclose(before);
        before = NULL;
    }
    while (before && after) {
        number_roots(finishing, children, which, n);
        r = blocks_compare(before, after, finishing->layered, below, children, n,
                           &finishing->difference, &bad);
        if (r != -EBADMSG || bad < 2)
            break;
        if (bad == 2) {
            fclose(below);
            below = NULL;
            continue;
        }
        fclose(children[bad - 3].file);
        n--;
        memmove(children + bad - 3, children + bad - 2, (n - (bad - 3)) * sizeof(children[0]));
        memmove(which + bad - 3, which + bad - 2, (n - (bad - 3)) * sizeof(which[0]));
    }
    if (below)
        fclose(below);
    finishing->compared = r == 0;
    finishing->before_damaged = after && asked && (!before || (r == -EBADMSG && bad == 0));
    for (size_t i = 0; r == 0 && i < n; i++)
        finishing->children[which[i]].used = children[i].used;
    if (r == 0 && finishing->difference.hurts)
        finishing->difference.hurt_child = which[finishing->difference.hurt_child];
    while (n > 0)
        fclose(children[--n].file);
}
