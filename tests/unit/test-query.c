/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the control interface shows: filters, pages, and chains that are whole, broken, forked or
 * loops. */
#include "unit/store-fixture.h"

#include <stdio.h>

#include "daemon/control/control.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* A question's arguments. */
#define ASK(...) (&(struct asked){ __VA_ARGS__ })

struct world {
    struct fixture_store store;
    struct findings *findings;
    struct policy policy;
    char *golden[2];
    struct query_view view;
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->policy = (struct policy){ .golden = world->golden, .infer_golden = true };
    fixture_store_begin(&world->store, "pool", "/s", &world->policy);
    assert_int_equal(findings_new(&world->findings), 0);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    findings_free(world->findings);
    fixture_store_end(&world->store);
    free(world);
    return 0;
}

static struct image *make(struct world *world, const char *path, const char *parent)
{
    return fixture_store_add(&world->store, path, parent, 0);
}

/* A domain's disk was seen to move to it: it is a snapshot of its parent. */
static void make_snapshot(struct world *world, const char *path, const char *parent)
{
    assert_int_equal(graph_note_disk_move(world->store.graph, path, parent, T0_USEC + DAY), 1);
    (void)make(world, path, parent);
}

static void find(struct world *world, int64_t id, enum finding_type type, enum severity severity,
                 enum finding_state state, const char *subject)
{
    struct finding *finding = calloc(1, sizeof(*finding));

    assert_non_null(finding);
    *finding = (struct finding){
        .id = id, .type = type, .subject_kind = SUBJECT_IMAGE, .subject = strdup(subject),
        .datastore = strdup("pool"), .state = state, .severity = severity,
        .first_seen = (uint64_t)id * USEC_PER_SEC,
        .count = 1, .evidence = json_tokener_parse("{\"corruptions\":3}"),
        .resolved = state == FINDING_RESOLVED ? T0_USEC : 0,
    };
    assert_int_equal(findings_load(world->findings, finding, 0), 0);
}

static int by_path(const void *a, const void *b)
{
    struct image *const *left = a, *const *right = b;

    return strcmp((*left)->path, (*right)->path);
}

static const struct query_view *look(struct world *world)
{
    if (world->store.n_images > 0)
        qsort(world->store.images, world->store.n_images, sizeof(*world->store.images), by_path);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    world->view = (struct query_view){
        .datastores = world->store.datastores, .n_datastores = 1, .images = world->store.images,
        .n_images = world->store.n_images,
        .graph = world->store.graph, .findings = world->findings, .policy = &world->policy,
        .now = T0_USEC + DAY,
    };
    return &world->view;
}

static const char *text(json_object *row, const char *key)
{
    return json_object_get_string(json_object_object_get(row, key));
}

static uint64_t number(json_object *row, const char *key)
{
    return json_object_get_uint64(json_object_object_get(row, key));
}

static bool truth(json_object *row, const char *key)
{
    return json_object_get_boolean(json_object_object_get(row, key));
}

/* "a,b,c": a member of all rows, paths without "/s/". */
static char *joined(json_object *rows, const char *key)
{
    char *all = strdup("");

    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        const char *value = text(json_object_array_get_idx(rows, i), key);
        char *longer;

        if (value && strncmp(value, "/s/", 3) == 0)
            value += 3;
        assert_true(asprintf(&longer, "%s%s%s", all, i > 0 ? "," : "", value ? value : "-") >= 0);
        free(all);
        all = longer;
    }
    return all;
}

#define assert_joined(rows, key, expected)                  \
    do {                                                    \
        _cleanup_free_ char *_joined = joined(rows, key);   \
        assert_string_equal(_joined, expected);             \
    } while (0)

/* ---- images ------------------------------------------------------------------------------- */

static void test_image_pages(void **state)
{
    struct world *world = *state;
    static const char *const paths[] = { "/s/a", "/s/a\xff\x01", "/s/b/c", "/s/b/d", "/s/bb" };
    _cleanup_free_ char *cursor = strdup("");
    const struct query_view *view;
    size_t n = 0;

    for (size_t i = 0; i < ELEMENTSOF(paths); i++)
        make(world, paths[i], NULL);
    view = look(world);
    do {
        _cleanup_(json_object_putp) json_object *rows = NULL;
        char *next = NULL;

        assert_int_equal(query_images(view, ASK(.cursor = cursor, .limit = 2), &rows, &next), 0);
        assert_true(json_object_array_length(rows) <= 2);
        for (size_t i = 0; i < json_object_array_length(rows); i++)
            assert_string_equal(text(json_object_array_get_idx(rows, i), "path"), paths[n++]);
        free(cursor);
        cursor = next;
    } while (*cursor);
    assert_int_equal(n, ELEMENTSOF(paths));
}

static void test_image_cursor_of_a_gone_image(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *rows = NULL;
    _cleanup_free_ char *next = NULL;

    make(world, "/s/a", NULL);
    make(world, "/s/c", NULL);
    /* "/s/b" in hexadecimal: it was there for the page before */
    assert_int_equal(
        query_images(look(world), ASK(.cursor = "2f732f62", .limit = 10), &rows, &next), 0);
    assert_joined(rows, "path", "c");
}

