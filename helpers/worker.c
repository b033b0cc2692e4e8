/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-worker: audits one image after the other through file descriptors that it is given.
 * qcaudit-checker is the same without digests (worker-digest.h). */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "helpers/clock.h"
#include "helpers/report-wire.h"
#include "helpers/sandbox.h"
#include "helpers/throttle.h"
#include "helpers/worker-digest.h"
#include "helpers/worker-read.h"
#include "lib/cleanup.h"

#define PROGRESS_INTERVAL (USEC_PER_SEC / 5)
#define BUDGET_SLICE (USEC_PER_SEC / 2)     /* longest sleep without a sign of life */

/* A file of the chain beyond the leaf. */
struct referenced {
    uint32_t layer;                 /* that it is, or whose data file it is */
    int fd;
    char *name;                     /* of a parent: the reference that led to it; of a data file
                                     * NULL */
    enum qca_format probed_format;
    struct qca_io *io;              /* the chain's */
    struct direct_reader *reader;   /* or NULL */
};

struct audit {
    struct wire_request request;
    const char *snapshot;           /* the client's, or NULL */
    int fd;                         /* the image's */
    uint64_t memory_limit;
    bool idle;                      /* others come first */
    struct qca_threads *threads;
    struct report_room room;
    struct qca_io *io;              /* the leaf's */
    struct direct_reader *reader;   /* or NULL */
    bool paused;
    struct throttle throttle;       /* by the read budget */
    uint64_t throttled;             /* bytes it was told of, where there is no direct reader */
    uint64_t done, total;           /* progress, as known last */
    bool hashing;                   /* a layer's data: progress is that, and not the check's
                                     * before */
    struct qca_image *image;
    struct qca_chain *chain;
    struct referenced *files;       /* those that are open; of a chain that is walked a few */
    size_t n_files, allocated_files;
    uint64_t bytes_closed;          /* read from those that were closed, */
    enum report_reading reading;    /* and the least that had to be done for one of them */
    uint32_t n_layers;              /* told of */
    uint64_t question;
    uint64_t started, told;         /* usec */
    uint64_t cpu_before;
    atomic_bool cancel;
    struct qca_error error;
    struct report_blocks blocks;
};

/* Nobody listens any more, so nothing is worth being said. */
static void must(int r)
{
    if (r < 0)
        _exit(0);
}

static uint64_t cpu_time(uint64_t *ret_peak)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return 0;
    *ret_peak = (uint64_t)usage.ru_maxrss * 1024;
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * USEC_PER_SEC +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint64_t bytes_read(const struct audit *audit)
{
    uint64_t bytes = audit->bytes_closed + (audit->io ? qca_io_bytes_read(audit->io) : 0);

    for (size_t i = 0; i < audit->n_files; i++)
        bytes += audit->files[i].io ? qca_io_bytes_read(audit->files[i].io) : 0;
    return bytes;
}

/* ---- what comes meanwhile ------------------------------------------------------------------ */

/* Waits up to timeout milliseconds (-1: for ever) for the client; ends when it is gone. */
static bool wait_for_client(int timeout)
{
    struct pollfd p = {.fd = WIRE_FD, .events = POLLIN};

    return poll(&p, 1, timeout) > 0;
}

/* One record; only a request keeps its fd. */
static enum wire_type receive(union wire_record *record, int *ret_fd)
{
    int r = wire_receive(WIRE_FD, WIRE_WORKER_CLIENT, record, ret_fd);

    if (r <= 0)
        _exit(r == 0 ? 0 : 3);
    return record->header.type;
}

static void take_pace(struct audit *audit, const struct wire_pace *pace)
{
    audit->paused = pace->paused;
    audit->throttle.rate = pace->read_budget;
}

/* A cancel or another pace that has come, or that comes within the time. An answer to a question
 * that was given up is let go. */
static void look_for_cancel(struct audit *audit, int timeout)
{
    while (!audit->cancel && wait_for_client(timeout)) {
        _cleanup_close_ int fd = -1;
        union wire_record record;

        switch (receive(&record, &fd)) {
        case WIRE_CANCEL:
            audit->cancel = true;
            break;
        case WIRE_PACE:
            take_pace(audit, &record.pace);
            break;
        case WIRE_ANSWER:
            break;
        default:
            _exit(3);
        }
        timeout = 0;
    }
}

