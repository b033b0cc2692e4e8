/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* show: all that is known of an image, or of one finding: evidence, and what to do. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/domains.h"
#include "ctl/evidence.h"
#include "ctl/facts.h"
#include "ctl/identity.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "qcaudit/control.h"
#include "qcaudit/qcaudit.h"

#define LABELS 14
#define LISTED 10       /* entries of a list in evidence, without --full */

/* ---- lines -------------------------------------------------------------------------------- */

/* Takes text; nothing is printed for NULL. */
static void line(const struct ctl *ctl, const char *label, char *text)
{
    if (text) {
        output_label(&ctl->output, LABELS, label);
        (void)printf("%s\n", text);
    }
    free(text);
}

static void line_text(const struct ctl *ctl, const char *label, json_object *row, const char *key)
{
    if (row_has(row, key))
        line(ctl, label, row_text(row, key));
}

static void line_time(const struct ctl *ctl, const char *label, json_object *row, const char *key,
                      uint64_t now)
{
    if (row_number(row, key) > 0)
        line(ctl, label, fact_time(row, key, now));
}

/* ---- evidence ----------------------------------------------------------------------------- */

static void print_list(const struct ctl *ctl, json_object *list)
{
    size_t n = json_object_array_length(list), shown = ctl->output.full || n < LISTED ? n : LISTED;

    (void)putchar('\n');
    for (size_t i = 0; i < shown; i++) {
        json_object *item = json_object_array_get_idx(list, i);
        _cleanup_free_ char *text = json_object_is_type(item, json_type_object)
                                        ? evidence_entry_text(item)
                                        : evidence_scalar_text(NULL, item);

        (void)printf("    -");
        output_wrapped(&ctl->output, 6, 5, text ? text : "");
    }
    if (shown < n)
        (void)printf("      ... and %zu more: --full shows them\n", n - shown);
}

static void print_object(const struct ctl *ctl, json_object *object, unsigned indent)
{
    json_object_object_foreach(object, key, value) {
        const struct evidence_member *member = evidence_member_find(key, value);
        _cleanup_free_ char *label = evidence_label_text(member, key);

        if (strcmp(key, evidence_text_key(TEXT_SUMMARY)) == 0)
            continue;
        (void)printf("%*s%s:", (int)indent, "", label);
        if (json_object_is_type(value, json_type_array)) {
            if (json_object_array_length(value) == 0)
                (void)printf(" none\n");
            else
                print_list(ctl, value);
        } else if (json_object_is_type(value, json_type_object)) {
            (void)putchar('\n');
            if (indent < 40)
                print_object(ctl, value, indent + 2);
        } else {
            _cleanup_free_ char *text = evidence_scalar_text(member, value);
            (void)printf(" %s\n", text ? text : "");
        }
    }
}

/* ---- remedy ------------------------------------------------------------------------------- */

static void print_remedy(const struct ctl *ctl, json_object *remedy)
{
    size_t number = 0;

    /* The commands' conditions were looked at on that host. */
    if (ctl->host) {
        _cleanup_free_ char *host = text_escape_string(ctl->host), *text = NULL;

        if (asprintf(&text, "On %s, and NOT on this host:", host ? host : "that host") >= 0)
            output_wrapped(&ctl->output, 2, 0, text);
    }
    for (size_t i = 0; i < json_object_array_length(remedy); i++) {
        json_object *step = json_object_array_get_idx(remedy, i);
        const char *key = row_has(step, "command") ? "command"
                          : row_has(step, "precondition") ? "precondition"
                          : row_has(step, "note") ? "note" : "text";
        /* To be copied: whole, and without what escaping adds to backslashes. */
        _cleanup_free_ char *shown = row_prose(step, key), *text = NULL;

        if (strcmp(key, "note") == 0) {     /* nothing to do */
            output_wrapped(&ctl->output, 2, 0, shown ? shown : "");
            continue;
        }
        (void)printf("%3zu.", ++number);
        if (strcmp(key, "command") == 0)
            (void)printf(" %s%s%s\n", output_colour(&ctl->output, COLOUR_BOLD), shown ? shown : "",
                         output_colour(&ctl->output, COLOUR_OFF));
        else if (asprintf(&text, "%s%s", strcmp(key, "precondition") == 0 ? "Make sure that " : "",
                          shown ? shown : "") >= 0)
            output_wrapped(&ctl->output, 5, 4, text);
    }
}

