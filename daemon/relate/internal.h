/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the graph's parts share: nodes, the spots they are found at, and the marks of
 * what is to be computed again. */
#pragma once

#include <sys/queue.h>
#include <systemd/sd-id128.h>

#include "daemon/core/contents.h"
#include "daemon/core/datastore.h"
#include "daemon/core/file.h"
#include "daemon/core/image.h"
#include "daemon/core/policy.h"
#include "daemon/relate/relate.h"

/* A spot is a path, an identity, or a file name: which images are there, or which refer to it; or a
 * data file, by identity: which images have it. So an image that appears finds the overlays that
 * wait for it, however late it comes. */
enum spot_kind {
    SPOT_NONE,                  /* nowhere; 0 */
    SPOT_PATH,
    SPOT_IDENTITY,
    SPOT_NAME,
    SPOT_DATA_FILE,
    SPOT_WANTED_PATH,           /* where a reference leads, */
    SPOT_WANTED_IDENTITY,       /* and what is to be there */
    /* Spots that an unresolved reference could mean: */
    SPOT_FORMER,                /* the identity of what it led to, */
    SPOT_FORMER_NAME,           /* the file name in it, */
    SPOT_FORMER_SIZE,           /* the size of what it led to */
    /* In a folder: */
    SPOT_RECORDS,               /* VMware's records, */
    SPOT_BESIDE,                /* and what may be a virtual machine's disk */
};

/* seats.c: made of a kind and a text, an identity or a number; of kind SPOT_NONE it is nowhere. */
struct spot {
    uint64_t key;
    uint32_t check;
    enum spot_kind kind;
};

/* An image's place at a spot. There are a few per image: it is small. */
struct seat {
    LIST_ENTRY(seat) link;      /* of its bucket */
    uint64_t key;
    uint32_t check;
    unsigned index : 24;        /* among the node's own, or from _SEAT_OWN_MAX on in a block */
    unsigned kind : 8;          /* SPOT_NONE: not seated */
};

LIST_HEAD(seat_list, seat);

#define SEAT_INDEX_MASK 0xffffff
#define SEAT_BLOCK_MAX (SEAT_INDEX_MASK - _SEAT_OWN_MAX)

/* The seats that only some images need. */
struct seat_block {
    struct node *node;
    struct seat seats[];
};

struct seats {
    struct seat_list *buckets;
    size_t n_buckets, n;        /* a power of two, 0 before the first seat; of seats */
    sd_id128_t secret;
};

/* Those of every image, */
enum { SEAT_PATH, SEAT_IDENTITY, SEAT_NAME, _SEAT_OWN_MAX };
/* and those of one with a parent or a data file, of a record, or of what may be a record's disk. */
enum { SEAT_WANTS_PATH, SEAT_WANTS_IDENTITY, SEAT_DATA_FILE, SEAT_FOLDER, _SEAT_REFERENCE_MAX };

enum {
    NODE_TOUCHED = 1 << 0,      /* is in the graph's list of touched nodes */
    NODE_TELL = 1 << 1,         /* own facts changed */
    NODE_CHECK_GOLDEN = 1 << 2, /* what golden inference depends on changed */
    NODE_DIRTY = 1 << 3,        /* relation to be computed again, with all descendants */
    NODE_PLACED = 1 << 4,       /* while refreshing: its relation is computed */
    NODE_ON_WALK = 1 << 5,      /* while refreshing: on the walk that looks for a loop */
    NODE_TELL_CHILDREN = 1 << 6,
    NODE_FIND_LEAVES = 1 << 7,  /* while refreshing: an own layer, of whose disk something
                                 * changed */
    NODE_FACTS = 1 << 8,        /* what is known of it changed: its overlays are weighed again */
    NODE_EDGE = 1 << 9,         /* it has another parent, or other overlays */
    NODE_WEIGH = 1 << 10,       /* its relation to its parent is to be weighed again */
    NODE_TOLD_BELOW = 1 << 11,  /* while refreshing: it, and what it stands on, is told of what
                                 * changed above */
    NODE_TOLD_FOLDER = 1 << 12, /* while refreshing: a record, with whose folder that was done */
};

/* What all marks of a file mean of which a record says something else now. */
#define NODE_RECORDED (NODE_TELL | NODE_TELL_CHILDREN | NODE_CHECK_GOLDEN | NODE_FACTS)

/* What a node is of VMware's records; 0 none. */
enum {
    RECORD_IS = 1 << 0,
    RECORD_SNAPSHOTS = 1 << 1,  /* a list of snapshots; else a virtual machine's definition */
    RECORD_READ = 1 << 2,       /* its names are known */
    RECORD_LOST = 1 << 3,       /* a file that it names is not where it should be */
};