static void check_find(const struct query_view *view, const char *path, const char *end,
                       const char *expected)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;

    if (path)
        json_object_object_add(filter, "path", json_object_new_string(path));
    if (end)
        json_object_object_add(filter, "end", json_object_new_string(end));
    assert_int_equal(query_find(view, ASK(.filter = filter, .limit = 2), &rows, NULL), 0);
    assert_string_equal(json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PLAIN |
                                                                 JSON_C_TO_STRING_NOSLASHESCAPE),
                        expected);
}

/* What is shown of the only image that is meant; NULL nothing. */
static const char *shown_path(const struct query_view *view, const char *end, bool details)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    static char path[64];
    json_object *shown;

    json_object_object_add(filter, "end", json_object_new_string(end));
    json_object_object_add(filter, "details", json_object_new_boolean(details));
    assert_int_equal(query_find(view, ASK(.filter = filter, .limit = 9), &rows, NULL), 0);
    shown = json_object_object_get(json_object_array_get_idx(rows, 0), "shown");
    if (!shown)
        return NULL;
    (void)snprintf(path, sizeof(path), "%s",
                   json_object_get_string(json_object_object_get(shown, "path")));
    return json_object_object_get_ex(shown, "findings-list", NULL) ? path : NULL;
}

/* By its path, else by the end of it, at most as many as are asked for. */
/* What discover's index does for the manager. */
static struct image *find_name(void *userdata, const char *path)
{
    struct image *image = userdata;

    return strcmp(LIST_FIRST(&image->names)->path, path) == 0 ? image : NULL;
}

static void test_image_is_found(void **state)
{
    struct world *world = *state;
    struct image_name other = { .path = (char *)(uintptr_t)"/s/other name" };
    const struct query_view *view;
    struct image *image;

    make(world, "/s/a/web", NULL);
    make(world, "/s/b/web", NULL);
    make(world, "/s/c/web", NULL);
    image = make(world, "/s/c/oldweb", NULL);
    LIST_INSERT_HEAD(&image->names, &other, link);
    image->listed = true;
    view = look(world);
    world->view.find_name = find_name;
    world->view.find_userdata = image;
    check_find(view, "/s/b/web", "web", "[{\"path\":\"/s/b/web\",\"exact\":true}]");
    check_find(view, "/s/b", "/s/b", "[]");
    check_find(view, "/s/other name", NULL,
               "[{\"path\":\"/s/other name\",\"exact\":true}]");
    image->listed = false;      /* not shown by its own name, and by no other */
    check_find(view, "/s/other name", NULL, "[]");
    check_find(view, "/home/me/web", "web",
               "[{\"path\":\"/s/a/web\",\"total\":3},{\"path\":\"/s/b/web\",\"total\":3}]");
    check_find(view, NULL, "c/web", "[{\"path\":\"/s/c/web\",\"total\":1}]");
    check_find(view, NULL, "eb", "[]");
    check_find(view, "/s/c/we", NULL, "[]");
    check_find(view, NULL, NULL, "[]");
    assert_string_equal(shown_path(view, "c/web", true), "/s/c/web");
    assert_null(shown_path(view, "c/web", false));
    assert_null(shown_path(view, "web", true));         /* one of three */
    LIST_INIT(&image->names);
}

static void test_image_bad_cursor(void **state)
{
    static const char *const bad[] = { "x", "2", "2f7", "00", "2f00", "zz", "2F" };
    const struct query_view *view = look(*state);

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        json_object *rows = NULL;
        char *next = NULL;

        assert_int_equal(query_images(view, ASK(.cursor = bad[i], .limit = 10), &rows, &next),
                         -EINVAL);
        assert_null(rows);
        assert_null(next);
    }
}

static void check_images(const struct query_view *view, const char *filter_text,
                         const char *expected)
{
    _cleanup_(json_object_putp) json_object *filter = json_tokener_parse(filter_text), *rows = NULL;
    _cleanup_free_ char *next = NULL;

    assert_int_equal(query_images(view, ASK(.filter = filter, .limit = 100), &rows, &next), 0);
    assert_string_equal(next, "");
    assert_joined(rows, "path", expected);
}

