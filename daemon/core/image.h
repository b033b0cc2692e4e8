/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images, as the stages hand them to one another: what is known of each, its last audits, and what
 * it refers to. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/core/contents.h"
#include "daemon/core/file.h"
#include "daemon/core/findings.h"
#include "daemon/core/packed-layer.h"
#include "daemon/core/series.h"
#include "helpers/client.h"

struct datastore;

/* The state of an image's reference to its parent or data file. */
enum reference_state {
    REFERENCE_NONE,             /* has none */
    REFERENCE_PENDING,          /* not resolved yet */
    REFERENCE_FOUND,
    REFERENCE_MISSING,          /* -ENOENT, dangling, not readable */
    REFERENCE_ESCAPES,          /* outside the allowed roots, a device, unsafe text */
    REFERENCE_IS_REMOTE,        /* json: or a protocol */
    REFERENCE_UNREACHABLE,      /* its datastore is offline: says nothing about it */
    _REFERENCE_STATE_MAX,
};

const char *reference_state_name(enum reference_state state);
int reference_state_from_name(const char *name);        /* -EINVAL when unknown */

struct reference {
    enum reference_state state;
    int error;                  /* -errno of the resolution */
    char *stored;               /* as the image says it; NULL for none */
    char *format;               /* declared; NULL when not; what a record says of the file: "DISK",
                                 * "ABSENT", "SNAPSHOT" */
    char *path;                 /* resolved real path, where known */
    struct identity identity;   /* of the target, when found */
};

/* Frees what reference owns; it is REFERENCE_NONE then. */
void reference_done(struct reference *reference);

/* Several, as the extents of a VMDK descriptor. */
struct reference_list { struct reference *items; size_t n; };

void reference_list_done(struct reference_list *list);

/* The image's parent as long as its reference led to it: kept when the reference leads elsewhere,
 * or nowhere. */
struct former {
    char *path;
    struct identity identity;   /* all 0 unknown */
    uint64_t size;              /* bytes of the file, 0 unknown */
    uint64_t virtual_size;      /* bytes, 0 unknown */
    uint64_t seen;              /* usec: when it was known to be so */
    bool has_digest;            /* of what the layer holds, as in struct baseline */
    bool encrypted;
    uint8_t digest[32];
    struct identity parent;     /* of its own parent then; all 0 none */
};

struct former *former_free(struct former *former);
int former_to_json(const struct former *former, json_object **ret_object);
/* -EBADMSG for anything that it cannot have been made of. */
int former_from_json(json_object *object, struct former **ret_former);

/* One examination of one image at one time. */
struct audit {
    int64_t id;                 /* the database's, 0 until stored */
    uint64_t started, finished; /* usec since the epoch */
    enum confidence confidence : 8;
    enum files_use use : 8;     /* by the locks, or by what libvirt says */
    enum files_use locked : 8;  /* by the locks alone */
    bool deep;                  /* forced or scrubbed, not only due to a change */
    struct identity identity;   /* of what was audited, */
    struct fingerprint fingerprint;     /* before; equal after, else confidence is racy */
    struct audit_report *report;        /* at rest it has no layers: audit_layer() */
    struct packed_layer *layer; /* NULL: not at rest yet, or nothing was opened */
    struct verity *verity;      /* of the file, when it was opened; NULL without */
    struct digest_result *digest;       /* NULL: no scrub, or the image changed meanwhile, or has
                                         * a writer */
};

struct audit *audit_free(struct audit *audit);
/* The image itself, as the audit found it (audit may be NULL); NULL: it was not opened, or the
 * audit did not come to its end. */
#define audit_layer(audit) audit_layer_in(audit, &(struct layer_report){ .name = NULL })
/* The same also of an audit that failed after it had opened the image, as at the image's data. */
#define audit_layer_seen(audit) audit_layer_seen_in(audit, &(struct layer_report){ .name = NULL })
/* Both lay it out in the caller's block, and what it points to is the audit's: it is valid to the
 * end of the block, while the audit is. */
const struct layer_report *audit_layer_in(const struct audit *audit, struct layer_report *storage);
const struct layer_report *audit_layer_seen_in(const struct audit *audit,
                                               struct layer_report *storage);
/* The report with its layer, which is laid out in storage: what both point to is the audit's. */
struct audit_report audit_whole_report(const struct audit *audit, struct layer_report *storage);
/* From now on it takes as little memory as it can; without memory it stays as it is. */
void audit_rest(struct audit *audit);

/* The format of a file by earlier audits of that very file, whatever lies at its beginning now. */
struct image_past {
    enum qca_format format;     /* other than raw, as it was opened last; UNKNOWN: never */
    uint64_t until;             /* usec: end of the last audit that found it so */
    uint64_t size, virtual_size;        /* bytes, then */
};

/* Another name of an image's file: a hard link, or another way to it. Owned by discover. */
struct image_name {
    char *path;
    struct image *image;
    struct datastore *datastore;
    uint32_t walk;              /* number of the walk that saw it last */
    LIST_ENTRY(image_name) link;        /* of the same image */
};

/* One file that is, or may be, an image. Owned by discover; other stages keep pointers only while
 * the manager tells them of it. */
