/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt knows, as plain structs: one immutable snapshot of all connections, made by
 * libvirt's thread and read by the loop.
 *
 * All texts are hostile (a domain's administrator chose them), NULL where libvirt does not tell,
 * owned by the snapshot, and bounded by its maker (VIRT_DOMAINS_MAX and the like); what is more is
 * left out and counted. Times are usec since the epoch, 0 unknown; sizes bytes. Lists are sorted so
 * that equal states are equal snapshots: domains by connection and UUID, disks by target, the rest
 * by name. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRT_DOMAINS_MAX 20000
#define VIRT_DISKS_MAX 256              /* of a domain */
#define VIRT_LAYERS_MAX 10000           /* of a disk */
#define VIRT_SNAPSHOTS_MAX 10000        /* of a domain; checkpoints too */
#define VIRT_POOLS_MAX 4096
#define VIRT_VOLUMES_MAX 1000           /* of a pool that is not of files */
#define VIRT_FILES_MAX 1000             /* of a domain, beside its disks */
#define VIRT_TEXT_MAX 4095              /* bytes of any name or path; what has more is left out */

enum virt_source {
    VIRT_SOURCE_NONE,           /* an empty drive */
    VIRT_SOURCE_FILE,
    VIRT_SOURCE_BLOCK,
    VIRT_SOURCE_VOLUME,         /* pool and volume; path is set too when libvirt could tell it */
    VIRT_SOURCE_NETWORK,        /* name says which: "rbd:pool/image"; not auditable */
    VIRT_SOURCE_OTHER,          /* dir, nvme, vhostuser, ... */
};

/* A layer as libvirt names it. */
struct virt_layer {
    enum virt_source source;
    char *path;                 /* absolute, for files and block devices */
    char *pool, *volume;        /* VIRT_SOURCE_VOLUME */
    char *name;                 /* VIRT_SOURCE_NETWORK: protocol, and what it names */
    char *format;               /* driver type: "qcow2", "raw", ...; NULL where libvirt has none
                                 * (it probes, or takes raw) */
    char *data_file;            /* path of its external data file */
};

/* A job that runs on a disk now. */
struct virt_job {
    char *type;                 /* "commit", "active-commit", "copy", "pull", "backup"; NULL
                                 * without */
    bool ready;                 /* it only waits for pivot or abort */
    uint64_t done, total;       /* bytes */
    uint64_t since;             /* usec: seen first by this daemon, */
    uint64_t ready_since;       /* and ready first */
    char *mirror;               /* path of a copy's target */
};

struct virt_disk {
    char *target;               /* "vda": unique in the domain */
    char *device;               /* "disk", "cdrom", "floppy", "lun" */
    bool read_only, shareable, transient;
    /* As libvirt sees it: the disk's source first, then <backingStore> downwards. A defined
     * domain's persistent XML often has the source alone; complete: it ends with an empty
     * <backingStore/>. */
    struct virt_layer *layers;
    size_t n_layers;
    bool complete;
    struct virt_job job;
    char *error;                /* virDomainGetDiskErrors: "no-space", "unspecified"; NULL
                                 * without */
    uint64_t capacity, allocation, physical;    /* virDomainGetBlockInfo, 0 unknown */
};

enum virt_state {
    VIRT_SHUT_OFF,
    VIRT_RUNNING,
    VIRT_PAUSED,
    VIRT_OTHER_ACTIVE,
    VIRT_CRASHED,
    VIRT_SAVED
};

enum virt_snapshot_kind {
    VIRT_SNAPSHOT_NONE,
    VIRT_SNAPSHOT_INTERNAL,
    VIRT_SNAPSHOT_EXTERNAL,
    VIRT_SNAPSHOT_MANUAL
};

struct virt_snapshot_disk {
    char *target;               /* "vda", or the path of the image where the XML says so */
    enum virt_snapshot_kind kind;
    char *path;                 /* external: the overlay that it made; what the guest wrote
                                 * before is below it */
    char *before;               /* path of the image that was the disk's when it was made, from
                                 * the <domain> in it; NULL unknown */
};

struct virt_snapshot {
    char *name, *parent;        /* parent NULL for a root */
    uint64_t created;
    bool current;
    bool deleting;              /* libvirt marked it: a deletion began and did not end */
    char *memory_path;          /* external memory */
    bool memory_internal;
    struct virt_snapshot_disk *disks;
    size_t n_disks;
};

struct virt_checkpoint_disk {
    char *target;
    char *bitmap;               /* NULL: no bitmap for this disk */
};

struct virt_checkpoint {
    char *name, *parent;
    uint64_t created;
    struct virt_checkpoint_disk *disks;
    size_t n_disks;
};

struct virt_domain {
    char uuid[37];
    char *name;
    size_t connection;          /* index into virt_status.connections */
    int32_t id;                 /* -1 when not active: a new start has a new id */
    enum virt_state state;
    bool persistent;
    bool backup;                /* a backup job (virDomainBackupBegin) runs */
    bool migrating;             /* an incoming or outgoing migration */
    bool io_error;              /* paused for an I/O error */
    uint64_t memory_max;        /* bytes */
    uint64_t started;           /* usec; first seen running by this daemon, with this id; 0 not
                                 * active */
    struct virt_disk *disks;    /* live XML when active, else the persistent one */
    size_t n_disks;
    struct virt_disk *defined_disks;    /* persistent XML of an active persistent domain; else
                                         * NULL and 0 */
    size_t n_defined_disks;
    char **files;               /* what else it uses: kernel, initrd, NVRAM and its template,
                                 * memory, <source file> of whatever device; NULL-ended */
    char **backup_files;        /* what its backup writes: scratch files and targets; NULL-ended,
                                 * NULL without a backup */
    struct virt_snapshot *snapshots;
    size_t n_snapshots;
    struct virt_checkpoint *checkpoints;
    size_t n_checkpoints;
    char *error;                /* why parts of it could not be had: one sentence; NULL when all
                                 * is there */
    uint64_t version;           /* another one whenever anything but figures (sizes, how far a
                                 * job is) changed */
};

struct virt_pool {
    char *name;
    char uuid[37];
    size_t connection;
    char *type;                 /* "dir", "fs", "netfs", "logical", "disk", "iscsi", "scsi",
                                 * "mpath", "rbd", ... */
    char *path;                 /* target path; NULL for a network pool */
    bool active, autostart;
    bool auditable;             /* by path; else its volumes are listed, and why not */
    uint64_t capacity, allocation, available;
    /* Of a pool of block devices, and of one that is not auditable: */
    char **volumes;             /* their names, NULL-ended, at most VIRT_VOLUMES_MAX */
    size_t n_volumes;           /* all of them */
    char **devices;             /* paths of the same volumes, for a pool of block devices;
                                 * NULL-ended */
    uint64_t refreshed;         /* usec: when libvirt last said that it was refreshed; 0 never */
};

struct virt_connection {
    char *uri;
    bool absent;                /* the default one, and libvirt has no socket on this host:
                                 * nothing is wrong */
    bool connected;             /* and it answers */
    bool complete;              /* all of it was read at least once since it was connected: what
                                 * is not there, is not there */
    uint64_t since;             /* usec: of the present state */
    char *error;                /* why not connected; one sentence */
    uint64_t n_left_out;        /* domains, disks or the like beyond the limits */
};

struct virt_status {
    uint64_t generation;        /* counts up with every snapshot */
    uint64_t taken;             /* usec */
    struct virt_connection *connections;        /* as configured */
    size_t n_connections;
    struct virt_domain *domains;        /* of a connection that is lost: as they were last, until
                                         * it is complete again */
    size_t n_domains;
    struct virt_pool *pools;
    size_t n_pools;
};

/* Counted by both threads. Both take NULL; unref returns NULL. */
struct virt_status *virt_status_ref(struct virt_status *status);
struct virt_status *virt_status_unref(struct virt_status *status);

/* The order of domains in a status. */
int virt_domain_compare(const struct virt_domain *a, const struct virt_domain *b);
/* Are the same ones connected, and completely read? NULL is equal to NULL alone. */
bool virt_connections_equal(const struct virt_status *a, const struct virt_status *b);
/* Do both say the same of connections and domains, figures aside? Then nothing follows from one
 * that does not follow from the other. NULL is equal to nothing. */
bool virt_status_equal(const struct virt_status *a, const struct virt_status *b);

/* The volumes of a pool of that type ("dir", "logical", "rbd", ...): files below its path, block
 * devices, or volumes that only a network protocol reaches. */
enum virt_pool_kind { VIRT_POOL_FILES, VIRT_POOL_DEVICES, VIRT_POOL_NETWORK };
enum virt_pool_kind virt_pool_kind(const char *type);

/* A drive whose medium can be taken out: a CD, a floppy disk. */
bool virt_disk_is_medium(const struct virt_disk *disk);
bool virt_domain_is_active(const struct virt_domain *domain);
/* By name or UUID; NULL when there is none, or more than one (several connections): *ret_ambiguous
 * (may be NULL) tells. */
const struct virt_domain *virt_find_domain(const struct virt_status *status, const char *name,
                                           bool *ret_ambiguous);
const struct virt_disk *virt_find_disk(const struct virt_domain *domain, const char *target);
