/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The protocol between the daemon and its helpers: capped records, one per packet of a
 * SOCK_SEQPACKET socket.
 *
 * Every record is a struct that begins with struct wire_header, followed by at most two NUL-ended
 * texts. One table (wire.c) says of each type who sends it, how long it is, how long its texts may
 * be, and whether a file descriptor comes with it; wire_receive() lets nothing else through. What
 * the fields mean is for the receiver to check. Both ends are one build on one machine: native byte
 * order. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "helpers/client.h"

#define WIRE_VERSION 5
#define WIRE_FD 3                       /* where a helper finds its socket */
#define WIRE_TEXT_MAX (PATH_MAX - 1)    /* bytes without the NUL */
#define WIRE_RECORD_MAX 10240           /* bytes, texts included */
/* Of records that share a packet. */
#define WIRE_ALIGNMENT sizeof(uint64_t)
#define WIRE_NO_TEXT UINT16_MAX

/* The bounds of one report, over all its layers: more is counted, not transferred. */
#define WIRE_LAYERS_MAX CLIENT_LAYERS_MAX
#define WIRE_ISSUES_MAX 10000
#define WIRE_SNAPSHOTS_MAX 4096
#define WIRE_BITMAPS_MAX 4096
#define WIRE_EXTENSIONS_MAX 4096
#define WIRE_EXTENTS_MAX QCA_EXTENT_FILES_MAX

enum wire_sender {
    WIRE_WORKER_CLIENT = 1 << 0,
    WIRE_WORKER = 1 << 1,
    WIRE_FILES_CLIENT = 1 << 2,
    WIRE_FILES = 1 << 3,
    WIRE_LAUNCHER_CLIENT = 1 << 4,
    WIRE_LAUNCHER = 1 << 5,
};

enum wire_type {
    WIRE_READY = 1,             /* a helper is sandboxed and listens */
    WIRE_FAILED,                /* it could not be: error and what it tried */

    WIRE_CONFIGURE_WORKER,
    WIRE_REQUEST,               /* with the image */
    WIRE_ANSWER,                /* with the referenced file, or an error */
    WIRE_CANCEL,
    WIRE_PROGRESS,
    WIRE_QUESTION,
    WIRE_LAYER,                 /* then MORE, and as many as it announced of the following, in
                                 * this order */
    WIRE_LAYER_MORE,
    WIRE_SNAPSHOT,
    WIRE_BITMAP,
    WIRE_EXTENSIONS,
    WIRE_EXTENT,
    WIRE_CHECK,
    WIRE_ISSUES,
    WIRE_DONE,

    WIRE_CONFIGURE_FILES,
    WIRE_ALLOWED_ROOT,          /* as many as WIRE_CONFIGURE_FILES announced */
    WIRE_FILES_REQUEST,
    WIRE_FILES_REPLY,           /* with the file, when it was opened */
    WIRE_FILES_ROOT,
    WIRE_FILES_RECORD,
    WIRE_FILES_WALKING,         /* a sign of life in a walk that finds nothing */
    WIRE_FILES_WALKED,

    WIRE_LAUNCH_ROOT,           /* before the first WIRE_LAUNCH, any number; text: a root */
    WIRE_LAUNCH,                /* with the helper's end of its socket */
    WIRE_LAUNCHED,              /* with its pidfd, or an error */

    WIRE_FILE_DIGEST,           /* a worker's: before the layers */
    WIRE_BLOCKS,                /* behind the layers, any number */
    WIRE_CONTENT_DIGEST,        /* behind the blocks */
    WIRE_PACE,                  /* for the request under way */
    WIRE_PLACES,                /* a worker's: before the layers, any number */
    _WIRE_TYPE_MAX,
};

struct wire_header {
    uint16_t version;
    uint16_t type;              /* enum wire_type */
    uint16_t text_length[2];    /* bytes without the NUL, WIRE_NO_TEXT: not there */
};

struct wire_empty {
    struct wire_header header;
};

