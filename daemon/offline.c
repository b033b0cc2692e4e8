/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-offline DIRECTORY QUESTION ARGUMENTS: loads the database of a daemon that does not run,
 * and answers one question by the code that answers the daemon's callers. The answer goes to
 * descriptor WIRE_FD as JSON: {"answer", "next"} or {"error", "message"}. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build-config.h"
#include "daemon/contents/contents.h"
#include "daemon/control/control.h"
#include "daemon/judge/judge.h"
#include "daemon/store/store.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "helpers/wire.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define ROWS_MAX UINT32_MAX

DEFINE_CLEANUP(json_object *, json_object_put)

/* All that the database knows, as the manager would have it. */
struct known {
    struct store_reader *reader;
    struct datastore **datastores;
    struct image **images;      /* those that count as one, sorted by path; */
    size_t n_datastores, n_images, n_all;       /* then the others */
    struct graph *graph;
    struct findings *findings;
    struct contents *contents;
    uint64_t now;
};

static void known_done(struct known *known)
{
    contents_free(known->contents);
    graph_free(known->graph);
    for (size_t i = 0; i < known->n_all; i++)
        image_free(known->images[i]);
    for (size_t i = 0; i < known->n_datastores; i++)
        datastore_free(known->datastores[i]);
    free(known->images);
    free(known->datastores);
    findings_free(known->findings);
    store_reader_free(known->reader);
}

/* ---- loading --------------------------------------------------------------------------------- */

static int load_datastore(void *userdata, struct datastore *datastore)
{
    struct known *known = userdata;
    struct datastore **datastores = reallocarray(known->datastores, known->n_datastores + 1,
                                                 sizeof(*datastores));

    if (!datastores) {
        datastore_free(datastore);
        return -ENOMEM;
    }
    datastores[known->n_datastores++] = datastore;
    datastore->n_images = 0;
    known->datastores = datastores;
    return 0;
}

static struct datastore *find_datastore(const struct known *known, const char *name)
{
    for (size_t i = 0; i < known->n_datastores; i++)
        if (strcmp(known->datastores[i]->name, name) == 0)
            return known->datastores[i];
    return NULL;
}

static int add_image(struct known *known, struct image *image)
{
    if ((known->n_all & (known->n_all - 1)) == 0) {     /* as many as there is room for */
        size_t n_room = known->n_all > 0 ? 2 * known->n_all : 1;
        struct image **images = reallocarray(known->images, n_room, sizeof(*images));

        if (!images)
            return -ENOMEM;
        known->images = images;
    }
    known->images[known->n_all++] = image;
    return 0;
}

static int load_image(void *userdata, const char *datastore, struct image *image)
{
    struct known *known = userdata;
    int r;

    image->datastore = find_datastore(known, datastore);
    r = image->datastore ? add_image(known, image) : 0;
    if (r < 0 || !image->datastore) {
        image_free(image);
        return r;
    }
    return graph_add(known->graph, image);
}

static int load_finding(void *userdata, struct finding *finding)
{
    struct known *known = userdata;
    int r = findings_load(known->findings, finding, 0);

    if (r < 0)
        finding_free(finding);
    return r == -EEXIST ? 0 : r;
}

static int load_mute(void *userdata, struct mute *mute)
{
    struct known *known = userdata;
    int r = mutes_load(findings_mutes(known->findings), mute);

    return r == -EEXIST ? 0 : r;
}

static int load_baseline(void *userdata, struct baseline *baseline, json_object *deviation,
                         const char *verity)
{
    struct known *known = userdata;

    return contents_load_baseline(known->contents, baseline, deviation, verity);
}

static int load_disk_move(void *userdata, const char *overlay, const char *parent, uint64_t at)
{
    struct known *known = userdata;
    int r = graph_note_disk_move(known->graph, overlay, parent, at);

    return r < 0 ? r : 0;
}

static int by_place(const void *left, const void *right)
{
    const struct image *a = *(struct image *const *)left, *b = *(struct image *const *)right;

    return a->listed != b->listed ? b->listed - a->listed : strcmp(a->path, b->path);
}

