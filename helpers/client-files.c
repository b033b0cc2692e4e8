/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The caller's side of qcaudit-files: many requests at once, each answered once, every record
 * checked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "helpers/launches.h"
#include "helpers/path.h"
#include "helpers/process.h"
#include "helpers/text.h"
#include "helpers/wire.h"
#include "lib/cleanup.h"

#define USEC UINT64_C(1000000)
#define DEADLINE_DEFAULT (30 * USEC)
#define IN_FLIGHT_MAX 32            /* requests that the helper has; more wait here */
#define WAITING_MAX 65536           /* requests that wait here */
#define ROOTS_AT_START 64            /* that the socket takes at once; more follow */
#define RECORDS_PER_DISPATCH 128    /* before the loop turns to others */

struct files_call {
    TAILQ_ENTRY(files_call) link;
    uint64_t id;
    enum wire_files_kind kind;
    uint64_t sent;                  /* usec, CLOCK_MONOTONIC */
    char *path, *reference;         /* NULL where the kind has none */
    union {
        files_root_fn root;
        files_open_fn open;
        files_probe_fn probe;
        files_resolve_fn resolve;
    } done;
    void *userdata;
};

TAILQ_HEAD(files_calls, files_call);

struct files {
    unsigned n_ref;                 /* the owner's, and a dispatch's under way */
    bool freed;
    bool lost;                      /* told, or being told */
    sd_event *event;
    struct process *process;        /* NULL while the launcher has not answered */
    uint64_t launch;                /* serial of what it was asked; 0: nothing, or it answered */
    int socket;
    sd_event_source *socket_source, *timer, *later;
    struct files_options options;   /* its strings are not kept */
    char *root;
    struct files_calls waiting, in_flight;
    size_t n_waiting, n_in_flight;
    uint64_t last_id;
    bool ready;
    bool walking;
    uint64_t last_record, last_reply;   /* usec, CLOCK_MONOTONIC */
    int lost_error;
};

static uint64_t now(const struct files *files)
{
    uint64_t usec = 0;

    sd_event_now(files->event, CLOCK_MONOTONIC, &usec);
    return usec;
}

static struct files_call *files_call_free(struct files_call *call)
{
    if (!call)
        return NULL;
    free(call->path);
    free(call->reference);
    free(call);
    return NULL;
}

DEFINE_CLEANUP(struct files_call *, files_call_free)

static void calls_drop(struct files_calls *calls)
{
    struct files_call *call;

    while ((call = TAILQ_FIRST(calls))) {
        TAILQ_REMOVE(calls, call, link);
        files_call_free(call);
    }
}

static struct files *files_unref(struct files *files)
{
    if (!files || --files->n_ref > 0)
        return NULL;
    free(files->root);
    free(files);
    return NULL;
}

DEFINE_CLEANUP(struct files *, files_unref)

struct files *files_end(struct files *files, struct process_endings *endings, const void *user)
{
    if (!files || files->freed)
        return NULL;
    files->freed = true;
    sd_event_source_disable_unref(files->socket_source);
    sd_event_source_disable_unref(files->timer);
    sd_event_source_disable_unref(files->later);
    files->process = process_end(files->process, endings, user);
    if (files->launch > 0)
        launches_forget(files->options.launches, files->launch, endings, user);
    if (files->socket >= 0)
        close(files->socket);
    calls_drop(&files->waiting);
    calls_drop(&files->in_flight);
    sd_event_unref(files->event);
    return files_unref(files);
}

struct files *files_free(struct files *files)
{
    return files_end(files, NULL, NULL);
}

/* Answers a call that is in no list any more. fd is taken over. */
static void call_answer(struct files_call *call, int error, int fd, const union wire_record *record)
{
    _cleanup_close_ int owned = fd;
    const struct files_stat *stat = record ? &record->files_reply.stat : NULL;
    enum files_use use = record && error == 0 ? (enum files_use)record->files_reply.use
                                              : FILES_UNUSED;
    struct files_root root;

    switch (call->kind) {
    case WIRE_FILES_GET_ROOT:
        if (error == 0) {
            root = (struct files_root){
                .fsid = record->files_root.fsid, .inode = record->files_root.inode,
                .device = record->files_root.device,
                .space = record->files_root.space,
                .size = record->files_root.size, .available = record->files_root.available,
                .network = record->files_root.network,
                .real_path = wire_text(record, 0),
            };
            memcpy(root.type, record->files_root.type, sizeof(root.type));
        }
        call->done.root(call->userdata, error, error == 0 ? &root : NULL);
        break;
    case WIRE_FILES_OPEN:
        call->done.open(call->userdata, error, error == 0 ? TAKE_FD(owned) : -1,
                        error == 0 ? stat : NULL, use);
        break;
    case WIRE_FILES_PROBE:
        call->done.probe(call->userdata, error, error == 0 ? stat : NULL, use);
        break;
    case WIRE_FILES_RESOLVE:
        call->done.resolve(call->userdata, error, record ? wire_text(record, 0) : NULL,
                           error == 0 ? stat : NULL);
        break;
    case WIRE_FILES_WALK:
    case WIRE_FILES_ALLOW:
    case WIRE_FILES_DEVICE:
    case WIRE_FILES_EXCLUDE:
    case WIRE_FILES_FOLLOW:
    case WIRE_FILES_KNOW:
    case _WIRE_FILES_KIND_MAX:
        break;
    }
}