/* text 0: what was tried */
struct wire_failed {
    struct wire_header header;
    int64_t error;              /* -errno */
};

struct wire_configure_worker {
    struct wire_header header;
    uint64_t memory_limit;      /* bytes */
    uint32_t idle_io;           /* 0 or 1 */
    uint32_t no_digests;        /* 0 or 1 */
    uint32_t threads;           /* 1 to QCA_THREADS_MAX */
    uint32_t reserved;          /* 0 */
};

/* text 0: the internal snapshot, or none */
struct wire_request {
    struct wire_header header;
    struct qca_file_id id;
    uint64_t read_budget;       /* bytes per second, 0: unlimited */
    uint64_t max_issues;
    uint32_t format;            /* enum qca_format */
    uint32_t flags;             /* enum worker_flags */
    uint32_t algorithms;        /* QCA_DIGEST_* */
    uint32_t alignment;
    uint64_t first_block;
};

struct wire_pace {
    struct wire_header header;
    uint64_t read_budget;       /* bytes per second, 0: unlimited */
    uint64_t paused;            /* 0 or 1 */
};

struct wire_answer {
    struct wire_header header;
    uint64_t question;
    int64_t error;              /* 0: with an fd; else -errno */
    struct qca_file_id id;
    uint64_t alignment;
};

struct wire_progress {
    struct wire_header header;
    uint64_t done, total;
};

/* texts: name, format */
struct wire_question {
    struct wire_header header;
    uint64_t id;
    uint32_t kind;              /* enum qca_reference_kind */
    uint32_t layer;
};

/* The fields of struct qca_image_info and struct qca_check_result that are numbers and need no
 * check but their range. */
#define WIRE_INFO_FIELDS(X)                                                                        \
    X(version) X(file_size) X(virtual_size) X(cluster_size) X(refcount_bits) X(header_length)      \
    X(incompatible_features) X(compatible_features) X(autoclear_features) X(compression_type)      \
    X(crypt_header_offset) X(crypt_header_length) X(l1_offset) X(l1_entries)                       \
    X(refcount_table_offset) X(refcount_table_clusters) X(snapshots_offset) X(snapshot_count)      \
    X(unknown_lines) X(identity) X(parent_identity) X(second_parent_identity) X(other_size)
#define WIRE_CHECK_FIELDS(X)                                                                       \
    X(corruptions) X(leaks) X(check_errors) X(image_end_offset) X(total_clusters)                  \
    X(allocated_clusters) X(compressed_clusters) X(fragmented_clusters) X(leak_runs)               \
    X(burst_leaks) X(burst_offset) X(burst_end)

/* texts: the reference that led here, the parent's name */
struct wire_layer {
    struct wire_header header;
#define WIRE_X(field) __typeof__(((struct qca_image_info *)NULL)->field) field;
    WIRE_INFO_FIELDS(WIRE_X)
#undef WIRE_X
    uint32_t index;
    uint32_t format, probed_format;     /* enum qca_format */
    uint32_t crypt_method;              /* enum qca_crypt */
    uint32_t variant;                   /* enum qca_variant */
    uint32_t n_snapshots, n_bitmaps, n_extensions, n_extents;       /* that follow */
    uint64_t snapshots_total, bitmaps_total, extensions_total;      /* that there are */
    uint64_t extents_total;
    uint8_t has_metadata_digest;        /* 0 or 1 */
    uint8_t metadata_digest[32];
    uint8_t checked;                    /* 0 or 1: a WIRE_CHECK follows */
};

/* texts: the parent's format, the data file */
struct wire_layer_more {
    struct wire_header header;
};

/* texts: id, name */
struct wire_snapshot {
    struct wire_header header;
    int64_t date_sec;
    uint64_t vm_state_size, virtual_size, l1_offset;
    uint32_t date_nsec, l1_entries;
};

/* text 0: name */
struct wire_bitmap {
    struct wire_header header;
    uint64_t table_offset;
    uint32_t flags, granularity_bits, table_entries, reserved;
};

