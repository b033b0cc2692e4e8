/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: a datastore's eyes and hands: walks and watches it, looks at files and opens them
 * for others. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <unistd.h>

#include "helpers/clock.h"
#include "helpers/files-link.h"
#include "helpers/files-vmware.h"
#include "helpers/files-walk.h"
#include "helpers/open-unnoticed.h"
#include "helpers/sandbox.h"
#include "lib/cleanup.h"

#define SLICE_USEC 5000             /* of a walk, before requests are looked at again */
#define SIGN_OF_LIFE_USEC 1000000   /* in a walk that finds nothing to say */
#define SUBTREES_MAX 65536          /* that wait to be looked into */

/* A new directory to be looked into. */
struct subtree {
    TAILQ_ENTRY(subtree) link;
    char path[];
};

struct files_helper {
    struct place place;
    struct output output;
    struct watches watches;
    bool watch_wanted;
    int watch_error;            /* -errno why there are no watches, though wanted */
    int locks_fd;               /* /proc/locks; -1 where there is none */
    struct lock_table locks;        /* as they were when the walk began */
    struct nests nests;
    struct walk whole, part;        /* of the root; of a new subtree */
    bool whole_failed;
    TAILQ_HEAD(, subtree) subtrees;
    size_t n_subtrees;
    /* the root as it was first seen: another one in its place is another datastore */
    bool root_known, root_gone;
    bool mounts_changed;            /* somewhere, since the root was looked at */
    uint64_t root_fsid, root_inode;
};

/* ---- the root ------------------------------------------------------------------------------ */

static void root_gone(void *userdata)
{
    struct files_helper *helper = userdata;

    if (!helper->root_gone)
        output_record(&helper->output, FILES_EVENT_UNMOUNTED, helper->place.root, 0, NULL);
    helper->root_gone = true;
    watches_forget(&helper->watches, helper->place.root);
}

