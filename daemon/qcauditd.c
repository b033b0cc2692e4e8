/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcauditd: options, folders and the loop; everything else is the manager's. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <systemd/sd-event.h>

#include "build-config.h"
#include "daemon/config/config.h"
#include "daemon/control/control.h"
#include "daemon/core/log.h"
#include "daemon/manager/manager.h"
#include "daemon/virt/virt.h"
#include "helpers/client.h"
#include "helpers/sandbox.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

struct arguments {
    char *config;
    char *state_directory;
    char *runtime_directory;
    bool check_config;
    enum log_target log_target;
    int log_level;
};

static void arguments_done(struct arguments *arguments)
{
    free(arguments->config);
    free(arguments->state_directory);
    free(arguments->runtime_directory);
}

static int help(void)
{
    printf("Usage: qcauditd [OPTION...]\n"
           "\n"
           "Audits the disk images of a virtualization host and their snapshot chains.\n"
           "\n"
           "      --config FILE              configuration, with the *.yaml of conf.d beside it\n"
           "      --state-directory DIR      where the database is kept\n"
           "      --runtime-directory DIR    where the control socket is made\n"
           "      --check-config             only read the configuration and say its mistakes\n"
           "      --log-target TARGET        auto, journal, syslog or console\n"
           "      --log-level LEVEL          emerg ... debug, or 0 to 7; default info\n"
           "  -h, --help                     show this\n"
           "      --version                  show the version\n"
           "\n"
           "It stays in the foreground. As root and as a service the configuration is\n"
           "%s/qcaudit/qcauditd.yaml; for a normal user it is\n"
           "$XDG_CONFIG_HOME/qcaudit/qcauditd.yaml.\n",
           SYSCONFDIR);
    return 0;
}

static int set_string(char **target, const char *value)
{
    free(*target);
    *target = strdup(value);
    return *target ? 0 : -ENOMEM;
}

/* 1: go on; 0: all is done; else -errno, said on stderr. */
static int arguments_parse(int argc, char *argv[], struct arguments *arguments)
{
    enum {
        ARG_CONFIG = 0x100,
        ARG_STATE,
        ARG_RUNTIME,
        ARG_CHECK,
        ARG_TARGET,
        ARG_LEVEL,
        ARG_VERSION
    };
    static const struct option options[] = {
        { "config", required_argument, NULL, ARG_CONFIG },
        { "state-directory", required_argument, NULL, ARG_STATE },
        { "runtime-directory", required_argument, NULL, ARG_RUNTIME },
        { "check-config", no_argument, NULL, ARG_CHECK },
        { "log-target", required_argument, NULL, ARG_TARGET },
        { "log-level", required_argument, NULL, ARG_LEVEL },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, ARG_VERSION },
        { 0 },
    };
    int c, r = 0;

    while (r >= 0 && (c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
        switch (c) {
        case 'h':
            return help();
        case ARG_VERSION:
            printf("qcauditd %s\n", PACKAGE_VERSION);
            return 0;
        case ARG_CONFIG:
            r = set_string(&arguments->config, optarg);
            break;
        case ARG_STATE:
            r = set_string(&arguments->state_directory, optarg);
            break;
        case ARG_RUNTIME:
            r = set_string(&arguments->runtime_directory, optarg);
            break;
        case ARG_CHECK:
            arguments->check_config = true;
            break;
        case ARG_TARGET:
            arguments->log_target = log_target_from_name(optarg);
            if (arguments->log_target == _LOG_TARGET_MAX) {
                fprintf(stderr, "qcauditd: --log-target is auto, journal, syslog or console\n");
                return -EINVAL;
            }
            break;
        case ARG_LEVEL:
            arguments->log_level = log_priority_from_name(optarg);
            if (arguments->log_level < 0) {
                fprintf(stderr, "qcauditd: --log-level is emerg to debug, or 0 to 7\n");
                return -EINVAL;
            }
            break;
        default:
            return -EINVAL;     /* getopt said why */
        }
    if (r < 0) {
        fprintf(stderr, "qcauditd: %s\n", strerror(-r));
        return r;
    }
    if (optind < argc) {
        fprintf(stderr, "qcauditd: takes no arguments besides options\n");
        return -EINVAL;
    }
    return 1;
}

/* ---- where things are ------------------------------------------------------------------------ */

/* The first of the folders that systemd made for the unit. */
static char *service_directory(const char *variable)
{
    const char *value = getenv(variable);

    return value && value[0] == '/' ? strndup(value, strcspn(value, ":")) : NULL;
}

/* $variable/qcaudit, or ~/fallback/qcaudit; fallback NULL: none. */
static int user_directory(const char *variable, const char *fallback, char **ret_directory)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    char *directory;
    int r;

    if (base && base[0] == '/')
        r = asprintf(&directory, "%s/qcaudit", base);
    else if (fallback && home && home[0] == '/')
        r = asprintf(&directory, "%s/%s/qcaudit", home, fallback);
    else
        return -ENOENT;
    if (r < 0)
        return -ENOMEM;
    *ret_directory = directory;
    return 0;
}

