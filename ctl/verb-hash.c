/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hash: digests of files as sha256sum prints them, and of what a guest sees. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/sums.h"
#include "ctl/source.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

DEFINE_CLEANUP(struct checker *, checker_free)

#define SHOWN_ALGORITHMS "it is a list of sha256, md5, sha1, sha512, separated by commas"

/* --algorithm: names separated by commas. */
static int parse_algorithms(const char *list, unsigned *ret_algorithms)
{
    unsigned algorithms = 0;

    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        unsigned found = 0;

        for (size_t i = 0; sum_kind_at(i); i++)
            if (sum_kind_at(i)->option && strlen(sum_kind_at(i)->option) == length &&
                strncmp(sum_kind_at(i)->option, at, length) == 0)
                found = sum_kind_at(i)->algorithm;
        if (!found) {
            _cleanup_free_ char *shown = text_escape_string(list);

            (void)complain(0, "--algorithm=%s: %s.", shown, SHOWN_ALGORITHMS);
            return -EINVAL;
        }
        algorithms |= found;
        at += length;
        if (!*at)
            break;
    }
    *ret_algorithms = algorithms;
    return 0;
}

static const char *bad_text(int error)
{
    return error == -EBADMSG  ? "metadata or compressed data is damaged"
           : error == -ESTALE ? "the file was truncated meanwhile"
                              : strerror(-error);
}

/* Names guest ranges that could not be read. */
static void complain_incomplete(const char *shown, const struct qca_content_digest *digest)
{
    char size[TEXT_SIZE_MAX];

    (void)complain(0, "Cannot read all that the guest of %s sees: %s is missing.", shown,
                   text_size(digest->bad_bytes, size));
    for (size_t i = 0; i < digest->n_bad; i++) {
        const struct qca_bad_range *bad = &digest->bad[i];

        (void)complain(0, "  guest range 0x%" PRIx64 ", %s, of layer %" PRIu32 ": %s",
                       bad->guest_offset, text_size(bad->length, size), bad->layer,
                       bad_text(bad->error));
    }
}

/* missing-bytes, missing: what complain_incomplete() tells */
static int add_incomplete(json_object *object, const struct qca_content_digest *digest)
{
    json_object *missing = json_object_new_array();
    int r = json_add(object, "missing", missing);

    if (r == 0)
        r = json_add(object, "missing-bytes", json_object_new_uint64(digest->bad_bytes));
    for (size_t i = 0; r == 0 && i < digest->n_bad; i++) {
        const struct qca_bad_range *bad = &digest->bad[i];
        json_object *range = json_object_new_object();

        if (!range || json_object_array_add(missing, range) < 0) {
            json_object_put(range);
            return -ENOMEM;
        }
        r = json_add(range, "guest-offset", json_object_new_uint64(bad->guest_offset));
        if (r == 0)
            r = json_add(range, "length", json_object_new_uint64(bad->length));
        if (r == 0)
            r = json_add(range, "layer", json_object_new_uint64(bad->layer));
        if (r == 0)
            r = json_add(range, "reason", json_object_new_string(bad_text(bad->error)));
    }
    return r;
}

static int add_json(json_object *all, const struct check *check, unsigned wanted, bool content,
                    const char *failure)
{
    json_object *object = json_object_new_object();
    int r = object ? 0 : -ENOMEM;

    if (r == 0 && json_object_array_add(all, object) < 0) {
        json_object_put(object);
        r = -ENOMEM;
    }
    if (r == 0)
        r = filter_add(object, "filename", check->file);
    for (size_t i = 0; r == 0 && check->report && sum_kind_at(i); i++) {
        const struct sum_kind *kind = sum_kind_at(i);
        const uint8_t *digest = sum_of_report(check->report, kind);
        char hex[2 * SUM_SIZE_MAX + 1];

        if (!digest || (kind->algorithm ? !(wanted & kind->algorithm) : !content))
            continue;
        hex_encode(digest, kind->size, hex);
        r = filter_add(object, kind->option ? kind->option : "content-sha256", hex);
    }
    if (r == 0 && check->report && check->report->content_digest &&
        !check->report->content_digest->complete)
        r = add_incomplete(object, check->report->content_digest);
    return r == 0 ? filter_add(object, "reason", failure) : r;
}

