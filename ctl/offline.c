/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers from the daemon's database while no daemon runs: qcaudit-offline loads it and answers as
 * the daemon would. */
#include "ctl/offline.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helpers/client.h"
#include "helpers/json-text.h"
#include "helpers/process.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

static char *state_directory(const struct ctl *ctl)
{
    const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
    char *path;

    if (ctl->state_directory)
        return strdup(ctl->state_directory);
    if (geteuid() == 0 || access(CONTROL_SYSTEM_STATE_DIR, R_OK) == 0 || (!state && !home))
        return strdup(CONTROL_SYSTEM_STATE_DIR);
    if (state && *state)
        return asprintf(&path, "%s/qcaudit", state) < 0 ? NULL : path;
    return asprintf(&path, "%s/.local/state/qcaudit", home) < 0 ? NULL : path;
}

/* Until the other side closes it. */
static int read_all(int fd, char **ret_text, size_t *ret_size)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0, n_room = 0;
    ssize_t n;

    for (;;) {
        if (size == n_room) {
            char *grown = realloc(text, n_room > 0 ? 2 * n_room : 65536);

            if (!grown)
                return -ENOMEM;
            text = grown;
            n_room = n_room > 0 ? 2 * n_room : 65536;
        }
        n = read(fd, text + size, n_room - size);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        size += n > 0 ? (size_t)n : 0;
    }
    *ret_text = TAKE_PTR(text);
    *ret_size = size;
    return 0;
}

/* Returns the program's output until its end; -EPIPE when it fails. */
static int run(char *const arguments[], char **ret_text, size_t *ret_size)
{
    _cleanup_close_ int ours = -1, pidfd = -1;
    int fds[2], status = 0, r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    ours = fds[0];
    r = process_spawn(arguments, fds[1], &pid, &pidfd);
    close(fds[1]);
    if (r < 0)
        return r;
    r = read_all(ours, ret_text, ret_size);
    (void)shutdown(ours, SHUT_RDWR);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return r == 0 && status != 0 ? -EPIPE : r;
}

static int take_answer(const char *text, size_t size, json_object **ret_answer)
{
    _cleanup_(json_object_putp) json_object *all = NULL;
    json_object *value;
    int error, r = json_text_parse(text, size, &all);

    if (r < 0)
        return complain(r, "Cannot read the answer of qcaudit-offline");
    if (!json_object_object_get_ex(all, "error", &value)) {
        *ret_answer = json_object_get(row_member(all, "answer"));
        return *ret_answer ? 0 : complain(-EBADMSG, "Cannot read the answer of qcaudit-offline");
    }
    error = json_object_get_int(value);
    if (row_has(all, "message"))
        return complain(0, "%s.", row_raw(all, "message")), error < 0 ? error : -EIO;
    return complain(error < 0 ? error : -EIO, "Cannot ask the database");
}

int offline_ask(struct ctl *ctl, const char *question, json_object *filter, const char *path,
                json_object **ret_answer)
{
    _cleanup_(json_object_putp) json_object *arguments = json_object_new_object();
    _cleanup_free_ char *directory = state_directory(ctl), *program = NULL, *text = NULL;
    size_t size;
    int r = arguments && directory ? 0 : -ENOMEM;

    if (r >= 0 && filter)
        r = json_add(arguments, "filter", json_object_get(filter));
    if (r >= 0 && path)
        r = json_add(arguments, "path", json_object_new_string(path));
    if (r >= 0)
        r = json_add(arguments, "limit", json_object_new_int((int)ctl->lines));
    if (r >= 0)
        r = helper_program("qcaudit-offline", &program);
    if (r >= 0) {
        const char *json = json_object_to_json_string_ext(arguments, JSON_C_TO_STRING_PLAIN);

        r = json ? run((char *[]){ program, directory, (char *)(uintptr_t)question,
                                   (char *)(uintptr_t)json, NULL }, &text, &size)
                 : -ENOMEM;
    }
    if (r < 0)
        return complain(r, "Cannot ask the database with %s", program ?: "qcaudit-offline");
    return take_answer(text, size, ret_answer);
}
