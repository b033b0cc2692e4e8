/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Readings that are under way: their block digests are written to a partial file as they come, by
 * tasks, and an interrupted reading goes on there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "helpers/clock.h"
#include "helpers/write.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define BUFFER_SIZE ((size_t)256 << 10)
#define FLUSH_AFTER (2 * USEC_PER_SEC)
#define QUEUED_MAX ((size_t)64 << 20)   /* bytes that wait for the disk; beyond them a stream is
                                         * given up */
/* The content digest of a resumed reading is computed here, of 32 bytes per block, zeros too: not
 * of a larger disk. */
#define RESUME_MAX (UINT64_C(16) << 40)
/* The blocks that a file has bound what is kept of it: 32 bytes of 65,536, even of data that became
 * 128 times smaller by compression. What is smaller still is a stranger's way to fill the disk. */
#define KEPT_LEAST (UINT64_C(1) << 20)  /* bytes, of any file */
#define KEPT_SHARE 16           /* and of the file's own, one in so many */
#define FREE_SHARE 16           /* one in so many of the bytes there is left to the database */
#define PARTIAL_KEPT (30 * 24 * 3600 * USEC_PER_SEC)

struct stream {
    LIST_ENTRY(stream) link;    /* until it is dropped */
    struct contents *contents;
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
struct stream_writing {
    struct stream *stream;
    char *path;
    bool begin;                 /* a new file */
    size_t length;
    uint8_t bytes[];
};

/* ---- streams --------------------------------------------------------------------------------- */

static struct stream *stream_find(const struct contents *contents, const struct identity *identity)
{
    struct stream *stream;

