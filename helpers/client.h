/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The caller's side of the two helpers: starts them, checks every record, keeps deadlines, never
 * blocks.
 *
 * All calls return at once; answers come by callback from the sd-event loop, exactly one per
 * request, also when the helper ends, hangs or lies. No callback runs before the call that asked
 * returned. Every pointer handed to a callback is valid during it only, unless said otherwise. */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "report.h"

/* ---- qcaudit-worker ----------------------------------------------------------------------- */

struct worker;

struct worker_options {
    const char *program;            /* path of qcaudit-worker, or qcaudit-checker */
    uint64_t memory_limit;          /* bytes, RLIMIT_AS less the program itself; 0 is 1 GiB */
    unsigned images_max;            /* worker_exhausted() from then on; 0 is 64 */
    bool idle_io;                   /* idle I/O class and lowest CPU priority */
    bool no_digests;                /* none will be asked for: it starts sooner */
    unsigned threads;               /* for checks and content digests, up to QCA_THREADS_MAX; 0
                                     * is 1. With idle_io, those beyond the first only read
                                     * ahead, for WORKER_DIRECT */
};

int worker_start(sd_event *event, const struct worker_options *options, struct worker **ret_worker);
/* Kills and reaps it; the request under way gets no callback any more. Takes NULL, returns NULL. */
struct worker *worker_free(struct worker *worker);
/* As worker_free(); listed until it is gone (helpers/process.h). */
struct process_endings;
struct worker *worker_end(struct worker *worker, struct process_endings *endings,
                          const void *user);
pid_t worker_pid(const struct worker *worker);
/* True once it must not be given another image: images_max reached, ended, or any anomaly. */
bool worker_exhausted(const struct worker *worker);

/* Layers of the longest chain that a worker goes down; and of one that it reads as the guest does,
 * for which all of them stay open. */
#define CLIENT_LAYERS_MAX 10000
#define CLIENT_OPEN_LAYERS_MAX 2000

enum worker_flags {
    WORKER_CHECK = 1 << 0,          /* run the check, not only open */
    WORKER_CHAIN = 1 << 1,          /* open all parents (asks for them); not opened is then an
                                     * error */
    WORKER_CHECK_LAYERS = 1 << 2,   /* with WORKER_CHAIN: check every layer, of a broken chain
                                     * those down to the break */
    WORKER_METADATA_DIGEST = 1 << 3,
    WORKER_SCALAR = 1 << 4,         /* no vector instructions */
    WORKER_DEEP = 1 << 5,           /* inflate every compressed cluster, look for holes */
    WORKER_FILE_DIGEST = 1 << 6,    /* of the container; alone, the file is not opened as an
                                     * image */
    WORKER_CONTENT_DIGEST = 1 << 7, /* with WORKER_CHAIN: of what the guest sees */
    WORKER_BLOCK_DIGESTS = 1 << 8,  /* with WORKER_CONTENT_DIGEST or WORKER_LAYER_DIGEST: tells
                                     * those of its blocks, too */
    WORKER_LAYER_DIGEST = 1 << 9,   /* of the guest's data in the image alone, its parents not
                                     * opened, as it is stored when it is encrypted; asks for a
                                     * data file. Not with WORKER_CHAIN */
    WORKER_DIRECT = 1 << 10,        /* reads everything past the page cache, and leaves that as
                                     * it was */
    WORKER_DATA_FILE = 1 << 12,     /* without WORKER_CHAIN: asks for the data file alone, and
                                     * goes on without it */
    WORKER_PLACES = 1 << 13,        /* without WORKER_CHAIN: tells where the tables lie */
};

struct worker_question {
    uint64_t id;                    /* for worker_answer */
    enum qca_reference_kind kind;
    uint32_t layer;
    const char *name;               /* hostile */
    const char *format;             /* NULL when not declared */
};

