/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests the client with qcaudit-worker on images made by qemu-img, and with workers that
 * misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "helpers/client.h"
#include "helpers/process.h"
#include "lib/cleanup.h"
#include "lib/sanitized.h"
#include "misbehaviour.h"

#define PATIENCE (UINT64_C(30) * 1000000)   /* a test that needs longer has failed */

struct fixture {
    sd_event *event;
    char directory[64];
    char *worker_program;
    char *misbehaving_program;
    /* of the audit under way */
    struct worker *worker;
    struct audit_report *report;
    unsigned n_done, n_questions, n_progress;
    char question_name[256], question_format[64];
    bool free_in_done;
    bool postpone;                  /* questions are not answered */
    uint64_t postponed;
    int refuse;                     /* questions are answered with this error */
};

__attribute__((format(printf, 2, 3))) static void run(struct fixture *f, const char *format, ...)
{
    _cleanup_free_ char *command = NULL, *whole = NULL;
    va_list arguments;

    va_start(arguments, format);
    assert_true(vasprintf(&command, format, arguments) > 0);
    va_end(arguments);
    assert_true(asprintf(&whole, "cd %s && { %s; } >/dev/null", f->directory, command) > 0);
    if (system(whole) != 0)
        fail_msg("failed: %s", command);
}

static int image_open(struct fixture *f, const char *name)
{
    _cleanup_free_ char *path = NULL;
    int fd;

    assert_true(asprintf(&path, "%s/%s", f->directory, name) > 0);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static struct qca_file_id id_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (struct qca_file_id){.a = st.st_dev, .b = st.st_ino};
}

static void on_question(void *userdata, struct worker *worker,
                        const struct worker_question *question)
{
    struct fixture *f = userdata;
    _cleanup_close_ int fd = -1;
    struct qca_file_id id;

    f->n_questions++;
    snprintf(f->question_name, sizeof(f->question_name), "%s", question->name);
    snprintf(f->question_format, sizeof(f->question_format), "%s",
             question->format ? question->format : "");
    if (f->postpone) {
        f->postponed = question->id;
        return;
    }
    if (f->refuse || strcmp(question->name, "refused.qcow2") == 0) {
        assert_int_equal(worker_answer(worker, question->id, f->refuse ? f->refuse : -EPERM, -1, 0,
                                       NULL), 0);
        return;
    }
    fd = image_open(f, question->name);
    id = id_of(fd);
    assert_int_equal(worker_answer(worker, question->id, 0, fd, 0, &id), 0);
    /* exactly one answer per question */
    assert_int_equal(worker_answer(worker, question->id, 0, fd, 0, &id), -ENOENT);
}

static void on_progress(void *userdata, uint64_t done, uint64_t total)
{
    struct fixture *f = userdata;

    f->n_progress++;
    assert_true(done <= total);
}

static void on_done(void *userdata, struct worker *worker, struct audit_report *report)
{
    struct fixture *f = userdata;

    f->n_done++;
    audit_report_free(f->report);
    f->report = report;
    if (f->free_in_done)
        f->worker = worker_free(f->worker);
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata)
{
    fail_msg("nothing happened");
    return 0;
}

/* Runs the loop until n audits are done. */
static void loop_until_done(struct fixture *f, unsigned n)
{
    sd_event_source *timer = NULL;

    assert_true(sd_event_add_time_relative(f->event, &timer, CLOCK_MONOTONIC, PATIENCE, 0,
                                           on_patience, NULL) >= 0);
    while (f->n_done < n)
        assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
    sd_event_source_disable_unref(timer);
}

static void start(struct fixture *f, const char *program, const struct worker_options *given)
{
    struct worker_options options = given ? *given : (struct worker_options){0};

    options.program = program;
    f->n_done = f->n_questions = f->n_progress = 0;
    f->worker = worker_free(f->worker);
    assert_int_equal(worker_start(f->event, &options, &f->worker), 0);
}

static struct worker_request request_for(struct fixture *f, int fd, unsigned flags)
{
    return (struct worker_request){
        .fd = fd, .id = id_of(fd), .flags = flags, .question = on_question, .progress = on_progress,
        .done = on_done, .userdata = f,
    };
}

