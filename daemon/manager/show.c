/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers with remedies: the datastores' helpers look first at the locks, files and room that the
 * commands depend on, within a time that nobody minds to wait. */
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "daemon/remedy/remedy.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define LOOK_DEADLINE (5 * USEC_PER_SEC)
/* One look may show that another one is needed. */
#define ROUNDS_MAX 8
/* Questions that wait for looks; more are answered without. */
#define SHOWINGS_MAX 64

DEFINE_CLEANUP(json_object *, json_object_put)

/* A question under way at a datastore's helper. */
struct probe {
    LIST_ENTRY(probe) link;
    struct showing *showing;
    struct look *look;
    struct files *files;
};

/* One answer that is being made. */
struct showing {
    LIST_ENTRY(showing) link;
    struct manager *manager;
    const struct question *question;
    const struct asked *asked;          /* until it is answered */
    struct looks *looks;
    unsigned rounds;
    size_t n_probes;
    LIST_HEAD(, probe) probes;
    sd_event_source *timer, *again;
    control_rows_fn reply;              /* NULL: answered */
    void *reply_userdata;
};

struct showings {
    LIST_HEAD(, showing) all;
    size_t n;
};

static struct showing *showing_free(struct showing *showing)
{
    struct probe *probe;

    if (!showing)
        return NULL;
    while ((probe = LIST_FIRST(&showing->probes))) {
        LIST_REMOVE(probe, link);
        free(probe);
    }
    sd_event_source_disable_unref(showing->timer);
    sd_event_source_disable_unref(showing->again);
    looks_free(showing->looks);
    free(showing);
    return NULL;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static int make_remedy(void *userdata, const struct finding *finding, json_object **ret_remedy)
{
    struct showing *showing = userdata;

    return remedy_make(showing->manager->graph, finding, showing->looks, ret_remedy);
}

static int showing_make(struct showing *showing, json_object **ret_answer, char **ret_next)
{
    struct query_view view;
    int r = control_view(showing->manager, &view);

    if (r < 0)
        return r;
    view.remedy = make_remedy;
    view.remedy_userdata = showing;
    return showing->question->make(&view, showing->asked, ret_answer, ret_next);
}

/* Nobody waits for it any more; what its probes still bring is thrown away. */
static void showing_end(struct showing *showing)
{
    struct showings *showings = showing->manager->showings;

    showing->reply = NULL;
    showing->timer = sd_event_source_disable_unref(showing->timer);
    showing->again = sd_event_source_disable_unref(showing->again);
    if (showing->n_probes > 0)
        return;
    LIST_REMOVE(showing, link);
    showings->n--;
    showing_free(showing);
}

static void showing_reply(struct showing *showing, int error, json_object *answer, const char *next)
{
    control_rows_fn reply = showing->reply;
    void *userdata = showing->reply_userdata;

    showing->reply = NULL;
    reply(userdata, error, answer, next);
    showing_end(showing);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void showing_go_on(struct showing *showing);

static int on_again(sd_event_source *source, void *userdata)
{
    showing_go_on(userdata);
    return 0;
}

/* When the loop comes round: callbacks of a helper must not start another round. */
static void showing_again(struct showing *showing)
{
    int r = 0;

    if (!showing->reply)
        showing_end(showing);
    else if (!showing->again)
        r = sd_event_add_defer(showing->manager->event, &showing->again, on_again, showing);
    else
        r = sd_event_source_set_enabled(showing->again, SD_EVENT_ONESHOT);
    if (r < 0)
        showing_reply(showing, r, NULL, NULL);
}

static void probe_done(struct probe *probe, int error)
{
    struct showing *showing = probe->showing;

    probe->look->answered = true;
    probe->look->error = error;
    LIST_REMOVE(probe, link);
    free(probe);
    if (--showing->n_probes == 0)
        showing_again(showing);
}

static void on_file(void *userdata, int error, const struct files_stat *stat, enum files_use use)
{
    struct probe *probe = userdata;
    struct look *look = probe->look;
    struct manager *manager = probe->showing->manager;

    if (error == 0) {
        struct image *image = discover_find_image(manager->discover, look->path);
        struct identity identity = identity_from_stat(stat);

        look->stat = *stat;
        look->use = use;
        if (image && identity_equal(&image->identity, &identity))
            pass_on_locks(manager, image, use);
    }
    probe_done(probe, error);
}

static void on_room(void *userdata, int error, const struct files_root *root)
{
    struct probe *probe = userdata;

    if (error == 0)
        probe->look->available = root->available;
    probe_done(probe, error);
}

/* Asks the helper in whose datastore it lies. A pool of devices says itself what is free there. */
static int look_begin(struct showing *showing, struct look *look)
{
    struct manager *manager = showing->manager;
    const struct datastore *datastore = discover_datastore_of(manager->discover, look->path);
    struct files *files = datastore ? discover_files(manager->discover, datastore) : NULL;
    struct probe *probe;
    int r;

    if (!files || datastore->state != DATASTORE_ONLINE)
        return -ENOTCONN;
    if (look->kind == LOOK_ROOM && datastore->of_devices)
        return -EOPNOTSUPP;
    probe = calloc(1, sizeof(*probe));
    if (!probe)
        return -ENOMEM;
    *probe = (struct probe){ .showing = showing, .look = look, .files = files };
    LIST_INSERT_HEAD(&showing->probes, probe, link);
    showing->n_probes++;
    r = look->kind == LOOK_ROOM ? files_root(files, on_room, probe)
                                : files_probe(files, look->path, on_file, probe);
    if (r >= 0)
        return 0;
    LIST_REMOVE(probe, link);
    showing->n_probes--;
    free(probe);
    return r;
}

/* Has all that is wanted looked at. False when there was nothing new. */
static bool showing_look(struct showing *showing)
{
    struct look *look;
    bool any = false;

    while ((look = looks_next(showing->looks))) {
        int r = look_begin(showing, look);

        any = true;
        if (r < 0) {
            look->answered = true;
            look->error = r;
        }
    }
    return any;
}

static void showing_go_on(struct showing *showing)
{
    _cleanup_(json_object_putp) json_object *answer = NULL;
    _cleanup_free_ char *next = NULL;
    int r = showing_make(showing, &answer, &next);

    if (r >= 0 && showing->rounds++ < ROUNDS_MAX && showing_look(showing)) {
        if (showing->n_probes == 0)
            showing_again(showing);
        return;
    }
    showing_reply(showing, r, TAKE_PTR(answer), next);
}

/* The looks done until now have to do. */
static int on_deadline(sd_event_source *source, uint64_t when, void *userdata)
{
    struct showing *showing = userdata;

    showing->rounds = ROUNDS_MAX;
    showing_go_on(showing);
    return 0;
}

int show_begin(struct manager *manager, const struct question *question, const struct asked *asked,
               control_rows_fn reply, void *reply_userdata)
{
    struct showings *showings = manager->showings;
    struct showing *showing = calloc(1, sizeof(*showing));
    int r;

    if (!showing)
        return -ENOMEM;
    showing->manager = manager;
    showing->question = question;
    showing->asked = asked;
    r = looks_new(manager->virt_watch && !manager->virt, &showing->looks);
    if (r >= 0 && showings->n >= SHOWINGS_MAX)
        showing->rounds = ROUNDS_MAX;
    else if (r >= 0)
        r = sd_event_add_time_relative(manager->event, &showing->timer, CLOCK_BOOTTIME,
                                       LOOK_DEADLINE, 0, on_deadline, showing);
    if (r < 0) {
        showing_free(showing);
        return r;
    }
    showing->reply = reply;
    showing->reply_userdata = reply_userdata;
    LIST_INSERT_HEAD(&showings->all, showing, link);
    showings->n++;
    showing_go_on(showing);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

int show_init(struct manager *manager)
{
    manager->showings = calloc(1, sizeof(*manager->showings));
    return manager->showings ? 0 : -ENOMEM;
}

/* No answer comes from it any more. */
void show_files_gone(struct manager *manager, const struct files *files)
{
    struct showing *showing = manager->showings ? LIST_FIRST(&manager->showings->all) : NULL,
                   *next_showing;

    for (; showing; showing = next_showing) {
        struct probe *probe = LIST_FIRST(&showing->probes), *next;

        next_showing = LIST_NEXT(showing, link);
        for (; probe; probe = next) {
            bool last = showing->n_probes == 1;

            next = LIST_NEXT(probe, link);
            if (probe->files == files)
                probe_done(probe, -ENOTCONN);   /* the last one may free the showing */
            if (last)
                break;
        }
    }
}

void show_done(struct manager *manager)
{
    struct showing *showing;

    while (manager->showings && (showing = LIST_FIRST(&manager->showings->all))) {
        LIST_REMOVE(showing, link);
        if (showing->reply)
            showing->reply(showing->reply_userdata, -ECANCELED, NULL, NULL);
        showing_free(showing);
    }
    free(TAKE_PTR(manager->showings));
}