    LIST_FOREACH(stream, &contents->streams, link)
        if (identity_equal(&stream->identity, identity))
            return stream;
    return NULL;
}

static void stream_free(struct stream *stream)
{
    free(stream->path);
    free(stream->buf);
    free(stream);
}

static void stream_drop(struct stream *stream)
{
    LIST_REMOVE(stream, link);
    if (stream->n_tasks > 0)
        stream->dropped = true;
    else
        stream_free(stream);
}

static int stream_new(struct contents *contents, const struct identity *identity,
                      const struct fingerprint *fingerprint, struct stream **ret_stream)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return -ENOMEM;
    *stream = (struct stream){ .contents = contents,
                               .identity = *identity,
                               .fingerprint = *fingerprint,
                               .path = blocks_path(contents, identity, BLOCKS_PARTIAL),
                               .buf = malloc(BUFFER_SIZE) };
    if (!stream->path || !stream->buf) {
        stream_free(stream);
        return -ENOMEM;
    }
    LIST_INSERT_HEAD(&contents->streams, stream, link);
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
    const struct stream_writing *writing = userdata;
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
    r = write_all(fd, writing->bytes, writing->length);
    if (r < 0) {
        (void)!ftruncate(fd, st.st_size);
        return r;
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
    struct stream_writing *writing = userdata;
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
    struct stream_writing *writing;
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
    *writing = (struct stream_writing){
        .stream = stream, .path = strdup(stream->path), .begin = begin, .length = length
    };
    memcpy(writing->bytes, bytes, length);
    r = writing->path ? contents_task(stream->contents, run_writing, on_written, writing)
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
    const struct layer_report *layer = audit_layer_seen(image->audit);

    return !stream->broken && stream->fingerprint.size == now->size &&
           stream->fingerprint.mtime == now->mtime && layer &&
           layer->info.virtual_size <= RESUME_MAX;
}

bool contents_may_resume(const struct contents *contents, const struct image *image)
{
    const struct stream *stream = stream_find(contents, &image->identity);

    return stream && stream->n_blocks > 0 && may_resume(stream, image, &image->fingerprint);
}

/* Data elsewhere, in a data file or a device, has blocks that are not this file's. */
static uint64_t most_kept(const struct image *image, const struct fingerprint *fingerprint)
{
    if (image->data_file.state != REFERENCE_NONE || S_ISBLK(fingerprint->mode))
        return UINT64_MAX;
    return KEPT_LEAST + fingerprint->allocated / KEPT_SHARE;
}

uint64_t contents_begin_blocks(struct contents *contents, struct image *image,
                               const struct audit *audit)
{
    struct stream *stream = stream_find(contents, &audit->identity);
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
    r = stream_new(contents, &audit->identity, &audit->fingerprint, &stream);
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

void contents_take_blocks(struct contents *contents, struct image *image, uint64_t first,
                          uint64_t n, const uint8_t (*digests)[32], bool unallocated)
{
    struct stream *stream = stream_find(contents, &image->identity);
    uint64_t now = contents_now(contents);

    if (!stream || stream->broken || first < stream->n_blocks)
        return;
    if (first > stream->n_blocks)       /* they could not be read */
        stream_put(stream, BLOCKS_BAD, first - stream->n_blocks, NULL);
    stream_put(stream,
               digests       ? BLOCKS_DATA
               : unallocated ? BLOCKS_UNALLOCATED
                             : BLOCKS_ZERO,
               n, digests);
    /* After a crash, a slow reading must not begin anew. */
    if (now >= stream->flushed + FLUSH_AFTER) {
        stream_flush(stream);
        stream->flushed = now;
    }
}

/* ---- the end of a reading -------------------------------------------------------------------- */

bool stream_close(struct contents *contents, const struct identity *identity)
{
    struct stream *stream = stream_find(contents, identity);
    bool whole;

    if (!stream)
        return false;
    stream_flush(stream);
    whole = !stream->broken;
    stream_drop(stream);
    return whole;
}

void stream_abandon(struct contents *contents, const struct identity *identity)
{
    struct stream *stream = stream_find(contents, identity);

    if (stream)
        stream_drop(stream);
    blocks_unlink(contents, identity, BLOCKS_PARTIAL);
}

/* ---- what the last daemon left --------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);

    return n > k && strcmp(name + n - k, end) == 0;
}

static int load_partial(struct contents *contents, const char *path)
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
    if (st.st_mtime < (int64_t)((contents_now(contents) - PARTIAL_KEPT) / USEC_PER_SEC))
        return -ESTALE;
    r = blocks_partial_end(file, &header, &next, &end);
    if (r < 0)
        return r;
    expected = blocks_path(contents, &header.identity, BLOCKS_PARTIAL);
    if (!expected || strcmp(expected, path) != 0)
        return expected ? -EBADMSG : -ENOMEM;
    if (truncate(path, (off_t)end) < 0)
        return -errno;
    fingerprint.size = header.size;
    fingerprint.mtime = header.mtime;
    fingerprint.ctime = header.ctime;
    r = stream_new(contents, &header.identity, &fingerprint, &stream);
    if (r >= 0) {
        stream->n_blocks = next;
        stream->written = end;
    }
    return r;
}

int stream_load(struct contents *contents)
{
    _cleanup_free_ char *folder = NULL;
    DIR *dir;

    if (asprintf(&folder, "%s/" CONTROL_BLOCKS_NAME, contents->state_directory) < 0) {
        folder = NULL;
        return -ENOMEM;
    }
    dir = opendir(folder);
    if (!dir && state_error_passes(-errno))
        return -errno;
    if (!dir && errno != ENOENT) {      /* what was read is kept without its blocks */
        log_error(-errno, "Cannot read %s: %m", folder);
        damage_tell(contents, "the folder of block digests (%s)", strerror(errno));
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
        if (!partial || load_partial(contents, path) < 0)
            (void)unlink(path);
    }
    closedir(dir);
    return 0;
}

/* An interrupted reading goes on after the next start: what is known of it is written. */
void stream_flush_all(struct contents *contents)
{
    struct stream *stream;

    LIST_FOREACH(stream, &contents->streams, link)
        if (!stream->broken)
            stream_flush(stream);
}

void stream_free_all(struct contents *contents)
{
    struct stream *stream;

    while ((stream = LIST_FIRST(&contents->streams))) {
        LIST_REMOVE(stream, link);
        stream_free(stream);
    }
}
