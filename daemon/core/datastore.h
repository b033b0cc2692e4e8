/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A datastore and its state. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/coverage.h"
#include "daemon/core/series.h"
#include "helpers/client.h"

enum datastore_state { DATASTORE_STARTING, DATASTORE_ONLINE, DATASTORE_OFFLINE, DATASTORE_PAUSED,
                       DATASTORE_REMOVED /* from the configuration */, _DATASTORE_STATE_MAX };

const char *datastore_state_name(enum datastore_state state);
int datastore_state_from_name(const char *name);        /* -EINVAL when unknown */

/* Space is a file system's, however many datastores lie on it. The manager's. */
struct datastore_space {
    const struct datastore *first;      /* by name: its findings tell of the file system; NULL:
                                         * itself */
    const struct datastore *measured;   /* whose numbers hold now; NULL: its own */
    uint64_t growth;            /* bytes by which the images of all of them can grow at worst */
    char *others;               /* names of the others, "b and c"; NULL: none */
    unsigned n_others;
};

struct datastore {
    int64_t id;
    char *name;                 /* from the configuration, or made of the pool's */
    char *path;
    char *pool;                 /* as libvirt calls the storage pool that it is; NULL: of the
                                 * configuration */
    bool of_devices;            /* a pool of block devices */
    bool recursive;
    enum datastore_state state;
    int error;                  /* -errno why offline */
    struct files_root root;     /* as last told; zero before */
    bool watched;               /* inotify sees all of it */
    int watch_error;            /* -errno why not, or -ENOSPC, -EOVERFLOW */
    uint64_t overflows;
    uint64_t unreadable;        /* files that may not be read, in the last walk */
    uint32_t walk;              /* number of the last begun walk */
    uint64_t walk_started, walk_finished;   /* usec, of the last complete one */
    bool partly_walked;         /* it left files to the next one, which follows by itself */
    uint64_t paused_until;      /* usec; UINT64_MAX without end; 0 not paused */
    uint64_t n_images;          /* listed ones */
    uint64_t scan;              /* the manager's: ticket of the scan that waits for its walk, 0
                                 * none */
    bool dirty;                 /* the manager's: to be judged again */
    uint32_t n_foreign[_QCA_FORMAT_MAX];        /* the manager's: listed images, no extents,
                                                 * by format, that are not understood */
    uint64_t n_denied;          /* the manager's: listed images that may not be read, as their
                                 * audits say */
    bool all_denied;            /* and no listed image can be: said once, of the datastore */
    uint64_t growth;            /* the manager's: bytes by which its images can grow at worst */
    struct datastore_space space;
    struct coverage coverage;
    struct series available;    /* bytes */
};

struct datastore *datastore_free(struct datastore *datastore);