/* Evidence that a node keeps of itself. */
enum {
    KIND_PLACE = 1 << 0,        /* lies where templates lie, */
    KIND_NAME = 1 << 1,         /* is called as templates are, */
    KIND_BACKUP = 1 << 2,       /* or as what a backup tool needs while it is at work */
    KIND_SOURCE = 1 << 3,       /* is some domain's disk, or was at a snapshot */
    KIND_PLAIN = 1 << 4,        /* in the folder of its parent, of its size; nothing speaks for a
                                 * clone */
    KIND_OTHER_DISK = 1 << 5,   /* counted in the parent's n_other_disks: nothing in itself says
                                 * that it is the parent's own disk */
    KIND_COPY = 1 << 7,         /* is called as a copy that was put aside: no disk of its own */
    KIND_CERTAIN = 1 << 6,      /* counted in its n_snapshots: somebody who knows says so */
    KIND_STRANGER = 1 << 8,     /* put there by a user who is not the parent's owner: counts for
                                 * nothing in the parent's role */
};

enum layer_name {
    NAME_OTHER,
    NAME_COUNTED,               /* "web-2" on "web" or on "web-1" */
    NAME_SNAPSHOT,              /* "web.before", "web-20240131", "web.1700000000": libvirt's way,
                                 * or a time */
    NAME_WORD,                  /* "web-snapshot-1": it says so */
};

#define SERIES_SPAN 4           /* how far layers are looked at below and above one */

/* The doubt that an image's references leave, beside what the graph knows. */
enum doubt {
    DOUBT_NONE,
    DOUBT_NAMED,                /* what it referred to before, or what has the name */
    DOUBT_ANY,                  /* any image of that format */
    DOUBT_PENDING,              /* not known yet */
};

#define DOUBT_FORMATS 32
#define SAME_MAX 16

/* The last answer to the question for a content: valid until the graph changes. */
struct same {
    struct image *images[SAME_MAX];
    size_t n;
    uint8_t digest[32];
    bool valid;
};
enum { DOUBT_SEAT_NAME, DOUBT_SEAT_IDENTITY, DOUBT_SEAT_SIZE, _DOUBT_SEAT_MAX };

/* The state of an image's reference to its parent, should the graph not have the parent. */
enum node_end { END_PENDING, END_UNKNOWN, END_BASE, END_BROKEN };

struct node {
    struct image *image;
    struct node *parent;
    struct image **children;
    uint32_t n_children, allocated_children;
    uint32_t index;             /* in the parent's children */
    uint32_t n_extents;
    struct seat seats[_SEAT_OWN_MAX];
    struct seat_block *references;      /* NULL: it has neither a parent nor a data file */
    struct seat_block *extents; /* at the spots of files that hold pieces of its disk, as of data
                                 * files */
    TAILQ_ENTRY(node) touched;
    STAILQ_ENTRY(node) queue;
    unsigned flags;
    uint32_t evidence;          /* of the node and its parent alone: 1 << enum relation_evidence */
    uint32_t n_other_disks, n_snapshots;        /* overlays with these flags, */
    uint32_t n_states;          /* and with a snapshot's relation, */
    uint32_t n_strangers;       /* and that a stranger put there */
    int64_t children_made;      /* nsec: the earliest creation of a child, strangers' aside; 0: to
                                 * be computed */
    int64_t seen_made;          /* nsec, node_made() then */
    enum node_end seen_end;
    uint16_t kind_flags;        /* KIND_*, */
    uint8_t name_says;          /* enum layer_name, */
    uint8_t kind, decisive, against;    /* as weighed */
    bool golden_by_policy, golden_by_inference;
    bool seen_present;
    uint8_t record;             /* RECORD_* */
    bool raw;                   /* image_opened_raw(), as the node is seated */
    uint8_t doubt, doubt_format;        /* owner.c: enum doubt; enum qca_format, 0 any */
    struct relation relation;
    struct relation *before;    /* while refreshing, NULL when it is not known; else NULL, or what
                                 * graph_relation() says in its place */
    /* owner.c: */
    const struct datastore *doubt_of;   /* where it counts; NULL everywhere */
    const struct datastore *seen_datastore;
    struct seat_block *doubt_seats;     /* NULL: what it could mean is not known that well */
};

