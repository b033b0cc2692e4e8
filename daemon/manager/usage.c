/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions that virt/usages.h, libvirt's word brought together with the files, needs of the
 * other stages. */
#include <errno.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"

#define USAGE_DELAY (USEC_PER_SEC / 5)

static struct image *op_find_image(void *userdata, const char *path)
{
    const struct manager *manager = userdata;
    struct image *image = graph_find(manager->graph, path);

    return image && image->present ? image : NULL;
}

static struct image *op_find_file(void *userdata, const struct identity *identity)
{
    const struct manager *manager = userdata;

    return graph_find_identity(manager->graph, identity);
}

static void op_recall(void *userdata, const char *path, const struct identity *identity)
{
    const struct manager *manager = userdata;

    discover_recall(manager->discover, path, identity);
}

static struct datastore *op_datastore_of(void *userdata, const char *path)
{
    const struct manager *manager = userdata;

    return discover_datastore_of(manager->discover, path);
}

static void op_datastores(void *userdata, struct datastore *const **ret_datastores, size_t *ret_n)
{
    const struct manager *manager = userdata;

    discover_datastores(manager->discover, ret_datastores, ret_n);
}

static int op_resolve(void *userdata, struct datastore *datastore, const char *path,
                      void (*done)(void *place, int error, const char *real_path,
                                   const struct files_stat *stat),
                      void *place, struct files **ret_files)
{
    const struct manager *manager = userdata;
    struct files *files = discover_files(manager->discover, datastore);
    int r = manager->stopping || !files ? -ENOTCONN
                                        : files_resolve(files, path, path, done, place);

    if (r >= 0)
        *ret_files = files;
    return r;
}

static int on_usage_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    const struct manager *manager = userdata;

    if (!manager->stopping)
        usages_make(manager->usages);
    return 0;
}

static void op_soon(void *userdata)
{
    struct manager *manager = userdata;
    int r = manager->stopping
                ? 0 : manager_arm(manager, &manager->usage_timer, USAGE_DELAY, on_usage_timer);

    if (r < 0)
        log_error(r, "Cannot plan to take what libvirt says: %m");
}

static void op_index(void *userdata, const struct usage_index *index)
{
    const struct manager *manager = userdata;

    graph_set_usage(manager->graph, index);
}

static void op_plan(void *userdata, struct image *image, bool unused)
{
    /* Nothing is to come after the end of a domain: no debounce. */
    pass_plan(userdata, image, unused ? SCHEDULE_NEW : SCHEDULE_CHANGED);
}

static void op_disk_moved(void *userdata, const char *overlay, const char *parent)
{
    struct manager *manager = userdata;
    int r = graph_note_disk_move(manager->graph, overlay, parent, manager_now(manager));
    struct round *round;

    if (r > 0) {
        round = keep_round(manager);
        r = round ? store_batch_disk_move(round->batch, overlay, parent, manager_now(manager))
                  : -ENOMEM;
    }
    if (r < 0)
        log_error(r, "Cannot keep that a disk moved: %m");
}

static void op_domain_gone(void *userdata, const char *subject)
{
    judge_domain_gone(userdata, subject);
}

static void op_judge(void *userdata)
{
    struct manager *manager = userdata;

    manager->daemon_dirty = true;       /* disks may be in no datastore, or not any more */
    judge_soon(manager);
}

int usage_start(struct manager *manager)
{
    static const struct usages_ops ops = {
        .find_image = op_find_image, .find_file = op_find_file, .recall = op_recall,
        .datastore_of = op_datastore_of, .datastores = op_datastores, .resolve = op_resolve,
        .soon = op_soon, .index = op_index, .plan = op_plan, .disk_moved = op_disk_moved,
        .domain_gone = op_domain_gone, .judge = op_judge,
    };

    return usages_new(&ops, manager, &manager->usages);
}

enum files_use usage_said(void *userdata, const struct image *image)
{
    const struct manager *manager = userdata;
    struct usage usage = usage_find(usages_index(manager->usages), image->path);

    return usage_use(&usage);
}

void usage_done(struct manager *manager)
{
    manager->usage_timer = sd_event_source_disable_unref(manager->usage_timer);
    manager->usages = usages_free(manager->usages);
}