/* Answers all calls of a list with error; stops when the owner frees files meanwhile. */
static void calls_fail(struct files *files, struct files_calls *calls, int error)
{
    struct files_call *first;

    while (!files->freed && (first = TAILQ_FIRST(calls))) {
        _cleanup_(files_call_freep) struct files_call *call = first;

        TAILQ_REMOVE(calls, call, link);
        call_answer(call, error, -1, NULL);
    }
}

/* Everything ends with error. In a loop's dispatch only. */
static void files_lose(struct files *files, int error)
{
    if (files->lost)
        return;
    /* A callback may free it: it is held, and let go at the end. */
    files->n_ref++;
    files->lost = true;
    files->lost_error = error;
    if (files->process)
        process_kill(files->process);
    sd_event_source_set_enabled(files->socket_source, SD_EVENT_OFF);
    sd_event_source_set_enabled(files->timer, SD_EVENT_OFF);
    sd_event_source_set_enabled(files->later, SD_EVENT_OFF);
    calls_fail(files, &files->in_flight, error);
    calls_fail(files, &files->waiting, error);
    if (!files->freed && files->walking) {
        files->walking = false;
        files->options.walked(files->options.userdata, files, error, 0, 0);
    }
    if (!files->freed)
        files->options.lost(files->options.userdata, files, error);
    files_unref(files);
}

/* Arms the timer for the oldest request, or for the silence of a walk or of the start. Requests are
 * answered one after the other, so the oldest one's time begins with the answer to the one before
 * it. */
