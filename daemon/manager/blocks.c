/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of block digests: written as a reading goes on, resumed after an interruption, finished and
 * compared, all of it in the store's thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "daemon/core/log.h"
#include "daemon/manager/baseline.h"
#include "helpers/text.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define BUFFER_SIZE ((size_t)256 << 10)
#define FLUSH_AFTER (2 * USEC_PER_SEC)
#define QUEUED_MAX ((size_t)64 << 20)   /* bytes that wait for the disk; beyond them a stream is
                                         * given up */
/* The content digest of a resumed reading is computed here, of 32 bytes per block, zeros too: not
 * of a larger disk. */
#define RESUME_MAX (UINT64_C(16) << 40)
#define BLOCKS_BETWEEN ".part"          /* of two that are exchanged; removed at the next start */
/* The blocks that a file has bound what is kept of it: 32 bytes of 65,536, even of data that became
 * 128 times smaller by compression. What is smaller still is a stranger's way to fill the disk. */
#define KEPT_LEAST (UINT64_C(1) << 20)  /* bytes, of any file */
#define KEPT_SHARE 16           /* and of the file's own, one in so many */
#define FREE_SHARE 16           /* one in so many of the bytes there is left to the database */
#define PARTIAL_KEPT (30 * 24 * 3600)   /* seconds */

struct stream {
    struct stream *next, *previous;
    struct manager *manager;
    struct identity identity;
    struct fingerprint fingerprint;
    char *path;
    uint64_t n_blocks;          /* told so far */
    uint8_t *buf;
    size_t length;
    uint64_t flushed;           /* usec: when the last of it went on its way */
    size_t queued;              /* bytes under way to the disk */
    uint64_t written, most;     /* bytes, with those under way */
    unsigned n_tasks;           /* that refer to it */
    bool broken;                /* something was not written */
    bool dropped;               /* to be freed with its last task */
};

/* Bytes on their way to a partial file. */
struct writing {
    struct stream *stream;
    char *path;
    bool begin;                 /* a new file */
    size_t length;
    uint8_t bytes[];
};

char *blocks_path(const struct manager *manager, const struct identity *identity,
                  const char *suffix)
{
    char *path;

    return asprintf(&path, "%s/" CONTROL_BLOCKS_NAME "/" BLOCKS_NAME_FORMAT "%s",
                    manager->options.state_directory, BLOCKS_NAME_VALUES(*identity), suffix) < 0
               ? NULL
               : path;
}

/* ---- streams --------------------------------------------------------------------------------- */

static struct stream *stream_find(const struct manager *manager, const struct identity *identity)
{
    for (struct stream *stream = manager->streams; stream; stream = stream->next)
        if (identity_equal(&stream->identity, identity))
            return stream;
    return NULL;
}

static void stream_unlist(struct stream *stream)
{
    if (stream->previous)
        stream->previous->next = stream->next;
    else if (stream->manager->streams == stream)
        stream->manager->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    stream->next = stream->previous = NULL;
}

static void stream_free(struct stream *stream)
{
    free(stream->path);
    free(stream->buf);
    free(stream);
}

static void stream_drop(struct stream *stream)
{
    stream_unlist(stream);
    if (stream->n_tasks > 0)
        stream->dropped = true;
    else
        stream_free(stream);
}

static int stream_new(struct manager *manager, const struct identity *identity,
                      const struct fingerprint *fingerprint, struct stream **ret_stream)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return -ENOMEM;
    *stream = (struct stream){ .manager = manager,
                               .identity = *identity,
                               .fingerprint = *fingerprint,
                               .path = blocks_path(manager, identity, BLOCKS_PARTIAL),
                               .buf = malloc(BUFFER_SIZE) };
    if (!stream->path || !stream->buf) {
        stream_free(stream);
        return -ENOMEM;
    }
    stream->next = manager->streams;
    if (stream->next)
        stream->next->previous = stream;
    manager->streams = stream;
    *ret_stream = stream;
    return 0;
}

/* ---- to the disk ----------------------------------------------------------------------------- */