static bool is_service(void)
{
    return geteuid() == 0 || getenv("STATE_DIRECTORY") || getenv("RUNTIME_DIRECTORY");
}

static int default_config(char **ret_path)
{
    _cleanup_free_ char *directory = NULL;
    int r = 0;

    if (is_service())
        directory = strdup(SYSCONFDIR "/qcaudit");
    else
        r = user_directory("XDG_CONFIG_HOME", ".config", &directory);
    if (r < 0 || !directory)
        return r < 0 ? r : -ENOMEM;
    return asprintf(ret_path, "%s/qcauditd.yaml", directory) < 0 ? -ENOMEM : 0;
}

static int default_directory(const char *variable, const char *system, const char *user_variable,
                             const char *user_fallback, char **ret_directory)
{
    char *directory = service_directory(variable);

    if (!directory && is_service())
        directory = strdup(system);
    else if (!directory)
        return user_directory(user_variable, user_fallback, ret_directory);
    if (!directory)
        return -ENOMEM;
    *ret_directory = directory;
    return 0;
}

static int arguments_complete(struct arguments *arguments)
{
    int r = 0;

    if (!arguments->config)
        r = default_config(&arguments->config);
    if (r < 0)
        return log_error(r, "No configuration: name one with --config, or set HOME");
    if (arguments->check_config)
        return 0;
    if (!arguments->state_directory)
        r = default_directory("STATE_DIRECTORY", CONTROL_SYSTEM_STATE_DIR, "XDG_STATE_HOME",
                              ".local/state", &arguments->state_directory);
    if (r < 0)
        return log_error(r, "No state folder: name one with --state-directory, or set HOME");
    if (!arguments->runtime_directory)
        r = default_directory("RUNTIME_DIRECTORY", CONTROL_SYSTEM_RUNTIME_DIR, "XDG_RUNTIME_DIR",
                              NULL, &arguments->runtime_directory);
    if (r < 0)
        return log_error(
            r, "No runtime folder: name one with --runtime-directory, or set XDG_RUNTIME_DIR");
    return 0;
}

/* With all its parents; the mode is the last one's. */
static int make_directory(const char *path, mode_t mode)
{
    _cleanup_free_ char *copy = strdup(path);

    if (!copy)
        return -ENOMEM;
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            return log_error(-errno, "Cannot make the folder %s: %m", copy);
        *slash = '/';
    }
    if (mkdir(copy, mode) < 0)
        return errno == EEXIST ? 0 : log_error(-errno, "Cannot make the folder %s: %m", copy);
    if (chmod(copy, mode) < 0)  /* whatever the umask is: the socket has its own mode */
        return log_error(-errno, "Cannot set the mode of the folder %s: %m", copy);
    return 0;
}

static int use_directory(const char *what, const char *path, mode_t mode)
{
    _cleanup_free_ char *who = NULL;
    int r = make_directory(path, mode);

    if (r >= 0)
        r = config_trust(path, true, &who);
    if (r == -EPERM && who)
        return log_error(r, "The %s folder is not used: %s", what, who);
    return r == -ENOMEM ? log_error(r, "Cannot look at the folder %s: %m", path) : r;
}

/* The state may have been put there by others, as from a backup: whoever may write it decides what
 * golden images must hold. */
static int use_kept(const char *state_directory)
{
    static const char *const names[] = {CONTROL_DATABASE_NAME, CONTROL_JOURNAL_NAME};

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_free_ char *path = NULL, *who = NULL;
        int r = asprintf(&path, "%s/%s", state_directory, names[i]) < 0
                    ? -ENOMEM : config_trust(path, false, &who);

        if (r == -EPERM && who)
            return log_error(r, "What is kept is not used: %s", who);
        if (r == -ENOMEM)
            return log_error(r, "Cannot look at what is kept in %s: %m", state_directory);
    }
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

static void say_mistake(void *userdata, const char *file, unsigned line, unsigned column,
                        const char *message)
{
    if (line > 0)
        fprintf(stderr, "%s:%u:%u: %s\n", file, line, column, message);
    else
        fprintf(stderr, "%s: %s\n", file, message);
}

