/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: what it says, kept in order when the client is slow. */
#pragma once

#include <sys/queue.h>

#include "helpers/wire.h"

struct output_packet;

struct output {
    STAILQ_HEAD(, output_packet) waiting;   /* what the socket did not take yet; initialized by
                                             * the owner */
    uint64_t sent;                          /* usec, CLOCK_MONOTONIC, of the last packet */
    size_t gathered_size;                   /* bytes of records of files that go out together */
    union wire_record gathered;
};

/* True when something waits: nothing that says more must be done until it is gone. */
bool output_is_full(const struct output *output);
/* Sends or keeps it; fd is taken over. Ends the program when the client is gone, or without
 * memory. */
void output_send(struct output *output, enum wire_type type, void *record, const char *text,
                 int fd);
/* Sends what was gathered, and what waits, as far as the socket takes it. */
void output_flush(struct output *output);

/* Goes out with others like it: by the next output_flush() or output_send(). */
void output_record(struct output *output, enum files_event event, const char *path, int error,
                   const struct files_stat *stat);
/* Of a walk: a file that appeared, and who has it open. */
void output_probed(struct output *output, const char *path, const struct files_stat *stat,
                   enum files_use use);

/* The same: path is left out, or a file system is mounted there (FILES_LEFT_NONE). target may be
 * NULL. */
void output_left_out(struct output *output, const char *path, enum files_left_out why,
                     const char *target);

/* A link at path is followed to the device. */
void output_device(struct output *output, const char *path, const struct files_stat *stat,
                   const char *device);

