/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of the daemon as plain structs: what the stages hand to one another through the
 * manager. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-id128.h>
#include <time.h>

#include "helpers/client.h"
#include "helpers/clock.h"

/* ---- findings ------------------------------------------------------------------------------- */

enum severity { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_ERROR, SEVERITY_CRITICAL, _SEVERITY_MAX };

const char *severity_name(enum severity severity);      /* "info" ... "critical" */
int severity_from_name(const char *name);               /* -EINVAL when unknown */
int severity_priority(enum severity severity);          /* journal priority: 6, 4, 3, 2 */

enum confidence {
    CONFIDENCE_RACY,
    CONFIDENCE_CONFIRMED,
    CONFIDENCE_FROZEN,
    CONFIDENCE_OFFLINE,
    _CONFIDENCE_MAX
};

const char *confidence_name(enum confidence confidence);
int confidence_from_name(const char *name);             /* -EINVAL when unknown */

/* One per row of findings.def: FINDING_METADATA_CORRUPT, ... */
enum finding_type {
#define FINDING(id, ...) FINDING_##id,
#include "qcaudit/findings.def"
#undef FINDING
    _FINDING_MAX,
};

/* What a finding is about, and what it rests on: findings.def says what each means. */
enum finding_about { ABOUT_IMAGE, ABOUT_DISK, ABOUT_DOMAIN, ABOUT_DATASTORE, ABOUT_DAEMON };
enum finding_basis { BASIS_AUDIT, BASIS_CHECK, BASIS_LIBVIRT, BASIS_CONTENTS, BASIS_SELF };

struct finding_definition {
    const char *name;           /* "metadata-corrupt": stable */
    enum severity severity;     /* the highest it can reach by default */
    enum finding_about about;
    enum finding_basis basis;
    const char *title;          /* one line */
    const char *explanation;    /* what it is, why it matters; paragraphs parted by \n\n */
    const char *remedy;         /* in general; the exact commands are remedy.c's */
    sd_id128_t message_id;
};

/* NULL when out of range. */
const struct finding_definition *finding_definition(enum finding_type type);
int finding_type_from_name(const char *name);           /* -EINVAL when unknown */
bool finding_type_is_of_disk(enum finding_type type);

/* A condition that holds now, as the judge sees it: no history. */
struct condition {
    enum finding_type type;
    enum severity severity;
    enum confidence confidence;
    json_object *evidence;      /* owned; always an object */
    uint64_t weight;            /* grows when it gets worse (corruptions, leaks, depth, ...):
                                 * ends an acknowledgement */
    uint64_t hold;              /* usec that it must have held, at every look, before it is a
                                 * finding; 0 at once */
};

enum finding_state { FINDING_OPEN, FINDING_ACKNOWLEDGED, FINDING_RESOLVED, _FINDING_STATE_MAX };

const char *finding_state_name(enum finding_state state);
int finding_state_from_name(const char *name);          /* -EINVAL when unknown */

/* A condition with its life. subject: an image's path, a datastore's name, "" for the daemon
 * itself, or a domain's name and connection: "web1 on qemu:///system". */
enum subject_kind {
    SUBJECT_IMAGE,
    SUBJECT_DATASTORE,
    SUBJECT_DAEMON,
    SUBJECT_DOMAIN,
    _SUBJECT_KIND_MAX
};

const char *subject_kind_name(enum subject_kind kind);  /* "image" ... "domain" */
int subject_kind_from_name(const char *name);           /* -EINVAL when unknown */

struct finding {
    int64_t id;                 /* the database's; 0 until stored. Unique and stable for type +
                                 * subject */
    enum finding_type type;
    enum subject_kind subject_kind;
    char *subject;              /* raw bytes */
    char *datastore;            /* name; "" for the daemon itself */
    enum finding_state state;
    enum severity severity;
    enum confidence confidence;
    uint64_t first_seen, last_seen, changed;    /* usec since the epoch; changed: last transition */
    uint64_t resolved;          /* usec, 0 while open */
    uint32_t count;             /* audits that saw it */
    uint32_t misses;            /* consecutive audits of low confidence without it */
    uint64_t weight;
    json_object *evidence;
    json_object *remedy;        /* array of {"command" | "text": ..., "precondition": ...}, may
                                 * be NULL */
    char *acknowledged_by, *acknowledged_reason;
    uint64_t acknowledged_until;    /* usec, 0: without end */
    uint64_t acknowledged_weight;
    bool of_other_file;         /* that was said of another file than lies there now; not kept */
    uint64_t reminded;          /* usec of the last alert, for the doubling reminder */
    uint32_t reminders;
};

