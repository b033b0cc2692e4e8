/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The graph of images: who is whose parent, and what follows: depth, loops, golden images, own
 * layers. Pure. */
#pragma once

#include "daemon/core/file.h"
#include "daemon/core/image.h"
#include "daemon/core/policy.h"
#include "daemon/virt/virt.h"

struct graph;

/* The relation of an overlay to its parent. Never decided by default: without evidence, and where
 * the evidence contradicts itself, it is unknown. */
enum relation_kind {
    RELATION_NONE,              /* there is no parent in the graph */
    RELATION_SNAPSHOT,          /* both are states of one disk */
    RELATION_CLONE,             /* the parent is a template, or somebody else's disk */
    RELATION_UNKNOWN,           /* either: what would harm a template must not be done */
    _RELATION_KIND_MAX,
};

const char *relation_kind_name(enum relation_kind kind);        /* "none", "snapshot", ... */

/* One per piece of evidence for what a relation is: a row of the table in kind.c each. */
enum relation_evidence {
    EVIDENCE_NONE,
    /* for a snapshot */
    EVIDENCE_LIBVIRT_SNAPSHOT,  /* libvirt has the snapshot that made the overlay */
    EVIDENCE_LIBVIRT_BRANCH,    /* the parent was the disk of the overlay's domain at a snapshot */
    EVIDENCE_LIBVIRT_CHECKPOINT,        /* both hold the bitmap of a checkpoint of the domain's */
    EVIDENCE_DISK_MOVED,        /* a domain's disk was seen to move from parent to overlay */
    EVIDENCE_SERIES,            /* is one of a series of names, or next to layers that are */
    EVIDENCE_SNAPSHOT_WORD,     /* the overlay's name is the parent's with a word for snapshots */
    EVIDENCE_SNAPSHOT_NAME,     /* it is the parent's with a time, or as libvirt names snapshots */
    EVIDENCE_BACKUP_NAME,       /* a backup tool gives such names to its snapshots */
    EVIDENCE_RHYTHM,            /* was made at a regular interval, as the layers next to it */
    EVIDENCE_RUN,               /* inside a long run of layers with one overlay each */
    EVIDENCE_WRITTEN_UNTIL,     /* the parent was written until the overlay was made, never since */
    EVIDENCE_COUNTED_NAME,      /* the overlay's name is the parent's with a number */
    EVIDENCE_BELOW_SERIES,      /* the overlay is the first of a series, beside its parent */
    EVIDENCE_RECORD_SNAPSHOT,   /* a list of snapshots of VMware's has the parent */
    EVIDENCE_DELTA_NAME,        /* ESXi gives such names to the layers of a disk */
    /* for a clone */
    EVIDENCE_GOLDEN_POLICY,     /* the parent is golden by the configuration */
    EVIDENCE_GOLDEN_BASELINE,   /* it was golden when its content was remembered */
    EVIDENCE_OTHER_DOMAIN,      /* it is the disk of another domain */
    EVIDENCE_OTHER_DISKS,       /* overlays of different disks stand on it */
    EVIDENCE_TEMPLATE_PLACE,    /* lies where templates lie */
    EVIDENCE_TEMPLATE_NAME,     /* is called as templates are */
    EVIDENCE_OTHER_SIZE,        /* another virtual size */
    EVIDENCE_READ_ONLY,         /* nobody may write the parent */
    EVIDENCE_WRITTEN_BEFORE,    /* it was last written a day and more before the overlay was made */
    EVIDENCE_OTHER_FOLDER,
    EVIDENCE_NO_SNAPSHOT,       /* libvirt knows the domain, and no snapshot that made it */
    EVIDENCE_RECORD_NO_SNAPSHOT,        /* it is a virtual machine's disk, and its list of snapshots
                                         * does not have the parent */
    EVIDENCE_OTHER_MACHINE,     /* the parent is another virtual machine's */
    EVIDENCE_DISK_ITSELF,       /* the parent is a domain's disk, and the overlay is not */
    EVIDENCE_STRANGER,          /* neither the parent's owner, root nor libvirt made the overlay */
    _EVIDENCE_MAX,
};