/* ---- one finding -------------------------------------------------------------------------- */

/* By which mute it is not told, and until when. */
static void print_mute(const struct ctl *ctl, json_object *finding, uint64_t now)
{
    _cleanup_free_ char *user = fact_user(row_raw(finding, "muted-user")),
                        *until = row_number(finding, "muted-until") > 0
                                     ? fact_time(finding, "muted-until", now)
                                     : strdup("it is unmuted"),
                        *severity = row_text(finding, "muted-severity");
    char *text = NULL;

    if (!user || !until || !severity)
        return;
    if (asprintf(&text, "by %s, mute %" PRIu64 ": it is not told", user,
                 row_number(finding, "muted-by")) >= 0)
        line(ctl, "Muted", text);
    line_text(ctl, "Reason", finding, "muted-reason");
    if (asprintf(&text, "%s, or worse than %s", until, severity) >= 0)
        line(ctl, "Until", text);
}

static void print_state(const struct ctl *ctl, json_object *finding, uint64_t now)
{
    const char *state = row_raw(finding, "state");
    _cleanup_free_ char *count = row_text(finding, "count"),
                        *last = fact_age(finding, "last-seen", now);
    char *text = NULL;

    line_text(ctl, "State", finding, "state");
    line_time(ctl, "Since", finding, "first-seen", now);
    if (!row_has(finding, "path"))
        text = strdup(last ?: "");
    else if (asprintf(&text, "in %s audit%s, last %s", count,
                      count && strcmp(count, "1") == 0 ? "" : "s", last) < 0)
        text = NULL;
    line(ctl, row_has(finding, "path") ? "Seen" : "Last seen", text);
    line_time(ctl, "Resolved", finding, "resolved", now);
    if (state && strcmp(state, "acknowledged") == 0) {
        line(ctl, "Acknowledged", fact_user(row_raw(finding, "acknowledged-by")));
        line_text(ctl, "Reason", finding, "acknowledged-reason");
        line_time(ctl, "Until", finding, "acknowledged-until", now);
    }
    if (row_has(finding, "muted-by"))
        print_mute(ctl, finding, now);
}

void finding_print(struct ctl *ctl, json_object *finding, bool explain)
{
    const char *severity = row_raw(finding, "severity"), *kind = row_raw(finding, "subject-kind");
    _cleanup_free_ char *name = row_text(finding, "name"), *id = row_text(finding, "id");
    const struct catalogue_entry *entry = catalogue_find(row_raw(finding, "name"));
    json_object *evidence = row_member(finding, "evidence"),
                *remedy = row_member(finding, "remedy");
    uint64_t now = usec_now(CLOCK_REALTIME);

    (void)printf("%s%s%s%s (finding %s)\n", output_colour(&ctl->output, COLOUR_BOLD),
                 output_colour(&ctl->output, severity_colour(severity)), name,
                 output_colour(&ctl->output, COLOUR_OFF), id);
    line(ctl, "What", entry ? strdup(entry->title) : row_text(finding, "title"));
    line(ctl, row_bool(finding, "disk") ? "Disk" : row_has(finding, "path") ? "Image"
              : kind && strcmp(kind, "domain") == 0 ? "Domain" : "Where",
         fact_subject(finding, ""));
    if (row_has(finding, "summary"))
        line(ctl, "In short", row_prose(finding, "summary"));
    line_text(ctl, "Severity", finding, "severity");
    line(ctl, "Confidence", strdup(fact_confidence(row_raw(finding, "confidence"))));
    print_state(ctl, finding, now);
    output_heading(&ctl->output, "What to do");
    if (remedy && json_object_array_length(remedy) > 0)
        print_remedy(ctl, remedy);
    else if (entry)
        output_wrapped(&ctl->output, 2, 0, entry->remedy);
    if (evidence && json_object_object_length(evidence) > 0) {
        output_heading(&ctl->output, "Evidence");
        print_object(ctl, evidence, 2);
    }
    if (entry && explain) {
        output_heading(&ctl->output, "What it means");
        output_wrapped(&ctl->output, 2, 0, entry->explanation);
    } else if (entry && ctl->output.legend)
        (void)printf("\n  What it means: qcauditctl explain %s\n", entry->name);
}

