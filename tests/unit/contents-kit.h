/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A daemon around the contents of images, for their tests: images, a graph, a clock, a database and
 * tasks, all of it in the memory but the state directory. */
#pragma once

#include "model-fixture.h"

#include "daemon/contents/internal.h"

#define KIT_IMAGES_MAX 24
#define KIT_TASKS_MAX 256
#define KIT_READINGS_MAX 64
#define KIT_NAMES_MAX 16
#define KIT_KEPT_MAX 64

struct kit_task {
    int (*run)(void *userdata);
    void (*done)(void *userdata, int error);
    void *userdata;
};

struct kit_reading {
    char *path, *explanation;
    enum reading_verdict verdict;
    bool has_digest;
};

/* A row of the database's baselines. */
struct kit_kept {
    struct identity identity;
    json_object *baseline;
};

struct kit {
    char directory[64];
    uint64_t now;
    struct policy policy;
    char *golden[KIT_NAMES_MAX + 1];
    struct datastore datastore;
    struct graph *graph;
    struct contents *contents;
    struct image *images[KIT_IMAGES_MAX];
    size_t n_images;
    uint64_t last_inode;
    struct finding *findings[KIT_NAMES_MAX];
    size_t n_findings;
    /* what was asked for */
    struct kit_task tasks[KIT_TASKS_MAX];
    size_t n_tasks;
    bool held;                  /* tasks wait */
    uint64_t resumed;           /* block that the last reading began with */
    struct kit_reading readings[KIT_READINGS_MAX];
    size_t n_readings;
    struct kit_kept kept[KIT_KEPT_MAX];
    size_t n_kept;
    bool database_fails;
    uint64_t history_lag;       /* usec that the clock of history is behind */
    struct kit_content {
        char letters[65];
        uint8_t digest[32];
    } contents_read[KIT_READINGS_MAX];
    size_t n_contents_read;
    char demanded[256];         /* names, each with a blank behind it */
    uint64_t due[KIT_IMAGES_MAX];       /* as planned last, by the images' places */
    unsigned judged, damaged, taken;
    char acknowledged[256];     /* "ID by reason until;" */
    struct mute *mutes[KIT_NAMES_MAX];  /* that there are; those that the ledger has are added */
    size_t n_mutes;
};

int kit_setup(void **state);
int kit_teardown(void **state);
/* The contents end, and begin anew with what the database and the state directory hold. */
void kit_restart(struct kit *kit);
void kit_stop(struct kit *kit);
void kit_start(struct kit *kit);
/* An empty database from the next start on. */
void kit_lose_database(struct kit *kit);

/* Names stand for /vm/NAME. NULL: there is none. */
struct image *kit_image(struct kit *kit, const char *name);
struct image *kit_at(struct kit *kit, const char *path);
struct baseline *kit_baseline(struct kit *kit, const char *name);
/* The last reading of it that was kept. NULL: none. */
const struct kit_reading *kit_reading(const struct kit *kit, const char *name);
/* What of all that was read has that digest; "?" nothing. */
const char *kit_letters(const struct kit *kit, const uint8_t digest[static 32]);
/* The file of an image's block digests, with that suffix, in the state directory. */
bool kit_has_blocks(struct kit *kit, const struct identity *identity, const char *suffix);
/* Paths of files in the state directory. */
const char *kit_path(const struct kit *kit, const char *name, char buf[static 128]);

/* No image any more: freed. */
void kit_remove(struct kit *kit, struct image *image);

/* Runs the tasks that wait, and those that follow. */
void kit_run(struct kit *kit);
/* Runs them until the next reading is taken. */
void kit_run_until_taken(struct kit *kit);
/* The store was closed before they ran. */
void kit_cancel(struct kit *kit);

/* The story of some images, in steps with blanks between them; each takes an hour, and is followed
 * by a judgement of all images. Contents are in letters, one per block of 64 KiB: '0' zeros, '.'
 * not allocated, else data of that kind.
 *   +one  +one>base    an image comes to be, on a parent
 *   one=abc            it is read, and nobody wrote it
 *   one!abc            it is written, and read
 *   one^               it is written, and not read
 *   one~               it is emptied, and not read
 *   one?ab             it is read, and its block 1 cannot be
 *   one|ab             its reading is interrupted after these blocks
 *   one%abc            it is read without its blocks being known
 *   one@               its owner changes
 *   -one               it is deleted
 *   one:two            it is called two now
 *   one:/two           its file takes the place of two's
 *   one:=two           the two files change places
 *   one:new            another file lies there, younger; one:old: older; one:copy: as old as it was
 *   one>base           it stands on base from now on
 *   golden/one  luks/one  vmdk/one  data/one  device/one  parts/one  tables/one (others)
 *   writer/one  free/one  away/one  pending/one  unlisted/one
 *                      what it is, or who has it
 *   hold  taken  go    tasks wait meanwhile; until the next reading is taken they do not
 *   infer  declare     golden images are those of which one can tell, or those declared alone
 *   stop  start        files change meanwhile, and are not read; restart: both
 *   later              a month passes */
void kit_tell(struct kit *kit, const char *story);