/* The consequences of one image's place in the graph. */
struct relation {
    struct image *parent;       /* NULL: none, or not found */
    struct image *base;         /* deepest layer reached; NULL in or above a loop */
    struct image *loop_head;    /* member with the smallest path: the loop's one subject */
    struct image *golden_layer; /* the nearest golden layer below (or itself); NULL without */
    struct image *own_layer;    /* the first layer above a relation that is no snapshot's, else the
                                 * base; itself if it is that */
    struct image *oldest_unconsolidated;        /* the layer next above the own layer; NULL when
                                                 * unconsolidated is 0 */
    /* Of an own layer, which stands for its disk while snapshots come and go; else NULL and 0. */
    struct image *deepest_leaf; /* with most layers above the own layer, of these the smallest
                                 * path; itself when it is the leaf; NULL when only a golden
                                 * image, and no leaf, is above. Where libvirt knows a domain
                                 * with one of the layers as its disk: that one, whatever lies
                                 * above it */
    uint32_t n_leaves;          /* more than one: the disk's layers fork */
    uint32_t n_children;        /* direct overlays; graph_child() has them */
    uint32_t depth;             /* layers from here down to the base or to where it breaks, 1
                                 * alone; 0 in or above a loop */
    uint32_t unconsolidated;    /* layers above the own layer: all of them snapshots' */
    uint32_t perhaps;           /* as many it may be: layers down to a clone's relation or the base,
                                 * unknown ones counted */
    bool complete;              /* every parent down to the base was found, and the base is
                                 * audited */
    bool pending;               /* not complete only because a layer is not audited or resolved
                                 * yet: no verdict */
    bool in_loop;               /* is a member of a loop, */
    bool above_loop;            /* or hangs on one */
    bool leaf;                  /* no overlay uses it */
    bool golden;                /* by policy or inferred */
    bool golden_inferred;
    enum relation_kind kind;    /* of the image to its parent, */
    enum relation_evidence decisive;    /* why; EVIDENCE_NONE: nothing says anything */
    enum relation_evidence against;     /* UNKNOWN: what contradicts it; EVIDENCE_NONE: nothing,
                                         * it does not suffice */
};

/* Do templates usually lie there, or are they called so? By the path alone. */
bool place_is_of_templates(const char *path);
bool name_is_of_template(const char *path);

int graph_new(struct graph **ret_graph);
struct graph *graph_free(struct graph *graph);
/* The policy is borrowed, may be exchanged; everything is dirty then. */
void graph_set_policy(struct graph *graph, const struct policy *policy);
/* NULL: none was set. */
const struct policy *graph_policy(const struct graph *graph);
/* Sets libvirt's word, borrowed; NULL or without a status: none. The next graph_refresh() reports
 * all images on which it differs from before. */
void graph_set_usage(struct graph *graph, const struct usage_index *usage);
const struct usage_index *graph_usage(const struct graph *graph);
/* Libvirt's uses of the image. */
struct usage graph_image_usage(const struct graph *graph, const struct image *image);
/* While the first pass over a store is under way, a relation that is not known yet may be when the
 * layers next to it are: it is pending, so that nothing is judged too early. At the end, the next
 * graph_refresh() tells of all these. Off by default. */
void graph_set_first_pass(struct graph *graph, bool under_way);
/* Then who stands on an image is not known either. */
bool graph_is_first_pass(const struct graph *graph);
/* While libvirt's first word is awaited, which layer is a disk's is not known: nothing is judged of
 * disks as a whole. At the end, the next graph_refresh() tells of all images. Off by default. */
void graph_await_usage(struct graph *graph, bool awaited);
bool graph_awaits_usage(const struct graph *graph);

/* Tell of a new image, of one whose audit, parent reference, fingerprint, use or presence
 * changed, and of one that will be freed. Each marks what depends on it as dirty; nothing is
 * computed yet. An image that is not present is nobody's parent. Errors: -ENOMEM, -EEXIST (added
 * before), -ENOENT (not in the graph). */
