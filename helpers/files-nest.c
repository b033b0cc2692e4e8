/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: file systems mounted below the root, and which of them are looked into: decided by
 * the table of mounts alone, so that none that hangs is touched. */
#include "helpers/files-nest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/path.h"
#include "lib/cleanup.h"

/* A part of a file system: what a mount shows, or the directory of a datastore. */
struct area {
    uint64_t device;
    char path[PATH_MAX];        /* within the file system */
};

bool mount_type_is_pseudo(const char *type)
{
    static const char *const pseudo[] = {
        "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "securityfs", "debugfs",
        "tracefs", "configfs", "fusectl", "mqueue", "hugetlbfs", "bpf", "pstore", "efivarfs",
        "binfmt_misc", "rpc_pipefs", "nsfs", "nfsd", "selinuxfs", "smackfs", "resctrl",
    };

    for (size_t i = 0; i < ELEMENTSOF(pseudo); i++)
        if (strcmp(type, pseudo[i]) == 0)
            return true;
    return false;
}

static void area_of_mount(const struct mount *mount, struct area *ret_area)
{
    ret_area->device = mount->device;
    snprintf(ret_area->path, sizeof(ret_area->path), "%s", mount->root);
}

/* Finds the area of an absolute path, which has no links in it. False: no mount is known there. */
static bool area_of_path(const struct mount_table *table, const char *path, struct area *ret_area)
{
    const struct mount *best = NULL;
    const char *rest;
    int n;

    for (size_t i = 0; i < table->n_mounts; i++)
        if (path_is_below(path, table->mounts[i].point) &&
            (!best || strlen(table->mounts[i].point) >= strlen(best->point)))
            best = &table->mounts[i];
    if (!best)
        return false;
    rest = path + (strcmp(best->point, "/") == 0 ? 0 : strlen(best->point));
    ret_area->device = best->device;
    n = snprintf(ret_area->path, sizeof(ret_area->path), "%s%s",
                 strcmp(best->root, "/") == 0 && *rest ? "" : best->root, rest);
    return n < (int)sizeof(ret_area->path);
}

/* Does a show all of b? */
static bool area_holds(const struct area *a, const struct area *b)
{
    return a->device == b->device && path_is_below(b->path, a->path);
}

/* "server:/export" is of "server". */
static bool is_of_one_server(const struct mount *a, const struct mount *b)
{
    size_t n = strcspn(a->source, ":");

    return a->source[n] == ':' && strncmp(a->source, b->source, n + 1) == 0;
}

/* The server that the whole datastore hangs on is asked for its parts, too; no other one. */
static bool is_too_remote(const struct nests *nests, const struct mount *mount)
{
    const struct mount *root = NULL;

    if (!mount_type_is_remote(mount->type))
        return false;
    for (size_t i = 0; i < nests->table.n_mounts; i++)
        if (path_is_below(nests->place->real_root, nests->table.mounts[i].point) &&
            (!root || strlen(nests->table.mounts[i].point) >= strlen(root->point)))
            root = &nests->table.mounts[i];
    return !root || strcmp(root->type, mount->type) != 0 || !is_of_one_server(root, mount);
}

/* Is what it shows seen anyway: as a part of this datastore or as another one; or does it show
 * this datastore once more? */
static bool is_seen(const struct nests *nests, const struct nest *nest)
{
    const struct place *place = nests->place;
    struct area mine, other;

    area_of_mount(nest->mount, &mine);
    if (area_of_path(&nests->table, place->real_root, &other) &&
        (area_holds(&other, &mine) || area_holds(&mine, &other)))
        return true;
    for (size_t i = 0; i < place->n_allowed; i++)
        if (strcmp(place->allowed[i], place->real_root) != 0 &&
            (strcmp(place->allowed[i], nest->mount->point) == 0 ||
             (area_of_path(&nests->table, place->allowed[i], &other) &&
              other.device == mine.device && strcmp(other.path, mine.path) == 0)))
            return true;
    for (const struct nest *n = nests->items; n < nests->items + nests->n_items; n++) {
        if (n == nest || n->verdict != FILES_LEFT_NONE)
            continue;
        area_of_mount(n->mount, &other);
        if (area_holds(&other, &mine) && (n < nest || !area_holds(&mine, &other)))
            return true;
    }
    return false;
}

