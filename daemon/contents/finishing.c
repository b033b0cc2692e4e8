/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last step of a reading: its file of block digests is finished, and compared with the one
 * before, in a task. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "lib/cleanup.h"

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
        finishing_compare(finishing);
    return r;
}

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

int finishing_again(struct finishing *finishing, void (*done)(struct finishing *finishing))
{
    struct ending *ending = calloc(1, sizeof(*ending));
    int r;

    if (!ending)
        return -ENOMEM;
    *ending = (struct ending){ .finishing = finishing, .done = done };
    r = contents_task(finishing->contents, run_ending, on_ended, ending);
    if (r < 0)
        free(ending);
    return r;
}

int finishing_begin(struct finishing *finishing, void (*done)(struct finishing *finishing))
{
    struct contents *contents = finishing->contents;
    bool whole = stream_close(contents, &finishing->identity);

    finishing->partial = blocks_path(contents, &finishing->identity, BLOCKS_PARTIAL);
    finishing->fresh = blocks_path(contents, &finishing->identity, BLOCKS_FRESH);
    if (!finishing->partial || !finishing->fresh)
        return -ENOMEM;
    if (!whole) {
        take_digest(finishing);
        done(finishing);
        return 0;
    }
    return finishing_again(finishing, done);
}
