/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A worker that does, inside the real sandbox, what no worker may do. The request's max_issues says
 * what. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "helpers/report-wire.h"
#include "helpers/sandbox.h"
#include "lib/cleanup.h"
#include "misbehaviour.h"

static int image_fd = -1;

static void send_record(enum wire_type type, void *record, const char *text0, const char *text1)
{
    if (wire_send(WIRE_FD, type, record, text0, text1, -1) < 0)
        _exit(0);
}

static void send_packet(const union wire_record *packet, size_t size, int fd)
{
    if (wire_send_packet(WIRE_FD, packet, size, fd) < 0)
        _exit(0);
}

static struct wire_layer good_layer(void)
{
    return (struct wire_layer){.format = QCA_FORMAT_RAW, .probed_format = QCA_FORMAT_RAW};
}

static void send_layer(struct wire_layer layer)
{
    struct wire_layer_more more = {0};

    send_record(WIRE_LAYER, &layer, NULL, NULL);
    send_record(WIRE_LAYER_MORE, &more, NULL, NULL);
}

static void send_check(uint32_t n_issues)
{
    struct wire_check check = {.finished = 1, .n_issues = n_issues};
    struct wire_layer layer = good_layer();

    layer.checked = 1;
    send_layer(layer);
    send_record(WIRE_CHECK, &check, NULL, NULL);
}

static void send_done(struct wire_done done)
{
    send_record(WIRE_DONE, &done, NULL, NULL);
}

static void *open_file(void *unused)
{
    (void)!open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    return NULL;
}

static atomic_bool begun, now;

/* On a thread that was there before the sandbox. */
static void *open_file_later(void *unused)
{
    begun = true;
    while (!now)
        sched_yield();
    return open_file(unused);
}

/* Half of a message with two descriptors. */
static void send_two_fds(void)
{
    struct wire_progress record = {
        .header = { WIRE_VERSION, WIRE_PROGRESS, { WIRE_NO_TEXT, WIRE_NO_TEXT } }
    };
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = &record, .iov_len = sizeof(record)};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    const int fds[2] = {image_fd, image_fd};

    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
    if (sendmsg(WIRE_FD, &message, MSG_NOSIGNAL) < 0)
        _exit(0);
}

static void system_calls(enum misbehaviour how)
{
    char *const arguments[] = {NULL};
    pthread_t thread;

    switch (how) {
    case MISBEHAVE_OPEN:
        open_file(NULL);
        break;
    case MISBEHAVE_OPEN_THREAD:
        now = true;
        pause();
        break;
    case MISBEHAVE_THREAD:
        pthread_create(&thread, NULL, open_file, NULL);
        break;
    case MISBEHAVE_CONNECT:
        socket(AF_INET, SOCK_STREAM, 0);
        break;
    case MISBEHAVE_EXEC:
        execve("/bin/true", arguments, arguments);
        break;
    case MISBEHAVE_FORK:
        fork();
        break;
    case MISBEHAVE_WRITE:
        (void)!pwrite(image_fd, "x", 1, 0);
        break;
    case MISBEHAVE_PEEK:
        (void)process_vm_readv(1, NULL, 0, NULL, 0, 0);
        break;
    case MISBEHAVE_MAP_CODE:
        mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        break;
    case MISBEHAVE_CRASH:
        signal(SIGSEGV, SIG_DFL);   /* a sanitizer's handler would open files */
        raise(SIGSEGV);
        break;
    case MISBEHAVE_ABORT:
        abort();
    case MISBEHAVE_EXIT:
        _exit(7);
    case MISBEHAVE_CLOSE:
        close(WIRE_FD);
        for (;;)
            sleep(1);
    case MISBEHAVE_HANG:
        for (;;)
            sleep(1);
    default:
        break;
    }
}

