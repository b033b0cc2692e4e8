/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ack, pause, release, resume, reload, monitor: what changes the daemon's course, and following
 * what it finds. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/facts.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/control-json.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

/* A call without an answer; takes what the arguments' appending returned. */
static int call_plain(struct ctl *ctl, sd_bus_message *call, int r)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

    return r < 0 ? complain(r, "Cannot call qcauditd") : client_call(ctl, call, NULL, &reply);
}

int end_time(const struct ctl *ctl, uint64_t without, uint64_t *ret_until)
{
    uint64_t now = usec_now(CLOCK_REALTIME);

    if (ctl->until > 0 && ctl->duration > 0)
        return complain(0, "--for and --until mean the same: give one."), -EINVAL;
    if (ctl->until > 0 && ctl->until <= now)
        return complain(0, "--until is over already."), -EINVAL;
    if (__builtin_add_overflow(now, ctl->duration, &now))
        return complain(0, "--for is too long."), -EINVAL;
    *ret_until = ctl->until > 0 ? ctl->until : ctl->duration > 0 ? now : without;
    return 0;
}

int need_reason(const struct ctl *ctl)
{
    if (ctl->reason && *ctl->reason)
        return 0;
    complain(0, "Say why: --reason=TEXT. Whoever looks next at 3 a.m. will want to know.");
    return -EINVAL;
}

int id_argument(const struct ctl *ctl, const char *text, const char *of, const char *listed_by,
                int64_t *ret_number)
{
    _cleanup_free_ char *shown = text_escape_string(text);
    long long number;
    char *end;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno != 0 || *end || !*text || number <= 0) {
        complain(0, "'%s' is no number of a %s: see '%s %s'.", shown ? shown : "", of,
                 output_tool(&ctl->output), listed_by);
        return -EINVAL;
    }
    *ret_number = number;
    return 0;
}

int verb_ack(struct ctl *ctl, int argc, char **argv)
{
    uint64_t until;
    int r = end_time(ctl, 0, &until);

    if (r >= 0)
        r = need_reason(ctl);
    for (int i = 0; r >= 0 && i < argc; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int64_t id;

        r = id_argument(ctl, argv[i], "finding", "findings", &id);
        if (r >= 0)
            r = client_call_new(ctl, "Acknowledge", &call);
        if (r >= 0)
            r = call_plain(ctl, call, sd_bus_message_append(call, "xst", id, ctl->reason, until));
    }
    return r;
}

static int hold(struct ctl *ctl, const char *method, const char *word, int argc, char **argv)
{
    uint64_t until;
    char when[WHEN_MAX];
    int r = end_time(ctl, UINT64_MAX, &until);

    for (int i = 0; r >= 0 && i < argc; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_free_ char *shown = text_escape_string(argv[i]);

        r = client_call_new(ctl, method, &call);
        if (r >= 0)
            r = call_plain(ctl, call, sd_bus_message_append(call, "st", argv[i], until));
        if (r >= 0 && ctl->output.legend && ctl->output.json == JSON_OFF)
            (void)printf("%s is %s until %s%s.\n", shown, word,
                         until == UINT64_MAX ? output_tool(&ctl->output) : "",
                         until == UINT64_MAX ? " resume" : when_text(until, when));
    }
    return r;
}

int verb_pause(struct ctl *ctl, int argc, char **argv)
{
    return hold(ctl, "Pause", "paused", argc, argv);
}

int verb_release(struct ctl *ctl, int argc, char **argv)
{
    return hold(ctl, "Release", "released", argc, argv);
}

int verb_resume(struct ctl *ctl, int argc, char **argv)
{
    int r = 0;

    for (int i = 0; r >= 0 && i < argc; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;

        r = client_call_new(ctl, "Resume", &call);
        if (r >= 0)
            r = call_plain(ctl, call, sd_bus_message_append(call, "s", argv[i]));
    }
    return r;
}

int verb_reload(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = client_call_new(ctl, "Reload", &call);

    return r < 0 ? r : call_plain(ctl, call, 0);
}

/* ---- monitor ------------------------------------------------------------------------------ */

static int print_change(struct ctl *ctl, json_object *finding, const char *event)
{
    _cleanup_free_ char *name = row_text(finding, "name"), *subject = fact_subject(finding, "");
    _cleanup_free_ char *id = row_text(finding, "id"), *what = text_escape_string(event);
    const char *severity = row_raw(finding, "severity");
    char when[WHEN_MAX];

    if (ctl->output.json != JSON_OFF) {
        if (filter_add(finding, "event", event) < 0)
            return -ENOMEM;
        return output_json(&ctl->output, finding);
    }
    (void)printf("%s %s%s%s %s: %s: %s (%s)\n", when_text(usec_now(CLOCK_REALTIME), when),
                 output_colour(&ctl->output, severity_colour(severity)), severity ? severity : "-",
                 output_colour(&ctl->output, COLOUR_OFF), what, name, subject, id);
    return 0;
}

static int on_change(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct ctl *ctl = userdata;
    _cleanup_(json_object_putp) json_object *finding = NULL;
    const char *event;
    int r = control_read_entry(message, &finding);

    if (r >= 0)
        r = sd_bus_message_read(message, "s", &event);
    if (r >= 0)
        r = print_change(ctl, finding, event);
    if (r < 0)
        return complain(r, "qcauditd told something that makes no sense");
    /* A reader at the other end of a pipe wants the text now, and may be gone. */
    return fflush(stdout) == 0 ? 0 : -errno;
}

int verb_monitor(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = client_call_new(ctl, "Subscribe", &call);

    if (r < 0)
        return r;
    r = sd_bus_match_signal(ctl->bus, NULL, NULL, CONTROL_OBJECT_PATH, CONTROL_INTERFACE,
                            "FindingChanged", on_change, ctl);
    r = call_plain(ctl, call, r);
    while (r >= 0) {
        r = sd_bus_process(ctl->bus, NULL);
        if (r == 0)
            r = sd_bus_wait(ctl->bus, UINT64_MAX);
        if (r == -EINTR)
            r = 0;
    }
    if (r == -EPIPE && ferror(stdout))
        return 0;
    if (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE)
        return complain(
                   0,
                   "qcauditd closed the connection: it stopped, or this monitor could not follow."),
               r;
    return r;
}
