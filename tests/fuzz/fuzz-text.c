/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as a name from an image: escaped and quoted so that a terminal is safe from it, and
 * judged as a reference. */
#include <string.h>

#include "fuzz.h"
#include "helpers/client.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* Nothing that moves a cursor, rings a bell, or is no UTF-8. */
static void demand_safe(const char *text)
{
    if (!text_is_safe(text, strlen(text)) || !text_is_utf8(text, strlen(text)))
        abort();
}

static void classify(const char *reference)
{
    _cleanup_free_ char *path = NULL;
    enum reference_text class, alone;

    if (reference_classify(reference, &class, &path) < 0)
        return;
    if ((class == REFERENCE_LOCAL) != (path != NULL) || (path && path[0] == '\0') ||
        reference_classify(reference, &alone, NULL) < 0 || alone != class)
        abort();
    if (path && (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0) &&
        !strstr(path, ".."))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *string = malloc(size + 1), *escaped = NULL, *again = NULL, *quoted = NULL;

    if (!string || size > FUZZ_INPUT_MAX)
        return 0;
    memcpy(string, data, size);
    string[size] = '\0';
    if (text_escape(string, size, &escaped) < 0 || text_quote_shell(string, &quoted) < 0)
        return 0;
    demand_safe(escaped);
    demand_safe(quoted);
    if (strlen(escaped) > 4 * size)
        abort();
    if (text_is_safe(string, size) && !text_is_utf8(string, size))
        abort();
    again = text_escape_string(escaped);
    if (again && !strchr(escaped, '\\') && strcmp(again, escaped) != 0)
        abort();
    classify(string);
    return 0;
}
