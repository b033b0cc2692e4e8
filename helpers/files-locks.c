/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: /proc/locks, line by line as proc(5) says. */
#include "helpers/files-locks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/proc-file.h"
#include "lib/cleanup.h"

#define TEXT_MAX (16u << 20)    /* bytes: some 250,000 locks */
/* QEMU's locks: a byte per permission from 100 on, and per permission that is not shared from 200
 * on (block/file-posix.c). */
#define LOCKS_FIRST 100
#define LOCKS_LAST 299

bool lock_line_parse(const char *line, uint64_t *ret_inode)
{
    char kind[16], mode[16], access[16], end[24];
    unsigned long long number, inode, start, last;
    unsigned major, minor;
    long long pid;

    /* "1: OFDLCK ADVISORY  WRITE -1 08:01:1234 100 101"; "1: -> ..." only waits. */
    if (sscanf(line, "%llu: %15s %15s %15s %lld %x:%x:%llu %llu %23s", &number, kind, mode, access,
               &pid, &major, &minor, &inode, &start, end) != 10)
        return false;
    last = strcmp(end, "EOF") == 0 ? UINT64_MAX : strtoull(end, NULL, 10);
    if (strcmp(kind, "->") == 0 || start > LOCKS_LAST || last < LOCKS_FIRST)
        return false;
    *ret_inode = inode;
    return true;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

int lock_table_read(int fd, struct lock_table *table)
{
    _cleanup_free_ uint64_t *inodes = NULL;
    _cleanup_free_ char *text = NULL;
    size_t n = 0, n_lines = 1;
    char *save = NULL;
    int r = proc_file_read(fd, TEXT_MAX, &text);

    if (r < 0)
        return r;
    for (const char *c = text; *c; c++)
        n_lines += *c == '\n';
    inodes = calloc(n_lines, sizeof(*inodes));
    if (!inodes)
        return -ENOMEM;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        n += lock_line_parse(line, &inodes[n]);
    qsort(inodes, n, sizeof(*inodes), compare);
    lock_table_done(table);
    *table = (struct lock_table){ .inodes = TAKE_PTR(inodes), .n_inodes = n };
    return 0;
}

bool lock_table_has(const struct lock_table *table, uint64_t inode)
{
    return table->n_inodes > 0 &&
           bsearch(&inode, table->inodes, table->n_inodes, sizeof(inode), compare);
}

void lock_table_done(struct lock_table *table)
{
    free(table->inodes);
    *table = (struct lock_table){ .inodes = NULL };
}
