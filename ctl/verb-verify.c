/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify: files against lists of digests, as sha256sum -c does, for all algorithms and for
 * content. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/source.h"
#include "ctl/sums.h"
#include "helpers/text.h"

DEFINE_CLEANUP(struct checker *, checker_free)

/* A path of 4,095 bytes, all of it escaped, and the longest digest. */
#define LINE_MAX_SIZE 16384

struct verifier {
    struct ctl *ctl;
    struct checker *checker;
    json_object *all;               /* NULL: lines for people */
    const char *list;               /* as the user named it, made safe */
    uint64_t line;
    uint64_t checked, differing, unreadable, malformed;
};

enum outcome { OUTCOME_OK, OUTCOME_DIFFERS, OUTCOME_UNREADABLE };

static int tell(struct verifier *verifier, const struct sum_line *line, enum outcome outcome,
                const char *why)
{
    static const char *const words[] = { "OK", "FAILED", "FAILED open or read" };
    static const char *const states[] = { "same", "different", "unreadable" };
    _cleanup_free_ char *shown = text_escape_string(line->name);
    json_object *object;
    int r;

    if (outcome == OUTCOME_UNREADABLE)
        (void)complain(0, "%s:%" PRIu64 ": %s: %s.", verifier->list, verifier->line, shown, why);
    if (!verifier->all)
        return printf("%s: %s\n", shown, words[outcome]) < 0 ? -errno : 0;
    object = json_object_new_object();
    if (!object || json_object_array_add(verifier->all, object) < 0) {
        json_object_put(object);
        return complain(-ENOMEM, "Cannot show the result");
    }
    r = filter_add(object, "filename", line->name);
    if (r == 0)
        r = filter_add(object, "algorithm",
                       line->kind->option ? line->kind->option : "content-sha256");
    if (r == 0)
        r = filter_add(object, "result", states[outcome]);
    return r == 0 ? filter_add(object, "reason", why) : r;
}

static int verify_file(struct verifier *verifier, const struct sum_line *line)
{
    bool content = line->kind->algorithm == 0;
    const struct check_ask ask = {
        .flags = content ? WORKER_CONTENT_DIGEST | WORKER_CHAIN : WORKER_FILE_DIGEST,
        .algorithms = line->kind->algorithm,
    };
    struct check *check = calloc(1, sizeof(*check));
    int r = check ? checker_run(verifier->checker, line->name, &ask, check) : -ENOMEM;

    verifier->checked++;
    if (r >= 0) {
        _cleanup_free_ char *failure = check_failure(check);
        const uint8_t *digest = check->report ? sum_of_report(check->report, line->kind) : NULL;
        enum outcome outcome = !digest ? OUTCOME_UNREADABLE
                               : memcmp(digest, line->digest, line->kind->size) == 0
                                   ? OUTCOME_OK
                                   : OUTCOME_DIFFERS;

        verifier->differing += outcome == OUTCOME_DIFFERS;
        verifier->unreadable += outcome == OUTCOME_UNREADABLE;
        r = tell(verifier, line, outcome,
                 digest ? NULL
                 : failure
                     ? failure
                     : "Not all that its guest sees can be read; see qcauditctl hash --content");
    }
    if (check)
        check_done(check);
    free(check);
    return r;
}

static int verify_line(struct verifier *verifier, char *text, size_t size)
{
    struct sum_line line;
    const char *why;
    int r = sum_parse(text, size, verifier->ctl->content, &line, &why);

    if (r < 0) {
        verifier->malformed++;
        (void)complain(0, "%s:%" PRIu64 ": The line is left out: %s.", verifier->list,
                       verifier->line, why);
        return 0;
    }
    return r > 0 ? verify_file(verifier, &line) : 0;
}

/* The next line without its newline, cut at what buf takes; its true size. 0 at the end, -errno. */
static int read_line(FILE *file, char buf[static LINE_MAX_SIZE + 1], size_t *ret_size)
{
    size_t size = 0;
    int c;

    for (c = getc_unlocked(file); c != EOF && c != '\n'; c = getc_unlocked(file)) {
        if (size < LINE_MAX_SIZE)
            buf[size] = (char)c;
        size++;
    }
    if (ferror(file))
        return errno > 0 ? -errno : -EIO;
    buf[size < LINE_MAX_SIZE ? size : LINE_MAX_SIZE] = '\0';
    *ret_size = size;
    return c != EOF || size > 0;
}

static int verify_list(struct verifier *verifier, FILE *file)
{
    _cleanup_free_ char *buf = malloc(LINE_MAX_SIZE + 1);
    size_t size = 0;
    int r;

    if (!buf)
        return complain(-ENOMEM, "Cannot read the list");
    verifier->line = 0;
    while ((r = read_line(file, buf, &size)) > 0) {
        verifier->line++;
        if (size > LINE_MAX_SIZE) {
            verifier->malformed++;
            (void)complain(0, "%s:%" PRIu64 ": The line is left out: it is longer than %d bytes.",
                           verifier->list, verifier->line, LINE_MAX_SIZE);
            continue;
        }
        r = verify_line(verifier, buf, size);
        if (r < 0)
            return r;
    }
    return r < 0 ? complain(r, "Cannot read %s", verifier->list) : 0;
}

static int verify_named(struct verifier *verifier, const char *name)
{
    _cleanup_free_ char *shown = text_escape_string(name);
    bool standard = strcmp(name, "-") == 0;
    FILE *file = standard ? stdin : fopen(name, "re");
    uint64_t before = verifier->checked;
    int r;

    if (!file)
        return complain(-errno, "Cannot open %s", shown);
    verifier->list = shown;
    r = verify_list(verifier, file);
    if (!standard)
        (void)fclose(file);
    if (r == 0 && verifier->checked == before)
        return complain(0, "%s: there is no line with a digest.", shown), -EINVAL;
    return r;
}

static void sum_up(const struct verifier *verifier)
{
    if (verifier->malformed > 0)
        (void)complain(0, "WARNING: lines left out: %" PRIu64 ".", verifier->malformed);
    if (verifier->unreadable > 0)
        (void)complain(0, "WARNING: listed files that could not be read: %" PRIu64 ".",
                       verifier->unreadable);
    if (verifier->differing > 0)
        (void)complain(0, "WARNING: digests that did NOT match: %" PRIu64 ".", verifier->differing);
}

int verb_verify(struct ctl *ctl, int argc, char **argv)
{
    bool json = ctl->output.json != JSON_OFF;
    _cleanup_(json_object_putp) json_object *all = json ? json_object_new_array() : NULL;
    _cleanup_(checker_freep) struct checker *checker = NULL;
    struct verifier verifier = { .ctl = ctl, .all = all };
    int r = json && !all ? -ENOMEM : checker_new(ctl, true, &checker), status = 0;

    if (r < 0)
        return r;
    verifier.checker = checker;
    for (int i = 0; i < argc; i++)
        if (verify_named(&verifier, argv[i]) < 0)
            status = EXIT_FAILURE;
    sum_up(&verifier);
    if (json && output_json(&ctl->output, all) < 0)
        return complain(-ENOMEM, "Cannot show the result");
    return verifier.differing || verifier.unreadable ? EXIT_FAILURE : status;
}
