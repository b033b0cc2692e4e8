/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The manager's life: stages made in order, the configuration read and read again, signals, the
 * end. */
#include "daemon/manager/manager.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

/* ---- small things all of the manager needs --------------------------------------------------- */

uint64_t manager_now(const struct manager *manager)
{
    uint64_t now = 0;

    (void) sd_event_now(manager->event, CLOCK_REALTIME, &now);  /* fails for a wrong clock only */
    return now;
}

int manager_arm(struct manager *manager, sd_event_source **source, uint64_t after,
                sd_event_time_handler_t handler)
{
    uint64_t accuracy = after / 10 + 1, now = 0, planned = 0;
    int enabled = SD_EVENT_OFF, r;

    /* Answers that come back while all is taken down, as after the launcher's end, are not waited
     * for. */
    if (sd_event_get_state(manager->event) == SD_EVENT_FINISHED)
        return 0;
    if (!*source)
        return sd_event_add_time_relative(manager->event, source, CLOCK_BOOTTIME, after, accuracy,
                                          handler, manager);
    r = sd_event_source_get_enabled(*source, &enabled);
    if (r >= 0)
        r = sd_event_source_get_time(*source, &planned);
    if (r >= 0)
        r = sd_event_now(manager->event, CLOCK_BOOTTIME, &now);
    if (r < 0)
        return r;
    if (enabled != SD_EVENT_OFF && planned <= now + after)
        return 0;
    r = sd_event_source_set_time_relative(*source, after);
    return r < 0 ? r : sd_event_source_set_enabled(*source, SD_EVENT_ONESHOT);
}

int image_list_add(struct image_list *list, struct image *image)
{
    if (list->n_items == list->n_allocated) {
        size_t n = list->n_allocated ? list->n_allocated * 2 : 64;
        struct image **items = reallocarray(list->items, n, sizeof(*items));

        if (!items)
            return -ENOMEM;
        list->items = items;
        list->n_allocated = n;
    }
    list->items[list->n_items++] = image;
    return 0;
}

void image_list_forget(struct image_list *list, const struct image *image)
{
    for (size_t i = 0; i < list->n_items; i++)
        if (list->items[i] == image)
            list->items[i] = NULL;
}

void image_list_done(struct image_list *list)
{
    free(list->items);
    *list = (struct image_list){ 0 };
}

/* ---- configuration --------------------------------------------------------------------------- */

struct config_mistakes {
    char *first;
    size_t n;
};

static void on_mistake(void *userdata, const char *file, unsigned line, unsigned column,
                       const char *message)
{
    struct config_mistakes *mistakes = userdata;

    if (line > 0)
        log_error(0, "%s:%u:%u: %s", file, line, column, message);
    else
        log_error(0, "%s: %s", file, message);
    if (mistakes->n++ == 0 &&
        asprintf(&mistakes->first, "%s:%u:%u: %s", file, line, column, message) < 0)
        mistakes->first = NULL;
}

static struct schedule_options schedule_options_of(const struct config *config, uint64_t seed)
{
    return (struct schedule_options){
        .workers = config->workers, .audit_interval = config->audit_interval,
        .debounce = config->debounce, .delay = config_delay(config),
        .seed = seed,
    };
}

static int on_files_wanted(void *userdata, const char *path, struct files **ret_files,
                           const struct datastore **ret_datastore)
{
    struct manager *manager = userdata;
    struct datastore *datastore = discover_datastore_of(manager->discover, path);
    struct files *files;

    if (!datastore)
        return -EPERM;
    if (discover_is_away(manager->discover, path))
        return -ENOTCONN;
    files = discover_files(manager->discover, datastore);
    if (!files)
        return -ENOTCONN;
    *ret_files = files;
    *ret_datastore = datastore;
    return 0;
}

static bool on_is_device(void *userdata, const char *path)
{
    struct manager *manager = userdata;
    const struct datastore *datastore = discover_datastore_of(manager->discover, path);

    return datastore && datastore->of_devices;
}

static uint64_t on_blocks_begin(void *userdata, struct image *image, const struct audit *audit)
{
    struct manager *manager = userdata;

    return contents_begin_blocks(manager->contents, image, audit);
}

