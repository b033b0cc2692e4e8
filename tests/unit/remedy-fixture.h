/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remedies for the tests of the pure stages: what the gate wants to be looked at is answered from
 * the images themselves. */
#pragma once

#include "unit/model-fixture.h"

#include "daemon/remedy/remedy.h"

/* As if the file were there now as the image says, and nothing had changed since its audit. */
static inline void fixture_answer(const struct graph *graph, struct look *look)
{
    const struct image *image = look->kind == LOOK_FILE ? graph_find(graph, look->path) : NULL;

    look->answered = true;
    look->available = UINT64_MAX;
    if (look->kind == LOOK_ROOM)
        return;
    look->error = image ? 0 : -ENOENT;
    if (!image)
        return;
    look->use = image->locked;
    look->stat = (struct files_stat){
        .type = FILES_REGULAR, .fsid = image->identity.fsid, .inode = image->identity.inode,
        .btime = image->identity.btime, .size = image->fingerprint.size,
        .allocated = image->fingerprint.allocated, .mtime = image->fingerprint.mtime,
        .ctime = image->fingerprint.ctime, .mode = image->fingerprint.mode,
        .uid = image->fingerprint.uid, .gid = image->fingerprint.gid,
        .links = image->fingerprint.links,
    };
    if (image->audit)
        image->audit->fingerprint = image->fingerprint;
}

static inline void fixture_remedy(const struct graph *graph, const struct finding *finding,
                                  json_object **ret_remedy)
{
    struct looks *looks = NULL;
    json_object *remedy = NULL;
    bool more = true;

    assert_int_equal(looks_new(false, &looks), 0);
    for (unsigned i = 0; more; i++) {
        struct look *look;

        assert_true(i < 10);
        json_object_put(remedy);
        remedy = NULL;
        assert_int_equal(remedy_make(graph, finding, looks, &remedy), 0);
        more = false;
        while ((look = looks_next(looks))) {
            fixture_answer(graph, look);
            more = true;
        }
    }
    looks_free(looks);
    *ret_remedy = remedy;
}