/* Starts an audit of the image name; it is closed here at once, as the worker has its own. */
static void audit_begin(struct fixture *f, const char *name, unsigned flags)
{
    _cleanup_close_ int fd = image_open(f, name);
    struct worker_request request = request_for(f, fd, flags);

    assert_int_equal(worker_audit(f->worker, &request), 0);
}

static void audit(struct fixture *f, const char *name, unsigned flags)
{
    unsigned n = f->n_done;

    audit_begin(f, name, flags);
    assert_int_equal(f->n_done, n);     /* no callback before the call returned */
    loop_until_done(f, n + 1);
}

/* ---- the honest worker ----------------------------------------------------------------------- */

static void test_plain(void **state)
{
    struct fixture *f = *state;
    struct layer_report *layer;

    run(f, "qemu-img create -q -f qcow2 a.qcow2 64M && qemu-io -c 'write 0 1M' a.qcow2");
    run(f, "qemu-img snapshot -c 'first one' a.qcow2 && qemu-img bitmap --add a.qcow2 b0");
    start(f, f->worker_program, NULL);
    audit(f, "a.qcow2", WORKER_CHECK | WORKER_METADATA_DIGEST);
    assert_int_equal(f->report->error, 0);
    assert_int_equal(f->report->n_layers, 1);
    layer = &f->report->layers[0];
    assert_null(layer->name);
    assert_int_equal(layer->info.format, QCA_FORMAT_QCOW2);
    assert_int_equal(layer->probed_format, QCA_FORMAT_QCOW2);
    assert_int_equal(layer->info.virtual_size, 64 << 20);
    assert_int_equal(layer->info.n_snapshots, 1);
    assert_int_equal(layer->snapshots_total, 1);
    assert_string_equal(layer->info.snapshots[0].name, "first one");
    assert_int_equal(layer->info.n_bitmaps, 1);
    assert_string_equal(layer->info.bitmaps[0].name, "b0");
    assert_true(layer->has_metadata_digest);
    assert_true(layer->checked);
    assert_true(layer->check.finished);
    assert_int_equal(layer->check.corruptions, 0);
    assert_int_equal(layer->check.allocated_clusters, 16);
    assert_true(f->report->bytes_read > 0);
    assert_true(f->report->peak_memory > 0);
    assert_false(worker_exhausted(f->worker));
}

static uint64_t read_be64(int fd, off_t offset)
{
    uint64_t value;

    assert_int_equal(pread(fd, &value, sizeof(value), offset), sizeof(value));
    return be64toh(value);
}

/* Lets the first n entries of the first L2 table point far beyond the end of the file. */
static void damage(struct fixture *f, const char *name, unsigned n)
{
    const uint64_t entry = htobe64(UINT64_C(0x8000007f00000000)),
                   flags = UINT64_C(0x1ff) | UINT64_C(0xff) << 56;
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;
    uint64_t l2;

    assert_true(asprintf(&path, "%s/%s", f->directory, name) > 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    l2 = read_be64(fd, (off_t)read_be64(fd, 40)) & ~flags;
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pwrite(fd, &entry, sizeof(entry), (off_t)(l2 + 8 * i)), sizeof(entry));
}

static void test_issues(void **state)
{
    struct fixture *f = *state;

    /* L2 entries that point beyond the end of the file, more than one record holds */
    run(f, "qemu-img create -q -f qcow2 bad.qcow2 64M && qemu-io -c 'write 0 16M' bad.qcow2");
    damage(f, "bad.qcow2", 200);
    start(f, f->worker_program, NULL);
    audit(f, "bad.qcow2", WORKER_CHECK);
    assert_int_equal(f->report->error, 0);
    assert_true(qca_check_count(&f->report->layers[0].check, QCA_ISSUE_OUT_OF_FILE) >= 200);
    assert_true(f->report->layers[0].check.corruptions >= 200);
    assert_true(f->report->layers[0].check.n_issues >= 200);
    assert_int_equal(f->report->layers[0].check.issues[0].layer, 0);
    {
        _cleanup_close_ int fd = image_open(f, "bad.qcow2");
        struct worker_request request = request_for(f, fd, WORKER_CHECK);

        request.max_issues = 70;
        assert_int_equal(worker_audit(f->worker, &request), 0);
        loop_until_done(f, 2);
    }
    assert_int_equal(f->report->layers[0].check.n_issues, 70);
    assert_true(f->report->layers[0].check.corruptions >= 200);
}

