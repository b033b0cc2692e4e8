/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests the helpers' protocol: records there and back, reports at their caps, and thousands of
 * damaged records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "helpers/report-wire.h"
#include "check-fixture.h"

struct pair {
    int a, b;                       /* neither blocks */
};

static int setup(void **state)
{
    static struct pair pair;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    pair = (struct pair){fds[0], fds[1]};
    *state = &pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;

    close(pair->a);
    close(pair->b);
    return 0;
}

static void test_round_trip(void **state)
{
    struct pair *pair = *state;
    struct wire_question question = {.id = 42, .kind = QCA_REFERENCE_PARENT, .layer = 3};
    union wire_record record;
    int fd = -1;

    assert_int_equal(wire_receive(pair->b, WIRE_WORKER, &record, &fd), -EAGAIN);
    assert_int_equal(wire_send(pair->a, WIRE_QUESTION, &question, "base\n\xff.qcow2", NULL, -1), 0);
    assert_int_equal(wire_send(pair->a, WIRE_QUESTION, &question, "", "qcow2", -1), 0);
    assert_int_equal(wire_receive(pair->b, WIRE_WORKER, &record, &fd), 1);
    assert_int_equal(record.header.type, WIRE_QUESTION);
    assert_int_equal(record.question.id, 42);
    assert_int_equal(record.question.layer, 3);
    assert_string_equal(wire_text(&record, 0), "base\n\xff.qcow2");
    assert_null(wire_text(&record, 1));
    assert_int_equal(wire_receive(pair->b, WIRE_WORKER, &record, &fd), 1);
    assert_string_equal(wire_text(&record, 0), "");
    assert_string_equal(wire_text(&record, 1), "qcow2");
    assert_int_equal(fd, -1);
    /* the same record from somebody who never sends it */
    assert_int_equal(wire_send(pair->a, WIRE_QUESTION, &question, "base", NULL, -1), 0);
    assert_int_equal(wire_receive(pair->b, WIRE_FILES, &record, &fd), -EBADMSG);
}

static void test_long_texts(void **state)
{
    struct pair *pair = *state;
    struct wire_files_request request = {.id = 1, .kind = WIRE_FILES_RESOLVE};
    static char longest[WIRE_TEXT_MAX + 1], longer[WIRE_TEXT_MAX + 100];
    union wire_record record;
    int fd = -1;

    memset(longest, 'x', WIRE_TEXT_MAX);
    memset(longer, 'x', sizeof(longer) - 1);
    assert_int_equal(wire_send(pair->a, WIRE_FILES_REQUEST, &request, longest, longer, -1), 0);
    assert_int_equal(wire_receive(pair->b, WIRE_FILES_CLIENT, &record, &fd), 1);
    assert_string_equal(wire_text(&record, 0), longest);
    assert_string_equal(wire_text(&record, 1), longest);    /* cut */
}

static void test_fds(void **state)
{
    struct pair *pair = *state;
    _cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct wire_answer answer = {.question = 1};
    union wire_record record;
    struct stat a, b;
    int fd = -1;

    assert_int_equal(wire_send(pair->a, WIRE_ANSWER, &answer, NULL, NULL, null), 0);
    assert_int_equal(wire_receive(pair->b, WIRE_WORKER_CLIENT, &record, &fd), 1);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(fd, &a) | fstat(null, &b), 0);
    assert_int_equal(a.st_rdev, b.st_rdev);
    close(fd);
    fd = -1;
    /* without one though there is no error, and with one though there is */
    assert_int_equal(wire_send(pair->a, WIRE_ANSWER, &answer, NULL, NULL, -1), 0);
    assert_int_equal(wire_receive(pair->b, WIRE_WORKER_CLIENT, &record, &fd), -EBADMSG);
    answer.error = -ENOENT;
    assert_int_equal(wire_send(pair->a, WIRE_ANSWER, &answer, NULL, NULL, null), 0);
    assert_int_equal(wire_receive(pair->b, WIRE_WORKER_CLIENT, &record, &fd), -EBADMSG);
    assert_int_equal(fd, -1);
}