static void tell_progress(struct audit *audit, uint64_t done, uint64_t total)
{
    struct wire_progress record = {.done = done < total ? done : total, .total = total};

    /* From here on, known blocks survive an interruption. */
    must(report_blocks_flush(&audit->blocks, WIRE_FD));
    must(wire_send(WIRE_FD, WIRE_PROGRESS, &record, NULL, NULL, -1));
    audit->told = usec_now(CLOCK_MONOTONIC);
}

/* Waits until it may read on: for the budget, and a direct reader while that is paused. */
static void wait_for_turn(struct audit *audit)
{
    for (;;) {
        uint64_t pause;

        look_for_cancel(audit, 0);
        if (audit->cancel)
            return;
        pause = audit->reader && audit->paused
                    ? BUDGET_SLICE
                    : throttle_wait(&audit->throttle, usec_now(CLOCK_MONOTONIC));
        if (pause < 1000)
            return;
        look_for_cancel(audit, (int)((pause < BUDGET_SLICE ? pause : BUDGET_SLICE) / 1000));
        if (usec_now(CLOCK_MONOTONIC) - audit->told >= PROGRESS_INTERVAL)
            tell_progress(audit, audit->done, audit->total);
    }
}

/* After reads through the cache, which are not known before. */
static void keep_budget(struct audit *audit)
{
    uint64_t bytes = bytes_read(audit);

    if (audit->reader)
        return;
    if (bytes > audit->throttled) {
        throttle_take(&audit->throttle, bytes - audit->throttled, usec_now(CLOCK_MONOTONIC));
        audit->throttled = bytes;
    }
    wait_for_turn(audit);
}

/* Called by the library while it works: says so, looks for a cancel, and keeps to the read
 * budget. */
static void on_progress(void *userdata, uint64_t done, uint64_t total)
{
    struct audit *audit = userdata;

    if (audit->request.flags & WORKER_LAYER_DIGEST && !audit->hashing)
        done = total = 0;
    audit->done = done;
    audit->total = total;
    if (usec_now(CLOCK_MONOTONIC) - audit->told >= PROGRESS_INTERVAL)
        tell_progress(audit, done, total);
    if (audit->reader)
        look_for_cancel(audit, 0);
    else
        keep_budget(audit);
}

/* Before each read past the cache. */
static int before_read(void *userdata, size_t size)
{
    struct audit *audit = userdata;

    wait_for_turn(audit);
    if (audit->cancel)
        return -ECANCELED;
    throttle_take(&audit->throttle, size, usec_now(CLOCK_MONOTONIC));
    return 0;
}

/* The image, or what it refers to. */
static int open_io(struct audit *audit, int fd, uint32_t alignment,
                   struct direct_reader **ret_reader, struct qca_io **ret_io)
{
    int r;

    if (!(audit->request.flags & WORKER_DIRECT))
        return qca_io_new_fd(fd, ret_io);
    r = direct_reader_new(fd, alignment, audit->threads, before_read, audit, ret_reader);
    return r < 0 ? r : qca_io_new_reader(fd, direct_reader_read, *ret_reader, ret_io);
}

/* Those that share its work. A direct reader is one thread's, and reads ahead with others; who lets
 * others go first takes no more than one processor. */
static struct qca_threads *threads_of(const struct audit *audit)
{
    return audit->request.flags & WORKER_DIRECT || audit->idle ? NULL : audit->threads;
}

/* The least that had to be done for any of its files. */
static enum report_reading reading(const struct audit *audit)
{
    enum report_reading worst = audit->reading;

    if (audit->reader && direct_reader_reading(audit->reader) > worst)
        worst = direct_reader_reading(audit->reader);
    for (size_t i = 0; i < audit->n_files; i++)
        if (audit->files[i].reader && direct_reader_reading(audit->files[i].reader) > worst)
            worst = direct_reader_reading(audit->files[i].reader);
    return worst;
}

/* ---- parents and data files ---------------------------------------------------------------- */

