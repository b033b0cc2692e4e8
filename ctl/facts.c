/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts of rows in the words that several screens share. */
#include "ctl/facts.h"

#include <inttypes.h>
#include <pwd.h>
#include <string.h>

#include "ctl/when.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

char *fact_size(json_object *row, const char *key)
{
    char buf[TEXT_SIZE_MAX];

    return strdup(row_has(row, key) ? text_size(row_number(row, key), buf) : "-");
}

char *fact_age(json_object *row, const char *key, uint64_t now)
{
    char buf[TEXT_DURATION_MAX];

    return strdup(row_has(row, key) ? text_age(row_number(row, key), now, buf) : "-");
}

char *fact_since(json_object *row, const char *key, uint64_t now)
{
    char buf[TEXT_DURATION_MAX];
    uint64_t when = row_number(row, key);

    if (when == 0)
        return strdup("-");
    return strdup(text_duration(when < now ? now - when : 0, buf));
}

char *fact_time(json_object *row, const char *key, uint64_t now)
{
    char when[WHEN_MAX], age[TEXT_DURATION_MAX], *text;
    uint64_t usec = row_number(row, key);

    if (usec == 0)
        return strdup("never");
    if (asprintf(&text, "%s (%s)", when_text(usec, when), text_age(usec, now, age)) < 0)
        return NULL;
    return text;
}

/* ---- paths -------------------------------------------------------------------------------- */

#define COMMON_MIN 6    /* bytes worth a line of its own */

char *fact_common(const struct ctl *ctl, json_object *rows, const char *key)
{
    const char *first = NULL;
    size_t n = 0;

    if (ctl->output.width == 0 || ctl->output.full || !ctl->output.legend ||
        output_is_list(&ctl->output))
        return strdup("");
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *path = row_raw(row, key);
        size_t k = 0;

        /* Names of datastores and what is outside a store have no place in common with the rest. */
        if (!path || path[0] != '/')
            continue;
        if (!first) {
            first = path;
            n = (size_t)(strrchr(path, '/') - path) + 1;
        }
        while (k < n && path[k] == first[k])
            k++;
        n = k;
        while (n > 0 && first[n - 1] != '/')
            n--;
    }
    return n < COMMON_MIN ? strdup("") : strndup(first, n);
}

void fact_print_common(const struct ctl *ctl, const char *common)
{
    _cleanup_free_ char *shown = text_escape_string(common);

    if (*common && shown)
        (void)printf("%sBelow %s:%s\n", output_colour(&ctl->output, COLOUR_DIM), shown,
                     output_colour(&ctl->output, COLOUR_OFF));
}

char *fact_path(json_object *row, const char *key, const char *common)
{
    json_object *value = row_member(row, key);
    const char *path = row_raw(row, key);
    size_t n = strlen(common);
    char *text;

    if (!path || n == 0 || strncmp(path, common, n) != 0)
        return row_text(row, key);
    return text_escape(path + n, (size_t)json_object_get_string_len(value) - n, &text) < 0
               ? NULL : text;
}

char *fact_subject(json_object *finding, const char *common)
{
    const char *kind = row_raw(finding, "subject-kind");

    if (kind && strcmp(kind, "daemon") == 0)
        return strdup("qcauditd");
    if (kind && strcmp(kind, "domain") == 0)
        return row_text(finding, "subject");
    return fact_path(finding, "subject", common);
}

char *fact_severities(const struct output *output, json_object *counts, uint64_t *ret_total)
{
    static const struct { const char *key, *one, *many; } severities[] = {
        {"critical", "critical", "critical"}, {"error", "error", "errors"},
        {"warning", "warning", "warnings"}, {"info", "info", "info"},
    };
    char *text = NULL;
    uint64_t total = 0;

    for (size_t i = 0; i < ELEMENTSOF(severities); i++) {
        uint64_t n = row_number(counts, severities[i].key);
        enum colour colour = severity_colour(severities[i].key);
        char *longer;

        if (n == 0)
            continue;
        total += n;
        if (asprintf(&longer, "%s%s%s%" PRIu64 " %s%s", text ? text : "", text ? ", " : "",
                     colour == COLOUR_OFF ? "" : output_colour(output, colour), n,
                     n == 1 ? severities[i].one : severities[i].many,
                     colour == COLOUR_OFF ? "" : output_colour(output, COLOUR_OFF)) < 0)
            longer = NULL;
        free(text);
        text = longer;
        if (!text)
            return NULL;
    }
    *ret_total = total;
    return text ? text : strdup("none");
}