struct worker_request {
    int fd;                         /* the image, O_RDONLY; duplicated, stays the caller's */
    struct qca_file_id id;          /* of the image, for loops */
    enum qca_format format;         /* QCA_FORMAT_UNKNOWN probes */
    unsigned flags;                 /* enum worker_flags */
    uint64_t deadline_usec;         /* without any record (progress counts) for so long: killed;
                                     * 0 is 60 s */
    uint64_t total_deadline_usec;   /* killed after so long in all; 0 is 6 h */
    uint64_t read_budget;           /* bytes per second, 0 unlimited */
    size_t max_issues;              /* over all layers; 0 is 1,000; at most 10,000 */
    unsigned algorithms;            /* QCA_DIGEST_*, beside SHA-256, for WORKER_FILE_DIGEST */
    uint32_t alignment;             /* WORKER_DIRECT: as in struct files_stat */
    uint64_t first_block;           /* WORKER_LAYER_DIGEST: goes on from here, as struct
                                     * qca_digest_options says */
    const char *snapshot;           /* WORKER_CONTENT_DIGEST: of this internal snapshot; NULL: of
                                     * what is active */
    /* Must be answered by worker_answer(), now or later; the deadline stands still meanwhile. NULL:
     * all refused. */
    void (*question)(void *userdata, struct worker *worker, const struct worker_question *question);
    void (*progress)(void *userdata, uint64_t done, uint64_t total);        /* may be NULL */
    /* As of struct qca_digest_options; needed for WORKER_BLOCK_DIGESTS. */
    void (*blocks)(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                   bool unallocated);
    /* As of qca_image_places(), needed for WORKER_PLACES; place NULL: there are more, which could
     * not be found. */
    void (*place)(void *userdata, const struct qca_place *place);
    /* The report is the callee's, to be freed by audit_report_free(). */
    void (*done)(void *userdata, struct worker *worker, struct audit_report *report);
    void *userdata;
};

/* -EBUSY while another request is under way, -ESTALE when exhausted, -EINVAL for a digest of a
 * worker without, or flags without what they need. */
int worker_audit(struct worker *worker, const struct worker_request *request);
/* fd (duplicated), alignment (as the request's) and id when error is 0; else -errno as
 * qca_resolve_fn's. */
int worker_answer(struct worker *worker, uint64_t question_id, int error, int fd,
                  uint32_t alignment, const struct qca_file_id *id);
/* For the request under way: reads nothing while paused, and no more than read_budget bytes per
 * second (0: unlimited) when it reads. The deadlines hold on: a worker that waits says so. */
void worker_pace(struct worker *worker, bool paused, uint64_t read_budget);
/* Stops the request under way: done comes with -ECANCELED, and the worker is exhausted if it does
 * not end soon. */
void worker_cancel(struct worker *worker);

/* ---- qcaudit-files ------------------------------------------------------------------------ */

enum files_type { FILES_REGULAR, FILES_BLOCK, FILES_DIRECTORY, FILES_SYMLINK, FILES_OTHER };

/* The use of a file, by QEMU's lock bytes (F_OFD_GETLK at 101 and 201). */
enum files_use { FILES_UNUSED, FILES_FROZEN, FILES_WRITER };

#define FILES_VERITY_MAX 64

/* The statx data of one file, and its real path. Times are nanoseconds since the epoch. */
struct files_stat {
    enum files_type type;
    uint64_t fsid;                  /* the file system, stable over mounts where it can be had */
    uint64_t inode;
    int64_t btime;                  /* birth, 0 when the file system does not tell */
    uint64_t device;                /* st_dev: for "one reader per backing device" alone, never
                                     * identity */
    uint64_t size;                  /* bytes */
    uint64_t allocated;             /* bytes on disk */
    int64_t mtime, ctime;
    uint32_t mode, uid, gid, links;
    uint32_t alignment;             /* bytes that O_DIRECT wants offset, length and memory
                                     * aligned to; 0: the kernel does not tell; UINT32_MAX: no
                                     * such reads. Of files that were opened */
    /* fs-verity's measure (FS_IOC_MEASURE_VERITY) of files that were opened; algorithm and size 0:
     * it has none. */
    uint16_t verity_algorithm;      /* FS_VERITY_HASH_ALG_* */
    uint16_t verity_size;           /* bytes of verity */
    uint8_t verity[FILES_VERITY_MAX];
};

enum files_event {
    FILES_EVENT_APPEARED,           /* walked, created or moved in: stat is set */
    FILES_EVENT_CHANGED,            /* closed after writing, attributes: stat is set */
    FILES_EVENT_VANISHED,           /* deleted or moved out; a directory: with everything below
                                     * it */
    FILES_EVENT_ERROR,              /* this one path could not be looked at: error is set */
    FILES_EVENT_OVERFLOW,           /* the kernel lost events: walk again */
    FILES_EVENT_WATCHES_EXHAUSTED,  /* only timed walks see changes below path; error: -ENOSPC,
                                     * max_user_watches of fs.inotify; -EMFILE,
                                     * max_user_instances; or another */
    FILES_EVENT_UNMOUNTED,          /* the root is gone, or another file system lies on it */
    FILES_EVENT_MOUNT,              /* another file system is mounted at path, and looked into:
                                     * target is its type */
    FILES_EVENT_LEFT_OUT,           /* path was not looked into: left_out says why, target what
                                     * it is */
    _FILES_EVENT_MAX,
};

