/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the catalogue says of findings is what the judges do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/config/config.h"
#include "daemon/judge/judge.h"

static enum finding_about about(enum finding_type type)
{
    return finding_definition(type)->about;
}

static enum finding_basis basis(enum finding_type type)
{
    return finding_definition(type)->basis;
}

/* Who says that these are gone must be who says that they are there. */
static void judged_is_of_its_subject(void **state)
{
    struct datastore datastore = {
        .name = (char *)(uintptr_t)"vms", .path = (char *)(uintptr_t)"/srv/vms",
        .state = DATASTORE_ONLINE, .walk_finished = 1, .watched = true,
    };
    struct daemon_facts facts = { .outside_known = true };
    struct judgement of_datastore, of_daemon;
    struct config *config;
    unsigned n_datastore = 0, n_daemon = 0;

    assert_int_equal(config_new(&config), 0);
    assert_int_equal(judge_datastore(&config->policy, &datastore, 5, &of_datastore), 0);
    assert_int_equal(judge_daemon(&config->policy, &facts, 5, &of_daemon), 0);
    for (enum finding_type type = 0; type < _FINDING_MAX; type++) {
        const char *name = finding_definition(type)->name;

        /* what cannot be read is said of an image, and of a store that has such alone; what lies
         * in no store is the daemon's */
        if (of_datastore.judged[type] && about(type) != ABOUT_DATASTORE &&
            type != FINDING_NOT_AUDITABLE)
            fail_msg("%s is judged of a datastore", name);
        if (of_daemon.judged[type] && about(type) != ABOUT_DAEMON && type != FINDING_COVERAGE_GAP)
            fail_msg("%s is judged of the daemon", name);
        n_datastore += of_datastore.judged[type];
        n_daemon += of_daemon.judged[type];
    }
    assert_true(n_datastore > 3);
    assert_true(n_daemon >= 2);
    judgement_done(&of_datastore);
    judgement_done(&of_daemon);
    config_free(config);
}

static void subjects_and_bases_fit(void **state)
{
    unsigned n_disk = 0, n_check = 0, n_contents = 0;

    for (enum finding_type type = 0; type < _FINDING_MAX; type++) {
        bool of_image = about(type) == ABOUT_IMAGE || about(type) == ABOUT_DISK;

        assert_in_range(about(type), ABOUT_IMAGE, ABOUT_DAEMON);
        assert_in_range(basis(type), BASIS_AUDIT, BASIS_SELF);
        assert_int_equal(finding_type_is_of_disk(type), about(type) == ABOUT_DISK);
        /* of what is no image nothing was read; a domain is known by libvirt alone */
        assert_int_equal(about(type) == ABOUT_DATASTORE || about(type) == ABOUT_DAEMON,
                         basis(type) == BASIS_SELF);
        assert_true(of_image || basis(type) == BASIS_LIBVIRT || basis(type) == BASIS_SELF);
        assert_true(about(type) != ABOUT_DOMAIN || basis(type) == BASIS_LIBVIRT);
        n_disk += about(type) == ABOUT_DISK;
        n_check += basis(type) == BASIS_CHECK;
        n_contents += basis(type) == BASIS_CONTENTS;
    }
    assert_int_equal(n_disk, 5);
    assert_int_equal(n_check, 9);
    assert_int_equal(n_contents, 5);
    assert_true(finding_type_is_of_disk(FINDING_CHAIN_DEEP));
    assert_false(finding_type_is_of_disk(FINDING_CHAIN_LOOP));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judged_is_of_its_subject),
        cmocka_unit_test(subjects_and_bases_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