struct graph {
    const struct policy *policy;
    const struct usage_index *usage;
    bool first_pass, awaits_usage;
    void *moves;                /* tsearch tree of struct disk_move, by overlay */
    struct owners *owners;      /* NULL: libvirt's word is not complete */
    struct doubt_count *doubts; /* by datastore */
    size_t n_doubts;
    bool doubts_changed, doubts_uncounted, had_owners;
    size_t n_records;
    bool records_left;          /* one is not in its folder any more */
    size_t n_doubtful;          /* nodes with doubt_seats */
    struct same *same;          /* never NULL */
    struct relation *spare;     /* never NULL: what graph_relation() says in the place of a node's,
                                 * when there is no memory for that */
    struct seats seats;
    void *removed;              /* tsearch tree of addresses: images that were removed since the
                                 * last refresh, and that relations may still name */
    bool removed_any;           /* there was no memory to remember which */
    TAILQ_HEAD(, node) touched;
};

static inline struct node *image_node(const struct image *image)
{
    return image ? image->node : NULL;
}

/* When the file was made, nsec; 0: not known, as of a copy, whose birth is later than its last
 * write. */
int64_t image_birth(const struct image *image);

static inline bool image_is_golden_by_baseline(const struct image *image)
{
    return image->baseline && image->baseline->source == BASELINE_INFERRED &&
           image->baseline->gone == 0;
}

/* ---- moves.c --------------------------------------------------------------------------------- */

bool graph_disk_moved(const struct graph *graph, const struct image *overlay,
                      const struct image *parent);
void graph_free_moves(struct graph *graph);

/* ---- relate.c, edges.c ----------------------------------------------------------------------- */

/* Puts the node on the list of those to be looked at by the next graph_refresh(). */
void node_mark(struct graph *graph, struct node *node, unsigned flags);
void node_unmark(struct graph *graph, struct node *node);
/* When the overlay was made, for the comparison with its base: nsec, never the base's own mtime. */
int64_t node_made(const struct node *node);
/* As what is the image opened, whatever its first bytes say? Then what they refer to is the word of
 * its guest, and leads nowhere. */
bool image_opened_raw(const struct graph *graph, const struct image *image);
/* Brings the node's seats in line with its image, and all edges that depend on them. -ENOMEM. */
int node_seat(struct graph *graph, struct node *node);
/* The node leaves the graph: its overlays look for another parent. */
void node_unseat(struct graph *graph, struct node *node);
/* Images that keep data in the file of that identity are told of. */
void graph_tell_users(struct graph *graph, const struct identity *identity);
/* And its own data file and extents: who uses it has those open, too. */
void node_tell_data(struct graph *graph, const struct node *node);
/* The image at a spot that a reference with this path (or NULL) means: the one of that path,
 * else the smallest path (hard links), so that the choice does not depend on the order of
 * arrival. NULL when none is present. */
struct node *spot_choose(const struct graph *graph, struct spot spot, const char *path);
/* As node_mark(), while refreshing, when relations were computed: that of before is kept first. */
void node_mark_related(struct graph *graph, struct node *node, unsigned flags);

/* ---- seats.c --------------------------------------------------------------------------------- */

/* SPOT_NONE for a text that is NULL, an identity that is not known, and a number of 0. */
struct spot spot_of_text(const struct graph *graph, enum spot_kind kind, const char *text);
struct spot spot_of_identity(const struct graph *graph, enum spot_kind kind,
                             const struct identity *identity);
struct spot spot_of_number(const struct graph *graph, enum spot_kind kind, uint64_t number);
/* Of the folder in which the path lies. */
struct spot spot_of_folder(const struct graph *graph, enum spot_kind kind, const char *path);
/* The same text, identity or number, as another kind. */
struct spot spot_as(struct spot spot, enum spot_kind kind);
bool spot_equal(struct spot a, struct spot b);
/* Walks the seats at a spot, in no particular order; NULL none, or none any more. */
struct seat *spot_first(const struct graph *graph, struct spot spot);
struct seat *seat_next(const struct seat *seat);
struct node *seat_node(struct seat *seat);
/* seat may be NULL. */
bool seat_is_taken(const struct seat *seat);
struct spot seat_spot(const struct seat *seat);
/* Seats the node there and nowhere else, by this seat: 1 when that is a change, -ENOMEM. */
int seat_take(struct graph *graph, struct seat *seat, struct spot spot);
void seat_leave(struct graph *graph, struct seat *seat);
/* All nodes, in no particular order: while they are gone through, none is seated anew. */
struct node *graph_first(const struct graph *graph);
struct node *graph_next(const struct graph *graph, struct node *node);
#define GRAPH_FOREACH(node, graph) \
    for (node = graph_first(graph); node; node = graph_next(graph, node))
