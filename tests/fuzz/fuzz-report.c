/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as a report from a database, and as rows of the control interface: refused, or the same
 * again after the way there and back. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/store/report.h"
#include "fuzz.h"
#include "helpers/control-json.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct audit_report *, audit_report_free)

/* What was understood is written, read and written once more: both times the same. */
static void report(const char *text, size_t size)
{
    _cleanup_(audit_report_freep) struct audit_report *first = NULL, *second = NULL;
    _cleanup_free_ char *once = NULL, *twice = NULL;

    if (store_report_decode(text, size, STORE_REPORT_VERSION, &first) < 0 ||
        store_report_encode(first, &once) < 0)
        return;
    if (store_report_decode(once, strlen(once), STORE_REPORT_VERSION, &second) < 0 ||
        store_report_encode(second, &twice) < 0 || strcmp(once, twice) != 0)
        abort();
}

/* Messages can only be made for a bus that was started: one end of a pair suffices. */
static int message_new(sd_bus_message **ret_message)
{
    _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
    int fds[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return -errno;
    close(fds[1]);
    r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_fd(bus, fds[0], fds[0]);
    if (r < 0) {
        close(fds[0]);
        return r;
    }
    r = sd_bus_start(bus);
    return r < 0 ? r : sd_bus_message_new_signal(bus, ret_message, "/o", "i.i", "M");
}

static int rows_there_and_back(json_object *rows, json_object **ret_rows)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    int r = message_new(&message);

    if (r >= 0)
        r = control_append_rows(message, rows);
    if (r >= 0)
        r = sd_bus_message_seal(message, 1, 0);
    if (r >= 0)
        r = sd_bus_message_rewind(message, 1);
    return r < 0 ? r : control_read_rows(message, ret_rows);
}

static void rows(const char *text, size_t size)
{
    _cleanup_(json_object_putp) json_object *object = NULL, *once = NULL, *twice = NULL;

    if (json_text_parse(text, size, &object) < 0 || rows_there_and_back(object, &once) < 0)
        return;
    /* Members that are null are gone after the first time. */
    if (rows_there_and_back(once, &twice) < 0 || !json_object_equal(once, twice))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > FUZZ_INPUT_MAX)
        return 0;
    report((const char *)data, size);
    if (data[0] == '[')
        rows((const char *)data, size);
    return 0;
}