/* Asks for the file; 0 and its descriptor, alignment and identity, or the client's refusal. */
static int ask(struct audit *audit, const struct qca_reference *reference, int *ret_fd,
               uint32_t *ret_alignment, struct qca_file_id *ret_id)
{
    struct wire_question question = {
        .id = ++audit->question, .kind = reference->kind, .layer = reference->layer,
    };

    must(wire_send(WIRE_FD, WIRE_QUESTION, &question, reference->name, reference->format, -1));
    while (!audit->cancel) {
        _cleanup_close_ int fd = -1;
        union wire_record record;

        switch (receive(&record, &fd)) {
        case WIRE_CANCEL:
            audit->cancel = true;
            break;
        case WIRE_PACE:
            take_pace(audit, &record.pace);
            break;
        case WIRE_ANSWER:
            if (record.answer.question != question.id)
                break;
            if (record.answer.error != 0)
                return wire_error_is_valid(record.answer.error) ? (int)record.answer.error : -EIO;
            *ret_fd = TAKE_FD(fd);
            *ret_alignment = (uint32_t)record.answer.alignment;
            *ret_id = record.answer.id;
            return 0;
        default:
            _exit(3);
        }
    }
    return -ECANCELED;
}

static void close_file(struct audit *audit, struct referenced *file)
{
    if (file->reader && direct_reader_reading(file->reader) > audit->reading)
        audit->reading = direct_reader_reading(file->reader);
    direct_reader_free(file->reader);
    close(file->fd);
    free(file->name);
}

/* The files of layers above are not needed any more; their io is the chain's, and will not be
 * used. */
static void close_layers(struct audit *audit, uint32_t layer)
{
    size_t kept = 0;

    for (size_t i = 0; i < audit->n_files; i++) {
        struct referenced *file = &audit->files[i];

        if (file->layer > layer) {
            audit->files[kept++] = *file;
            continue;
        }
        audit->bytes_closed += file->io ? qca_io_bytes_read(file->io) : 0;
        close_file(audit, file);
    }
    audit->n_files = kept;
}

/* The chain gave them up, and their io with them: their counts cannot be asked any more. */
static void forget_io(struct audit *audit)
{
    for (size_t i = 0; i < audit->n_files; i++)
        audit->files[i].io = NULL;
}

static int have_room(struct audit *audit)
{
    size_t n = audit->allocated_files ? 2 * audit->allocated_files : 4;
    struct referenced *files;

    if (audit->n_files < audit->allocated_files)
        return 0;
    files = reallocarray(audit->files, n, sizeof(*files));
    if (!files)
        return -ENOMEM;
    audit->files = files;
    audit->allocated_files = n;
    return 0;
}

static int resolve(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                   struct qca_file_id *ret_id)
{
    struct audit *audit = userdata;
    bool parent = reference->kind == QCA_REFERENCE_PARENT;
    struct referenced file = {.fd = -1, .layer = reference->layer + parent};
    uint32_t alignment = 0;
    struct qca_file_id id;
    int r;

    r = have_room(audit);
    if (r == 0)
        r = ask(audit, reference, &file.fd, &alignment, &id);
    if (r < 0)
        return r;
    r = open_io(audit, file.fd, alignment, &file.reader, &file.io);
    if (r == 0 && parent) {
        file.name = strdup(reference->name);
        r = file.name ? 0 : -ENOMEM;
        /* one that cannot be read is found by whoever opens it as an image */
        if (qca_probe(file.io, &file.probed_format) < 0)
            file.probed_format = QCA_FORMAT_UNKNOWN;
    }
    if (r < 0) {
        qca_io_free(file.io);
        direct_reader_free(file.reader);
        close(file.fd);
        return r;
    }
    audit->files[audit->n_files++] = file;
    *ret_io = file.io;
    *ret_id = id;
    return 0;
}

static const struct referenced *file_of_layer(const struct audit *audit, uint32_t layer)
{
    for (size_t i = 0; i < audit->n_files; i++)
        if (audit->files[i].layer == layer && audit->files[i].name)
            return &audit->files[i];
    return NULL;
}

/* ---- the audit ----------------------------------------------------------------------------- */

