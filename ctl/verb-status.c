/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status: counts and the worst findings. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/brief.h"
#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/nagios.h"
#include "ctl/past.h"
#include "ctl/source.h"
#include "helpers/text.h"

/* A plugin is given ten seconds. */
#define NAGIOS_USEC (4 * USEC_PER_SEC)     /* to connect, and once more to be answered */

#define LEFT_OUT_SHOWN 5        /* mounts and links of one datastore */

static void print_daemon(const struct ctl *ctl, json_object *status, uint64_t now)
{
    _cleanup_free_ char *version = row_text(status, "version"),
                        *since = fact_since(status, "started", now);

    if (ctl->offline)
        (void)printf("%sqcauditd is not running%s: this is what its database holds.\n",
                     output_colour(&ctl->output, COLOUR_YELLOW),
                     output_colour(&ctl->output, COLOUR_OFF));
    else
        (void)printf("%s%s%s qcauditd %s, running for %s\n",
                     output_colour(&ctl->output, COLOUR_GREEN), ctl->output.utf8 ? "●" : "*",
                     output_colour(&ctl->output, COLOUR_OFF), version, since);
}

static void print_pass(const struct ctl *ctl, json_object *status, uint64_t now)
{
    char age[TEXT_DURATION_MAX];
    uint64_t total = row_number(status, "pass-images-total"),
             done = row_number(status, "pass-images-done");
    uint64_t last = row_number(status, "last-pass"), next = row_number(status, "next-pass");

    output_label(&ctl->output, 10, "Pass");
    if (row_number(status, "pass-started") > 0)
        (void)printf("under way since %s, %" PRIu64 " of %" PRIu64 " image%s done\n",
                     text_age(row_number(status, "pass-started"), now, age), done, total,
                     total == 1 ? "" : "s");
    else {
        (void)printf("last %s", last == 0 ? "never complete" : text_age(last, now, age));
        if (next > 0)
            (void)printf(", next %s", next > now ? text_age(next, now, age) : "now");
        (void)putchar('\n');
    }
}

static int print_numbers(const struct ctl *ctl, json_object *status)
{
    _cleanup_free_ char *size = fact_size(status, "images-size"),
                        *allocated = fact_size(status, "images-allocated");
    uint64_t images = row_number(status, "images"), audited = row_number(status, "images-audited");
    uint64_t unreadable = row_number(status, "images-unreadable"),
             deepest = row_number(status, "depth-max"), chains = row_number(status, "chains");

    if (!size || !allocated)
        return -ENOMEM;
    output_label(&ctl->output, 10, "Images");
    (void)printf("%" PRIu64 ", %s in files, %s on disk; %" PRIu64 " chain%s\n", images, size,
                 allocated, chains, chains == 1 ? "" : "s");
    output_label(&ctl->output, 10, "Audited");
    (void)printf("%" PRIu64 " of %" PRIu64, audited, images);
    if (unreadable > 0)
        (void)printf(", %" PRIu64 " of them could not be opened", unreadable);
    (void)putchar('\n');
    if (row_number(status, "baselines") > 0) {
        uint64_t deviating = row_number(status, "baselines-deviating");
        _cleanup_free_ char *oldest = fact_age(status, "verified-oldest", usec_now(CLOCK_REALTIME));

        output_label(&ctl->output, 10, "Baselines");
        (void)printf("%" PRIu64 ", oldest verified %s", row_number(status, "baselines"),
                     oldest ? oldest : "-");
        if (deviating > 0)
            (void)printf("; %s%" PRIu64 " changed since%s",
                         output_colour(&ctl->output, COLOUR_RED), deviating,
                         output_colour(&ctl->output, COLOUR_OFF));
        (void)putchar('\n');
    }
    if (deepest > 0) {
        _cleanup_free_ char *path = row_text(status, "depth-max-path");
        _cleanup_free_ char *shown = path ? text_shorten(&ctl->output, path,
                                                         ctl->output.width && !ctl->output.full
                                                             ? ctl->output.width - 38
                                                             : UINT16_MAX)
                                          : NULL;

        if (!shown)
            return -ENOMEM;
        output_label(&ctl->output, 10, "Deepest");
        (void)printf("%" PRIu64 " unconsolidated layer%s: %s\n", deepest, deepest == 1 ? "" : "s",
                     shown);
    }
    return 0;
}

