/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands between a peer of the control socket and sd-bus: what comes through, and when. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/control/gate.h"

#define MESSAGE_MAX 20000
#define AUTH "\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"
#define AUTH_LENGTH (sizeof(AUTH) - 1)

struct fixture {
    sd_event *event;
    struct message_gate *gate;
    int peer, ours, bus;        /* the client's end, the daemon's, and what sd-bus would read */
    const char *broken;
    char got[4 * MESSAGE_MAX];
    size_t n_got;
};

static void on_broken(void *userdata, const char *reason)
{
    struct fixture *f = userdata;

    assert_null(f->broken);
    f->broken = reason;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct gate_options options = { .message_max = MESSAGE_MAX, .deadline = 50000,
                                    .broken = on_broken, .userdata = f };
    int fds[2];

    assert_non_null(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    f->peer = fds[0];
    f->ours = fds[1];
    assert_int_equal(sd_event_new(&f->event), 0);
    assert_int_equal(gate_new(f->event, f->ours, &options, &f->bus, &f->gate), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    gate_free(f->gate);
    sd_event_unref(f->event);
    if (f->peer >= 0)
        close(f->peer);
    close(f->ours);
    close(f->bus);
    free(f);
    return 0;
}

/* Runs what is due, and reads what came through. */
static void run(struct fixture *f)
{
    ssize_t n;

    do {
        while (sd_event_run(f->event, 0) > 0)
            ;
        n = read(f->bus, f->got + f->n_got, sizeof(f->got) - f->n_got);
        f->n_got += n > 0 ? (size_t)n : 0;
    } while (n > 0);
}

static void put(struct fixture *f, const void *data, size_t size)
{
    assert_int_equal(send(f->peer, data, size, MSG_NOSIGNAL), size);
}

/* A message of so many bytes, its fields taking 21 and what fills up to 24. */
static void message(uint8_t *p, size_t size, bool big, char fill)
{
    uint32_t body = (uint32_t)(size - 16 - 24);

    memset(p, fill, size);
    p[0] = big ? 'B' : 'l';
    for (int i = 0; i < 4; i++) {
        p[4 + i] = (uint8_t)(body >> (big ? 24 - 8 * i : 8 * i));
        p[12 + i] = (uint8_t)(21u >> (big ? 24 - 8 * i : 8 * i));
    }
}

static void authenticate(struct fixture *f)
{
    put(f, AUTH, AUTH_LENGTH);
    run(f);
    assert_int_equal(f->n_got, AUTH_LENGTH);
    f->n_got = 0;
    gate_taken(f->gate);
    run(f);
}

static void test_lines_come_as_they_are_complete(void **state)
{
    struct fixture *f = *state;

    put(f, AUTH, 10);
    run(f);
    assert_int_equal(f->n_got, 0);
    put(f, &AUTH[10], 12);      /* one line, and a part of the next */
    run(f);
    assert_int_equal(f->n_got, 19);
    put(f, &AUTH[22], AUTH_LENGTH - 22);
    run(f);
    assert_memory_equal(f->got, AUTH, AUTH_LENGTH);
}

static void test_one_message_at_a_time(void **state)
{
    struct fixture *f = *state;
    uint8_t messages[3][1000];

    for (int i = 0; i < 3; i++)
        message(messages[i], 1000, i == 1, (char)('a' + i));
    put(f, AUTH, AUTH_LENGTH);
    put(f, messages, sizeof(messages));
    run(f);
    /* sd-bus ends the authentication before a message comes. */
    assert_int_equal(f->n_got, AUTH_LENGTH);
    gate_taken(f->gate);
    run(f);
    assert_int_equal(f->n_got, AUTH_LENGTH + 1000);
    gate_taken(f->gate);
    run(f);
    assert_int_equal(f->n_got, AUTH_LENGTH + 2000);
    /* Whoever takes it may want to answer before the next. */
    gate_taken(f->gate);
    gate_hold(f->gate, true);
    run(f);
    assert_int_equal(f->n_got, AUTH_LENGTH + 2000);
    gate_hold(f->gate, false);
    run(f);
    assert_int_equal(f->n_got, AUTH_LENGTH + 3000);
    assert_memory_equal(f->got + AUTH_LENGTH, messages, sizeof(messages));
    assert_null(f->broken);
}

static void test_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[300];

    message(bytes, sizeof(bytes), false, 'x');
    authenticate(f);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        assert_int_equal(f->n_got, 0);
        put(f, bytes + i, 1);
        run(f);
    }
    assert_int_equal(f->n_got, sizeof(bytes));
    assert_memory_equal(f->got, bytes, sizeof(bytes));
}