#define WIRE_EXTENSIONS_PER_RECORD 64
struct wire_extensions {
    struct wire_header header;
    uint64_t n;                 /* 1 to WIRE_EXTENSIONS_PER_RECORD */
    struct qca_extension extension[WIRE_EXTENSIONS_PER_RECORD];
};

/* text 0: name, or none */
struct wire_extent {
    struct wire_header header;
    uint64_t size, offset;
    char type[16];              /* NUL-ended, printable */
};

struct wire_check {
    struct wire_header header;
#define WIRE_X(field) __typeof__(((struct qca_check_result *)NULL)->field) field;
    WIRE_CHECK_FIELDS(WIRE_X)
#undef WIRE_X
    uint32_t kind_count[_QCA_ISSUE_MAX];
    struct qca_error error;
    uint32_t finished;          /* 0 or 1 */
    uint32_t n_issues;          /* that follow */
};

#define WIRE_ISSUES_PER_RECORD 64
struct wire_issues {
    struct wire_header header;
    uint64_t n;                 /* 1 to WIRE_ISSUES_PER_RECORD */
    struct qca_issue issue[WIRE_ISSUES_PER_RECORD];
};

struct wire_file_digest {
    struct wire_header header;
    struct qca_file_digest digest;
};

#define WIRE_BLOCKS_PER_RECORD 256
struct wire_blocks {
    struct wire_header header;
    uint64_t first;
    uint64_t n;                 /* at least 1; at most WIRE_BLOCKS_PER_RECORD unless zero */
    uint32_t zero;              /* 0 or 1: blocks of zeros, without digests */
    uint32_t unallocated;       /* 0 or 1: of those, in no layer */
    uint8_t digests[WIRE_BLOCKS_PER_RECORD][32];
};

#define WIRE_PLACES_PER_RECORD 64
struct wire_places {
    struct wire_header header;
    uint64_t n;                 /* up to WIRE_PLACES_PER_RECORD; 0: there are more, which could not
                                 * be found */
    struct {
        uint64_t table;         /* enum qca_table */
        uint64_t offset, size;
    } place[WIRE_PLACES_PER_RECORD];
};

struct wire_content_digest {
    struct wire_header header;
    uint64_t complete;          /* 0 or 1, instead of the digest's, which is false */
    struct qca_content_digest digest;
};

struct wire_done {
    struct wire_header header;
    int64_t error;              /* as in struct audit_report */
    struct qca_error open_error;
    uint64_t n_layers, bytes_read, elapsed_usec, cpu_usec, peak_memory;
    uint64_t reading;           /* enum report_reading */
};

/* text 0: the root */
struct wire_configure_files {
    struct wire_header header;
    uint32_t recursive, watch;  /* 0 or 1 */
    uint64_t n_allowed_roots;
    uint64_t of_devices;        /* 0 or 1: WIRE_FILES_DEVICE says which */
    uint64_t no_mounts;         /* 0 or 1 */
};

enum wire_files_kind {
    WIRE_FILES_GET_ROOT,
    WIRE_FILES_WALK,
    WIRE_FILES_OPEN,
    WIRE_FILES_PROBE,
    WIRE_FILES_RESOLVE,
    WIRE_FILES_ALLOW,
    WIRE_FILES_DEVICE,
    WIRE_FILES_EXCLUDE,
    WIRE_FILES_FOLLOW,
    WIRE_FILES_KNOW,
    _WIRE_FILES_KIND_MAX
};

/* texts: path, reference (as the kind needs them) */
struct wire_files_request {
    struct wire_header header;
    uint64_t id;
    uint64_t kind;              /* enum wire_files_kind */
};

/* Answers OPEN, PROBE, RESOLVE, and ALLOW to KNOW. text 0: the real path (RESOLVE) */
struct wire_files_reply {
    struct wire_header header;
    uint64_t id;
    int64_t error;              /* 0, or -errno */
    uint64_t use;               /* enum files_use */
    struct files_stat stat;
};