static void on_blocks(void *userdata, struct image *image, uint64_t first, uint64_t n,
                      const uint8_t (*digests)[32], bool unallocated)
{
    struct manager *manager = userdata;

    contents_take_blocks(manager->contents, image, first, n, digests, unallocated);
}

static struct audits_options audits_options_of(struct manager *manager, const struct config *config)
{
    return (struct audits_options){
        .worker_program = manager->options.worker_program,
        .workers = config->workers,
        .worker_memory = config->worker_memory,
        .worker_images = config->worker_images,
        .worker_deadline = config->worker_deadline,
        .read_budget = config->read_budget,
        .scrub_budget = config->scrub_budget,
        .delay = config_delay(config),
        .max_issues = config->max_issues,
        .endings = &manager->endings,
        .files = on_files_wanted,
        .is_device = on_is_device,
        .use = usage_said,
        .blocks_begin = on_blocks_begin,
        .blocks = on_blocks,
        .done = pass_on_audited,
        .resolved = resolve_on_resolved,
        .userdata = manager,
    };
}

/* The same jitter for the same host. */
static uint64_t host_seed(void)
{
    sd_id128_t id;

    return sd_id128_get_machine(&id) < 0 ? 0 : id.qwords[0] ^ id.qwords[1];
}

static int apply_config(struct manager *manager, struct config *config)
{
    struct schedule_options schedule_options = schedule_options_of(config, host_seed());
    struct audits_options audits_options = audits_options_of(manager, config);
    struct scrubs_options scrubs_options = scrub_options_of(config);
    struct config *before = manager->config;
    int r;

    manager->config = config;
    graph_set_policy(manager->graph, &config->policy);
    mutes_set_policy(findings_mutes(manager->findings), &config->policy);
    alert_set_config(manager->alert, config);
    control_set_config(manager->control, config);
    metrics_apply_config(manager);
    store_set_retention(manager->store, config->history_retention, config->audits_kept);
    schedule_set_options(manager->schedule, &schedule_options);
    scrubs_set_options(manager->scrubs, &scrubs_options);
    audits_set_options(manager->audits, &audits_options);
    virt_expect(manager);
    r = discover_set_config(manager->discover, config);
    if (r < 0)
        log_error(r, "Cannot bring the datastores in line with the configuration: %m");
    (void) virt_apply_config(manager, before);
    config_free(before);
    alert_look(manager);
    if (!manager->pass)
        (void) pass_begin(manager);
    judge_soon(manager);
    pass_dispatch(manager);
    return r;
}

int manager_reload(struct manager *manager, char **ret_message)
{
    struct config_mistakes mistakes = { 0 };
    struct config *config = NULL;
    int r;

    (void)sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%llu",
                     (unsigned long long)usec_now(CLOCK_MONOTONIC));
    r = config_load(manager->options.config_path, on_mistake, &mistakes, &config);
    if (r >= 0) {
        r = config_load_families(config, manager->options.config_path, on_mistake, &mistakes);
        if (r < 0)
            config = config_free(config);
    }
    if (r >= 0) {
        r = apply_config(manager, config);
        if (r >= 0)
            log_info(0, "Configuration read again");
    } else {
        log_error(r, "The configuration stays as it was: %zu mistake%s in the new one", mistakes.n,
                  mistakes.n == 1 ? "" : "s");
        if (ret_message &&
            asprintf(ret_message, "The configuration stays as it was. %s%s", mistakes.first ?: "",
                     mistakes.n > 1 ? " (and more, see the log)" : "") < 0)
            *ret_message = NULL;
    }
    free(mistakes.first);
    (void) sd_notify(false, "READY=1");
    return r;
}

/* ---- signals --------------------------------------------------------------------------------- */

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *info,
                            void *userdata)
{
    (void) manager_reload(userdata, NULL);
    return 0;
}