static void test_image_filters(void **state)
{
    struct world *world = *state;
    const struct query_view *view;
    json_object *rows = NULL;
    _cleanup_(json_object_putp) json_object *bad = json_tokener_parse("{\"format\":\"vvfat\"}");
    char *next = NULL;

    make(world, "/s/b", NULL);
    make(world, "/s/b/c", NULL);
    make(world, "/s/bb", NULL)->audit->report->layers[0].info.format = QCA_FORMAT_RAW;
    find(world, 1, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, FINDING_OPEN, "/s/b/c");
    find(world, 2, FINDING_CHAIN_DEEP, SEVERITY_WARNING, FINDING_RESOLVED, "/s/bb");
    view = look(world);
    check_images(view, "{}", "b,b/c,bb");
    check_images(view, "{\"path\":\"/s/b\"}", "b,b/c");
    check_images(view, "{\"path\":\"/s/b/\"}", "b,b/c");
    check_images(view, "{\"path\":\"/\"}", "b,b/c,bb");
    check_images(view, "{\"path\":\"/t\"}", "");
    check_images(view, "{\"datastore\":\"pool\"}", "b,b/c,bb");
    check_images(view, "{\"datastore\":\"other\"}", "");
    check_images(view, "{\"format\":\"raw\"}", "bb");
    check_images(view, "{\"findings\":true}", "b/c");
    assert_int_equal(query_images(view, ASK(.filter = bad, .limit = 100), &rows, &next), -EINVAL);
}

static void test_image_entry(void **state)
{
    struct world *world = *state;
    struct image *image = make(world, "/s/a", NULL);
    _cleanup_(json_object_putp) json_object *entry = NULL;
    json_object *none = NULL, *list;

    image->audit->report->layers[0].check.corruptions = 3;
    find(world, 7, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, FINDING_OPEN, "/s/a");
    look(world);
    assert_int_equal(query_image(&world->view, ASK(.path = "/s/none"), &none, NULL), -ENOENT);
    assert_int_equal(query_image(&world->view, ASK(.path = "/s/a"), &entry, NULL), 0);
    assert_string_equal(text(entry, "format"), "qcow2");
    assert_string_equal(text(entry, "use"), "unused");
    assert_string_equal(text(entry, "severity"), "critical");
    assert_int_equal(number(entry, "depth"), 1);
    assert_int_equal(number(entry, "corruptions"), 3);
    assert_int_equal(number(json_object_object_get(entry, "header"), "cluster-size"), 65536);
    list = json_object_object_get(entry, "findings-list");
    assert_int_equal(json_object_array_length(list), 1);
    assert_int_equal(number(json_object_array_get_idx(list, 0), "id"), 7);
    assert_non_null(json_object_object_get(json_object_array_get_idx(list, 0), "evidence"));
}

/* What is about all layers of a disk is shown with each of them, and counted with its own layer
 * alone. */
static void test_findings_of_the_disk(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *leaf = NULL, *base = NULL, *alone = NULL, *rows = NULL,
                                            *filter = json_tokener_parse("{\"path\":\"/s/2\"}");
    json_object *list;
    _cleanup_free_ char *next = NULL;

    make(world, "/s/base", NULL);
    make_snapshot(world, "/s/1", "/s/base");
    make_snapshot(world, "/s/2", "/s/1");
    make(world, "/s/alone", NULL);
    find(world, 1, FINDING_CHAIN_DEEP, SEVERITY_WARNING, FINDING_OPEN, "/s/base");
    find(world, 2, FINDING_SNAPSHOT_OLD, SEVERITY_WARNING, FINDING_RESOLVED, "/s/base");
    find(world, 3, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, FINDING_OPEN, "/s/base");
    find(world, 4, FINDING_PERMISSIONS, SEVERITY_WARNING, FINDING_OPEN, "/s/2");
    assert_int_equal(query_image(look(world), ASK(.path = "/s/2"), &leaf, NULL), 0);
    list = json_object_object_get(leaf, "findings-list");
    assert_joined(list, "name", "permissions,chain-deep");
    assert_joined(list, "path", "2,base");
    assert_joined(list, "disk", "-,true");
    assert_int_equal(number(leaf, "findings"), 1);
    assert_null(json_object_object_get(leaf, "deepest-leaf"));
    assert_int_equal(query_image(&world->view, ASK(.path = "/s/base"), &base, NULL), 0);
    assert_joined(json_object_object_get(base, "findings-list"), "name",
                  "metadata-corrupt,chain-deep");
    assert_string_equal(text(base, "deepest-leaf"), "/s/2");
    assert_int_equal(number(base, "layers-above"), 2);
    assert_int_equal(query_image(&world->view, ASK(.path = "/s/alone"), &alone, NULL), 0);
    assert_joined(json_object_object_get(alone, "findings-list"), "name", "");
    assert_null(json_object_object_get(alone, "deepest-leaf"));
    assert_int_equal(
        query_findings(&world->view, ASK(.filter = filter, .limit = 100), &rows, &next), 0);
    assert_joined(rows, "id", "1,4");
}

static void test_image_never_audited(void **state)
{
    struct world *world = *state;
    struct image *image = make(world, "/s/new", NULL);
    _cleanup_(json_object_putp) json_object *entry = NULL;

    audit_free(image->audit);
    image->audit = NULL;
    assert_int_equal(query_image(look(world), ASK(.path = "/s/new"), &entry, NULL), 0);
    assert_null(json_object_object_get(entry, "audited"));
    assert_null(json_object_object_get(entry, "format"));
}

/* ---- chains ------------------------------------------------------------------------------- */

