/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of versions: appliances that are older than they are to be, as their names say. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/judge/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"
#include "provenance/family.h"

#define DAY_MAX 24              /* bytes of "2027-03-31", with room for any year */

/* What is said of the version that an image's name says. */
struct version_rules {
    const struct policy_version *minimum, *end;         /* NULL: none */
    const struct version_minimum *own;  /* of its family, where the configuration has none */
};

/* Without these, no name has to be looked at. */
static bool anything_is_said(const struct policy *policy)
{
    if (policy->families && policy->n_versions > 0)
        return true;
    for (size_t i = 0; policy->families && i < policy->families->n; i++)
        if (policy->families->items[i]->n_minimums > 0)
            return true;
    return false;
}

/* Its family is known, and a version that has an order. */
static bool identify(const struct policy *policy, const char *path, struct family_match *match)
{
    family_identify(policy->families, path, match);
    return match->verdict == FAMILY_KNOWN && match->version[0] &&
           match->order != VERSION_ORDER_NONE;
}

/* Of the entries that say a minimum (or else an end of life) that of the longest train. */
static const struct policy_version *rule_of(const struct policy *policy,
                                            const struct family_match *match, bool minimum)
{
    const struct policy_version *found = NULL;
    int longest = -1;

    for (size_t i = 0; i < policy->n_versions; i++) {
        const struct policy_version *rule = &policy->versions[i];

        if (strcmp(rule->family, match->families[0]->name) != 0 ||
            (minimum ? !rule->minimum : rule->end_of_life == 0))
            continue;
        int length = version_in_train(rule->train, match->version);
        if (length > longest) {
            longest = length;
            found = rule;
        }
    }
    return found;
}

static struct version_rules rules_of(const struct policy *policy, const struct family_match *match)
{
    const struct family *family = match->families[0];
    struct version_rules rules = { rule_of(policy, match, true), rule_of(policy, match, false),
                                   NULL };

    if (!rules.minimum)
        rules.own = version_minimum_of(family->minimums, family->n_minimums, match->version);
    return rules;
}

/* A layer below whose name says a version, too: it is told of that one, once for all above it. */
static bool is_said_below(const struct judging *judging)
{
    const struct relation *relation = judging->relation;

    for (uint32_t i = 0; i < judging->thresholds->chain_limit; i++) {
        const struct image *parent = relation && !relation->in_loop ? relation->parent : NULL;
        struct family_match match;

        if (!parent)
            return false;
        if (identify(judging->policy, parent->path, &match))
            return true;
        relation = graph_relation(judging->graph, parent);
    }
    return false;
}

/* Something runs from it, or may: no copy that is kept, no medium, no piece of another's disk. */
static int is_run(const struct judging *judging, bool *ret)
{
    const struct image *image = judging->image;
    enum role role;

    if (!judge_is_listed(image, judging->relation) || path_is_kept(image->path) ||
        graph_is_data_file(judging->graph, image)) {
        *ret = false;
        return 0;
    }
    int r = graph_role(judging->graph, image, &role, NULL);
    if (r < 0)
        return r;
    *ret = role != ROLE_BACKUP && role != ROLE_MEDIUM && role != ROLE_EXTENT;
    return 0;
}

static bool is_below(const struct family_match *match, const char *minimum)
{
    struct version version = family_match_version(match);
    struct version wanted = family_minimum_version(match->families[0], minimum);

    return version_compare(&version, &wanted) == VERSION_OLDER;
}

/* The words of a day, by UTC. */
static void day_words(uint64_t usec, char ret_day[static DAY_MAX])
{
    time_t seconds = (time_t)(usec / USEC_PER_SEC);
    struct tm utc;

    ret_day[0] = 0;
    if (gmtime_r(&seconds, &utc))
        (void)strftime(ret_day, DAY_MAX, "%Y-%m-%d", &utc);
}

/* "/etc/qcaudit/qcauditd.yaml:12", of the entry that counts, or of the family. */
static char *place_words(const struct judging *judging, const struct family_match *match,
                         const struct policy_version *rule)
{
    char *words;

    if (rule)
        return asprintf(&words, "%s:%u", rule->file ?: "", rule->line) < 0 ? NULL : words;
    struct family_place place = family_place_of(judging->policy->families, match->families[0]);
    return asprintf(&words, "%s:%u", place.file, place.line) < 0 ? NULL : words;
}

/* minimum is NULL when it is not below one; rule: the entry that counts, NULL: the family. */
static int add_version(struct judging *judging, const struct family_match *match,
                       const char *minimum, uint64_t end, const struct policy_version *rule)
{
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    _cleanup_free_ char *place = place_words(judging, match, rule);
    _cleanup_free_ char *version = text_escape_string(match->version);
    _cleanup_free_ char *wanted = text_escape_string(minimum ?: "");
    char day[DAY_MAX] = "";

    if (!place || !version || !wanted)
        return -ENOMEM;
    evidence_text(&evidence, TEXT_FAMILY, match->families[0]->name);
    evidence_text(&evidence, TEXT_VERSION, match->version);
    evidence_text(&evidence, TEXT_MINIMUM, minimum);
    if (end > 0) {
        evidence_number(&evidence, NUMBER_END_OF_LIFE_AT, end);
        day_words(end, day);
    }
    evidence_text(&evidence, TEXT_RULE, place);
    return judging_add(judging, FINDING_VERSION_BELOW_MINIMUM,
                       minimum ? SEVERITY_ERROR : SEVERITY_WARNING, 1, &evidence,
                       "is %s %s %s by its %sname%s%s%s%s", match->families[0]->vendor,
                       match->families[0]->product, version, match->by_folder ? "folder's " : "",
                       minimum ? ", older than the minimum " : "", wanted,
                       end > 0 ? "; its end of life was on " : "", day);
}

/* family, version, rule; minimum, end-of-life-at */
int judge_version(struct judging *judging)
{
    const struct relation *relation = judging->relation;
    struct family_match match;
    bool run;

    if (relation && relation->pending)
        return 0;
    judging_looked(judging, FINDING_VERSION_BELOW_MINIMUM);
    if (!anything_is_said(judging->policy) ||
        !identify(judging->policy, judging->image->path, &match))
        return 0;
    struct version_rules rules = rules_of(judging->policy, &match);
    const char *minimum = rules.minimum ? rules.minimum->minimum
                          : rules.own   ? rules.own->version : NULL;
    uint64_t end = rules.end && rules.end->end_of_life <= judging->now ? rules.end->end_of_life : 0;
    if (minimum && !is_below(&match, minimum))
        minimum = NULL;
    if ((!minimum && end == 0) || is_said_below(judging))
        return 0;
    int r = is_run(judging, &run);
    if (r < 0 || !run)
        return r;
    return add_version(judging, &match, minimum, end, minimum ? rules.minimum : rules.end);
}

uint64_t judge_version_again(const struct judging *judging)
{
    const struct policy *policy = judging->policy;
    struct family_match match;
    bool awaited = false;

    for (size_t i = 0; i < policy->n_versions && !awaited; i++)
        awaited = policy->versions[i].end_of_life > judging->now;
    if (!awaited || !policy->families || !identify(policy, judging->image->path, &match))
        return UINT64_MAX;
    const struct policy_version *rule = rule_of(policy, &match, false);
    return rule && rule->end_of_life > judging->now ? rule->end_of_life : UINT64_MAX;
}
