/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether files are what catalogues know: original, repacked, renamed, modified. */
#include "ctl/catalogue-known.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/catalogue-list.h"
#include "ctl/catalogue-make.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

DEFINE_CLEANUP(struct checker *, checker_free)

enum { LISTS_MAX = 1000 };

struct known_catalogues {
    struct checker *checker;
    struct catalogue_list *lists;
    const struct catalogue **catalogues;        /* of the lists */
    size_t n;
    unsigned algorithms;        /* QCA_DIGEST_* that the lists have: others need not be computed */
    bool content;               /* a list has what a guest sees */
};

struct known_catalogues *known_catalogues_free(struct known_catalogues *catalogues)
{
    if (!catalogues)
        return NULL;
    for (size_t i = 0; i < catalogues->n; i++)
        catalogue_list_done(&catalogues->lists[i]);
    checker_free(catalogues->checker);
    free(catalogues->catalogues);
    free(catalogues->lists);
    free(catalogues);
    return NULL;
}

/* ---- the lists ------------------------------------------------------------------------------ */

static int add_list(struct ctl *ctl, struct known_catalogues *catalogues, const char *path)
{
    struct catalogue_list *lists;
    int r;

    if (catalogues->n >= LISTS_MAX)
        return complain(0, "%s: a folder has more than %d lists.", ctl->catalogue, LISTS_MAX),
               -E2BIG;
    lists = reallocarray(catalogues->lists, catalogues->n + 1, sizeof(*lists));
    if (!lists)
        return -ENOMEM;
    catalogues->lists = lists;
    r = catalogue_list_read(ctl, path, &lists[catalogues->n]);
    catalogues->n += r >= 0;
    return r;
}