static int print_scrubs(const struct ctl *ctl, json_object *status)
{
    json_object *scrubs = row_member(status, "scrubs");
    uint64_t due = row_number(status, "scrubs-due");
    size_t n = scrubs ? json_object_array_length(scrubs) : 0;

    for (size_t i = 0; i < n; i++) {
        json_object *row = json_object_array_get_idx(scrubs, i);
        _cleanup_free_ char *path = row_text(row, "path"), *words = fact_scrub(row);
        unsigned taken = words ? 14 + (unsigned)strlen(words) : 0;
        bool narrow = ctl->output.width > taken && !ctl->output.full;
        _cleanup_free_ char *shown =
            path ? text_shorten(&ctl->output, path, narrow ? ctl->output.width - taken : UINT16_MAX)
                 : NULL;

        if (!shown || !words)
            return -ENOMEM;
        output_label(&ctl->output, 10, "Scrub");
        (void)printf("%s: %s\n", shown, words);
    }
    if (due > 0) {
        output_label(&ctl->output, 10, "Scrub");
        (void)printf("%" PRIu64 " %simage%s to be read\n", due, n > 0 ? "more " : "",
                     due == 1 ? "" : "s");
    }
    return 0;
}

static int print_connection(const struct ctl *ctl, json_object *row, uint64_t now)
{
    _cleanup_free_ char *uri = row_text(row, "uri"), *error = row_text(row, "error"),
                        *since = fact_since(row, "since", now);
    const char *state = row_raw(row, "state");
    uint64_t domains = row_number(row, "domains"), pools = row_number(row, "pools");

    if (!uri || !since || !state)
        return -ENOMEM;
    output_label(&ctl->output, 10, "Libvirt");
    if (strcmp(state, "absent") == 0)
        (void)printf("not on this host\n");
    else if (strcmp(state, "unreachable") == 0)
        (void)printf("%s%s cannot be reached since %s%s: %s\n",
                     output_colour(&ctl->output, COLOUR_YELLOW), uri, since,
                     output_colour(&ctl->output, COLOUR_OFF), error ? error : "?");
    else
        (void)printf("%s, %" PRIu64 " domain%s, %" PRIu64 " of them active, %" PRIu64
                     " pool%s%s%s\n",
                     uri, domains, domains == 1 ? "" : "s", row_number(row, "domains-active"),
                     pools, pools == 1 ? "" : "s",
                     strcmp(state, "reading") == 0 ? ", not read completely yet" : "",
                     row_raw(row, "error") ? ", with errors" : "");
    return 0;
}

/* libvirt, and what of it is not audited. */
static int print_libvirt(const struct ctl *ctl, json_object *status, uint64_t now)
{
    json_object *connections = row_member(status, "libvirt"), *pools = row_member(status, "pools");
    uint64_t outside = row_number(status, "disks-outside-total");
    int r = 0;

    for (size_t i = 0; r >= 0 && connections && i < json_object_array_length(connections); i++)
        r = print_connection(ctl, json_object_array_get_idx(connections, i), now);
    for (size_t i = 0; r >= 0 && pools && i < json_object_array_length(pools); i++) {
        json_object *row = json_object_array_get_idx(pools, i);
        _cleanup_free_ char *name = row_text(row, "name"), *type = row_text(row, "type"),
                            *reason = row_text(row, "reason");

        if (row_bool(row, "auditable") || !name || !type || !reason)
            continue;
        output_label(&ctl->output, 10, "Unaudited");
        (void)printf("pool %s (%s), %" PRIu64 " volume%s: %s\n", name, type,
                     row_number(row, "volumes"), row_number(row, "volumes") == 1 ? "" : "s",
                     reason);
    }
    if (r >= 0 && outside > 0) {
        output_label(&ctl->output, 10, "Unaudited");
        (void)printf("%" PRIu64 " disk%s of domains in no datastore\n", outside,
                     outside == 1 ? "" : "s");
    }
    return r;
}