/* The image, as if it had neither parent nor data file. */
static struct qca_chain_link link_alone(const struct audit *audit)
{
    return (struct qca_chain_link){
        .image = audit->image, .on_device = audit->request.id.is_device,
        .data_file_user = QCA_NO_LAYER,
    };
}

/* Looks at one layer that is open, and tells. */
static int audit_layer(struct audit *audit, const struct qca_chain_link *link, bool checking)
{
    const struct referenced *file = file_of_layer(audit, link->layer);
    struct qca_check_options options = {
        .memory_limit = audit->memory_limit,
        .max_issues = audit->room.issues ? audit->room.issues : 1,
        .scalar_only = audit->request.flags & WORKER_SCALAR, .cancel = &audit->cancel,
        .deep = audit->request.flags & WORKER_DEEP,
        .data_file_known = link->data_file_known, .data_file_size = link->data_file_size,
        .on_device = link->on_device, .pieces = audit->request.flags & WORKER_CHAIN,
        .threads = threads_of(audit), .progress = on_progress, .userdata = audit,
        .file_digest = worker_file_digest,
    };
    struct report_layer layer = {
        .index = link->layer, .name = file ? file->name : NULL, .info = qca_image_info(link->image),
    };
    _cleanup_(qca_check_result_done) struct qca_check_result check = {0};
    uint8_t digest[32];
    int r;

    if (file)
        layer.probed_format = file->probed_format;
    else if (qca_probe(audit->io, &layer.probed_format) < 0)
        layer.probed_format = QCA_FORMAT_UNKNOWN;
    if (audit->request.flags & WORKER_METADATA_DIGEST) {
        r = worker_metadata_digest(link->image, digest);
        if (r == 0)
            layer.metadata_digest = digest;
        else if (r == -ENOMEM)
            return r;           /* other reasons are the check's to find */
    }
    look_for_cancel(audit, 0);
    if (audit->cancel)
        return -ECANCELED;
    if (checking) {
        r = qca_check(link->image, &options, &check);
        if (r == 0)
            r = qca_chain_link_check(link, options.max_issues, &check);
        if (r == 0)
            layer.check = &check;
        else if (r != -EOPNOTSUPP)
            return r;
    }
    must(report_send_layer(WIRE_FD, &layer, &audit->room));
    audit->n_layers++;
    return 0;
}

/* A layer of a chain that is walked: once this returns, it is closed. */
static int on_layer(void *userdata, const struct qca_chain_link *link)
{
    struct audit *audit = userdata;
    const unsigned flags = audit->request.flags;
    bool broken = !link->parent && qca_image_info(link->image)->parent;
    bool checking = flags & WORKER_CHECK_LAYERS ||
                    (link->layer == 0 && flags & WORKER_CHECK && !broken);
    int r;

    if (broken)
        forget_io(audit);
    r = audit->cancel ? -ECANCELED : audit_layer(audit, link, checking);
    close_layers(audit, link->layer);
    return r;
}

/* ---- where its tables lie ------------------------------------------------------------------ */

static void flush_places(struct wire_places *record)
{
    if (record->n > 0)
        must(wire_send(WIRE_FD, WIRE_PLACES, record, NULL, NULL, -1));
    record->n = 0;
}

static int on_place(void *userdata, const struct qca_place *place)
{
    struct wire_places *record = userdata;

    record->place[record->n].table = place->table;
    record->place[record->n].offset = place->offset;
    record->place[record->n].size = place->size;
    if (++record->n == WIRE_PLACES_PER_RECORD)
        flush_places(record);
    return 0;
}

/* Why they cannot be followed to their end is the check's to find. */
static int send_places(struct audit *audit)
{
    struct wire_places record = { .n = 0 };
    int r = qca_image_places(audit->image, on_place, &record);

    flush_places(&record);
    if (r < 0 && r != -ENOMEM && r != -EOPNOTSUPP) {
        must(wire_send(WIRE_FD, WIRE_PLACES, &record, NULL, NULL, -1));
        r = 0;
    }
    return r == -EOPNOTSUPP ? 0 : r;
}

/* The extents of a disk in several files are compared with its descriptor as far as they can be
 * had; the first one that cannot ends it, as a client that refused is not asked again. */