static void test_raw_and_garbage(void **state)
{
    struct fixture *f = *state;

    run(f, "truncate -s 1M raw.img && printf 'QFI\\373\\0\\0\\0\\3garbage' > garbage.qcow2");
    start(f, f->worker_program, NULL);
    audit(f, "raw.img", WORKER_CHECK);
    assert_int_equal(f->report->error, 0);
    assert_int_equal(f->report->layers[0].info.format, QCA_FORMAT_RAW);
    assert_false(f->report->layers[0].checked);
    audit(f, "garbage.qcow2", WORKER_CHECK);
    assert_int_not_equal(f->report->error, 0);
    assert_int_not_equal(audit_report_open_error(f->report)->kind, QCA_ERROR_NONE);
    assert_int_not_equal(audit_report_open_error(f->report)->text[0], '\0');
    assert_int_equal(f->report->worker_signal, 0);
    assert_false(worker_exhausted(f->worker));
}

static void make_chain(struct fixture *f)
{
    run(f,
        "qemu-img create -q -f qcow2 base.qcow2 8M && qemu-img create -q -f qcow2 -F qcow2 -b "
        "base.qcow2 mid.qcow2 && qemu-img create -q -f qcow2 -F qcow2 -b mid.qcow2 leaf.qcow2");
}

static void test_chain(void **state)
{
    struct fixture *f = *state;

    make_chain(f);
    start(f, f->worker_program, NULL);
    audit(f, "leaf.qcow2", WORKER_CHECK | WORKER_CHAIN | WORKER_CHECK_LAYERS);
    assert_int_equal(f->report->error, 0);
    assert_int_equal(f->n_questions, 2);
    assert_string_equal(f->question_format, "qcow2");
    assert_int_equal(f->report->n_layers, 3);
    assert_null(f->report->layers[0].name);
    assert_string_equal(f->report->layers[1].name, "mid.qcow2");
    assert_string_equal(f->report->layers[2].name, "base.qcow2");
    assert_true(f->report->layers[2].checked);
    assert_null(f->report->layers[2].info.parent);

    /* without the flag nothing is asked */
    audit(f, "leaf.qcow2", WORKER_CHECK);
    assert_int_equal(f->n_questions, 2);
    assert_int_equal(f->report->n_layers, 1);
    assert_string_equal(f->report->layers[0].info.parent, "mid.qcow2");

    f->refuse = -EPERM;
    audit(f, "leaf.qcow2", WORKER_CHECK | WORKER_CHAIN);
    f->refuse = 0;
    assert_int_equal(f->report->error, -EPERM);
    assert_int_equal(audit_report_open_error(f->report)->kind, QCA_ERROR_REFERENCE);
    assert_int_equal(f->report->n_layers, 1);
    assert_false(f->report->layers[0].checked);
    assert_false(worker_exhausted(f->worker));
}

static void test_no_policy_refuses(void **state)
{
    struct fixture *f = *state;
    _cleanup_close_ int fd = -1;
    struct worker_request request;

    make_chain(f);
    start(f, f->worker_program, NULL);
    fd = image_open(f, "leaf.qcow2");
    request = request_for(f, fd, WORKER_CHAIN);
    request.question = NULL;
    assert_int_equal(worker_audit(f->worker, &request), 0);
    loop_until_done(f, 1);
    assert_int_equal(f->report->error, -EPERM);
}

static void test_loop(void **state)
{
    struct fixture *f = *state;

    make_chain(f);
    run(f, "qemu-img rebase -q -u -F qcow2 -b leaf.qcow2 base.qcow2");
    start(f, f->worker_program, NULL);
    audit(f, "leaf.qcow2", WORKER_CHAIN);
    assert_int_not_equal(f->report->error, 0);
    assert_int_equal(audit_report_open_error(f->report)->kind, QCA_ERROR_LOOP);
}

