/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as a file of families, and a name behind them: read, or refused with every mistake
 * said; then the name is told and its version taken apart and compared. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "provenance/family.h"

static void mistake(void *userdata, const char *file, unsigned line, unsigned column,
                    const char *message)
{
    unsigned *count = userdata;

    (*count)++;
    for (; *message; message++)
        if ((unsigned char)*message < ' ' || *message == 127)
            abort();    /* untrusted text must have been escaped */
}

static void tell(const struct families *families, const char *path)
{
    struct family_part parts[FAMILY_PARTS_MAX];
    struct family_match match;

    family_identify(families, path, &match);
    if ((match.verdict == FAMILY_KNOWN) != (match.n_families == 1) ||
        (match.verdict == FAMILY_UNKNOWN) != (match.n_families == 0) ||
        (match.version[0] && !match.scheme))
        abort();
    if (match.verdict != FAMILY_KNOWN || !match.version[0])
        return;
    const struct family *family = match.families[0];
    struct version version = family_match_version(&match);
    if (version_compare(&version, &version) != VERSION_SAME)
        abort();
    for (size_t i = 0; i < family_decode(family, match.version, parts); i++)
        if (!parts[i].text[0])
            abort();
    (void)version_minimum_of(family->minimums, family->n_minimums, match.version);
}

/* Two versions, one behind the other in the name: it is an order, whatever they are. */
static void compare(const char *name)
{
    const char *middle = name + strlen(name) / 2;

    for (enum version_order order = 0; order < _VERSION_ORDER_MAX; order++) {
        int r = version_compare_text(name, middle, order);
        int s = version_compare_text(middle, name, order);

        if ((r < 0) != (s > 0) || (r == 0) != (s == 0))
            abort();
    }
    (void)version_in_train(middle, name);
}

/* The name is what follows the first NUL; a file of families has none. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(families_freep) struct families *families = NULL;
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    unsigned mistakes = 0;

    if (size > FUZZ_INPUT_MAX)
        return 0;
    char *name = end ? strndup((const char *)end + 1, size - n - 1) : strdup("a");
    if (!name)
        return 0;
    compare(name);
    int r = families_parse("families.yaml", (const char *)data, n, mistake, &mistakes, &families);
    if ((r < 0) != (families == NULL) || (r == 0 && mistakes > 0))
        abort();
    if (families)
        tell(families, name);
    free(name);
    return 0;
}