/* text 0: the root's real path */
struct wire_files_root {
    struct wire_header header;
    uint64_t id;
    int64_t error;
    uint64_t fsid, inode, device, space, size, available;
    uint32_t network;           /* 0 or 1 */
    char type[24];
};

/* texts: path, target */
struct wire_files_record {
    struct wire_header header;
    uint32_t event;             /* enum files_event */
    uint32_t left_out;          /* enum files_left_out */
    int64_t error;
    uint64_t probed;            /* 0 or 1: use was looked at */
    uint64_t use;               /* enum files_use */
    struct files_stat stat;
};

struct wire_files_walked {
    struct wire_header header;
    int64_t error;
    uint64_t n_files, n_directories;
};

struct wire_launch {
    struct wire_header header;
    uint64_t serial;
};

struct wire_launched {
    struct wire_header header;
    uint64_t serial;
    int64_t error;
    int64_t pid;
};

/* Room for one record of any type. */
union wire_record {
    struct wire_header header;
    struct wire_failed failed;
    struct wire_configure_worker configure_worker;
    struct wire_request request;
    struct wire_pace pace;
    struct wire_answer answer;
    struct wire_progress progress;
    struct wire_question question;
    struct wire_layer layer;
    struct wire_layer_more layer_more;
    struct wire_snapshot snapshot;
    struct wire_bitmap bitmap;
    struct wire_extensions extensions;
    struct wire_extent extent;
    struct wire_check check;
    struct wire_issues issues;
    struct wire_file_digest file_digest;
    struct wire_blocks blocks;
    struct wire_places places;
    struct wire_content_digest content_digest;
    struct wire_done done;
    struct wire_configure_files configure_files;
    struct wire_files_request files_request;
    struct wire_files_reply files_reply;
    struct wire_files_root files_root;
    struct wire_files_record files_record;
    struct wire_files_walked files_walked;
    struct wire_launch launch;
    struct wire_launched launched;
    char bytes[WIRE_RECORD_MAX];
};

/* Fills in the header and sends record (a struct of type's length) with its texts (NULL: none;
 * longer ones are cut) and fd (-1: none; stays the caller's). 0, -EAGAIN when the socket is full
 * and does not block, -EPIPE when the other end is gone, or another -errno of sendmsg(). */
int wire_send(int socket, enum wire_type type, void *record, const char *text0, const char *text1,
              int fd);

/* Lays record and texts out as one packet, for who must wait until the socket takes it. Returns its
 * bytes. */
size_t wire_pack(enum wire_type type, void *record, const char *text0, const char *text1,
                 union wire_record *ret_packet);
int wire_send_packet(int socket, const union wire_record *packet, size_t size, int fd);

/* Receives one record that sender may send. 1 and *ret_record, *ret_fd (-1 or the caller's,
 * close-on-exec); 0 when the other end is gone; -EAGAIN when nothing is there and the socket does
 * not block; -EBADMSG for anything that the table does not allow; or another -errno of
 * recvmsg(). */
int wire_receive(int socket, enum wire_sender sender, union wire_record *ret_record, int *ret_fd);
/* The same, but records of WIRE_FILES_RECORD may come several in one packet, of *ret_size bytes;
 * each was checked. */
int wire_receive_several(int socket, enum wire_sender sender, union wire_record *ret_packet,
                         size_t *ret_size, int *ret_fd);
/* The record behind record, which is of that packet; NULL when there is none. */
const union wire_record *wire_next(const union wire_record *packet, size_t size,
                                   const union wire_record *record);
/* Puts a record of length bytes, as from wire_pack(), behind those that packet has in *size bytes
 * (0: none). False when there is no room for it. */
bool wire_append(union wire_record *packet, size_t *size, const union wire_record *record,
                 size_t length);

/* The NUL-ended text of a received record, NULL when it is not there. */
const char *wire_text(const union wire_record *record, unsigned index);

/* Is it 0 or a -errno? */
bool wire_error_is_valid(int64_t error);
/* Is it what the library fills in: a known kind, texts that end and are printable? */
bool wire_qca_error_is_valid(const struct qca_error *error);