static void test_reuse(void **state)
{
    struct fixture *f = *state;
    const struct worker_options options = {.images_max = 5};
    _cleanup_close_ int fd = -1;
    struct worker_request request;

    make_chain(f);
    start(f, f->worker_program, &options);
    for (unsigned i = 0; i < 5; i++) {
        assert_false(worker_exhausted(f->worker));
        audit(f, "leaf.qcow2", WORKER_CHECK | WORKER_CHAIN);
        assert_int_equal(f->report->error, 0);
    }
    assert_true(worker_exhausted(f->worker));
    fd = image_open(f, "leaf.qcow2");
    request = request_for(f, fd, 0);
    assert_int_equal(worker_audit(f->worker, &request), -ESTALE);
}

static void test_without_digests(void **state)
{
    struct fixture *f = *state;
    const struct worker_options options = {.no_digests = true};
    _cleanup_close_ int fd = -1;
    struct worker_request request;

    make_chain(f);
    start(f, f->worker_program, &options);
    fd = image_open(f, "leaf.qcow2");
    request = request_for(f, fd, WORKER_CHECK | WORKER_METADATA_DIGEST);
    assert_int_equal(worker_audit(f->worker, &request), -EINVAL);
    audit(f, "leaf.qcow2", WORKER_CHECK);
    assert_int_equal(f->report->error, 0);
}

static void test_busy_and_cancel(void **state)
{
    struct fixture *f = *state;
    _cleanup_close_ int fd = -1;
    struct worker_request request;

    make_chain(f);
    start(f, f->worker_program, NULL);
    f->postpone = true;
    audit_begin(f, "leaf.qcow2", WORKER_CHAIN);
    fd = image_open(f, "leaf.qcow2");
    request = request_for(f, fd, 0);
    assert_int_equal(worker_audit(f->worker, &request), -EBUSY);
    while (f->n_questions == 0)
        assert_true(sd_event_run(f->event, PATIENCE) > 0);
    worker_cancel(f->worker);
    loop_until_done(f, 1);
    f->postpone = false;
    assert_int_equal(f->report->error, -ECANCELED);
    assert_int_equal(worker_answer(f->worker, f->postponed, -EPERM, -1, 0, NULL), -ENOENT);
    /* it ended in order, so it may go on */
    assert_false(worker_exhausted(f->worker));
    audit(f, "leaf.qcow2", WORKER_CHAIN);
    assert_int_equal(f->report->error, 0);
}

static void on_gone(void *userdata)
{
    ++*(unsigned *)userdata;
}

/* Who waits for its files to be closed waits until the process is gone, and for no other one. */
static void test_listed_until_gone(void **state)
{
    struct fixture *f = *state;
    struct process_endings endings;
    unsigned n_gone = 0;
    int user, other;
    pid_t pid;

    make_chain(f);
    process_endings_init(&endings);
    endings.gone = on_gone;
    endings.userdata = &n_gone;
    for (unsigned i = 1; i <= 2; i++) {
        start(f, f->worker_program, NULL);
        f->postpone = true;
        audit_begin(f, "leaf.qcow2", WORKER_CHAIN);
        while (f->n_questions == 0)
            assert_true(sd_event_run(f->event, PATIENCE) > 0);
        pid = worker_pid(f->worker);
        f->worker = worker_end(f->worker, &endings, i == 1 ? &user : NULL);
        assert_null(f->worker);
        assert_int_equal(process_endings_find(&endings, &user), pid);
        assert_int_equal(process_endings_find(&endings, &other), i == 1 ? 0 : pid);
        assert_int_equal(n_gone, i - 1);
        while (n_gone < i)
            assert_true(sd_event_run(f->event, PATIENCE) > 0);
        assert_int_equal(process_endings_find(&endings, &user), 0);
        assert_int_equal(kill(pid, 0), -1);     /* and reaped */
    }
    /* Nobody waits any more: that it goes touches nothing. */
    start(f, f->worker_program, NULL);
    f->worker = worker_end(f->worker, &endings, &user);
    process_endings_done(&endings);
    memset(&endings, 0xff, sizeof(endings));
    while (sd_event_run(f->event, UINT64_C(200000)) > 0)
        ;
    assert_int_equal(n_gone, 2);
}