static int show_finding(struct ctl *ctl, const char *argument)
{
    _cleanup_(json_object_putp) json_object *finding = NULL;
    int r = client_finding(ctl, strtoll(argument, NULL, 10), &finding);

    if (r == -ENOENT)
        return complain(
                   0,
                   "There is no finding %s. '%s findings --all' lists those that are known.",
                   argument, output_tool(&ctl->output)),
               r;
    if (r < 0)
        return r;
    output_begin_prose(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, finding);
    finding_print(ctl, finding, true);
    return 0;
}

/* ---- one image ---------------------------------------------------------------------------- */

static void print_format(const struct ctl *ctl, json_object *image)
{
    json_object *header = row_member(image, "header");
    _cleanup_free_ char *format = row_text(image, "format");
    uint64_t version = row_number(header, "version");
    json_object *features = row_member(header, "features");
    char cluster[TEXT_SIZE_MAX], named[] = "", *text = NULL;

    if (!row_has(image, "format"))
        return;
    if (version == 0 || !row_has(header, "refcount-bits")) {
        const char *variant = row_raw(image, "variant");
        const struct qca_image_info info = {
            .format = qca_format_from_name(row_raw(image, "format")),
            .variant = qca_variant_from_name(variant ? variant : ""),
            .virtual_size = row_number(image, "virtual-size"),
            .parent = row_has(image, "parent-stored") ? named : NULL,
        };
        const char *limit = qca_info_is_understood(&info) ? ""
                            : info.variant == QCA_VARIANT_VMDK_DESCRIPTOR &&
                                  row_has(image, "corruptions")
                                ? ": the files with the pieces of its disk are checked one by one"
                            : row_has(image, "corruptions")
                                ? ": a part of a disk, whose other parts its header does not name"
                                : ", of which the header alone is understood";

        if (asprintf(&text, "%s%s%s%s%s", format, variant ? " (" : "", variant ? variant : "",
                     variant ? ")" : "",
                     limit) >= 0)
            line(ctl, "Format", text);
        return;
    }
    if (asprintf(&text, "%s version %" PRIu64 ", clusters of %s, %" PRIu64 "-bit refcounts", format,
                 version, text_size(row_number(header, "cluster-size"), cluster),
                 row_number(header, "refcount-bits")) >= 0)
        line(ctl, "Format", text);
    line_text(ctl, "Encryption", header, "encryption");
    line_text(ctl, "Data file", header, "data-file-stored");
    if (features && json_object_array_length(features) > 0) {
        output_label(&ctl->output, LABELS, "Features");
        for (size_t i = 0; i < json_object_array_length(features); i++) {
            _cleanup_free_ char *name =
                text_escape_string(json_object_get_string(json_object_array_get_idx(features, i)));
            (void)printf("%s%s", i > 0 ? ", " : "", name);
        }
        (void)putchar('\n');
    }
}

static void print_sizes(const struct ctl *ctl, json_object *image)
{
    _cleanup_free_ char *size = fact_size(image, "size"),
                        *allocated = fact_size(image, "allocated");
    _cleanup_free_ char *virtual_size = fact_size(image, "virtual-size");
    char *text;

    if (asprintf(&text, "virtual %s, file %s, on disk %s", virtual_size, size, allocated) >= 0)
        line(ctl, "Size", text);
}

static void print_file(const struct ctl *ctl, json_object *image, uint64_t now)
{
    char *text;

    if (asprintf(&text, "mode %04" PRIo64 ", uid %" PRIu64 ", gid %" PRIu64 ", modified %s",
                 row_number(image, "mode"), row_number(image, "uid"), row_number(image, "gid"),
                 "") >= 0) {
        char when[WHEN_MAX], *all;

        if (asprintf(&all, "%s%s", text, when_text(row_number(image, "mtime"), when)) >= 0)
            line(ctl, "File", all);
        free(text);
    }
    line_time(ctl, "Created", image, "created", now);
}