struct image {
    int64_t id;                 /* the database's, 0 until stored */
    char *path;                 /* absolute, raw bytes: the name that it is known by */
    LIST_HEAD(, image_name) names;      /* others */
    struct datastore *datastore;
    uint64_t first_seen, last_seen;     /* usec */
    struct identity identity;   /* as last seen on disk */
    struct fingerprint fingerprint;
    uint64_t device;            /* st_dev */
    enum files_use use : 8;     /* as last probed, or as libvirt said then */
    enum files_use locked : 8;  /* by the locks alone: the last probe, of an audit, a walk or a
                                 * look */
    bool present;               /* seen by the last complete walk or event */
    bool tentative;             /* not called as images are, and nobody knows yet whether it is one:
                                 * not kept in the database */
    uint8_t counted;            /* the manager's: as what format its datastore counts it among
                                 * those that are not understood; 0 not */
    bool listed;                /* the manager's: an image as far as one can tell; else another
                                 * file, looked at once, not shown */
    uint16_t worker_deaths;     /* consecutive: left out from 3 on until it changes */
    uint64_t locked_since, locked_at;   /* usec: seen locked for writing first, without a break,
                                         * and last; 0 not */
    struct audit *audit;        /* the last one; NULL before the first */
    struct audit *audit_before; /* the one before that, for what grew; NULL if not known */
    struct reference parent;    /* from that audit */
    struct reference data_file;
    struct reference_list extents;      /* files that a VMDK descriptor names; empty also until
                                         * they were looked up after a start */
    struct former *former;      /* what the parent was before; NULL: it is as it was, or not
                                 * known */
    void *node;                 /* relate's */
    void *plan;                 /* schedule's */
    void *scrub;                /* scrub's */
    struct baseline *baseline;  /* of its content; NULL none */
    struct series *growth;      /* of an overlay: bytes allocated; NULL none */
    struct image_past past;
    uint64_t raw_size;          /* of this very file when an audit found it to be raw, and none had
                                 * found it to be anything else before; 0 never */
    /* The manager's: */
    uint64_t settles;           /* usec: it was called otherwise a moment ago; until then that may
                                 * be one step of several, and nothing is bound to its place; 0 */
    uint64_t judge_again;       /* usec: when time alone changes the judgement; UINT64_MAX never */
    uint64_t scan;              /* ticket of the scan that waits for its audit, 0 none */
    uint32_t rest;              /* its place among those that are looked at once more, from 1 on;
                                 * 0 none */
    uint32_t walk;              /* discover's: number of the walk that saw it last */
    uint16_t n_denied;          /* consecutive: could not be had just now, and is tried again */
    bool reading;               /* what a scrub read is being compared */
    uint8_t looks;              /* in a row, each soon after the other, because the last one saw
                                 * damage while a guest wrote */
    bool unrested;              /* is still being written, without a lock: what its last audit
                                 * found missing is no damage yet */
    uint8_t n_grown, n_looks;   /* meanwhile: audits before which it had grown; and had not */
};

/* audit_layer() of its last audit; image may be NULL. */
#define image_layer(image) image_layer_in(image, &(struct layer_report){ .name = NULL })
const struct layer_report *image_layer_in(const struct image *image, struct layer_report *storage);
/* Of an open: it may succeed in a moment. */
bool error_is_temporary(int error);
/* Is that why its last audit saw nothing of it? */
bool image_was_denied(const struct image *image);

#define DEATHS_MAX 3            /* of workers in a row: the image is left out until it changes */

/* Do programs call it so only while they write it: *.part, .NAME.XXXXXX, NAME.tmp.PID, ...? */
bool image_name_is_partial(const char *path);
/* By its last audit: what is stored in it is not what its guest sees, as it is encrypted, or of a
 * format that is not understood. What must not change are the stored bytes then. */
bool image_is_opaque(const struct image *image);
bool layer_is_opaque(const struct layer_report *layer);
/* A raw disk, a medium or an archive says where it ends with a checksum, or in a place where
 * nothing else lies: does the issue say that the file ends before? A table without a checksum, an
 * MBR, is no proof. */
bool issue_kind_is_proven_cut(enum qca_issue_kind kind);
/* Counts the files that the header names as extents, by the last audit. */
size_t image_count_extents(const struct image *image);
/* By its last audit: of a format that is not understood. */
bool image_is_foreign(const struct image *image);
/* No disk, but what a manager wrote down about disks, by its last audit, or by an earlier one where
 * that could not read it; or it is called as a virtual machine's definition, damaged perhaps. */
bool image_is_record(const struct image *image);
/* Is it a file in which VMware notes which blocks of a disk changed, NAME-ctk.vmdk? No disk. */
bool image_is_tracking(const struct image *image);
/* Is it called as disk images are? */
bool path_is_image_name(const char *path);
/* Its data lies in another file: its own times say nothing of that. */
bool image_has_data_file(const struct image *image);
/* Frees it with its audit and references; the graph and the schedule must have forgotten it
 * before. */
struct image *image_free(struct image *image);
/* A block device: the node's birth is when the device was made available, its times are those of
 * udev's last event. They say nothing of what is on it: first_seen is all that is known. */
bool image_is_device(const struct image *image);
