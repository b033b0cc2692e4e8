/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: inotify watches of directories, and what their events mean. */
#include "helpers/files-watch.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/cleanup.h"

/* Nothing that reading or hashing an image causes, and nothing that a running guest causes all the
 * time. */
#define WATCH_MASK                                                                                 \
    (IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE |            \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)

struct watch {
    int wd;
    char *path;
};

static int watch_compare(const void *a, const void *b)
{
    const struct watch *x = a, *y = b;

    return (x->wd > y->wd) - (x->wd < y->wd);
}

static struct watch *watch_find(struct watches *watches, int wd)
{
    struct watch key = {.wd = wd};
    struct watch **found = tfind(&key, &watches->by_wd, watch_compare);

    return found ? *found : NULL;
}

static void watch_remove(struct watches *watches, struct watch *watch)
{
    tdelete(watch, &watches->by_wd, watch_compare);
    if (watch->wd == watches->root_wd)
        watches->root_wd = -1;
    free(watch->path);
    free(watch);
}

/* Only timed walks will see what changes here. Said once: what more there is to say is the same. */
static void tell_exhausted(struct watches *watches, const char *path, int error)
{
    if (!watches->exhausted_told)
        output_record(watches->output, FILES_EVENT_WATCHES_EXHAUSTED, path, error, NULL);
    watches->exhausted_told = true;
}

void watches_add(struct watches *watches, int dirfd, const char *path, bool root)
{
    char link[sizeof("/proc/self/fd/") + 10];
    struct watch *watch;
    char *copy;
    int wd;

    if (watches->fd < 0)
        return;
    /* through the descriptor, so that it is this directory and no other that is watched */
    snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
    wd = inotify_add_watch(watches->fd, link, WATCH_MASK);
    if (wd < 0) {
        tell_exhausted(watches, path, -errno);
        return;
    }
    copy = strdup(path);
    watch = watch_find(watches, wd);
    if (copy && watch) {
        free(watch->path);
        watch->path = TAKE_PTR(copy);
    } else if (copy) {
        watch = malloc(sizeof(*watch));
        if (watch) {
            *watch = (struct watch){.wd = wd, .path = copy};
            if (tsearch(watch, &watches->by_wd, watch_compare))
                copy = NULL;
            else
                free(watch);
        }
    }
    if (copy || !watch_find(watches, wd)) {     /* no memory for it */
        free(copy);
        inotify_rm_watch(watches->fd, wd);
        tell_exhausted(watches, path, -ENOMEM);
        return;
    }
    if (root)
        watches->root_wd = wd;
}

/* One watch at path or below, NULL when there is none. */
struct below {
    const char *path;
    size_t length;
    struct watch *found;
};

static void below_visit(const void *node, VISIT which, void *closure)
{
    struct watch *watch = *(struct watch *const *)node;
    struct below *below = closure;

    if ((which == postorder || which == leaf) &&
        strncmp(watch->path, below->path, below->length) == 0 &&
        (watch->path[below->length] == '\0' || watch->path[below->length] == '/'))
        below->found = watch;
}

void watches_forget(struct watches *watches, const char *path)
{
    for (;;) {
        struct below below = {.path = path, .length = strlen(path)};

        twalk_r(watches->by_wd, below_visit, &below);
        if (!below.found)
            return;
        inotify_rm_watch(watches->fd, below.found->wd);
        watch_remove(watches, below.found);
    }
}

static bool is_watched(const struct watches *watches, const char *path)
{
    struct below below = {.path = path, .length = strlen(path)};

    twalk_r(watches->by_wd, below_visit, &below);
    return below.found;
}

/* Something of that name in a watched directory. */
static void handle_entry(struct watches *watches, const char *path, uint32_t mask)
{
    bool directory = mask & IN_ISDIR;
    struct files_stat stat;
    int r;

    /* Another file lies there by now, as when two names are exchanged: its own event tells. */
    if (mask & IN_MOVED_FROM && !directory && !place_excludes(watches->place, path) &&
        place_stat(watches->place, AT_FDCWD, path, 0, &stat, NULL) == 0 &&
        (stat.type == FILES_REGULAR || stat.type == FILES_BLOCK))
        return;
    if (mask & (IN_DELETE | IN_MOVED_FROM)) {
        if (directory) {
            watches_forget(watches, path);
            watches->vanished(watches->userdata, path);
        }
        output_record(watches->output, FILES_EVENT_VANISHED, path, 0, NULL);
        return;
    }
    if (place_excludes(watches->place, path))
        return;
    r = place_stat(watches->place, AT_FDCWD, path, 0, &stat, NULL);
    if (r == -ENOENT || r == -ENOTDIR)
        return;                 /* gone again, and that event is on its way */
    if (r < 0) {
        output_record(watches->output, FILES_EVENT_ERROR, path, r, NULL);
        return;
    }
    if (stat.type == FILES_SYMLINK) {
        watches->link(watches->userdata, path);
        return;
    }
    output_record(watches->output,
                  mask & (IN_CREATE | IN_MOVED_TO) ? FILES_EVENT_APPEARED : FILES_EVENT_CHANGED,
                  path, 0, &stat);
    if (stat.type == FILES_DIRECTORY &&
        (mask & (IN_CREATE | IN_MOVED_TO) || !is_watched(watches, path)))
        watches->appeared(watches->userdata, path);
}

static void handle_event(struct watches *watches, const struct inotify_event *event)
{
    struct watch *watch;
    char path[PATH_MAX];

    if (event->mask & IN_Q_OVERFLOW) {
        output_record(watches->output, FILES_EVENT_OVERFLOW, watches->place->root, 0, NULL);
        return;
    }
    watch = watch_find(watches, event->wd);
    if (!watch)
        return;                 /* forgotten; its last events were still on their way */
    if (event->len > 0) {
        const char *directory = strcmp(watch->path, "/") == 0 ? "" : watch->path;

        if (snprintf(path, sizeof(path), "%s/%s", directory, event->name) >= (int)sizeof(path))
            output_record(watches->output, FILES_EVENT_ERROR, watch->path, -ENAMETOOLONG, NULL);
        else
            handle_entry(watches, path, event->mask);
        return;
    }
    if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT) &&
        watch->wd == watches->root_wd) {
        watches->root_gone(watches->userdata);
        return;                 /* may have forgotten it */
    }
    if (event->mask & IN_IGNORED)
        watch_remove(watches, watch);
}

void watches_handle(struct watches *watches)
{
    _Alignas(struct inotify_event) char buffer[16384];
    ssize_t n = read(watches->fd, buffer, sizeof(buffer));

    for (const char *p = buffer; n > 0 && p < buffer + n;) {
        const struct inotify_event *event = (const struct inotify_event *)(const void *)p;

        handle_event(watches, event);
        p += sizeof(*event) + event->len;
    }
}