static json_object *chain_of(struct world *world, const char *path)
{
    _cleanup_free_ char *next = NULL;
    json_object *rows = NULL;

    assert_int_equal(query_chain(look(world), ASK(.path = path), &rows, &next), 0);
    assert_string_equal(next, "");
    return rows;
}

static void test_chain_linear(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *rows = NULL;
    json_object *base, *leaf, *list;

    make(world, "/s/base", NULL);
    make_snapshot(world, "/s/1", "/s/base");
    make_snapshot(world, "/s/2", "/s/1");
    find(world, 1, FINDING_CHAIN_DEEP, SEVERITY_WARNING, FINDING_OPEN, "/s/base");
    find(world, 2, FINDING_PERMISSIONS, SEVERITY_WARNING, FINDING_OPEN, "/s/2");
    rows = chain_of(world, "/s/2");
    assert_joined(rows, "path", "base,1,2");
    assert_joined(rows, "level", "0,1,2");
    assert_joined(rows, "parent", "-,base,1");
    assert_joined(rows, "asked", "false,false,true");
    assert_joined(rows, "own", "true,false,false");
    leaf = json_object_array_get_idx(rows, 2);
    assert_int_equal(number(leaf, "unconsolidated"), 2);
    assert_joined(json_object_object_get(leaf, "findings-list"), "name", "permissions");
    assert_joined(json_object_object_get(leaf, "findings-list"), "disk", "-");
    base = json_object_array_get_idx(rows, 0);
    list = json_object_object_get(base, "findings-list");
    assert_joined(list, "name", "chain-deep");
    assert_joined(list, "disk", "true");
}

static void test_chain_from_the_middle(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *rows = NULL;

    make(world, "/s/base", NULL);
    make(world, "/s/1", "/s/base");
    make(world, "/s/other", "/s/base");
    make(world, "/s/1b", "/s/1");
    make(world, "/s/1a", "/s/1");
    make(world, "/s/1a1", "/s/1a");
    rows = chain_of(world, "/s/1");
    /* down to the base, all that is above; what else is on the base is counted there */
    assert_joined(rows, "path", "base,1,1a,1a1,1b");
    assert_joined(rows, "level", "0,1,2,3,2");
    assert_int_equal(number(json_object_array_get_idx(rows, 0), "children"), 2);
}

static void test_chain_golden(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *rows = NULL;

    world->golden[0] = (char[]){ "/s/gold*" };
    make(world, "/s/gold", NULL);
    make(world, "/s/clone", "/s/gold");
    rows = chain_of(world, "/s/clone");
    assert_joined(rows, "golden", "policy,-");
    assert_joined(rows, "own", "false,true");
}

static void test_chain_missing_parent(void **state)
{
    struct world *world = *state;
    struct image *image = make(world, "/s/a", "/s/gone");
    _cleanup_(json_object_putp) json_object *rows = NULL;

    image->parent.state = REFERENCE_MISSING;
    image->parent.error = -ENOENT;
    rows = chain_of(world, "/s/a");
    assert_joined(rows, "path", "gone,a");
    assert_joined(rows, "state", "missing,-");
    assert_joined(rows, "level", "0,1");
}

static void test_chain_escaping_parent(void **state)
{
    struct world *world = *state;
    struct image *image = make(world, "/s/a", "../../etc/shadow");
    _cleanup_(json_object_putp) json_object *rows = NULL;

    image->parent.state = REFERENCE_ESCAPES;
    free(image->parent.path);
    image->parent.path = NULL;
    rows = chain_of(world, "/s/a");
    assert_joined(rows, "path", "../../etc/shadow,a");
    assert_joined(rows, "state", "escapes,-");
}

static void test_chain_loop(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *above = NULL, *within = NULL;

    make(world, "/s/a", "/s/b");
    make(world, "/s/b", "/s/a");
    make(world, "/s/c", "/s/b");
    above = chain_of(world, "/s/c");
    assert_joined(above, "path", "b,a,b,c");
    assert_joined(above, "state", "loop,-,-,-");
    within = chain_of(world, "/s/a");
    assert_int_equal(json_object_array_length(within), 3);
    assert_joined(within, "state", "loop,-,-");
    assert_true(truth(json_object_array_get_idx(within, 1), "loop"));
}

static void test_chain_of_itself(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *rows = NULL;

    make(world, "/s/a", "/s/a");
    rows = chain_of(world, "/s/a");
    assert_joined(rows, "path", "a,a");
    assert_joined(rows, "state", "loop,-");
}

static void test_chain_very_deep(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *down = NULL, *up = NULL;
    char path[40], parent[40];

    for (unsigned i = 0; i < 1847; i++) {
        (void)snprintf(path, sizeof(path), "/s/%04u", i);
        (void)snprintf(parent, sizeof(parent), "/s/%04u", i - 1);
        make(world, path, i > 0 ? parent : NULL);
    }
    down = chain_of(world, "/s/1846");
    assert_int_equal(json_object_array_length(down), 1847);
    assert_int_equal(number(json_object_array_get_idx(down, 1846), "level"), 1846);
    up = chain_of(world, "/s/0000");
    assert_int_equal(json_object_array_length(up), 1847);
}

