/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* scan: makes the daemon audit now, and waits for the result. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/facts.h"
#include "ctl/resolve.h"
#include "ctl/source.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

#define POLL_MSEC 100

static int append_path(struct ctl *ctl, sd_bus_message *call, const char *argument)
{
    _cleanup_free_ char *path = NULL, *real = NULL;
    int r;

    /* A path that exists is meant as it is; any other is the end of a known path. */
    r = ctl->host ? (argument[0] == '/' ? 0 : -ENOENT) : resolve_path(argument, &real);
    if (r == -ETIMEDOUT)
        return r;
    if (r >= 0)
        path = source_absolute(ctl, argument);
    else {
        r = source_find_image(ctl, argument, false, &path);
        if (r < 0)
            return r;
    }
    if (!path)
        return complain(-ENOMEM, "Cannot scan");
    r = sd_bus_message_append_array(call, 'y', path, strlen(path));
    return r < 0 ? complain(r, "Cannot call qcauditd") : 0;
}

static int scan_start(struct ctl *ctl, int argc, char **argv, uint64_t *ret_ticket)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
    int r = client_call_new(ctl, ctl->scrub ? "Scrub" : "Scan", &call);

    if (r < 0)
        return r;
    r = sd_bus_message_open_container(call, 'a', "ay");
    if (r < 0)
        return complain(r, "Cannot call qcauditd");
    for (int i = 0; i < argc; i++) {
        r = append_path(ctl, call, argv[i]);
        if (r < 0)
            return r;
    }
    r = sd_bus_message_close_container(call);
    if (r < 0)
        return complain(r, "Cannot call qcauditd");
    r = client_call(ctl, call, NULL, &reply);
    if (r < 0)
        return r;
    r = sd_bus_message_read(reply, "t", ret_ticket);
    return r < 0 ? complain(r, "qcauditd gave an answer that makes no sense") : 0;
}

static int scan_state(struct ctl *ctl, uint64_t ticket, json_object **ret_state)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = client_call_new(ctl, "GetScan", &call);

    if (r < 0)
        return r;
    r = sd_bus_message_append(call, "t", ticket);
    return r < 0 ? complain(r, "Cannot call qcauditd")
                 : client_call_json(ctl, call, NULL, false, ret_state);
}

/* "\r 42% (17 of 40 images) /srv/images/web.qcow2": on stderr, one line. */
static void print_progress(const struct ctl *ctl, json_object *state)
{
    uint64_t total = row_number(state, "images-total"), done = row_number(state, "images-done");
    _cleanup_free_ char *current = row_has(state, "current")
                                       ? row_text(state, "current") : strdup("");
    _cleanup_free_ char *shown = NULL;
    struct winsize size;
    char line[80];
    int n = snprintf(line, sizeof(line), "%3" PRIu64 "%% (%" PRIu64 " of %" PRIu64 " image%s) ",
                     total > 0 ? (done < total ? done * 100 / total : 100) : 0, done, total,
                     total == 1 ? "" : "s");
    unsigned width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) >= 0 && size.ws_col >= 20
                         ? size.ws_col : 80;

    if (current && n > 0 && (unsigned)n + 1 < width)
        shown = text_shorten(&ctl->output, current, width - (unsigned)n - 1);
    (void)fprintf(stderr, "\r%s%s\033[K", line, shown ? shown : "");
}

/* "\r 17 % of golden.qcow2, 1.2G/s, 3min left": of the first of them. */
static bool print_scrub(const struct ctl *ctl, json_object *state)
{
    json_object *scrubs = row_member(state, "scrubs");
    json_object *row = scrubs && json_object_array_length(scrubs) > 0
                           ? json_object_array_get_idx(scrubs, 0)
                           : NULL;
    _cleanup_free_ char *path = row ? row_text(row, "path") : NULL,
                        *words = row ? fact_scrub(row) : NULL;
    _cleanup_free_ char *shown = NULL;
    struct winsize size;
    unsigned width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) >= 0 && size.ws_col >= 20
                         ? size.ws_col : 80;

    if (!path || !words)
        return false;
    if (strlen(words) + 8 < width)
        shown = text_shorten(&ctl->output, path, width - (unsigned)strlen(words) - 3);
    (void)fprintf(stderr, "\r%s: %s\033[K", shown ? shown : "", words);
    return true;
}

static void clear_progress(bool shown)
{
    if (shown)
        (void)fputs("\r\033[K", stderr);
}