/* One reason in words; NULL: no need to say it here. */
static const char *left_out_words(const char *reason, uint64_t n)
{
    static const struct {
        const char *reason, *one, *many;
    } words[] = {
        { "mount-remote", "network file system", "network file systems" },
        { "mount-gone", "file system that is not mounted", "file systems that are not mounted" },
        { "mount-forbidden", "file system by the configuration",
          "file systems by the configuration" },
        { "link-to-device", "link to a block device", "links to block devices" },
        { "too-many-files", "file more than limits.files allows",
          "files more than limits.files allows" },
        { "excluded", "path excluded by a pattern", "paths excluded by patterns" },
        { "unreadable", "unreadable path", "unreadable paths" },
        { "being-written", "file that is still being written",
          "files that are still being written" },
        { "worker-deaths", "image that ends its workers", "images that end their workers" },
        { "format-not-understood", "image of a format that is not understood",
          "images of formats that are not understood" },
        { "not-audited-yet", "image not audited yet", "images not audited yet" },
    };

    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strcmp(words[i].reason, reason) == 0)
            return n == 1 ? words[i].one : words[i].many;
    return NULL;
}

/* "Left out  NAME: 2 links to block devices, ..." of one datastore, and where. */
static int print_left_out(const struct ctl *ctl, json_object *row)
{
    json_object *coverage = row_member(row, "coverage"),
                *items = coverage ? row_member(coverage, "items") : NULL,
                *reasons = coverage ? row_member(coverage, "left-out") : NULL;
    _cleanup_free_ char *name = row_text(row, "name");
    bool first = true;

    if (!name)
        return -ENOMEM;
    if (!reasons)
        return 0;
    json_object_object_foreach(reasons, reason, value) {
        uint64_t n = json_object_get_uint64(value);
        const char *words = n > 0 ? left_out_words(reason, n) : NULL;

        if (!words)
            continue;
        if (first)
            output_label(&ctl->output, 10, "Left out");
        (void)printf("%s%s%" PRIu64 " %s", first ? name : "", first ? ": " : ", ", n, words);
        first = false;
    }
    if (!first)
        (void)putchar('\n');
    for (size_t i = 0; items && i < json_object_array_length(items); i++) {
        json_object *item = json_object_array_get_idx(items, i);
        _cleanup_free_ char *path = row_text(item, "path"),
                            *device = row_text(item, "device"),
                            *type = row_text(item, "file-system");
        bool known = row_has(item, "device") || row_has(item, "file-system");

        if (!path || !device || !type)
            return -ENOMEM;
        if (i == LEFT_OUT_SHOWN && !ctl->output.full) {
            (void)printf("%12s...: %s status --full names all\n", "",
                         output_tool(&ctl->output));
            break;
        }
        (void)printf("%12s%s%s%s%s\n", "", path, known ? " (" : "",
                     !known ? "" : row_has(item, "device") ? device : type, known ? ")" : "");
    }
    return 0;
}

static int print_coverage(const struct ctl *ctl, json_object *status)
{
    json_object *rows = row_member(status, "datastores");
    int r = 0;

    for (size_t i = 0; r >= 0 && rows && i < json_object_array_length(rows); i++)
        r = print_left_out(ctl, json_object_array_get_idx(rows, i));
    return r;
}

int status_print_gaps(const struct ctl *ctl, json_object *status)
{
    int r = print_libvirt(ctl, status, usec_now(CLOCK_REALTIME));

    return r < 0 ? r : print_coverage(ctl, status);
}

static void print_all_muted(const struct ctl *ctl, json_object *status)
{
    output_label(&ctl->output, 10, "Muted");
    (void)printf("%s", output_colour(&ctl->output, COLOUR_YELLOW));
    if (row_has(status, "mute-of-all-images"))
        (void)printf("everything: mute %" PRIu64 " covers every image. See: %s mutes",
                     row_number(status, "mute-of-all-images"), output_tool(&ctl->output));
    else
        (void)printf("everything that was found. See: %s findings --muted",
                     output_tool(&ctl->output));
    (void)printf("%s\n", output_colour(&ctl->output, COLOUR_OFF));
}