static void print_chain_facts(const struct ctl *ctl, json_object *image)
{
    uint64_t children = row_number(image, "children");
    const char *golden = row_raw(image, "golden"), *state = row_raw(image, "parent-state");
    json_object *paths = row_member(image, "children-paths"), *names = row_member(image, "names");
    char *text;

    if (row_bool(image, "loop"))
        line(ctl, "Chain", strdup("a loop: it contains itself"));
    else if (row_has(image, "depth") &&
             asprintf(&text, "%" PRIu64 " layer%s, %" PRIu64 " unconsolidated",
                      row_number(image, "depth"), row_number(image, "depth") == 1 ? "" : "s",
                      row_number(image, "unconsolidated")) >= 0)
        line(ctl, "Chain", text);
    if (golden)
        line(ctl, "Golden",
             strdup(strcmp(golden, "policy") == 0 ? "by the configuration"
                                                  : "inferred: a base of several disks"));
    if (state) {
        line_text(ctl, "Parent", image, row_has(image, "parent") ? "parent" : "parent-stored");
        if (strcmp(state, "found") != 0)
            line_text(ctl, "Parent is", image, "parent-state");
    }
    if (row_has(image, "relation-reason"))
        line(ctl, "Relation", row_prose(image, "relation-reason"));
    if (row_raw(image, "own-layer") &&
        strcmp(row_raw(image, "own-layer"), row_raw(image, "path")) != 0)
        line_text(ctl, "Own layer", image, "own-layer");
    if (row_has(image, "deepest-leaf") &&
        asprintf(&text, "%" PRIu64 " layer%s, up to the leaf", row_number(image, "layers-above"),
                 row_number(image, "layers-above") == 1 ? "" : "s") >= 0) {
        line(ctl, "Above it", text);
        line_text(ctl, "Leaf", image, "deepest-leaf");
    }
    for (size_t i = 0; names && i < json_object_array_length(names) && i < LISTED; i++)
        line(ctl, i == 0 ? "Also called" : "",
             evidence_scalar_text(NULL, json_object_array_get_idx(names, i)));
    for (size_t i = 0; i < children && paths && i < json_object_array_length(paths) && i < 5; i++) {
        json_object *path = json_object_array_get_idx(paths, i);
        line(ctl, i == 0 ? "Overlays" : "", evidence_scalar_text(NULL, path));
    }
    if (children > 5 && asprintf(&text, "... %" PRIu64 " in all", children) >= 0)
        line(ctl, "", text);
}

/* Prints the image's role and its users. */
static void print_role(const struct ctl *ctl, json_object *image)
{
    static const struct { const char *kind, *words; } kinds[] = {
        {"copy-target", "target of a copy of "}, {"file", "a file of "},
        {"made-by-snapshot", "made by a snapshot of "},
        {"before-snapshot", "before a snapshot of "},
    };
    json_object *users = row_member(image, "users");
    _cleanup_free_ char *role = row_text(image, "role"), *reason = row_prose(image, "role-reason"),
                        *last = NULL;
    char *text;

    if (row_has(image, "role") && asprintf(&text, "%s. %s", role, reason) >= 0)
        line(ctl, "Role", text);
    for (size_t i = 0;
         users && i < json_object_array_length(users) && (i < LISTED || ctl->output.full); i++) {
        json_object *user = json_object_array_get_idx(users, i);
        _cleanup_free_ char *domain = row_text(user, "domain"),
                            *target = row_text(user, "disk-target");
        _cleanup_free_ char *snapshot = row_text(user, "snapshot");
        const char *kind = row_raw(user, "kind"),
                   *words = row_number(user, "disk-layer") > 0 ? "a layer of " : "";

        for (size_t k = 0; k < ELEMENTSOF(kinds); k++)
            if (kind && strcmp(kind, kinds[k].kind) == 0)
                words = kinds[k].words;
        if (asprintf(&text, "%s%s%s%s%s%s%s", words, row_has(user, "disk-target") ? target : "",
                     row_has(user, "disk-target") ? " of " : "", domain,
                     row_has(user, "snapshot") ? ", " : "",
                     row_has(user, "snapshot") ? snapshot : "",
                     row_bool(user, "running") ? ", running" : "") < 0)
            text = NULL;
        /* By its definition and as it runs: once. */
        if (text && last && strcmp(text, last) == 0)
            free(text);
        else if (text) {
            free(last);
            last = strdup(text);
            line(ctl, i == 0 ? "Used by" : "", text);
        }
    }
}

