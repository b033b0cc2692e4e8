/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What one connection knows, as libvirt's threads make it: immutable, counted pieces that a status
 * is put together from, and that the next one shares where nothing changed. */
#pragma once

#include <stdatomic.h>

#include "daemon/virt/status.h"

/* The content of a domain's XML. Never changed after it was made. */
struct virt_body {
    atomic_uint refs;
    uint64_t hash;              /* of the texts it was made from */
    char *name;
    char uuid[37];
    uint64_t memory_max;
    struct virt_disk *disks;    /* without what a running domain is asked for: job.done, error,
                                 * capacity, ... */
    size_t n_disks;
    struct virt_disk *defined_disks;
    size_t n_defined_disks;
    char **files;
    size_t n_files;
    uint64_t n_left_out;
};

struct virt_snapshots {
    atomic_uint refs;
    uint64_t hash;              /* of the texts they were made from, and of which is current */
    struct virt_snapshot *items;
    size_t n_items;
    uint64_t n_left_out;
};

struct virt_checkpoints {
    atomic_uint refs;
    uint64_t hash;
    struct virt_checkpoint *items;
    size_t n_items;
    uint64_t n_left_out;
};

/* A domain as it is now: its disks are a copy of the body's, with what was asked for. */
struct virt_record {
    atomic_uint refs;
    struct virt_domain domain;  /* version 0 until it is published */
    struct virt_body *body;
    struct virt_snapshots *snapshots;       /* NULL: none */
    struct virt_checkpoints *checkpoints;
};

struct virt_pools {
    atomic_uint refs;
    struct virt_pool *items;
    size_t n_items;
    uint64_t n_left_out;
};

/* All that one connection knows. */
struct virt_part {
    atomic_uint refs;
    struct virt_record **records;       /* in order of UUID */
    size_t n_records;
    struct virt_pools *pools;           /* NULL: not known */
    bool absent, connected, complete;
    uint64_t since;
    char *error;
    uint64_t n_left_out;
};

/* The references of all of them: ref returns its argument, unref NULL; both take NULL. */
struct virt_body *virt_body_ref(struct virt_body *body);
struct virt_body *virt_body_unref(struct virt_body *body);
struct virt_snapshots *virt_snapshots_ref(struct virt_snapshots *snapshots);
struct virt_snapshots *virt_snapshots_unref(struct virt_snapshots *snapshots);
struct virt_checkpoints *virt_checkpoints_ref(struct virt_checkpoints *checkpoints);
struct virt_checkpoints *virt_checkpoints_unref(struct virt_checkpoints *checkpoints);
struct virt_record *virt_record_ref(struct virt_record *record);
struct virt_record *virt_record_unref(struct virt_record *record);
struct virt_pools *virt_pools_ref(struct virt_pools *pools);
struct virt_pools *virt_pools_unref(struct virt_pools *pools);
struct virt_part *virt_part_ref(struct virt_part *part);
struct virt_part *virt_part_unref(struct virt_part *part);

/* A NULL-ended list; takes NULL. */
/* Frees what the struct owns. */
void virt_disk_done(struct virt_disk *disk);
void virt_snapshot_done(struct virt_snapshot *snapshot);
void virt_checkpoint_done(struct virt_checkpoint *checkpoint);
void virt_pool_done(struct virt_pool *pool);

/* A record of the body's domain, not active, without anything that was asked for. Takes references.
 * -ENOMEM. */
int virt_record_new(struct virt_body *body, struct virt_snapshots *snapshots,
                    struct virt_checkpoints *checkpoints, struct virt_record **ret_record);
/* Do both say the same, figures aside? */
bool virt_record_equal(const struct virt_record *a, const struct virt_record *b);

/* Puts a status together from one part per URI, NULL for one that said nothing yet. generation and
 * taken are the caller's to fill in. -ENOMEM. */
int virt_status_new(char *const *uris, struct virt_part *const *parts, size_t n,
                    struct virt_status **ret_status);
