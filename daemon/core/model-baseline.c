/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of contents: names of their enumerations, destructors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/model.h"
#include "helpers/hex.h"
#include "lib/cleanup.h"

static const char *const source_names[_BASELINE_SOURCE_MAX] = {
    [BASELINE_POLICY] = "policy",
    [BASELINE_INFERRED] = "inferred",
    [BASELINE_PARENT] = "parent",
    [BASELINE_ACCEPTED] = "accepted",
    [BASELINE_CHILD] = "child",
    [BASELINE_ASKED] = "asked",
};

static const char *const verdict_names[_READING_VERDICT_MAX] = {
    [READING_BASELINE] = "baseline",
    [READING_VERIFIED] = "verified",
    [READING_METADATA] = "metadata",
    [READING_COMMIT] = "commit",
    [READING_CHANGED] = "changed",
    [READING_ACCEPTED] = "accepted",
    [READING_ROT] = "bit-rot",
    [READING_MODIFIED] = "modified",
    [READING_INCOMPLETE] = "incomplete",
};

static int index_of(const char *const *names, size_t n_names, const char *name)
{
    for (size_t i = 0; name && i < n_names; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -EINVAL;
}

bool baseline_source_is_loose(enum baseline_source source)
{
    return source == BASELINE_CHILD || source == BASELINE_ASKED;
}

const char *baseline_source_name(enum baseline_source source)
{
    return (unsigned)source < _BASELINE_SOURCE_MAX ? source_names[source] : NULL;
}

int baseline_source_from_name(const char *name)
{
    return index_of(source_names, ELEMENTSOF(source_names), name);
}

const char *reading_verdict_name(enum reading_verdict verdict)
{
    return (unsigned)verdict < _READING_VERDICT_MAX ? verdict_names[verdict] : NULL;
}

int reading_verdict_from_name(const char *name)
{
    return index_of(verdict_names, ELEMENTSOF(verdict_names), name);
}

struct deviation *deviation_free(struct deviation *deviation)
{
    if (!deviation)
        return NULL;
    free(deviation->suspect);
    free(deviation->waits_for);
    free(deviation);
    return NULL;
}

struct baseline *baseline_free(struct baseline *baseline)
{
    if (!baseline)
        return NULL;
    free(baseline->path);
    free(baseline->by);
    free(baseline->reason);
    free(baseline->lost_child);
    deviation_free(baseline->deviation);
    free(baseline);
    return NULL;
}

/* FS_VERITY_HASH_ALG_SHA256 and SHA512 (linux/fsverity.h). */
static const struct { uint16_t algorithm, size; const char *name; } verity_algorithms[] = {
    { 1, 32, "sha256" },
    { 2, 64, "sha512" },
};

const char *verity_text(const struct verity *verity, char buf[static VERITY_TEXT_MAX])
{
    buf[0] = '\0';
    for (size_t i = 0; i < ELEMENTSOF(verity_algorithms); i++)
        if (verity->algorithm == verity_algorithms[i].algorithm &&
            verity->size == verity_algorithms[i].size) {
            int n = snprintf(buf, VERITY_TEXT_MAX, "%s:", verity_algorithms[i].name);

            hex_encode(verity->digest, verity->size, buf + n);
        }
    return buf;
}

int verity_from_text(const char *text, struct verity *ret_verity)
{
    struct verity verity = { .algorithm = 0 };

    for (size_t i = 0; text && i < ELEMENTSOF(verity_algorithms); i++) {
        size_t n = strlen(verity_algorithms[i].name);

        if (strncmp(text, verity_algorithms[i].name, n) != 0 || text[n] != ':')
            continue;
        verity.algorithm = verity_algorithms[i].algorithm;
        verity.size = verity_algorithms[i].size;
        if (hex_decode(text + n + 1, verity.digest, verity.size) < 0)
            return -EBADMSG;
        *ret_verity = verity;
        return 0;
    }
    return -EBADMSG;
}

struct verity verity_from_stat(const struct files_stat *stat)
{
    struct verity verity = { .algorithm = stat->verity_algorithm, .size = stat->verity_size };

    memcpy(verity.digest, stat->verity, sizeof(verity.digest));
    return verity;
}

bool verity_equal(const struct verity *a, const struct verity *b)
{
    return a->algorithm != 0 && a->algorithm == b->algorithm && a->size == b->size &&
           memcmp(a->digest, b->digest, a->size) == 0;
}
