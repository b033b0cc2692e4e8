/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks up the number of the control group in a thread of its own, as a name service may take its
 * time. */
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/internal.h"
#include "lib/cleanup.h"

#define RECORD_MAX (1024 * 1024)    /* bytes: a group with all its members */

struct group_lookup {
    sd_event_source *source;
    void (*done)(void *userdata, int error, gid_t gid);
    void *userdata;
    int fd;
};

/* Owned by the thread. */
struct group_question {
    int fd;
    char name[];
};

struct answer {
    int error;
    gid_t gid;
};

int control_group_find(const char *name, gid_t *ret_gid)
{
    _cleanup_free_ char *record = NULL;
    struct group group, *found = NULL;
    size_t size = 1024;
    int error;

    do {
        char *more = realloc(record, size *= 2);

        if (!more)
            return -ENOMEM;
        record = more;
        error = getgrnam_r(name, &group, record, size, &found);
    } while (error == ERANGE && size < RECORD_MAX);
    if (!found)
        return error > 0 ? -error : -ENOENT;
    *ret_gid = group.gr_gid;
    return 0;
}

static void *ask(void *userdata)
{
    _cleanup_free_ struct group_question *question = userdata;
    struct answer answer = { .error = 0 };

    answer.error = control_group_find(question->name, &answer.gid);
    /* Nobody may want it any more. */
    (void)send(question->fd, &answer, sizeof(answer), MSG_NOSIGNAL);
    close(question->fd);
    return NULL;
}

static int ask_in_thread(const char *name, int *fd)
{
    size_t size = strlen(name) + 1;
    struct group_question *question = malloc(sizeof(*question) + size);
    pthread_attr_t attributes;
    pthread_t thread;
    int r;

    if (!question)
        return -ENOMEM;
    memcpy(question->name, name, size);
    question->fd = *fd;
    r = -pthread_attr_init(&attributes);
    if (r == 0) {
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        r = -pthread_create(&thread, &attributes, ask, question);
        (void)pthread_attr_destroy(&attributes);
    }
    if (r < 0)
        free(question);
    else
        *fd = -1;
    return r;
}

static int on_answer(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct group_lookup *lookup = userdata;
    struct answer answer;
    ssize_t n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if ((size_t)n != sizeof(answer))
        answer = (struct answer){ .error = -EIO };
    (void)sd_event_source_set_enabled(lookup->source, SD_EVENT_OFF);
    lookup->done(lookup->userdata, answer.error, answer.gid);
    return 0;
}

int group_lookup_new(sd_event *event, const char *name,
                     void (*done)(void *userdata, int error, gid_t gid), void *userdata,
                     struct group_lookup **ret_lookup)
{
    struct group_lookup *lookup = calloc(1, sizeof(*lookup));
    _cleanup_close_ int theirs = -1;
    int fds[2], r;

    if (!lookup)
        return -ENOMEM;
    *lookup = (struct group_lookup){ .done = done, .userdata = userdata, .fd = -1 };
    r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
    if (r >= 0) {
        lookup->fd = fds[0];
        theirs = fds[1];
        r = sd_event_add_io(event, &lookup->source, lookup->fd, EPOLLIN, on_answer, lookup);
    }
    if (r >= 0)
        r = ask_in_thread(name, &theirs);
    if (r < 0) {
        group_lookup_free(lookup);
        return r;
    }
    *ret_lookup = lookup;
    return 0;
}

struct group_lookup *group_lookup_free(struct group_lookup *lookup)
{
    if (!lookup)
        return NULL;
    sd_event_source_disable_unref(lookup->source);
    if (lookup->fd >= 0)
        close(lookup->fd);
    free(lookup);
    return NULL;
}