static void packets(enum misbehaviour how)
{
    union wire_record packet = {.header = {0}};
    struct wire_progress progress = {.total = 1};
    struct wire_failed failed = {0};
    size_t size;

    switch (how) {
    case MISBEHAVE_DAWDLE:
        for (;;) {
            send_record(WIRE_PROGRESS, &progress, NULL, NULL);
            usleep(100000);
        }
    case MISBEHAVE_FLOOD:
        for (;;)
            send_record(WIRE_PROGRESS, &progress, NULL, NULL);
    case MISBEHAVE_SHORT:
        size = wire_pack(WIRE_PROGRESS, &progress, NULL, NULL, &packet);
        send_packet(&packet, size / 2, -1);
        break;
    case MISBEHAVE_LONG:
        size = wire_pack(WIRE_PROGRESS, &progress, NULL, NULL, &packet);
        send_packet(&packet, size + 8, -1);
        break;
    case MISBEHAVE_UNKNOWN:
        wire_pack(WIRE_PROGRESS, &progress, NULL, NULL, &packet);
        packet.header.type = _WIRE_TYPE_MAX + 7;
        send_packet(&packet, sizeof(progress), -1);
        break;
    case MISBEHAVE_VERSION:
        wire_pack(WIRE_PROGRESS, &progress, NULL, NULL, &packet);
        packet.header.version++;
        send_packet(&packet, sizeof(progress), -1);
        break;
    case MISBEHAVE_FOREIGN: {
        struct wire_empty cancel = {.header = {0}};

        send_record(WIRE_CANCEL, &cancel, NULL, NULL);
        break;
    }
    case MISBEHAVE_FD:
        size = wire_pack(WIRE_PROGRESS, &progress, NULL, NULL, &packet);
        send_packet(&packet, size, image_fd);
        break;
    case MISBEHAVE_TWO_FDS:
        send_two_fds();
        break;
    case MISBEHAVE_TEXT_LENGTH:
        size = wire_pack(WIRE_FAILED, &failed, "text", NULL, &packet);
        packet.header.text_length[0] = 4000;
        send_packet(&packet, size, -1);
        break;
    case MISBEHAVE_TEXT_NUL:
        size = wire_pack(WIRE_FAILED, &failed, "text", NULL, &packet);
        packet.bytes[sizeof(failed) + 1] = '\0';
        send_packet(&packet, size, -1);
        break;
    case MISBEHAVE_TEXT_UNASKED:
        size = wire_pack(WIRE_PROGRESS, &progress, "text", NULL, &packet);
        send_packet(&packet, size, -1);
        break;
    case MISBEHAVE_PROGRESS_BEYOND:
        progress.done = 2;
        send_record(WIRE_PROGRESS, &progress, NULL, NULL);
        break;
    default:
        break;
    }
}

static void reports(enum misbehaviour how)
{
    struct wire_layer layer = good_layer();
    struct wire_snapshot snapshot = {0};
    struct wire_issues issues = {.n = 1};
    struct wire_done done = {.n_layers = 1};

    switch (how) {
    case MISBEHAVE_DONE_AT_ONCE:
        done.n_layers = 0;
        send_done(done);
        break;
    case MISBEHAVE_DONE_ERROR:
        done = (struct wire_done){.error = 5};
        send_done(done);
        break;
    case MISBEHAVE_DONE_ESCAPE:
        done = (struct wire_done){ .error = -EIO,
                                   .open_error.kind = QCA_ERROR_IO,
                                   .open_error.text = "\033[2J" };
        send_done(done);
        break;
    case MISBEHAVE_DONE_UNENDED:
        done = (struct wire_done){.error = -EIO, .open_error.kind = QCA_ERROR_IO};
        memset(done.open_error.text, 'x', sizeof(done.open_error.text));
        send_done(done);
        break;
    case MISBEHAVE_LAYER_INDEX:
        layer.index = 1;
        send_layer(layer);
        break;
    case MISBEHAVE_LAYER_FORMAT:
        layer.format = _QCA_FORMAT_MAX;
        send_layer(layer);
        break;
    case MISBEHAVE_LAYER_CLUSTERS:
        layer.format = QCA_FORMAT_QCOW2;
        layer.cluster_size = 3 << 16;
        layer.refcount_bits = 16;
        send_layer(layer);
        break;
    case MISBEHAVE_LAYER_IDENTITY:
        memset(layer.identity.text, 'a', sizeof(layer.identity.text));
        send_layer(layer);
        break;
    case MISBEHAVE_LAYERS:
        for (;; layer.index++)
            send_layer(layer);
    case MISBEHAVE_SNAPSHOTS:
        layer.n_snapshots = 1000000000;
        layer.snapshots_total = layer.n_snapshots;
        send_layer(layer);
        break;
    case MISBEHAVE_SNAPSHOT_EXTRA:
        send_layer(layer);
        send_record(WIRE_SNAPSHOT, &snapshot, "1", "one");
        break;
    case MISBEHAVE_SNAPSHOT_LACKING:
        layer.n_snapshots = 1;
        layer.snapshots_total = layer.n_snapshots;
        send_layer(layer);
        send_done(done);
        break;
    case MISBEHAVE_ISSUES:
        send_check(1000000000);
        break;
    case MISBEHAVE_ISSUE_COUNT:
        send_check(1);
        issues.n = 1u << 20;
        send_record(WIRE_ISSUES, &issues, NULL, NULL);
        break;
    case MISBEHAVE_ISSUE_KIND:
        send_check(1);
        issues.issue[0].kind = _QCA_ISSUE_MAX;
        send_record(WIRE_ISSUES, &issues, NULL, NULL);
        break;
    case MISBEHAVE_AFTER_DONE:
        send_layer(layer);
        send_done(done);
        send_done(done);
        break;
    case MISBEHAVE_HOG:
        for (size_t i = 0; i < 1u << 20; i++) {
            char *volatile memory = malloc(1 << 20);     /* volatile: or a compiler sees that it
                                                          * is for nothing */

            if (!memory) {
                done = (struct wire_done){.error = -ENOMEM, .peak_memory = i << 20};
                send_done(done);
                return;
            }
            memset(memory, 1, 1 << 20);
        }
        break;
    default:
        break;
    }
}