struct finding *finding_free(struct finding *finding);

/* Where alerts go. */
enum alert_target { ALERT_JOURNAL, ALERT_SYSLOG, ALERT_CONSOLE, _ALERT_TARGET_MAX };

const char *alert_target_name(enum alert_target target);        /* "journal" ... "console" */

enum event_type {
    EVENT_OPENED,
    EVENT_WORSENED,
    EVENT_EASED,
    EVENT_ACKNOWLEDGED,
    EVENT_UNACKNOWLEDGED,
    EVENT_RESOLVED,
    EVENT_REOPENED,
    EVENT_REMINDER,
    _EVENT_MAX,
};

const char *event_type_name(enum event_type type);
int event_type_from_name(const char *name);             /* -EINVAL when unknown */
/* Does it go out to administrators, or only into the history? */
bool event_type_alerts(enum event_type type);

/* One change in a finding's life: appended to the history, which is also the outbox of alerts.
 * Holds a copy of what the alert says, so that it can be told after a crash as it was. */
struct event {
    sd_id128_t id;              /* QCAUDIT_EVENT_ID */
    enum event_type type;
    uint64_t at;                /* usec since the epoch */
    enum finding_type finding;
    int64_t finding_id;         /* 0 until stored */
    enum subject_kind subject_kind;
    char *subject, *datastore;
    enum severity severity;
    enum confidence confidence;
    char *message;              /* one sentence, escaped, ready for a log line */
    char **domains;             /* whose disk it is, or a layer of it: NULL-ended; NULL: none */
    uint32_t depth;             /* of the chain (of an own layer: the disk's deepest), 0 when it
                                 * does not matter */
};

struct event *event_free(struct event *event);

/* ---- images --------------------------------------------------------------------------------- */

/* The same file again after a remount or reboot? Never the device number. */
struct identity {
    uint64_t fsid;
    uint64_t inode;
    int64_t btime;              /* nsec, 0 unknown */
};

/* Has it changed since it was audited? Unchanged: it is not read. */
struct fingerprint {
    uint64_t size, allocated;   /* bytes */
    int64_t mtime, ctime;       /* nsec */
    uint32_t mode, uid, gid, links;
};

#define VERITY_SIZE_MAX FILES_VERITY_MAX

/* fs-verity's measure of a file: the kernel checks every read against it, and nobody can write the
 * file. */
struct verity {
    uint16_t algorithm;         /* FS_VERITY_HASH_ALG_*; 0: the file has none */
    uint16_t size;              /* bytes of digest */
    uint8_t digest[VERITY_SIZE_MAX];
};

struct verity verity_from_stat(const struct files_stat *stat);
/* both have one, and the same */
bool verity_equal(const struct verity *a, const struct verity *b);
/* "sha256:HEX"; "" without. */
#define VERITY_TEXT_MAX (16 + 2 * VERITY_SIZE_MAX)
const char *verity_text(const struct verity *verity, char buf[static VERITY_TEXT_MAX]);
int verity_from_text(const char *text, struct verity *ret_verity);
struct identity identity_from_stat(const struct files_stat *stat);
bool identity_equal(const struct identity *a, const struct identity *b);
struct fingerprint fingerprint_from_stat(const struct files_stat *stat);
bool fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b);

/* Where an image's parent or data file is. */
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
    char *format;               /* declared; NULL when not */
    char *path;                 /* resolved real path, where known */
    struct identity identity;   /* of the target, when found */
};

/* Frees what reference owns; it is REFERENCE_NONE then. */
void reference_done(struct reference *reference);

