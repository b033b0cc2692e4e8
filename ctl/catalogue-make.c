/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* catalogue make: a list of images that are here, with the digest of what a guest sees, by which
 * the same content is known in any container. */
#include "ctl/catalogue-make.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/identity.h"
#include "helpers/text.h"
#include "provenance/catalogue-form.h"
#include "provenance/own-json.h"

DEFINE_CLEANUP(struct checker *, checker_free)

#define ALL (QCA_DIGEST_MD5 | QCA_DIGEST_SHA1 | QCA_DIGEST_SHA256 | QCA_DIGEST_SHA512)

static void take_digests(const struct audit_report *report, struct catalogue_record *record)
{
    const struct qca_file_digest *file = report->file_digest;
    const struct qca_content_digest *content = report->content_digest;
    unsigned algorithms = file ? file->algorithms : 0;

    if (file) {
        memcpy(record->md5, file->md5, sizeof(record->md5));
        memcpy(record->sha1, file->sha1, sizeof(record->sha1));
        memcpy(record->sha256, file->sha256, sizeof(record->sha256));
        memcpy(record->sha512, file->sha512, sizeof(record->sha512));
    }
    record->algorithms = (algorithms & QCA_DIGEST_MD5 ? 1U << CATALOGUE_MD5 : 0) |
                         (algorithms & QCA_DIGEST_SHA1 ? 1U << CATALOGUE_SHA1 : 0) |
                         (algorithms & QCA_DIGEST_SHA256 ? 1U << CATALOGUE_SHA256 : 0) |
                         (algorithms & QCA_DIGEST_SHA512 ? 1U << CATALOGUE_SHA512 : 0);
    record->has_content = content && content->complete;
    if (record->has_content)
        memcpy(record->content, content->digest, sizeof(record->content));
}

static int take_report(const struct check *check, const char *file, bool content, bool quiet,
                       struct catalogue_record *record)
{
    _cleanup_free_ char *shown = text_escape_string(file), *failure = check_failure(check);

    if (check->report)
        take_digests(check->report, record);
    if (record->algorithms == 0)
        return complain(0, "Cannot read %s: %s.", shown, failure ? failure : "it has no digest"),
               -EIO;
    if (record->has_content || !content)
        return 0;
    if (!quiet)
        (void)complain(0, "%s: what a guest sees of it is not known%s%s.", shown,
                       failure ? ": " : "", failure ? failure : "");
    return 1;
}

int catalogue_record_of(struct checker *checker, const char *file, unsigned algorithms,
                        bool content, bool quiet, struct catalogue_record *ret_record)
{
    const struct check_ask ask = {
        .flags = WORKER_FILE_DIGEST | (content ? WORKER_CONTENT_DIGEST | WORKER_CHAIN : 0),
        .algorithms = algorithms | QCA_DIGEST_SHA256,
    };
    const char *slash = strrchr(file, '/');
    struct catalogue_record record = { .name = (char *)(uintptr_t)(slash ? slash + 1 : file) };
    struct check *check = calloc(1, sizeof(*check));
    _cleanup_free_ char *shown = text_escape_string(file);
    struct stat st;
    int r = check && shown ? 0 : -ENOMEM;

    if (r >= 0 && stat(file, &st) < 0)
        r = complain(-errno, "Cannot read %s", shown);
    if (r >= 0) {
        record.size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : CATALOGUE_SIZE_UNKNOWN;
        r = checker_run(checker, file, &ask, check);
    }
    if (r >= 0)
        r = take_report(check, file, content, quiet, &record);
    if (check)
        check_done(check);
    free(check);
    if (r >= 0)
        *ret_record = record;
    return r;
}

/* The family that the name says, which a reader may believe or not. */
static int add_family(const struct families *families, const char *file,
                      struct catalogue_record *record)
{
    struct identity identity;

    if (!families)
        return 0;
    identity_of(families, file, file, &identity);
    if (identity.match.verdict != FAMILY_KNOWN)
        return 0;
    record->family = strdup(identity.match.families[0]->name);
    if (!record->family)
        return -ENOMEM;
    if (identity.match.version[0]) {
        record->version = strdup(identity.match.version);
        return record->version ? 0 : -ENOMEM;
    }
    return 0;
}

/* A list with a name that no reader takes is refused as a whole. */
static int refuse_name(const char *file)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file, *reason;
    _cleanup_free_ char *shown = NULL;

    if (catalogue_name_is_sound(name, strlen(name), &reason))
        return 0;
    shown = text_escape_string(file);
    return shown ? complain(0, "Cannot list %s: %s.", shown, reason), -EINVAL : -ENOMEM;
}

/* Nor does any reader take two contents of one name. */
static int refuse_second(const struct catalogue *catalogue, const char *file)
{
    const struct catalogue_record *last = &catalogue->records[catalogue->n - 1];
    _cleanup_free_ char *shown = NULL;

    for (size_t i = 0; i + 1 < catalogue->n; i++) {
        const struct catalogue_record *other = &catalogue->records[i];

        if (strcmp(other->name, last->name) != 0 ||
            memcmp(other->sha512, last->sha512, sizeof(last->sha512)) == 0)
            continue;
        shown = text_escape_string(file);
        return shown ? complain(0, "Cannot list %s: another file has the same name.", shown),
                       -EINVAL : -ENOMEM;
    }
    return 0;
}

static int make_record(struct checker *checker, const struct families *families, const char *file,
                       struct catalogue *catalogue)
{
    struct catalogue_record *record = &catalogue->records[catalogue->n];
    int r = refuse_name(file);

    if (r >= 0)
        r = catalogue_record_of(checker, file, ALL, true, false, record);
    if (r < 0)
        return r;
    record->name = strdup(record->name);
    record->level = CATALOGUE_PINNED;
    catalogue->n++;
    if (!record->name)
        return -ENOMEM;
    if (refuse_second(catalogue, file) < 0)
        return -EINVAL;
    if (r == 0)
        r = add_family(families, file, record);
    else
        (void)add_family(families, file, record);
    return r;
}

int catalogue_make(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(catalogue_donep) struct catalogue *catalogue = &(struct catalogue){ .n = 0 };
    _cleanup_(families_freep) struct families *families = NULL;
    _cleanup_(checker_freep) struct checker *checker = NULL;
    _cleanup_(json_object_putp) json_object *object = NULL;
    int status = 0, r;

    if (argc < 1)
        return complain(0, "'catalogue make' takes IMAGE..."), -EINVAL;
    catalogue->records = calloc((size_t)argc, sizeof(*catalogue->records));
    if (!catalogue->records)
        return -ENOMEM;
    (void)identity_families(ctl, true, &families);
    r = checker_new(ctl, true, &checker);
    for (int i = 0; r >= 0 && i < argc; i++) {
        r = make_record(checker, families, argv[i], catalogue);
        status |= r > 0;
    }
    if (r >= 0)
        r = catalogue_to_json(catalogue, &object);
    if (r < 0)
        return r;
    if (ctl->output.json == JSON_OFF)
        ctl->output.json = JSON_PRETTY;
    return output_json(&ctl->output, object) < 0 ? -ENOMEM : status;
}