static int have_pieces(struct audit *audit)
{
    const struct qca_image_info *info = qca_image_info(audit->image);
    int r = 0;

    if (qca_format_has(info->format, QCA_TRAIT_RECORD))
        return 0;               /* those are disks of their own */
    for (size_t i = 0; i < info->n_extents && r == 0; i++) {
        const struct qca_reference reference = { .kind = QCA_REFERENCE_EXTENT,
                                                 .name = info->extents[i].name };
        struct qca_file_id id;
        struct qca_io *io;

        if (!reference.name)
            continue;
        r = resolve(audit, &reference, &io, &id);
        if (r == 0 && qca_image_take_extent(audit->image, i, io, NULL) == -ENOMEM)
            r = -ENOMEM;
    }
    return r == -ECANCELED || r == -ENOMEM ? r : 0;
}

/* The image by itself. Its data file is a help: without it less is looked at. */
static int audit_alone(struct audit *audit)
{
    const struct qca_image_info *info = qca_image_info(audit->image);
    const unsigned flags = audit->request.flags;
    struct qca_chain_link link = link_alone(audit);

    if (flags & WORKER_DATA_FILE && info->incompatible_features & QCA_INCOMPAT_DATA_FILE &&
        info->data_file) {
        const struct qca_reference reference = { .kind = QCA_REFERENCE_DATA_FILE,
                                                 .name = info->data_file };
        struct qca_file_id id;
        struct qca_io *io;
        int r = resolve(audit, &reference, &io, &id);

        if (r == -ECANCELED || r == -ENOMEM)
            return r;
        if (r == 0) {
            link.data_file_known = true;
            link.data_file_size = qca_io_size(io);
            close_layers(audit, 0);
            qca_io_free(io);
        }
    }
    if (flags & WORKER_PLACES) {
        int r = send_places(audit);

        if (r < 0)
            return r;
    }
    if (flags & WORKER_DATA_FILE) {
        int r = have_pieces(audit);

        if (r < 0)
            return r;
    }
    return audit_layer(audit, &link, flags & WORKER_CHECK);
}

static int digest_file(struct audit *audit)
{
    const struct qca_digest_options options = {
        .cancel = &audit->cancel, .progress = on_progress, .userdata = audit,
    };
    struct qca_file_digest digest;
    int r = worker_file_digest(audit->io, audit->request.algorithms, &options, &audit->error,
                               &digest);

    if (r < 0)
        return r;
    must(report_send_file_digest(WIRE_FD, &digest));
    return 0;
}

static void on_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                      bool unallocated)
{
    struct audit *audit = userdata;

    must(report_blocks_add(&audit->blocks, WIRE_FD, first, n, digests, unallocated));
}

/* A layer that can be checked is, whether its guest's data can be had or not. */
static void send_no_content(struct audit *audit, int error)
{
    struct qca_content_digest digest = { .size = qca_image_info(audit->image)->virtual_size,
                                         .n_bad = 1 };

    digest.bad_bytes = digest.size;
    digest.bad[0] = (struct qca_bad_range){.length = digest.size, .error = error};
    must(report_send_content_digest(WIRE_FD, &digest));
}

static int digest_content(struct audit *audit, int chain_error)
{
    const struct qca_map_options map_options = {
        .memory_limit = audit->memory_limit, .snapshot = audit->snapshot,
        .stored = audit->request.flags & WORKER_LAYER_DIGEST,
    };
    const struct qca_digest_options options = {
        .cancel = &audit->cancel, .progress = on_progress, .userdata = audit,
        .blocks = audit->request.flags & WORKER_BLOCK_DIGESTS ? on_blocks : NULL,
        .libcrypto_only = audit->request.flags & WORKER_SCALAR,
        .first_block = audit->request.first_block,
        .threads = threads_of(audit),
    };
    struct qca_content_digest digest;
    struct qca_map *map;
    int r = chain_error < 0 ? chain_error
                            : qca_map_new(audit->chain, &map_options, &audit->error, &map);

    if (r < 0 && r != -ENOMEM && audit->request.flags & WORKER_LAYER_DIGEST) {
        send_no_content(audit, r);
        return 0;
    }
    if (r < 0)
        return r;
    audit->hashing = true;
    audit->total = qca_map_size(map);
    r = worker_content_digest(map, &options, &audit->error, &digest);
    qca_map_free(map);
    /* more zeros than there is time for */
    if (r == -EFBIG && audit->request.flags & WORKER_LAYER_DIGEST) {
        must(report_blocks_flush(&audit->blocks, WIRE_FD));
        send_no_content(audit, r);
        return 0;
    }
    if (r < 0)
        return r;
    must(report_blocks_flush(&audit->blocks, WIRE_FD));
    must(report_send_content_digest(WIRE_FD, &digest));
    return 0;
}

