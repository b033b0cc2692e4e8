/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Do others wait for the disk? The kernel's pressure stall information (PSI), less what our own
 * reading causes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* ---- the measure, pure ----------------------------------------------------------------------- */

/* How long some process waited for the disk, in all, at a time. */
struct pressure_sample {
    uint64_t at;                /* usec, monotonic */
    uint64_t all;               /* usec that any process of the host waited ("some" of
                                 * /proc/pressure/io) */
    uint64_t own;               /* usec that any of our own control group did, */
    bool has_own;               /* if that is known */
};

enum pressure_phase {
    PRESSURE_READING,           /* scrubs read */
    PRESSURE_SETTLING,          /* they were stopped: what is under way ends, */
    PRESSURE_GLANCING,          /* and what is waited for now is waited for by others: */
    PRESSURE_MEASURING,         /* somebody does, and it is looked at for longer */
    PRESSURE_PAUSED,            /* others waited too much */
};

struct pressure_gauge {
    uint64_t limit;             /* parts per 10,000 of the time */
    enum pressure_phase phase;
    struct pressure_sample last;
    uint64_t others;            /* parts per 10,000 of the time, as found last */
};

/* From the beginning: scrubs pause. Returns usec until the next sample. */
uint64_t pressure_gauge_start(struct pressure_gauge *gauge, uint64_t limit,
                              const struct pressure_sample *sample);
/* The next sample: returns whether scrubs must pause from now on, and *ret_wait: usec until the
 * next one. */
bool pressure_gauge_take(struct pressure_gauge *gauge, const struct pressure_sample *sample,
                         uint64_t *ret_wait);

/* "some ... total=N": *ret_usec. -EBADMSG for anything else. */
int pressure_parse(const char *text, uint64_t *ret_usec);
/* The control group's path of /proc/self/cgroup's text, cgroup2 only: malloc'd. -ENOENT when there
 * is none, or it is the root, which everybody is in. */
int pressure_own_group(const char *text, char **ret_path);

/* ---- the watch ------------------------------------------------------------------------------- */

struct pressure;

/* pause is called on every change, while it is watched. -ENOMEM, or sd_event's. */
int pressure_new(sd_event *event, void (*pause)(void *userdata, bool pause), void *userdata,
                 struct pressure **ret_pressure);
struct pressure *pressure_free(struct pressure *pressure);
/* limit: parts per 10,000 of the time, UINT64_MAX: nothing is watched. Only on does anything. When
 * it ends a pause ends. */
int pressure_watch(struct pressure *pressure, bool on, uint64_t limit);
/* The share of time that others waited lately, parts per 10,000. */
uint64_t pressure_of_others(const struct pressure *pressure);