static int print_findings(const struct ctl *ctl, json_object *status)
{
    uint64_t images = row_number(status, "images"), audited = row_number(status, "images-audited");
    const bool first_pass = row_has(status, "last-pass") && row_number(status, "last-pass") == 0;
    uint64_t total = 0, acknowledged_total = 0, muted_total = 0;
    _cleanup_free_ char *open = fact_severities(&ctl->output, row_member(status, "open"), &total);
    _cleanup_free_ char *acknowledged =
        fact_severities(&ctl->output, row_member(status, "acknowledged"), &acknowledged_total);

    _cleanup_free_ char *muted =
        fact_severities(&ctl->output, row_member(status, "muted"), &muted_total);

    if (!open || !acknowledged || !muted)
        return -ENOMEM;
    output_label(&ctl->output, 10, "Findings");
    (void)printf("%s%s", open, total == 0 && (audited < images || first_pass) ? " so far" : "");
    if (acknowledged_total > 0)
        (void)printf("; acknowledged: %s", acknowledged);
    if (muted_total > 0)
        (void)printf("; %" PRIu64 " muted: %s", muted_total, muted);
    if (audited < images)
        (void)printf("; %s%" PRIu64 " image%s not audited yet%s",
                     output_colour(&ctl->output, COLOUR_YELLOW), images - audited,
                     images - audited == 1 ? " is" : "s are",
                     output_colour(&ctl->output, COLOUR_OFF));
    (void)putchar('\n');
    if (row_has(status, "mute-of-all-images") ||
        (muted_total > 0 && total == 0 && acknowledged_total == 0))
        print_all_muted(ctl, status);
    return 0;
}

static void print_trouble(const struct ctl *ctl, json_object *status)
{
    json_object *error = row_member(status, "store-error");
    uint64_t waiting = row_number(status, "store-waiting");

    if (!error)
        return;
    output_label(&ctl->output, 10, "Database");
    (void)printf("%scannot be written: %s%s; %" PRIu64 " change%s\n",
                 output_colour(&ctl->output, COLOUR_RED),
                 strerror(abs(json_object_get_int(error))),
                 output_colour(&ctl->output, COLOUR_OFF), waiting,
                 waiting == 1 ? " waits" : "s wait");
}

static char *datastore_use(json_object *row)
{
    uint64_t size = row_number(row, "size"), available = row_number(row, "available");
    char *text;

    if (size == 0)
        return strdup("-");
    if (asprintf(&text, "%.0f%%", 100.0 * (double)(size - available) / (double)size) < 0)
        return NULL;
    return text;
}

/* The state, and until when or why. */
static char *datastore_state(json_object *row, uint64_t now)
{
    const char *state = row_raw(row, "state");
    json_object *error = row_member(row, "error");
    uint64_t until = row_number(row, "paused-until");
    char age[TEXT_DURATION_MAX], *text = NULL;
    int n;

    if (!state)
        return strdup("-");
    if (strcmp(state, "paused") == 0 && until > now && until < INT64_MAX)
        n = asprintf(&text, "paused, goes on %s", text_age(until, now, age));
    else if (error && strcmp(state, "offline") == 0)
        n = asprintf(&text, "offline: %s", strerror(-json_object_get_int(error)));
    else
        n = asprintf(&text, "%s%s", state, row_bool(row, "watched") || strcmp(state, "online") != 0
                                               ? "" : ", walks only");
    return n < 0 ? NULL : text;
}

#define DATASTORES_SIZE 6       /* and what follows: where they are asked for */

static const struct column datastore_columns[] = {
    { "DATASTORE", 0, "name" },
    { "STATE", 0, "state" },
    { "IMAGES", COLUMN_RIGHT | COLUMN_NUMBER, "images" },
    { "USED", COLUMN_RIGHT, "size" },
    { "WALKED", COLUMN_RIGHT | COLUMN_TIME, "walk-finished" },
    { "PATH", COLUMN_FLEXIBLE, "path" },
    [DATASTORES_SIZE] = { "SIZE", COLUMN_RIGHT | COLUMN_SIZE, "size" },
    { "AVAILABLE", COLUMN_RIGHT | COLUMN_SIZE, "available" },
    { "AUDITED", COLUMN_RIGHT | COLUMN_NUMBER, "coverage.audited" },
};