/* A disk with two sizes has two contents: this is the one that QEMU gives a guest. */
static void note_other_size(const char *shown, const struct audit_report *report)
{
    char size[TEXT_SIZE_MAX], other[TEXT_SIZE_MAX];

    if (report->n_layers > 0 && report->layers[0].info.other_size > 0)
        (void)complain(0, "%s: the content has the size of the disk's geometry, which QEMU goes "
                       "by, %s; the size field says %s.", shown,
                       text_size(report->layers[0].info.virtual_size, size),
                       text_size(report->layers[0].info.other_size, other));
}

/* Without its key, nobody can tell what an encrypted layer holds, although its format is known. */
static bool report_is_encrypted(const struct audit_report *report)
{
    for (size_t i = 0; i < report->n_layers; i++)
        if (report->layers[i].info.crypt_method != QCA_CRYPT_NONE)
            return true;
    return false;
}

enum { NOT_DONE = 1, NOT_UNDERSTOOD = 2 };

/* Shows the digests asked for that are there. 0, NOT_DONE when something is not, NOT_UNDERSTOOD
 * when its format keeps it from being had, or -errno. */
static int show(const struct ctl *ctl, const struct check *check, const struct check_ask *ask,
                json_object *all)
{
    _cleanup_free_ char *shown = text_escape_string(check->file), *failure = check_failure(check);
    const struct audit_report *report = check->report;
    bool content = ask->flags & WORKER_CONTENT_DIGEST;
    unsigned wanted = ask->flags & WORKER_FILE_DIGEST ? ask->algorithms : 0;
    int r = 0;

    if (check->has_writer)
        (void)complain(
            0,
            "%s: QEMU has it open for writing; the digest may match no state the image was ever "
            "in.",
            shown);
    if (all)
        r = add_json(all, check, wanted, content, failure);
    for (size_t i = 0; r == 0 && !all && report && sum_kind_at(i); i++) {
        const struct sum_kind *kind = sum_kind_at(i);
        const uint8_t *digest = sum_of_report(report, kind);

        if (digest && (kind->algorithm ? wanted & kind->algorithm : content))
            r = sum_print(ctl, check->file, kind, digest);
    }
    if (r < 0)
        return r;
    if (failure)
        (void)complain(0, "Cannot hash %s: %s.", shown, failure);
    if (report && report->content_digest && !report->content_digest->complete)
        complain_incomplete(shown, report->content_digest);
    if (report && report->content_digest)
        note_other_size(shown, report);
    if (failure && report && audit_report_open_error(report)->kind == QCA_ERROR_UNSUPPORTED &&
        !report_is_encrypted(report))
        return NOT_UNDERSTOOD;
    return failure || (report && report->content_digest && !report->content_digest->complete)
               ? NOT_DONE
               : 0;
}

static int hash_file(struct ctl *ctl, struct checker *checker, const char *file,
                     const struct check_ask *ask, json_object *all)
{
    struct check *check = calloc(1, sizeof(*check));
    int r = check ? checker_run(checker, file, ask, check) : -ENOMEM;

    if (r >= 0)
        r = show(ctl, check, ask, all);
    if (check)
        check_done(check);
    free(check);
    return r;
}

int verb_hash(struct ctl *ctl, int argc, char **argv)
{
    bool json = ctl->output.json != JSON_OFF, file = ctl->file || !ctl->content || ctl->algorithm;
    _cleanup_(json_object_putp) json_object *all = json ? json_object_new_array() : NULL;
    _cleanup_(checker_freep) struct checker *checker = NULL;
    struct check_ask ask = {
        .flags = (file ? WORKER_FILE_DIGEST : 0) |
                 (ctl->content ? WORKER_CONTENT_DIGEST | WORKER_CHAIN : 0) |
                 (ctl->scalar ? WORKER_SCALAR : 0),
        .algorithms = QCA_DIGEST_SHA256,
        .snapshot = ctl->snapshot,
    };
    int status = 0, r = json && !all ? -ENOMEM : 0;

    if (ctl->snapshot && !ctl->content)
        return complain(0, "--snapshot goes with --content."), -EINVAL;
    if (r == 0 && ctl->algorithm)
        r = parse_algorithms(ctl->algorithm, &ask.algorithms);
    if (r == 0)
        r = checker_new(ctl, true, &checker);
    for (int i = 0; r >= 0 && i < argc; i++) {
        r = hash_file(ctl, checker, argv[i], &ask, all);
        if (r > 0 && status != NOT_DONE)
            status = r;
    }
    if (r < 0)
        return r;
    if (json && output_json(&ctl->output, all) < 0)
        return complain(-ENOMEM, "Cannot show the result");
    return status;
}