static void test_question_stops_the_clock(void **state)
{
    struct fixture *f = *state;
    _cleanup_close_ int fd = -1;
    struct worker_request request;

    make_chain(f);
    start(f, f->worker_program, NULL);
    f->postpone = true;
    fd = image_open(f, "leaf.qcow2");
    request = request_for(f, fd, WORKER_CHAIN);
    request.deadline_usec = request.total_deadline_usec = 500000;
    assert_int_equal(worker_audit(f->worker, &request), 0);
    while (f->n_questions == 0)
        assert_true(sd_event_run(f->event, PATIENCE) > 0);
    assert_int_equal(sd_event_run(f->event, 1000000), 0);
    f->postpone = false;
    f->refuse = -ENOENT;
    assert_int_equal(worker_answer(f->worker, f->postponed, -ENOENT, -1, 0, NULL), 0);
    loop_until_done(f, 1);
    f->refuse = 0;
    assert_int_equal(f->report->error, -ENOENT);
}

static void test_free_in_callback(void **state)
{
    struct fixture *f = *state;

    make_chain(f);
    start(f, f->worker_program, NULL);
    f->free_in_done = true;
    audit(f, "leaf.qcow2", WORKER_CHECK);
    f->free_in_done = false;
    assert_null(f->worker);
    assert_int_equal(f->report->error, 0);
}

static void test_free_under_way(void **state)
{
    struct fixture *f = *state;
    pid_t pid;

    make_chain(f);
    start(f, f->worker_program, NULL);
    pid = worker_pid(f->worker);
    audit_begin(f, "leaf.qcow2", WORKER_CHECK);
    f->worker = worker_free(f->worker);
    /* it is reaped by the loop, and nobody is called */
    while (kill(pid, 0) == 0)
        assert_true(sd_event_run(f->event, PATIENCE) > 0);
    assert_int_equal(f->n_done, 0);
}

static void test_progress_and_budget(void **state)
{
    struct fixture *f = *state;
    _cleanup_close_ int fd = -1;
    struct worker_request request;

    /* 16 MiB of L2 tables */
    run(f, "qemu-img create -q -f qcow2 -o preallocation=metadata,cluster_size=64k big.qcow2 128G");
    start(f, f->worker_program, NULL);
    fd = image_open(f, "big.qcow2");
    request = request_for(f, fd, WORKER_CHECK);
    request.read_budget = 16 << 20;
    assert_int_equal(worker_audit(f->worker, &request), 0);
    loop_until_done(f, 1);
    assert_int_equal(f->report->error, 0);
    assert_true(f->n_progress > 0);
    assert_true(f->report->bytes_read > 16 << 20);
    /* it may not have been faster than its budget, but for the last step of its progress */
    assert_true(f->report->elapsed_usec > 500000);

    /* a cancel is heard in the middle of it */
    request.read_budget = 1 << 20;
    f->n_progress = 0;
    assert_int_equal(worker_audit(f->worker, &request), 0);
    while (f->n_progress == 0)
        assert_true(sd_event_run(f->event, PATIENCE) > 0);
    worker_cancel(f->worker);
    loop_until_done(f, 2);
    assert_int_equal(f->report->error, -ECANCELED);
    assert_false(worker_exhausted(f->worker));
}

/* ---- scrubs ---------------------------------------------------------------------------------- */

struct blocks {
    struct fixture *fixture;
    uint64_t next, data, zero, unallocated;
};

static void on_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                      bool unallocated)
{
    struct blocks *blocks = userdata;

    assert_true(first >= blocks->next && n > 0);
    assert_false(digests && unallocated);
    blocks->next = first + n;
    *(digests ? &blocks->data : unallocated ? &blocks->unallocated : &blocks->zero) += n;
}

static void on_scrubbed(void *userdata, struct worker *worker, struct audit_report *report)
{
    on_done(((struct blocks *)userdata)->fixture, worker, report);
}

static void on_scrub_question(void *userdata, struct worker *worker,
                              const struct worker_question *question)
{
    on_question(((struct blocks *)userdata)->fixture, worker, question);
}

static const struct qca_content_digest *scrub(struct fixture *f, const char *name, uint64_t first,
                                              struct blocks *blocks)
{
    _cleanup_close_ int fd = image_open(f, name);
    struct worker_request request = request_for(f, fd,
                                                WORKER_CHECK | WORKER_LAYER_DIGEST |
                                                    WORKER_BLOCK_DIGESTS | WORKER_DIRECT);

