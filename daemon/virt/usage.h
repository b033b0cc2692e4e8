/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt says of each image: which domain's disk it is a layer of, which snapshot made it,
 * what else uses it. Pure: an index over one snapshot of libvirt's knowledge, by path. */
#pragma once

#include "daemon/core/file.h"
#include "daemon/virt/status.h"

enum usage_kind {
    USAGE_LAYER,                /* of a domain's disk */
    USAGE_MIRROR,               /* target of a copy that runs on a disk */
    USAGE_FILE,                 /* what else a domain uses: kernel, NVRAM, memory of a snapshot,
                                 * data file of a layer */
    USAGE_MADE,                 /* an external snapshot made it, as an overlay */
    USAGE_BEFORE,               /* was the domain's disk when an external snapshot was made */
};

/* One thing that libvirt says of a path. All points into the snapshot, or into the index. */
struct usage_entry {
    const char *path;           /* as discover names it, where that is known */
    enum usage_kind kind;
    bool live;                  /* by the live XML of an active domain; else only defined so */
    bool writes;                /* the domain may write it: a disk's source, a job's target, a
                                 * FILE */
    const struct virt_domain *domain;
    const struct virt_disk *disk;       /* LAYER, MIRROR */
    const struct virt_snapshot *snapshot;       /* MADE, BEFORE, and a snapshot's memory */
    size_t layer;               /* LAYER: 0 is the disk's source, 1 the layer below */
    bool missing;               /* nothing is there under this path */
    bool pending;               /* it will be looked up, and was not yet: nobody knows whether it
                                 * is missing */
    bool noted;                 /* a live LAYER: the file that lay there when this run of the
                                 * domain was seen first */
    struct identity identity;
    int32_t run;                /* the domain's id */
    uint64_t digest;            /* of all of it that may change a judgement */
};

/* All that is said of one path: live entries first, then by kind and layer. */
struct usage {
    const struct usage_entry *entries;
    size_t n_entries;
};

struct usage_index;

/* The file at a path that libvirt gave. */
struct usage_file {
    const char *path;           /* as discover has it (links on the way, another spelling); NULL:
                                 * the same. Borrowed until usage_index_new() returns */
    bool missing;               /* somebody looked, and nothing is there */
    bool pending;               /* nobody has looked yet */
    bool known;                 /* and this is it */
    struct identity identity;
};
typedef void (*usage_look_fn)(void *userdata, const char *path, struct usage_file *ret_file);

/* Takes a reference of status, which may be NULL: nothing is said then. before (may be NULL) is the
 * last index: what it noted of runs that go on is kept. look may be NULL. O(n log n). -ENOMEM. */
int usage_index_new(struct virt_status *status, const struct usage_index *before,
                    usage_look_fn look, void *userdata, struct usage_index **ret_index);
struct usage_index *usage_index_free(struct usage_index *index);
/* NULL without libvirt. */
const struct virt_status *usage_status(const struct usage_index *index);
/* Calls back for every path of which before and now say different things (either may be NULL). */
void usage_index_compare(const struct usage_index *before, const struct usage_index *now,
                         void (*changed)(void *userdata, const char *path), void *userdata);
/* Calls back for every path of libvirt's that is said anything of; some more than once. */
void usage_paths(const struct virt_status *status, void (*each)(void *userdata, const char *path),
                 void *userdata);

/* Finds libvirt's uses of the path; n_entries 0: none. index may be NULL. */
struct usage usage_find(const struct usage_index *index, const char *path);

/* The path under which one of libvirt's is found: itself, or what usage_look_fn said. */
const char *usage_path(const struct usage_index *index, const char *path);
/* Finds the entry of this very layer; NULL for one without a path. */
const struct usage_entry *usage_of_layer(const struct usage_index *index,
                                         const struct virt_disk *disk, size_t layer);

/* Is libvirt's word complete: connected to all connections, all of it read at least once? What is
 * not there is not there then. False without libvirt. */
bool usage_is_complete(const struct usage_index *index);

/* The disk whose source it is, a live one first; NULL when it is no disk's source. */
const struct usage_entry *usage_source(const struct usage *usage);
/* The disk whose layer it is: its source first, live first; NULL. */
const struct usage_entry *usage_layer(const struct usage *usage);
/* A live domain that writes it; NULL. */
const struct usage_entry *usage_writer(const struct usage *usage);
/* The external snapshot that made it (by_domain NULL: of any domain); NULL. */
const struct usage_entry *usage_made(const struct usage *usage,
                                     const struct virt_domain *by_domain);
/* Used as a CD-ROM or floppy by some domain, and as nothing else? */
bool usage_is_medium(const struct usage *usage);
/* How it is in use by what libvirt says, locks or no locks. */
enum files_use usage_use(const struct usage *usage);

/* The name under which a domain is a subject of findings: "web1 on qemu:///system"; malloc'd, NULL
 * without memory. */
char *usage_domain_subject(const struct virt_status *status, const struct virt_domain *domain);
/* The URI of its connection. */
const char *usage_domain_uri(const struct virt_status *status, const struct virt_domain *domain);