/* Records of files that share a packet, and what else such a packet may not be. */
static void test_several(void **state)
{
    static const char *const paths[] = {"/a", "/of/another/length", "/x", ""};
    struct pair *pair = *state;
    union wire_record packet = {.header = {0}}, one, received;
    struct wire_files_record file = {.event = FILES_EVENT_APPEARED};
    struct wire_empty walking = {0};
    const union wire_record *record;
    size_t size = 0, first = 0, length, n = 0, got;
    int fd = -1;

    for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
        file.stat.inode = i;
        length = wire_pack(WIRE_FILES_RECORD, &file, paths[i], NULL, &one);
        assert_true(wire_append(&packet, &size, &one, length));
        first = i == 0 ? size : first;
    }
    assert_int_equal(wire_send_packet(pair->a, &packet, size, -1), 0);
    assert_int_equal(wire_receive_several(pair->b, WIRE_FILES, &received, &got, &fd), 1);
    assert_int_equal(got, size);
    assert_int_equal(fd, -1);
    for (record = &received; record; record = wire_next(&received, got, record)) {
        assert_string_equal(wire_text(record, 0), paths[n]);
        assert_int_equal(record->files_record.stat.inode, n++);
    }
    assert_int_equal(n, ELEMENTSOF(paths));

    /* where one is expected, several are not */
    assert_int_equal(wire_send_packet(pair->a, &packet, size, -1), 0);
    assert_int_equal(wire_receive(pair->b, WIRE_FILES, &received, &fd), -EBADMSG);
    /* cut anywhere but between two, or with a rest */
    for (size_t cut = 1; cut < size; cut++) {
        bool between = false;
        int r;

        for (record = &packet; record; record = wire_next(&packet, size, record))
            between = between || cut == (size_t)(record->bytes - packet.bytes) + sizeof(file) +
                                            strlen(wire_text(record, 0)) + 1;
        assert_int_equal(wire_send_packet(pair->a, &packet, cut, -1), 0);
        r = wire_receive_several(pair->b, WIRE_FILES, &received, &got, &fd);
        assert_int_equal(r, between ? 1 : -EBADMSG);
    }
    /* with a file, from the wrong side, with others */
    assert_int_equal(wire_send_packet(pair->a, &packet, size, pair->a), 0);
    assert_int_equal(wire_receive_several(pair->b, WIRE_FILES, &received, &got, &fd), -EBADMSG);
    assert_int_equal(wire_send_packet(pair->a, &packet, size, -1), 0);
    assert_int_equal(wire_receive_several(pair->b, WIRE_WORKER, &received, &got, &fd), -EBADMSG);
    length = wire_pack(WIRE_FILES_WALKING, &walking, NULL, NULL, &one);
    assert_true(wire_append(&packet, &size, &one, length));
    assert_int_equal(wire_send_packet(pair->a, &packet, size, -1), 0);
    assert_int_equal(wire_receive_several(pair->b, WIRE_FILES, &received, &got, &fd), -EBADMSG);
    /* no more than fit */
    length = wire_pack(WIRE_FILES_RECORD, &file, "/path", NULL, &one);
    for (size = 0; wire_append(&packet, &size, &one, length);)
        ;
    assert_in_range(size, sizeof(packet) - length - WIRE_ALIGNMENT, sizeof(packet));
    assert_int_equal(wire_send_packet(pair->a, &packet, size, -1), 0);
    assert_int_equal(wire_receive_several(pair->b, WIRE_FILES, &received, &got, &fd), 1);
}

static void test_end(void **state)
{
    struct pair *pair = *state;
    struct wire_empty ready = {0};
    union wire_record record;
    int fd = -1;

    close(pair->a);
    pair->a = -1;
    assert_int_equal(wire_receive(pair->b, WIRE_WORKER, &record, &fd), 0);
    assert_int_equal(wire_send(pair->b, WIRE_CANCEL, &ready, NULL, NULL, -1), -EPIPE);
}

/* ---- reports --------------------------------------------------------------------------------- */

/* Hands what is in the socket to the receiver; what it said last. */
static int drain(struct pair *pair, struct report_receiver *receiver)
{
    int r = 0;

    while (r == 0) {
        union wire_record record;
        int fd = -1;

        r = wire_receive(pair->b, WIRE_WORKER, &record, &fd);
        if (r == -EAGAIN)
            return 0;
        assert_int_equal(r, 1);
        r = report_receiver_take(receiver, &record);
    }
    return r;
}