/* Derives the rest of the state from the loaded rows. */
static int known_finish(struct known *known)
{
    int r;

    for (size_t i = 0; i < known->n_all; i++) {
        struct image *image = known->images[i];

        image->baseline = (struct baseline *)(uintptr_t)contents_find(known->contents,
                                                                      &image->identity);
    }
    r = graph_refresh(known->graph, NULL, NULL);        /* by these baselines, too */
    if (r < 0)
        return r;
    for (size_t i = 0; i < known->n_all; i++) {
        struct image *image = known->images[i];

        image->listed = judge_is_listed(image, graph_relation(known->graph, image));
        known->n_images += image->listed;
        image->datastore->n_images += image->listed;
    }
    if (known->n_all > 0)
        qsort(known->images, known->n_all, sizeof(known->images[0]), by_place);
    return 0;
}

static struct image *find_image(void *userdata, const char *path)
{
    struct known *known = userdata;

    return graph_find(known->graph, path);
}

static int all_images(void *userdata, struct image *const **ret_images, size_t *ret_n)
{
    struct known *known = userdata;

    *ret_images = known->images;
    *ret_n = known->n_all;
    return 0;
}

/* The callbacks of loading and finding baselines; nothing else of contents is used here. */
static const struct contents_ops contents_ops = {
    .find_image = find_image, .images = all_images,
};