static int audit_layers(struct audit *audit)
{
    for (size_t i = 0; i < qca_chain_depth(audit->chain); i++) {
        struct qca_chain_link link = {
            .layer = (uint32_t)i, .image = qca_chain_layer(audit->chain, i),
            .on_device = i == 0 && audit->request.id.is_device,
            .data_file_user = QCA_NO_LAYER,
        };
        int r;

        link.data_file_known = qca_chain_data_file_size(audit->chain, i, &link.data_file_size);
        r = audit_layer(audit, &link,
                            audit->request.flags & (i == 0 ? WORKER_CHECK : WORKER_CHECK_LAYERS));

        if (r < 0)
            return r;
    }
    return 0;
}

/* All layers at once, as the guest reads them; or the image's own layer. */
static int audit_content(struct audit *audit)
{
    const unsigned flags = audit->request.flags;
    const struct qca_chain_options options = {
        .max_depth = CLIENT_OPEN_LAYERS_MAX, .memory_limit = audit->memory_limit,
        .id = audit->request.id,
        .layer_only = flags & WORKER_LAYER_DIGEST,
    };
    const struct qca_chain_link alone = link_alone(audit);
    int chain_error = qca_chain_open(audit->image, &options, resolve, audit, &audit->error,
                                     &audit->chain),
        r;

    if (chain_error == -ECANCELED)
        return chain_error;
    if (chain_error < 0) {
        forget_io(audit);
        r = audit_layer(audit, &alone, options.layer_only && flags & WORKER_CHECK);
    } else
        r = audit_layers(audit);
    if (r < 0 || (chain_error < 0 && !options.layer_only))
        return r < 0 ? r : chain_error;
    return digest_content(audit, chain_error);
}

static int audit_chain(struct audit *audit)
{
    const struct qca_chain_options options = {
        .max_depth = WIRE_LAYERS_MAX, .memory_limit = audit->memory_limit, .id = audit->request.id,
    };
    const struct qca_chain_link alone = link_alone(audit);
    uint32_t depth;
    int r = qca_chain_walk(audit->image, &options, resolve, on_layer, audit, &audit->error, &depth),
        told = 0;

    forget_io(audit);
    /* its own data file is not there: what the header says is told all the same */
    if (r < 0 && r != -ECANCELED && audit->n_layers == 0)
        told = audit_layer(audit, &alone, false);
    return told < 0 ? told : r;
}

/* Opens, checks, tells. 0, or -errno with the reason in audit->error. */
static int audit_run(struct audit *audit)
{
    const struct qca_open_options open_options = {
        .format = (enum qca_format)audit->request.format, .memory_limit = audit->memory_limit,
    };
    const unsigned flags = audit->request.flags;
    int r;

    /* Tables are announced; what the kernel would read beside them is the guest's, and not worth
     * others' memory. */
    if (audit->idle)
        (void) posix_fadvise(audit->fd, 0, 0, POSIX_FADV_RANDOM);
    r = open_io(audit, audit->fd, audit->request.alignment, &audit->reader, &audit->io);
    if (r < 0)
        return r;
    if (flags & WORKER_FILE_DIGEST) {
        r = digest_file(audit);
        if (r < 0 || !(flags & ~(unsigned)(WORKER_FILE_DIGEST | WORKER_SCALAR)))
            return r;
    }
    r = qca_image_open(audit->io, &open_options, &audit->error, &audit->image);
    if (r < 0)
        return r;
    keep_budget(audit);         /* a snapshot table may be 64 MiB */
    if (flags & (WORKER_CONTENT_DIGEST | WORKER_LAYER_DIGEST))
        return audit_content(audit);
    return flags & WORKER_CHAIN ? audit_chain(audit) : audit_alone(audit);
}

