/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may change what the daemon relies upon: owners, modes, links, and every folder above. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/config/config.h"
#include "lib/cleanup.h"

#define STRANGER 54321

/* TOP/above/holds/file */
struct tree {
    char top[32], above[64], holds[64], file[64];
};

static int tree_setup(void **state)
{
    struct tree *tree = calloc(1, sizeof(*tree));
    int fd;

    strcpy(tree->top, "/tmp/test-trust.XXXXXX");
    assert_non_null(mkdtemp(tree->top));
    assert_int_equal(chmod(tree->top, 0755), 0);
    snprintf(tree->above, sizeof(tree->above), "%s/above", tree->top);
    snprintf(tree->holds, sizeof(tree->holds), "%s/above/holds", tree->top);
    snprintf(tree->file, sizeof(tree->file), "%s/above/holds/file", tree->top);
    assert_int_equal(mkdir(tree->above, 0755), 0);
    assert_int_equal(mkdir(tree->holds, 0755), 0);
    fd = open(tree->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
    *state = tree;
    return 0;
}

static int tree_teardown(void **state)
{
    struct tree *tree = *state;
    char command[64];

    snprintf(command, sizeof(command), "rm -rf %s", tree->top);
    assert_int_equal(system(command), 0);
    free(tree);
    return 0;
}

static void trusted(const char *path, bool folder)
{
    _cleanup_free_ char *who = NULL;
    int r = config_trust(path, folder, &who);

    if (r != 0)
        fail_msg("%s: %s", path, who ? who : strerror(-r));
}

/* Others may, and it says so of this path. */
static void distrusted(const char *path, bool folder, const char *because, const char *how)
{
    _cleanup_free_ char *who = NULL, *expected = NULL;

    assert_int_equal(config_trust(path, folder, &who), -EPERM);
    assert_true(asprintf(&expected, "%s %s", because, how) > 0);
    assert_string_equal(who, expected);
}

static void modes(void **state)
{
    struct tree *tree = *state;

    trusted(tree->file, false);
    trusted(tree->holds, true);

    assert_int_equal(chmod(tree->file, 0666), 0);
    distrusted(tree->file, false, tree->file, "may be written by everybody (mode 0666)");
    trusted(tree->holds, true);
    assert_int_equal(chmod(tree->file, 0600), 0);

    assert_int_equal(chmod(tree->holds, 0777), 0);
    distrusted(tree->file, false, tree->holds, "may be written by everybody (mode 0777)");
    distrusted(tree->holds, true, tree->holds, "may be written by everybody (mode 0777)");
    /* others can put files beside it, and not take it away */
    assert_int_equal(chmod(tree->holds, 01777), 0);
    trusted(tree->file, false);
    distrusted(tree->holds, true, tree->holds, "may be written by everybody (mode 1777)");
    assert_int_equal(chmod(tree->holds, 0755), 0);

    assert_int_equal(chmod(tree->above, 0757), 0);
    distrusted(tree->file, false, tree->above, "may be written by everybody (mode 0757)");
    distrusted(tree->holds, true, tree->above, "may be written by everybody (mode 0757)");
    assert_int_equal(chmod(tree->above, 01757), 0);
    trusted(tree->file, false);
    trusted(tree->holds, true);
}

static void groups(void **state)
{
    struct tree *tree = *state;
    char how[64];

    if (geteuid() != 0)
        skip();
    /* root's own */
    assert_int_equal(chmod(tree->file, 0664), 0);
    assert_int_equal(chmod(tree->holds, 0775), 0);
    assert_int_equal(chown(tree->file, 0, 0), 0);
    trusted(tree->file, false);
    trusted(tree->holds, true);
    /* any other */
    assert_int_equal(chown(tree->file, 0, STRANGER), 0);
    assert_int_equal(chmod(tree->file, 0664), 0);
    snprintf(how, sizeof(how), "may be written by the group %d (mode 0664)", STRANGER);
    distrusted(tree->file, false, tree->file, how);
    assert_int_equal(chmod(tree->file, 0644), 0);
    assert_int_equal(chown(tree->holds, 0, STRANGER), 0);
    assert_int_equal(chmod(tree->holds, 02775), 0);
    snprintf(how, sizeof(how), "may be written by the group %d (mode 2775)", STRANGER);
    distrusted(tree->file, false, tree->holds, how);
    distrusted(tree->holds, true, tree->holds, how);
    assert_int_equal(chmod(tree->holds, 0755), 0);
    /* a folder above is root's to give, as /usr/local is to staff */
    assert_int_equal(chown(tree->above, 0, STRANGER), 0);
    assert_int_equal(chmod(tree->above, 02775), 0);
    trusted(tree->file, false);
    trusted(tree->holds, true);
}

static void owners(void **state)
{
    struct tree *tree = *state;
    char *const paths[] = {tree->file, tree->holds, tree->above}, how[96];

    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
        struct stat st;

        assert_int_equal(stat(paths[i], &st), 0);
        assert_int_equal(chown(paths[i], STRANGER, 0), 0);
        snprintf(how, sizeof(how),
                 "belongs to the user %d, who is neither root nor the daemon's (mode %04o)",
                 STRANGER, st.st_mode & 07777);
        distrusted(tree->file, false, paths[i], how);
        /* whose daemon it is may */
        assert_int_equal(seteuid(STRANGER), 0);
        assert_int_equal(chmod(paths[i], st.st_mode & 07777), 0);
        trusted(tree->file, false);
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(chown(paths[i], 0, 0), 0);
    }
    trusted(tree->file, false);
}