/* Several, as the extents of a VMDK descriptor. */
struct reference_list { struct reference *items; size_t n; };

void reference_list_done(struct reference_list *list);

/* What an image's parent was as long as its reference led to it: kept when it leads elsewhere, or
 * nowhere. */
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

/* What a scrub read: the guest's data in this one layer, its parents not opened. */
struct digest_result {
    bool complete;              /* all of it could be read; else bad says what is missing, and
                                 * the rest was read */
    uint8_t digest[32];         /* content digest (DESIGN 5) of the layer: what its parents hold
                                 * reads as zeros. Valid when complete and resumed_from is 0 */
    bool encrypted;             /* of the data as it is stored, which is not what the guest sees:
                                 * image_is_opaque() */
    uint64_t size;              /* bytes the guest sees */
    uint64_t read_bytes;        /* guest bytes that were read, */
    uint64_t zero_bytes;        /* that are zeros by the tables or holes of the file, */
    uint64_t unallocated_bytes; /* and that the layer does not hold; of all, even when resumed */
    bool direct;                /* past the page cache; false: what was cached was read from
                                 * there */
    struct qca_bad_range *bad;  /* owned; the first QCA_BAD_RANGES_MAX */
    size_t n_bad;
    uint64_t bad_bytes;
    uint64_t started, finished; /* usec since the epoch */
    uint64_t resumed_from;      /* block that this reading began with; 0: all was read in one go */
};

struct digest_result *digest_result_free(struct digest_result *digest);

/* ---- contents -------------------------------------------------------------------------------- */

/* Why an image's content is remembered. */
enum baseline_source {
    BASELINE_POLICY,            /* golden, as the policy says */
    BASELINE_INFERRED,          /* golden, as far as one can tell */
    BASELINE_PARENT,            /* a parent that is old enough */
    BASELINE_ACCEPTED,          /* somebody said that a change was meant */
    BASELINE_CHILD,             /* may change: what a commit of it into its parent would be
                                 * compared with */
    BASELINE_ASKED,             /* may change: somebody had it read, and what that found is kept */
    _BASELINE_SOURCE_MAX,
};

/* May the image change, so that it is nothing that the content must be? */
bool baseline_source_is_loose(enum baseline_source source);
const char *baseline_source_name(enum baseline_source source);
int baseline_source_from_name(const char *name);        /* -EINVAL when unknown */

/* What a reading says beside what is remembered. */
enum reading_verdict {
    READING_BASELINE,           /* the first one: this is how it must stay */
    READING_VERIFIED,           /* the same */
    READING_METADATA,           /* the same content in other metadata */
    READING_COMMIT,             /* different, and a commit of a child's own blocks explains it */
    READING_CHANGED,            /* different, and it may be */
    READING_ACCEPTED,           /* somebody said that it was meant */
    READING_ROT,                /* different, and nobody wrote */
    READING_MODIFIED,           /* different, and must not be */
    READING_INCOMPLETE,         /* parts could not be read */
    _READING_VERDICT_MAX,
};

const char *reading_verdict_name(enum reading_verdict verdict);
int reading_verdict_from_name(const char *name);        /* -EINVAL when unknown */

/* Bytes of the guest's disk. */
struct guest_range { uint64_t offset, length; };

#define DEVIATION_RANGES_MAX 100

/* What the last reading found different from the baseline. */
struct deviation {
    enum reading_verdict verdict;       /* rot, modified or incomplete */
    uint64_t found;             /* usec: end of the reading that found it first */
    uint64_t read;              /* usec: and of the last one */
    uint8_t digest[32];         /* of the layer now; zeros when incomplete */
    uint64_t virtual_size;      /* bytes, now */
    struct fingerprint fingerprint;     /* now */
    bool located;               /* blocks, bytes and ranges are known */
    uint64_t blocks;            /* of 64 KiB that differ, or could not be read */
    uint64_t bytes;             /* of the guest's disk that they cover */
    struct guest_range ranges[DEVIATION_RANGES_MAX];    /* the first of them */
    size_t n_ranges;
    uint64_t ranges_total;
    int error;                  /* incomplete: negative errno of the first */
    char *suspect;              /* child that was emptied or deleted meanwhile: perhaps a commit;
                                 * NULL none */
    bool hurts;                 /* what it holds came of one overlay, and another one sees it */
    char *waits_for;            /* layer whose reading may explain it; the image's own path: it is
                                 * compared once more; NULL none */
};