static void audit_done(struct audit *audit)
{
    qca_chain_free(audit->chain);       /* and the parents' and data files' io with it */
    qca_image_free(audit->image);
    qca_io_free(audit->io);
    direct_reader_free(audit->reader);
    for (size_t i = 0; i < audit->n_files; i++)
        close_file(audit, &audit->files[i]);
    free(audit->files);
    if (audit->fd >= 0)
        close(audit->fd);
}

static void serve(const struct wire_request *request, const char *snapshot, int fd,
                  const struct wire_configure_worker *configuration, struct qca_threads *threads)
{
    struct audit audit;
    struct wire_done done = {0};

    audit = (struct audit){
        .request = *request, .snapshot = snapshot, .fd = fd,
        .memory_limit = configuration->memory_limit,
        .idle = configuration->idle_io,
        .threads = threads,
        .room = REPORT_ROOM((size_t)request->max_issues), .started = usec_now(CLOCK_MONOTONIC),
    };
    throttle_begin(&audit.throttle, request->read_budget, audit.started);
    audit.cpu_before = cpu_time(&done.peak_memory);
    done.error = audit_run(&audit);
    done.n_layers = audit.n_layers;
    if (done.error != 0) {
        done.open_error = audit.error;
        if (done.open_error.kind == QCA_ERROR_NONE && done.error == -ENOMEM)
            done.open_error = (struct qca_error){
                .kind = QCA_ERROR_MEMORY,
                .text = "the audit needs more memory than the worker may have",
            };
    }
    done.bytes_read = bytes_read(&audit);
    done.reading = reading(&audit);
    done.elapsed_usec = usec_now(CLOCK_MONOTONIC) - audit.started;
    done.cpu_usec = cpu_time(&done.peak_memory) - audit.cpu_before;
    audit_done(&audit);
    must(wire_send(WIRE_FD, WIRE_DONE, &done, NULL, NULL, -1));
}

static int prepare(struct wire_configure_worker *ret_configuration,
                   struct qca_threads **ret_threads, const char **ret_step)
{
    _cleanup_close_ int fd = -1;
    union wire_record record;
    int r;

    r = sandbox_begin(ret_step);
    if (r < 0)
        return r;
    /* threads share one arena: another one reserves more address space than the limit has */
    mallopt(M_ARENA_MAX, 1);
    /* buffers of the next image are those of the last: to give them back and get new ones costs
     * more than their use */
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    if (receive(&record, &fd) != WIRE_CONFIGURE_WORKER)
        _exit(3);
    *ret_configuration = record.configure_worker;
    if (!record.configure_worker.no_digests) {
        *ret_step = "prepare digests";
        r = worker_digest_prepare();
        if (r < 0)
            return r;
    }
    r = sandbox_worker_begin(record.configure_worker.idle_io, ret_step);
    if (r < 0)
        return r;
    *ret_step = "start threads";
    if (record.configure_worker.threads != 1)
        r = qca_threads_new(record.configure_worker.threads, ret_threads);
    return r < 0 ? r : sandbox_worker(record.configure_worker.memory_limit, ret_step);
}

int main(void)
{
    struct wire_configure_worker configuration = {0};
    struct qca_threads *threads = NULL;
    struct wire_empty ready = {0};
    const char *step = "start";
    int r;

    r = prepare(&configuration, &threads, &step);
    if (r < 0) {
        struct wire_failed failed = {.error = r};

        must(wire_send(WIRE_FD, WIRE_FAILED, &failed, step, NULL, -1));
        _exit(2);
    }
    must(wire_send(WIRE_FD, WIRE_READY, &ready, NULL, NULL, -1));
    for (;;) {
        int fd = -1;
        union wire_record record;

        switch (receive(&record, &fd)) {
        case WIRE_REQUEST:
            serve(&record.request, wire_text(&record, 0), fd, &configuration, threads);
            break;
        case WIRE_CANCEL:       /* came when the audit was done already */
        case WIRE_PACE:
            break;
        case WIRE_ANSWER:
            if (fd >= 0)
                close(fd);
            break;
        default:
            _exit(3);
        }
    }
}