enum files_left_out {
    FILES_LEFT_NONE,
    FILES_LEFT_FORBIDDEN,           /* a file system that the configuration forbids; its type */
    FILES_LEFT_SEEN,                /* a mount of what is seen by another path */
    FILES_LEFT_REMOTE,              /* a file system that could hang */
    FILES_LEFT_PSEUDO,              /* one of the kernel's own */
    FILES_LEFT_GONE,                /* a file system was mounted here */
    FILES_LEFT_EXCLUDED,            /* by a pattern */
    FILES_LEFT_TOO_MANY,            /* there are more files than the daemon keeps in mind */
    FILES_LEFT_LINK,                /* a link, but to no device */
    FILES_LEFT_KNOWN_DEVICE,        /* a link to a device that is audited as a pool's; the device */
    FILES_LEFT_DEVICE,              /* a link to a device that nobody allowed; the device */
    _FILES_LEFT_MAX,
};

struct files_record {
    enum files_event event;
    const char *path;               /* absolute, hostile bytes, below the root */
    int error;                      /* -errno, FILES_EVENT_ERROR and _WATCHES_EXHAUSTED only */
    struct files_stat stat;
    bool probed;                    /* of a walk: use says who has it open now */
    enum files_use use;
    enum files_left_out left_out;   /* FILES_EVENT_LEFT_OUT only */
    const char *target;             /* of these, and of a link to a device that appeared: the
                                     * device; hostile; NULL where there is none */
};

struct files;

struct files_options {
    const char *program;            /* path of qcaudit-files */
    const char *root;               /* the datastore's directory */
    const char *const *allowed_roots;   /* NULL-ended: references may lead there (all datastores'
                                         * roots) */
    const char *const *devices;     /* NULL, or NULL-ended: paths below root, which is /dev then:
                                     * these block devices are all there is, and all that is
                                     * opened but for allowed_roots */
    const char *const *exclude;     /* NULL, or NULL-ended: patterns relative to the root of what
                                     * is left out */
    const char *const *follow;      /* the same: patterns of devices to which links are followed */
    const char *const *known;       /* the same: devices that another datastore has */
    bool recursive;
    bool no_mounts;                 /* does not look into file systems that are mounted below */
    bool watch;                     /* inotify; false: walks alone */
    uint64_t deadline_usec;         /* each request, and the silence within a walk; 0 is 30 s */
    struct launches *launches;      /* who starts it; NULL: started directly, without capability */
    /* Every record of walks and watches. */
    void (*record)(void *userdata, struct files *files, const struct files_record *record);
    /* A walk ended: 0 complete, else -errno. Entries not reported since files_walk() are gone. */
    void (*walked)(void *userdata, struct files *files, int error, uint64_t n_files,
                   uint64_t n_directories);
    /* The helper ended, hung (-ETIMEDOUT, killed) or lied (-EBADMSG): all requests were answered
     * so; free it. */
    void (*lost)(void *userdata, struct files *files, int error);
    void *userdata;
};

/* root is absolute. -EINVAL, or -errno when it could not be started. All requests below: 0 or
 * -ENOTCONN once lost, -ENOBUFS (65,536 are waiting), -ENAMETOOLONG, -ENOMEM. */
int files_start(sd_event *event, const struct files_options *options, struct files **ret_files);
struct files *files_free(struct files *files);
/* As files_free(); listed until it is gone (helpers/process.h). */
struct files *files_end(struct files *files, struct process_endings *endings, const void *user);
pid_t files_pid(const struct files *files);

/* The kind of place that the root is; asked once after the start, which also tells whether it
 * exists. */