int graph_add(struct graph *graph, struct image *image);
int graph_update(struct graph *graph, struct image *image);
void graph_remove(struct graph *graph, struct image *image);
/* Its path changed: tells of it as graph_update() does. */
int graph_rename(struct graph *graph, struct image *image);

/* Computes what became dirty, in linear time, and tells of every image whose relation (or own
 * facts, or its parent's) changed, and of an own layer when anything of a layer above it did:
 * these have to be judged again. The callback must not change the graph. */
int graph_refresh(struct graph *graph, void (*changed)(void *userdata, struct image *image),
                  void *userdata);

/* As graph_refresh() found it last, and valid until the next one; NULL for an image not in the
 * graph. Never names an image that was removed since: a relation that would is given as that of an
 * image whose place is not known yet (alone, and pending). What it points to is safe until the next
 * graph_remove(). */
const struct relation *graph_relation(const struct graph *graph, const struct image *image);
/* Direct overlays of an image, in no particular order, as the graph has them at this moment: NULL
 * past the last one. A change of the graph between two calls may skip or repeat one, no more. */
struct image *graph_child(const struct image *image, size_t i);
/* By path, else by identity; NULL when not known. */
struct image *graph_find(const struct graph *graph, const char *path);
struct image *graph_find_identity(const struct graph *graph, const struct identity *identity);
/* Images that are present and whose file name (without directory) is name, at most max of them;
 * how many. */
size_t graph_find_name(const struct graph *graph, const char *name, struct image **ret_images,
                       size_t max);
/* Other images that are present and have the same data file: how many, and the first max of them by
 * path. */
size_t graph_data_file_users(const struct graph *graph, const struct image *image,
                             struct image **ret_images, size_t max);
/* The other images that keep their data in this one: how many, and the first max of them. */
size_t graph_data_file_owners(const struct graph *graph, const struct image *image,
                              struct image **ret_images, size_t max);
/* When the layer was made, usec since the epoch, 0 unknown; *ret_source (may be NULL) names where
 * that is from: "libvirt" (the snapshot that made it), else "parent-mtime" (when the parent froze),
 * else "birth-time", else "mtime"; a device's times say nothing: "first-seen". */
uint64_t graph_layer_created(const struct graph *graph, const struct image *image,
                             const char **ret_source);
/* A domain's disk was seen to move from one image to another, by their paths, at a time (usec): if
 * that is an overlay of the first, a snapshot was made. 1 when it was not known before; -ENOMEM. */
int graph_note_disk_move(struct graph *graph, const char *overlay, const char *parent,
                         uint64_t at);
void graph_forget_disk_move(struct graph *graph, const char *overlay);
/* Is there such a note of the overlay? */
bool graph_has_disk_move(const struct graph *graph, const char *overlay);
/* Does another image keep its data in this one? */
bool graph_is_data_file(const struct graph *graph, const struct image *image);
/* Is the image a template, or perhaps one: golden, or the parent of an overlay whose relation is
 * not known to be a snapshot's? Then no command may write it. */
bool graph_is_template(const struct graph *graph, const struct image *image);
/* The image's relation to its parent, and why, as a sentence: malloc'd and escaped, "" without a
 * parent; NULL without memory. */
char *graph_relation_reason(const struct graph *graph, const struct image *image);
/* The image whose data, or a piece of whose disk, that file holds: of several the one with the
 * smallest path; NULL none. */
struct image *graph_data_owner(const struct graph *graph, const struct image *image);
/* Was it raw when it was seen before, and is it as large as it was? */
bool image_was_raw(const struct image *image);
/* Do the locks, libvirt, or what lies beside it, say that it is in use? */
enum files_use graph_use(const struct graph *graph, const struct image *image);

/* ---- former.c -------------------------------------------------------------------------------- */

/* How it is known that an image is the parent that another one has lost. */
enum found_by {
    FOUND_BY_IDENTITY,          /* it is the same file, under another name */
    FOUND_BY_CONTENT,           /* it holds the same, as it was read */
    FOUND_BY_NAME,              /* it has the name, and may hold anything */
    _FOUND_BY_MAX,
};

const char *found_by_name(enum found_by by);            /* "identity", "content", "name" */

