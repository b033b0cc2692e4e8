/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* May others change what the daemon relies upon: its configuration, its folders? */
#include "helpers/trust.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helpers/text.h"
#include "lib/cleanup.h"

#define LINKS_MAX 40
#define TRUSTED_MAX 8
#define RECORD_MAX (256 * 1024)     /* bytes: a group with all its members */

enum trail_role { ROLE_ABOVE, ROLE_HOLDS, ROLE_ITSELF };

/* Is it this user's group, and nobody else in it? Asked only where it matters. */
static bool is_own_group(gid_t gid)
{
    _cleanup_free_ char *record = malloc(RECORD_MAX), *user_record = malloc(RECORD_MAX);
    struct group group, *found = NULL;
    struct passwd user, *found_user = NULL;

    if (!record || !user_record || gid != getegid() ||
        getgrgid_r(gid, &group, record, RECORD_MAX, &found) != 0 || !found ||
        getpwuid_r(geteuid(), &user, user_record, RECORD_MAX, &found_user) != 0 || !found_user)
        return false;
    for (char **member = group.gr_mem; *member; member++)
        if (strcmp(*member, user.pw_name) != 0)
            return false;
    return true;
}

/* Users who may change this very program, as where it was built in somebody's own folder: they gain
 * nothing by changing what it reads. */
struct trusted {
    uid_t uids[TRUSTED_MAX];
    gid_t gids[TRUSTED_MAX];
    size_t n_uids, n_gids;
};

static bool trusts_user(const struct trusted *trusted, uid_t uid)
{
    for (size_t i = 0; i < trusted->n_uids; i++)
        if (trusted->uids[i] == uid)
            return true;
    return uid == 0 || uid == geteuid();
}

static bool trusts_group(const struct trusted *trusted, gid_t gid)
{
    for (size_t i = 0; i < trusted->n_gids; i++)
        if (trusted->gids[i] == gid)
            return true;
    return gid == 0;
}

static void trust_owners(struct trusted *trusted, const struct stat *st)
{
    if (!trusts_user(trusted, st->st_uid) && trusted->n_uids < TRUSTED_MAX)
        trusted->uids[trusted->n_uids++] = st->st_uid;
    if ((st->st_mode & (S_IWGRP | S_ISVTX)) == S_IWGRP && !trusts_group(trusted, st->st_gid) &&
        trusted->n_gids < TRUSTED_MAX)
        trusted->gids[trusted->n_gids++] = st->st_gid;
}

/* The kernel's name of it has no links. */
static void trusted_of_program(struct trusted *trusted)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    struct stat st;

    *trusted = (struct trusted){ .n_uids = 0 };
    if (n <= 0)
        return;
    path[n] = '\0';
    while (path[0] != '\0') {
        if (lstat(path, &st) == 0)
            trust_owners(trusted, &st);
        *strrchr(path, '/') = '\0';
    }
}

/* Says in words who else may change the file; NULL: nobody. */
static int who_may(const struct trusted *trusted, const char *path, const struct stat *st,
                   enum trail_role role, char **ret_who)
{
    _cleanup_free_ char *shown = NULL;
    const bool group_writes = st->st_mode & S_IWGRP, all_write = st->st_mode & S_IWOTH;
    const unsigned mode = st->st_mode & 07777;
    int r;

