/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* check --evidence: is an archive as it was written, and are its tables still what they were found
 * to be? */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "ctl/bundle.h"
#include "ctl/when.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "helpers/write.h"

#define PROBLEMS_SHOWN 20
#define ISSUES_COMPARED 1000        /* a check keeps so many */
#define VIEW_MAX (2 * BUNDLE_TABLES_MAX)

struct evidence_check {
    struct ctl *ctl;
    const char *file;               /* the archive's path */
    struct qca_io *io;
    struct bundle bundle;
    json_object *problems;
    uint64_t n_problems;
    json_object *versions, *layout, *found;     /* members; found: of the check then */
    json_object *again;             /* NULL: nothing was checked again */
    struct check check;             /* that */
    bool whole;                     /* all tables are there */
    uint64_t n_found, n_again;      /* issues that can be compared, and are there again */
    uint64_t n_others;              /* found, and not to be compared */
    bool same;
};

/* ---- the archive ---------------------------------------------------------------------------- */

static const char *problem_name(enum bundle_problem problem)
{
    switch (problem) {
    case BUNDLE_DIFFERS: return "differs";
    case BUNDLE_UNLISTED: return "unlisted";
    case BUNDLE_MISSING: return "missing";
    case BUNDLE_TWICE: return "twice";
    }
    return NULL;
}

static const char *problem_text(const char *problem)
{
    return strcmp(problem, "differs") == 0    ? "is not what the manifest has"
           : strcmp(problem, "unlisted") == 0 ? "is not in the manifest"
           : strcmp(problem, "missing") == 0  ? "is in the manifest, and not in the archive"
                                              : "is in the archive twice";
}

static void on_problem(void *userdata, const char *name, enum bundle_problem problem)
{
    struct evidence_check *check = userdata;
    json_object *row;

    if (check->n_problems++ >= PROBLEMS_SHOWN)
        return;
    row = json_object_new_object();
    if (json_add_text(row, "member", name) < 0 ||
        json_add_text(row, "problem", problem_name(problem)) < 0 ||
        json_object_array_add(check->problems, row) < 0)
        json_object_put(row);
}

/* A member as JSON; *ret_object stays NULL when there is none. */
static int take_json(const struct evidence_check *check, const char *name, json_object **ret_object)
{
    const struct bundle_member *member = bundle_find(&check->bundle, name);
    _cleanup_free_ char *text = NULL;
    int r = member ? bundle_data(check->io, member, &text) : 0;

    if (member && r >= 0)
        r = json_text_parse(text, (size_t)member->place.size, ret_object);
    if (r >= 0 && member && !json_object_is_type(*ret_object, json_type_object))
        r = -EBADMSG;
    return r;
}

static int read_archive(struct evidence_check *check, int fd)
{
    int r = qca_io_new_fd(fd, &check->io);

    if (r >= 0)
        r = bundle_read(check->io, bundle_digest, on_problem, check, &check->bundle);
    if (r < 0 || check->n_problems > 0)
        return r;
    r = take_json(check, "versions.json", &check->versions);
    if (r >= 0)
        r = take_json(check, BUNDLE_LAYOUT, &check->layout);
    if (r >= 0)
        r = take_json(check, BUNDLE_CHECK, &check->found);
    return r >= 0 && (!check->versions || !check->layout) ? -EBADMSG : r;
}

/* The layout of the image itself; NULL when that makes no sense. */
static json_object *image_layout(const struct evidence_check *check)
{
    json_object *layers = row_member(check->layout, "layers"),
                *image = json_object_is_type(layers, json_type_array) &&
                                 json_object_array_length(layers) > 0
                             ? json_object_array_get_idx(layers, 0) : NULL;

    return json_object_is_type(image, json_type_object) ? image : NULL;
}

/* ---- its tables, as a file ------------------------------------------------------------------ */