/* -EINTR when stop_fd, unless it is -1, gets readable. */
static int wait_done(struct ctl *ctl, uint64_t ticket, int stop_fd, json_object **ret_state)
{
    struct pollfd stop = { .fd = stop_fd, .events = POLLIN };
    const char *term = getenv("TERM");
    bool progress = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0, shown = false;

    for (;;) {
        json_object *state = NULL;
        int r = scan_state(ctl, ticket, &state);

        if (r < 0 || row_bool(state, "done")) {
            clear_progress(shown);
            if (r >= 0)
                *ret_state = state;
            return r;
        }
        if (progress)
            shown = print_scrub(ctl, state) || (print_progress(ctl, state), true);
        json_object_put(state);
        if (poll(&stop, 1, POLL_MSEC) > 0) {
            clear_progress(shown);
            return -EINTR;
        }
    }
}

int scan_all(struct ctl *ctl, int stop_fd)
{
    _cleanup_(json_object_putp) json_object *state = NULL;
    uint64_t ticket = 0;
    int r = scan_start(ctl, 0, NULL, &ticket);

    return r < 0 ? r : wait_done(ctl, ticket, stop_fd, &state);
}

static int count_severity(json_object *counts, const char *severity)
{
    if (!severity)
        return 0;
    return json_add(counts, severity,
                                  json_object_new_uint64(row_number(counts, severity) + 1)) < 0
               ? -ENOMEM
               : 0;
}

/* Counts the open findings, and those that opened or got worse since the scan began. */
static int count_findings(struct ctl *ctl, uint64_t since, json_object *open, json_object *opened)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    int r = filter ? filter_add(filter, "state", "open") : -ENOMEM;

    if (r < 0)
        return complain(r, "Cannot count the findings");
    r = source_findings(ctl, filter, &rows);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        if (row_has(row, "muted-by"))
            continue;
        r = count_severity(open, row_raw(row, "severity"));
        if (r >= 0 && row_number(row, "changed") >= since)
            r = count_severity(opened, row_raw(row, "severity"));
        if (r < 0)
            return complain(r, "Cannot count the findings");
    }
    return r;
}

static int summarize(struct ctl *ctl, json_object *state, uint64_t since)
{
    _cleanup_(json_object_putp) json_object *open = json_object_new_object(),
                                            *opened = json_object_new_object();
    uint64_t n_open = 0, n_opened = 0;
    char took[TEXT_DURATION_MAX];
    bool bad;
    int r = open && opened ? count_findings(ctl, since, open, opened)
                           : complain(-ENOMEM, "Cannot count the findings");

    if (r < 0)
        return r;
    bad = row_number(opened, "critical") > 0 || row_number(opened, "error") > 0;
    if (ctl->output.json != JSON_OFF) {
        if (json_add(state, "open", json_object_get(open)) < 0 ||
            json_add(state, "opened", json_object_get(opened)) < 0)
            return complain(-ENOMEM, "Cannot show the result");
        r = output_json(&ctl->output, state);
    } else {
        _cleanup_free_ char *open_text = fact_severities(&ctl->output, open, &n_open);
        _cleanup_free_ char *opened_text = fact_severities(&ctl->output, opened, &n_opened);

        uint64_t n_audited = row_number(state, "images-done");

        if (n_audited == 0)
            (void)printf("Scan complete: nothing is new or changed.");
        else
            (void)printf("Scan complete: %" PRIu64 " file%s audited in %s.", n_audited,
                         n_audited == 1 ? "" : "s",
                         text_duration(usec_now(CLOCK_REALTIME) - since, took));
        (void)printf(" New findings: %s. Open in all: %s.\n", opened_text ? opened_text : "",
                     open_text ? open_text : "");
    }
    return r < 0 ? r : bad ? EXIT_FINDINGS_OPENED : EXIT_SUCCESS;
}

int verb_scan(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *state = NULL;
    uint64_t ticket = 0, since = usec_now(CLOCK_REALTIME);
    int r;

    if (ctl->scrub && argc == 0)
        return complain(0, "Which images are to be read? Name them, or their directory."), -EINVAL;
    r = scan_start(ctl, argc, argv, &ticket);
    if (r < 0)
        return r;
    if (!ctl->wait) {
        if (ctl->output.legend && ctl->output.json == JSON_OFF)
            (void)printf("The scan is under way. '%s status' shows how far it is.\n",
                         output_tool(&ctl->output));
        return 0;
    }
    r = wait_done(ctl, ticket, -1, &state);
    return r < 0 ? r : summarize(ctl, state, since);
}