/* How a scrub read: rot below a page cache shows only past it. */
static const char *reading_words(const char *reading)
{
    if (!reading)
        return "";
    if (strcmp(reading, "direct") == 0)
        return ", past the page cache";
    return strcmp(reading, "uncached") == 0
               ? "; what was in the page cache from there, as the file system allows no O_DIRECT"
               : "; through the page cache, as the file system allows no O_DIRECT";
}

static void print_check(const struct ctl *ctl, json_object *image, uint64_t now)
{
    json_object *check = row_member(image, "check"), *audit = row_member(image, "audit");
    char took[TEXT_DURATION_MAX], read_size[TEXT_SIZE_MAX], *text;

    if (!audit) {
        line(ctl, "Audited", strdup("not yet"));
        return;
    }
    line_time(ctl, "Audited", audit, "finished", now);
    line(ctl, "Confidence", strdup(fact_confidence(row_raw(audit, "confidence"))));
    if (asprintf(&text, "in %s, %s read%s", text_duration(row_number(audit, "elapsed"), took),
                 text_size(row_number(audit, "bytes-read"), read_size),
                 reading_words(row_raw(audit, "reading"))) >= 0)
        line(ctl, "Took", text);
    if (row_has(image, "error"))
        line_text(ctl, "Not opened", image, "error-text");
    if (check &&
        asprintf(&text,
                 "%" PRIu64 " corruption%s, %" PRIu64 " leaked cluster%s, %" PRIu64
                 " check error%s%s",
                 row_number(check, "corruptions"),
                 row_number(check, "corruptions") == 1 ? "" : "s", row_number(check, "leaks"),
                 row_number(check, "leaks") == 1 ? "" : "s", row_number(check, "check-errors"),
                 row_number(check, "check-errors") == 1 ? "" : "s",
                 row_bool(check, "finished") ? "" : "; not finished") >= 0)
        line(ctl, "Check", text);
}

/* Also that of verb baseline. */
void baseline_print(const struct ctl *ctl, json_object *baseline)
{
    const char *state = row_raw(baseline, "state");
    bool well = state && strcmp(state, "verified") == 0;
    uint64_t now = usec_now(CLOCK_REALTIME);
    char bytes[TEXT_SIZE_MAX], *text;

    output_label(&ctl->output, LABELS, "Content");
    (void)printf("%s%s%s, kept as %s\n",
                 output_colour(&ctl->output, well ? COLOUR_GREEN : COLOUR_RED), state ? state : "-",
                 output_colour(&ctl->output, COLOUR_OFF), row_raw(baseline, "source"));
    line_text(ctl, row_bool(baseline, "encrypted") ? "Digest of encrypted data" : "Digest",
              baseline, "digest");
    line_time(ctl, "Since", baseline, "since", now);
    line_time(ctl, "Verified", baseline, "verified", now);
    line_text(ctl, "fs-verity", baseline, "fs-verity");
    line(ctl, "Accepted by",
         row_has(baseline, "accepted-by") ? fact_user(row_raw(baseline, "accepted-by")) : NULL);
    line_text(ctl, "Reason", baseline, "reason");
    if (well)
        return;
    line_time(ctl, "Found", baseline, "found", now);
    line_text(ctl, "Digest now", baseline, "digest-now");
    if (row_has(baseline, "different-blocks") &&
        asprintf(&text, "%" PRIu64 " block%s of 64 KiB, %s, in %" PRIu64 " range%s",
                 row_number(baseline, "different-blocks"),
                 row_number(baseline, "different-blocks") == 1 ? "" : "s",
                 text_size(row_number(baseline, "different-bytes"), bytes),
                 row_number(baseline, "ranges-total"),
                 row_number(baseline, "ranges-total") == 1 ? "" : "s") >= 0)
        line(ctl, "Different", text);
    else if (!row_has(baseline, "different-blocks"))
        line(ctl, "Different",
             strdup("where is not known: there were no block digests to compare with"));
}