static void nests_judge(struct nests *nests)
{
    for (size_t i = 0; i < nests->n_items; i++) {
        struct nest *nest = &nests->items[i];

        nest->verdict = mount_type_is_pseudo(nest->mount->type) ? FILES_LEFT_PSEUDO :
                        is_too_remote(nests, nest->mount) ? FILES_LEFT_REMOTE :
                        nests->forbidden ? FILES_LEFT_FORBIDDEN : FILES_LEFT_NONE;
    }
    for (size_t i = 0; i < nests->n_items; i++) {
        struct nest *nest = &nests->items[i];

        if (nest->verdict <= FILES_LEFT_FORBIDDEN && is_seen(nests, nest))
            nest->verdict = FILES_LEFT_SEEN;
        /* Mounts on a mount that is left out are never reached. */
        for (size_t j = 0; j < i; j++)
            if (nests->items[j].verdict != FILES_LEFT_NONE &&
                path_is_below(nest->path, nests->items[j].path)) {
                nest->verdict = nests->items[j].verdict;
                break;
            }
    }
}

static int compare_nests(const void *a, const void *b)
{
    return strcmp(((const struct nest *)a)->path, ((const struct nest *)b)->path);
}

static int nests_add(struct nests *nests, const struct mount *mount)
{
    const struct place *place = nests->place;
    size_t n = strcmp(place->real_root, "/") == 0 ? 0 : strlen(place->real_root);
    struct nest *items;

    items = reallocarray(nests->items, nests->n_items + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    nests->items = items;
    items[nests->n_items] = (struct nest){ .mount = mount };
    if (asprintf(&items[nests->n_items].path, "%s%s",
                 strcmp(place->root, "/") == 0 ? "" : place->root, mount->point + n) < 0)
        return -ENOMEM;
    nests->n_items++;
    return 0;
}

int nests_read(struct nests *nests)
{
    const char *root = nests->place->real_root;
    int r;

    nests_done(nests);
    if (!root[0])
        return -ENOENT;
    r = mount_table_read(nests->place->mountinfo_fd, &nests->table);
    for (size_t i = 0; r == 0 && i < nests->table.n_mounts; i++) {
        const struct mount *mount = &nests->table.mounts[i];

        if (path_is_below(mount->point, root) && strcmp(mount->point, root) != 0 &&
            mount_table_at(&nests->table, mount->point) == mount)
            r = nests_add(nests, mount);
    }
    if (r < 0) {
        nests_done(nests);
        return r;
    }
    if (nests->n_items > 0)         /* qsort() takes no NULL */
        qsort(nests->items, nests->n_items, sizeof(*nests->items), compare_nests);
    nests_judge(nests);
    nests->known = true;
    return 0;
}

void nests_done(struct nests *nests)
{
    for (size_t i = 0; i < nests->n_items; i++)
        free(nests->items[i].path);
    free(nests->items);
    mount_table_done(&nests->table);
    nests->table = (struct mount_table){0};
    nests->items = NULL;
    nests->n_items = 0;
    nests->known = false;
}

const struct nest *nests_at(const struct nests *nests, const char *path)
{
    for (size_t i = 0; i < nests->n_items; i++)
        if (strcmp(nests->items[i].path, path) == 0)
            return &nests->items[i];
    return NULL;
}

bool nests_are_in(const struct nests *nests, const char *path)
{
    size_t n = strlen(path);

    /* of the root directory, the slash is all of it */
    if (n == 1)
        n = 0;
    for (size_t i = 0; i < nests->n_items; i++) {
        const char *below = nests->items[i].path + n;

        if (strncmp(nests->items[i].path, path, n) == 0 && below[0] == '/' &&
            !strchr(below + 1, '/'))
            return true;
    }
    return false;
}