static void test_chain_unknown(void **state)
{
    json_object *rows = NULL;
    char *next = NULL;

    assert_int_equal(query_chain(look(*state), ASK(.path = "/s/none"), &rows, &next), -ENOENT);
    assert_null(rows);
    make(*state, "/s/a", NULL);
    assert_int_equal(query_chain(look(*state), ASK(.path = "/s/a", .cursor = "x"), &rows, &next),
                     -EINVAL);
    assert_int_equal(query_chain(look(*state), ASK(.path = "/s/a", .cursor = "-1"), &rows, &next),
                     -EINVAL);
}

/* Pages of any size, one after the other, are what the whole is. */
static void test_chain_in_pages(void **state)
{
    struct world *world = *state;
    _cleanup_(json_object_putp) json_object *whole = NULL;
    char path[32], parent[32];

    make(world, "/s/0", NULL);
    make(world, "/s/1", "/s/0");
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof(path), "/s/leaf-%02d", i);
        snprintf(parent, sizeof(parent), i % 3 ? "/s/leaf-%02d" : "/s/1", i - 1);
        make(world, path, parent);
    }
    whole = chain_of(world, "/s/1");
    assert_int_equal(json_object_array_length(whole), 22);
    for (unsigned limit = 1; limit < 25; limit++) {
        _cleanup_free_ char *cursor = strdup("");
        size_t n = 0;

        do {
            _cleanup_(json_object_putp) json_object *rows = NULL;
            char *next = NULL;

            assert_int_equal(query_chain(look(world),
                                         ASK(.path = "/s/1", .cursor = cursor, .limit = limit),
                                         &rows, &next),
                             0);
            assert_true(json_object_array_length(rows) <= limit);
            for (size_t i = 0; i < json_object_array_length(rows); i++, n++)
                assert_true(json_object_equal(json_object_array_get_idx(rows, i),
                                              json_object_array_get_idx(whole, n)));
            free(cursor);
            cursor = next;
        } while (*cursor);
        assert_int_equal(n, 22);
    }
    {
        _cleanup_(json_object_putp) json_object *rows = NULL;
        _cleanup_free_ char *next = NULL;

        assert_int_equal(
            query_chain(look(world),
                        ASK(.path = "/s/1", .cursor = "18446744073709551615", .limit = 5), &rows,
                        &next),
            0);
        assert_int_equal(json_object_array_length(rows), 0);
        assert_string_equal(next, "");
    }
}

/* ---- findings ----------------------------------------------------------------------------- */

static void check_findings(const struct query_view *view, const char *filter_text,
                           const char *expected)
{
    _cleanup_(json_object_putp) json_object *filter = json_tokener_parse(filter_text), *rows = NULL;
    _cleanup_free_ char *next = NULL;

    assert_int_equal(query_findings(view, ASK(.filter = filter, .limit = 100), &rows, &next), 0);
    assert_joined(rows, "id", expected);
}

static void add_findings(struct world *world)
{
    find(world, 1, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, FINDING_OPEN, "/s/a");
    find(world, 2, FINDING_CLUSTERS_LEAKED, SEVERITY_INFO, FINDING_OPEN, "/s/a");
    find(world, 3, FINDING_CHAIN_DEEP, SEVERITY_ERROR, FINDING_ACKNOWLEDGED, "/s/d/b");
    find(world, 4, FINDING_CHAIN_DEEP, SEVERITY_WARNING, FINDING_RESOLVED, "/s/d/c");
    find(world, 5, FINDING_PARENT_MISSING, SEVERITY_CRITICAL, FINDING_OPEN, "/s/dd");
}

static void test_finding_filters(void **state)
{
    static const char *const bad[] = { "{\"severity\":\"fatal\"}", "{\"name\":\"no-such\"}",
                                       "{\"state\":\"closed\"}" };
    const struct query_view *view;

    add_findings(*state);
    view = look(*state);
    check_findings(view, "{}", "1,2,3,5");
    check_findings(view, "{\"state\":\"all\"}", "1,2,3,4,5");
    check_findings(view, "{\"state\":\"open\"}", "1,2,5");
    check_findings(view, "{\"state\":\"acknowledged\"}", "3");
    check_findings(view, "{\"state\":\"resolved\"}", "4");
    check_findings(view, "{\"severity\":\"error\"}", "1,3,5");
    check_findings(view, "{\"severity\":\"critical\",\"path\":\"/s/a\"}", "1");
    check_findings(view, "{\"name\":\"chain-deep\"}", "3");
    check_findings(view, "{\"path\":\"/s/d\"}", "3");
    check_findings(view, "{\"datastore\":\"pool\"}", "1,2,3,5");
    check_findings(view, "{\"datastore\":\"other\"}", "");
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        _cleanup_(json_object_putp) json_object *filter = json_tokener_parse(bad[i]);
        json_object *rows = NULL;
        char *next = NULL;

        assert_int_equal(query_findings(view, ASK(.filter = filter, .limit = 100), &rows, &next),
                         -EINVAL);
    }
}

