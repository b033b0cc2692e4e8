/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* domains: what libvirt knows of domains, their disks, chains and snapshots, and what is wrong with
 * them. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/domains.h"
#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

#define LABELS 14
#define LISTED 10               /* snapshots, without --full */

/* By name or UUID: -ENOENT, unprinted, when libvirt knows none. Prints all other errors. */
static int domain_find(struct ctl *ctl, const char *name, json_object **ret_domain)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r;

    if (!text_is_utf8(name, strlen(name)))
        return -ENOENT;
    r = client_call_new(ctl, "GetDomain", &call);
    if (r < 0)
        return r;
    r = sd_bus_message_append(call, "s", name);
    return r < 0 ? complain(r, "Cannot call qcauditd")
                 : client_call_json(ctl, call, CONTROL_ERROR_NOT_FOUND, false, ret_domain);
}

/* ---- the list -------------------------------------------------------------------------------- */

static char *domain_findings(json_object *row)
{
    uint64_t n = row_number(row, "findings");
    char *text;

    if (n == 0)
        return strdup(row_has(row, "error-text") ? "?" : "none");
    return asprintf(&text, "%" PRIu64 ", %s", n,
                    row_raw(row, "severity") ? row_raw(row, "severity") : "") < 0
               ? NULL
               : text;
}

static char *domain_layers(json_object *row)
{
    uint64_t depth = row_number(row, "depth"), unconsolidated = row_number(row, "unconsolidated");
    char *text;

    if (depth == 0)
        return strdup("-");
    if (unconsolidated == 0)
        return asprintf(&text, "%" PRIu64, depth) < 0 ? NULL : text;
    return asprintf(&text, "%" PRIu64 " (+%" PRIu64 ")", depth, unconsolidated) < 0 ? NULL : text;
}

#define DOMAINS_UNCONSOLIDATED 7  /* and what follows: where they are asked for */

static const struct column domain_columns[] = {
    { "STATE", 0, "state" },
    { "DISKS", COLUMN_RIGHT | COLUMN_NUMBER, "disks" },
    { "ON DISK", COLUMN_RIGHT | COLUMN_SIZE, "allocated" },
    { "LAYERS", COLUMN_RIGHT | COLUMN_NUMBER, "depth" },
    { "SNAPSHOTS", COLUMN_RIGHT | COLUMN_NUMBER, "snapshots" },
    { "FINDINGS", 0, "findings" },
    { "DOMAIN", COLUMN_FLEXIBLE, "name" },
    [DOMAINS_UNCONSOLIDATED] = { "UNCONSOLIDATED", COLUMN_RIGHT | COLUMN_NUMBER,
                                 "unconsolidated" },
    { "UUID", 0, "uuid" },
};

