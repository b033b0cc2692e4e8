/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: inotify watches of directories, and what their events mean. */
#pragma once

#include "helpers/files-output.h"
#include "helpers/files-place.h"

struct watches {
    int fd;                     /* inotify, -1: no watching */
    void *by_wd;                /* tsearch() tree of struct watch */
    int root_wd;                /* -1: not watched */
    bool exhausted_told;
    struct place *place;
    struct output *output;
    /* A directory appeared, or became readable: watch it and look into it. */
    void (*appeared)(void *userdata, const char *path);
    /* A link appeared. */
    void (*link)(void *userdata, const char *path);
    /* Everything below path is no longer there under that name. */
    void (*vanished)(void *userdata, const char *path);
    /* The root is gone. */
    void (*root_gone)(void *userdata);
    void *userdata;
};

/* Watches the open directory dirfd, which is at path. Says so once when there are no more watches
 * to be had. */
void watches_add(struct watches *watches, int dirfd, const char *path, bool root);
/* Drops the watches at path and below. */
void watches_forget(struct watches *watches, const char *path);
/* Handles some of the events that are there. */
void watches_handle(struct watches *watches);