static void test_finding_pages(void **state)
{
    const struct query_view *view;
    _cleanup_(json_object_putp) json_object *first = NULL, *second = NULL, *third = NULL;
    _cleanup_free_ char *next = NULL, *last = NULL, *end = NULL;
    json_object *rows = NULL;

    add_findings(*state);
    view = look(*state);
    assert_int_equal(query_findings(view, ASK(.limit = 2), &first, &next), 0);
    assert_joined(first, "id", "1,2");
    assert_int_equal(query_findings(view, ASK(.cursor = next, .limit = 2), &second, &last), 0);
    assert_joined(second, "id", "3,5");
    assert_string_equal(last, "");
    assert_int_equal(query_findings(view, ASK(.cursor = "5", .limit = 2), &third, &end), 0);
    assert_int_equal(json_object_array_length(third), 0);
    assert_int_equal(query_findings(view, ASK(.cursor = "5x", .limit = 2), &rows, NULL), -EINVAL);
    assert_int_equal(query_findings(view, ASK(.cursor = "-5", .limit = 2), &rows, NULL), -EINVAL);
    assert_int_equal(
        query_findings(view, ASK(.cursor = "99999999999999999999", .limit = 2), &rows, NULL),
        -EINVAL);
}

static void test_finding_entry(void **state)
{
    _cleanup_(json_object_putp) json_object *entry = NULL;
    json_object *none = NULL;

    add_findings(*state);
    look(*state);
    assert_int_equal(query_finding(&((struct world *)*state)->view, ASK(.id = 99), &none, NULL),
                     -ENOENT);
    assert_int_equal(query_finding(&((struct world *)*state)->view, ASK(.id = 1), &entry, NULL), 0);
    assert_string_equal(text(entry, "name"), "metadata-corrupt");
    assert_string_equal(text(entry, "subject-kind"), "image");
    assert_int_equal(number(json_object_object_get(entry, "evidence"), "corruptions"), 3);
}

/* ---- status ------------------------------------------------------------------------------- */

static void test_status(void **state)
{
    struct world *world = *state;
    const struct query_status numbers = {
        .version = "1", .started = 5, .store_error = -ENOSPC, .store_waiting = 3
    };
    _cleanup_(json_object_putp) json_object *status = NULL;

    make(world, "/s/base", NULL);
    make_snapshot(world, "/s/1", "/s/base");
    make_snapshot(world, "/s/2", "/s/1");
    make(world, "/s/gone", NULL)->present = false;
    make(world, "/s/bad", NULL)->audit->report->error = -EINVAL;
    add_findings(world);
    assert_int_equal(query_status(look(world), &numbers, &status), 0);
    assert_int_equal(number(status, "images"), 4);
    assert_int_equal(number(status, "images-unreadable"), 1);
    assert_int_equal(number(status, "chains"), 1);
    assert_int_equal(number(status, "depth-max"), 2);
    assert_string_equal(text(status, "depth-max-path"), "/s/2");
    assert_int_equal(json_object_get_int(json_object_object_get(status, "store-error")), -ENOSPC);
    assert_int_equal(number(json_object_object_get(status, "open"), "critical"), 2);
    assert_int_equal(number(json_object_object_get(status, "acknowledged"), "error"), 1);
    assert_joined(json_object_object_get(status, "worst"), "id", "1,5");
    assert_joined(json_object_object_get(status, "datastores"), "name", "pool");
}

static void test_status_worst_are_ordered(void **state)
{
    struct world *world = *state;
    const struct query_status numbers = { .version = "1" };
    _cleanup_(json_object_putp) json_object *status = NULL;
    char path[40];

    for (int64_t i = 1; i <= 12; i++) {
        (void)snprintf(path, sizeof(path), "/s/%d", (int)i);
        find(world, i, FINDING_CHAIN_DEEP, i % 3 == 0 ? SEVERITY_ERROR : SEVERITY_WARNING,
             FINDING_OPEN, path);
    }
    assert_int_equal(query_status(look(world), &numbers, &status), 0);
    assert_joined(json_object_object_get(status, "worst"), "id", "3,6,9,12,1");
}

/* ---- policy ------------------------------------------------------------------------------- */

static void no_mistake(void *userdata, const char *file, unsigned line, unsigned column,
                       const char *message)
{
    fail_msg("%s:%u:%u: %s", file, line, column, message);
}

/* "VALUE line LINE class CLASS" of the setting, "" when it is not among them. */
static void assert_policy(json_object *policy, const char *name, const char *expected)
{
    json_object *rows = json_object_object_get(policy, "settings");
    char said[100] = "";

    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        if (strcmp(text(row, "name"), name) != 0)
            continue;
        assert_int_equal(truth(row, "default"), number(row, "line") == 0);
        (void)snprintf(said, sizeof(said), "%s line %d class %s", text(row, "value"),
                       (int)number(row, "line"), text(row, "class") ? text(row, "class") : "-");
    }
    assert_string_equal(said, expected);
}

