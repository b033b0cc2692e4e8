/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive of evidence that is being made: what its parts share, and the file that it goes to. */
#pragma once

#include "ctl/bundle.h"

struct bundle_maker {
    struct ctl *ctl;
    char *argument;                 /* the image as it was asked for, or as the finding names it */
    char *path;                     /* as the daemon knows it; NULL: it does not */
    char *file;                     /* that was written; NULL: none, or standard output */
    json_object *status, *finding, *image;      /* NULL: not to be had */
    json_object *layers;            /* what was kept of each */
    json_object *missing;           /* members that the daemon did not answer for */
    struct bundle_writer writer;
    struct checker *checker;
    uint64_t now;                   /* usec */
    uint64_t room;                  /* bytes of tables, */
    size_t room_pieces;             /* and members with them, that may still be kept */
    uint64_t bytes, n_left_out, bytes_left_out;
};

/* bundle-make.c: all of it, to what fd writes. -errno. */
int bundle_make(struct bundle_maker *maker, int fd, uint8_t ret_manifest[32]);
/* A member; nothing for NULL. */
int bundle_add_json(struct bundle_maker *maker, const char *name, json_object *value);
/* bundle-layers.c: the image's tables and check, the headers of its parents. */
int bundle_layers(struct bundle_maker *maker);
/* bundle-known.c: what the daemon knows of the image, if it knows it. */
int bundle_known(struct bundle_maker *maker);

/* ---- bundle-file.c -------------------------------------------------------------------------- */

/* A new file. It has its name only once it is complete, where the file system can do that. */
struct bundle_file {
    const char *asked;              /* for what: a file, or a folder; borrowed */
    char *path;
    uint64_t now;                   /* usec; a name of its own says it */
    unsigned n_names;               /* that were tried in the folder; 0: the name was given */
    int folder, fd;
    bool named;                     /* it cannot: it has it from the beginning */
};

/* path: of the file, or, with a slash at its end, of the folder in which it gets a name that
 * nothing has. status: of the daemon, whose datastores are refused; NULL: it was not asked. What is
 * wrong is printed. To be ended by bundle_file_done(), also on failure. */
int bundle_file_open(const char *path, uint64_t now, json_object *status,
                     struct bundle_file *ret_file);
/* Half of what is free on its file system: others live there, too. Bytes. */
uint64_t bundle_file_room(const struct bundle_file *file);
/* Gives the file its name. -errno, -EEXIST when something has it by now; nothing is printed. */
int bundle_file_finish(struct bundle_file *file);
/* A file that was not finished is gone. */
void bundle_file_done(struct bundle_file *file);
