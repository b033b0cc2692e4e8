/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Patterns of names: POSIX extended regular expressions that end in bounded time, and templates
 * that what they found is put into. */
#include "provenance/pattern.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

locale_t pattern_locale_new(void)
{
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* ---- how large it is ----------------------------------------------------------------------- */

/* What is read of one pair of brackets, or of the whole. */
struct scan_level {
    size_t total;               /* with all repetitions written out */
    size_t last;                /* of what a repetition would repeat; 0: nothing */
    size_t choices, last_choices;       /* as many of both: what may be there or not */
};

struct scan {
    const char *at;
    struct scan_level levels[PATTERN_DEPTH_MAX + 1];
    unsigned depth;
};

static void scan_atom(struct scan *scan, size_t size, size_t choices)
{
    struct scan_level *level = &scan->levels[scan->depth];

    level->last = size;
    level->total += size;
    level->last_choices = choices;
    level->choices += choices;
}

/* The last one n times, with so many more choices. Nothing overflows: all are at most
 * PATTERN_SIZE_MAX and a little. */
static const char *scan_repeat(struct scan *scan, size_t n, size_t choices)
{
    struct scan_level *level = &scan->levels[scan->depth];

    if (level->last == 0)
        return "a repetition of nothing";
    if (n > PATTERN_SIZE_MAX)
        return "repeats more often than 256 times";
    level->total += level->last * (n > 0 ? n - 1 : 0);
    level->last *= n > 0 ? n : 1;
    level->choices += level->last_choices * (n > 0 ? n - 1 : 0) + choices;
    level->last_choices = level->last_choices * (n > 0 ? n : 1) + choices;
    return NULL;
}

static size_t scan_number(struct scan *scan)
{
    size_t n = 0;

    for (; *scan->at >= '0' && *scan->at <= '9'; scan->at++)
        if (n <= PATTERN_SIZE_MAX)
            n = n * 10 + (size_t)(*scan->at - '0');
    return n;
}

/* {3}, {3,}, {3,5}: as many are written out, and one more that may come again. */
static const char *scan_braces(struct scan *scan)
{
    size_t least, most;
    bool open = false;

    scan->at++;
    if (*scan->at < '0' || *scan->at > '9')
        return "{ without a number; as a sign of a name it is [{]";
    least = most = scan_number(scan);
    if (*scan->at == ',') {
        scan->at++;
        open = *scan->at == '}';
        most = open ? least + 1 : scan_number(scan);
    }
    if (*scan->at != '}')
        return "{ without }";
    scan->at++;
    return scan_repeat(scan, most > least ? most : least,
                       open ? 1 : most > least ? most - least : 0);
}

/* [a-z], []], [^]], [[:digit:]] */
static const char *scan_set(struct scan *scan)
{
    const char *at = scan->at + 1;

    if (*at == '^')
        at++;
    if (*at == ']')
        at++;
    while (*at && *at != ']') {
        if (at[0] == '[' && (at[1] == '.' || at[1] == '='))
            return "[. .] and [= =] depend on the locale, and are not taken";
        if (at[0] == '[' && at[1] == ':') {
            at = strstr(at, ":]");
            if (!at)
                return "[: without :]";
            at++;
        }
        at++;
    }
    if (!*at)
        return "[ without ]";
    scan->at = at + 1;
    scan_atom(scan, 1, 0);
    return NULL;
}

static const char *scan_escape(struct scan *scan)
{
    char c = scan->at[1];

    if (c >= '1' && c <= '9')
        return "back-references (\\1) may take for ever, and are not taken";
    if (!c || !strchr("\\.[]{}()*+?^$|-/_,:~", c))
        return "a backslash before what needs none";
    scan->at += 2;
    scan_atom(scan, 1, 0);
    return NULL;
}

static const char *scan_bracket(struct scan *scan)
{
    if (*scan->at++ == '(') {
        if (scan->depth >= PATTERN_DEPTH_MAX)
            return "more than 16 brackets in each other";
        scan->levels[++scan->depth] = (struct scan_level){ 0 };
        return NULL;
    }
    if (scan->depth == 0)
        return ") without (";
    scan->depth--;
    /* One more for the group itself: a repetition of an empty one is work, too. */
    scan_atom(scan, scan->levels[scan->depth + 1].total + 1,
              scan->levels[scan->depth + 1].choices);
    return NULL;
}

static const char *scan_next(struct scan *scan)
{
    switch (*scan->at) {
    case '[':
        return scan_set(scan);
    case '\\':
        return scan_escape(scan);
    case '(':
    case ')':
        return scan_bracket(scan);
    case '{':
        return scan_braces(scan);
    case '+':
        /* glibc writes it as one that must come and one that may come again. */
        scan->at++;
        return scan_repeat(scan, 2, 1);
    case '*':
    case '?':
        scan->at++;
        return scan_repeat(scan, 1, 1);
    case '|':
    case '^':
        /* Both are choices: glibc follows ^ apart from what begins elsewhere. */
        scan->at++;
        scan->levels[scan->depth].choices++;
        scan->levels[scan->depth].total++;
        scan->levels[scan->depth].last = 0;
        return NULL;
    default:
        scan->at++;
        scan_atom(scan, 1, 0);
        return NULL;
    }
}

/* NULL, or why it is refused, a constant. */
static const char *scan_fault(const char *text, size_t *ret_size)
{
    struct scan scan = { .at = text };

    while (*scan.at) {
        const char *fault = scan_next(&scan);

        if (fault)
            return fault;
        if (scan.levels[scan.depth].total > PATTERN_SIZE_MAX)
            return "too large: more than 256 signs, each counted as often as it is repeated";
        if (scan.levels[scan.depth].choices > PATTERN_CHOICES_MAX)
            return "too many choices: more than 64 of ? * + | ^ and {}, each as often as it comes";
    }
    if (scan.depth > 0)
        return "( without )";
    *ret_size = scan.levels[0].total;
    return NULL;
}

/* ---- with what a name begins ---------------------------------------------------------------- */

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void first_add(uint8_t first[static 256 / 8], char c)
{
    unsigned char byte = (unsigned char)c;

    first[byte / 8] |= (uint8_t)(1U << byte % 8);
}

/* A sign that must come: nothing behind it says otherwise. */
static bool is_sure(const char *at)
{
    return (*at == '-' || *at == '_' || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
            (*at >= '0' && *at <= '9')) &&
           (at[1] == 0 || !strchr("?*{", at[1]));
}

static void first_add_sure(uint8_t first[static 256 / 8], char c)
{
    first_add(first, c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        first_add(first, (char)(c ^ 0x20));     /* the other case */
}

/* Where a set that begins there ends; the text was found sound. */
static const char *set_end(const char *at)
{
    at += at[1] == '^' ? 2 : 1;
    if (*at == ']')
        at++;
    for (; *at && *at != ']'; at++)
        if (at[0] == '[' && at[1] == ':')
            at = strstr(at, ":]") + 1;
    return at;
}

/* Is one of several begun outside of all brackets? */
static bool has_choice(const char *at)
{
    unsigned depth = 0;

    for (; *at; at++) {
        if (*at == '\\')
            at++;
        else if (*at == '[')
            at = set_end(at);
        else if (*at == '(')
            depth++;
        else if (*at == ')')
            depth--;
        else if (*at == '|' && depth == 0)
            return true;
    }
    return false;
}

/* Of "^(word|word)...", behind its first bracket: adds what each word begins with; false when that
 * is not sure. */
static bool first_of_group(const char *at, uint8_t first[static 256 / 8])
{
    unsigned depth = 1;

    for (bool begins = true;; at++) {
        if (begins && !is_sure(at))
            return false;
        if (begins)
            first_add_sure(first, *at);
        begins = depth == 1 && *at == '|';
        if (*at == '\\')
            at++;
        else if (*at == '[')
            at = set_end(at);
        else if (*at == '(')
            depth++;
        else if (*at == ')' && --depth == 0)
            return at[1] == 0 || !strchr("?*{", at[1]);
    }
}

/* All bytes for what is neither "^word" nor "^(word|word)". The text was found sound by
 * scan_fault(). */
static void find_first(const char *text, struct pattern *pattern)
{
    size_t n = 0;

    if (text[0] != '^' || has_choice(text)) {
        memset(pattern->first, 0xff, sizeof(pattern->first));
        return;
    }
    if (text[1] == '(') {
        if (!first_of_group(text + 2, pattern->first))
            memset(pattern->first, 0xff, sizeof(pattern->first));
        return;
    }
    for (text++; n + 1 < sizeof(pattern->prefix) && is_sure(text); text++)
        pattern->prefix[n++] = small(*text);
    if (n > 0)
        first_add_sure(pattern->first, pattern->prefix[0]);
    else
        memset(pattern->first, 0xff, sizeof(pattern->first));
}

/* Can a name that begins so fit? */
static bool may_fit(const struct pattern *pattern, const char *name)
{
    unsigned char byte = (unsigned char)name[0];

    if (!(pattern->first[byte / 8] & 1U << byte % 8))
        return false;
    for (size_t i = 0; pattern->prefix[i]; i++)
        if (small(name[i]) != pattern->prefix[i])
            return false;
    return true;
}

/* ---- patterns ------------------------------------------------------------------------------- */

static int refuse(char reason[static PATTERN_REASON_MAX], const char *fault)
{
    (void)snprintf(reason, PATTERN_REASON_MAX, "%s", fault);
    return -EINVAL;
}

int pattern_compile(const char *text, locale_t locale, struct pattern *ret,
                    char reason[static PATTERN_REASON_MAX])
{
    struct pattern pattern = { .locale = locale };
    regmatch_t matches[PATTERN_GROUPS];

    if (strlen(text) > PATTERN_TEXT_MAX)
        return refuse(reason, "longer than 512 bytes");
    const char *fault = scan_fault(text, &pattern.size);
    if (fault)
        return refuse(reason, fault);
    find_first(text, &pattern);
    locale_t before = uselocale(locale);
    int r = regcomp(&pattern.regex, text, REG_EXTENDED | REG_ICASE);
    if (r != 0 && r != REG_ESPACE)
        (void)regerror(r, &pattern.regex, reason, PATTERN_REASON_MAX);
    (void)uselocale(before);
    if (r != 0)
        return r == REG_ESPACE ? -ENOMEM : -EINVAL;
    pattern.compiled = true;
    if (pattern_match(&pattern, "", matches)) {
        r = refuse(reason, "it fits what has no characters at all");
        pattern_done(&pattern);
        return r;
    }
    *ret = pattern;
    return 0;
}

void pattern_done(struct pattern *pattern)
{
    if (pattern->compiled)
        regfree(&pattern->regex);
    *pattern = (struct pattern){ .compiled = false };
}

bool pattern_match(const struct pattern *pattern, const char *name,
                   regmatch_t ret_matches[static PATTERN_GROUPS])
{
    if (!pattern->compiled || !may_fit(pattern, name) ||
        strnlen(name, PATTERN_NAME_MAX + 1) > PATTERN_NAME_MAX)
        return false;
    locale_t before = uselocale(pattern->locale);
    int r = regexec(&pattern->regex, name, PATTERN_GROUPS, ret_matches, 0);
    (void)uselocale(before);
    return r == 0;
}

/* ---- templates ------------------------------------------------------------------------------ */

const char *template_fault(const char *template, const struct pattern *pattern)
{
    if (strlen(template) > PATTERN_NAME_MAX)
        return "longer than 255 bytes";
    for (const char *at = template; *at; at++) {
        if (*at != '\\')
            continue;
        at++;
        if (*at < '1' || *at > '9')
            return "a backslash without the number of a pair of brackets";
        if ((size_t)*at - '0' > pattern->regex.re_nsub)
            return "the pattern has fewer pairs of brackets";
    }
    return NULL;
}

static bool is_trimmed(char c)
{
    return c == ' ' || c == '.' || c == '-' || c == '_';
}

int template_expand(const char *template, const char *name,
                    const regmatch_t matches[static PATTERN_GROUPS], size_t size, char *ret_text)
{
    char text[PATTERN_NAME_MAX + 1];
    size_t n = 0, begin = 0;

    for (const char *at = template; *at; at++) {
        const char *piece = at;
        size_t length = 1;

        if (*at == '\\' && at[1] >= '1' && at[1] <= '9') {
            const regmatch_t *match = &matches[*++at - '0'];

            piece = match->rm_so >= 0 ? name + match->rm_so : name;
            length = match->rm_so >= 0 ? (size_t)(match->rm_eo - match->rm_so) : 0;
        }
        if (length >= sizeof(text) - n)
            return -ENOBUFS;
        memcpy(text + n, piece, length);
        n += length;
    }
    while (n > 0 && is_trimmed(text[n - 1]))
        n--;
    while (begin < n && is_trimmed(text[begin]))
        begin++;
    if (n - begin >= size)
        return -ENOBUFS;
    memcpy(ret_text, text + begin, n - begin);
    ret_text[n - begin] = 0;
    return 0;
}