static json_object *policy_of(struct world *world, const struct config *config, const char *path)
{
    json_object *policy = NULL;
    struct query_view view = *look(world);

    view.config = config;
    view.policy = &config->policy;
    assert_int_equal(query_policy(&view, &(struct asked){ .path = path }, &policy, NULL), 0);
    return policy;
}

static void test_policy(void **state)
{
    static const char yaml[] = "thresholds: {chain-deep: {error: 30}, datastore-full: off}\n"
                               "golden: {patterns: [/s/gold*]}\n"
                               "classes:\n"
                               "  - name: lab\n"
                               "    paths: [/x/*,\n"
                               "            /s/lab/*]\n"
                               "    thresholds: {chain-deep: {warning: 2}, permissions: off}\n";
    struct world *world = *state;
    struct config *config = NULL;
    json_object *policy = NULL;

    assert_int_equal(config_parse("q.yaml", yaml, strlen(yaml), no_mistake, NULL, &config), 0);
    make(world, "/s/lab/a", NULL);
    policy = policy_of(world, config, "/s/lab/a");
    assert_true(truth(policy, "known"));
    assert_string_equal(text(policy, "class"), "lab");
    assert_string_equal(text(policy, "class-file"), "q.yaml");
    assert_int_equal(number(policy, "class-line"), 4);
    assert_string_equal(text(policy, "pattern"), "/s/lab/*");
    assert_int_equal(number(policy, "pattern-line"), 6);
    assert_policy(policy, "thresholds.chain-deep.warning", "2 line 7 class lab");
    assert_policy(policy, "thresholds.chain-deep.error", "30 line 1 class -");
    assert_policy(policy, "thresholds.chain-deep.critical", "160 line 0 class -");
    assert_policy(policy, "thresholds.permissions.enabled", "off line 7 class lab");
    assert_policy(policy, "thresholds.leak-burst.enabled", "");
    assert_policy(policy, "thresholds.datastore-full.enabled", "");
    assert_policy(policy, "thresholds.datastore-full.warning", "");
    assert_policy(policy, "workers.count", "");
    json_object_put(policy);

    /* Not known, and of no class; declared golden. */
    policy = policy_of(world, config, "/s/gold1");
    assert_false(truth(policy, "known"));
    assert_null(text(policy, "class"));
    assert_string_equal(text(policy, "golden-pattern"), "/s/gold*");
    assert_int_equal(number(policy, "golden-line"), 2);
    assert_policy(policy, "thresholds.chain-deep.warning", "5 line 0 class -");
    assert_policy(policy, "classes[].memory", "");
    json_object_put(policy);

    policy = policy_of(world, config, "/");
    assert_null(text(policy, "path"));
    assert_policy(policy, "thresholds.datastore-full.enabled", "off line 1 class -");
    assert_policy(policy, "workers.count", "2 line 0 class -");
    assert_policy(policy, "golden.patterns", "/s/gold* line 2 class -");
    assert_policy(policy, "thresholds.chain-deep.warning", "5 line 0 class -");
    json_object_put(policy);
    assert_int_equal(query_policy(look(world), &(struct asked){ .path = "/s" }, &policy, NULL),
                     -EOPNOTSUPP);
    config_free(config);
}

/* ---- mutes -------------------------------------------------------------------------------- */

static void load_mute(struct world *world, int64_t id, const char *path, const char *finding,
                      uint64_t until, uint64_t ended)
{
    struct mute *mute = calloc(1, sizeof(*mute));

    assert_non_null(mute);
    *mute = (struct mute){
        .id = id, .path = path ? strdup(path) : NULL, .finding = finding ? strdup(finding) : NULL,
        .by = strdup("root"), .reason = strdup("known"), .made = T0_USEC, .until = until,
        .ended = ended, .ended_by = ended > 0 ? strdup("uid 5") : NULL,
    };
    assert_int_equal(mutes_load(findings_mutes(world->findings), mute), 0);
}

