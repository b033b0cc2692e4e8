/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events that are told together: how many of what, and the sentence that says so. */
#pragma once

#include <stddef.h>

#include "daemon/core/findings.h"

struct collection {
    sd_id128_t *ids;
    size_t n_ids, allocated;
    uint64_t n_severity[_SEVERITY_MAX], n_resolved;     /* of findings, not of their reminders */
    uint64_t n_reminders;
    /* by name, and the worst of each; those that were not resolved */
    uint64_t n_named[_FINDING_MAX];
    enum severity worst[_FINDING_MAX];
    bool first_pass;            /* they are of the first pass over a store */
    bool further;               /* others were told one by one within the ten minutes before */
};

/* Counts the event and keeps its id. -ENOMEM. */
int collection_add(struct collection *collection, const struct event *event);
/* Counts and keeps those of more, too. -ENOMEM: none of them. */
int collection_merge(struct collection *collection, const struct collection *more);
/* Empty again. */
void collection_done(struct collection *collection);
/* "Further 12 findings changed within 10 minutes (3 critical, 9 warning): 3 metadata-corrupt, ..."
 * malloc'd; NULL without memory. */
char *collection_message(const struct collection *collection);
/* Of the worst that was not resolved; SEVERITY_INFO when all were. */
enum severity collection_severity(const struct collection *collection);
/* The syslog priority: that of the worst, or notice when all were resolved. */
int collection_priority(const struct collection *collection);
