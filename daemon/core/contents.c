/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Contents: names, destructors. */
#include "daemon/core/contents.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/names.h"
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
    return name_index(source_names, ELEMENTSOF(source_names), name);
}

const char *reading_verdict_name(enum reading_verdict verdict)
{
    return (unsigned)verdict < _READING_VERDICT_MAX ? verdict_names[verdict] : NULL;
}

int reading_verdict_from_name(const char *name)
{
    return name_index(verdict_names, ELEMENTSOF(verdict_names), name);
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

struct digest_result *digest_result_free(struct digest_result *digest)
{
    if (!digest)
        return NULL;
    free(digest->bad);
    free(digest);
    return NULL;
}