struct deviation *deviation_free(struct deviation *deviation);

/* What an image held when it was taken for good. Owned by the set of baselines, one per identity;
 * an image that has one points to it. */
struct baseline {
    struct identity identity;
    char *path;                 /* where it was seen last */
    enum baseline_source source;
    uint64_t since;             /* usec: end of the reading that made it; 0: never read
                                 * completely */
    uint64_t verified;          /* usec: of the last reading that found the same */
    bool has_digest;
    uint8_t digest[32];         /* content digest of the layer's own data, the parents' left out */
    bool encrypted;             /* of the data as it is stored: equal to no content digest, and
                                 * to no commit's blocks */
    uint64_t virtual_size;
    uint64_t zeros;             /* bytes that are allocated and hold zeros, at the last complete
                                 * reading */
    bool has_metadata;
    uint8_t metadata[32];       /* metadata digest at the last reading that found the same */
    struct fingerprint fingerprint;     /* at that reading */
    bool attributes;            /* owner, mode or links were seen to change since */
    struct identity parent;     /* its parent then; all 0 none */
    struct verity verity;
    bool blocks;                /* there is a file of its block digests */
    char *by, *reason;          /* who accepted it, and why; NULL nobody had to */
    uint64_t gone;              /* usec, 0 while the file exists */
    char *lost_child;           /* overlay that was emptied or deleted since: maybe committed;
                                 * NULL none */
    struct deviation *deviation;        /* NULL: as it should be, as far as was read */
};

struct baseline *baseline_free(struct baseline *baseline);

/* Name of the file of its block digests, in the folder CONTROL_BLOCKS_NAME. */
#define BLOCKS_NAME_FORMAT "%016llx-%llu-%llx.blocks"
#define BLOCKS_NAME_VALUES(identity) \
    (unsigned long long)(identity).fsid, (unsigned long long)(identity).inode, \
        (unsigned long long)(identity).btime

/* One examination of one image at one time. */
struct audit {
    int64_t id;                 /* the database's, 0 until stored */
    uint64_t started, finished; /* usec since the epoch */
    enum confidence confidence;
    enum files_use use;         /* by the locks, or by what libvirt says */
    enum files_use locked;      /* by the locks alone */
    bool deep;                  /* forced or scrubbed, not only due to a change */
    struct identity identity;   /* of what was audited, */
    struct fingerprint fingerprint;     /* before; equal after, else confidence is racy */
    struct audit_report *report;
    struct verity verity;       /* of the file, when it was opened */
    struct digest_result *digest;       /* NULL: no scrub, or the image changed meanwhile, or has
                                         * a writer */
};

struct audit *audit_free(struct audit *audit);

struct datastore;

/* How something grew: the times at which it was looked at, and what it was then; at most
 * SERIES_MAX, the older ones the sparser. */
#define SERIES_MAX 96
struct sample { uint64_t at, value; };
struct series { struct sample samples[SERIES_MAX]; unsigned n; };

/* Adds a sample that is at least `least` usec later than the last one; an earlier one is left out.
 * A full series forgets every other one of its older half. */
void series_add(struct series *series, uint64_t at, uint64_t value, uint64_t least);
/* The line that fits best (least squares) through the samples since `since`: value per second,
 * negative when it shrinks; false when they are fewer than `least` or were taken at one time. */
bool series_slope(const struct series *series, uint64_t since, unsigned least,
                  double *ret_per_second);

/* What a file was by earlier audits of that very file, whatever lies at its beginning now. */
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
    uint64_t walk;              /* number of the walk that saw it last */
    struct image_name *next;    /* of the same image */
};

/* One file that is, or may be, an image. Owned by discover; other stages keep pointers only while
 * the manager tells them of it. */