    *blocks = (struct blocks){.fixture = f};
    request.first_block = first;
    request.blocks = on_blocks;
    request.progress = NULL;
    request.done = on_scrubbed;
    request.question = on_scrub_question;
    request.userdata = blocks;
    assert_int_equal(worker_audit(f->worker, &request), 0);
    loop_until_done(f, f->n_done + 1);
    assert_int_equal(f->report->error, 0);
    assert_int_equal(f->report->n_layers, 1);
    assert_true(f->report->reading >= REPORT_READING_DIRECT);
    assert_non_null(f->report->content_digest);
    return f->report->content_digest;
}

/* Of an overlay: what it holds itself, the rest is unallocated; no parent is asked for. Of a base:
 * its content. */
static void test_layer_digest(void **state)
{
    struct fixture *f = *state;
    const struct qca_content_digest *digest;
    struct blocks blocks;
    uint8_t alone[32];

    run(f, "qemu-img create -q -f qcow2 base.qcow2 64M && qemu-io -c 'write -P 3 0 1M' base.qcow2");
    run(f, "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2 && "
           "qemu-io -c 'write -P 9 2M 64k' -c 'write -z 4M 1M' over.qcow2");
    run(f, "cp over.qcow2 alone.qcow2 && qemu-img rebase -u -b '' alone.qcow2");
    start(f, f->worker_program, NULL);
    {
        _cleanup_close_ int fd = image_open(f, "alone.qcow2");
        struct worker_request request = request_for(f, fd, WORKER_CHAIN | WORKER_CONTENT_DIGEST);

        assert_int_equal(worker_audit(f->worker, &request), 0);
        loop_until_done(f, 1);
        assert_true(f->report->content_digest->complete);
        memcpy(alone, f->report->content_digest->digest, 32);
    }
    digest = scrub(f, "over.qcow2", 0, &blocks);
    assert_int_equal(f->n_questions, 0);
    assert_true(digest->complete);
    assert_memory_equal(digest->digest, alone, 32);
    assert_true(f->report->layers[0].checked);
    assert_int_equal(blocks.next, 1024);
    assert_int_equal(blocks.data, 1);
    assert_int_equal(blocks.zero, 16);
    assert_int_equal(blocks.unallocated, 1024 - 17);

    /* from a block on: the rest alone is told, without a digest */
    digest = scrub(f, "over.qcow2", 33, &blocks);
    assert_true(digest->complete);
    assert_int_equal(blocks.data, 0);
    assert_int_equal(blocks.zero, 16);
    assert_int_equal(blocks.unallocated, 1024 - 33 - 16);
    assert_int_equal(digest->digest[0] | digest->digest[17] | digest->digest[31], 0);
}

/* The one file that a layer needs beside its own is asked for; without it, the check is done all
 * the same. */
static void test_layer_with_data_file(void **state)
{
    struct fixture *f = *state;
    const struct qca_content_digest *digest;
    struct blocks blocks;

    run(f, "qemu-img create -q -f qcow2 -o data_file=d.raw,data_file_raw=on d.qcow2 4M && "
           "qemu-io -c 'write -P 5 1M 128k' d.qcow2");
    start(f, f->worker_program, NULL);
    digest = scrub(f, "d.qcow2", 0, &blocks);
    assert_int_equal(f->n_questions, 1);
    assert_true(digest->complete);
    assert_int_equal(blocks.data, 2);
    f->refuse = -ENOENT;
    digest = scrub(f, "d.qcow2", 0, &blocks);
    f->refuse = 0;
    assert_false(digest->complete);
    assert_int_equal(digest->bad_bytes, 4 << 20);
    assert_int_equal(digest->bad[0].error, -ENOENT);
    assert_int_equal(blocks.next, 0);
    assert_true(f->report->layers[0].checked);
    assert_false(worker_exhausted(f->worker));
}

static int on_resume(sd_event_source *source, uint64_t usec, void *userdata)
{
    worker_pace(((struct fixture *)userdata)->worker, false, 0);
    return 0;
}

