/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a check or digests of a file in a sandboxed worker, and opens for it what the image refers
 * to, by QEMU's rules. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl/check.h"
#include "helpers/open-unnoticed.h"
#include "helpers/path.h"
#include "helpers/text.h"

#define TOTAL_DEADLINE_DIGESTS (30 * 24 * 3600 * USEC_PER_SEC)
/* So much to read is worth another thread, whose start takes longer than an eighth of a MiB. */
#define WORTH_THREADS_CHECK (UINT64_C(16) << 20)
#define THREADS_AT_BEST 4
#define LOCK_BYTE_WRITE 101     /* QEMU, block/file-posix.c: RAW_LOCK_PERM_BASE + BLK_PERM_WRITE */

struct checker {
    const struct ctl *ctl;
    sd_event *event;
    char *program;
    struct worker *worker;
    unsigned threads;               /* the worker's */
    bool digests;
    bool libcrypto;                 /* the worker has it */
    const struct check_ask *ask;    /* under way */
    struct check *check;            /* under way */
    bool done;
    bool progress, progress_shown;
    uint64_t begun, begun_at;       /* usec, bytes: what the rate is measured from */
};

/* ---- opening, with the caller's rights ---------------------------------------------------- */

/* Looks before it opens: opening a fifo or a device can block, or do something. */
int check_open(const char *path, int *ret_fd, struct qca_file_id *ret_id)
{
    _cleanup_close_ int place = open(path, O_PATH | O_CLOEXEC), fd = -1;
    char name[40];
    struct stat st;
    int r;

    if (place < 0 || fstat(place, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return -EMEDIUMTYPE;
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", place);
    r = open_unnoticed(AT_FDCWD, name, 0, &fd);
    if (r < 0)
        return r;
    *ret_fd = TAKE_FD(fd);
    *ret_id = (struct qca_file_id){ .a = st.st_dev,
                                    .b = st.st_ino,
                                    .mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 +
                                             st.st_mtim.tv_nsec,
                                    .is_device = S_ISBLK(st.st_mode) };
    return 0;
}

/* Does QEMU have it open for writing? Asked of the kernel, without taking a lock. */
static bool has_writer(int fd)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_BYTE_WRITE, .l_len = 1
    };

    return fcntl(fd, F_OFD_GETLK, &lock) >= 0 && lock.l_type != F_UNLCK;
}

/* Parents lie relative to the image that names them, data files relative to the working
 * directory. */
int check_reference(const char *image, enum qca_reference_kind kind, const char *reference,
                    char **ret_path)
{
    _cleanup_free_ char *name = NULL;
    const char *slash = image ? strrchr(image, '/') : NULL;
    enum reference_text class;
    int r = reference_classify(reference, &class, &name);

    if (r < 0)
        return r;
    if (class == REFERENCE_REMOTE)
        return -EMEDIUMTYPE;
    /* Devices are as good as the caller's rights: he named the image himself. */
    if (class == REFERENCE_UNSAFE && reference[0] == '/')
        name = strdup(reference);
    else if (class == REFERENCE_UNSAFE)
        return -EPERM;
    if (!name)
        return -ENOMEM;
    /* A descriptor that somebody uploads may name any file of the host as a piece of a disk
     * (CVE-2022-47951): those of honest ones lie beside it. */
    if (kind == QCA_REFERENCE_EXTENT && (name[0] == '/' || path_has_step_up(reference)))
        return -EPERM;
    if (name[0] == '/' || kind == QCA_REFERENCE_DATA_FILE || !slash)
        *ret_path = TAKE_PTR(name);
    else if (asprintf(ret_path, "%.*s/%s", (int)(slash - image), image, name) < 0)
        return -ENOMEM;
    return 0;
}

static void on_question(void *userdata, struct worker *worker,
                        const struct worker_question *question)
{
    struct checker *checker = userdata;
    struct check *check = checker->check;
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;
    struct qca_file_id id = { 0 };
    int r = check_reference(question->layer < check->n_paths ? check->paths[question->layer] : NULL,
                            question->kind, question->name, &path);

    if (r >= 0)
        r = check_open(path, &fd, &id);
    if (question->kind == QCA_REFERENCE_PARENT && question->layer + 1 == check->n_paths &&
        check->n_paths < CHECK_LAYERS_MAX)
        check->paths[check->n_paths++] = path ? TAKE_PTR(path) : strdup(question->name);
    (void)worker_answer(worker, question->id, r < 0 ? r : 0, fd, 0, r < 0 ? NULL : &id);
}