static struct qca_check_result check_with(struct qca_issue *issues, size_t n)
{
    struct qca_check_result check = {
        .finished = true, .corruptions = n, .leaks = 7, .burst_end = QCA_NO_OFFSET,
        .issues = issues, .n_issues = n,
    };

    fixture_count(&check, QCA_ISSUE_OUT_OF_FILE, n);
    for (size_t i = 0; i < n; i++)
        issues[i] =
            (struct qca_issue){ .kind = QCA_ISSUE_OUT_OF_FILE, .table = QCA_TABLE_L2, .index = i };
    return check;
}

/* A report, with as many of everything as asked for, from a thread's point of view: sends between
 * drains. */
static void send_report(struct pair *pair, struct report_receiver *receiver, size_t layers,
                        size_t snapshots, size_t issues)
{
    static char snapshot_id[] = "1", snapshot_name[] = "name";
    struct report_room room = REPORT_ROOM(100);
    struct qca_snapshot *s = calloc(snapshots + 1, sizeof(*s));
    struct qca_issue *found = calloc(issues + 1, sizeof(*found));
    struct qca_extension extensions[3] = {{.type = 1}, {.type = 2}, {.type = 3, .length = 33}};
    struct qca_bitmap bitmap = {.name = (char[]){"bitmap"}, .granularity_bits = 16};
    struct qca_check_result check = check_with(found, issues);
    struct qca_image_info info = {
        .format = QCA_FORMAT_QCOW2, .version = 3, .cluster_size = 65536, .refcount_bits = 16,
        .virtual_size = 12345,
        .parent = (char[]){"parent"}, .parent_format = (char[]){"raw"}, .snapshots = s,
        .n_snapshots = snapshots,
        .snapshot_count = (uint32_t)snapshots, .bitmaps = &bitmap, .n_bitmaps = 1,
        .extensions = extensions,
        .n_extensions = 3,
    };
    const uint8_t digest[32] = {1, 2, 3};
    struct wire_done done = {.n_layers = layers, .bytes_read = 99};
    struct wire_done unopened = {.error = -EIO, .open_error.kind = QCA_ERROR_IO};
    struct wire_done *last = layers > 0 ? &done : &unopened;
    int r, buffer = 64 << 20;

    /* all of it at once, as nobody reads meanwhile */
    (void)setsockopt(pair->a, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
    for (size_t i = 0; i < snapshots; i++)
        s[i] = (struct qca_snapshot){.id = snapshot_id, .name = snapshot_name, .date_sec = -1};
    for (uint32_t i = 0; i < layers; i++) {
        struct report_layer layer = {
            .index = i, .name = i ? "parent" : NULL, .info = &info,
            .probed_format = QCA_FORMAT_QCOW2,
            .metadata_digest = digest, .check = &check,
        };

        assert_int_equal(report_send_layer(pair->a, &layer, &room), 0);
        if (receiver)
            assert_int_equal(drain(pair, receiver), 0);
    }
    r = wire_send(pair->a, WIRE_DONE, last, NULL, NULL, -1);
    assert_int_equal(r, 0);
    free(s);
    qca_check_result_done(&check);
}

static void test_report(void **state)
{
    struct pair *pair = *state;
    _cleanup_(report_receiver_freep) struct report_receiver *receiver = NULL;
    struct audit_report *report;

    assert_int_equal(report_receiver_new(100, &receiver), 0);
    send_report(pair, receiver, 3, 2, 70);
    assert_int_equal(drain(pair, receiver), 1);
    report = report_receiver_finish(receiver);
    assert_int_equal(report->n_layers, 3);
    assert_int_equal(report->bytes_read, 99);
    assert_null(report->layers[0].name);
    assert_string_equal(report->layers[2].name, "parent");
    assert_string_equal(report->layers[1].info.parent, "parent");
    assert_string_equal(report->layers[1].info.parent_format, "raw");
    assert_null(report->layers[1].info.data_file);
    assert_int_equal(report->layers[1].info.virtual_size, 12345);
    assert_int_equal(report->layers[1].info.n_snapshots, 2);
    assert_string_equal(report->layers[1].info.snapshots[1].name, "name");
    assert_int_equal(report->layers[1].info.snapshots[1].date_sec, -1);
    assert_int_equal(report->layers[1].info.bitmaps[0].granularity_bits, 16);
    assert_int_equal(report->layers[1].info.n_extensions, 3);
    assert_int_equal(report->layers[1].info.extensions[2].length, 33);
    assert_int_equal(report->layers[1].metadata_digest[2], 3);
    /* 100 issues in all: 70 of the first layer, what is left for the second, none for the third */
    assert_int_equal(report->layers[0].check.n_issues, 70);
    assert_int_equal(report->layers[0].check.issues[69].index, 69);
    assert_int_equal(report->layers[1].check.n_issues, 30);
    assert_int_equal(report->layers[1].check.issues[0].layer, 1);
    assert_int_equal(report->layers[2].check.n_issues, 0);
    assert_int_equal(report->layers[2].check.corruptions, 70);
    assert_int_equal(qca_check_count(&report->layers[2].check, QCA_ISSUE_OUT_OF_FILE), 70);
    assert_int_equal(report->layers[2].check.leaks, 7);
    audit_report_free(report);
}

/* Digests come with the report when they were asked for, and are no record for any other. */
static void test_digests(void **state)
{
    static const struct { unsigned flags; bool file, content, bad_count; int result; } cases[] = {
        {WORKER_FILE_DIGEST | WORKER_CONTENT_DIGEST, true, true, false, 1},
        {WORKER_FILE_DIGEST | WORKER_CONTENT_DIGEST, true, true, true, -EBADMSG},
        {WORKER_FILE_DIGEST | WORKER_CONTENT_DIGEST, true, false, false, -EBADMSG},
        {WORKER_FILE_DIGEST | WORKER_CONTENT_DIGEST, false, true, false, -EBADMSG},
        {WORKER_CONTENT_DIGEST, true, true, false, -EBADMSG},
        {WORKER_FILE_DIGEST, true, true, false, -EBADMSG},
        {WORKER_FILE_DIGEST, true, false, false, 1},
        {0, false, true, false, -EBADMSG},
        {0, false, false, false, 1},
    };
    struct pair *pair = *state;

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(report_receiver_freep) struct report_receiver *receiver = NULL;
        const struct qca_image_info info = {.format = QCA_FORMAT_RAW};
        const struct report_layer layer = {.info = &info, .probed_format = QCA_FORMAT_RAW};
        const struct qca_file_digest file = { .algorithms = QCA_DIGEST_SHA256,
                                              .size = 5,
                                              .sha256 = { 1, 2, 3 } };
        struct qca_content_digest content = {.complete = true, .size = 512, .digest = {4, 5, 6}};
        struct report_room room = REPORT_ROOM(100);
        struct wire_done last = {.n_layers = 1};
        struct audit_report *report;
        int r;

        content.n_bad = cases[i].bad_count ? QCA_BAD_RANGES_MAX + 1 : 0;
        assert_int_equal(report_receiver_new(100, &receiver), 0);
        report_receiver_expect(receiver, cases[i].flags);
        if (cases[i].file)
            assert_int_equal(report_send_file_digest(pair->a, &file), 0);
        assert_int_equal(report_send_layer(pair->a, &layer, &room), 0);
        if (cases[i].content)
            assert_int_equal(report_send_content_digest(pair->a, &content), 0);
        assert_int_equal(wire_send(pair->a, WIRE_DONE, &last, NULL, NULL, -1), 0);
        r = drain(pair, receiver);
        assert_int_equal(r, cases[i].result);
        while (r < 0 && drain(pair, receiver) != 0)
            ;                   /* the rest of what was sent */
        if (r < 0)
            continue;
        report = report_receiver_finish(receiver);
        assert_int_equal(report->file_digest != NULL, cases[i].file);
        assert_int_equal(report->content_digest != NULL, cases[i].content);
        if (cases[i].content) {
            assert_true(report->content_digest->complete);
            assert_int_equal(report->content_digest->digest[2], 6);
        }
        audit_report_free(report);
    }
}