static int known_load(struct known *known)
{
    const struct store_loader loader = {
        .datastore = load_datastore, .image = load_image, .finding = load_finding,
        .mute = load_mute,
        .baseline = load_baseline, .disk_move = load_disk_move, .userdata = known,
    };
    int r = graph_new(&known->graph);

    if (r >= 0)
        r = findings_new(&known->findings);
    if (r >= 0)
        r = contents_new(&(struct contents_options){ .state_directory = "", .graph = known->graph,
                                                     .ops = &contents_ops, .userdata = known },
                         &known->contents);
    if (r >= 0)
        r = store_reader_load(known->reader, &loader);
    if (r < 0)
        return r;
    findings_expire(known->findings, known->now);       /* while nobody was there to end them */
    return known_finish(known);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static int say(char **ret_message, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int say(char **ret_message, int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(ret_message, format, arguments) < 0)
        *ret_message = NULL;
    va_end(arguments);
    return error;
}

static int cannot_read(const char *directory, int error, char **ret_message)
{
    _cleanup_free_ char *shown = text_escape_string(directory);

    if (!shown)
        return -ENOMEM;
    switch (error) {
    case -EBUSY:
        return say(ret_message, error,
                   "qcauditd is running and has %s: ask it, without --offline", shown);
    case -EMEDIUMTYPE:
        return say(ret_message, error, "Cannot open the database %s/%s: it is not a regular file",
                   shown, CONTROL_DATABASE_NAME);
    default:
        return say(ret_message, error, "Cannot read the database %s/%s: %s", shown,
                   CONTROL_DATABASE_NAME,
                   error == -EUCLEAN ? "it is damaged" : strerror(-error));
    }
}

/* ---- questions ------------------------------------------------------------------------------- */

/* As a daemon would say it that has just begun. */
static int ask_status(const struct known *known, const struct query_view *view,
                      json_object **ret_answer)
{
    struct query_status status = { .version = PACKAGE_VERSION };

    for (size_t i = 0; i < known->n_datastores; i++)
        if (known->datastores[i]->walk_finished > status.last_pass)
            status.last_pass = known->datastores[i]->walk_finished;
    return query_status(view, &status, ret_answer);
}

/* All pages: what is shown with details has a limit of its own. */
static int ask_pages(const struct query_view *view, const struct question *question,
                     const struct asked *asked, json_object **ret_answer)
{
    _cleanup_(json_object_putp) json_object *answer = json_object_new_array();
    _cleanup_free_ char *cursor = NULL;
    struct asked page = *asked;
    int r;

    if (!answer)
        return -ENOMEM;
    do {
        _cleanup_(json_object_putp) json_object *rows = NULL;
        char *next = NULL;

        page.cursor = cursor;
        r = question->make(view, &page, &rows, &next);
        for (size_t i = 0; r >= 0 && i < json_object_array_length(rows) &&
                           json_object_array_length(answer) < page.limit;
             i++)
            r = json_object_array_add(answer, json_object_get(json_object_array_get_idx(rows, i)))
                    < 0 ? -ENOMEM : 0;
        free(cursor);
        cursor = next;
    } while (r >= 0 && cursor && *cursor && json_object_array_length(answer) < page.limit);
    if (r >= 0)
        *ret_answer = TAKE_PTR(answer);
    return r;
}

/* The arguments' members are those of struct asked. */
static struct asked asked_from(json_object *arguments)
{
    struct asked asked = { .limit = ROWS_MAX };
    json_object *value;

    if (json_object_object_get_ex(arguments, "filter", &value))
        asked.filter = value;
    if (json_object_object_get_ex(arguments, "path", &value))
        asked.path = json_object_get_string(value);
    if (json_object_object_get_ex(arguments, "limit", &value) && json_object_get_int(value) > 0)
        asked.limit = (unsigned)json_object_get_int(value);
    return asked;
}

static int open_known(struct known *known, const char *directory, bool needs_model,
                      char **ret_message)
{
    int version, r = store_reader_open(directory, &version, &known->reader);

    if (r == -EPROTONOSUPPORT)
        return say(ret_message, r,
                   "The database has version %d, and this qcauditctl reads version %d", version,
                   CONTROL_DATABASE_VERSION);
    if (r >= 0 && needs_model)
        r = known_load(known);
    return r < 0 ? cannot_read(directory, r, ret_message) : 0;
}

/* question NULL: the status. */
static int ask(const char *directory, const struct question *question, const struct asked *asked,
               json_object **ret_answer, char **ret_message)
{
    _cleanup_(known_done) struct known known = { .now = usec_now(CLOCK_REALTIME) };
    const bool of_history = question && !question->make;
    struct query_view view;
    int r = open_known(&known, directory, !of_history, ret_message);

    if (r < 0)
        return r;
    view = (struct query_view){
        .datastores = known.datastores, .n_datastores = known.n_datastores,
        .images = known.images, .n_images = known.n_images, .graph = known.graph,
        .findings = known.findings, .now = known.now,
    };
    if (of_history) {
        const struct history_question history = question_history(question, asked);

        r = store_reader_history(known.reader, &history, ret_answer);
    } else
        r = !question ? ask_status(&known, &view, ret_answer)
            : question->takes & ASKED_PAGE ? ask_pages(&view, question, asked, ret_answer)
                                           : question->make(&view, asked, ret_answer, NULL);
    return r < 0 && r != -EINVAL ? cannot_read(directory, r, ret_message) : r;
}

static int ask_by_name(const char *directory, const char *name, json_object *arguments,
                       json_object **ret_answer, char **ret_message)
{
    const struct question *question = question_find(name);
    const struct asked asked = asked_from(arguments);

    if ((!question && strcmp(name, "GetStatus") != 0) ||
        (question && question->takes & ASKED_PATH && !asked.path) ||
        (question && question->takes & (ASKED_NAME | ASKED_ID)))
        return -EINVAL;
    return ask(directory, question, &asked, ret_answer, ret_message);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static int write_answer(json_object *answer, int error, const char *message)
{
    _cleanup_(json_object_putp) json_object *all = json_object_new_object();
    const char *text;
    FILE *file;

    if (!all)
        return -ENOMEM;
    if (error < 0 ? json_add(all, "error", json_object_new_int(error)) < 0
                  : json_add(all, "answer", json_object_get(answer)) < 0)
        return -ENOMEM;
    if (message && json_add(all, "message", json_object_new_string(message)) < 0)
        return -ENOMEM;
    text = json_object_to_json_string_ext(all, JSON_C_TO_STRING_PLAIN |
                                                   JSON_C_TO_STRING_NOSLASHESCAPE);
    file = text ? fdopen(WIRE_FD, "w") : NULL;
    if (!file)
        return -ENOMEM;
    fputs(text, file);
    return fclose(file) == 0 ? 0 : -EIO;
}

int main(int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *answer = NULL, *arguments = NULL;
    _cleanup_free_ char *message = NULL;
    int r;

    if (argc != 4)
        return EXIT_FAILURE;
    r = json_text_parse(argv[3], strlen(argv[3]), &arguments);
    if (r >= 0)
        r = ask_by_name(argv[1], argv[2], arguments, &answer, &message);
    return write_answer(answer, r, message) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
