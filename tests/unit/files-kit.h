/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of qcaudit-files share: a datastore, a helper on it, and what it said. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>

#include "helpers/client.h"
#include "lib/cleanup.h"

#define PATIENCE (UINT64_C(30) * 1000000)   /* a test that needs longer has failed */

struct seen {
    enum files_event event;
    char *path;
    int error;
    struct files_stat stat;
    enum files_left_out left_out;
    char *target;
};

struct fixture {
    sd_event *event;
    char top[64];                   /* holds everything */
    char root[80];                  /* the datastore */
    char *program;
    struct files *files;
    struct seen *seen;
    size_t n_seen;
    bool walked, lost, overflowed;
    int walk_error, lost_error;
    uint64_t n_files, n_directories;
    /* of the last request */
    unsigned answers;
    int error, fd;
    struct files_stat stat;
    enum files_use use;
    char real[PATH_MAX];
    struct files_root place;
    pid_t holder;                   /* holds an image open */
};

/* A shell command in the datastore's directory, which must succeed. */
__attribute__((format(printf, 2, 3))) void run(struct fixture *f, const char *format, ...);
/* A path below the root; static. */
const char *at(struct fixture *f, const char *name);
void touch(struct fixture *f, const char *name);

void on_record(void *userdata, struct files *files, const struct files_record *record);
void on_walked(void *userdata, struct files *files, int error, uint64_t n_files,
               uint64_t n_directories);
void on_lost(void *userdata, struct files *files, int error);
void on_open(void *userdata, int error, int fd, const struct files_stat *stat, enum files_use use);
void on_probe(void *userdata, int error, const struct files_stat *stat, enum files_use use);
void on_root(void *userdata, int error, const struct files_root *root);
int on_patience(sd_event_source *source, uint64_t usec, void *userdata);

#define LOOP_UNTIL(f, condition)                                                                   \
    do {                                                                                           \
        sd_event_source *_timer = NULL;                                                            \
        assert_true(sd_event_add_time_relative((f)->event, &_timer, CLOCK_MONOTONIC, PATIENCE, 0,  \
                                               on_patience, NULL) >= 0);                           \
        while (!(condition))                                                                       \
            assert_true(sd_event_run((f)->event, UINT64_MAX) >= 0);                                \
        sd_event_source_disable_unref(_timer);                                                     \
    } while (0)

void forget_seen(struct fixture *f);
/* The first record of event about name ("": the root), NULL when there was none. */
const struct seen *find(struct fixture *f, enum files_event event, const char *name);

/* Program, root and callbacks are filled in where they are not given. */
void start_with(struct fixture *f, struct files_options options);
void start(struct fixture *f, bool watch);
/* Each waits for the answer, which is then in the fixture. */
void walk(struct fixture *f);
void ask_root(struct fixture *f);
void try_open(struct fixture *f, const char *path);
void try_probe(struct fixture *f, const char *path);
void try_resolve(struct fixture *f, const char *image, const char *reference);
/* Ends the process that holds an image open. */
void release(struct fixture *f);

int kit_setup(void **state);
int kit_teardown(void **state);