/* Asks and waits for the answer. */
static void ask(enum qca_reference_kind kind, uint32_t layer, const char *name)
{
    static uint64_t id;
    struct wire_question question = {.id = ++id, .kind = kind, .layer = layer};
    _cleanup_close_ int fd = -1;
    union wire_record record;

    send_record(WIRE_QUESTION, &question, name, NULL);
    if (wire_receive(WIRE_FD, WIRE_WORKER_CLIENT, &record, &fd) <= 0)
        _exit(0);
}

/* A layer that names a parent, and that is all. */
static void send_parent(const char *parent)
{
    struct wire_layer layer = good_layer();
    struct wire_layer_more more = {0};
    struct wire_done done = {.n_layers = 1};

    send_record(WIRE_LAYER, &layer, NULL, parent);
    send_record(WIRE_LAYER_MORE, &more, NULL, NULL);
    send_done(done);
}

static void questions(enum misbehaviour how)
{
    struct wire_question question = {.id = 1};

    switch (how) {
    case MISBEHAVE_QUESTION_AGAIN:
        ask(QCA_REFERENCE_PARENT, 0, "mid.qcow2");
        ask(QCA_REFERENCE_PARENT, 0, "base.qcow2");
        break;
    case MISBEHAVE_QUESTION_FAR:
        ask(QCA_REFERENCE_PARENT, 1, "mid.qcow2");
        break;
    case MISBEHAVE_QUESTION_REFUSED:
        ask(QCA_REFERENCE_PARENT, 0, "refused.qcow2");
        ask(QCA_REFERENCE_DATA_FILE, 0, "mid.qcow2");
        break;
    case MISBEHAVE_QUESTION_UNTOLD:
        ask(QCA_REFERENCE_PARENT, 0, "base.qcow2");
        send_parent("mid.qcow2");
        break;
    case MISBEHAVE_QUESTION_KIND:
        ask((enum qca_reference_kind)7, 0, "mid.qcow2");
        break;
    case MISBEHAVE_PARENT_UNASKED:
        ask(QCA_REFERENCE_PARENT, 0, "mid.qcow2");
        break;
    case MISBEHAVE_DATA_FILE_AGAIN:
        ask(QCA_REFERENCE_DATA_FILE, 0, "mid.qcow2");
        ask(QCA_REFERENCE_DATA_FILE, 0, "base.qcow2");
        break;
    case MISBEHAVE_DATA_FILE_FAR:
        ask(QCA_REFERENCE_DATA_FILE, 1, "mid.qcow2");
        break;
    case MISBEHAVE_DATA_FILE_LATE:
        ask(QCA_REFERENCE_PARENT, 0, "mid.qcow2");
        ask(QCA_REFERENCE_DATA_FILE, 0, "base.qcow2");
        break;
    case MISBEHAVE_DATA_FILE_UNTOLD:
        ask(QCA_REFERENCE_DATA_FILE, 0, "mid.qcow2");
        send_parent("mid.qcow2");
        break;
    case MISBEHAVE_EXTENT_UNTOLD:
        ask(QCA_REFERENCE_EXTENT, 0, "mid.qcow2");
        send_parent("mid.qcow2");
        break;
    case MISBEHAVE_QUESTION_UNASKED:
        send_record(WIRE_QUESTION, &question, "name", NULL);
        break;
    case MISBEHAVE_QUESTION_TWICE:
        send_record(WIRE_QUESTION, &question, "mid.qcow2", NULL);
        question.id++;
        send_record(WIRE_QUESTION, &question, "mid.qcow2", NULL);
        question.id++;
        send_record(WIRE_QUESTION, &question, "mid.qcow2", NULL);
        break;
    case MISBEHAVE_QUESTIONS:
        for (uint32_t layer = 0;; layer++)
            ask(QCA_REFERENCE_PARENT, layer, "mid.qcow2");
    default:
        break;
    }
}

int main(void)
{
    pthread_t thread;
    struct wire_empty ready = {.header = {0}};
    union wire_record record;
    const char *step;
    int fd = -1;

    if (sandbox_begin(&step) < 0 || wire_receive(WIRE_FD, WIRE_WORKER_CLIENT, &record, &fd) <= 0)
        _exit(1);
    if (sandbox_worker_begin(record.configure_worker.idle_io, &step) < 0 ||
        pthread_create(&thread, NULL, open_file_later, NULL) != 0)
        _exit(1);
    while (!begun)
        sched_yield();
    if (sandbox_worker(record.configure_worker.memory_limit, &step) < 0)
        _exit(1);
    send_record(WIRE_READY, &ready, NULL, NULL);
    if (wire_receive(WIRE_FD, WIRE_WORKER_CLIENT, &record, &image_fd) <= 0)
        _exit(1);
    system_calls((enum misbehaviour)record.request.max_issues);
    packets((enum misbehaviour)record.request.max_issues);
    questions((enum misbehaviour)record.request.max_issues);
    reports((enum misbehaviour)record.request.max_issues);
    for (;;)
        sleep(1);
}
