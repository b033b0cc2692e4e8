/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one gate that every command must pass which writes to an image, copies, moves or makes a
 * file, or changes a definition.
 *
 * How to use it:
 *
 *     struct gate gate = gate_begin(remedy, graph);         or with GATE_DOMAIN below
 *     gate_image(&gate, image, GATE_REPAIR | GATE_COPY);    what the command does to each layer
 *     gate_target(&gate, copy);                             a name that it makes: must be free
 *     gate_room(&gate, copy, bytes);                        and what must fit there
 *     if (condition)
 *         gate_refuse(&gate, "what is against it, as a sentence without its dot");
 *     if (gate_is_open(&gate))
 *         remedy_command(remedy, &gate, "qemu-img check -r leaks %s", quoted);
 *     gate_done(&gate);                                     (or _cleanup_gate_)
 *
 * gate_is_open() adds the texts that name each obstacle, and what to find out. Without an open gate
 * remedy_command() prints nothing and fails the remedy, which the tests notice. What only looks is
 * remedy_look(): of the programs that it knows. Steps that belong together are one command:
 * remedy_and() appends to the last one.
 *
 * Locks and files are not taken from the last audit: the gate asks for a look at each of them
 * (looks.h), and is closed until that was had. */
#pragma once

#include "daemon/core/image.h"
#include "daemon/remedy/internal.h"

/* Acts of a command on one image. An obstacle hinders those that its row lists. */
enum gate_act {
    GATE_COPY = 1 << 0,         /* its file is copied, byte by byte, beside itself */
    GATE_OPEN = 1 << 1,         /* a QEMU tool opens it, with all layers below, for reading */
    GATE_CONVERT = 1 << 2,      /* its content is all that is kept of it, in a new file */
    GATE_REPAIR = 1 << 3,       /* qemu-img check -r: it may be damaged */
    GATE_WRITE = 1 << 4,        /* its tables or its first bytes are written; it must be sound */
    GATE_REFERENCE = 1 << 5,    /* qemu-img rebase -u: its header is written, its parents are not
                                 * opened */
    GATE_PARENT = 1 << 6,       /* becomes a parent by that */
    GATE_FILL = 1 << 7,         /* a commit writes into it what the layers above hold */
    GATE_LOSE = 1 << 8,         /* such a layer above: of no use afterwards */
    GATE_MOVE = 1 << 9,         /* gets another name */
    GATE_USE = 1 << 10,         /* a definition is made to name it as a disk that is written */
    GATE_MODE = 1 << 11,        /* chmod */
    GATE_PATCH = 1 << 12,       /* its first bytes are written as those of a file, by no QEMU tool:
                                 * a raw disk in which somebody wrote a header */
    GATE_READ = 1 << 13,        /* its tables, and the headers of its parents, are read by
                                 * qcauditctl */
};

struct gate_item {
    const struct image *image;
    unsigned acts;              /* enum gate_act */
};

struct gate {
    struct remedy *remedy;
    const struct graph *graph;
    const struct virt_domain *domain;   /* the one user that the layers may have; NULL: none is
                                         * known, any one may be it */
    const struct virt_disk *disk;       /* of that domain; NULL: any */
    bool live;                  /* libvirt has the running domain's QEMU do it */
    struct gate_item *items;
    size_t n_items, n_allocated;
    struct gate_item **sorted;  /* by image, once gate_is_open() looked at them */
    char **targets;
    size_t n_targets;
    struct gate_space { char *path; uint64_t bytes; } *spaces;
    size_t n_spaces;
    char **refusals;
    size_t n_refusals;
    bool open;
};

struct gate gate_begin(struct remedy *remedy, const struct graph *graph);
/* For the layers of that domain's disk (NULL: any of its disks); live: while it runs, through
 * libvirt. */
void gate_domain(struct gate *gate, const struct virt_domain *domain, const struct virt_disk *disk,
                 bool live);
/* Several calls for one image add up. */
void gate_image(struct gate *gate, const struct image *image, unsigned acts);
void gate_target(struct gate *gate, const char *path);
void gate_room(struct gate *gate, const char *path, uint64_t bytes);
/* An obstacle that only the caller can know. */
void gate_refuse(struct gate *gate, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Nothing is against the command. Else the obstacles were added to the remedy as texts. */
bool gate_is_open(struct gate *gate);
void gate_done(struct gate *gate);

#define _cleanup_gate_ __attribute__((cleanup(gate_done)))

/* The same without saying anything, for who looks for the one of several images that would do. */
bool gate_would_open(struct gate *gate);

/* ---- obstacles.c ----------------------------------------------------------------------------- */

#define GATE_DETAIL_MAX 512

/* An obstacle to an act on an image. The sentence gets the image's quoted name, then the detail. */
struct obstacle {
    const char *name;
    unsigned acts;              /* that it is against */
    /* Why, in detail (of GATE_DETAIL_MAX bytes, "" when the sentence says it all). Pure. */
    bool (*holds)(const struct gate *gate, const struct gate_item *item, char *detail);
    const char *sentence;       /* "%s is ...": begins a sentence, ends before its dot */
    const char *find_out;       /* a sentence, or NULL */
};

extern const struct obstacle gate_obstacles[];
extern const size_t gate_n_obstacles;

/* Finds the gate's item of the image; NULL when it is none of its layers. */
const struct gate_item *gate_find(const struct gate *gate, const struct image *image);
/* The look at the image as it is now; NULL: not had, or it failed. */
const struct look *gate_look(const struct gate *gate, const struct image *image);
