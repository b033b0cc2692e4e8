/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Acknowledgements that survive the loss of the database. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "lib/cleanup.h"

struct acknowledgement *acknowledged_free(struct acknowledgement *ack)
{
    if (!ack)
        return NULL;
    free(ack->finding);
    free(ack->kind);
    free(ack->subject);
    free(ack->by);
    free(ack->reason);
    free(ack->severity);
    free(ack);
    return NULL;
}

bool acknowledged_take_out(struct acknowledgements *list, const char *finding, const char *kind,
                           const char *subject)
{
    struct acknowledgement *ack;

    LIST_FOREACH(ack, list, link)
        if (strcmp(ack->finding, finding) == 0 && strcmp(ack->kind, kind) == 0 &&
            strcmp(ack->subject, subject) == 0) {
            LIST_REMOVE(ack, link);
            acknowledged_free(ack);
            return true;
        }
    return false;
}

static bool forget_finding(struct contents *contents, const struct finding *finding)
{
    return acknowledged_take_out(&contents->acknowledgements,
                                 finding_definition(finding->type)->name,
                                 subject_kind_name(finding->subject_kind), finding->subject);
}

/* The ledger has it from now on. */
static void remember_finding(struct contents *contents, const struct finding *finding)
{
    struct acknowledgement *ack = calloc(1, sizeof(*ack));

    (void)forget_finding(contents, finding);
    if (!ack)
        return;
    ack->finding = strdup(finding_definition(finding->type)->name);
    ack->kind = strdup(subject_kind_name(finding->subject_kind));
    ack->subject = strdup(finding->subject);
    if (!ack->finding || !ack->kind || !ack->subject) {
        acknowledged_free(ack);
        return;
    }
    LIST_INSERT_HEAD(&contents->acknowledgements, ack, link);
}

/* A finding was opened: was it acknowledged before the database was lost? */
static void match(struct contents *contents, const struct finding *finding)
{
    struct acknowledgement *ack;

    LIST_FOREACH(ack, &contents->acknowledgements, link)
        if (ack->pending && strcmp(ack->finding, finding_definition(finding->type)->name) == 0 &&
            strcmp(ack->kind, subject_kind_name(finding->subject_kind)) == 0 &&
            strcmp(ack->subject, finding->subject) == 0)
            /* One that got worse since is told. */
            ack->id = finding->weight <= ack->weight &&
                              severity_from_name(ack->severity) >= (int)finding->severity &&
                              (ack->until == 0 || ack->until > contents_now(contents))
                          ? finding->id
                          : -1;
}

void contents_event(struct contents *contents, const struct finding *finding,
                    enum event_type type)
{
    switch (type) {
    case EVENT_ACKNOWLEDGED:
        ledger_acknowledged(contents, finding);
        remember_finding(contents, finding);
        break;
    case EVENT_RESOLVED:
    case EVENT_UNACKNOWLEDGED:
    case EVENT_WORSENED:
        if (forget_finding(contents, finding))
            ledger_ended(contents, finding);
        break;
    case EVENT_OPENED:
        match(contents, finding);
        break;
    default:
        break;
    }
}

void contents_acknowledge(struct contents *contents)
{
    struct acknowledgement *ack = LIST_FIRST(&contents->acknowledgements);

    while (ack) {
        if (ack->id == 0) {
            ack = LIST_NEXT(ack, link);
            continue;
        }
        LIST_REMOVE(ack, link);
        if (ack->id > 0)
            contents->ops->acknowledge(contents->userdata, ack->id, ack->by, ack->reason,
                                       ack->until);
        acknowledged_free(ack);
        ack = LIST_FIRST(&contents->acknowledgements);          /* that changed the list */
    }
}

void acknowledged_free_all(struct contents *contents)
{
    struct acknowledgement *ack;

    while ((ack = LIST_FIRST(&contents->acknowledgements))) {
        LIST_REMOVE(ack, link);
        acknowledged_free(ack);
    }
}
