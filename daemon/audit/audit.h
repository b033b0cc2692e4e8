/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs audits: workers that are reused, files opened and references resolved through the
 * datastores' helpers. */
#pragma once

#include "daemon/core/datastore.h"
#include "daemon/core/image.h"

struct audits;

/* Finds the datastore of a path, and its helper. -EPERM outside all datastores, -ENOTCONN when it
 * has no helper now. */
typedef int (*audit_files_fn)(void *userdata, const char *path, struct files **ret_files,
                              const struct datastore **ret_datastore);

struct audits_options {
    const char *worker_program;
    unsigned workers;
    uint64_t worker_memory;     /* bytes each */
    unsigned worker_images;
    uint64_t worker_deadline;   /* usec without progress */
    uint64_t read_budget;       /* bytes per second over all workers, 0 unlimited */
    uint64_t scrub_budget;      /* the same over all scrubs */
    uint64_t delay;             /* usec that audits of its device may make a scrub wait; after that
                                 * both read, for as long as it waited */
    size_t max_issues;
    /* Workers that are killed are listed there, with their datastore, until they are gone; may be
     * NULL. */
    struct process_endings *endings;
    audit_files_fn files;
    /* Is the path a block device that is a datastore's own? References to other devices are
     * refused. NULL: none is. */
    bool (*is_device)(void *userdata, const char *path);
    /* How it is in use by what libvirt says, where locks do not tell (locking=off, NFS); may be
     * NULL. */
    enum files_use (*use)(void *userdata, const struct image *image);
    /* One per audits_start(). error 0: audit and references are the callee's (confidence is racy,
     * frozen or offline). -ENOENT: the file is gone, or is no file any more. -ECANCELED, -ENOTCONN:
     * interrupted, to be done again. -ENOEXEC: no worker could be started. One of
     * error_is_temporary(): it could not be opened now, for the first time (image->n_denied is 0);
     * later that is in the audit's report. */
    void (*done)(void *userdata, struct image *image, int error, struct audit *audit,
                 struct reference *parent, struct reference *data_file,
                 struct reference_list *extents);
    /* A scrub has opened the image: identity and fingerprint of audit are set. Returns the block
     * (of 64 KiB) to go on from, 0 for all of it; what was told of blocks from there on by a scrub
     * that was interrupted is void. May be NULL, and so may blocks. */
    uint64_t (*blocks_begin)(void *userdata, struct image *image, const struct audit *audit);
    /* Digests of its blocks, in order; as of struct qca_digest_options. Before done, which tells
     * whether they are to be kept: with digest in the audit. */
    void (*blocks)(void *userdata, struct image *image, uint64_t first, uint64_t n,
                   const uint8_t (*digests)[32], bool unallocated);
    /* One per audits_resolve(), maybe before that returns: the references are the callee's.
     * None comes for one that was replaced or forgotten. */
    void (*resolved)(void *userdata, struct image *image, struct reference *parent,
                     struct reference *data_file, struct reference_list *extents);
    void *userdata;
};

/* Why no worker could be started when that was said last: -ENOEXEC when it ended before it was
 * ready. */
int audits_start_error(const struct audits *audits);
int audits_new(sd_event *event, const struct audits_options *options, struct audits **ret_audits);
struct audits *audits_free(struct audits *audits);
/* Takes effect with the next audit, and the scrubs' budget at once; programs and callbacks stay as
 * they are. */
void audits_set_options(struct audits *audits, const struct audits_options *options);

/* -EBUSY when all workers are taken, or the image is audited already. */
int audits_start(struct audits *audits, struct image *image, bool deep);
/* An audit that reads all data of the image, too, past the page cache: done as of the others, with
 * the digest. It has a worker of its own, as many as workers says; waits while other audits read
 * its device, though not for ever. Errors as of audits_start(). */
int audits_start_scrub(struct audits *audits, struct image *image);
/* All scrubs wait, or go on. */
void audits_pause_scrubs(struct audits *audits, bool pause);
/* Looks again where its references lead, without reading it. Nothing when it has none. */
int audits_resolve(struct audits *audits, struct image *image);

/* The image will be freed: no callback comes for it any more. */
void audits_forget(struct audits *audits, struct image *image);
/* Ends the image's scrub, which is done with -ECANCELED. */
void audits_cancel_scrub(struct audits *audits, const struct image *image);
/* Ends the audits of a datastore's images, and those that have other files of it open: each is done
 * with -ECANCELED. */
void audits_cancel(struct audits *audits, const struct datastore *datastore);
/* files will be freed: what waits for it ends as interrupted. */
void audits_files_gone(struct audits *audits, struct files *files);

/* A scrub under way. */
struct scrub_progress {
    const struct image *image;
    uint64_t started;           /* usec since the epoch */
    uint64_t done, total;       /* bytes the guest sees; total 0: the image is being checked */
    uint64_t rate;              /* bytes per second, lately */
    bool waits;                 /* for another audit of its device, or as all of them do */
};
/* The scrubs under way, index from 0 on; false when there are no more. */
bool audits_scrub(const struct audits *audits, size_t index, struct scrub_progress *ret_progress);
size_t audits_scrubbing(const struct audits *audits);

/* Without the scrubs. */
size_t audits_running(const struct audits *audits);
size_t audits_resolving(const struct audits *audits);