static int make_folder(const char *path)
{
    _cleanup_free_ char *folder = strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;

    if (!slash)
        return -ENOMEM;
    *slash = '\0';
    return mkdir(folder, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Files that share their blocks (reflinks) hold more data than any disk: what is known of them must
 * not take the room of findings. */
static int check_room(int fd)
{
    struct statvfs fs;

    if (fstatvfs(fd, &fs) < 0)
        return -errno;
    return fs.f_bavail < fs.f_blocks / FREE_SHARE ? -ENOSPC : 0;
}

static int run_writing(void *userdata)
{
    const struct writing *writing = userdata;
    _cleanup_close_ int fd = -1;
    struct stat st;
    int r = writing->begin ? make_folder(writing->path) : 0;

    if (r < 0)
        return r;
    r = state_file_open_fd(writing->path,
                           O_WRONLY | O_APPEND | (writing->begin ? O_CREAT | O_TRUNC : 0), &fd);
    if (r == 0)
        r = check_room(fd);
    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    for (size_t at = 0; at < writing->length;) {
        ssize_t n = write(fd, writing->bytes + at, writing->length - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r = -errno;
            (void)!ftruncate(fd, st.st_size);
            return r;
        }
        at += (size_t)n;
    }
    return fdatasync(fd) < 0 ? -errno : 0;
}

static void stream_failed(struct stream *stream, int error)
{
    if (!stream->broken && error != -ECANCELED)
        log_warning(error,
                    "Cannot keep block digests in %s: %m; damage can be seen, and not located",
                    stream->path);
    stream->broken = true;
}

static void on_written(void *userdata, int error)
{
    struct writing *writing = userdata;
    struct stream *stream = writing->stream;

    stream->queued -= writing->length;
    stream->n_tasks--;
    if (error < 0)
        stream_failed(stream, error);
    if (stream->dropped && stream->n_tasks == 0)
        stream_free(stream);
    free(writing->path);
    free(writing);
}

static int stream_write(struct stream *stream, bool begin, const uint8_t *bytes, size_t length)
{
    struct writing *writing;
    int r;

    if (stream->broken)
        return -EIO;
    if (stream->queued + length > QUEUED_MAX)
        return -ENOBUFS;
    if (length > stream->most || stream->written > stream->most - length)
        return -EFBIG;
    writing = malloc(sizeof(*writing) + length);
    if (!writing)
        return -ENOMEM;
    *writing = (struct writing){
        .stream = stream, .path = strdup(stream->path), .begin = begin, .length = length
    };
    memcpy(writing->bytes, bytes, length);
    r = writing->path ? store_task(stream->manager->store, run_writing, on_written, writing)
                      : -ENOMEM;
    if (r < 0) {
        free(writing->path);
        free(writing);
        return r;
    }
    stream->queued += length;
    stream->written += length;
    stream->n_tasks++;
    return 0;
}

static void stream_flush(struct stream *stream)
{
    int r = stream->length > 0 ? stream_write(stream, false, stream->buf, stream->length) : 0;

    stream->length = 0;
    if (r < 0)
        stream_failed(stream, r);
}

/* ---- what a scrub tells ---------------------------------------------------------------------- */

static bool may_resume(const struct stream *stream, const struct image *image,
                       const struct fingerprint *now)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    return !stream->broken && stream->fingerprint.size == now->size &&
           stream->fingerprint.mtime == now->mtime && report && report->n_layers > 0 &&
           report->layers[0].info.virtual_size <= RESUME_MAX;
}

bool blocks_are_kept(const struct manager *manager, const struct image *image)
{
    const struct stream *stream = stream_find(manager, &image->identity);

    return stream && stream->n_blocks > 0 && may_resume(stream, image, &image->fingerprint);
}

/* Data elsewhere, in a data file or a device, has blocks that are not this file's. */
static uint64_t most_kept(const struct image *image, const struct fingerprint *fingerprint)
{
    if (image->data_file.state != REFERENCE_NONE || S_ISBLK(fingerprint->mode))
        return UINT64_MAX;
    return KEPT_LEAST + fingerprint->allocated / KEPT_SHARE;
}

uint64_t blocks_on_begin(void *userdata, struct image *image, const struct audit *audit)
{
    struct manager *manager = userdata;
    struct stream *stream = stream_find(manager, &audit->identity);
    struct blocks_header header = { .identity = audit->identity, .size = audit->fingerprint.size,
                                    .mtime = audit->fingerprint.mtime,
                                    .ctime = audit->fingerprint.ctime };
    uint8_t bytes[BLOCKS_HEADER_SIZE];
    int r;

    if (stream && stream->n_blocks > 0 && may_resume(stream, image, &audit->fingerprint)) {
        stream->most = most_kept(image, &audit->fingerprint);
        return stream->n_blocks;
    }
    if (stream)
        stream_drop(stream);
    r = stream_new(manager, &audit->identity, &audit->fingerprint, &stream);
    if (r < 0) {
        log_warning(r, "Cannot keep block digests: %m");
        return 0;
    }
    stream->most = most_kept(image, &audit->fingerprint);
    blocks_header_encode(&header, bytes);
    r = stream_write(stream, true, bytes, sizeof(bytes));
    if (r < 0)
        stream_failed(stream, r);
    return 0;
}

static void stream_put(struct stream *stream, enum blocks_kind kind, uint64_t n,
                       const uint8_t (*digests)[32])
{
    for (uint64_t step; n > 0; n -= step) {
        step = digests && n > BLOCKS_RUN_MAX ? BLOCKS_RUN_MAX : n;
        if (stream->length + BLOCKS_RECORD_SIZE + (digests ? step * BLOCKS_WHOLE : 0) > BUFFER_SIZE)
            stream_flush(stream);
        stream->length += blocks_record_encode(kind, stream->n_blocks, step,
                                               digests ? (*digests) : NULL, BLOCKS_WHOLE,
                                               stream->buf + stream->length);
        stream->n_blocks += step;
        if (digests)
            digests += step;
    }
}

void blocks_on_blocks(void *userdata, struct image *image, uint64_t first, uint64_t n,
                      const uint8_t (*digests)[32], bool unallocated)
{
    struct manager *manager = userdata;
    struct stream *stream = stream_find(manager, &image->identity);
    uint64_t now = manager_now(manager);

    if (!stream || stream->broken || first < stream->n_blocks)
        return;
    if (first > stream->n_blocks)       /* they could not be read */
        stream_put(stream, BLOCKS_BAD, first - stream->n_blocks, NULL);
    stream_put(stream,
               digests       ? BLOCKS_DATA
               : unallocated ? BLOCKS_UNALLOCATED
                             : BLOCKS_ZERO,
               n, digests);
    /* What a slow reading has done must not be done again after a crash. */
    if (now >= stream->flushed + FLUSH_AFTER) {
        stream_flush(stream);
        stream->flushed = now;
    }
}

/* ---- the end of a reading -------------------------------------------------------------------- */

struct finishing *finishing_free(struct finishing *finishing)
{
    if (!finishing)
        return NULL;
    for (size_t i = 0; i < finishing->n_children; i++) {
        free(finishing->children[i].blocks);
        free(finishing->children[i].path);
    }
    digest_result_free(finishing->result);
    free(finishing->path);
    free(finishing->partial);
    free(finishing->fresh);
    free(finishing->before);
    free(finishing->below);
    free(finishing);
    return NULL;
}

static uint64_t count_zero_blocks(FILE *file)
{
    struct blocks_reader *reader = NULL;
    struct blocks_run run;
    uint64_t n = 0;

    if (blocks_reader_new(file, &reader) < 0)
        return 0;
    while (blocks_reader_next(reader, &run) > 0)
        n += run.kind == BLOCKS_ZERO ? run.n : 0;
    blocks_reader_free(reader);
    return n;
}

/* Written under another name and synced before it has its own: there is never half a file. */
static int finish_file(struct finishing *finishing)
{
    const struct digest_result *digest = finishing->result;
    _cleanup_fclose_ FILE *partial = state_file_open(finishing->partial), *file = NULL;
    _cleanup_free_ char *temporary = NULL;
    int r;

    if (!partial)
        return -errno;
    if (asprintf(&temporary, "%s.part", finishing->fresh) < 0) {
        temporary = NULL;
        return -ENOMEM;
    }
    (void)unlink(temporary);
    file = fopen(temporary, "w+xe");
    if (!file)
        return -errno;
    r = blocks_finish(partial, digest->size, digest->resumed_from == 0 ? digest->digest : NULL,
                      file, finishing->digest);
    if (r == 0 && (fchmod(fileno(file), 0600) < 0 || fsync(fileno(file)) < 0))
        r = -errno;
    if (r == 0) {
        finishing->zero_blocks = count_zero_blocks(file);
        r = rename(temporary, finishing->fresh) < 0 ? -errno : 0;
    }
    if (r < 0)
        (void)unlink(temporary);
    else
        (void)unlink(finishing->partial);
    return r;
}

/* Without its blocks a reading has the worker's own digest, if that is of the whole disk. */
static void take_digest(struct finishing *finishing)
{
    if (finishing->result->resumed_from == 0)
        memcpy(finishing->digest, finishing->result->digest, sizeof(finishing->digest));
}

static int run_finishing(void *userdata)
{
    struct finishing *finishing = userdata;
    int r = finishing->partial ? finish_file(finishing) : 0;

    finishing->kept = r == 0;
    if (r < 0)
        take_digest(finishing);
    if (r == 0 && finishing->before)
        blocks_compare_finishing(finishing);
    return r;
}

/* Freed with its manager when the store was closed before. */
struct ending {
    struct finishing *finishing;
    void (*done)(struct finishing *finishing);
};

static int run_ending(void *userdata)
{
    struct ending *ending = userdata;

    return run_finishing(ending->finishing);
}

static void on_ended(void *userdata, int error)
{
    struct ending *ending = userdata;

    if (error == -ECANCELED) {
        finishing_free(ending->finishing);
    } else {
        if (error < 0)
            log_warning(error, "Cannot finish the block digests in %s: %m",
                        ending->finishing->fresh);
        ending->done(ending->finishing);
    }
    free(ending);
}

int blocks_again(struct manager *manager, struct finishing *finishing,
                 void (*done)(struct finishing *finishing))
{
    struct ending *ending = calloc(1, sizeof(*ending));
    int r;

    if (!ending)
        return -ENOMEM;
    *ending = (struct ending){ .finishing = finishing, .done = done };
    r = store_task(manager->store, run_ending, on_ended, ending);
    if (r < 0)
        free(ending);
    return r;
}

int blocks_end(struct manager *manager, struct finishing *finishing,
               void (*done)(struct finishing *finishing))
{
    struct stream *stream = stream_find(manager, &finishing->identity);
    bool broken = true;

    if (stream) {
        stream_flush(stream);
        broken = stream->broken;
        stream_drop(stream);
    }
    finishing->partial = blocks_path(manager, &finishing->identity, BLOCKS_PARTIAL);
    finishing->fresh = blocks_path(manager, &finishing->identity, BLOCKS_FRESH);
    if (!finishing->partial || !finishing->fresh)
        return -ENOMEM;
    if (broken) {
        take_digest(finishing);
        done(finishing);
        return 0;
    }
    return blocks_again(manager, finishing, done);
}

/* ---- files that come and go ------------------------------------------------------------------ */

struct moving {
    char *from, *to;            /* to NULL: from goes */
};

static int run_moving(void *userdata)
{
    const struct moving *moving = userdata;
    int r = moving->to ? rename(moving->from, moving->to) : unlink(moving->from);

    return r < 0 && errno != ENOENT ? -errno : 0;
}

static void on_moved(void *userdata, int error)
{
    struct moving *moving = userdata;

    if (error < 0 && error != -ECANCELED)
        log_warning(error, "Cannot %s %s: %m", moving->to ? "rename" : "remove", moving->from);
    free(moving->from);
    free(moving->to);
    free(moving);
}

/* Takes both. */
static void move(struct manager *manager, char *from, char *to)
{
    struct moving *moving = from ? malloc(sizeof(*moving)) : NULL;

    if (moving) {
        *moving = (struct moving){ .from = from, .to = to };
        if (store_task(manager->store, run_moving, on_moved, moving) >= 0)
            return;
        free(moving);
    }
    log_warning(-ENOMEM, "Cannot move a file of block digests: %m");
    free(from);
    free(to);
}

void blocks_drop(struct manager *manager, const struct identity *identity)
{
    struct stream *stream = stream_find(manager, identity);

    if (stream)
        stream_drop(stream);
    move(manager, blocks_path(manager, identity, BLOCKS_PARTIAL), NULL);
}

void blocks_adopt(struct manager *manager, const struct identity *identity,
                  const struct identity *before)
{
    char *to = blocks_path(manager, identity, "");

    if (to)
        move(manager, blocks_path(manager, identity, BLOCKS_FRESH), to);
    if (!identity_equal(identity, before))
        move(manager, blocks_path(manager, before, ""), NULL);
}

void blocks_rename(struct manager *manager, const struct identity *from, const struct identity *to)
{
    char *target = blocks_path(manager, to, "");

    if (target)
        move(manager, blocks_path(manager, from, ""), target);
}

void blocks_exchange(struct manager *manager, const struct identity *a, const struct identity *b)
{
    char *between = blocks_path(manager, a, BLOCKS_BETWEEN),
         *target = blocks_path(manager, a, BLOCKS_BETWEEN);

    if (between && target) {
        move(manager, blocks_path(manager, a, ""), TAKE_PTR(target));
        blocks_rename(manager, b, a);
        move(manager, TAKE_PTR(between), blocks_path(manager, b, ""));
    }
    free(between);
    free(target);
}

void blocks_remove(struct manager *manager, const struct identity *identity)
{
    static const char *const suffixes[] = { "", BLOCKS_FRESH, BLOCKS_PARTIAL };

    for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
        move(manager, blocks_path(manager, identity, suffixes[i]), NULL);
}

/* ---- what the last daemon left --------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);

    return n > k && strcmp(name + n - k, end) == 0;
}

static int load_partial(struct manager *manager, const char *path)
{
    _cleanup_fclose_ FILE *file = state_file_open(path);
    struct fingerprint fingerprint = { .size = 0 };
    _cleanup_free_ char *expected = NULL;
    struct blocks_header header;
    struct stream *stream;
    uint64_t next, end;
    struct stat st;
    int r;

    if (!file || fstat(fileno(file), &st) < 0)
        return -errno;
    if (st.st_mtime < time(NULL) - PARTIAL_KEPT)
        return -ESTALE;
    r = blocks_partial_end(file, &header, &next, &end);
    if (r < 0)
        return r;
    expected = blocks_path(manager, &header.identity, BLOCKS_PARTIAL);
    if (!expected || strcmp(expected, path) != 0)
        return expected ? -EBADMSG : -ENOMEM;
    if (truncate(path, (off_t)end) < 0)
        return -errno;
    fingerprint.size = header.size;
    fingerprint.mtime = header.mtime;
    fingerprint.ctime = header.ctime;
    r = stream_new(manager, &header.identity, &fingerprint, &stream);
    if (r >= 0) {
        stream->n_blocks = next;
        stream->written = end;
    }
    return r;
}

int blocks_load(struct manager *manager)
{
    _cleanup_free_ char *folder = NULL;
    DIR *dir;

    if (asprintf(&folder, "%s/" CONTROL_BLOCKS_NAME, manager->options.state_directory) < 0) {
        folder = NULL;
        return -ENOMEM;
    }
    dir = opendir(folder);
    if (!dir && state_error_passes(-errno))
        return -errno;
    if (!dir && errno != ENOENT) {      /* what was read is kept without its blocks */
        log_error(-errno, "Cannot read %s: %m", folder);
        baseline_tell_damage(manager, "the folder of block digests (%s)", strerror(errno));
    }
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        _cleanup_free_ char *path = NULL;
        bool partial = ends_with(entry->d_name, ".blocks" BLOCKS_PARTIAL);

        if (!partial && !ends_with(entry->d_name, ".part"))
            continue;
        if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0) {
            path = NULL;
            break;
        }
        if (!partial || load_partial(manager, path) < 0)
            (void)unlink(path);
    }
    closedir(dir);
    return 0;
}

/* An interrupted reading goes on after the next start: what is known of it is written. */
void blocks_done(struct manager *manager)
{
    for (struct stream *stream = manager->store ? manager->streams : NULL; stream;
         stream = stream->next)
        if (!stream->broken)
            stream_flush(stream);
}

void blocks_free(struct manager *manager)
{
    while (manager->streams) {
        struct stream *stream = manager->streams;

        stream_unlist(stream);
        stream_free(stream);
    }
}