static int datastores_table(struct ctl *ctl, json_object *rows, uint64_t now)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, datastore_columns, ELEMENTSOF(datastore_columns), &table);

    for (size_t k = DATASTORES_SIZE; r >= 0 && k < ELEMENTSOF(datastore_columns); k++)
        table_hide(table, k);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *state = row_raw(row, "state");
        bool well = state && strcmp(state, "online") == 0;

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, row_text(row, "name"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 1, datastore_state(row, now), well ? COLOUR_OFF : COLOUR_YELLOW);
        if (r >= 0)
            r = table_take(table, 2, row_text(row, "images"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 3, datastore_use(row), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 4, fact_age(row, "walk-finished", now), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 5, row_text(row, "path"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, DATASTORES_SIZE, fact_size(row, "size"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, DATASTORES_SIZE + 1, fact_size(row, "available"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, DATASTORES_SIZE + 2,
                           row_text(row_member(row, "coverage"), "audited"), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

/* All of it, on a screen. */
static int print_status(struct ctl *ctl, json_object *status, uint64_t now)
{
    json_object *worst = row_member(status, "worst");
    int r;

    print_daemon(ctl, status, now);
    r = print_numbers(ctl, status);
    print_pass(ctl, status, now);
    if (r >= 0)
        r = print_scrubs(ctl, status);
    if (r >= 0)
        r = status_print_gaps(ctl, status);
    if (r >= 0)
        r = print_findings(ctl, status);
    print_trouble(ctl, status);
    if (r >= 0 && row_has(status, "datastores") &&
        json_object_array_length(row_member(status, "datastores")) == 0)
        (void)printf("\nThere is no datastore, so nothing is audited: name the folders that hold "
                     "images in qcauditd.yaml, or make storage pools of libvirt.\n");
    else if (r >= 0 && row_has(status, "datastores")) {
        (void)putchar('\n');
        r = datastores_table(ctl, row_member(status, "datastores"), now);
    }
    if (r >= 0 && worst && json_object_array_length(worst) > 0) {
        (void)putchar('\n');
        r = findings_table(ctl, worst);
        if (r >= 0 && ctl->output.legend)
            (void)printf("\nAll of them: %s findings. What to do about one: %s show ID.\n",
                         output_tool(&ctl->output), output_tool(&ctl->output));
    }
    return r;
}

/* By the worst that is open. */
static int exit_status(const struct ctl *ctl, json_object *status)
{
    json_object *open = row_member(status, "open");
    int worst = 0;

    if (ctl->exit_zero || !open)
        return 0;
    json_object_object_foreach(open, severity, n)
        if (json_object_get_uint64(n) > 0 && severity_status(severity) > worst)
            worst = severity_status(severity);
    return worst;
}

int verb_status(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *status = NULL;
    uint64_t now = usec_now(CLOCK_REALTIME);
    bool list = output_is_list(&ctl->output);
    int r = 0;

    if (list && (ctl->brief || ctl->at > 0))
        return complain(0, "--columns, --sort and CSV list the datastores as they are now: no "
                           "--brief or --at with them."), -EINVAL;
    if (ctl->nagios && (ctl->brief || ctl->exit_zero || ctl->at > 0 || ctl->offline || list ||
                        ctl->output.json != JSON_OFF))
        return complain(0, "--nagios asks the daemon how it is now, and has its own line and exit "
                           "status: no --brief, --exit-zero, --at, --offline or --json with it."),
               -EINVAL;
    if (ctl->nagios)
        ctl->answer_usec = NAGIOS_USEC;
    if (r >= 0)
        r = ctl->at > 0 ? past_status(ctl, &status) : source_status(ctl, &status);
    if (r < 0)
        return r;
    if (ctl->nagios)
        return nagios_print(ctl, status, now);
    if (list)
        r = row_has(status, "datastores")
                ? list_arrange(&ctl->output, datastore_columns, ELEMENTSOF(datastore_columns), 0,
                               row_member(status, "datastores"))
                : complain(-EBADMSG, "Cannot list the datastores");
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        r = output_json(&ctl->output, status);
    else {
        r = ctl->at > 0  ? past_print_status(ctl, status)
            : ctl->brief ? brief_print(ctl, status, now)
            : list       ? datastores_table(ctl, row_member(status, "datastores"), now)
                         : print_status(ctl, status, now);
        if (r < 0)
            (void)complain(r, "Cannot show the status");
    }
    return r < 0 ? r : exit_status(ctl, status);
}