const char *fact_confidence(const char *confidence)
{
    static const struct { const char *name, *text; } texts[] = {
        {"offline", "offline: nothing had it open"},
        {"frozen", "in use read-only: nobody wrote to it meanwhile"},
        {"confirmed", "confirmed: it has a writer, and two passes saw it"},
        {"racy", "in use: it has a writer, and one pass saw it"},
    };

    for (size_t i = 0; confidence && i < ELEMENTSOF(texts); i++)
        if (strcmp(texts[i].name, confidence) == 0)
            return texts[i].text;
    return "";
}

char *fact_confidence_word(json_object *row)
{
    const char *name = row_raw(row, "confidence");

    if (name && strcmp(name, "racy") == 0)
        return strdup("in use");
    if (name && strcmp(name, "frozen") == 0)
        return strdup("in use read-only");
    return row_text(row, "confidence");
}

/* ---- the catalogue ------------------------------------------------------------------------ */

static const struct catalogue_entry catalogue[] = {
#define FINDING(id, name, severity, about, basis, title, explanation, remedy, message_id) \
    { name, #severity, title, explanation, remedy },
#include "qcaudit/findings.def"
#undef FINDING
};

const struct catalogue_entry *catalogue_at(size_t index)
{
    return index < ELEMENTSOF(catalogue) ? &catalogue[index] : NULL;
}

const struct catalogue_entry *catalogue_find(const char *name)
{
    for (size_t i = 0; name && i < ELEMENTSOF(catalogue); i++)
        if (strcmp(catalogue[i].name, name) == 0)
            return &catalogue[i];
    return NULL;
}

char *fact_scrub(json_object *scrub)
{
    uint64_t done = row_number(scrub, "done"), total = row_number(scrub, "total"),
             rate = row_number(scrub, "rate");
    char rate_text[TEXT_SIZE_MAX], left[TEXT_DURATION_MAX], *words;
    int n;

    if (total == 0)
        n = asprintf(&words, "%s", row_bool(scrub, "waits") ? "waits" : "begins");
    else if (row_bool(scrub, "waits"))
        n = asprintf(&words, "%" PRIu64 "%%, waits",
                     (uint64_t)((double)done / (double)total * 100));
    else if (rate == 0)
        n = asprintf(&words, "%" PRIu64 "%%", (uint64_t)((double)done / (double)total * 100));
    else
        n = asprintf(&words, "%" PRIu64 "%%, %s/s, %s left",
                     (uint64_t)((double)done / (double)total * 100), text_size(rate, rate_text),
                     text_duration((uint64_t)((double)(total - done) / (double)rate) * 1000000,
                                   left));
    return n < 0 ? NULL : words;
}

char *fact_user(const char *by)
{
    size_t prefix = strlen(CONTROL_UID_PREFIX);
    const struct passwd *user = NULL;
    char *end = NULL;

    if (by && strncmp(by, CONTROL_UID_PREFIX, prefix) == 0 && by[prefix] >= '0' &&
        by[prefix] <= '9') {
        unsigned long uid = strtoul(by + prefix, &end, 10);

        user = *end == '\0' && uid == (uid_t)uid ? getpwuid((uid_t)uid) : NULL;
    }
    return user ? strdup(user->pw_name) : text_escape_string(by ? by : "");
}

json_object *fact_worst(json_object *status)
{
    json_object *rows = row_member(status, "worst"),
                *worst = rows && json_object_array_length(rows) > 0
                             ? json_object_array_get_idx(rows, 0) : NULL;

    return worst && severity_status(row_raw(worst, "severity")) > 0 ? worst : NULL;
}