/* ---- progress ----------------------------------------------------------------------------- */

/* ", 1.2G/s, 3min left": bytes of a digest. Begins anew with a second digest of the same file. */
static void rate_text(struct checker *checker, uint64_t done, uint64_t total, char *buf,
                      size_t size)
{
    uint64_t usec = usec_now(CLOCK_MONOTONIC), elapsed;
    char rate[TEXT_SIZE_MAX], left[TEXT_DURATION_MAX];
    double speed;

    buf[0] = '\0';
    if (checker->begun == 0 || done < checker->begun_at) {
        checker->begun = usec;
        checker->begun_at = done;
    }
    elapsed = usec - checker->begun;
    if (elapsed < USEC_PER_SEC / 2 || done == checker->begun_at)
        return;
    speed = (double)(done - checker->begun_at) * (double)USEC_PER_SEC / (double)elapsed;
    (void)snprintf(buf, size, " %s/s, %s left", text_size((uint64_t)speed, rate),
                   text_duration((uint64_t)((double)(total - done) / speed) * USEC_PER_SEC, left));
}

static void on_progress(void *userdata, uint64_t done, uint64_t total)
{
    struct checker *checker = userdata;
    char rate[TEXT_SIZE_MAX + TEXT_DURATION_MAX + 20] = "", layer[40] = "";
    _cleanup_free_ char *name = text_escape_string(checker->check->file);
    _cleanup_free_ char *shown = name ? text_shorten(&checker->ctl->output, name,
                                                     checker->digests ? 40 : 60)
                                      : NULL;

    if (!checker->progress || total == 0)
        return;
    if (done > total)
        done = total;
    /* the one being looked at, with its parent open already */
    if (checker->ask->flags & WORKER_CHECK_LAYERS && checker->check->n_paths > 2)
        (void)snprintf(layer, sizeof(layer), ", layer %zu", checker->check->n_paths - 2);
    if (checker->digests)
        rate_text(checker, done, total, rate, sizeof(rate));
    (void)fprintf(stderr, "\r%5.1f%%%s %s%s\033[K", 100.0 * (double)done / (double)total, rate,
                  shown ? shown : "", layer);
    checker->progress_shown = true;
}

static void end_progress(struct checker *checker)
{
    if (checker->progress_shown)
        (void)fputs("\r\033[K", stderr);
    checker->progress_shown = false;
}

/* ---- one check ---------------------------------------------------------------------------- */

static void on_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                      bool unallocated)
{
    const struct check_ask *ask = ((struct checker *)userdata)->ask;

    ask->blocks(ask->userdata, first, n, digests, unallocated);
}

static void on_place(void *userdata, const struct qca_place *place)
{
    const struct check_ask *ask = ((struct checker *)userdata)->ask;

    ask->place(ask->userdata, place);
}

static void on_done(void *userdata, struct worker *worker, struct audit_report *report)
{
    struct checker *checker = userdata;

    checker->check->report = report;
    checker->done = true;
}

/* Threads must be there before the worker confines itself, and so before it sees the image: its
 * size has to tell. */
static unsigned threads_for(const struct checker *checker, int fd)
{
    unsigned most = THREADS_AT_BEST;
    uint64_t tables;
    struct stat st;
    cpu_set_t cpus;

    if (checker->ctl->threads > 0)
        return checker->ctl->threads;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && (unsigned)CPU_COUNT(&cpus) < most)
        most = (unsigned)CPU_COUNT(&cpus);
    /* what lies below an image may be larger than itself */
    if (checker->digests)
        return checker->ask->flags & WORKER_CONTENT_DIGEST ? most : 1;
    if (fstat(fd, &st) < 0)
        return 1;
    /* with clusters of 64 KiB, tables of 8 bytes and refcounts of 2 for each */
    tables = (uint64_t)st.st_size / 65536 * 10;
    if (S_ISREG(st.st_mode) && tables > (uint64_t)st.st_blocks * 512)
        tables = (uint64_t)st.st_blocks * 512;
    return tables >= WORTH_THREADS_CHECK ? most : 1;
}

