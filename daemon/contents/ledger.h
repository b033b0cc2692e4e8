/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal of baselines and acknowledgements: a text file of its own beside the database, which
 * outlives it. May be copied elsewhere while the daemon runs.
 *
 * One entry per line: CRC-32 of the rest as 8 hexadecimal digits, a blank, an object of JSON on one
 * line. The first one is {"journal":1}. A later entry of the same thing counts. Written by the
 * store's thread, synced at each write. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LEDGER_LINE_MAX (UINT64_C(1) << 20)    /* bytes */
#define LEDGER_SIZE_MAX (UINT64_C(1) << 30)    /* beyond that it is not read: -EFBIG */

/* Opens a file of the state directory, which is not taken for granted: a pipe holds nobody up, no
 * link is followed, and what is no file is -EBADMSG. flags: O_RDONLY or O_WRONLY, with O_CREAT,
 * O_APPEND, O_TRUNC. */
int state_file_open_fd(const char *path, int flags, int *ret_fd);
/* For reading. NULL and errno. */
FILE *state_file_open(const char *path);
/* The process lacks something for the moment: that says nothing about the file. */
bool state_error_passes(int error);

struct ledger_report {
    uint64_t entries;
    uint64_t damaged;           /* lines whose checksum or text is wrong: they were left out */
    uint64_t first_damaged;     /* number of the first, from 1 on; 0 none */
    bool torn;                  /* the last line has no end: the power failed while it was
                                 * written */
    uint64_t end;               /* byte behind the last whole line */
};

/* Hands over each entry in order; entry is borrowed. Stops when it returns a negative value, and
 * returns that: but -EBADMSG makes the line a damaged one. */
int ledger_read(FILE *file, int (*entry)(void *userdata, json_object *entry), void *userdata,
                struct ledger_report *ret_report);
/* One line with its checksum and newline; malloc'd. */
int ledger_line(json_object *entry, char **ret_line);
/* Appends lines (whole ones) and syncs; a new file begins with its first line. */
int ledger_append(const char *path, const char *lines, size_t size);
/* Replaces it by these lines, atomically. */
int ledger_rewrite(const char *path, const char *lines, size_t size);
/* Cuts off what is behind the last whole line. */
int ledger_cut(const char *path, uint64_t end);
