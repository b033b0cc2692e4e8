/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which class an image is of, and which are golden by the policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/core/policy.h"

static void classes(void **state)
{
    char *lab[] = { (char[]){ "/lab/*" }, (char[]){ "/srv/*/test-??.qcow2" }, NULL };
    char *all[] = { (char[]){ "/lab/*" }, (char[]){ "/prod/*" }, NULL };
    struct policy_class list[] = { { .paths = lab }, { .paths = all } };
    const struct policy policy = { .classes = list, .n_classes = 2 };

    /* The first that matches counts; * goes over slashes. */
    assert_ptr_equal(policy_thresholds(&policy, "/lab/a"), &list[0].thresholds);
    assert_ptr_equal(policy_thresholds(&policy, "/lab/a/b/c.qcow2"), &list[0].thresholds);
    assert_ptr_equal(policy_thresholds(&policy, "/srv/a/b/test-01.qcow2"), &list[0].thresholds);
    assert_ptr_equal(policy_thresholds(&policy, "/srv/a/test-1.qcow2"), &policy.thresholds);
    assert_ptr_equal(policy_thresholds(&policy, "/prod/a"), &list[1].thresholds);
    assert_ptr_equal(policy_thresholds(&policy, "/labs/a"), &policy.thresholds);
    assert_ptr_equal(policy_thresholds(&policy, "/other/lab/a"), &policy.thresholds);
}

static void golden(void **state)
{
    char *patterns[] = { (char[]){ "/golden/*.qcow2" }, (char[]){ "*/base-[0-9].img" },
                         (char[]){ "/x/a\\*" }, NULL };
    const struct policy policy = { .golden = patterns };
    const struct policy none = { .golden = NULL };

    assert_true(policy_golden(&policy, "/golden/a.qcow2"));
    assert_true(policy_golden(&policy, "/golden/.hidden.qcow2"));
    assert_true(policy_golden(&policy, "/golden/old/a.qcow2"));
    assert_false(policy_golden(&policy, "/golden/a.raw"));
    assert_true(policy_golden(&policy, "/any/where/base-3.img"));
    assert_false(policy_golden(&policy, "/any/where/base-x.img"));
    assert_true(policy_golden(&policy, "/x/a*"));
    assert_false(policy_golden(&policy, "/x/ab"));
    /* Names are bytes. */
    assert_true(policy_golden(&policy, "/golden/\xff\n.qcow2"));
    assert_false(policy_golden(&none, "/golden/a.qcow2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),
        cmocka_unit_test(golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