int seat_block_new(struct node *node, size_t n, struct seat_block **ret_block);

#define EVIDENCE_BIT(evidence) (UINT32_C(1) << (evidence))

/* ---- kind.c ---------------------------------------------------------------------------------- */

/* Weighs all relations that may have become something else; their nodes are dirty then. */
void graph_weigh(struct graph *graph);
/* The node is to lose its parent: what it counted for there. */
void node_uncount(struct graph *graph, struct node *node);
/* The node has another path. */
void node_name_changed(struct node *node);
/* Do overlays of at least two different disks stand on it? */
bool node_has_other_disks(const struct graph *graph, const struct node *node);
/* Decides by a set of evidence. */
void evidence_decide(uint32_t set, enum relation_kind *ret_kind,
                     enum relation_evidence *ret_decisive, enum relation_evidence *ret_against);

/* ---- record.c -------------------------------------------------------------------------------- */

/* What the node is of records, by its image. */
uint8_t node_record(const struct node *node);
/* Where it is seated in its folder. */
struct spot node_folder_spot(const struct graph *graph, const struct node *node);
/* While refreshing, first: what lies beside records that changed. */
void graph_tell_beside(struct graph *graph);
/* A virtual machine has it as a disk, or as the state of one. */
bool record_owns(const struct graph *graph, const struct image *image);
/* Has it the image, or the deepest layer that stands on it? A long chain is free of cost so. */
bool record_has_above(const struct graph *graph, const struct image *image);
/* Were all records read that lie beside the image, and are there any that count? */
bool records_know(const struct graph *graph, const struct image *image);
/* 1 << enum relation_evidence: what records say of the node and its parent. */
uint32_t record_evidence(const struct graph *graph, const struct node *node);

/* ---- golden.c -------------------------------------------------------------------------------- */

/* Of all that were touched for it; those of which it changed are dirty. */
void graph_check_golden(struct graph *graph);

/* ---- leaves.c -------------------------------------------------------------------------------- */

STAILQ_HEAD(queue, node);

/* Once per disk of which a layer changed, came, or went: then the layer below was touched. */
void graph_find_leaves(struct graph *graph);

/* ---- names.c --------------------------------------------------------------------------------- */

bool path_same_folder(const char *a, const char *b);
/* Is the overlay called as ESXi calls the layers of one disk: NAME-NNNNNN.vmdk, on NAME.vmdk or
 * another such layer in the same folder? */
bool layer_name_is_delta(const char *overlay_path, const char *parent_path);
enum layer_name layer_name_says(const char *overlay_path, const char *parent_path);
/* Are both members of one series, the overlay the later one: "s2" on "s1"? */
bool layer_name_follows(const char *overlay_path, const char *parent_path);

/* ---- series.c -------------------------------------------------------------------------------- */

bool node_in_series(const struct node *node);
/* The overlay on it, when there is one alone, strangers' aside; else NULL. */
struct node *node_above(const struct node *node);
bool node_below_series(const struct node *node);
bool node_in_run(const struct node *node);
bool node_in_rhythm(const struct node *node);

/* ---- owner.c --------------------------------------------------------------------------------- */

/* Takes what libvirt says of owners, and of disks that nobody could read. */
void graph_note_owners(struct graph *graph);
struct owners *owners_free(struct owners *owners);
/* Is a source of a disk still looked for? Nothing is said of what could be it then. */
bool owners_are_pending(const struct owners *owners);
/* Does a domain's disk have the name of a file that is not there? */
bool owners_miss(const struct owners *owners, const char *name);
/* While refreshing: marks what the touched nodes stand on. */
void graph_tell_below(struct graph *graph);

/* ---- doubt.c --------------------------------------------------------------------------------- */

/* Brings what the node's references could mean in line with its image. -ENOMEM. */
int node_doubt(struct graph *graph, struct node *node);
void node_undoubt(struct graph *graph, struct node *node);
/* While refreshing: marks what could be left over now, or is not any more. */
void graph_tell_doubtful(struct graph *graph);
/* Was all that is in the datastores of known images read? */
bool graph_datastores_are_read(const struct graph *graph);
/* Could a reference that leads nowhere, or that nobody could read, mean the image? */
bool image_is_meant(const struct graph *graph, const struct image *image);

/* ---- former.c -------------------------------------------------------------------------------- */

/* The node comes, goes or changes: those that may look for it are judged again. */
void node_tell_wanting(struct graph *graph, const struct node *node);
/* Is the very file that the image stood on there, unchanged, under whatever name? Then it is no
 * other image. */
bool former_is_there(const struct graph *graph, const struct image *image);