/* One that is told to pause waits, says so, and is not taken for hung. */
static void test_paused(void **state)
{
    struct fixture *f = *state;
    _cleanup_close_ int fd = -1;
    struct worker_request request;
    sd_event_source *timer = NULL;

    run(f, "dd if=/dev/urandom of=p.raw bs=1M count=8 2>/dev/null");
    start(f, f->worker_program, NULL);
    fd = image_open(f, "p.raw");
    request = request_for(f, fd, WORKER_LAYER_DIGEST | WORKER_DIRECT);
    request.format = QCA_FORMAT_RAW;
    request.deadline_usec = 1500000;
    assert_int_equal(worker_audit(f->worker, &request), 0);
    worker_pace(f->worker, true, 0);
    assert_true(sd_event_add_time_relative(f->event, &timer, CLOCK_MONOTONIC, 3000000, 0, on_resume,
                                           f) >= 0);
    loop_until_done(f, 1);
    sd_event_source_disable_unref(timer);
    assert_int_equal(f->report->error, 0);
    assert_true(f->report->content_digest->complete);
    assert_true(f->n_progress > 2);
    assert_true(f->report->elapsed_usec > 2500000);

    /* cancelled while it waits */
    assert_int_equal(worker_audit(f->worker, &request), 0);
    worker_pace(f->worker, true, 0);
    worker_cancel(f->worker);
    loop_until_done(f, 2);
    assert_int_equal(f->report->error, -ECANCELED);
    assert_false(worker_exhausted(f->worker));
}

static uint64_t status_field(pid_t pid, const char *field, int base)
{
    _cleanup_fclose_ FILE *file = NULL;
    char path[64], line[256];

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] == ':')
            return strtoull(line + strlen(field) + 1, NULL, base);
    fail_msg("no %s in %s", field, path);
    return 0;
}

/* While it waits for the answer to a question it holds the image, and nothing else. */
static void test_confined(void **state)
{
    struct fixture *f = *state;
    char path[64];
    unsigned n_fds = 0;
    struct dirent *entry;
    DIR *dir;
    pid_t pid;

    make_chain(f);
    start(f, f->worker_program, NULL);
    f->postpone = true;
    audit_begin(f, "leaf.qcow2", WORKER_CHAIN);
    while (f->n_questions == 0)
        assert_true(sd_event_run(f->event, PATIENCE) > 0);
    f->postpone = false;
    pid = worker_pid(f->worker);
    assert_int_equal(status_field(pid, "Seccomp", 10), 2);
    assert_int_equal(status_field(pid, "NoNewPrivs", 10), 1);
    assert_int_equal(status_field(pid, "CapEff", 16), 0);
    assert_int_equal(status_field(pid, "CapPrm", 16), 0);
    assert_int_equal(status_field(pid, "CapInh", 16), 0);
    if (geteuid() == 0)
        assert_int_equal(status_field(pid, "CapBnd", 16), 0);
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    dir = opendir(path);
    if (!dir)
        skip();                     /* not dumpable, so only root may look */
    while ((entry = readdir(dir))) {
        char target[256] = "";

        if (entry->d_name[0] == '.')
            continue;
        n_fds++;
        assert_true(readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) > 0);
        switch (atoi(entry->d_name)) {
        case 0:
        case 1:
            assert_string_equal(target, "/dev/null");
            break;
        case 2:                     /* the sanitizers' reports go there */
            break;
        case 3:
            assert_memory_equal(target, "socket:", 7);
            break;
        default:
            assert_non_null(strstr(target, "/leaf.qcow2"));
        }
    }
    closedir(dir);
    assert_int_equal(n_fds, 5);
}

static void test_no_program(void **state)
{
    struct fixture *f = *state;
    const struct worker_options missing = { .program = "/nonexistent/qcaudit-worker" },
                                ends = { .program = "/bin/false" };

    f->worker = worker_free(f->worker);
    assert_int_equal(worker_start(f->event, &missing, &f->worker), -ENOENT);
    start(f, ends.program, NULL);
    make_chain(f);
    audit(f, "leaf.qcow2", 0);
    assert_int_equal(f->report->error, -ENOEXEC);
    assert_int_equal(f->report->worker_status, 1);
    assert_true(worker_exhausted(f->worker));
}

