/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool of threads, and the queue of jobs before it. */
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "bytes.h"
#include "cleanup.h"

/* Of a thread: jobs read, inflate and hash, in buffers that they are given. */
#define STACK_SIZE (UINT64_C(512) << 10)

struct qca_threads {
    pthread_mutex_t lock;
    pthread_cond_t work;        /* jobs wait, or the end has come */
    pthread_cond_t done;        /* a job is done, and somebody waits */
    TAILQ_HEAD(, thread_job) waiting;
    unsigned begun;             /* threads that run */
    unsigned idle;              /* of them, those that wait for work */
    bool wanted;                /* done is waited for */
    bool ending;
    unsigned n;
    pthread_t ids[QCA_THREADS_MAX - 1];
};

DEFINE_CLEANUP(struct qca_threads *, qca_threads_free)

/* The queue's next; the lock is held. */
static struct thread_job *take(struct qca_threads *threads)
{
    struct thread_job *job = TAILQ_FIRST(&threads->waiting);

    if (!job)
        return NULL;
    TAILQ_REMOVE(&threads->waiting, job, link);
    job->state = JOB_RUNNING;
    return job;
}

/* The lock is held before and after. */
static void run(struct qca_threads *threads, struct thread_job *job)
{
    pthread_mutex_unlock(&threads->lock);
    job->run(job);
    pthread_mutex_lock(&threads->lock);
    job->state = JOB_DONE;
    if (threads->wanted)
        pthread_cond_broadcast(&threads->done);
}

static void *work(void *userdata)
{
    struct qca_threads *threads = userdata;
    struct thread_job *job;

    pthread_mutex_lock(&threads->lock);
    threads->begun++;
    pthread_cond_signal(&threads->done);
    while (!threads->ending) {
        job = take(threads);
        if (job) {
            run(threads, job);
            continue;
        }
        threads->idle++;
        pthread_cond_wait(&threads->work, &threads->lock);
        threads->idle--;
    }
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

/* A thread that no signal of the caller's is delivered to. */
static int start(struct qca_threads *threads, const pthread_attr_t *attributes)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    r = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (r != 0)
        return -r;
    r = pthread_create(&threads->ids[threads->n - 1], attributes, work, threads);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        threads->n++;
    return -r;
}

int qca_threads_new(unsigned n, struct qca_threads **ret_threads)
{
    _cleanup_(qca_threads_freep) struct qca_threads *threads = NULL;
    pthread_attr_t attributes;
    int r;

    if (n < 1 || n > QCA_THREADS_MAX)
        return -EINVAL;
    threads = calloc(1, sizeof(*threads));
    if (!threads)
        return -ENOMEM;
    threads->n = 1;
    TAILQ_INIT(&threads->waiting);
    /* with their default attributes these cannot fail in the C libraries that there are */
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->work, NULL);
    pthread_cond_init(&threads->done, NULL);
    r = -pthread_attr_init(&attributes);
    if (r < 0)
        return r;
    r = -pthread_attr_setstacksize(&attributes, STACK_SIZE);
    while (r == 0 && threads->n < n)
        r = start(threads, &attributes);
    pthread_attr_destroy(&attributes);
    if (r < 0)
        return r;
    /* The C library makes system calls of its own in a thread that begins: they have to be over. */
    pthread_mutex_lock(&threads->lock);
    while (threads->begun < n - 1)
        pthread_cond_wait(&threads->done, &threads->lock);
    pthread_mutex_unlock(&threads->lock);
    *ret_threads = TAKE_PTR(threads);
    return 0;
}

void qca_threads_free(struct qca_threads *threads)
{
    if (!threads)
        return;
    pthread_mutex_lock(&threads->lock);
    threads->ending = true;
    pthread_cond_broadcast(&threads->work);
    pthread_mutex_unlock(&threads->lock);
    for (unsigned i = 1; i < threads->n; i++)
        pthread_join(threads->ids[i - 1], NULL);
    pthread_cond_destroy(&threads->done);
    pthread_cond_destroy(&threads->work);
    pthread_mutex_destroy(&threads->lock);
    free(threads);
}

unsigned threads_count(const struct qca_threads *threads)
{
    return threads ? threads->n : 1;
}

void threads_submit(struct qca_threads *threads, struct thread_job *job)
{
    if (threads_count(threads) == 1) {
        job->state = JOB_WAITING;
        return;
    }
    pthread_mutex_lock(&threads->lock);
    job->state = JOB_WAITING;
    TAILQ_INSERT_TAIL(&threads->waiting, job, link);
    if (threads->idle > 0)
        pthread_cond_signal(&threads->work);
    pthread_mutex_unlock(&threads->lock);
}

void threads_wait(struct qca_threads *threads, struct thread_job *job)
{
    if (threads_count(threads) == 1) {
        job->run(job);
        job->state = JOB_DONE;
        return;
    }
    pthread_mutex_lock(&threads->lock);
    while (job->state != JOB_DONE) {
        struct thread_job *other = take(threads);

        if (other) {
            run(threads, other);
            continue;
        }
        threads->wanted = true;
        pthread_cond_wait(&threads->done, &threads->lock);
        threads->wanted = false;
    }
    pthread_mutex_unlock(&threads->lock);
}

void threads_await(struct qca_threads *threads, struct thread_job *job)
{
    if (threads_count(threads) == 1) {
        job->run(job);
        job->state = JOB_DONE;
        return;
    }
    pthread_mutex_lock(&threads->lock);
    if (job->state == JOB_WAITING) {
        TAILQ_REMOVE(&threads->waiting, job, link);
        job->state = JOB_RUNNING;
        run(threads, job);
    }
    while (job->state != JOB_DONE) {
        threads->wanted = true;
        pthread_cond_wait(&threads->done, &threads->lock);
        threads->wanted = false;
    }
    pthread_mutex_unlock(&threads->lock);
}

void threads_drop(struct qca_threads *threads, struct thread_job *job)
{
    if (threads_count(threads) > 1) {
        pthread_mutex_lock(&threads->lock);
        if (job->state == JOB_WAITING)
            TAILQ_REMOVE(&threads->waiting, job, link);
        while (job->state == JOB_RUNNING) {
            threads->wanted = true;
            pthread_cond_wait(&threads->done, &threads->lock);
            threads->wanted = false;
        }
        pthread_mutex_unlock(&threads->lock);
    }
    job->state = JOB_IDLE;
}