/* At their offsets in a file in memory that is as long as the image was; all else is zero. */
static int put_piece(const struct evidence_check *check, const struct bundle_member *member,
                     int view, uint64_t file_size, uint64_t *room)
{
    const char *digits = member->name + strlen(BUNDLE_PIECE_OF_IMAGE);
    _cleanup_free_ char *data = NULL;
    uint8_t bytes[8];
    uint64_t offset = 0, size = member->place.size;
    int r = hex_decode(digits, bytes, sizeof(bytes));

    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof(bytes); i++)
        offset = offset << 8 | bytes[i];
    if (offset > file_size || size > file_size - offset || size > *room)
        return -EBADMSG;
    *room -= size;
    r = bundle_data(check->io, member, &data);
    if (r >= 0 && lseek(view, (off_t)offset, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? r : write_all(view, data, size);
}

static int make_view(const struct evidence_check *check, json_object *image, int *ret_fd)
{
    json_object *stat = row_member(image, "stat");
    uint64_t file_size = row_number(row_has(image, "file-size") ? image : stat,
                                    row_has(image, "file-size") ? "file-size" : "size"),
             room = VIEW_MAX;
    _cleanup_close_ int view = memfd_create("evidence", MFD_CLOEXEC);
    int r = view < 0 ? -errno : 0;

    if (r >= 0 && file_size > INT64_MAX)
        r = -EBADMSG;
    if (r >= 0 && ftruncate(view, (off_t)file_size) < 0)
        r = -errno;
    for (size_t i = 0; r >= 0 && i < check->bundle.n; i++)
        if (strncmp(check->bundle.members[i].name, BUNDLE_PIECE_OF_IMAGE,
                    strlen(BUNDLE_PIECE_OF_IMAGE)) == 0)
            r = put_piece(check, &check->bundle.members[i], view, file_size, &room);
    if (r < 0)
        return r;
    *ret_fd = TAKE_FD(view);
    return 0;
}

/* ---- the same issues? ----------------------------------------------------------------------- */

/* Does it rest on what is never kept: guest data, keys, holes of the file, other files? */
static bool rests_on_others(const char *kind)
{
    static const char *const kinds[] = { "data-behind-end", "luks-",       "parent-",
                                         "data-file-",      "l2-table-hole", "data-hole" };

    for (size_t i = 0; kind && i < ELEMENTSOF(kinds); i++)
        if (strncmp(kind, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

/* Forgets issues that a view raises for lack of those things. */
static void forget_others(struct qca_check_result *result)
{
    size_t n = 0;

    for (size_t i = 0; i < result->n_issues; i++)
        if (!rests_on_others(qca_issue_kind_name(result->issues[i].kind)))
            result->issues[n++] = result->issues[i];
    result->n_issues = n;
    for (int kind = 0; result->kind_count && kind < _QCA_ISSUE_MAX; kind++)
        if (rests_on_others(qca_issue_kind_name(kind)))
            result->kind_count[kind] = 0;
}

static size_t n_issues(json_object *result)
{
    json_object *issues = row_member(result, "issues");

    return json_object_is_type(issues, json_type_array) ? json_object_array_length(issues) : 0;
}

/* Those of a check that can be compared, in order. */
static int comparable(json_object *result, json_object **ret_issues)
{
    json_object *issues = row_member(result, "issues"), *kept = json_object_new_array();
    size_t n = n_issues(result);

    if (!kept)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        json_object *issue = json_object_array_get_idx(issues, i);

        if (json_object_is_type(issue, json_type_object) &&
            !rests_on_others(row_raw(issue, "kind")) &&
            json_object_array_add(kept, json_object_get(issue)) < 0) {
            json_object_put(issue);
            json_object_put(kept);
            return -ENOMEM;
        }
    }
    *ret_issues = kept;
    return 0;
}

static bool same_member(const struct evidence_check *check, const char *key)
{
    json_object *then = row_member(check->found, key), *now = row_member(check->again, key);

    return then && now ? json_object_equal(then, now) : then == now;
}

/* Issues of a check that found more than it keeps are compared as far as both go. */
static int compare(struct evidence_check *check)
{
    static const char *const members[] = { "opened", "error", "format", "virtual-size", "finished",
                                           "corruptions", "leaks", "check-errors" };
    _cleanup_(json_object_putp) json_object *then = NULL, *now = NULL;
    size_t n_then, n_now, at = 0;
    int r = comparable(check->found, &then);

    if (r >= 0)
        r = comparable(check->again, &now);
    if (r < 0)
        return r;
    n_then = json_object_array_length(then);
    n_now = json_object_array_length(now);
    check->n_found = n_then;
    check->n_others = n_issues(check->found) - n_then;
    check->same = n_then == n_now || n_then + n_now > 2 * (ISSUES_COMPARED - 10);
    for (size_t i = 0; i < ELEMENTSOF(members); i++)
        check->same &= same_member(check, members[i]);
    /* Without some tables there is more now than then; the order is the same. */
    for (size_t i = 0; i < n_then; i++) {
        size_t next = at;

        while (next < n_now && !json_object_equal(json_object_array_get_idx(then, i),
                                                  json_object_array_get_idx(now, next)))
            next++;
        if (next < n_now) {
            check->n_again++;
            at = next + 1;
        }
    }
    check->same &= check->n_again == n_then || check->n_again == n_now;
    return 0;
}

/* As it would be read from an archive: what is no text has another form there. */
static int as_member(json_object *value, json_object **ret_object)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = output_json_text(value, &text, &size);

    return r < 0 ? r : json_text_parse(text, size, ret_object);
}

static int check_again(struct evidence_check *check, struct checker *checker)
{
    const struct check_ask ask = { .flags = WORKER_CHECK };
    _cleanup_(json_object_putp) json_object *result = NULL;
    json_object *image = image_layout(check);
    const char *path = image ? row_raw(image, "path") : NULL;
    _cleanup_close_ int view = -1;
    struct qca_file_id id = { .is_device = image && row_bool(image, "on-device") };
    int r;

    if (!path)
        return -EBADMSG;
    /* Nothing was opened then, or nothing is kept of this format. */
    if (!check->found ||
        (row_has(image, "format") &&
         !qca_format_has(qca_format_from_name(row_raw(image, "format")), QCA_TRAIT_REFCOUNTS)))
        return 0;
    check->whole = row_bool(image, "whole");
    r = make_view(check, image, &view);
    if (r >= 0)
        r = checker_run_open(checker, path, view, &id, &ask, &check->check);
    if (r >= 0 && check->check.report && check->check.report->n_layers > 0)
        forget_others(&check->check.report->layers[0].check);
    if (r >= 0)
        r = check_json(&check->check, &result);
    if (r >= 0)
        r = as_member(result, &check->again);
    return r < 0 ? r : compare(check);
}

/* ---- what is said of it --------------------------------------------------------------------- */

static void print_problems(const struct evidence_check *check, const char *shown)
{
    const struct output *output = &check->ctl->output;

    (void)printf("%s%s was changed since it was written, or is damaged:%s\n",
                 output_colour(output, COLOUR_BRIGHT_RED), shown,
                 output_colour(output, COLOUR_OFF));
    for (size_t i = 0; i < json_object_array_length(check->problems); i++) {
        json_object *row = json_object_array_get_idx(check->problems, i);
        _cleanup_free_ char *name = row_text(row, "member");

        (void)printf("  %s %s\n", name, problem_text(row_raw(row, "problem")));
    }
    if (check->n_problems > PROBLEMS_SHOWN)
        (void)printf("  ... and %" PRIu64 " more\n", check->n_problems - PROBLEMS_SHOWN);
}

static int print_again(const struct evidence_check *check)
{
    const struct output *output = &check->ctl->output;
    int r = 0;

    if (!check->again) {
        (void)printf(check->found ? "No tables of its format are kept: there is nothing to check "
                                    "again.\n"
                                  : "The image was not opened then: there is nothing to check "
                                    "again.\n");
        return 0;
    }
    if (!check->whole) {
        (void)printf("Not all of its tables are kept, so that a check cannot be made again. Of the "
                     "%" PRIu64 "\nissues that were found then, %" PRIu64 " %s found again in "
                     "those that are.\n", check->n_found, check->n_again,
                     check->n_again == 1 ? "is" : "are");
        return 0;
    }
    (void)putchar('\n');
    r = check_print(check->ctl, &check->check);
    (void)printf("\n%s%s%s\n",
                 output_colour(output, check->same ? COLOUR_GREEN : COLOUR_BRIGHT_RED),
                 check->same ? "The same as when the evidence was written."
                             : "This is not what was found when the evidence was written: see "
                               BUNDLE_CHECK " in it.",
                 output_colour(output, COLOUR_OFF));
    if (check->n_others > 0)
        (void)printf("Not checked again, as guest data, keys, holes and other files are not kept: "
                     "%" PRIu64 " issue%s.\n", check->n_others, check->n_others == 1 ? "" : "s");
    /* An image that cannot be opened is the result. */
    return check->same && r < 0 ? 0 : r;
}

static int print(const struct evidence_check *check)
{
    _cleanup_free_ char *shown = text_escape_string(check->file), *path = NULL, *host = NULL;
    char digits[65], when[WHEN_MAX];

    if (!shown)
        return -ENOMEM;
    if (check->n_problems > 0) {
        print_problems(check, shown);
        return 0;
    }
    path = row_text(check->versions, "path");
    host = row_text(check->versions, "host");
    hex_encode(check->bundle.manifest, sizeof(check->bundle.manifest), digits);
    (void)printf("%s: evidence of %s, written at %s on %s.\n"
                 "Its %zu members are as the manifest has them. SHA-256 of the manifest:\n%s\n",
                 shown, path ? path : "?", when_text(row_number(check->versions, "made"), when),
                 host ? host : "?", check->bundle.n, digits);
    return print_again(check);
}

static int to_json(const struct evidence_check *check, json_object *all)
{
    json_object *object = json_object_new_object();
    char digits[65];
    int r = json_object_array_add(all, object) < 0 ? -ENOMEM
                                                   : json_add_text(object, "archive", check->file);

    hex_encode(check->bundle.manifest, sizeof(check->bundle.manifest), digits);
    if (r >= 0)
        r = json_add(object, "intact", json_object_new_boolean(check->n_problems == 0));
    if (r >= 0 && check->n_problems > 0)
        r = json_add_number(object, "problems-total", check->n_problems);
    if (r >= 0 && check->n_problems > 0)
        return json_add(object, "problems", json_object_get(check->problems));
    if (r >= 0)
        r = json_add_text(object, "manifest-sha256", digits);
    if (r >= 0)
        r = json_add(object, "versions", json_object_get(check->versions));
    if (r >= 0 && check->found)
        r = json_add(object, "found", json_object_get(check->found));
    if (r < 0 || !check->again)
        return r;
    r = json_add(object, "whole", json_object_new_boolean(check->whole));
    if (r >= 0)
        r = json_add_number(object, "not-checked-again", check->n_others);
    if (r >= 0 && check->whole)
        r = json_add(object, "same", json_object_new_boolean(check->same));
    if (r >= 0 && check->whole)
        return json_add(object, "again", json_object_get(check->again));
    return r < 0 ? r : json_add_number(object, "found-again", check->n_again);
}

/* An archive that could not be read: standard error says why. */
static int add_failure(const char *file, json_object *all)
{
    json_object *object = json_object_new_object();

    if (json_object_array_add(all, object) < 0) {
        json_object_put(object);
        return -ENOMEM;
    }
    return json_add_text(object, "archive", file) < 0 ||
                   json_add(object, "intact", json_object_new_boolean(false)) < 0
               ? -ENOMEM : 0;
}

/* Of what was found then, and cannot be found again. */
static int others_status(const struct evidence_check *check)
{
    json_object *issues = row_member(check->found, "issues");
    int status = CHECK_CLEAN;

    for (size_t i = 0; i < n_issues(check->found); i++) {
        const char *name = row_raw(json_object_array_get_idx(issues, i), "kind");
        enum qca_issue_kind kind = name ? qca_issue_kind_from_name(name) : _QCA_ISSUE_MAX;

        if (rests_on_others(name) && kind != _QCA_ISSUE_MAX && check_is_hidden_damage(kind) &&
            !check->ctl->compatible)
            status = CHECK_CORRUPT;
    }
    return status;
}

/* The check's exit status, where there is a whole one; 1 when something is not as it was. */
static int exit_status(const struct evidence_check *check)
{
    if (check->n_problems > 0)
        return CHECK_FAILED;
    if (!check->again)
        return CHECK_UNSUPPORTED;
    if (!check->whole)
        return check->n_again == check->n_found ? CHECK_UNSUPPORTED : CHECK_FAILED;
    return check->same ? check_worse(check_exit_status(&check->check, check->ctl->compatible),
                                     others_status(check))
                       : CHECK_FAILED;
}

int bundle_check(struct ctl *ctl, struct checker *checker, const char *file, json_object *all)
{
    _cleanup_free_ struct evidence_check *check = calloc(1, sizeof(*check));
    _cleanup_free_ char *shown = text_escape_string(file);
    _cleanup_close_ int fd = -1;
    struct qca_file_id id;
    int r = check && shown ? 0 : -ENOMEM, status = CHECK_FAILED;

    if (r < 0)
        return complain(r, "Cannot check evidence");
    check->ctl = ctl;
    check->file = file;
    check->problems = json_object_new_array();
    r = check->problems ? check_open(file, &fd, &id) : -ENOMEM;
    if (r >= 0)
        r = read_archive(check, fd);
    if (r >= 0 && check->n_problems == 0)
        r = check_again(check, checker);
    if (r < 0) {
        if (r == -EBADMSG)
            (void)complain(0, "%s is no archive of evidence, or was damaged.", shown);
        else if (r == -ENODATA)
            (void)complain(0, "%s ends before it is complete.", shown);
        else
            (void)complain(r, "Cannot check %s", shown);
        if (all && add_failure(file, all) < 0)
            status = complain(-ENOMEM, "Cannot show what was found");
    } else {
        r = all ? to_json(check, all) : print(check);
        status = r < 0 ? complain(r, "Cannot show what was found") : exit_status(check);
    }
    if (check->check.file)
        check_done(&check->check);
    json_object_put(check->versions);
    json_object_put(check->layout);
    json_object_put(check->found);
    json_object_put(check->again);
    json_object_put(check->problems);
    bundle_done(&check->bundle);
    qca_io_free(check->io);
    return status;
}
