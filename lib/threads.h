/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs on a pool of threads that its owner started: the one who waits helps. */
#pragma once

#include <sys/queue.h>

#include "qcaudit/qcaudit.h"

enum job_state { JOB_IDLE, JOB_WAITING, JOB_RUNNING, JOB_DONE };

/* Embedded in what the job is about; zeroed before its first use. */
struct thread_job {
    void (*run)(struct thread_job *job);
    enum job_state state;
    TAILQ_ENTRY(thread_job) link;       /* while it waits */
};

/* Threads that work, the caller's own among them: 1 for NULL. */
unsigned threads_count(const struct qca_threads *threads);
/* Has job->run called some time, on any thread. Without other threads that is in threads_wait(). */
void threads_submit(struct qca_threads *threads, struct thread_job *job);
/* Until a job that was submitted is done; runs it, or those that wait, on this thread meanwhile.
 * Jobs never wait. */
void threads_wait(struct qca_threads *threads, struct thread_job *job);
/* As threads_wait(), but runs no other job meanwhile: for jobs of which one at a time is enough. */
void threads_await(struct qca_threads *threads, struct thread_job *job);
/* Until no thread has to do with it any more, done or never begun; a job that is idle may be
 * dropped, too. */
void threads_drop(struct qca_threads *threads, struct thread_job *job);