struct image {
    int64_t id;                 /* the database's, 0 until stored */
    char *path;                 /* absolute, raw bytes: the name that it is known by */
    struct image_name *names;   /* others; NULL none */
    struct datastore *datastore;
    uint64_t first_seen, last_seen;     /* usec */
    uint64_t walk;              /* number of the walk that saw it last */
    struct identity identity;   /* as last seen on disk */
    struct fingerprint fingerprint;
    uint64_t device;            /* st_dev */
    enum files_use use;         /* as last probed, or as libvirt said then */
    enum files_use locked;      /* by the locks alone: the last probe, of an audit, a walk or a
                                 * look */
    uint64_t locked_since, locked_at;   /* usec: seen locked for writing first, without a break,
                                         * and last; 0 not */
    struct audit *audit;        /* the last one; NULL before the first */
    struct audit *audit_before; /* the one before that, for what grew; NULL if not known */
    struct reference parent;    /* from that audit */
    struct reference data_file;
    struct reference_list extents;      /* files that a VMDK descriptor names; empty also until
                                         * they were looked up after a start */
    bool present;               /* seen by the last complete walk or event */
    bool tentative;             /* not called as images are, and nobody knows yet whether it is one:
                                 * not kept in the database */
    uint8_t counted;            /* the manager's: as what format its datastore counts it among
                                 * those that are not understood; 0 not */
    uint32_t worker_deaths;     /* consecutive: left out from 3 on until it changes */
    uint32_t n_denied;          /* consecutive: could not be had just now, and is tried again */
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
    bool listed;                /* an image as far as one can tell; else another file, looked at
                                 * once, not shown */
    bool reading;               /* what a scrub read is being compared */
    uint8_t looks;              /* in a row, each soon after the other, because the last one saw
                                 * damage while a guest wrote */
    size_t rest;                /* its place among those that are looked at once more, from 1 on;
                                 * 0 none */
    bool unrested;              /* is still being written, without a lock: what its last audit
                                 * found missing is no damage yet */
    uint8_t n_grown, n_looks;   /* meanwhile: audits before which it had grown; and had not */
};

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
/* How many files its header names as extents, by its last audit. */
size_t image_count_extents(const struct image *image);
/* By its last audit: of a format that is not understood. */
bool image_is_foreign(const struct image *image);
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

enum datastore_state { DATASTORE_STARTING, DATASTORE_ONLINE, DATASTORE_OFFLINE, DATASTORE_PAUSED,
                       DATASTORE_REMOVED /* from the configuration */, _DATASTORE_STATE_MAX };

const char *datastore_state_name(enum datastore_state state);
int datastore_state_from_name(const char *name);        /* -EINVAL when unknown */

#define COVERAGE_ITEMS_MAX 100

/* Something that was left out: a mount or a link to a device. */
struct coverage_item {
    enum files_left_out why;
    char *path;                 /* raw bytes */
    char *target;               /* type of the file system, or the device; NULL not known */
};

/* What the last complete walk of a datastore saw and left out, kept up to date by its watches. */
struct coverage {
    uint64_t files, folders;    /* of all kinds */
    uint64_t mounts;            /* file systems below it that were looked into */
    uint64_t left_out[_FILES_LEFT_MAX];
    struct coverage_item *items;        /* the first COVERAGE_ITEMS_MAX of those that matter */
    size_t n_items;
};

const char *coverage_reason_name(enum files_left_out why);      /* "mount-remote": stable */
/* Is it nobody's wish that this is left out? */
bool coverage_reason_is_gap(enum files_left_out why);
int coverage_add(struct coverage *coverage, enum files_left_out why, const char *path,
                 const char *target);
void coverage_remove(struct coverage *coverage, const char *path);
uint64_t coverage_gaps(const struct coverage *coverage);
void coverage_done(struct coverage *coverage);
int coverage_to_json(const struct coverage *coverage, json_object **ret_object);
/* Of an empty one. -EBADMSG for anything that it cannot have been made of: it is empty then. */
int coverage_from_json(json_object *object, struct coverage *coverage);

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
    uint64_t walk;              /* number of the last begun walk */
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

/* ---- policy --------------------------------------------------------------------------------- */

