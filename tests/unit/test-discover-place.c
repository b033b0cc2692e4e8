/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which datastores are wanted: names of pools, pools that are a datastore already, pools that stay
 * while libvirt is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/discover/internal.h"
#include "lib/cleanup.h"

static bool knows(void *userdata, const char *name, const char *path)
{
    return userdata && strcmp(userdata, name) == 0;
}

static void add_pool(struct places *places, const char *name, const char *path, bool active)
{
    const struct discover_pool pool = { .name = name, .path = path, .active = active };

    assert_int_equal(places_add_pool(places, &pool), 0);
}

static void add_config(struct places *places, const char *name, const char *path, bool recursive)
{
    char *name_copy = strdup(name), *path_copy = strdup(path);
    const struct config_datastore datastore = { .name = name_copy,
                                                .path = path_copy,
                                                .recursive = recursive };

    assert_int_equal(places_add_config(places, &datastore), 0);
    free(name_copy);
    free(path_copy);
}

/* "NAME=PATH ..." of the merged list. */
static char *merged(const struct places *configured, const struct places *pools, const char *known)
{
    _cleanup_(places_done) struct places places = { 0 };
    char *text = strdup("");

    assert_int_equal(places_merge(configured, pools, knows, (void *)(uintptr_t)known, &places), 0);
    for (size_t i = 0; i < places.n_items; i++) {
        char *more;

        assert_true(asprintf(&more, "%s%s%s=%s", text, i > 0 ? " " : "", places.items[i].name,
                             places.items[i].path) > 0);
        free(text);
        text = more;
    }
    return text;
}

static void names(void **state)
{
    _cleanup_(places_done) struct places configured = { 0 }, pools = { 0 };
    _cleanup_free_ char *text = NULL;

    add_config(&configured, "images", "/srv/images", true);
    add_pool(&pools, "images", "/other//./images/", true);
    add_pool(&pools, "a/b\n\x1b[31m", "/p1", true);
    add_pool(&pools, "-x", "/p2", true);
    add_pool(&pools, "", "/p3", true);
    add_pool(&pools, "a_b__[31m", "/p4", true);
    text = merged(&configured, &pools, NULL);
    assert_string_equal(
        text,
        "images=/srv/images _=/p3 _x=/p2 a_b___31m=/p1 a_b___31m-2=/p4 images-2=/other/images");
}

static void the_same_directory(void **state)
{
    _cleanup_(places_done) struct places configured = { 0 }, pools = { 0 };
    _cleanup_free_ char *text = NULL;

    add_config(&configured, "deep", "/deep", true);
    add_config(&configured, "flat", "/flat", false);
    add_pool(&pools, "a", "/deep", true);
    add_pool(&pools, "b", "/deep/below", true);
    add_pool(&pools, "c", "/flat/", true);
    add_pool(&pools, "d", "/flat/below", true);
    add_pool(&pools, "f", "/twice", true);
    add_pool(&pools, "e", "/twice", true);
    add_pool(&pools, "g", "/deeper", true);
    text = merged(&configured, &pools, NULL);
    assert_string_equal(text, "deep=/deep flat=/flat d=/flat/below e=/twice g=/deeper");
}

static void no_paths(void **state)
{
    _cleanup_(places_done) struct places configured = { 0 }, pools = { 0 };
    _cleanup_free_ char *text = NULL;

    add_pool(&pools, "a", "relative", true);
    add_pool(&pools, "b", "/", true);
    add_pool(&pools, "c", "/x/../y", true);
    add_pool(&pools, "d", "", true);
    text = merged(&configured, &pools, NULL);
    assert_string_equal(text, "");
}

/* One that is not active is a datastore where it was one, or starts with the host. */
static void inactive(void **state)
{
    const struct discover_pool autostart = { .name = "auto", .path = "/c", .autostart = true };
    _cleanup_(places_done) struct places configured = { 0 }, pools = { 0 };
    _cleanup_free_ char *text = NULL;

    add_pool(&pools, "unknown", "/a", false);
    add_pool(&pools, "known", "/b", false);
    assert_int_equal(places_add_pool(&pools, &autostart), 0);
    text = merged(&configured, &pools, "known");
    assert_string_equal(text, "auto=/c known=/b");
}

static void devices(void **state)
{
    char *list[] = { (char[]){ "/dev/vg/a" }, (char[]){ "/etc/shadow" },
                     (char[]){ "/dev/vg/../sda" }, (char[]){ "/dev/vg/b" }, NULL };
    const struct discover_pool first = { .name = "vg",
                                         .path = "/dev/mapper",
                                         .of_devices = true,
                                         .devices = list,
                                         .active = true },
                               second = { .name = "mp",
                                          .path = "/dev/mapper",
                                          .of_devices = true,
                                          .active = true };
    _cleanup_(places_done) struct places configured = { 0 }, pools = { 0 }, places = { 0 };

    assert_int_equal(places_add_pool(&pools, &first), 0);
    assert_int_equal(places_add_pool(&pools, &second), 0);
    assert_int_equal(places_merge(&configured, &pools, knows, NULL, &places), 0);
    assert_int_equal(places.n_items, 2);
    assert_string_equal(places.items[0].name, "mp");
    assert_non_null(places.items[0].devices);
    assert_null(places.items[0].devices[0]);
    assert_string_equal(places.items[1].devices[0], "/dev/vg/a");
    assert_string_equal(places.items[1].devices[1], "/dev/vg/b");
    assert_null(places.items[1].devices[2]);
}

static void kept(void **state)
{
    _cleanup_(places_done) struct places configured = { 0 }, before = { 0 }, now = { 0 };
    _cleanup_free_ char *text = NULL;

    add_pool(&before, "a", "/a", true);
    add_pool(&before, "b", "/b", true);
    add_pool(&now, "b", "/b", true);
    add_pool(&now, "c", "/c", true);
    assert_int_equal(places_keep(&now, &before), 0);
    assert_int_equal(before.n_items, 0);
    text = merged(&configured, &now, NULL);
    assert_string_equal(text, "a=/a b=/b c=/c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(the_same_directory),
        cmocka_unit_test(no_paths),
        cmocka_unit_test(inactive),
        cmocka_unit_test(devices),
        cmocka_unit_test(kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