static void arm(struct files *files)
{
    struct files_call *oldest = TAILQ_FIRST(&files->in_flight);
    uint64_t at = UINT64_MAX, begun = 0;

    if (files->walking || !files->ready)
        at = files->last_record + files->options.deadline_usec;
    if (oldest)
        begun = oldest->sent > files->last_reply ? oldest->sent : files->last_reply;
    if (oldest && begun + files->options.deadline_usec < at)
        at = begun + files->options.deadline_usec;
    if (at == UINT64_MAX) {
        sd_event_source_set_enabled(files->timer, SD_EVENT_OFF);
        return;
    }
    sd_event_source_set_time(files->timer, at);
    sd_event_source_set_enabled(files->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    files_lose(userdata, -ETIMEDOUT);
    return 0;
}

/* Reports a failure that a call found when no callback may run. */
static int on_later(sd_event_source *source, void *userdata)
{
    struct files *files = userdata;

    files_lose(files, files->lost_error);
    return 0;
}

static void lose_later(struct files *files, int error)
{
    if (files->lost)
        return;
    files->lost_error = error;
    sd_event_source_set_enabled(files->later, SD_EVENT_ONESHOT);
}

static void on_ended(void *userdata, int ended_signal, int status)
{
    files_lose(userdata, -ECHILD);
}

/* Sends as many waiting calls as the helper takes now. */
static void send_waiting(struct files *files)
{
    struct files_call *call;

    while (files->n_in_flight < IN_FLIGHT_MAX && (call = TAILQ_FIRST(&files->waiting))) {
        struct wire_files_request record = {.id = call->id, .kind = call->kind};
        int r = wire_send(files->socket, WIRE_FILES_REQUEST, &record, call->path, call->reference,
                          -1);

        if (r == -EAGAIN)
            break;
        if (r < 0) {
            lose_later(files, r == -EPIPE ? -ECHILD : r);
            break;
        }
        TAILQ_REMOVE(&files->waiting, call, link);
        files->n_waiting--;
        TAILQ_INSERT_TAIL(&files->in_flight, call, link);
        files->n_in_flight++;
        call->sent = now(files);
    }
    /* none in flight, so no answer would come and send the rest: the socket says when it takes
     * more */
    bool sends = files->n_in_flight == 0 && files->n_waiting > 0;

    sd_event_source_set_io_events(files->socket_source, EPOLLIN | (sends ? EPOLLOUT : 0));
    arm(files);
}

static bool stat_is_valid(const struct files_stat *stat)
{
    return stat->type <= FILES_OTHER &&
           (stat->alignment == UINT32_MAX || (stat->alignment & (stat->alignment - 1)) == 0) &&
           stat->verity_size <= FILES_VERITY_MAX &&
           (stat->verity_algorithm == 0) == (stat->verity_size == 0);
}

/* Is path the root or below it? */
static int take_files_record(struct files *files, const union wire_record *record)
{
    const struct wire_files_record *w = &record->files_record;
    struct files_record told = {
        .event = (enum files_event)w->event, .path = wire_text(record, 0), .error = (int)w->error,
        .stat = w->stat, .probed = w->probed != 0, .use = (enum files_use)w->use,
        .left_out = (enum files_left_out)w->left_out, .target = wire_text(record, 1),
    };

    if (w->probed > 1 || w->use > FILES_WRITER || w->event >= _FILES_EVENT_MAX ||
        w->left_out >= _FILES_LEFT_MAX ||
        (w->event == FILES_EVENT_LEFT_OUT) != (w->left_out != FILES_LEFT_NONE) ||
        !told.path || !path_is_below(told.path, files->root) ||
        !wire_error_is_valid(w->error) ||
        (w->error != 0) !=
            (w->event == FILES_EVENT_ERROR || w->event == FILES_EVENT_WATCHES_EXHAUSTED) ||
        !stat_is_valid(&w->stat))
        return -EBADMSG;
    files->options.record(files->options.userdata, files, &told);
    return 0;
}

static int take_walked(struct files *files, const struct wire_files_walked *w)
{
    if (!files->walking || !wire_error_is_valid(w->error))
        return -EBADMSG;
    files->walking = false;
    files->options.walked(files->options.userdata, files, (int)w->error, w->n_files,
                          w->n_directories);
    return 0;
}

/* Is it an answer that this kind of request can have? */
static bool reply_is_valid(const struct files_call *call, const union wire_record *record, int fd)
{
    const struct wire_files_reply *w = &record->files_reply;

    if (!wire_error_is_valid(w->error))
        return false;
    if (record->header.type == WIRE_FILES_ROOT) {
        const struct wire_files_root *root = &record->files_root;

        return call->kind == WIRE_FILES_GET_ROOT && root->network <= 1 &&
               (root->error != 0 || wire_text(record, 0)) &&
               memchr(root->type, '\0', sizeof(root->type)) &&
               text_is_safe(root->type, strlen(root->type));
    }
    if (call->kind == WIRE_FILES_GET_ROOT || w->use > FILES_WRITER || !stat_is_valid(&w->stat) ||
        (fd >= 0) != (call->kind == WIRE_FILES_OPEN && w->error == 0))
        return false;
    return call->kind == WIRE_FILES_RESOLVE ? w->error != 0 || wire_text(record, 0)
                                            : !wire_text(record, 0);
}

/* id and error lie at the same place in both kinds of answers. */
_Static_assert(offsetof(struct wire_files_root, id) == offsetof(struct wire_files_reply, id), "id");
_Static_assert(offsetof(struct wire_files_root, error) == offsetof(struct wire_files_reply, error),
               "error");

static int take_reply(struct files *files, const union wire_record *record, int fd)
{
    _cleanup_close_ int owned = fd;
    _cleanup_(files_call_freep) struct files_call *call = NULL;
    struct files_call *c;

    TAILQ_FOREACH(c, &files->in_flight, link)
        if (c->id == record->files_reply.id)
            break;
    if (!c || !reply_is_valid(c, record, fd))
        return -EBADMSG;
    call = c;
    TAILQ_REMOVE(&files->in_flight, call, link);
    files->n_in_flight--;
    files->last_reply = files->last_record;
    call_answer(call, (int)record->files_reply.error, TAKE_FD(owned), record);
    return 0;
}

static int take_record(struct files *files, const union wire_record *record, int fd)
{
    if (!files->ready) {
        if (record->header.type != WIRE_READY)
            return record->header.type == WIRE_FAILED ? -ENOEXEC : -EBADMSG;
        files->ready = true;
        return 0;
    }
    switch (record->header.type) {
    case WIRE_FILES_RECORD:
        return take_files_record(files, record);
    case WIRE_FILES_WALKING:
        return files->walking ? 0 : -EBADMSG;
    case WIRE_FILES_WALKED:
        return take_walked(files, &record->files_walked);
    case WIRE_FILES_REPLY:
    case WIRE_FILES_ROOT:
        return take_reply(files, record, fd);
    default:
        return -EBADMSG;
    }
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    _cleanup_(files_unrefp) struct files *files = userdata;
    union wire_record packet;

    files->n_ref++;
    for (unsigned i = 0; i < RECORDS_PER_DISPATCH && !files->freed && !files->lost;) {
        int received = -1, r;
        size_t size;

        r = wire_receive_several(files->socket, WIRE_FILES, &packet, &size, &received);
        if (r == -EAGAIN)
            break;
        if (r == 0)
            r = -ECHILD;
        else if (r > 0)
            files->last_record = now(files);
        for (const union wire_record *record = &packet;
             r >= 0 && record && !files->freed && !files->lost; i++) {
            r = take_record(files, record, received);
            record = wire_next(&packet, size, record);
        }
        if (r < 0 && !files->freed)
            files_lose(files, r);
    }
    if (!files->freed && !files->lost)
        send_waiting(files);
    return 0;
}

/* Tells the helper what it is for; both of its ends are buffered and empty, so this does not
 * wait. */
static int configure(struct files *files, const struct files_options *options)
{
    struct wire_configure_files record = {
        .recursive = options->recursive, .watch = options->watch,
        .of_devices = options->devices != NULL, .no_mounts = options->no_mounts,
    };
    struct wire_empty empty = {0};
    int r;

    while (options->allowed_roots && record.n_allowed_roots < ROOTS_AT_START &&
           options->allowed_roots[record.n_allowed_roots])
        record.n_allowed_roots++;
    r = wire_send(files->socket, WIRE_CONFIGURE_FILES, &record, files->root, NULL, -1);
    for (size_t i = 0; i < record.n_allowed_roots && r == 0; i++)
        r = wire_send(files->socket, WIRE_ALLOWED_ROOT, &empty, options->allowed_roots[i], NULL,
                      -1);
    return r;
}

static void on_launched(void *userdata, int error, pid_t pid, int pidfd)
{
    struct files *files = userdata;

    files->launch = 0;
    if (error == 0)
        error = process_adopt(files->event, pid, pidfd, on_ended, files, &files->process);
    if (error < 0)
        files_lose(files, error);
    else if (files->lost)
        process_kill(files->process);       /* it came too late */
}

static int start_process(struct files *files, const struct files_options *options, int theirs)
{
    if (options->launches)
        return launches_ask(options->launches, theirs, on_launched, files, &files->launch);
    return process_start(files->event, options->program, theirs, on_ended, files,
                         &files->process);
}

/* Queues a call with copies of its texts. */
static int call_new(struct files *files, enum wire_files_kind kind, const char *path,
                    const char *reference, void *userdata, struct files_call **ret_call)
{
    _cleanup_(files_call_freep) struct files_call *call = NULL;

    if (files->lost)
        return -ENOTCONN;
    if (files->n_waiting >= WAITING_MAX)
        return -ENOBUFS;
    if ((path && strlen(path) > WIRE_TEXT_MAX) || (reference && strlen(reference) > WIRE_TEXT_MAX))
        return -ENAMETOOLONG;
    call = calloc(1, sizeof(*call));
    if (!call)
        return -ENOMEM;
    call->kind = kind;
    call->userdata = userdata;
    if (path && !(call->path = strdup(path)))
        return -ENOMEM;
    if (reference && !(call->reference = strdup(reference)))
        return -ENOMEM;
    *ret_call = TAKE_PTR(call);
    return 0;
}

static void call_queue(struct files *files, struct files_call *call)
{
    call->id = ++files->last_id;
    TAILQ_INSERT_TAIL(&files->waiting, call, link);
    files->n_waiting++;
    send_waiting(files);
}

static int call_place(struct files *files, enum wire_files_kind kind, const char *path)
{
    struct files_call *call;
    int r = call_new(files, kind, path, NULL, NULL, &call);

    if (r < 0)
        return r;
    call_queue(files, call);
    return 0;
}

static int call_places(struct files *files, enum wire_files_kind kind, const char *const *paths)
{
    int r = 0;

    for (size_t i = 0; r == 0 && paths && paths[i]; i++)
        r = call_place(files, kind, paths[i]);
    return r;
}

/* The roots that configure() had no room for. */
static int configure_more(struct files *files, const struct files_options *options)
{
    size_t n = 0;
    int r = 0;

    while (options->allowed_roots && options->allowed_roots[n])
        n++;
    for (size_t i = ROOTS_AT_START; r == 0 && i < n; i++)
        r = call_place(files, WIRE_FILES_ALLOW, options->allowed_roots[i]);
    if (r == 0)
        r = call_places(files, WIRE_FILES_DEVICE, options->devices);
    if (r == 0)
        r = call_places(files, WIRE_FILES_EXCLUDE, options->exclude);
    if (r == 0)
        r = call_places(files, WIRE_FILES_FOLLOW, options->follow);
    if (r == 0)
        r = call_places(files, WIRE_FILES_KNOW, options->known);
    return r;
}

int files_start(sd_event *event, const struct files_options *options, struct files **ret_files)
{
    _cleanup_close_ int theirs = -1;
    struct files *files;
    int r;

    if (options->root[0] != '/' || strlen(options->root) > WIRE_TEXT_MAX)
        return -EINVAL;
    files = calloc(1, sizeof(*files));
    if (!files)
        return -ENOMEM;
    files->n_ref = 1;
    files->event = sd_event_ref(event);
    files->socket = -1;
    TAILQ_INIT(&files->waiting);
    TAILQ_INIT(&files->in_flight);
    files->options = *options;
    if (files->options.deadline_usec == 0)
        files->options.deadline_usec = DEADLINE_DEFAULT;
    files->last_record = now(files);
    files->root = strdup(options->root);
    r = files->root ? process_socket_pair(&files->socket, &theirs) : -ENOMEM;
    if (r == 0) {
        for (size_t n = strlen(files->root); n > 1 && files->root[n - 1] == '/'; n--)
            files->root[n - 1] = '\0';
        r = start_process(files, options, theirs);
    }
    if (r == 0)
        r = configure(files, options);
    if (r == 0)
        r = sd_event_add_io(event, &files->socket_source, files->socket, EPOLLIN, on_socket, files);
    if (r >= 0)
        r = sd_event_add_time(event, &files->timer, CLOCK_MONOTONIC, UINT64_MAX, 10000, on_timer,
                              files);
    if (r >= 0)
        /* what has arrived in time counts, even when the loop comes late */
        r = sd_event_source_set_priority(files->timer, SD_EVENT_PRIORITY_NORMAL + 20);
    if (r >= 0)
        r = sd_event_add_defer(event, &files->later, on_later, files);
    if (r >= 0)
        r = sd_event_source_set_enabled(files->later, SD_EVENT_OFF);
    if (r >= 0)
        r = configure_more(files, options);
    if (r < 0) {
        files_free(files);
        return r;
    }
    arm(files);
    *ret_files = files;
    return 0;
}

pid_t files_pid(const struct files *files)
{
    return files->process ? process_pid(files->process) : 0;
}

int files_allow(struct files *files, const char *path)
{
    return call_place(files, WIRE_FILES_ALLOW, path);
}

int files_know(struct files *files, const char *path)
{
    return call_place(files, WIRE_FILES_KNOW, path);
}

int files_root(struct files *files, files_root_fn done, void *userdata)
{
    struct files_call *call;
    int r = call_new(files, WIRE_FILES_GET_ROOT, NULL, NULL, userdata, &call);

    if (r < 0)
        return r;
    call->done.root = done;
    call_queue(files, call);
    return 0;
}

int files_walk(struct files *files)
{
    struct wire_files_request record = {.kind = WIRE_FILES_WALK};
    int r;

    if (files->lost)
        return -ENOTCONN;
    if (files->walking)
        return -EALREADY;
    /* at most one, so the socket has room for it: requests in flight leave most of it free */
    r = wire_send(files->socket, WIRE_FILES_REQUEST, &record, NULL, NULL, -1);
    if (r < 0)
        return r == -EPIPE ? -ENOTCONN : r;
    files->walking = true;
    files->last_record = now(files);
    arm(files);
    return 0;
}

int files_open(struct files *files, const char *path, files_open_fn done, void *userdata)
{
    struct files_call *call;
    int r = call_new(files, WIRE_FILES_OPEN, path, NULL, userdata, &call);

    if (r < 0)
        return r;
    call->done.open = done;
    call_queue(files, call);
    return 0;
}

int files_probe(struct files *files, const char *path, files_probe_fn done, void *userdata)
{
    struct files_call *call;
    int r = call_new(files, WIRE_FILES_PROBE, path, NULL, userdata, &call);

    if (r < 0)
        return r;
    call->done.probe = done;
    call_queue(files, call);
    return 0;
}

int files_resolve(struct files *files, const char *image_path, const char *reference,
                  files_resolve_fn done, void *userdata)
{
    struct files_call *call;
    int r = call_new(files, WIRE_FILES_RESOLVE, image_path, reference, userdata, &call);

    if (r < 0)
        return r;
    call->done.resolve = done;
    call_queue(files, call);
    return 0;
}