/* ---- workers that misbehave ------------------------------------------------------------------ */

/* The program does what it is told by the layer limit field of the request: see
 * misbehaving-worker.c. */
static void misbehave(struct fixture *f, unsigned how, unsigned flags)
{
    _cleanup_close_ int fd = -1;
    struct worker_request request;
    bool endless;

    make_chain(f);
    start(f, f->misbehaving_program, NULL);
    f->postpone = how == MISBEHAVE_QUESTION_TWICE;
    fd = image_open(f, "leaf.qcow2");
    request = request_for(f, fd, flags);
    /* 10,000 layers take their time on a busy machine: only what has no end runs into its limit. */
    endless = how == MISBEHAVE_HANG || how == MISBEHAVE_DAWDLE;
    request.deadline_usec = endless ? 1000000 : 60000000;
    request.total_deadline_usec = endless ? 3000000 : 120000000;
    request.max_issues = how;
    assert_int_equal(worker_audit(f->worker, &request), 0);
    loop_until_done(f, 1);
    f->postpone = false;
    /* what comes after it was done, too */
    while (!worker_exhausted(f->worker))
        assert_true(sd_event_run(f->event, PATIENCE) > 0);
    assert_int_equal(f->n_done, 1);
}

/* A hog gets no more than its limit, can say so, and lives. */
static void test_memory_limit(void **state)
{
#if SANITIZED
    skip();                         /* its address space cannot be limited */
#else
    struct fixture *f = *state;
    const struct worker_options options = {.memory_limit = 64 << 20};
    _cleanup_close_ int fd = -1;
    struct worker_request request;

    make_chain(f);
    start(f, f->misbehaving_program, &options);
    fd = image_open(f, "leaf.qcow2");
    request = request_for(f, fd, 0);
    request.max_issues = MISBEHAVE_HOG;
    assert_int_equal(worker_audit(f->worker, &request), 0);
    loop_until_done(f, 1);
    assert_int_equal(f->report->error, -ENOMEM);
    assert_int_equal(f->report->worker_signal, 0);
    assert_in_range(f->report->peak_memory, 48 << 20, 160 << 20);
#endif
}

static void test_misbehaviour(void **state)
{
    struct fixture *f = *state;

#define X(id, text, flags, expected_error, expected_signal)                                        \
    print_message("# %s\n", text);                                                                 \
    misbehave(f, MISBEHAVE_##id, flags);                                                           \
    assert_int_equal(f->report->error, expected_error);                                            \
    assert_int_equal(f->report->n_layers, (expected_error) == 0);                                  \
    if (expected_signal)                                                                           \
        assert_int_equal(f->report->worker_signal, expected_signal);
    MISBEHAVIOURS(X)
#undef X
}

/* ---- the frame ------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *build = getenv("top_builddir");

    assert_non_null(f);
    assert_non_null(build);
    assert_true(sd_event_new(&f->event) >= 0);
    strcpy(f->directory, "/tmp/qcaudit-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    assert_int_equal(helper_program("qcaudit-worker", &f->worker_program), 0);
    assert_true(asprintf(&f->misbehaving_program, "%s/tests/unit/misbehaving-worker", build) > 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    worker_free(f->worker);
    while (sd_event_run(f->event, 100000) > 0)
        ;
    run(f, "rm -rf -- %s", f->directory);
    audit_report_free(f->report);
    sd_event_unref(f->event);
    free(f->worker_program);
    free(f->misbehaving_program);
    free(f);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_plain), TEST(test_issues), TEST(test_raw_and_garbage), TEST(test_chain),
        TEST(test_no_policy_refuses), TEST(test_loop), TEST(test_reuse), TEST(test_without_digests),
        TEST(test_busy_and_cancel),
        TEST(test_listed_until_gone),
        TEST(test_question_stops_the_clock), TEST(test_free_in_callback), TEST(test_free_under_way),
        TEST(test_progress_and_budget), TEST(test_layer_digest), TEST(test_layer_with_data_file),
        TEST(test_paused),
        TEST(test_confined), TEST(test_no_program), TEST(test_memory_limit),
        TEST(test_misbehaviour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