static int have_worker(struct checker *checker, int fd)
{
    const struct worker_options options = {
        .program = checker->program,
        .no_digests = !checker->libcrypto,
        .threads = threads_for(checker, fd),
    };
    int r;

    if (checker->worker && !worker_exhausted(checker->worker) &&
        checker->threads >= options.threads)
        return 0;
    checker->threads = options.threads;
    checker->worker = worker_free(checker->worker);
    r = worker_start(checker->event, &options, &checker->worker);
    return r < 0 ? complain(r, "Cannot start %s", checker->program) : 0;
}

static int audit(struct checker *checker, int fd, const struct qca_file_id *id)
{
    const struct ctl *ctl = checker->ctl;
    const struct worker_request request = {
        .fd = fd,
        .id = *id,
        .format = ctl->format ? qca_format_from_name(ctl->format) : QCA_FORMAT_UNKNOWN,
        .flags = checker->ask->flags,
        .algorithms = checker->ask->algorithms,
        .snapshot = checker->ask->snapshot,
        .blocks = on_blocks,
        .place = on_place,
        /* The caller sits before it and can interrupt it; a large disk takes long. */
        .total_deadline_usec = checker->digests ? TOTAL_DEADLINE_DIGESTS : 0,
        .question = on_question,
        .progress = on_progress,
        .done = on_done,
        .userdata = checker,
    };
    int r = have_worker(checker, fd);

    if (r < 0)
        return r;
    checker->done = false;
    r = worker_audit(checker->worker, &request);
    if (r < 0)
        return complain(r, "Cannot use the worker");
    while (!checker->done) {
        r = sd_event_run(checker->event, UINT64_MAX);
        if (r < 0)
            return complain(r, "Cannot wait for the worker");
    }
    return 0;
}

int checker_run_open(struct checker *checker, const char *file, int fd,
                     const struct qca_file_id *id, const struct check_ask *ask,
                     struct check *check)
{
    int r;

    *check = (struct check){ .file = file };
    check->paths[0] = strdup(file);
    if (!check->paths[0])
        return complain(-ENOMEM, "Cannot check");
    check->n_paths = 1;
    check->has_writer = has_writer(fd);
    checker->check = check;
    checker->ask = ask;
    checker->begun = 0;
    r = audit(checker, fd, id);
    end_progress(checker);
    checker->check = NULL;
    checker->ask = NULL;
    return r;
}

int checker_run(struct checker *checker, const char *file, const struct check_ask *ask,
                struct check *check)
{
    _cleanup_close_ int fd = -1;
    struct qca_file_id id;
    int r = check_open(file, &fd, &id);

    if (r >= 0)
        return checker_run_open(checker, file, fd, &id, ask, check);
    *check = (struct check){ .file = file, .error = r };
    check->paths[0] = strdup(file);
    if (!check->paths[0])
        return complain(-ENOMEM, "Cannot check");
    check->n_paths = 1;
    return 0;
}

void check_done(struct check *check)
{
    for (size_t i = 0; i < check->n_paths; i++)
        free(check->paths[i]);
    audit_report_free(check->report);
    *check = (struct check){ .file = NULL };
}

int checker_new(const struct ctl *ctl, bool digests, struct checker **ret_checker)
{
    const char *term = getenv("TERM");
    struct checker *checker = calloc(1, sizeof(*checker));
    int r = checker ? 0 : -ENOMEM;

    if (r >= 0) {
        checker->ctl = ctl;
        checker->digests = digests;
        checker->libcrypto = digests || ctl->deep;      /* an archive's manifest has digests */
        checker->progress = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
        r = helper_program(checker->libcrypto ? "qcaudit-worker" : "qcaudit-checker",
                           &checker->program);
    }
    if (r >= 0)
        r = sd_event_new(&checker->event);
    if (r < 0) {
        checker_free(checker);
        return complain(r, "Cannot check");
    }
    *ret_checker = checker;
    return 0;
}

struct checker *checker_free(struct checker *checker)
{
    if (!checker)
        return NULL;
    worker_free(checker->worker);
    sd_event_unref(checker->event);
    free(checker->program);
    free(checker);
    return NULL;
}
