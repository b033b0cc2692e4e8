/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The metrics' file: replaced in one step by a thread of its own, one file at a time. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/tell/metrics.h"
#include "helpers/write.h"
#include "lib/cleanup.h"

#define REMOVE_WAIT_MS 1000

struct metrics_file {
    sd_event_source *source;
    void (*written)(void *userdata, int error);
    void *userdata;
    int fd, theirs;             /* a result of the thread is an int that comes through */
    bool busy;
    char *path;                 /* written last, or being written */
};

/* Owned by the thread. */
struct order {
    char *path, *text;
    size_t size;
    mode_t mode;
    int fd;
};

static void order_free(struct order *order)
{
    if (!order)
        return;
    if (order->fd >= 0)
        close(order->fd);
    free(order->path);
    free(order->text);
    free(order);
}
DEFINE_CLEANUP(struct order *, order_free)

/* Folder and name of a path that has both; cuts path. */
static const char *split(char *path)
{
    char *slash = strrchr(path, '/');

    *slash = '\0';
    return slash + 1;
}

/* Not synced: after a crash of the machine the numbers are old anyway, and the next start writes
 * them anew. */
static int replace(int folder, const char *name, mode_t mode, const char *text, size_t size)
{
    _cleanup_free_ char *new_name = NULL;
    _cleanup_close_ int fd = -1;
    int r;

    /* The collector takes names that end in .prom; this one does not. */
    if (asprintf(&new_name, ".%s.new", name) < 0)
        return -ENOMEM;
    if (unlinkat(folder, new_name, 0) < 0 && errno != ENOENT)
        return -errno;
    fd = openat(folder, new_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    /* whatever the umask is: it is to be read */
    r = fchmod(fd, mode) < 0 ? -errno : write_all(fd, text, size);
    if (r >= 0 && renameat(folder, new_name, folder, name) < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(folder, new_name, 0);
    return r;
}

static void *run(void *userdata)
{
    _cleanup_(order_freep) struct order *order = userdata;
    const char *name = split(order->path);
    _cleanup_close_ int folder = open(order->path[0] ? order->path : "/",
                                      O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = folder < 0 ? -errno : replace(folder, name, order->mode, order->text,
                                               order->size);

    /* Nobody may want it any more. */
    (void)send(order->fd, &r, sizeof(r), MSG_NOSIGNAL);
    return NULL;
}

static int on_written(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct metrics_file *file = userdata;
    int result;

    if (recv(fd, &result, sizeof(result), MSG_DONTWAIT) != (ssize_t)sizeof(result))
        return 0;
    file->busy = false;
    file->written(file->userdata, result);
    return 0;
}

int metrics_file_new(sd_event *event, void (*written)(void *userdata, int error), void *userdata,
                     struct metrics_file **ret_file)
{
    struct metrics_file *file = calloc(1, sizeof(*file));
    int fds[2], r;

    if (!file)
        return -ENOMEM;
    *file =
        (struct metrics_file){ .written = written, .userdata = userdata, .fd = -1, .theirs = -1 };
    r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
    if (r >= 0) {
        file->fd = fds[0];
        file->theirs = fds[1];
        r = sd_event_add_io(event, &file->source, file->fd, EPOLLIN, on_written, file);
    }
    if (r < 0) {
        metrics_file_free(file);
        return r;
    }
    *ret_file = file;
    return 0;
}

static int start_thread(struct order *order)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int r = -pthread_attr_init(&attributes);

    if (r < 0)
        return r;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    r = -pthread_create(&thread, &attributes, run, order);
    (void)pthread_attr_destroy(&attributes);
    return r;
}

int metrics_file_write(struct metrics_file *file, const char *path, mode_t mode, char *text,
                       size_t size)
{
    _cleanup_free_ char *copy = strdup(path);
    _cleanup_(order_freep) struct order *order = calloc(1, sizeof(*order));
    int r;

    if (!order) {
        free(text);
        return -ENOMEM;
    }
    *order = (struct order){ .path = strdup(path), .text = text, .size = size,
                              .mode = mode, .fd = -1 };
    if (file->busy)
        return -EBUSY;
    if (!copy || !order->path)
        return -ENOMEM;
    if (file->path && strcmp(file->path, path) != 0)
        metrics_file_remove(file);
    order->fd = fcntl(file->theirs, F_DUPFD_CLOEXEC, 3);
    if (order->fd < 0)
        return -errno;
    r = start_thread(order);
    if (r < 0)
        return r;
    order = NULL;               /* the thread's */
    file->busy = true;
    free(file->path);
    file->path = TAKE_PTR(copy);
    return 0;
}

void metrics_file_remove(struct metrics_file *file)
{
    struct pollfd ready = { .fd = file->fd, .events = POLLIN };
    int result;

    if (file->busy && poll(&ready, 1, REMOVE_WAIT_MS) > 0 &&
        recv(file->fd, &result, sizeof(result), MSG_DONTWAIT) == (ssize_t)sizeof(result))
        file->busy = false;
    /* While a write hangs, unlink() would hang, too. */
    if (file->path && !file->busy)
        (void)unlink(file->path);
    free(file->path);
    file->path = NULL;
}

struct metrics_file *metrics_file_free(struct metrics_file *file)
{
    if (!file)
        return NULL;
    sd_event_source_disable_unref(file->source);
    if (file->fd >= 0)
        close(file->fd);
    if (file->theirs >= 0)
        close(file->theirs);
    free(file->path);
    free(file);
    return NULL;
}