static void test_report_caps(void **state)
{
    struct pair *pair = *state;
    _cleanup_(report_receiver_freep) struct report_receiver *receiver = NULL;
    struct audit_report *report;
    int buffer = 64 << 20;

    if (setsockopt(pair->a, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) < 0)
        skip();
    assert_int_equal(report_receiver_new(100, &receiver), 0);
    send_report(pair, receiver, 2, WIRE_SNAPSHOTS_MAX + 1000, 1);
    assert_int_equal(drain(pair, receiver), 1);
    report = report_receiver_finish(receiver);
    assert_int_equal(report->layers[0].info.n_snapshots, WIRE_SNAPSHOTS_MAX);
    assert_int_equal(report->layers[0].snapshots_total, WIRE_SNAPSHOTS_MAX + 1000);
    assert_int_equal(report->layers[0].info.snapshot_count, WIRE_SNAPSHOTS_MAX + 1000);
    assert_int_equal(report->layers[1].info.n_snapshots, 0);
    assert_int_equal(report->layers[1].snapshots_total, WIRE_SNAPSHOTS_MAX + 1000);
    audit_report_free(report);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* xorshift64: the same numbers in every run */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* One record of which some bytes are others, or that is cut: it keeps to the rules, or is
 * refused. */
static void test_damaged_packets(void **state)
{
    struct pair *pair = *state;
    struct wire_question question = {.id = 1};
    uint64_t seed = UINT64_C(0x2545f4914f6cdd1d);
    unsigned refused = 0, taken = 0;

    for (unsigned round = 0; round < 20000; round++) {
        union wire_record packet, record;
        size_t n = wire_pack(WIRE_QUESTION, &question, "some name", "qcow2", &packet);
        int fd = -1, r;

        for (uint64_t k = next_random(&seed) % 3; k < 3; k++)
            packet.bytes[next_random(&seed) % (next_random(&seed) % 2 ? 8 : n)] = (char)next_random(
                &seed);
        if (next_random(&seed) % 8 == 0)
            n = next_random(&seed) % n + 1;
        assert_int_equal(send(pair->a, &packet, n, 0), n);
        r = wire_receive(pair->b, WIRE_WORKER, &record, &fd);
        assert_true(r == 1 || r == -EBADMSG);
        assert_int_equal(fd, -1);
        refused += r == -EBADMSG;
        for (unsigned i = 0; r == 1 && i < 2; i++) {
            const char *text = wire_text(&record, i);

            assert_true(!text || strlen(text) == record.header.text_length[i]);
        }
        taken += r == 1;
    }
    assert_true(refused > 1000);
    assert_true(taken > 1000);
}

/* A good report in which single bytes are not: each record is taken or refused, and nothing
 * worse. */
static void test_damaged_records(void **state)
{
    struct pair *pair = *state;
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
    unsigned refused = 0, complete = 0;

    for (unsigned round = 0; round < 3000; round++) {
        _cleanup_(report_receiver_freep) struct report_receiver *receiver = NULL;
        int r = 0;

        assert_int_equal(report_receiver_new(100, &receiver), 0);
        send_report(pair, NULL, round % 3, 2, 3);
        while (r == 0) {
            union wire_record record;
            int fd = -1;

            r = wire_receive(pair->b, WIRE_WORKER, &record, &fd);
            if (r == 1) {
                if (next_random(&seed) % 8 == 0) {
                    /* past the framing, so that the receiver itself is tried */
                    size_t offset = sizeof(struct wire_header) + next_random(&seed) % 200;

                    record.bytes[offset] = (char)next_random(&seed);
                }
                r = report_receiver_take(receiver, &record);
            }
            if (r == -EAGAIN)
                break;
            assert_true(r == 0 || r == 1 || r == -EBADMSG);
        }
        refused += r == -EBADMSG;
        complete += r == 1;
        /* what is left of this round */
        for (char rest[WIRE_RECORD_MAX]; recv(pair->b, rest, sizeof(rest), 0) >= 0;)
            ;
    }
    assert_true(refused > 100);
    assert_true(complete > 10);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip), TEST(test_long_texts), TEST(test_fds), TEST(test_several),
        TEST(test_end), TEST(test_report),
        TEST(test_digests), TEST(test_report_caps), TEST(test_damaged_packets),
        TEST(test_damaged_records),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