/* 0, -errno, or the exit status of a configuration that has mistakes. */
static int check_config(const char *path)
{
    struct config *config = NULL;
    int r;

    r = config_load(path, say_mistake, NULL, &config);
    if (r >= 0) {
        r = config_load_families(config, path, say_mistake, NULL);
        if (r < 0)
            config = config_free(config);
    }
    if (r < 0 && r != -EINVAL)
        fprintf(stderr, "%s: %s\n", path, strerror(-r));
    if (r < 0)
        return r == -EINVAL ? EX_CONFIG : r;
    printf("%s: %zu datastore%s, no mistakes\n", path, config->n_datastores,
           config->n_datastores == 1 ? "" : "s");
    config_free(config);
    return 0;
}

/* The daemon has no capability left to start another with. */
static int on_launcher_gone(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    log_error(
        0,
        "The launcher of qcaudit-files ended unexpectedly, and no datastore can be read without "
        "it. Ending, to be started again.");
    return sd_event_exit(sd_event_source_get_event(source), EXIT_FAILURE);
}

/* 0, -errno, or the exit status that keeps systemd from starting it again: nothing but another
 * configuration helps. */
static int run_loop(const struct manager_options *options)
{
    struct manager *manager = NULL;
    sd_event *event = NULL;
    int r;

    r = sd_event_default(&event);
    if (r < 0)
        return log_error(r, "Cannot make the event loop: %m");
    (void) sd_event_set_watchdog(event, true);      /* 0 where systemd does not want one */
    if (options->launcher_fd >= 0)
        /* 0: when it hangs up */
        r = sd_event_add_io(event, NULL, options->launcher_fd, 0, on_launcher_gone, NULL);
    if (r < 0)
        log_error(r, "Cannot watch the launcher: %m");
    if (r >= 0)
        r = manager_new(event, options, &manager);
    if (r == -EINVAL) {
        control_turn_away();
        r = EX_CONFIG;
    } else if (r >= 0)
        r = manager_start(manager);
    if (r == 0) {
        r = sd_event_loop(event);
        if (r < 0)
            log_error(r, "The event loop failed: %m");
        else if (r > 0)
            r = -ECANCELED;
    }
    manager_free(manager);
    sd_event_unref(event);
    return r;
}

/* As run_loop(). */
static int run(const struct arguments *arguments)
{
    _cleanup_free_ char *worker_program = NULL, *files_program = NULL;
    struct manager_options options = {
        .config_path = arguments->config,
        .state_directory = arguments->state_directory,
        .runtime_directory = arguments->runtime_directory,
        .launcher_fd = -1,
    };
    const char *step = NULL;
    int r;

    r = helper_program("qcaudit-worker", &worker_program);
    if (r >= 0)
        r = helper_program("qcaudit-files", &files_program);
    if (r < 0)
        return log_error(r, "Cannot start: %m");
    options.worker_program = worker_program;
    options.files_program = files_program;
    /* The unit says so, too; nothing here runs a program that would gain any. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return log_error(-errno, "Cannot give up new privileges: %m");
    /* Before any thread, loop or file exists. */
    r = launcher_start(files_program, &options.launcher_fd);
    if (r < 0)
        return log_error(r, "Cannot start the launcher of %s: %m", files_program);
    r = sandbox_daemon(&step);
    if (r < 0)
        return log_error(r, "Cannot confine itself (%s): %m", step);
    r = use_directory("state", arguments->state_directory, 0700);
    if (r >= 0)
        r = use_kept(arguments->state_directory);
    if (r >= 0)
        r = use_directory("runtime", arguments->runtime_directory, 0755);
    if (r >= 0)
        r = run_loop(&options);
    close(options.launcher_fd);
    return r;
}

/* The first files opened must not become standard input or output. */
static void open_standard_files(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char *argv[])
{
    struct arguments arguments = { .log_target = LOG_TARGET_AUTO, .log_level = LOG_INFO };
    int r;

    open_standard_files();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);   /* a limit of a file's size is an error of the write, as a full
                                 * disk is */
    umask(0027);
    r = arguments_parse(argc, argv, &arguments);
    if (r > 0) {
        r = log_open("qcauditd",
                     arguments.check_config ? LOG_TARGET_CONSOLE : arguments.log_target,
                     arguments.log_level);
        if (r >= 0)
            r = arguments_complete(&arguments);
        if (r >= 0)
            r = arguments.check_config ? check_config(arguments.config) : run(&arguments);
        log_close();
    }
    arguments_done(&arguments);
    /* A thread that libvirt keeps waiting uses what the end of a program takes down. */
    if (virt_watch_lingering() > 0) {
        fflush(NULL);
        _exit(r < 0 ? EXIT_FAILURE : r);
    }
    return r < 0 ? EXIT_FAILURE : r;
}
