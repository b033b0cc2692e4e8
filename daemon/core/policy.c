/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thresholds for an image, and whether the administrator declared it golden. */
#include <fnmatch.h>

#include "daemon/core/policy.h"

bool policy_pattern_matches(const char *pattern, const char *path)
{
    return fnmatch(pattern, path, 0) == 0;
}

static bool matches_any(char *const *patterns, const char *path)
{
    for (; patterns && *patterns; patterns++)
        if (policy_pattern_matches(*patterns, path))
            return true;
    return false;
}

const struct policy_class *policy_class_of(const struct policy *policy, const char *path)
{
    for (size_t i = 0; i < policy->n_classes; i++)
        if (matches_any(policy->classes[i].paths, path))
            return &policy->classes[i];
    return NULL;
}

const struct thresholds *policy_thresholds(const struct policy *policy, const char *path)
{
    const struct policy_class *class = policy_class_of(policy, path);

    return class ? &class->thresholds : &policy->thresholds;
}

bool policy_golden(const struct policy *policy, const char *path)
{
    return matches_any(policy->golden, path);
}