struct files_root {
    uint64_t fsid, inode, device;
    uint64_t space;                 /* equal where the space is one: of all subvolumes of a btrfs,
                                     * say */
    uint64_t size, available;       /* bytes; size is what can be used, so that size - available
                                     * is in use */
    char type[24];                  /* "ext4", "xfs", "nfs4", "fuse", ... */
    bool network;                   /* inotify does not see other hosts' changes */
    const char *real_path;          /* the root with all links followed; records keep to the root
                                     * as it was given */
};
typedef void (*files_root_fn)(void *userdata, int error, const struct files_root *root);
int files_root(struct files *files, files_root_fn done, void *userdata);

/* From then on, references may lead there, too: as in allowed_roots. */
int files_allow(struct files *files, const char *path);
/* And a link to that device leads to one that another datastore has. */
int files_know(struct files *files, const char *path);

/* Walks the whole root (a record for everything found, whatever its type, then walked). -EALREADY
 * while one is under way. */
int files_walk(struct files *files);

/* O_PATH, fstat, allowed roots, reopen read-only, lock probe. fd is the callee's. -EPERM: lies
 * outside the allowed roots; -EFTYPE is not Linux's, so -EMEDIUMTYPE: neither regular file nor
 * block device. */
typedef void (*files_open_fn)(void *userdata, int error, int fd, const struct files_stat *stat,
                              enum files_use use);
int files_open(struct files *files, const char *path, files_open_fn done, void *userdata);

/* statx and lock probe, without handing out the file: before and after an audit. */
typedef void (*files_probe_fn)(void *userdata, int error, const struct files_stat *stat,
                               enum files_use use);
int files_probe(struct files *files, const char *path, files_probe_fn done, void *userdata);

/* Finds the target of a reference stored in the image at path, by its real place (links followed):
 * path and stat of the target, or -ENOENT, -EPERM (outside the allowed roots), -ELOOP,
 * -EMEDIUMTYPE, -EACCES. The real path comes with -EPERM and -EMEDIUMTYPE too, where known. Remote
 * references never get here. Nothing outside the allowed roots is looked at: there a path is taken
 * by its text, with the links on it that lead there. A target in this root is named as the root was
 * given. An absolute reference is best asked of the helper that has it below its root, so that a
 * file system that hangs stops its own helper only; image_path then only has to be absolute. */
typedef void (*files_resolve_fn)(void *userdata, int error, const char *real_path,
                                 const struct files_stat *stat);
int files_resolve(struct files *files, const char *image_path, const char *reference,
                  files_resolve_fn done, void *userdata);

/* ---- what a reference is, by its text alone (shared policy of daemon and ctl) --------------- */

enum reference_text {
    REFERENCE_LOCAL,
    REFERENCE_REMOTE,           /* json: or a protocol */
    REFERENCE_UNSAFE,           /* devices, /proc, /sys */
};
/* Empty, or "file:" with a relative path (QEMU takes it from its working directory), is unsafe too.
 * What "file:" prefixes and spellings QEMU accepts is in the implementation; *ret_path (malloc'd,
 * may be NULL to ask for the class alone) is the plain path of a local reference. */
int reference_classify(const char *reference, enum reference_text *ret_class, char **ret_path);
/* The absolute path a reference means by its text: without ".", ".." and double slashes. Only to
 * tell in which datastore it lies, and to name it; links are followed by the helper, which checks
 * again. */
int reference_lexical(const char *image_path, const char *reference, char **ret_path);

/* ---- where the helpers are ------------------------------------------------------------------ */

/* Path of the program name ("qcaudit-worker", "qcaudit-files"): in $QCAUDIT_LIBEXECDIR when that is
 * set (and the process has no more rights than its user), else where it was installed. Malloc'd.
 * -ENOMEM. */
int helper_program(const char *name, char **ret_path);

/* ---- the one capability ------------------------------------------------------------------- */

/* Forks a launcher that keeps CAP_DAC_READ_SEARCH (if this process has it) and starts qcaudit-files
 * on request, then drops every capability of this process, bounding set included. To be called
 * before any thread, loop or file exists. *ret_fd is handed to launches_new(), or -1. */
int launcher_start(const char *files_program, int *ret_fd);
/* A root of the configuration: only below those given before the first files_start() does it open
 * what is private (helpers/files-private.h), whatever root and allowed roots are said later. 0, or
 * -errno of the launcher's socket. */
int launcher_give_root(int launcher_fd, const char *root);

/* Requests to a launcher, for which nobody waits; to be freed after the clients that made them. */
struct launches;
int launches_new(sd_event *event, int launcher_fd, struct launches **ret_launches);
struct launches *launches_free(struct launches *launches);
