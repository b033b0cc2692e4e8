/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images audited by a worker of our own, with the caller's rights and no daemon: check, hash,
 * verify, compare. */
#pragma once

#include "ctl/ctl.h"
#include "helpers/client.h"

/* Exit statuses of `qemu-img check`; damage that it calls clean is CHECK_CORRUPT, too. */
enum {
    CHECK_CLEAN = 0,
    CHECK_FAILED = 1,
    CHECK_CORRUPT = 2,
    CHECK_LEAKS = 3,
    CHECK_UNSUPPORTED = 63
};

#define CHECK_LAYERS_MAX CLIENT_LAYERS_MAX

/* One file's check, done. */
struct check {
    const char *file;
    char *paths[CHECK_LAYERS_MAX];  /* of the layers; [0] is the file */
    size_t n_paths;
    bool has_writer;                /* QEMU has it open for writing: counts may be off */
    int error;                      /* not opened, before any worker saw it */
    struct audit_report *report;    /* NULL when error is set */
};

struct checker;

/* The parts of a file's check that are asked for. */
struct check_ask {
    unsigned flags;                 /* enum worker_flags */
    unsigned algorithms;            /* QCA_DIGEST_* */
    const char *snapshot;           /* NULL: what is active */
    /* as of struct worker_request */
    void (*blocks)(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                   bool unallocated);
    /* as of struct worker_request, for WORKER_PLACES */
    void (*place)(void *userdata, const struct qca_place *place);
    void *userdata;
};

/* Prints its own errors. Without digests it starts sooner. */
int checker_new(const struct ctl *ctl, bool digests, struct checker **ret_checker);
struct checker *checker_free(struct checker *checker);
/* Always fills check (to be ended by check_done()); -errno only when no worker can be had. */
int checker_run(struct checker *checker, const char *file, const struct check_ask *ask,
                struct check *check);
/* Of a file that is open; file is what it is called. */
int checker_run_open(struct checker *checker, const char *file, int fd,
                     const struct qca_file_id *id, const struct check_ask *ask,
                     struct check *check);
void check_done(struct check *check);
/* Opens an image to be read, with the caller's rights. -errno; -EISDIR, -EMEDIUMTYPE for what is
 * neither a regular file nor a block device. */
int check_open(const char *path, int *ret_fd, struct qca_file_id *ret_id);
/* The path that a reference of the image means, malloc'd; -EMEDIUMTYPE for a remote one. */
int check_reference(const char *image, enum qca_reference_kind kind, const char *reference,
                    char **ret_path);

/* compatible: to the letter that of qemu-img, which calls some damage clean. */
int check_exit_status(const struct check *check, bool compatible);
int check_worse(int a, int b);      /* of two exit statuses */
/* Damage that costs data, and that qemu-img calls clean: pointers that cannot be right, and a LUKS
 * header that no key opens any more. Oddities need not harm anybody: a hole may be a sparse copy of
 * zeros. */
bool check_is_hidden_damage(enum qca_issue_kind kind);
/* A sentence why the image was not opened or not checked to its end, malloc'd; NULL when it was. */
char *check_failure(const struct check *check);

int check_print(const struct ctl *ctl, const struct check *check);
int check_json(const struct check *check, json_object **ret_object);