static int is_list(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* All files of the folder, in order of name. One that is refused ends it: half a catalogue would
 * call originals unknown. */
static int add_folder(struct ctl *ctl, struct known_catalogues *catalogues)
{
    struct dirent **entries;
    int n = scandir(ctl->catalogue, &entries, is_list, alphasort), r = 0;

    if (n < 0)
        return complain(-errno, "Cannot read %s", ctl->catalogue);
    for (int i = 0; i < n; i++) {
        _cleanup_free_ char *path = NULL;

        if (r >= 0 && asprintf(&path, "%s/%s", ctl->catalogue, entries[i]->d_name) < 0) {
            path = NULL;
            r = -ENOMEM;
        }
        if (r >= 0)
            r = add_list(ctl, catalogues, path);
        free(entries[i]);
    }
    free(entries);
    return r;
}

static void note_digests(struct known_catalogues *catalogues, const struct catalogue *catalogue)
{
    static const unsigned bits[_CATALOGUE_ALGORITHM_MAX] = {
        [CATALOGUE_MD5] = QCA_DIGEST_MD5, [CATALOGUE_SHA1] = QCA_DIGEST_SHA1,
        [CATALOGUE_SHA256] = QCA_DIGEST_SHA256, [CATALOGUE_SHA512] = QCA_DIGEST_SHA512,
    };

    for (size_t i = 0; i < catalogue->n; i++) {
        const struct catalogue_record *record = &catalogue->records[i];

        for (int k = 0; k < _CATALOGUE_ALGORITHM_MAX; k++)
            catalogues->algorithms |= record->algorithms & 1U << k ? bits[k] : 0;
        catalogues->content |= record->has_content;
    }
}

int known_catalogues_new(struct ctl *ctl, struct known_catalogues **ret_catalogues)
{
    _cleanup_(known_catalogues_freep) struct known_catalogues *catalogues =
        calloc(1, sizeof(*catalogues));
    struct stat st;
    int r = catalogues ? 0 : -ENOMEM;

    if (r >= 0 && ctl->catalogue) {
        r = stat(ctl->catalogue, &st) == 0 && S_ISDIR(st.st_mode)
                ? add_folder(ctl, catalogues) : add_list(ctl, catalogues, ctl->catalogue);
        if (r >= 0)
            r = checker_new(ctl, true, &catalogues->checker);
    }
    if (r >= 0 && catalogues->n > 0) {
        catalogues->catalogues = calloc(catalogues->n, sizeof(*catalogues->catalogues));
        r = catalogues->catalogues ? 0 : -ENOMEM;
    }
    if (r < 0)
        return r;
    for (size_t i = 0; i < catalogues->n; i++) {
        catalogues->catalogues[i] = &catalogues->lists[i].catalogue;
        note_digests(catalogues, catalogues->catalogues[i]);
    }
    *ret_catalogues = TAKE_PTR(catalogues);
    return 0;
}

/* ---- a file --------------------------------------------------------------------------------- */

/* Do the names of the file and of the record say two things? */
static bool names_differ(const struct families *families, const struct identity *file,
                         const char *name)
{
    struct identity record;

    identity_of(families, name, name, &record);
    if (file->match.verdict != FAMILY_KNOWN || record.match.verdict != FAMILY_KNOWN)
        return false;
    return file->match.families[0] != record.match.families[0] ||
           (file->match.version[0] && record.match.version[0] &&
            strcmp(file->match.version, record.match.version) != 0);
}

int known_of(struct known_catalogues *catalogues, const struct families *families,
             const struct identity *identity, struct known *ret_known)
{
    const char *argument = identity->name;
    struct known known = { .asked = false };
    struct catalogue_record record;
    struct stat st;
    int r;

    *ret_known = known;
    if (!catalogues->checker || stat(argument, &st) < 0 || S_ISDIR(st.st_mode))
        return 0;
    r = catalogue_record_of(catalogues->checker, argument, catalogues->algorithms,
                            catalogues->content, true, &record);
    if (r < 0)
        return r;
    known.asked = true;
    known.unread = catalogues->content && !record.has_content;
    verdict_of(&record, catalogues->catalogues, catalogues->n, &known.judgement);
    if ((known.judgement.verdict == VERDICT_ORIGINAL ||
         known.judgement.verdict == VERDICT_REPACKED) &&
        names_differ(families, identity, known.judgement.record->name))
        known.judgement.verdict = VERDICT_RENAMED;
    for (size_t i = 0; i < catalogues->n; i++)
        if (known.judgement.catalogue == catalogues->catalogues[i])
            known.list = catalogues->lists[i].shown;
    *ret_known = known;
    return 0;
}

bool known_is_good(const struct known *known)
{
    return (known->judgement.verdict == VERDICT_ORIGINAL && !known->judgement.weak) ||
           known->judgement.verdict == VERDICT_REPACKED;
}

/* ---- what is shown -------------------------------------------------------------------------- */

/* Around the name of the record. */
struct words { const char *before, *after; };

static struct words verdict_words(const struct judgement *judgement)
{
    switch (judgement->verdict) {
    case VERDICT_ORIGINAL:
        if (judgement->weak)
            return (struct words){ "not sure: by MD5 or SHA-1 alone, which another file can be "
                                   "made to have, the file is ", "" };
        return (struct words){ "original: the file is ", ", byte for byte" };
    case VERDICT_REPACKED:
        return (struct words){ "repacked: a guest sees what it sees of ",
                               ", in another container" };
    case VERDICT_RENAMED:
        return (struct words){ judgement->same_bytes ? "renamed: the file is "
                                                     : "renamed: a guest sees what it sees of ",
                               judgement->named
                                   ? ", and the name is another image's of the catalogue"
                                   : ", and the name says another appliance or version" };
    case VERDICT_MODIFIED:
        return (struct words){ "modified: it has the name of ",
                               ", and a guest sees something else" };
    case VERDICT_DIFFERENT:
        return (struct words){ "different: it has the name of ",
                               ", and other bytes. Whether it is a repack or a modification is not "
                               "known: the catalogue does not say what a guest sees of the "
                               "original" };
    default:
        if (judgement->archive)
            return (struct words){ "unknown: the catalogue has the digest of ",
                                   ", which may be that of the compressed file" };
        return (struct words){ "unknown: no catalogue has its bytes, its content or its name", "" };
    }
}

/* Of records, family, version and name are safe to print: others are refused. */
static void print_record(FILE *stream, const struct known *known)
{
    const struct catalogue_record *record = known->judgement.record;

    if (record->family)
        (void)fprintf(stream, "; family %s%s%s", record->family, record->version ? " " : "",
                      record->version ? record->version : "");
    else if (record->version)
        (void)fprintf(stream, "; version %s", record->version);
    (void)fprintf(stream, "; by %s (%s)", known->list ? known->list : "",
                  catalogue_level_name(record->level));
}

char *known_text(const struct known *known)
{
    const struct judgement *judgement = &known->judgement;
    struct words words = verdict_words(judgement);
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);

    if (!stream)
        return NULL;
    (void)fprintf(stream, "%s%s%s", words.before, judgement->record ? judgement->record->name : "",
                  words.after);
    if (known->unread && judgement->verdict != VERDICT_ORIGINAL &&
        !(judgement->verdict == VERDICT_RENAMED && judgement->same_bytes))
        (void)fprintf(stream, "; what a guest sees of this file cannot be read");
    if (judgement->record)
        print_record(stream, known);
    return fclose(stream) == 0 ? text : NULL;
}

int known_json(const struct known *known, json_object *object)
{
    const struct judgement *judgement = &known->judgement;
    json_object *content;
    int r;

    if (!known->asked)
        return 0;
    content = json_object_new_object();
    r = json_add(object, "content", content);
    if (r == 0)
        r = json_add_text(content, "verdict", verdict_name(judgement->verdict));
    if (r == 0)
        r = json_add(content, "weak", json_object_new_boolean(judgement->weak));
    if (r < 0 || !judgement->record)
        return r;
    r = json_add_text(content, "record", judgement->record->name);
    if (r == 0 && judgement->named)
        r = json_add_text(content, "named", judgement->named->name);
    if (r == 0)
        r = json_add_text(content, "family", judgement->record->family);
    if (r == 0)
        r = json_add_text(content, "version", judgement->record->version);
    if (r == 0)
        r = json_add_text(content, "level", catalogue_level_name(judgement->record->level));
    if (r == 0)
        r = json_add_text(content, "list", known->list);
    return r;
}