static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *info,
                          void *userdata)
{
    return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int add_signals(struct manager *manager)
{
    int r;

    r = sd_event_add_signal(manager->event, NULL, SIGHUP | SD_EVENT_SIGNAL_PROCMASK,
                            on_reload_signal, manager);
    if (r >= 0)
        r = sd_event_add_signal(manager->event, NULL, SIGTERM | SD_EVENT_SIGNAL_PROCMASK,
                                on_stop_signal, manager);
    if (r >= 0)
        r = sd_event_add_signal(manager->event, NULL, SIGINT | SD_EVENT_SIGNAL_PROCMASK,
                                on_stop_signal, manager);
    return r < 0 ? log_error(r, "Cannot watch for signals: %m") : 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_files_gone(void *userdata, struct datastore *datastore, struct files *files)
{
    struct manager *manager = userdata;

    if (manager->audits)
        audits_files_gone(manager->audits, files);
    usages_files_gone(manager->usages, files);
    show_files_gone(manager, files);
}

static int copy_options(struct manager *manager, const struct manager_options *options)
{
    struct manager_options *copy = &manager->options;

    copy->config_path = strdup(options->config_path);
    copy->state_directory = strdup(options->state_directory);
    copy->runtime_directory = strdup(options->runtime_directory);
    copy->worker_program = strdup(options->worker_program);
    copy->files_program = strdup(options->files_program);
    copy->launcher_fd = options->launcher_fd;
    return !copy->config_path || !copy->state_directory || !copy->runtime_directory ||
                   !copy->worker_program || !copy->files_program
               ? -ENOMEM
               : 0;
}

static int read_config(struct manager *manager)
{
    struct config_mistakes mistakes = { 0 };
    int r;

    r = config_load(manager->options.config_path, on_mistake, &mistakes, &manager->config);
    if (r >= 0)
        r = config_load_families(manager->config, manager->options.config_path, on_mistake,
                                 &mistakes);
    free(mistakes.first);
    if (r < 0)
        return log_error(r, "The configuration has %zu mistake%s", mistakes.n,
                         mistakes.n == 1 ? "" : "s");
    return 0;
}

/* Before anything hostile is looked at. */
static int give_roots(const struct manager *manager)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && manager->options.launcher_fd >= 0 &&
                       i < manager->config->n_datastores; i++)
        r = launcher_give_root(manager->options.launcher_fd, manager->config->datastores[i].path);
    return r < 0 ? log_error(r, "Cannot tell the launcher of the datastores: %m") : 0;
}

static int begin_launches(struct manager *manager)
{
    int r = give_roots(manager);

    if (r < 0 || manager->options.launcher_fd < 0)
        return r;
    r = launches_new(manager->event, manager->options.launcher_fd, &manager->launches);
    return r < 0 ? log_error(r, "Cannot ask the launcher: %m") : 0;
}

static int make_stages(struct manager *manager)
{
    struct schedule_options schedule_options = schedule_options_of(manager->config, host_seed());
    struct audits_options audits_options = audits_options_of(manager, manager->config);
    struct discover_options discover_options = {
        .files_program = manager->options.files_program,
        .launches = manager->launches,
        .endings = &manager->endings,
        .image = pass_on_image,
        .locks = pass_on_locks,
        .known = rename_known,
        .renamed = rename_on_renamed, .other_gone = resolve_on_other_gone,
        .datastore = pass_on_datastore,
        .walk_begins = pass_on_walk_begins,
        .walked = pass_on_walked,
        .files_gone = on_files_gone,
        .removed = pass_on_removed,
        .userdata = manager,
    };
    int r;

    r = schedule_new(&schedule_options, &manager->schedule);
    if (r >= 0)
        r = scrub_init(manager);
    if (r >= 0)
        r = show_init(manager);
    if (r >= 0)
        r = audits_new(manager->event, &audits_options, &manager->audits);
    if (r >= 0)
        r = graph_new(&manager->graph);
    if (r >= 0)
        r = manager_new_contents(manager);
    if (r >= 0)
        r = findings_new(&manager->findings);
    if (r >= 0)
        r = discover_new(manager->event, &discover_options, &manager->discover);
    if (r >= 0)
        r = alert_new(manager->event, manager->config, manager->options.runtime_directory,
                      keep_on_told, manager, &manager->alert);
    if (r < 0)
        return log_error(r, "Cannot prepare the stages: %m");
    graph_set_policy(manager->graph, &manager->config->policy);
    mutes_set_policy(findings_mutes(manager->findings), &manager->config->policy);
    return 0;
}

static void manager_freep(struct manager **manager)
{
    manager_free(*manager);
}

int manager_new(sd_event *event, const struct manager_options *options,
                struct manager **ret_manager)
{
    _cleanup_(manager_freep) struct manager *manager = calloc(1, sizeof(*manager));
    int r;