static void test_mutes(void **state)
{
    struct world *world = *state;
    const struct query_status numbers = { .version = "1" };
    _cleanup_(json_object_putp) json_object *rows = NULL, *status = NULL, *entry = NULL;
    json_object *row;

    add_findings(world);
    load_mute(world, 2, "/s/*x*", NULL, T0_USEC + 2 * DAY, 0);
    load_mute(world, 4, NULL, "chain-deep", 0, T0_USEC + 5);
    findings_by_id(world->findings, 1)->muted_by = 2;
    findings_by_id(world->findings, 1)->muted_severity = SEVERITY_ERROR;
    assert_int_equal(query_mutes(look(world), &(struct asked){ .limit = 0 }, &rows, NULL), 0);
    assert_joined(rows, "id", "2,4");
    row = json_object_array_get_idx(rows, 0);
    assert_string_equal(text(row, "path"), "/s/*x*");
    assert_string_equal(text(row, "made-by"), "root");
    assert_string_equal(text(row, "reason"), "known");
    assert_int_equal(number(row, "until"), T0_USEC + 2 * DAY);
    assert_int_equal(number(row, "findings"), 1);
    assert_true(truth(row, "holds"));
    assert_false(truth(row, "all-images"));
    row = json_object_array_get_idx(rows, 1);
    assert_string_equal(text(row, "finding"), "chain-deep");
    assert_string_equal(text(row, "ended-by"), "uid 5");
    assert_int_equal(number(row, "findings"), 0);
    assert_false(truth(row, "holds"));

    assert_int_equal(query_finding(look(world), &(struct asked){ .id = 1 }, &entry, NULL), 0);
    assert_int_equal(number(entry, "muted-by"), 2);
    assert_string_equal(text(entry, "state"), "open");
    assert_string_equal(text(entry, "muted-user"), "root");
    assert_string_equal(text(entry, "muted-reason"), "known");
    assert_string_equal(text(entry, "muted-severity"), "error");
    assert_int_equal(number(entry, "muted-until"), T0_USEC + 2 * DAY);

    /* It is counted apart, and not among the worst. */
    assert_int_equal(query_status(look(world), &numbers, &status), 0);
    assert_int_equal(number(json_object_object_get(status, "open"), "critical"), 1);
    assert_int_equal(number(json_object_object_get(status, "muted"), "critical"), 1);
    assert_joined(json_object_object_get(status, "worst"), "id", "5");
    assert_int_equal(number(status, "mutes"), 1);
    assert_false(json_object_object_get_ex(status, "mute-of-all-images", NULL));
    json_object_put(TAKE_PTR(status));
    load_mute(world, 5, "**", NULL, T0_USEC + 1, 0);    /* its time is over */
    load_mute(world, 6, "/*", NULL, 0, 0);
    assert_int_equal(query_status(look(world), &numbers, &status), 0);
    assert_int_equal(number(status, "mute-of-all-images"), 6);
}

/* ---- very many ---- */

/* How long a question took, in ms, for those who read the log; no test. */
static void ask_of_many(struct world *world, const char *filter, const char *cursor,
                        size_t expected, char **ret_next)
{
    _cleanup_(json_object_putp) json_object *asked = json_tokener_parse(filter), *rows = NULL;
    uint64_t start = usec_now(CLOCK_MONOTONIC);

    assert_int_equal(query_findings(&world->view, ASK(.filter = asked, .limit = 100,
                                                      .cursor = cursor), &rows, ret_next), 0);
    print_message("%s after %s: %zu rows, %.1f ms\n", filter, cursor ? cursor : "0",
                  json_object_array_length(rows),
                  (double)(usec_now(CLOCK_MONOTONIC) - start) / 1000);
    assert_int_equal(json_object_array_length(rows), expected);
}

/* 100,000; in a million, which take 1.3 GB here, a page is found as fast. */
static void test_many_findings(void **state)
{
    const char *asked = getenv("QCAUDIT_TEST_FINDINGS");
    const unsigned n = asked ? (unsigned)atoi(asked) : 100000, images = n / 4;
    struct world *world = *state;
    char subject[60], *next = NULL;

    for (unsigned i = 0; i < images; i++)
        for (unsigned type = 0; type < 4; type++) {
            snprintf(subject, sizeof(subject), "/s/d%u/image-%u.qcow2", i % 100, i);
            find(world, (int64_t)type * images + i + 1, (enum finding_type)type,
                 i == images / 2 ? SEVERITY_CRITICAL : SEVERITY_WARNING, FINDING_OPEN, subject);
        }
    (void)look(world);
    ask_of_many(world, "{}", NULL, 100, &next);
    assert_string_equal(next, "100");
    free(next);
    ask_of_many(world, "{}", "50000", 100, &next);
    assert_string_equal(next, "50100");
    free(next);
    ask_of_many(world, "{\"severity\":\"critical\"}", NULL, 4, &next);
    free(next);
    ask_of_many(world, "{\"path\":\"/s/d7/image-7.qcow2\"}", NULL, 4, &next);
    free(next);
    ask_of_many(world, "{\"path\":\"/s/d8\"}", "75000", 100, &next);
    free(next);
    ask_of_many(world, "{\"state\":\"resolved\"}", NULL, 0, &next);
    free(next);
}

int main(void)
{
#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    static const struct CMUnitTest tests[] = {
        T(test_image_pages), T(test_image_cursor_of_a_gone_image), T(test_image_bad_cursor),
        T(test_image_is_found),
        T(test_image_filters),
        T(test_image_entry), T(test_findings_of_the_disk), T(test_image_never_audited),
        T(test_chain_linear),
        T(test_chain_from_the_middle),
        T(test_chain_golden), T(test_chain_missing_parent), T(test_chain_escaping_parent),
        T(test_chain_loop),
        T(test_chain_of_itself), T(test_chain_very_deep), T(test_chain_unknown),
        T(test_chain_in_pages),
        T(test_finding_filters),
        T(test_finding_pages), T(test_finding_entry), T(test_status),
        T(test_policy),
        T(test_mutes),
        T(test_status_worst_are_ordered), T(test_many_findings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