struct lost_parent {
    struct image *image;
    enum found_by by;
    bool changed;               /* the same file, and it does not hold any more what it held */
};

/* Images that are present and may be what the image's reference led to before, or should lead to,
 * the surest first; those that hold something else, as far as is known, are left out. At most max;
 * how many. */
size_t graph_find_lost(const struct graph *graph, const struct image *image,
                       struct lost_parent *ret_candidates, size_t max);
/* Does it lie where it lay as the parent? Then the image was moved, or what it refers to was
 * changed. */
bool lost_stayed(const struct image *image, const struct lost_parent *lost);
/* The file that a running domain has open as that layer, where it lies under another name than
 * libvirt's; NULL: not found, or it is not known which file it was. */
struct image *graph_find_renamed(const struct graph *graph, const struct usage_entry *entry);
/* Tell that the content of an image was read: it may be what others look for. */
void graph_content_changed(struct graph *graph, const struct image *image);

/* ---- record.c -------------------------------------------------------------------------------- */

/* What VMware's records say of a disk. Their word counts only where whoever wrote it could have
 * changed the disk, too, and of what lies in their own folder, or is named by its volume. */

/* The definition of the virtual machine that has the image as a disk; NULL none. */
struct image *graph_machine(const struct graph *graph, const struct image *image);
/* The list of snapshots that has the image as a disk's state; NULL none. */
struct image *graph_snapshot_list(const struct graph *graph, const struct image *image);
/* Is it a layer of a disk of VMware's, by records or by its name, and no domain's? */
bool graph_is_vmwares(const struct graph *graph, const struct image *image);
/* How ESXi's locks say that it is in use: those on its pieces, and on the definition of the virtual
 * machine that has it, or a layer above it, as a disk. */
enum files_use graph_vmware_use(const struct graph *graph, const struct image *image);
/* Were all lists of snapshots read that lie beside the definition? */
bool graph_knows_snapshots(const struct graph *graph, const struct image *machine);

/* ---- role.c ---------------------------------------------------------------------------------- */

enum role {
    ROLE_UNKNOWN,
    ROLE_BASE,
    ROLE_GOLDEN,
    ROLE_OVERLAY,
    ROLE_LEAF,
    ROLE_BACKUP,
    ROLE_MEDIUM,
    ROLE_LEFTOVER,
    ROLE_EXTENT,
    _ROLE_MAX,
};

const char *role_name(enum role role);          /* "base", "install-medium", ... */

/* The image's role, and the reason: a sentence, malloc'd and escaped, in *ret_reason (may be NULL).
 * -ENOMEM. */
int graph_role(const struct graph *graph, const struct image *image, enum role *ret_role,
               char **ret_reason);

/* The backup tool that gives such names to files it leaves behind; NULL for none. */
const char *backup_tool(const char *path);
/* Only while it is at work: an overlay, a scratch file. */
bool backup_tool_is_temporary(const char *path);
/* A copy or a file put aside, by its name: IMG.before-repair, IMG.bak, IMG.orphan, ... */
bool name_is_backup(const char *path);
/* Is it a backup, a copy that somebody keeps, a backup tool's, or put aside, by its name? Or an
 * install medium. */
bool path_is_kept(const char *path);

/* ---- owner.c --------------------------------------------------------------------------------- */

/* Was everything read that could refer to the image: libvirt's domains, and the images of its
 * datastore? Else it is not known whether it is unused. */
bool graph_knows_owners(const struct graph *graph, const struct image *image);
/* Nothing refers to it, nor to any overlay that stands on it: no domain, snapshot, chain or lock,
 * where libvirt is who names owners; no reference that leads nowhere could mean it. Never on a
 * network file system. Not said of install media, golden images, and what its name says is kept. */
bool graph_is_unused(const struct graph *graph, const struct image *image);
/* The lowest layer of what is unused with it, itself perhaps; NULL when it is in use. */
struct image *graph_unused_base(const struct graph *graph, const struct image *image);
/* The image and all overlays above it, parents first: how many, and the first max of them. */
size_t graph_tree(const struct image *base, struct image **ret_images, size_t max);
