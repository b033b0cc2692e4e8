/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the control interface: JSON to D-Bus and back loses nothing, and refuses what makes no
 * sense. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/control-json.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

static int setup(void **state)
{
    sd_bus *bus = NULL;
    int fds[2];

    /* Messages can only be made for a bus that was started: one end of a pair suffices. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    assert_true(sd_bus_new(&bus) >= 0);
    assert_true(sd_bus_set_fd(bus, fds[0], fds[0]) >= 0);
    assert_true(sd_bus_start(bus) >= 0);
    close(fds[1]);
    *state = bus;
    return 0;
}

static int teardown(void **state)
{
    sd_bus_unref(*state);
    return 0;
}

static sd_bus_message *message_new(void **state)
{
    sd_bus_message *message = NULL;

    assert_true(sd_bus_message_new_signal(*state, &message, "/o", "i.i", "M") >= 0);
    return message;
}

static void seal(sd_bus_message *message)
{
    assert_true(sd_bus_message_seal(message, 1, 0) >= 0);
    assert_true(sd_bus_message_rewind(message, 1) >= 0);
}

/* What an entry is after the way there and back. */
static json_object *round_trip(void **state, json_object *entry)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = message_new(state);
    json_object *back = NULL;

    assert_int_equal(control_append_entry(message, entry), 0);
    seal(message);
    assert_int_equal(control_read_entry(message, &back), 0);
    return back;
}

static void test_types(void **state)
{
    static const char text[] =
        "{\"path\":\"/a b\",\"name\":\"chain-deep\",\"zero\":0,\"big\":18446744073709551615,"
        "\"error\":-2,"
        "\"share\":0.5,\"yes\":true,\"no\":false,\"empty\":\"\","
        "\"list\":[1,\"two\",[],{\"path\":\"/c\"}],"
        "\"evidence\":{\"deep\":{\"er\":[{\"a\":1},{\"b\":\"\\n\"}]}}}";
    _cleanup_(json_object_putp) json_object *entry = json_tokener_parse(text), *back = NULL;

    assert_non_null(entry);
    back = round_trip(state, entry);
    assert_true(json_object_equal(entry, back));
    assert_true(json_object_get_uint64(json_object_object_get(back, "big")) == UINT64_MAX);
}

static void test_null_is_left_out(void **state)
{
    _cleanup_(json_object_putp)
        json_object *entry = json_tokener_parse("{\"a\":null,\"b\":[null,1]}"),
                    *back = NULL;

    back = round_trip(state, entry);
    assert_string_equal(json_object_to_json_string_ext(back, 0), "{\"b\":[1]}");
}

/* Raw bytes come through under any key, also where D-Bus strings could not hold them. */
static void test_bytes(void **state)
{
    static const char bytes[] = "/\xff\xfe\x01\x1b[31m\0nul";
    const int size = sizeof(bytes) - 1;
    static const char *const keys[] = { "path", "name", "whatever" };
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object(), *back = NULL;

    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        json_object_object_add(entry, keys[i], json_object_new_string_len(bytes, size));
    back = round_trip(state, entry);
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        json_object *value = json_object_object_get(back, keys[i]);

        assert_int_equal(json_object_get_string_len(value), size);
        assert_memory_equal(json_object_get_string(value), bytes, (size_t)size);
    }
}

static void test_signatures(void **state)
{
    _cleanup_(json_object_putp) json_object *entry =
        json_tokener_parse("{\"path\":\"/a\",\"state\":\"open\",\"size\":1,\"error\":-1}");
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = message_new(state);
    static const char *const expected[] = { "ay", "s", "t", "x" };

    assert_int_equal(control_append_entry(message, entry), 0);
    seal(message);
    assert_string_equal(sd_bus_message_get_signature(message, 1), "a{sv}");
    assert_true(sd_bus_message_enter_container(message, 'a', "{sv}") > 0);
    for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
        const char *key, *contents;
        char type;

        assert_true(sd_bus_message_enter_container(message, 'e', "sv") > 0);
        assert_true(sd_bus_message_read_basic(message, 's', &key) > 0);
        assert_true(sd_bus_message_peek_type(message, &type, &contents) > 0);
        assert_int_equal(type, 'v');
        assert_string_equal(contents, expected[i]);
        assert_true(sd_bus_message_skip(message, "v") > 0);
        assert_true(sd_bus_message_exit_container(message) > 0);
    }
}

static void test_rows(void **state)
{
    _cleanup_(json_object_putp)
        json_object *rows = json_tokener_parse("[{\"a\":1},{},{\"path\":\"/x\"}]"),
                    *back = NULL;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = message_new(state);

    assert_int_equal(control_append_rows(message, rows), 0);
    assert_true(sd_bus_message_append(message, "s", "next") >= 0);
    seal(message);
    assert_string_equal(sd_bus_message_get_signature(message, 1), "aa{sv}s");
    assert_int_equal(control_read_rows(message, &back), 0);
    assert_true(json_object_equal(rows, back));
}

static void test_refused(void **state)
{
    _cleanup_(json_object_putp) json_object *array = json_object_new_array(), *entry = NULL;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = message_new(state),
                                                    *deep = message_new(state);
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *odd = message_new(state);

    assert_int_equal(control_append_entry(message, array), -EINVAL);
    assert_int_equal(control_append_entry(message, NULL), -EINVAL);

    /* 20 variants within each other */
    assert_true(sd_bus_message_open_container(deep, 'a', "{sv}") >= 0);
    assert_true(sd_bus_message_open_container(deep, 'e', "sv") >= 0);
    assert_true(sd_bus_message_append_basic(deep, 's', "k") >= 0);
    for (int i = 0; i < 20; i++)
        assert_true(sd_bus_message_open_container(deep, 'v', i == 19 ? "s" : "v") >= 0);
    assert_true(sd_bus_message_append_basic(deep, 's', "end") >= 0);
    for (int i = 0; i < 22; i++)
        assert_true(sd_bus_message_close_container(deep) >= 0);
    seal(deep);
    assert_int_equal(control_read_entry(deep, &entry), -EBADMSG);
    assert_null(entry);

    /* a struct is nothing that an entry may hold */
    assert_true(sd_bus_message_append(odd, "a{sv}", 1, "k", "(si)", "text", 1) >= 0);
    seal(odd);
    assert_int_equal(control_read_entry(odd, &entry), -EBADMSG);
    assert_null(entry);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_null_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signatures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