static void test_longest(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[MESSAGE_MAX];

    message(bytes, sizeof(bytes), true, 'x');
    authenticate(f);
    put(f, bytes, sizeof(bytes));
    run(f);
    assert_int_equal(f->n_got, sizeof(bytes));
    assert_memory_equal(f->got, bytes, sizeof(bytes));
    assert_null(f->broken);
}

/* By its header: none of it is kept, whether it comes or not. */
static void test_too_long(void **state)
{
    static const uint32_t lengths[] = { MESSAGE_MAX + 1, 127u << 20, UINT32_MAX };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        uint8_t header[16] = { 'l', 1, 0, 1 };

        for (int k = 0; k < 4; k++)
            header[(i ? 4 : 12) + k] = (uint8_t)(lengths[i] >> (8 * k));
        authenticate(f);
        put(f, header, sizeof(header));
        run(f);
        assert_string_equal(f->broken, "its message is too long");
        assert_int_equal(f->n_got, 0);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
        f = *state;
    }
}

static void test_endless_authentication(void **state)
{
    struct fixture *f = *state;
    char line[1000];

    memset(line, 'x', sizeof(line));
    memcpy(line + sizeof(line) - 2, "\r\n", 2);
    for (int i = 0; i < 4; i++)
        put(f, line, sizeof(line));
    put(f, line, 500);
    run(f);
    assert_non_null(f->broken);
    assert_true(f->n_got <= 4096);
}

static void test_no_end(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[300];

    message(bytes, sizeof(bytes), false, 'x');
    authenticate(f);
    put(f, bytes, sizeof(bytes) - 1);
    while (!f->broken)
        assert_true(sd_event_run(f->event, 20000000) > 0);
    assert_string_equal(f->broken, "its message does not come to its end");
    put(f, bytes, 1);           /* too late */
    run(f);
    assert_int_equal(f->n_got, 0);
}

static void test_peer_closes(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[300];

    message(bytes, sizeof(bytes), false, 'x');
    authenticate(f);
    put(f, bytes, sizeof(bytes));
    put(f, bytes, 20);
    close(f->peer);
    f->peer = -1;
    run(f);
    assert_int_equal(f->n_got, sizeof(bytes));
    gate_taken(f->gate);
    while (sd_event_run(f->event, 0) > 0)
        ;
    assert_int_equal(read(f->bus, bytes, 1), 0);        /* sd-bus sees the end */
    assert_null(f->broken);
}

/* Also while an answer is waited for: nothing else would tell. */
static void test_peer_closes_meanwhile(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[300];

    message(bytes, sizeof(bytes), false, 'x');
    authenticate(f);
    put(f, bytes, sizeof(bytes));
    run(f);
    gate_taken(f->gate);
    gate_hold(f->gate, true);
    run(f);
    assert_int_equal(read(f->bus, bytes, 1), -1);
    assert_int_equal(errno, EAGAIN);
    close(f->peer);
    f->peer = -1;
    run(f);
    assert_int_equal(read(f->bus, bytes, 1), 0);
}

static void test_no_descriptor_comes_through(void **state)
{
    struct fixture *f = *state;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                              .cmsg_len = CMSG_LEN(sizeof(int)) } };
    uint8_t bytes[300];
    struct iovec iov = { bytes, sizeof(bytes) };
    struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof(control) };
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    memcpy(CMSG_DATA(&control.header), &fds[1], sizeof(int));
    message(bytes, sizeof(bytes), false, 'x');
    authenticate(f);
    assert_int_equal(sendmsg(f->peer, &header, MSG_NOSIGNAL), sizeof(bytes));
    close(fds[1]);
    while (sd_event_run(f->event, 0) > 0)
        ;
    /* Nobody holds it: neither the gate nor what waits for sd-bus. */
    assert_int_equal(read(fds[0], bytes, 1), 0);
    close(fds[0]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_lines_come_as_they_are_complete), T(test_one_message_at_a_time),
        T(test_byte_by_byte), T(test_longest), T(test_too_long), T(test_endless_authentication),
        T(test_no_end), T(test_peer_closes), T(test_peer_closes_meanwhile),
        T(test_no_descriptor_comes_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
