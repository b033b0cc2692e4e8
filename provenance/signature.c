/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starts qcaudit-signature with the files of a signature and nothing else, and understands what it
 * says. */
#include "provenance/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helpers/client.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "helpers/trust.h"
#include "helpers/write.h"
#include "provenance/signature-part.h"

#define DEADLINE (60 * USEC_PER_SEC)
#define ANSWER_MAX (256 * 1024)
#define TEXT_MAX (64 * 1024 * 1024)

/* ---- files ----------------------------------------------------------------------------------- */

static int open_plain(const char *path, int *ret_fd, char **ret_why)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    struct stat st;

    *ret_why = NULL;
    if (fd < 0 && errno == ELOOP) {
        *ret_why = strdup("it is a symbolic link, which may lead elsewhere tomorrow");
        return -ELOOP;
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode)) {
        *ret_why = strdup("it is no regular file");
        return -EMEDIUMTYPE;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int signature_open(const char *path, bool trusted, int *ret_fd, char **ret_why)
{
    _cleanup_close_ int fd = -1;
    int r = open_plain(path, &fd, ret_why);

    if (r >= 0 && trusted)
        r = config_trust(path, false, ret_why);
    if (r >= 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

int signature_memory(const void *bytes, size_t size, int *ret_fd)
{
    _cleanup_close_ int fd = memfd_create("qcaudit-signature", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r = fd < 0 ? -errno : write_all(fd, bytes, size);

    if (r < 0)
        return r;
    if (lseek(fd, 0, SEEK_SET) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* gpgv reads no armour in keyrings: a vendor's .asc is taken out of it. */
static int plain_keyring(int keys, int *ret_fd, struct signature_result *result)
{
    _cleanup_free_ char *bytes = NULL;
    size_t size;
    int r = signature_read(keys, SIGNATURE_SMALL_MAX, &bytes, &size);

    if (r == -EFBIG)
        return signature_say(result, SIGNATURE_UNUSABLE, "the keyring is larger than 1 MiB");
    if (r < 0)
        return r;
    if (armour_decode(bytes, &size) < 0)
        return signature_say(result, SIGNATURE_UNUSABLE, "the keyring's armour is damaged");
    return signature_memory(bytes, size, ret_fd);
}

/* ---- the process ----------------------------------------------------------------------------- */

struct asking {
    int fds[_SIGNATURE_FD_MAX];         /* the child's, by number; -1: /dev/null */
    char answer[ANSWER_MAX];
    size_t size;
    int status;                         /* of waitpid() */
};

/* Moves the files up, so that none is overwritten before it is in its place. */
static int add_files(posix_spawn_file_actions_t *actions, const int fds[], int moved[])
{
    for (int i = 0; i < _SIGNATURE_FD_MAX; i++) {
        int r;

        if (fds[i] < 0) {
            r = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
        } else {
            moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 32);
            r = moved[i] < 0 ? errno : posix_spawn_file_actions_adddup2(actions, moved[i], i);
        }
        if (r != 0)
            return -r;
    }
    return -posix_spawn_file_actions_addclosefrom_np(actions, _SIGNATURE_FD_MAX);
}

static int spawn(char *const arguments[], const int fds[], pid_t *ret_pid)
{
    char *const environment[] = { NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int moved[_SIGNATURE_FD_MAX], r;
    sigset_t none, all;

    for (int i = 0; i < _SIGNATURE_FD_MAX; i++)
        moved[i] = -1;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    r = add_files(&actions, fds, moved);
    if (r >= 0)
        r = -posix_spawn(ret_pid, arguments[0], &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < _SIGNATURE_FD_MAX; i++)
        closep(&moved[i]);
    return r;
}

/* What it says until it closes the pipe. */
static int listen_to(int fd, struct asking *asking)
{
    uint64_t end = usec_now(CLOCK_MONOTONIC) + DEADLINE, now;

    while ((now = usec_now(CLOCK_MONOTONIC)) < end) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        ssize_t n;

        if (poll(&pollfd, 1, (int)((end - now) / 1000) + 1) <= 0)
            continue;
        n = read(fd, asking->answer + asking->size, sizeof(asking->answer) - asking->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return asking->size < sizeof(asking->answer) ? 0 : -EMSGSIZE;
        asking->size += (size_t)n;
    }
    return -ETIMEDOUT;
}

static int run(char *const arguments[], int answer_fd, struct asking *asking)
{
    _cleanup_close_ int read_end = -1, write_end = -1;
    int ends[2], r;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    read_end = ends[0];
    write_end = ends[1];
    asking->fds[answer_fd] = write_end;
    r = spawn(arguments, asking->fds, &pid);
    if (r < 0)
        return r;
    close(TAKE_FD(write_end));
    r = listen_to(read_end, asking);
    if (r < 0)
        (void)kill(pid, SIGKILL);
    while (waitpid(pid, &asking->status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return r;
}

/* ---- what it says ---------------------------------------------------------------------------- */

/* "PROBLEM KEY REASON", of a program of ours that read hostile bytes. */
static int understand(struct asking *asking, struct signature_result *result)
{
    char *key, *reason;

    if (asking->size == 0 || asking->size >= sizeof(asking->answer) ||
        !WIFEXITED(asking->status) || WEXITSTATUS(asking->status) != 0)
        return signature_say(result, SIGNATURE_UNUSABLE, "qcaudit-signature ended early");
    asking->answer[asking->size] = '\0';
    key = strchr(asking->answer, ' ');
    reason = key ? strchr(key + 1, ' ') : NULL;
    if (!reason || !text_is_safe(asking->answer, asking->size) ||
        reason - key > SIGNATURE_KEY_MAX + 1)
        return signature_say(result, SIGNATURE_UNUSABLE, "qcaudit-signature is not understood");
    *key++ = *reason++ = '\0';
    for (int i = 0; i < _SIGNATURE_PROBLEM_MAX; i++)
        if (strcmp(signature_problem_name((enum signature_problem)i), asking->answer) == 0) {
            (void)signature_say(result, (enum signature_problem)i, "%s", reason);
            if (i == SIGNATURE_GOOD && strcmp(key, "-") != 0)
                strcpy(result->key, key);
            return 0;
        }
    return signature_say(result, SIGNATURE_UNUSABLE, "qcaudit-signature is not understood");
}

static int ask_openpgp(const char *program, const struct signature_ask *ask, struct asking *asking,
                       struct signature_result *result)
{
    char *const arguments[] = {
        (char *)(uintptr_t)program, (char *)(uintptr_t)"openpgp",
        (char *)(uintptr_t)(ask->signature >= 0 ? "detached" : "clear"), NULL,
    };
    _cleanup_close_ int output = -1, keyring = -1;
    int r = plain_keyring(ask->keys, &keyring, result);

    if (r < 0 || keyring < 0)
        return r;
    output = memfd_create("qcaudit-signed", MFD_CLOEXEC);
    if (output < 0)
        return -errno;
    asking->fds[SIGNATURE_FD_OUTPUT] = output;
    asking->fds[SIGNATURE_FD_KEYS] = keyring;
    r = run(arguments, SIGNATURE_FD_STATUS, asking);
    if (r < 0)
        return r;
    if (!WIFEXITED(asking->status))
        return signature_say(result, SIGNATURE_UNUSABLE, "gpgv was ended by signal %d",
                             WTERMSIG(asking->status));
    if (WEXITSTATUS(asking->status) == 127)
        return signature_say(result, SIGNATURE_UNUSABLE, "gpgv could not be started: it is in the "
                                                         "package gpgv, or gnupg2");
    openpgp_judge(asking->answer, asking->size, WEXITSTATUS(asking->status), ask->pinned,
                  ask->signature >= 0, result);
    if (result->problem == SIGNATURE_GOOD && ask->signature < 0)
        return signature_read(output, TEXT_MAX, &result->text, &result->size);
    return 0;
}

/* Of clear-signed files: what gpgv would pass over is looked for before. */
static int is_clean(const struct signature_ask *ask, struct signature_result *result)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = signature_read(ask->data, TEXT_MAX, &text, &size);

    if (r == -EFBIG)
        return signature_say(result, SIGNATURE_TOO_LARGE, "a clear-signed file is larger than "
                                                          "64 MiB");
    return r < 0 ? r : openpgp_is_clean(text, size, result);
}

static int ask_program(const char *program, const struct signature_ask *ask, struct asking *asking,
                       struct signature_result *result)
{
    char *const arguments[] = {
        (char *)(uintptr_t)program,
        (char *)(uintptr_t)(ask->method == SIGNATURE_X509 ? "x509" : "pem"),
        (char *)(uintptr_t)(ask->pinned ? ask->pinned : ""), NULL,
    };
    int r;

    if (ask->method == SIGNATURE_OPENPGP) {
        r = ask->signature < 0 ? is_clean(ask, result) : 1;
        return r > 0 ? ask_openpgp(program, ask, asking, result) : r;
    }
    r = run(arguments, SIGNATURE_FD_ANSWER, asking);
    return r < 0 ? r : understand(asking, result);
}

int signature_verify(const struct signature_ask *ask, struct signature_result *ret_result)
{
    _cleanup_free_ struct asking *asking = malloc(sizeof(*asking));
    struct signature_result result = { .problem = SIGNATURE_UNUSABLE };
    _cleanup_free_ char *program = NULL;
    int r = asking ? helper_program("qcaudit-signature", &program) : -ENOMEM;

    if (r < 0)
        return r;
    asking->size = 0;
    for (int i = 0; i < _SIGNATURE_FD_MAX; i++)
        asking->fds[i] = -1;
    asking->fds[SIGNATURE_FD_DATA] = ask->data;
    asking->fds[SIGNATURE_FD_SIGNATURE] = ask->signature;
    asking->fds[SIGNATURE_FD_KEYS] = ask->keys;
    asking->fds[SIGNATURE_FD_CERTIFICATES] = ask->certificates;
    if (ask->method == SIGNATURE_OPENPGP && !openpgp_fingerprints_are_sound(ask->pinned))
        r = signature_say(&result, SIGNATURE_UNUSABLE, "a fingerprint is 40 or 64 hexadecimal "
                                                       "digits");
    else
        r = ask_program(program, ask, asking, &result);
    if (r < 0)
        return r;
    *ret_result = result;
    return 0;
}

void signature_result_done(struct signature_result *result)
{
    free(result->text);
    *result = (struct signature_result){ .problem = SIGNATURE_UNUSABLE };
}
