/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: /proc/self/mountinfo, line by line as proc(5) says. */
#include "helpers/files-mount.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "helpers/proc-file.h"
#include "lib/cleanup.h"

#define TABLE_MAX (8u << 20)    /* bytes */

/* \040 and the like, in place. */
static void unescape(char *text)
{
    char *out = text;

    for (char *p = text; *p; p++) {
        if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
            p[3] >= '0' && p[3] <= '7') {
            *out++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 3;
        } else
            *out++ = *p;
    }
    *out = '\0';
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": false for any other line. */
static bool parse_line(char *line, struct mount *ret_mount)
{
    char *field[5], *save, *word, *type, *source, *colon;

    word = strtok_r(line, " ", &save);
    for (size_t i = 0; i < ELEMENTSOF(field); i++, word = strtok_r(NULL, " ", &save)) {
        if (!word)
            return false;
        field[i] = word;
    }
    while (word && strcmp(word, "-") != 0)
        word = strtok_r(NULL, " ", &save);
    type = word ? strtok_r(NULL, " ", &save) : NULL;
    source = type ? strtok_r(NULL, " ", &save) : NULL;
    if (!source)
        return false;
    unescape(field[3]);
    unescape(field[4]);
    unescape(type);
    unescape(source);
    colon = strchr(field[2], ':');
    *ret_mount = (struct mount){
        .id = strtoull(field[0], NULL, 10),
        .device = makedev(strtoul(field[2], NULL, 10), colon ? strtoul(colon + 1, NULL, 10) : 0),
        .root = field[3], .point = field[4], .type = type, .source = source,
    };
    return true;
}

int mount_table_read(int fd, struct mount_table *ret_table)
{
    struct mount_table table = {0};
    size_t lines = 0;
    char *save;
    int r;

    r = proc_file_read(fd, TABLE_MAX, &table.text);
    if (r < 0)
        return r;
    for (const char *p = table.text; *p; p++)
        lines += *p == '\n';
    table.mounts = calloc(lines + 1, sizeof(*table.mounts));
    if (!table.mounts) {
        free(table.text);
        return -ENOMEM;
    }
    for (char *line = strtok_r(table.text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (table.n_mounts <= lines && parse_line(line, &table.mounts[table.n_mounts]))
            table.n_mounts++;
    *ret_table = table;
    return 0;
}

void mount_table_done(struct mount_table *table)
{
    free(table->text);
    free(table->mounts);
}

const struct mount *mount_table_find(const struct mount_table *table, uint64_t id)
{
    for (size_t i = 0; i < table->n_mounts; i++)
        if (table->mounts[i].id == id)
            return &table->mounts[i];
    return NULL;
}

const struct mount *mount_table_at(const struct mount_table *table, const char *path)
{
    /* the last one lies on top */
    for (size_t i = table->n_mounts; i > 0; i--)
        if (strcmp(table->mounts[i - 1].point, path) == 0)
            return &table->mounts[i - 1];
    return NULL;
}

bool mount_type_is_remote(const char *type)
{
    static const char *const remote[] = {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "9p", "afs", "gfs2", "ocfs2", "lustre",
        "glusterfs", "gpfs",
        "orangefs", "coda", "virtiofs", "vboxsf", "autofs", "fuse",
    };

    /* fuse.sshfs, but not fuseblk */
    if (strncmp(type, "fuse.", 5) == 0)
        return true;
    for (size_t i = 0; i < ELEMENTSOF(remote); i++)
        if (strcmp(type, remote[i]) == 0)
            return true;
    return false;
}

static uint64_t hash_add(uint64_t hash, const char *text)
{
    /* FNV-1a, 64 bits, the NUL included so that two texts do not run together */
    do
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    while (*text++);
    return hash;
}

uint64_t mount_identity(const struct mount *mount)
{
    uint64_t hash = hash_add(hash_add(UINT64_C(0xcbf29ce484222325), mount->type), mount->source);

    /* "tmpfs" and "overlay" name nothing; where it is mounted does */
    if (!strchr(mount->source, '/') && !strchr(mount->source, ':'))
        hash = hash_add(hash, mount->point);
    return hash;
}
