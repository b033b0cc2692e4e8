/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sends one test alert through each channel, and says what arrived. */
#include "daemon/tell/alert-test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/core/log.h"
#include "daemon/tell/alert-channel.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct alert_test *, alert_test_free)
DEFINE_CLEANUP(struct delivery *, delivery_free)

struct alert_test {
    struct alert_channel *channel;      /* of its own: not behind alerts that wait */
    json_object *rows;
    unsigned pending;           /* answers that are still to come */
    int error;
    sd_event_source *finish;
    void (*done)(void *userdata, int error, json_object *rows);     /* NULL: was called */
    void *userdata;
};

static int on_finish(sd_event_source *source, void *userdata)
{
    struct alert_test *test = userdata;
    void (*done)(void *userdata, int error, json_object *rows) = test->done;

    test->done = NULL;
    done(test->userdata, test->error, test->error < 0 ? NULL : TAKE_PTR(test->rows));
    return 0;
}

/* detail: safe to print. */
static void add_row(struct alert_test *test, enum alert_target target, bool configured,
                    bool delivered, const char *detail)
{
    json_object *row = json_object_new_object();

    if (!row || json_object_array_add(test->rows, row) < 0) {
        json_object_put(row);
        test->error = -ENOMEM;
        return;
    }
    if (json_add_text(row, "channel", alert_target_name(target)) < 0 ||
        json_add(row, "configured", json_object_new_boolean(configured)) < 0 ||
        json_add(row, "delivered", json_object_new_boolean(delivered)) < 0 ||
        json_add_text(row, "detail", detail) < 0)
        test->error = -ENOMEM;
}

static void answered(struct alert_test *test)
{
    if (--test->pending > 0)
        return;
    /* cannot fail for an existing source */
    (void)sd_event_source_set_enabled(test->finish, SD_EVENT_ONESHOT);
}

static void on_exec(void *userdata, int error, const char *said)
{
    struct alert_test *test = userdata;
    char text[512];

    if (error >= 0)
        snprintf(text, sizeof(text), "the program ended with status 0%s%.400s",
                 *said ? ": " : "", said);
    add_row(test, ALERT_EXEC, true, error >= 0, error < 0 ? said : text);
    answered(test);
}

static const char *target_detail(enum alert_target target, bool found)
{
    switch (target) {
    case ALERT_JOURNAL:
        return found ? "read back from the journal"
                     : "sent to the journal, but not found when it was read back";
    case ALERT_SYSLOG:
        return "handed to the syslog daemon";
    default:
        return "printed to standard error of qcauditd";
    }
}

static void on_delivery(void *userdata, struct delivery *delivery)
{
    struct alert_test *test = userdata;
    enum alert_target target = 0;

    while (!delivery->wanted[target])
        target++;
    if (delivery->errors[target] < 0)
        add_row(test, target, true, false, strerror(-delivery->errors[target]));
    else
        add_row(test, target, true, target != ALERT_JOURNAL || delivery->found,
                target_detail(target, delivery->found));
    delivery_free(delivery);
    answered(test);
}

static int send_one(struct alert_test *test, enum alert_target target)
{
    _cleanup_(delivery_freep) struct delivery *delivery = calloc(1, sizeof(*delivery));
    char event_id[SD_ID128_STRING_MAX], message_id[SD_ID128_STRING_MAX], priority[4];
    int r;

    if (!delivery)
        return -ENOMEM;
    r = sd_id128_randomize(&delivery->event_id);
    if (r < 0)
        return r;
    delivery->wanted[target] = true;
    delivery->look_up_after = target == ALERT_JOURNAL;
    delivery->priority = LOG_NOTICE;
    sd_id128_to_string(delivery->event_id, event_id);
    snprintf(priority, sizeof(priority), "%d", LOG_NOTICE);
    if (asprintf(&delivery->text, ALERT_TEST_MESSAGE " [event %s]", event_id) < 0) {
        delivery->text = NULL;
        return -ENOMEM;
    }
    if ((r = delivery_add_text(delivery, "MESSAGE", ALERT_TEST_MESSAGE)) < 0 ||
        (r = delivery_add_text(delivery, "MESSAGE_ID",
                       sd_id128_to_string(ALERT_TEST_MESSAGE_ID, message_id))) < 0 ||
        (r = delivery_add_text(delivery, "PRIORITY", priority)) < 0 ||
        (r = delivery_add_text(delivery, "SYSLOG_IDENTIFIER", "qcauditd")) < 0 ||
        (r = delivery_add_text(delivery, "QCAUDIT_EVENT", "test")) < 0 ||
        (r = delivery_add_text(delivery, "QCAUDIT_EVENT_ID", event_id)) < 0)
        return r;
    test->pending++;
    alert_channel_send(test->channel, TAKE_PTR(delivery));
    return 0;
}

static int start(struct alert_test *test, enum alert_target target, bool wanted,
                 struct alert_exec *exec)
{
    int r;

    if (!wanted) {
        add_row(test, target, false, false, "not configured");
        return test->error;
    }
    if (target != ALERT_EXEC)
        return send_one(test, target);
    r = alert_exec_test(exec, on_exec, test);
    if (r < 0)
        return r;
    test->pending++;
    return 0;
}

static int start_all(struct alert_test *test, const struct alert_test_options *options,
                     struct alert_exec *exec)
{
    bool known = false;
    int r = 0;

    for (enum alert_target target = 0; r >= 0 && target < _ALERT_TARGET_MAX; target++) {
        bool wanted = target == ALERT_EXEC ? alert_exec_is_wanted(exec) : options->wanted[target];
        bool named = options->channel && strcmp(options->channel, alert_target_name(target)) == 0;

        known |= named;
        if (named || (!options->channel && wanted))
            r = start(test, target, wanted, exec);
    }
    return r < 0 ? r : options->channel && !known ? -EINVAL : 0;
}

int alert_test_new(sd_event *event, const struct alert_test_options *options,
                   struct alert_exec *exec,
                   void (*done)(void *userdata, int error, json_object *rows), void *userdata,
                   struct alert_test **ret_test)
{
    _cleanup_(alert_test_freep) struct alert_test *test = calloc(1, sizeof(*test));
    int r;

    if (!test)
        return -ENOMEM;
    test->rows = json_object_new_array();
    if (!test->rows)
        return -ENOMEM;
    test->pending = 1;          /* this function */
    r = sd_event_add_defer(event, &test->finish, on_finish, test);
    if (r >= 0)
        r = sd_event_source_set_enabled(test->finish, SD_EVENT_OFF);
    if (r >= 0)
        r = alert_channel_new(event, on_delivery, test, &test->channel);
    if (r >= 0)
        r = start_all(test, options, exec);
    if (r < 0)
        return r;
    test->done = done;
    test->userdata = userdata;
    answered(test);
    *ret_test = TAKE_PTR(test);
    return 0;
}

bool alert_test_is_over(const struct alert_test *test)
{
    return !test || !test->done;
}

struct alert_test *alert_test_free(struct alert_test *test)
{
    if (!test)
        return NULL;
    if (test->done)
        test->done(test->userdata, -ECANCELED, NULL);
    alert_channel_free(test->channel);
    sd_event_source_disable_unref(test->finish);
    json_object_put(test->rows);
    free(test);
    return NULL;
}