static void print_snapshots(const struct ctl *ctl, json_object *image, uint64_t now)
{
    json_object *snapshots = row_member(image, "snapshots");

    for (size_t i = 0; snapshots && i < json_object_array_length(snapshots); i++) {
        json_object *snapshot = json_object_array_get_idx(snapshots, i);
        _cleanup_free_ char *name = row_text(snapshot, "name"),
                            *when = fact_time(snapshot, "date", now);
        char *text;

        if (asprintf(&text, "%s, %s", name, when) >= 0)
            line(ctl, i == 0 ? "Snapshots" : "", text);
        if (i == 9 && !ctl->output.full) {
            (void)printf("%*s  ... %zu in all\n", LABELS, "", json_object_array_length(snapshots));
            break;
        }
    }
}

static void print_findings(struct ctl *ctl, json_object *image)
{
    json_object *findings = row_member(image, "findings-list");
    size_t n = findings ? json_object_array_length(findings) : 0;

    if (n == 0) {
        (void)printf("\n%sNo findings.%s\n", output_colour(&ctl->output, COLOUR_GREEN),
                     output_colour(&ctl->output, COLOUR_OFF));
        return;
    }
    source_sort_findings(findings);
    for (size_t i = 0; i < n; i++) {
        (void)putchar('\n');
        finding_print(ctl, json_object_array_get_idx(findings, i), false);
    }
}

/* The family that the image's name says, by those of this host: a line, or a member of the JSON.
 * Nothing where no family has such a name, or there are no families. */
static int show_identity(struct ctl *ctl, json_object *image)
{
    _cleanup_(families_freep) struct families *families = NULL;
    const char *path = row_raw(image, "path");
    struct identity identity;
    json_object *object;

    if (!path || identity_families(ctl, true, &families) < 0)
        return 0;
    identity_of(families, path, path, &identity);
    if (identity.match.verdict == FAMILY_UNKNOWN)
        return 0;
    if (ctl->output.json == JSON_OFF) {
        line(ctl, "By name", identity_text(&identity));
        return 0;
    }
    int r = identity_json(&identity, &object);
    return r < 0 ? r : json_add(image, "identity", object);
}

static int show_image(struct ctl *ctl, const char *argument)
{
    _cleanup_(json_object_putp) json_object *image = NULL, *domain = NULL;
    _cleanup_free_ char *shown = NULL;
    uint64_t now = usec_now(CLOCK_REALTIME);
    int r = source_show(ctl, argument, &image, &domain);

    if (r < 0)
        return r;
    if (domain)
        return domain_show(ctl, domain);
    output_begin_prose(&ctl->output);
    if (ctl->output.json != JSON_OFF) {
        r = show_identity(ctl, image);
        return r < 0 ? r : output_json(&ctl->output, image);
    }
    shown = row_text(image, "path");
    (void)printf("%s%s%s\n", output_colour(&ctl->output, COLOUR_BOLD), shown,
                 output_colour(&ctl->output, COLOUR_OFF));
    line_text(ctl, "Datastore", image, "datastore");
    if (!row_bool(image, "present"))
        line(ctl, "Present", strdup("no: it was not there in the last walk"));
    (void)show_identity(ctl, image);
    print_role(ctl, image);
    print_format(ctl, image);
    print_sizes(ctl, image);
    print_file(ctl, image, now);
    line_text(ctl, "Use", image, "use");
    print_chain_facts(ctl, image);
    print_check(ctl, image, now);
    if (row_member(image, "baseline"))
        baseline_print(ctl, row_member(image, "baseline"));
    print_snapshots(ctl, image, now);
    print_findings(ctl, image);
    return 0;
}

int verb_show(struct ctl *ctl, int argc, char **argv)
{
    int r = source_needs_daemon(ctl, "show");

    for (int i = 0; r >= 0 && i < argc; i++) {
        bool is_id = argv[i][0] && argv[i][strspn(argv[i], "0123456789")] == '\0' &&
                     strlen(argv[i]) < 19;

        if (i > 0 && ctl->output.json == JSON_OFF)
            (void)putchar('\n');
        r = is_id ? show_finding(ctl, argv[i]) : show_image(ctl, argv[i]);
    }
    return r;
}
