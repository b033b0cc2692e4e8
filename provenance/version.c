/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The order of vendors' versions: which of two is newer, where that can be said at all. */
#include "provenance/version.h"

#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"

/* A run of digits or letters, or '~', in the text; its kind by the rank. */
struct run {
    const char *text;
    size_t length;              /* 0: the end */
    int rank;
};

enum {
    RANK_TILDE = -20,
    /* -9 to -4: words of what comes before a release */
    RANK_END = 0,
    RANK_LETTERS = 1,
    RANK_NUMBER = 2,
};

/* The locale has no say in what a letter is. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_letter(char c)
{
    return small(c) >= 'a' && small(c) <= 'z';
}

/* word is in small letters. */
static bool run_is(const struct run *run, const char *word)
{
    for (size_t i = 0; i < run->length; i++)
        if (small(run->text[i]) != word[i])
            return false;
    return word[run->length] == 0;
}

/* Words round a version that are no part of it. */
static bool run_is_neutral(const struct run *run)
{
    static const char *const words[] = { "v",     "release", "rel",     "ga",
                                         "final", "stable",  "version", "build" };

    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (run_is(run, words[i]))
            return true;
    return false;
}

static int rank_of_letters(const struct run *run)
{
    static const struct {
        const char *word;
        int rank;
    } before[] = {
        { "dev", -9 },     { "nightly", -9 }, { "snapshot", -9 }, { "alpha", -8 }, { "beta", -7 },
        { "preview", -6 }, { "pre", -6 },     { "epa", -5 },      { "rc", -4 },    { "cr", -4 },
    };

    for (size_t i = 0; i < ELEMENTSOF(before); i++)
        if (run_is(run, before[i].word))
            return before[i].rank;
    return RANK_LETTERS;
}

/* The next run from *at on, which is moved behind it. */
static struct run next_run(const char **at)
{
    struct run run = { .rank = RANK_END };

    for (const char *c = *at; *c; c = *at) {
        run.text = c;
        if (*c == '~') {
            *at = c + 1;
            return (struct run){ c, 1, RANK_TILDE };
        }
        if (!is_digit(*c) && !is_letter(*c)) {
            *at = c + 1;
            continue;
        }
        bool digits = is_digit(*c);
        while (digits ? is_digit(*c) : is_letter(*c))
            c++;
        run.length = (size_t)(c - run.text);
        *at = c;
        if (!digits && run_is_neutral(&run))
            continue;
        run.rank = digits ? RANK_NUMBER : rank_of_letters(&run);
        return run;
    }
    return (struct run){ *at, 0, RANK_END };
}

/* By value: no number is too long. */
static int compare_numbers(struct run a, struct run b)
{
    for (; a.length > 1 && a.text[0] == '0'; a.length--)
        a.text++;
    for (; b.length > 1 && b.text[0] == '0'; b.length--)
        b.text++;
    if (a.length != b.length)
        return a.length < b.length ? -1 : 1;
    return memcmp(a.text, b.text, a.length);
}

static int compare_letters(const struct run *a, const struct run *b)
{
    for (size_t i = 0; i < a->length && i < b->length; i++)
        if (small(a->text[i]) != small(b->text[i]))
            return small(a->text[i]) < small(b->text[i]) ? -1 : 1;
    return a->length == b->length ? 0 : a->length < b->length ? -1 : 1;
}

static int rank_in(const struct run *run, enum version_order order)
{
    if (order == VERSION_ORDER_JUNOS && run->rank > RANK_END)
        return RANK_LETTERS + RANK_NUMBER - run->rank;
    return run->rank;
}

/* Words of one rank before a release are one step, as rc and cr. */
static int compare_runs(const struct run *a, const struct run *b, enum version_order order)
{
    int rank_a = rank_in(a, order), rank_b = rank_in(b, order);

    if (rank_a != rank_b)
        return rank_a < rank_b ? -1 : 1;
    if (a->rank == RANK_NUMBER)
        return compare_numbers(*a, *b);
    return a->rank == RANK_LETTERS ? compare_letters(a, b) : 0;
}

int version_compare_text(const char *a, const char *b, enum version_order order)
{
    for (;;) {
        struct run left = next_run(&a), right = next_run(&b);
        int r = compare_runs(&left, &right, order);

        if (r != 0 || left.length == 0 || right.length == 0)
            return r;
    }
}

static bool is_unknown(const struct version *version)
{
    return !version->text || !version->text[0];
}

static bool same_scheme(const struct version *a, const struct version *b)
{
    if (!a->scheme || !b->scheme)
        return !a->scheme && !b->scheme;
    return strcmp(a->scheme, b->scheme) == 0;
}

enum version_result version_compare(const struct version *a, const struct version *b)
{
    if (is_unknown(a) || is_unknown(b) || !same_scheme(a, b) || a->order != b->order)
        return VERSION_INCOMPARABLE;

    int r = a->epoch != b->epoch ? (a->epoch < b->epoch ? -1 : 1)
                                 : version_compare_text(a->text, b->text, a->order);
    if (r == 0)
        return VERSION_SAME;
    if (a->order == VERSION_ORDER_NONE)
        return VERSION_INCOMPARABLE;
    return r < 0 ? VERSION_OLDER : VERSION_NEWER;
}

int version_order_from_name(const char *name)
{
    static const char *const names[_VERSION_ORDER_MAX] = {
        [VERSION_ORDER_GENERIC] = "generic",
        [VERSION_ORDER_JUNOS] = "junos",
        [VERSION_ORDER_NONE] = "none",
    };

    for (int i = 0; i < _VERSION_ORDER_MAX; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

int version_in_train(const char *train, const char *text)
{
    if (strcasecmp(train, "any") == 0)
        return 0;
    for (int n = 0;; n++) {
        struct run wanted = next_run(&train), run;

        if (wanted.length == 0)
            return n;
        run = next_run(&text);
        if (compare_runs(&wanted, &run, VERSION_ORDER_GENERIC) != 0)
            return -1;
    }
}

bool version_same_train(const char *a, const char *b)
{
    int length = version_in_train(a, b);

    return length >= 0 && length == version_in_train(b, a);
}

const struct version_minimum *version_minimum_of(const struct version_minimum *minimums, size_t n,
                                                 const char *text)
{
    const struct version_minimum *found = NULL;
    int longest = -1;

    for (size_t i = 0; i < n; i++) {
        int length = version_in_train(minimums[i].train, text);

        if (length > longest) {
            longest = length;
            found = &minimums[i];
        }
    }
    return found;
}
