/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Has the program of alerts.exec told: keeps the queue of what it is told, and hands over one
 * message after the other. */
#include "daemon/tell/alert-exec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/tell/exec-message.h"
#include "daemon/tell/exec-queue.h"
#include "daemon/tell/notify.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

struct alert_exec {
    sd_event *event;
    struct exec_queue *queue;
    struct exec_channel *channel;
    sd_event_source *timer;     /* looks what may be told now */
    char *program;              /* alerts.exec; NULL: none. qcaudit-notify reads it by itself */

    int error;                  /* of the last message */
    struct alert_counts counts;
    char *said;
    exec_done_fn test;          /* who waits for a test's answer */
    void *test_userdata;
    bool testing;               /* the message under way is that test */
};

static struct exec_time time_now(void)
{
    return (struct exec_time){ .now = usec_now(CLOCK_BOOTTIME),
                               .of_day = usec_now(CLOCK_REALTIME) };
}

/* In the loop, since what is told may call back. */
static void look_at(struct alert_exec *exec, uint64_t at)
{
    /* cannot fail for an existing source */
    (void)sd_event_source_set_time(exec->timer, at);
    (void)sd_event_source_set_enabled(exec->timer,
                                      at == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static void look_soon(struct alert_exec *exec)
{
    look_at(exec, 0);
}

/* There is no program any more. */
static void drop_all(struct alert_exec *exec)
{
    exec_queue_drop(exec->queue);
    exec->error = 0;
}

static void message_failed(struct alert_exec *exec, int error)
{
    char wait[TEXT_DURATION_MAX];
    uint64_t retry = exec_queue_failed(exec->queue, error, usec_now(CLOCK_BOOTTIME));

    log_warning(error, "The program of alerts.exec did not take an alert: %s. It is tried again in "
                "%s", alert_exec_said(exec), text_duration(retry, wait));
}

static void on_done(void *userdata, int error, const char *said)
{
    struct alert_exec *exec = userdata;
    exec_done_fn test = exec->testing ? exec->test : NULL;

    exec->error = error;
    free(exec->said);
    exec->said = strdup(said);          /* NULL: alert_exec_said() says nothing */
    if (test) {
        exec->testing = false;
        exec->test = NULL;
        if (error >= 0)
            exec_queue_retry(exec->queue);
        test(exec->test_userdata, error, alert_exec_said(exec));
    } else if (error < 0) {
        exec->counts.failed++;
        message_failed(exec, error);
    } else {
        exec->counts.sent++;
        exec_queue_delivered(exec->queue, usec_now(CLOCK_BOOTTIME));
    }
    if (!exec->program)         /* it was taken out of the configuration meanwhile */
        drop_all(exec);
    look_soon(exec);
}

static void send_test(struct alert_exec *exec)
{
    _cleanup_(json_object_putp) json_object *message = NULL;
    exec_done_fn test = exec->test;
    int r = exec_message_test(&message);

    if (r >= 0)
        r = exec_channel_send(exec->channel, message, on_done, exec);
    exec->testing = r >= 0;
    if (r >= 0)
        return;
    exec->test = NULL;
    test(exec->test_userdata, r, strerror(-r));
}

static void send_message(struct alert_exec *exec, const struct exec_time *time)
{
    _cleanup_(json_object_putp) json_object *message = NULL;
    int r = exec_queue_take(exec->queue, time, &message);

    if (r >= 0)
        r = exec_channel_send(exec->channel, message, on_done, exec);
    if (r >= 0)
        return;
    log_error(r, "Cannot send an alert to the program of alerts.exec: %m");
    look_at(exec, time->now + exec_queue_failed(exec->queue, r, time->now));
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct alert_exec *exec = userdata;
    struct exec_time time = time_now();
    uint64_t next;

    if (exec_channel_is_busy(exec->channel))
        return 0;
    if (exec->test) {
        send_test(exec);
        return 0;
    }
    next = exec_queue_next(exec->queue, &time);
    if (next > time.now)
        look_at(exec, next);
    else
        send_message(exec, &time);
    return 0;
}

int alert_exec_event(struct alert_exec *exec, struct event *event)
{
    look_soon(exec);
    return exec_queue_put(exec->queue, event, usec_now(CLOCK_BOOTTIME));
}

int alert_exec_note(struct alert_exec *exec, const struct event *event)
{
    return exec_queue_note(exec->queue, event);
}

int alert_exec_test(struct alert_exec *exec, exec_done_fn done, void *userdata)
{
    if (!exec->program)
        return -ENOTCONN;
    if (exec->test)
        return -EBUSY;
    exec->test = done;
    exec->test_userdata = userdata;
    look_soon(exec);
    return 0;
}

void alert_exec_first_pass(struct alert_exec *exec, bool under_way)
{
    exec_queue_first_pass(exec->queue, under_way);
    look_soon(exec);
}

int alert_exec_error(const struct alert_exec *exec)
{
    return exec->error;
}

struct alert_counts alert_exec_counts(const struct alert_exec *exec)
{
    return exec->counts;
}

const char *alert_exec_said(const struct alert_exec *exec)
{
    return exec->said ? exec->said : "";
}

bool alert_exec_is_wanted(const struct alert_exec *exec)
{
    return exec->program;
}

int alert_exec_set_config(struct alert_exec *exec, const struct config *config)
{
    char *program = config->alert_exec ? strdup(config->alert_exec) : NULL;

    if (config->alert_exec && !program)
        return -ENOMEM;
    exec_queue_set_quiet_hours(exec->queue, config->alert_quiet_hours);
    if (!text_equal(program, exec->program)) {
        exec_queue_retry(exec->queue);
        exec->error = 0;
    }
    free(exec->program);
    exec->program = program;
    if (!program)
        drop_all(exec);
    look_soon(exec);
    return 0;
}

struct alert_exec *alert_exec_free(struct alert_exec *exec)
{
    if (!exec)
        return NULL;
    exec_channel_free(exec->channel);
    exec_queue_free(exec->queue);
    sd_event_source_disable_unref(exec->timer);
    sd_event_unref(exec->event);
    free(exec->program);
    free(exec->said);
    free(exec);
    return NULL;
}

int alert_exec_new(sd_event *event, const char *runtime_directory, alert_told_fn told,
                   void *userdata, struct alert_exec **ret_exec)
{
    _cleanup_free_ char *path = NULL;
    struct alert_exec *exec;
    int r;

    if (asprintf(&path, "%s/" NOTIFY_SOCKET_NAME, runtime_directory) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    exec = calloc(1, sizeof(*exec));
    if (!exec)
        return -ENOMEM;
    exec->event = sd_event_ref(event);
    r = sd_event_add_time(event, &exec->timer, CLOCK_BOOTTIME, UINT64_MAX, USEC_PER_SEC / 10,
                          on_timer, exec);
    if (r >= 0)
        r = sd_event_source_set_enabled(exec->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = exec_channel_new(event, path, &exec->channel);
    if (r >= 0)
        r = exec_queue_new(told, userdata, &exec->queue);
    if (r < 0) {
        alert_exec_free(exec);
        return r;
    }
    *ret_exec = exec;
    return 0;
}
