/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Audits, relations and policy in, conditions out. Pure: the time is passed in, nothing is kept.
 *
 * Every condition's evidence is an object whose "summary" says it in words that follow a subject
 * ("has 40 unconsolidated layers (limit: 25)"), escaped. Strings that come from images or
 * directories are escaped (helpers/text.h); what is not known is left out. What a member is,
 * qcaudit/evidence.def says; which there are is listed with each function of this folder. */
#pragma once

#include "daemon/core/datastore.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "daemon/core/policy.h"
#include "daemon/relate/relate.h"

struct conditions {
    struct condition *items;
    size_t n_items;
};

void conditions_done(struct conditions *conditions);

/* The conditions of a subject now, at most one of each type. `judged` tells which of its findings
 * this judgement may resolve: true per finding type that could have been seen (an image with a
 * writer says nothing about refcounts, an image on an offline datastore nothing at all). An audit
 * may be judged many times, as its relations change. */
struct judgement {
    struct conditions conditions;
    bool judged[_FINDING_MAX];
    bool sure[_FINDING_MAX];    /* and it does not rest on the audit's confidence, but on
                                 * libvirt's word, or on names */
    enum confidence confidence;
    uint64_t audited;           /* usec: end of the audit it rests on; 0: rests on none */
    bool other_file;            /* that audit is of another file than the one before it was */
};

void judgement_done(struct judgement *judgement);

/* Is it an image, as far as its name and its first bytes tell? relation may be NULL. */
bool judge_is_listed(const struct image *image, const struct relation *relation);
/* last: the audit before image->audit, or NULL: damaged pointers of an image in use are
 * confirmed by it, and the growth of leaks is measured against it. -ENOMEM. */
int judge_image(const struct policy *policy, const struct graph *graph, const struct image *image,
                const struct audit *last, uint64_t now, struct judgement *ret_judgement);
int judge_datastore(const struct policy *policy, const struct datastore *datastore, uint64_t now,
                    struct judgement *ret_judgement);
/* A domain of the status that the graph's usage is of. -ENOMEM. */
int judge_domain(const struct policy *policy, const struct graph *graph,
                 const struct virt_domain *domain, uint64_t now, struct judgement *ret_judgement);

/* A disk of a domain that lies in no datastore. */
struct outside_disk { const char *domain, *target, *path; };

/* The daemon's own state. */
struct daemon_facts {
    const char *database_aside;     /* where a damaged database was put by this daemon, "" when
                                     * it was removed, else NULL */
    const char *baselines_damaged;  /* what is damaged of what was kept of contents, in words;
                                     * else NULL */
    int alert_errors[_ALERT_TARGET_MAX];    /* -errno of each channel that fails now */
    const char *alert_reasons[_ALERT_TARGET_MAX];   /* why in words, safe to print; NULL: errno
                                                     * says it */
    const struct virt_status *virt; /* NULL: libvirt is not asked */
    bool outside_known;             /* all of libvirt was read, and its pools are datastores */
    const struct outside_disk *outside;     /* the first of them */
    size_t n_outside;
    uint64_t outside_total;
};

/* database-recovered and baselines-damaged hold from then on until they are acknowledged: they are
 * judged only where they hold. */
int judge_daemon(const struct policy *policy, const struct daemon_facts *facts, uint64_t now,
                 struct judgement *ret_judgement);

/* The earliest time at which judge_image() would say something else without any change (a
 * snapshot gets old): usec, UINT64_MAX for never. */
uint64_t judge_image_again(const struct policy *policy, const struct graph *graph,
                           const struct image *image, uint64_t now);