/* Two or three steps of one measure; UINT64_MAX switches a step off. */
struct steps { uint64_t warning, error, critical; };

/* Thresholds of the findings; each a key of the configuration, and can differ by class. Durations
 * are usec, shares are parts per 10,000. */
struct thresholds {
    struct steps chain_deep;            /* unconsolidated layers: 5, 25, 160 */
    uint32_t chain_limit;               /* layers in all: 200 */
    struct steps snapshot_old;          /* 72 h, 14 d, off */
    uint32_t runaway_layers;            /* at a regular interval: 4 */
    uint32_t runaway_tolerance;         /* how regular: 2,000 (20 %) of the median interval */
    uint64_t leaks_bytes;               /* warning from: 1 GiB */
    uint32_t leaks_share;               /* warning from: 100 (1 %) of the clusters */
    uint32_t burst_leaks;               /* 256 in one span */
    uint32_t burst_factor;              /* 10 times the last audit's */
    uint32_t internal_snapshots;        /* 5 */
    uint32_t internal_snapshots_golden; /* 1 */
    enum severity data_file;            /* warning */
    uint64_t overdue_golden;            /* usec without a verification: 14 d; UINT64_MAX off */
    uint64_t overdue_parents;           /* 60 d */
    uint64_t reclaimable_bytes;         /* 10 GiB */
    uint32_t reclaimable_share;         /* 3,000 (30 %) of what the image takes, */
    uint64_t reclaimable_least;         /* of at least 100 MiB */
    uint64_t runaway_least;             /* usec: a shorter interval is no rhythm: 1 min */
    struct steps snapshot_large;        /* bytes: 20 GiB, 40 GiB, off */
    struct steps snapshot_large_share;  /* of the virtual size: 2,000 (20 %), 5,000 (50 %), off; */
    uint64_t snapshot_large_least;      /* but not below so many bytes: 1 GiB */
    struct steps datastore_full;        /* 7,500 (75 %), off, 8,500 (85 %) */
    struct steps datastore_overcommitted;       /* 15,000 (150 %), off, off */
    uint64_t full_early, full_late;     /* time to full: a warning from 72 h, critical from 24 h;
                                         * UINT64_MAX off */
    uint64_t full_span;                 /* that the samples of its slope span at least: 1 h */
    /* How long these have to hold, usec: */
    uint64_t unmanaged_after;           /* 1 h */
    uint64_t orphan_after;              /* 24 h */
    uint64_t backup_after;              /* the age that no backup job reaches: 24 h */
    uint64_t job_after;                 /* a block job that is ready: 1 h */
    uint64_t differs_after;             /* 5 min */
    uint64_t delete_after;              /* a deletion of a snapshot: 10 min */
    uint64_t foreign_after;             /* 1 min */
    uint64_t forked_after;              /* 1 min: a merge leaves its layers behind until they are
                                         * deleted */
    uint64_t deleted_after;             /* 10 s: longer than libvirt takes to tell of a merge */
    bool disabled[_FINDING_MAX];        /* findings the administrator does not want */
};

struct policy_class {
    char *name;
    char **paths;               /* glob patterns over absolute paths, NULL-ended */
    uint64_t memory;            /* bytes that a domain with such an image needs; 0: not said */
    struct thresholds thresholds;       /* complete: defaults filled in */
};

struct policy {
    char **golden;              /* glob patterns: declared immutable, NULL-ended */
    bool infer_golden;          /* by the definition of DESIGN: default true */
    struct thresholds thresholds;
    struct policy_class *classes;       /* the first that matches counts */
    size_t n_classes;
    uint64_t scrub_golden;      /* usec between two readings of a golden image: 7 d; 0 never */
    uint64_t scrub_parents;     /* of another parent: 30 d; 0 never */
    uint64_t scrub_parents_after;       /* usec that a parent is old before it is read first: 24
                                         * h */
};

const struct thresholds *policy_thresholds(const struct policy *policy, const char *path);
/* The class of an image; NULL for none. */
const struct policy_class *policy_class_of(const struct policy *policy, const char *path);
bool policy_golden(const struct policy *policy, const char *path);