/* Opens the root and compares it with what it was. -ESTALE when it is another. */
static int root_open(struct files_helper *helper, int *ret_fd)
{
    _cleanup_close_ int fd = -1;
    struct files_stat stat;
    int r;

    r = place_open_root(&helper->place, &fd);
    if (r == 0)
        r = place_stat(&helper->place, fd, "", AT_EMPTY_PATH, &stat, NULL);
    if (r < 0)
        return r;
    if (!helper->root_known) {
        helper->root_known = true;
        helper->root_fsid = stat.fsid;
        helper->root_inode = stat.inode;
    }
    if (stat.fsid != helper->root_fsid || stat.inode != helper->root_inode) {
        root_gone(helper);
        return -ESTALE;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static void on_appeared(void *userdata, const char *path);
static void on_vanished(void *userdata, const char *path);

static bool is_same_mount(const struct nest *a, const struct nest *b)
{
    return a->mount->id == b->mount->id && a->verdict == b->verdict;
}

/* Looks into what is mounted below the root now and was not before, and lets go of what is not any
 * more. */
static void nests_check(struct files_helper *helper)
{
    struct nests before = helper->nests, *now = &helper->nests;

    *now = (struct nests){.place = before.place, .forbidden = before.forbidden};
    if (nests_read(now) < 0 || !helper->whole.recursive) {
        nests_done(&before);
        return;
    }
    for (size_t i = 0; i < before.n_items; i++) {
        const struct nest *nest = &before.items[i], *other = nests_at(now, nest->path);

        if (nest->verdict != FILES_LEFT_NONE || (other && is_same_mount(nest, other)))
            continue;
        on_vanished(helper, nest->path);
        watches_forget(&helper->watches, nest->path);
        output_left_out(&helper->output, nest->path, FILES_LEFT_GONE, nest->mount->type);
        if (!other)
            on_appeared(helper, nest->path);    /* the folder that it was mounted on */
    }
    for (size_t i = 0; i < now->n_items; i++) {
        const struct nest *nest = &now->items[i], *other = nests_at(&before, nest->path);

        if (!other || !is_same_mount(nest, other))
            on_appeared(helper, nest->path);
    }
    nests_done(&before);
}

/* Something was mounted or unmounted somewhere. */
static void root_check(struct files_helper *helper)
{
    _cleanup_close_ int fd = -1;
    int r;

    helper->mounts_changed = false;
    if (!helper->root_known || helper->root_gone || helper->place.of_devices)
        return;
    r = root_open(helper, &fd);
    if (r == -ENOENT || r == -ENOTDIR)
        root_gone(helper);
    else if (r == 0 && helper->nests.known)
        nests_check(helper);
}

/* ---- walking ------------------------------------------------------------------------------- */

static void on_vanished(void *userdata, const char *path)
{
    struct files_helper *helper = userdata;

    walk_leave(&helper->whole, path);
    walk_leave(&helper->part, path);
}

static void on_appeared(void *userdata, const char *path)
{
    struct files_helper *helper = userdata;
    size_t n = strlen(path) + 1;
    struct subtree *subtree;

    if (!helper->whole.recursive)
        return;
    subtree = helper->n_subtrees < SUBTREES_MAX ? malloc(sizeof(*subtree) + n) : NULL;
    if (!subtree) {
        output_record(&helper->output, FILES_EVENT_OVERFLOW, helper->place.root, 0, NULL);
        return;
    }
    memcpy(subtree->path, path, n);
    TAILQ_INSERT_TAIL(&helper->subtrees, subtree, link);
    helper->n_subtrees++;
}

static void on_link(void *userdata, const char *path)
{
    struct files_helper *helper = userdata;

    (void)link_tell(&helper->place, &helper->output, &helper->nests.table, path);
}

/* Begins to look into the next new directory. */
static void next_subtree(struct files_helper *helper)
{
    _cleanup_free_ struct subtree *subtree = TAILQ_FIRST(&helper->subtrees);
    struct place_mount mount;
    struct files_stat stat;
    bool crosses;
    int fd, r;

    TAILQ_REMOVE(&helper->subtrees, subtree, link);
    helper->n_subtrees--;
    if (place_excludes_above(&helper->place, subtree->path) ||
        walk_leaves_out(&helper->part, subtree->path, &crosses))
        return;
    r = open_unnoticed(AT_FDCWD, subtree->path, O_DIRECTORY | O_NOFOLLOW, &fd);
    if (r < 0) {
        if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)   /* gone, or another thing, meanwhile */
            return;
    } else {
        r = place_stat(&helper->place, fd, "", AT_EMPTY_PATH, &stat, &mount);
        if (r == 0 && mount.is_root && !crosses)
            r = -EXDEV;         /* mounted just now: that event is on its way */
        if (r < 0)
            close(fd);
        else
            r = walk_begin(&helper->part, fd, subtree->path, false);
    }
    if (r < 0)
        output_record(&helper->output, FILES_EVENT_ERROR, subtree->path, r, NULL);
}

static void tell_walked(struct files_helper *helper, int error)
{
    struct wire_files_walked walked = {
        .error = error, .n_files = helper->whole.n_files,
        .n_directories = helper->whole.n_directories,
    };

    output_send(&helper->output, WIRE_FILES_WALKED, &walked, NULL, -1);
}

/* Each is opened for a moment: how large it is cannot be had otherwise. */
static void walk_devices(struct files_helper *helper)
{
    struct place *place = &helper->place;

    for (size_t i = 0; i < place->n_devices; i++) {
        _cleanup_close_ int path_fd = -1, fd = -1;
        char real[PATH_MAX] = "";
        struct files_stat stat;
        enum files_use use;
        int r;

        r = place_find(place, place->devices[i], real, &path_fd);
        if (r == 0)
            r = place_reopen(place, path_fd, &fd, &stat, &use);
        if (r == 0)
            output_record(&helper->output, FILES_EVENT_APPEARED, place->devices[i], 0, &stat);
        else if (r != -ENOENT)
            output_record(&helper->output, FILES_EVENT_ERROR, place->devices[i], r, NULL);
        helper->whole.n_files += r == 0;
    }
    tell_walked(helper, 0);
}

/* Of a network file system the locks of other hosts would be missing. */
static void read_locks(struct files_helper *helper)
{
    struct files_root root = {0};

    helper->whole.locks = helper->locks_fd >= 0 &&
                                  place_root(&helper->place, &root) == 0 && !root.network &&
                                  lock_table_read(helper->locks_fd, &helper->locks) == 0
                              ? &helper->locks
                              : NULL;
}

static void begin_walk(struct files_helper *helper)
{
    int fd = -1, r;

    helper->whole.n_files = helper->whole.n_directories = 0;
    if (helper->place.of_devices) {
        walk_devices(helper);
        return;
    }
    r = root_open(helper, &fd);
    if (r == 0)
        r = nests_read(&helper->nests);
    if (r == 0)
        read_locks(helper);
    if (r == 0)
        r = walk_begin(&helper->whole, fd, helper->place.root, true);
    if (r < 0)
        tell_walked(helper, r);
    else if (helper->watch_wanted && helper->watches.fd < 0 && !helper->watches.exhausted_told) {
        helper->watches.exhausted_told = true;
        output_record(&helper->output, FILES_EVENT_WATCHES_EXHAUSTED, helper->place.root,
                      helper->watch_error, NULL);
    }
}

static bool is_walking(const struct files_helper *helper)
{
    return helper->whole.depth > 0 || helper->part.depth > 0 || helper->n_subtrees > 0;
}

/* Goes on walking for a moment: new subtrees first, then the whole. */
static void walk_slice(struct files_helper *helper)
{
    uint64_t until = usec_now(CLOCK_MONOTONIC) + SLICE_USEC;

    while (is_walking(helper) && !output_is_full(&helper->output) &&
           usec_now(CLOCK_MONOTONIC) < until) {
        if (helper->part.depth > 0)
            walk_step(&helper->part);
        else if (helper->n_subtrees > 0)
            next_subtree(helper);
        else if (!walk_step(&helper->whole))
            tell_walked(helper, helper->root_gone ? -ESTALE : 0);
    }
    if (helper->whole.depth > 0 && !output_is_full(&helper->output) &&
        usec_now(CLOCK_MONOTONIC) - helper->output.sent > SIGN_OF_LIFE_USEC) {
        struct wire_empty empty = {0};

        output_send(&helper->output, WIRE_FILES_WALKING, &empty, NULL, -1);
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

static void reply_root(struct files_helper *helper, uint64_t id)
{
    struct wire_files_root reply = {.id = id};
    struct files_root root = {0};

    reply.error = place_root(&helper->place, &root);
    if (reply.error == 0) {
        reply.fsid = root.fsid;
        reply.inode = root.inode;
        reply.device = root.device;
        reply.space = root.space;
        reply.size = root.size;
        reply.available = root.available;
        reply.network = root.network;
        memcpy(reply.type, root.type, sizeof(reply.type));
    }
    output_send(&helper->output, WIRE_FILES_ROOT, &reply, root.real_path, -1);
}

/* ALLOW and its kind: what goes wrong here would look like a reference that leads nowhere. */
static void reply_place(struct files_helper *helper, const struct wire_files_request *request,
                        const char *path)
{
    static int (*const add[])(struct place *place, const char *path) = {
        [WIRE_FILES_ALLOW] = place_allow, [WIRE_FILES_DEVICE] = place_add_device,
        [WIRE_FILES_EXCLUDE] = place_exclude, [WIRE_FILES_FOLLOW] = place_follow,
        [WIRE_FILES_KNOW] = place_know,
    };
    struct wire_files_reply reply = {.id = request->id};

    if (add[request->kind](&helper->place, path) < 0)
        _exit(5);
    output_send(&helper->output, WIRE_FILES_REPLY, &reply, NULL, -1);
}

/* OPEN, PROBE and RESOLVE: each finds a file and looks at it, one of them hands it out. */
static void reply_file(struct files_helper *helper, const struct wire_files_request *request,
                       const char *path, const char *reference)
{
    struct wire_files_reply reply = {.id = request->id};
    _cleanup_close_ int path_fd = -1, fd = -1;
    enum files_use use = FILES_UNUSED;
    char real[PATH_MAX] = "";
    int root = -1, r;

    /* where the root really is decides what lies outside of it */
    if (place_open_root(&helper->place, &root) == 0)
        close(root);
    if (request->kind == WIRE_FILES_RESOLVE) {
        r = place_resolve(&helper->place, path, reference, real, &path_fd);
        if (r == 0)
            r = place_stat(&helper->place, path_fd, "", AT_EMPTY_PATH, &reply.stat, NULL);
    } else {
        r = place_look(&helper->place, path, real, &path_fd);
        if (r == 0)
            r = place_reopen(&helper->place, path_fd, &fd, &reply.stat, &use);
        if (r == 0 && vmware_is_locked(real, reply.stat.inode, reply.stat.uid))
            use = FILES_WRITER;
    }
    reply.error = r;
    reply.use = use;
    output_send(&helper->output, WIRE_FILES_REPLY, &reply,
                request->kind == WIRE_FILES_RESOLVE && real[0] ? real : NULL,
                request->kind == WIRE_FILES_OPEN && r == 0 ? TAKE_FD(fd) : -1);
}

/* One request, if there is one. False when there was none. */
static bool handle_request(struct files_helper *helper)
{
    union wire_record record;
    const char *path, *reference;
    int fd = -1, r;

    r = wire_receive(WIRE_FD, WIRE_FILES_CLIENT, &record, &fd);
    if (r == -EAGAIN)
        return false;
    if (r <= 0 || record.header.type != WIRE_FILES_REQUEST)
        _exit(r == 0 ? 0 : 3);
    path = wire_text(&record, 0);
    reference = wire_text(&record, 1);
    switch (record.files_request.kind) {
    case WIRE_FILES_GET_ROOT:
        reply_root(helper, record.files_request.id);
        return true;
    case WIRE_FILES_WALK:
        begin_walk(helper);
        return true;
    case WIRE_FILES_RESOLVE:
        if (!reference)
            _exit(3);
        break;
    case WIRE_FILES_OPEN:
    case WIRE_FILES_PROBE:
    case WIRE_FILES_ALLOW:
    case WIRE_FILES_DEVICE:
    case WIRE_FILES_EXCLUDE:
    case WIRE_FILES_FOLLOW:
    case WIRE_FILES_KNOW:
        break;
    default:
        _exit(3);
    }
    if (!path)
        _exit(3);
    if (record.files_request.kind >= WIRE_FILES_ALLOW) {
        reply_place(helper, &record.files_request, path);
        return true;
    }
    reply_file(helper, &record.files_request, path, reference);
    return true;
}

/* ---- the program --------------------------------------------------------------------------- */

_Noreturn static void serve(struct files_helper *helper)
{
    for (;;) {
        bool full = (output_flush(&helper->output), output_is_full(&helper->output));
        struct pollfd p[] = {
            {.fd = WIRE_FD, .events = full ? POLLOUT : POLLIN},
            /* what does not fit meanwhile overflows in the kernel, which says so */
            {.fd = full ? -1 : helper->watches.fd, .events = POLLIN},
            {.fd = helper->place.mountinfo_fd, .events = POLLPRI},
        };

        if (poll(p, ELEMENTSOF(p), !full && is_walking(helper) ? 0 : -1) < 0 && errno != EINTR)
            _exit(3);
        helper->mounts_changed |= p[2].revents != 0;
        output_flush(&helper->output);
        /* whether or not poll() looked: a walk that fills the socket again and again must not keep
         * these waiting */
        while (!output_is_full(&helper->output) && handle_request(helper))
            ;
        if (helper->mounts_changed && !output_is_full(&helper->output))
            root_check(helper);
        if (helper->watches.fd >= 0 && !output_is_full(&helper->output))
            watches_handle(&helper->watches);
        walk_slice(helper);
    }
}

/* Waits for one record of the configuration. */
static void receive_configuration(enum wire_type type, union wire_record *ret_record)
{
    int fd = -1, r;

    r = wire_receive(WIRE_FD, WIRE_FILES_CLIENT, ret_record, &fd);
    if (r <= 0 || ret_record->header.type != type || !wire_text(ret_record, 0))
        _exit(r == 0 ? 0 : 3);
}

/* The launcher's arguments: LAUNCHER_LIMITS, and the roots that it was given. */
static int take_limits(struct place *place, char *arguments[])
{
    int r = arguments[1] ? place_limit(place, NULL) : 0;

    for (size_t i = 2; r == 0 && arguments[1] && arguments[i]; i++)
        r = place_limit(place, arguments[i]);
    return r;
}

static int prepare(struct files_helper *helper, char *arguments[], const char **ret_step)
{
    union wire_record record;
    uint64_t n;
    int r;

    STAILQ_INIT(&helper->output.waiting);
    r = sandbox_begin(ret_step);
    if (r < 0)
        return r;
    *ret_step = "open /proc/self/mountinfo";
    helper->place.mountinfo_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (helper->place.mountinfo_fd < 0)
        return -errno;
    /* Not there where all but processes is hidden in /proc: then a walk sees no locks. */
    helper->locks_fd = open("/proc/locks", O_RDONLY | O_CLOEXEC);
    receive_configuration(WIRE_CONFIGURE_FILES, &record);
    n = record.configure_files.n_allowed_roots;
    helper->watch_wanted = record.configure_files.watch;
    helper->place.of_devices = record.configure_files.of_devices != 0;
    helper->nests.forbidden = record.configure_files.no_mounts != 0;
    helper->whole.recursive = helper->part.recursive = record.configure_files.recursive;
    strcpy(helper->place.root, wire_text(&record, 0));
    /* fails when the user has too many already: then walks alone see changes, and that is told */
    if (helper->watch_wanted)
        helper->watches.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    helper->watch_error = helper->watches.fd < 0 ? -errno : 0;

    *ret_step = "resolve the allowed roots";
    r = take_limits(&helper->place, arguments);
    if (r < 0)
        return r;
    for (uint64_t i = 0; i < n; i++) {
        receive_configuration(WIRE_ALLOWED_ROOT, &record);
        r = place_allow(&helper->place, wire_text(&record, 0));
        if (r < 0)
            return r;
    }
    *ret_step = "make the socket not block";
    if (fcntl(WIRE_FD, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return sandbox_files(helper->watches.fd >= 0 ? helper->watches.fd : helper->place.mountinfo_fd,
                         helper->place.mountinfo_fd,
                         helper->locks_fd >= 0 ? helper->locks_fd : helper->place.mountinfo_fd,
                         ret_step);
}

int main(int argc, char *argv[])
{
    struct files_helper helper = {.watches = {.fd = -1, .root_wd = -1}, .locks_fd = -1};
    struct wire_empty ready = {0};
    const char *step = "start";
    int r;

    TAILQ_INIT(&helper.subtrees);
    helper.watches.place = &helper.place;
    helper.watches.output = &helper.output;
    helper.watches.appeared = on_appeared;
    helper.watches.link = on_link;
    helper.watches.vanished = on_vanished;
    helper.watches.root_gone = root_gone;
    helper.watches.userdata = &helper;
    helper.nests.place = &helper.place;
    helper.whole.nests = helper.part.nests = &helper.nests;
    helper.whole.place = helper.part.place = &helper.place;
    helper.whole.watches = helper.part.watches = &helper.watches;
    helper.whole.output = helper.part.output = &helper.output;
    r = prepare(&helper, argv, &step);
    if (r < 0) {
        struct wire_failed failed = {.error = r};

        wire_send(WIRE_FD, WIRE_FAILED, &failed, step, NULL, -1);
        _exit(2);
    }
    output_send(&helper.output, WIRE_READY, &ready, NULL, -1);
    serve(&helper);
}
