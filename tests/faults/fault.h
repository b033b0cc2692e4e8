/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes the n-th call of a kind fail, in this process: linked into a test, or preloaded
 * (fault-loop). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum fault_kind {
    FAULT_MEMORY,               /* malloc and all that takes memory: ENOMEM */
    FAULT_OPEN,                 /* EMFILE */
    FAULT_READ,                 /* EIO */
    FAULT_WRITE,                /* ENOSPC */
    FAULT_SYNC,                 /* EIO */
    FAULT_SEND,                 /* ENOBUFS */
    FAULT_RECEIVE,              /* ENOMEM */
    FAULT_THREAD,               /* EAGAIN */
    _FAULT_KIND_MAX,
};

#define FAULT_FRAMES 12

/* What the loop and the processes that it disturbs share; the loop knows its layout. */
struct fault_state {
    uint64_t counted[_FAULT_KIND_MAX];
    uint64_t fired;             /* how many calls failed */
    struct {
        char object[40];        /* the end of its path */
        uint64_t offset;        /* in it */
    } frames[FAULT_FRAMES];     /* who called, when the first one failed */
};

/* The n-th call from now on fails, counted from 1; `on`: those after it, too. */
void fault_arm(enum fault_kind kind, uint64_t n, bool on);
/* None fails any more; how many did. */
uint64_t fault_disarm(void);
/* Calls of a kind since fault_arm(). */
uint64_t fault_counted(enum fault_kind kind);
/* Who made the call that failed first, for a debugger or addr2line: one line each, to stderr. */
void fault_show(void);