/* What counts is where a link leads, and who may change that, on the whole way. */
static void links(void **state)
{
    struct tree *tree = *state;
    char link[80], middle[80], open[80], behind[96], circle[80];

    snprintf(link, sizeof(link), "%s/link", tree->top);
    snprintf(open, sizeof(open), "%s/open", tree->top);
    snprintf(middle, sizeof(middle), "%s/open/middle", tree->top);
    snprintf(behind, sizeof(behind), "%s/open/../above/holds/file", tree->top);
    snprintf(circle, sizeof(circle), "%s/circle", tree->top);
    assert_int_equal(symlink("above/holds/file", link), 0);
    trusted(link, false);
    assert_int_equal(chmod(tree->holds, 0777), 0);
    distrusted(link, false, tree->holds, "may be written by everybody (mode 0777)");
    assert_int_equal(chmod(tree->holds, 0755), 0);

    /* a link in between that others can turn */
    assert_int_equal(mkdir(open, 0755), 0);
    assert_int_equal(chmod(open, 0777), 0);
    assert_int_equal(symlink(tree->file, middle), 0);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink("open/middle", link), 0);
    distrusted(link, false, open, "may be written by everybody (mode 0777)");
    distrusted(behind, false, open, "may be written by everybody (mode 0777)");
    assert_int_equal(chmod(open, 0755), 0);
    trusted(link, false);
    trusted(behind, false);

    /* what cannot be opened is told by who opens it */
    assert_int_equal(symlink("circle", circle), 0);
    trusted(circle, false);
    assert_int_equal(unlink(tree->file), 0);
    trusted(link, false);
}

static void relative_paths(void **state)
{
    struct tree *tree = *state;
    char before[4096];

    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(tree->above), 0);
    trusted("holds/file", false);
    trusted(".", true);
    assert_int_equal(chmod(tree->holds, 0777), 0);
    distrusted("holds/./file", false, tree->holds, "may be written by everybody (mode 0777)");
    distrusted("../above//holds/file", false, tree->holds,
               "may be written by everybody (mode 0777)");
    assert_int_equal(chdir(before), 0);
}

static void names_are_escaped(void **state)
{
    struct tree *tree = *state;
    char path[80], shown[80];

    snprintf(path, sizeof(path), "%s/a\nb", tree->top);
    snprintf(shown, sizeof(shown), "%s/a\\nb", tree->top);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chmod(path, 0777), 0);
    distrusted(path, true, shown, "may be written by everybody (mode 0777)");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_setup, tree_teardown)
    const struct CMUnitTest tests[] = {
        TEST(modes), TEST(groups), TEST(owners), TEST(links), TEST(relative_paths),
        TEST(names_are_escaped),
    };

    umask(022);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