    *ret_who = NULL;
    if (trusts_user(trusted, st->st_uid)) {
        if (S_ISLNK(st->st_mode) || (!group_writes && !all_write))
            return 0;
        if (role != ROLE_ITSELF && S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX)
            return 0;
        if (!all_write && (trusts_group(trusted, st->st_gid) ||
                           (role == ROLE_ABOVE && st->st_uid == 0) ||
                           is_own_group(st->st_gid)))
            return 0;
    }
    shown = text_escape_string(path);
    if (!shown)
        return -ENOMEM;
    if (!trusts_user(trusted, st->st_uid))
        r = asprintf(ret_who,
                     "%s belongs to the user %u, who is neither root nor the daemon's (mode %04o)",
                     shown, st->st_uid, mode);
    else if (all_write)
        r = asprintf(ret_who, "%s may be written by everybody (mode %04o)", shown, mode);
    else
        r = asprintf(ret_who, "%s may be written by the group %u (mode %04o)", shown, st->st_gid,
                     mode);
    if (r < 0) {
        *ret_who = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* The state of following a path, name by name. */
struct trail {
    char done[PATH_MAX];        /* looked at, without links; ends in no slash, "" is / */
    char rest[PATH_MAX];        /* what is to come */
    unsigned links;
    bool folder;                /* it is asked of a folder */
    struct trusted trusted;
};

/* The next name of the rest, which begins behind it then. NULL: there is none. */
static char *next_name(struct trail *trail, char *name)
{
    char *begin = trail->rest + strspn(trail->rest, "/");
    size_t length = strcspn(begin, "/");

    if (length == 0 || length > NAME_MAX)
        return NULL;
    memcpy(name, begin, length);
    name[length] = '\0';
    memmove(trail->rest, begin + length, strlen(begin + length) + 1);
    return name;
}

static void go_up(struct trail *trail)
{
    char *slash = strrchr(trail->done, '/');

    if (slash)
        *slash = '\0';
}

/* At a link, the link's target comes before the rest of the path. */
static int follow(struct trail *trail)
{
    char target[PATH_MAX], rest[PATH_MAX];
    ssize_t n = readlink(trail->done, target, sizeof(target) - 1);

    if (n < 0)
        return -errno;
    target[n] = '\0';
    if (++trail->links > LINKS_MAX)
        return -ELOOP;
    if ((size_t)snprintf(rest, sizeof(rest), "%s/%s", target, trail->rest) >= sizeof(rest))
        return -ENAMETOOLONG;
    strcpy(trail->rest, rest);
    if (target[0] == '/')
        trail->done[0] = '\0';
    else
        go_up(trail);
    return 0;
}

static enum trail_role role_of(const struct trail *trail)
{
    const char *after = trail->rest + strspn(trail->rest, "/");

    if (*after == '\0')
        return ROLE_ITSELF;
    if (trail->folder)
        return ROLE_ABOVE;
    after += strcspn(after, "/");
    return after[strspn(after, "/")] == '\0' ? ROLE_HOLDS : ROLE_ABOVE;
}

/* Looks at what it is at, and goes on from where a link leads. */
static int look(struct trail *trail, char **ret_who)
{
    const char *path = trail->done[0] ? trail->done : "/";
    struct stat st;
    int r;

    if (lstat(path, &st) < 0)
        return -errno;
    r = who_may(&trail->trusted, path, &st, role_of(trail), ret_who);
    if (r < 0 || *ret_who || !S_ISLNK(st.st_mode))
        return r;
    return follow(trail);
}

static int trail_begin(struct trail *trail, const char *path, bool folder)
{
    size_t length = 0;

    *trail = (struct trail){ .folder = folder };
    trusted_of_program(&trail->trusted);
    if (path[0] != '/') {
        if (!getcwd(trail->rest, sizeof(trail->rest)))
            return -errno;
        length = strlen(trail->rest);
    }
    if ((size_t)snprintf(trail->rest + length, sizeof(trail->rest) - length, "/%s", path) >=
        sizeof(trail->rest) - length)
        return -ENAMETOOLONG;
    return 0;
}

int config_trust(const char *path, bool folder, char **ret_who)
{
    char name[NAME_MAX + 1];
    struct trail trail;
    char *who = NULL;
    int r = trail_begin(&trail, path, folder);

    if (r >= 0)
        r = look(&trail, &who);
    while (r >= 0 && !who && next_name(&trail, name)) {
        size_t length = strlen(trail.done);

        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            go_up(&trail);
            continue;
        }
        if ((size_t)snprintf(trail.done + length, sizeof(trail.done) - length, "/%s", name) >=
            sizeof(trail.done) - length)
            return 0;
        r = look(&trail, &who);
    }
    if (r == -ENOMEM || !who)
        return r == -ENOMEM ? r : 0;
    *ret_who = who;
    return -EPERM;
}
