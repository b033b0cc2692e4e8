/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Is a file what a catalogue knows? By digests first: a name is what anybody may give a file. */
#include "provenance/verdict.h"

#include <string.h>
#include <strings.h>

enum fit {
    FIT_NONE,
    FIT_ARCHIVE,                /* its name, with the ending of a compressed file */
    FIT_NAME,
    FIT_CONTENT,
    FIT_WEAK,                   /* its bytes, by a weak digest */
    FIT_BYTES,
};

enum { _LEVELS = CATALOGUE_SIGNED + 1 };

struct found {
    enum fit fit;
    bool own_name;
    const struct catalogue *catalogue;
    const struct catalogue_record *record;
};

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[_VERDICT_MAX] = {
        [VERDICT_UNKNOWN] = "unknown",   [VERDICT_ORIGINAL] = "original",
        [VERDICT_REPACKED] = "repacked", [VERDICT_RENAMED] = "renamed",
        [VERDICT_MODIFIED] = "modified", [VERDICT_DIFFERENT] = "different",
    };

    return names[verdict];
}

/* The strongest digest that both have decides. */
static enum fit fit_of_bytes(const struct catalogue_record *file,
                             const struct catalogue_record *record)
{
    if (record->size != CATALOGUE_SIZE_UNKNOWN && record->size != file->size)
        return FIT_NONE;
    for (int i = _CATALOGUE_ALGORITHM_MAX - 1; i >= 0; i--) {
        enum catalogue_algorithm algorithm = (enum catalogue_algorithm)i;
        const uint8_t *of_file = catalogue_digest(file, algorithm),
                      *of_record = catalogue_digest(record, algorithm);

        if (!of_file || !of_record)
            continue;
        if (memcmp(of_file, of_record, catalogue_algorithm_size(algorithm)) != 0)
            return FIT_NONE;
        return algorithm == CATALOGUE_MD5 || algorithm == CATALOGUE_SHA1 ? FIT_WEAK : FIT_BYTES;
    }
    return FIT_NONE;
}

static enum fit fit_of_name(const char *file, const char *record)
{
    static const char *const endings[] = { ".gz", ".xz", ".zst", ".bz2", ".zip", ".lz4" };
    size_t n = strlen(file);

    if (strncmp(file, record, n) != 0)
        return FIT_NONE;
    if (!record[n])
        return FIT_NAME;
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
        if (strcasecmp(record + n, endings[i]) == 0)
            return FIT_ARCHIVE;
    return FIT_NONE;
}

/* Can it be said at all that the file's bytes are not the record's? */
static bool is_comparable(const struct catalogue_record *file,
                          const struct catalogue_record *record)
{
    return (record->size != CATALOGUE_SIZE_UNKNOWN && record->size != file->size) ||
           (file->algorithms & record->algorithms) != 0 ||
           (file->has_content && record->has_content);
}

static void look(const struct catalogue_record *file, const struct catalogue *catalogue,
                 const struct catalogue_record *record, struct found *found,
                 struct found *named)
{
    enum fit by_name = fit_of_name(file->name, record->name),
             fit = fit_of_bytes(file, record);

    /* a file that was forged to have a weak digest has another content */
    if (fit != FIT_BYTES && file->has_content && record->has_content)
        fit = memcmp(file->content, record->content, sizeof(file->content)) != 0 ? FIT_NONE
              : fit == FIT_NONE                                                  ? FIT_CONTENT
                                                                                 : fit;
    if (fit > found->fit ||
        (fit == found->fit && fit > FIT_NONE &&
         (by_name == FIT_NAME) * _LEVELS + (int)record->level >
             found->own_name * _LEVELS + (int)found->record->level))
        *found = (struct found){ fit, by_name == FIT_NAME, catalogue, record };
    if (fit == FIT_NONE && is_comparable(file, record) &&
        (by_name > named->fit ||
         (by_name == named->fit && by_name > FIT_NONE && record->level > named->record->level)))
        *named = (struct found){ by_name, by_name == FIT_NAME, catalogue, record };
}

void verdict_of(const struct catalogue_record *file, const struct catalogue *const *catalogues,
                size_t n_catalogues, struct judgement *ret_judgement)
{
    struct found found = { .fit = FIT_NONE }, named = { .fit = FIT_NONE };
    struct judgement judgement = { .verdict = VERDICT_UNKNOWN };

    for (size_t i = 0; i < n_catalogues; i++)
        for (size_t k = 0; k < catalogues[i]->n; k++)
            look(file, catalogues[i], &catalogues[i]->records[k], &found, &named);
    if (found.fit > FIT_NONE) {
        judgement.catalogue = found.catalogue;
        judgement.record = found.record;
        judgement.weak = found.fit == FIT_WEAK;
        judgement.same_bytes = found.fit >= FIT_WEAK;
        judgement.verdict = found.fit >= FIT_WEAK ? VERDICT_ORIGINAL : VERDICT_REPACKED;
        if (!found.own_name && named.fit == FIT_NAME) {
            judgement.verdict = VERDICT_RENAMED;
            judgement.named = named.record;
        }
    } else if (named.fit > FIT_NONE) {
        bool content = file->has_content && named.record->has_content;

        judgement.catalogue = named.catalogue;
        judgement.record = named.record;
        judgement.archive = named.fit == FIT_ARCHIVE && !content;
        if (!judgement.archive)
            judgement.verdict = content ? VERDICT_MODIFIED : VERDICT_DIFFERENT;
    }
    *ret_judgement = judgement;
}