    if (!manager)
        return log_error(-ENOMEM, "Cannot start: %m");
    manager->event = sd_event_ref(event);
    manager->again = UINT64_MAX;
    manager->options.launcher_fd = -1;
    release_init(manager);
    r = copy_options(manager, options);
    if (r < 0)
        return log_error(r, "Cannot start: %m");
    r = read_config(manager);
    if (r < 0)
        return r;
    *ret_manager = TAKE_PTR(manager);
    return 0;
}

/* Takes the state folder, and loads what was known. */
static int load(struct manager *manager)
{
    int r = begin_launches(manager);

    if (r >= 0)
        r = add_signals(manager);
    if (r >= 0)
        r = keep_open(manager);
    if (r >= 0)
        r = make_stages(manager);
    if (r >= 0)
        r = keep_load(manager);
    return r;
}

int manager_start(struct manager *manager)
{
    int r = load(manager);

    if (r < 0)
        return r;
    manager->started = manager_now(manager);
    r = control_new(manager->event, manager->options.runtime_directory, manager->config,
                    &manager_control_ops, manager, &manager->control);
    if (r < 0)
        return log_error(r, "Cannot listen in %s: %m", manager->options.runtime_directory);
    manager->daemon_dirty = true;
    r = usage_start(manager);
    if (r >= 0)
        r = capacity_start(manager);
    if (r < 0)
        return log_error(r, "Cannot start: %m");
    virt_expect(manager);
    r = discover_set_config(manager->discover, manager->config);
    if (r < 0)
        return log_error(r, "Cannot start the datastores: %m");
    r = virt_await(manager);
    if (r < 0)
        return log_error(r, "Cannot wait for libvirt: %m");
    r = virt_apply_config(manager, NULL);
    if (r < 0)
        return r;
    metrics_apply_config(manager);
    (void) pass_begin(manager);
    (void) sd_notify(false, "READY=1");
    r = store_quick_check(manager->store);
    if (r < 0)
        log_warning(r, "Cannot check the database: %m");
    return 0;
}

static void forget_plans(struct manager *manager)
{
    struct image *const *images;
    size_t n;

    if (!manager->discover || !manager->schedule ||
        discover_images(manager->discover, &images, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        schedule_forget(manager->schedule, images[i]);
}

struct manager *manager_free(struct manager *manager)
{
    if (!manager)
        return NULL;
    (void) sd_notify(false, "STOPPING=1");
    if (manager->control && manager->judge_wanted)
        judge_now(manager);
    if (manager->control) {
        judge_dismiss(manager);
        keep_all_others(manager);
        keep_commit(manager);
    }
    manager->stopping = true;
    if (manager->contents)
        contents_stop(manager->contents);
    show_done(manager);
    release_done(manager);
    virt_done(manager);
    pass_done(manager);
    resolve_done(manager);
    manager->audits = audits_free(manager->audits);
    if (manager->alert && alert_flush(manager->alert) == -ETIMEDOUT)
        log_warning(-ETIMEDOUT, "Not all alerts were told, the next start tells the rest");
    keep_done(manager);
    metrics_done(manager);
    manager->control = control_free(manager->control);
    manager->alert = alert_free(manager->alert);
    judge_done(manager);
    manager->contents = contents_free(manager->contents);
    forget_plans(manager);
    manager->schedule = schedule_free(manager->schedule);
    scrub_done(manager);
    manager->findings = findings_free(manager->findings);
    manager->graph = graph_free(manager->graph);
    manager->discover = discover_free(manager->discover);
    manager->launches = launches_free(manager->launches);
    process_endings_done(&manager->endings);
    capacity_done(manager);
    rest_done(manager);
    usage_done(manager);
    manager->status_timer = sd_event_source_disable_unref(manager->status_timer);
    free(manager->listed);
    free(manager->status);
    config_free(manager->config);
    free((char *)(uintptr_t)manager->options.config_path);
    free((char *)(uintptr_t)manager->options.state_directory);
    free((char *)(uintptr_t)manager->options.runtime_directory);
    free((char *)(uintptr_t)manager->options.worker_program);
    free((char *)(uintptr_t)manager->options.files_program);
    sd_event_unref(manager->event);
    free(manager);
    return NULL;
}
