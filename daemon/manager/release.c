/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Releasing a datastore: whoever asked is answered when nobody has a file open there any more. */
#include <errno.h>
#include <stdio.h>

#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

/* A killed process is gone at once, unless the file system that it waits for does not answer. */
#define RELEASE_DEADLINE (20 * USEC_PER_SEC)

struct release {
    LIST_ENTRY(release) link;
    struct manager *manager;
    struct datastore *datastore;
    sd_event_source *timer;
    control_done_fn reply;
    void *reply_userdata;
};

static void release_free(struct release *release)
{
    sd_event_source_disable_unref(release->timer);
    free(release);
}

/* Of one that is done only when that is kept: it holds after a kill, too. */
static void release_answer(struct release *release, int error, const char *message)
{
    struct manager *manager = release->manager;
    struct datastore *datastore = release->datastore;
    control_done_fn reply = release->reply;
    void *userdata = release->reply_userdata;

    LIST_REMOVE(release, link);
    release_free(release);
    if (error == 0)
        judge_datastore_answer(manager, datastore, reply, userdata);
    else
        reply(userdata, error, message);
}

static bool release_is_done(const struct release *release)
{
    return process_endings_find(&release->manager->endings, release->datastore) == 0;
}

static void on_gone(void *userdata)
{
    struct manager *manager = userdata;
    struct release *release = LIST_FIRST(&manager->releases), *next;

    for (; release; release = next) {
        next = LIST_NEXT(release, link);
        if (release_is_done(release))
            release_answer(release, 0, NULL);
    }
}

static int on_deadline(sd_event_source *source, uint64_t when, void *userdata)
{
    struct release *release = userdata;
    pid_t pid = process_endings_find(&release->manager->endings, release->datastore);
    _cleanup_free_ char *message = NULL;

    if (asprintf(&message,
                 "Datastore %s is released, but process %d of qcauditd does not end and has files "
                 "open there: its file system does not answer",
                 release->datastore->name, (int)pid) < 0)
        message = NULL;
    release_answer(release, -ETIMEDOUT, message);
    return 0;
}

int release_begin(struct manager *manager, struct datastore *datastore, uint64_t until,
                  control_done_fn reply, void *reply_userdata)
{
    struct release *release = calloc(1, sizeof(*release));
    int r;

    if (!release)
        return -ENOMEM;
    release->manager = manager;
    release->datastore = datastore;
    release->reply = reply;
    release->reply_userdata = reply_userdata;
    r = sd_event_add_time_relative(manager->event, &release->timer, CLOCK_MONOTONIC,
                                   RELEASE_DEADLINE, 0, on_deadline, release);
    if (r >= 0)
        r = discover_release(manager->discover, datastore, until);
    if (r < 0) {
        release_free(release);
        return r;
    }
    LIST_INSERT_HEAD(&manager->releases, release, link);
    if (release_is_done(release))
        release_answer(release, 0, NULL);
    return 0;
}

void release_forget(struct manager *manager, const struct datastore *datastore)
{
    struct release *release = LIST_FIRST(&manager->releases), *next;

    for (; release; release = next) {
        next = LIST_NEXT(release, link);
        if (release->datastore == datastore)
            release_answer(release, -ECANCELED, "The datastore is no longer configured");
    }
}

void release_init(struct manager *manager)
{
    LIST_INIT(&manager->releases);
    process_endings_init(&manager->endings);
    manager->endings.gone = on_gone;
    manager->endings.userdata = manager;
}

void release_done(struct manager *manager)
{
    struct release *release;

    while ((release = LIST_FIRST(&manager->releases)))
        release_answer(release, -ECANCELED, "qcauditd is ending");
}
