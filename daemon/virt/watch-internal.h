/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One connection to libvirt and its thread: what the loop, libvirt's events and the thread itself
 * share. */
#pragma once

#include <pthread.h>

#include "daemon/virt/library.h"
#include "daemon/virt/part.h"
#include "daemon/virt/watch.h"

#define LINK_DIRTY_MAX 512          /* domains that events named; more: all are looked at */
#define LINK_EVENTS_MAX 12

struct link_refresh {
    char uuid[37];
    uint64_t at;                /* usec since the epoch */
};

/* Changes that events reported since the last look. */
struct link_news {
    bool domains;               /* the list of them, */
    bool pools;
    bool everything;
    char (*uuids)[37];          /* and these in particular */
    size_t n_uuids;
    struct link_refresh *refreshes;     /* pools */
    size_t n_refreshes;
    uint64_t first, last;       /* usec, CLOCK_MONOTONIC; 0: nothing */
};

struct virt_link {
    atomic_uint refs;           /* the loop's, the thread's, and one per registered callback */
    char *uri;
    bool is_default;            /* only tried where a socket is */
    uint64_t poll;              /* usec */
    int wake_fd;                /* eventfd that the loop watches */

    pthread_mutex_t lock;
    pthread_cond_t changed;     /* on CLOCK_MONOTONIC */
    /* Under the lock: */
    bool stop;
    bool ended;                 /* the thread will not touch it any more */
    bool lost;                  /* the connection was closed */
    struct link_news news;
    struct virt_part *mail;     /* for the loop: the latest wins */
    uint64_t busy_since;        /* usec, CLOCK_MONOTONIC: of the libvirt call under way, 0 none */
    bool opening;               /* it is the one that opens the connection */

    /* The thread's own: */
    virConnectPtr connection;
    int domain_events[LINK_EVENTS_MAX], pool_events[2];
    size_t n_domain_events, n_pool_events;
    struct virt_record **records;       /* in order of UUID */
    size_t n_records;
    struct virt_pools *pools;
    uint64_t n_left_out;
    bool absent, connected, complete;
    uint64_t since;             /* usec: of these three */
    char *error;
    uint64_t version;           /* the last given to a domain */
    unsigned round;
};

/* To be called before every call of libvirt's: notes that it begins. -ECANCELED when the thread is
 * to end, -ENOTCONN when the connection is closed. */
int link_call(struct virt_link *link);
/* Translates libvirt's last error of this thread: -ENOTCONN when the connection is gone, -ENOENT
 * when the object asked about is, -EOPNOTSUPP, else -EIO. */
int link_error(const struct virt_link *link);

struct virt_link *link_ref(struct virt_link *link);
struct virt_link *link_unref(struct virt_link *link);
void *link_run(void *userdata);
/* A thread says that nothing of libvirt's runs in it any more. */
void link_thread_ended(void);

/* ---- reading --------------------------------------------------------------------------------- */

/* Looks at all (full) or at what the news name, and replaces link->records and link->pools.
 * -ENOTCONN, -ECANCELED, or another -errno: then they stay as they were. */
int link_read_domains(struct virt_link *link, bool full, const struct link_news *news);
int link_read_pools(struct virt_link *link, const struct link_news *news);

/* Of one domain; before may be NULL. What did not change is shared with what was known before. */
int link_read_body(struct virt_link *link, virDomainPtr domain, bool active, bool persistent,
                   struct virt_body *before, struct virt_body **ret_body);
int link_read_snapshots(struct virt_link *link, virDomainPtr domain, bool names_only,
                        struct virt_snapshots *before, struct virt_snapshots **ret_snapshots);
int link_read_checkpoints(struct virt_link *link, virDomainPtr domain, bool names_only,
                          struct virt_checkpoints *before,
                          struct virt_checkpoints **ret_checkpoints);
/* Reads the jobs and disk errors of an active domain into record's domain. before: as it was last,
 * or NULL. *ret_again: a job began whose mirror the body does not know yet. */
int link_read_jobs(struct virt_link *link, virDomainPtr domain, const struct virt_record *before,
                   struct virt_record *record, bool *ret_again);

#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)
uint64_t hash_text(uint64_t hash, const char *text);