static int domains_table(struct ctl *ctl, json_object *rows)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, domain_columns, ELEMENTSOF(domain_columns), &table);

    for (size_t k = DOMAINS_UNCONSOLIDATED; r >= 0 && k < ELEMENTSOF(domain_columns); k++)
        table_hide(table, k);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, row_text(row, "state"),
                           row_bool(row, "running") ? COLOUR_OFF : COLOUR_DIM);
        if (r >= 0)
            r = table_take(table, 1, row_text(row, "disks"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 2, fact_size(row, "allocated"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 3, domain_layers(row), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 4, row_text(row, "snapshots"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 5, domain_findings(row),
                           severity_colour(row_raw(row, "severity")));
        if (r >= 0)
            r = table_take(table, 6, row_text(row, "name"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, DOMAINS_UNCONSOLIDATED, row_text(row, "unconsolidated"),
                           COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, DOMAINS_UNCONSOLIDATED + 1, row_text(row, "uuid"), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

static int by_name(const void *a, const void *b)
{
    json_object *const *left = a, *const *right = b;
    const char *x = row_raw(*left, "name"), *y = row_raw(*right, "name");

    return strcmp(x ? x : "", y ? y : "");
}

static int list_domains(struct ctl *ctl)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    size_t n;
    int r = client_rows(ctl, "ListDomains", &rows);

    if (r < 0)
        return r;
    json_object_array_sort(rows, by_name);
    r = list_arrange(&ctl->output, domain_columns, ELEMENTSOF(domain_columns), 0, rows);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, rows);
    n = json_object_array_length(rows);
    if (n > 0 || ctl->output.csv)
        r = domains_table(ctl, rows);
    if (ctl->output.legend && n == 0)
        (void)printf(
            "Libvirt has no domains, or cannot be asked: see '%s findings "
            "--name=libvirt-unreachable'.\n", output_tool(&ctl->output));
    if (ctl->output.legend && n > 0)
        (void)printf(
            "\n%zu domain%s; \"(+N)\": layers that snapshots left behind, on the deepest disk.\n",
            n, n == 1 ? "" : "s");
    return r < 0 ? complain(r, "Cannot list domains") : 0;
}

/* ---- one domain ------------------------------------------------------------------------------ */

static void line(const struct ctl *ctl, const char *label, char *text)
{
    if (text) {
        output_label(&ctl->output, LABELS, label);
        (void)printf("%s\n", text);
    }
    free(text);
}

/* "/vm/web.s3, 4 layers (+3)", and what is odd about it. */
static char *disk_text(json_object *disk)
{
    _cleanup_free_ char *path = row_text(disk, row_has(disk, "path") ? "path" : "source"),
                        *layers = domain_layers(disk);
    _cleanup_free_ char *job = row_text(disk, "job"), *error = row_text(disk, "error-text");
    const char *device = row_raw(disk, "device");
    bool outside = row_has(disk, "path") && !row_has(disk, "depth");
    char *text;

    if (!path || !layers || !job || !error)
        return NULL;
    if (asprintf(&text, "%s%s%s%s%s%s%s%s%s%s",
                 device && strcmp(device, "disk") != 0 ? device : "",
                 device && strcmp(device, "disk") != 0 ? ": " : "", path,
                 row_has(disk, "depth") ? ", layers " : "", row_has(disk, "depth") ? layers : "",
                 row_bool(disk, "missing") ? ", MISSING" : outside ? ", in no datastore" : "",
                 row_has(disk, "job") ? ", job " : "",
                 row_has(disk, "job") ? job : "", row_has(disk, "error-text") ? ", error: " : "",
                 row_has(disk, "error-text") ? error : "") < 0)
        return NULL;
    return text;
}

static void print_disks(const struct ctl *ctl, json_object *domain)
{
    json_object *disks = row_member(domain, "disks-list");

    for (size_t i = 0; disks && i < json_object_array_length(disks); i++) {
        json_object *disk = json_object_array_get_idx(disks, i);
        _cleanup_free_ char *target = row_text(disk, "disk-target");

        line(ctl, target ? target : "", disk_text(disk));
    }
}

static void print_snapshots(const struct ctl *ctl, json_object *domain, uint64_t now)
{
    json_object *snapshots = row_member(domain, "snapshots-list");
    size_t n = snapshots ? json_object_array_length(snapshots) : 0;

    for (size_t i = 0; i < n; i++) {
        json_object *snapshot = json_object_array_get_idx(snapshots, i);
        _cleanup_free_ char *name = row_text(snapshot, "name"), *kind = row_text(snapshot, "kind");
        _cleanup_free_ char *when = fact_time(snapshot, "created", now);
        char *text;

        if (asprintf(&text, "%s, %s, %s%s%s", name, kind, when,
                     row_bool(snapshot, "is-current") ? ", current" : "",
                     row_bool(snapshot, "deleting") ? ", being deleted" : "") >= 0)
            line(ctl, i == 0 ? "Snapshots" : "", text);
        if (i + 1 == LISTED && n > LISTED && !ctl->output.full) {
            (void)printf("%*s  ... %zu in all\n", LABELS, "", n);
            break;
        }
    }
}

int domain_show(struct ctl *ctl, json_object *domain)
{
    json_object *findings = row_member(domain, "findings-list");
    size_t n = findings ? json_object_array_length(findings) : 0;
    _cleanup_free_ char *name = row_text(domain, "name"), *memory = fact_size(domain, "memory");
    uint64_t now = usec_now(CLOCK_REALTIME);
    char *text;

    output_begin_prose(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, domain);
    (void)printf("%s%s%s\n", output_colour(&ctl->output, COLOUR_BOLD), name ? name : "",
                 output_colour(&ctl->output, COLOUR_OFF));
    if (asprintf(&text, "%s%s, memory %s", row_raw(domain, "state") ? row_raw(domain, "state") : "",
                 row_bool(domain, "persistent") ? "" : ", transient", memory ? memory : "") >= 0)
        line(ctl, "Domain", text);
    line(ctl, "UUID", row_text(domain, "uuid"));
    line(ctl, "Connection", row_text(domain, "connection"));
    if (row_has(domain, "error-text"))
        line(ctl, "Not known", row_text(domain, "error-text"));
    print_disks(ctl, domain);
    print_snapshots(ctl, domain, now);
    if (row_number(domain, "checkpoints") > 0)
        line(ctl, "Checkpoints", row_text(domain, "checkpoints"));
    if (n == 0) {
        (void)printf("\n%sNo findings.%s\n", output_colour(&ctl->output, COLOUR_GREEN),
                     output_colour(&ctl->output, COLOUR_OFF));
        return 0;
    }
    source_sort_findings(findings);
    for (size_t i = 0; i < n; i++) {
        (void)putchar('\n');
        finding_print(ctl, json_object_array_get_idx(findings, i), false);
    }
    return 0;
}

int verb_domains(struct ctl *ctl, int argc, char **argv)
{
    int r = source_needs_daemon(ctl, "domains");

    if (r >= 0 && argc == 0)
        return list_domains(ctl);
    if (r >= 0 && output_is_list(&ctl->output))
        return complain(0, "A DOMAIN is shown as a whole: no --columns, --sort or CSV with it."),
               -EINVAL;
    for (int i = 0; r >= 0 && i < argc; i++) {
        _cleanup_(json_object_putp) json_object *domain = NULL;
        _cleanup_free_ char *shown = text_escape_string(argv[i]);

        r = domain_find(ctl, argv[i], &domain);
        if (r == -ENOENT)
            return complain(
                       0,
                       "Libvirt knows no domain %s. '%s domains' lists those that it knows.",
                       shown ? shown : "", output_tool(&ctl->output)),
                   r;
        if (r < 0)
            return r;
        if (i > 0 && ctl->output.json == JSON_OFF)
            (void)putchar('\n');
        r = domain_show(ctl, domain);
    }
    return r;
}

int domain_disk_path(struct ctl *ctl, const char *argument, char **ret_path)
{
    _cleanup_(json_object_putp) json_object *domain = NULL;
    const char *colon = strrchr(argument, ':'), *target = NULL, *first = NULL;
    _cleanup_free_ char *name = NULL, *shown = text_escape_string(argument);
    json_object *disks;
    int r;

    if (strchr(argument, '/'))
        return -ENOENT;
    r = domain_find(ctl, argument, &domain);
    if (r == -ENOENT && colon && colon > argument && colon[1]) {
        name = strndup(argument, (size_t)(colon - argument));
        if (!name)
            return complain(-ENOMEM, "Cannot look for a domain");
        target = colon + 1;
        r = domain_find(ctl, name, &domain);
    }
    if (r < 0)
        return r;
    disks = row_member(domain, "disks-list");
    for (size_t i = 0; disks && i < json_object_array_length(disks); i++) {
        json_object *disk = json_object_array_get_idx(disks, i);
        const char *device = row_raw(disk, "device"), *path = row_raw(disk, "path"),
                   *this = row_raw(disk, "disk-target");

        if (!path ||
            (target ? !this || strcmp(this, target) != 0 : device && strcmp(device, "disk") != 0))
            continue;
        first = path;
        break;
    }
    if (!first)
        return complain(0, "%s has no %sdisk that is a file or device here.", shown ? shown : "",
                        target ? "such " : ""), -ENXIO;
    *ret_path = strdup(first);
    return *ret_path ? 0 : complain(-ENOMEM, "Cannot look for a domain");
}
