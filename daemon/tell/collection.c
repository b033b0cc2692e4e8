/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events that are told together: how many of what, and the sentence that says so. */
#include "daemon/tell/collection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#define NAMES_SHOWN 6           /* in a summary */

/* "3 critical, 1 error, 12 warning" */
static void count_text(const struct collection *collection, char *text, size_t size)
{
    size_t length = 0;

    text[0] = 0;
    for (int severity = SEVERITY_CRITICAL; severity >= SEVERITY_INFO; severity--)
        if (collection->n_severity[severity] > 0 && length < size)
            length += (size_t)snprintf(text + length, size - length, "%s%llu %s",
                                       length ? ", " : "",
                                       (unsigned long long)collection->n_severity[severity],
                                       severity_name((enum severity)severity));
    if (collection->n_resolved > 0 && length < size)
        snprintf(text + length, size - length, "%s%llu resolved", length ? ", " : "",
                 (unsigned long long)collection->n_resolved);
}

/* "3 metadata-corrupt, 12 chain-deep, 4 of other names": worst first, then the most frequent. */
static void names_text(const struct collection *collection, char *text, size_t size)
{
    bool said[_FINDING_MAX] = { false };
    uint64_t others = 0;
    size_t length = 0;

    text[0] = 0;
    for (unsigned n = 0; n < NAMES_SHOWN; n++) {
        int best = -1;

        for (int type = 0; type < _FINDING_MAX; type++)
            if (!said[type] && collection->n_named[type] > 0 &&
                (best < 0 || collection->worst[type] > collection->worst[best] ||
                 (collection->worst[type] == collection->worst[best] &&
                  collection->n_named[type] > collection->n_named[best])))
                best = type;
        if (best < 0 || length >= size)
            break;
        said[best] = true;
        length += (size_t)snprintf(text + length, size - length, "%s%llu %s", length ? ", " : "",
                                   (unsigned long long)collection->n_named[best],
                                   finding_definition((enum finding_type)best)->name);
    }
    for (int type = 0; type < _FINDING_MAX; type++)
        others += said[type] ? 0 : collection->n_named[type];
    if (others > 0 && length < size)
        snprintf(text + length, size - length, ", %llu of other names",
                 (unsigned long long)others);
}

static uint64_t changed_findings(const struct collection *collection)
{
    uint64_t n = collection->n_resolved;

    for (size_t severity = 0; severity < _SEVERITY_MAX; severity++)
        n += collection->n_severity[severity];
    return n;
}

char *collection_message(const struct collection *collection)
{
    const char *within = collection->further ? " within 10 minutes" : "";
    uint64_t n = changed_findings(collection);
    char counts[160], names[400], reminders[60] = "", *message;
    int r;

    count_text(collection, counts, sizeof(counts));
    names_text(collection, names, sizeof(names));
    if (collection->n_reminders > 0)
        snprintf(reminders, sizeof(reminders), "%s%llu reminder%s", n > 0 ? "; " : "",
                 (unsigned long long)collection->n_reminders,
                 collection->n_reminders == 1 ? "" : "s");
    if (n == 0)
        r = asprintf(&message, "%s%s: %s; qcauditctl findings shows them", reminders, within,
                     names);
    else if (collection->first_pass)
        r = asprintf(&message, "First pass over the store: %llu finding%s (%s)%s%s%s; "
                     "qcauditctl findings shows them", (unsigned long long)n, n == 1 ? "" : "s",
                     counts, reminders, names[0] ? ": " : "", names);
    else
        r = asprintf(&message, "%s%llu finding%s changed%s (%s)%s%s%s; "
                     "qcauditctl findings shows them", collection->further ? "Further " : "",
                     (unsigned long long)n, n == 1 ? "" : "s", within, counts, reminders,
                     names[0] ? ": " : "", names);
    return r < 0 ? NULL : message;
}

enum severity collection_severity(const struct collection *collection)
{
    enum severity worst = SEVERITY_INFO;

    for (int type = 0; type < _FINDING_MAX; type++)
        if (collection->n_named[type] > 0 && collection->worst[type] > worst)
            worst = collection->worst[type];
    return worst;
}

int collection_priority(const struct collection *collection)
{
    return collection->n_resolved == collection->n_ids
               ? LOG_NOTICE
               : severity_priority(collection_severity(collection));
}

int collection_add(struct collection *collection, const struct event *event)
{
    if (collection->n_ids == collection->allocated) {
        size_t allocated = collection->allocated ? 2 * collection->allocated : 64;
        sd_id128_t *ids = reallocarray(collection->ids, allocated, sizeof(*ids));

        if (!ids)
            return -ENOMEM;
        collection->ids = ids;
        collection->allocated = allocated;
    }
    collection->ids[collection->n_ids++] = event->id;
    if (event->type == EVENT_REMINDER)
        collection->n_reminders++;
    else if (event->type == EVENT_RESOLVED)
        collection->n_resolved++;
    else
        collection->n_severity[event->severity]++;
    if (event->type != EVENT_RESOLVED) {
        if (collection->n_named[event->finding]++ == 0 ||
            event->severity > collection->worst[event->finding])
            collection->worst[event->finding] = event->severity;
    }
    return 0;
}

int collection_merge(struct collection *collection, const struct collection *more)
{
    size_t n = collection->n_ids + more->n_ids;
    sd_id128_t *ids;

    if (more->n_ids == 0)
        return 0;
    ids = reallocarray(collection->ids, n, sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    memcpy(ids + collection->n_ids, more->ids, more->n_ids * sizeof(*ids));
    collection->ids = ids;
    collection->n_ids = collection->allocated = n;
    collection->n_resolved += more->n_resolved;
    collection->n_reminders += more->n_reminders;
    for (int severity = 0; severity < _SEVERITY_MAX; severity++)
        collection->n_severity[severity] += more->n_severity[severity];
    for (int type = 0; type < _FINDING_MAX; type++) {
        collection->n_named[type] += more->n_named[type];
        if (more->n_named[type] > 0 && more->worst[type] > collection->worst[type])
            collection->worst[type] = more->worst[type];
    }
    return 0;
}

void collection_done(struct collection *collection)
{
    free(collection->ids);
    *collection = (struct collection){ 0 };
}
