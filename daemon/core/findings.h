/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is wrong: findings and their life, the conditions that they are made of, the events that
 * tell of them. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-id128.h>

enum severity { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_ERROR, SEVERITY_CRITICAL, _SEVERITY_MAX };

const char *severity_name(enum severity severity);      /* "info" ... "critical" */
int severity_from_name(const char *name);               /* -EINVAL when unknown */
int severity_priority(enum severity severity);          /* journal priority: 6, 4, 3, 2 */

enum confidence {
    CONFIDENCE_RACY,
    CONFIDENCE_CONFIRMED,
    CONFIDENCE_FROZEN,
    CONFIDENCE_OFFLINE,
    _CONFIDENCE_MAX
};

const char *confidence_name(enum confidence confidence);
int confidence_from_name(const char *name);             /* -EINVAL when unknown */

/* One per row of findings.def: FINDING_METADATA_CORRUPT, ... */
enum finding_type {
#define FINDING(id, ...) FINDING_##id,
#include "qcaudit/findings.def"
#undef FINDING
    _FINDING_MAX,
};

/* The subject of a finding, and its basis: findings.def says what each means. */
enum finding_about { ABOUT_IMAGE, ABOUT_DISK, ABOUT_DOMAIN, ABOUT_DATASTORE, ABOUT_DAEMON };
enum finding_basis { BASIS_AUDIT, BASIS_CHECK, BASIS_LIBVIRT, BASIS_CONTENTS, BASIS_SELF };

struct finding_definition {
    const char *name;           /* "metadata-corrupt": stable */
    enum severity severity;     /* the highest it can reach by default */
    enum finding_about about;
    enum finding_basis basis;
    const char *title;          /* one line */
    const char *explanation;    /* what it is, why it matters; paragraphs parted by \n\n */
    const char *remedy;         /* in general; the exact commands are remedy.c's */
    sd_id128_t message_id;
};

/* NULL when out of range. */
const struct finding_definition *finding_definition(enum finding_type type);
int finding_type_from_name(const char *name);           /* -EINVAL when unknown */
bool finding_type_is_of_disk(enum finding_type type);

/* A condition that holds now, as the judge sees it: no history. */
struct condition {
    enum finding_type type;
    enum severity severity;
    enum confidence confidence;
    json_object *evidence;      /* owned; always an object */
    uint64_t weight;            /* grows when it gets worse (corruptions, leaks, depth, ...):
                                 * ends an acknowledgement */
    uint64_t hold;              /* usec that it must have held, at every look, before it is a
                                 * finding; 0 at once */
};

enum finding_state { FINDING_OPEN, FINDING_ACKNOWLEDGED, FINDING_RESOLVED, _FINDING_STATE_MAX };

const char *finding_state_name(enum finding_state state);
int finding_state_from_name(const char *name);          /* -EINVAL when unknown */

/* A condition with its life. subject: an image's path, a datastore's name, "" for the daemon
 * itself, or a domain's name and connection: "web1 on qemu:///system". */
enum subject_kind {
    SUBJECT_IMAGE,
    SUBJECT_DATASTORE,
    SUBJECT_DAEMON,
    SUBJECT_DOMAIN,
    _SUBJECT_KIND_MAX
};

const char *subject_kind_name(enum subject_kind kind);  /* "image" ... "domain" */
int subject_kind_from_name(const char *name);           /* -EINVAL when unknown */

struct finding {
    int64_t id;                 /* the database's; 0 until stored. Unique and stable for type +
                                 * subject */
    enum finding_type type;
    enum subject_kind subject_kind;
    char *subject;              /* raw bytes */
    char *datastore;            /* name; "" for the daemon itself */
    enum finding_state state;
    enum severity severity;
    enum confidence confidence;
    uint64_t first_seen, last_seen, changed;    /* usec since the epoch; changed: last transition */
    uint64_t resolved;          /* usec, 0 while open */
    uint32_t count;             /* audits that saw it */
    uint32_t misses;            /* consecutive audits of low confidence without it */
    uint64_t weight;
    json_object *evidence;
    json_object *remedy;        /* array of {"command" | "text": ..., "precondition": ...}, may
                                 * be NULL */
    char *acknowledged_by, *acknowledged_reason;
    uint64_t acknowledged_until;    /* usec, 0: without end */
    uint64_t acknowledged_weight;
    bool of_other_file;         /* that was said of another file than lies there now; not kept */
    uint64_t reminded;          /* usec of the last alert, for the doubling reminder */
    uint32_t reminders;
    int64_t muted_by;           /* number of the mute that keeps it from being told; 0: none does */
    enum severity muted_severity;   /* as it was when that mute began to cover it */
    int64_t mutes_broken;       /* mutes up to this number do not cover it any more: it got worse */
};

struct finding *finding_free(struct finding *finding);

/* The channels of alerts. */
enum alert_target { ALERT_JOURNAL, ALERT_SYSLOG, ALERT_CONSOLE, ALERT_EXEC, _ALERT_TARGET_MAX };

const char *alert_target_name(enum alert_target target);        /* "journal" ... "exec" */

enum event_type {
    EVENT_OPENED,
    EVENT_WORSENED,
    EVENT_EASED,
    EVENT_ACKNOWLEDGED,
    EVENT_UNACKNOWLEDGED,
    EVENT_RESOLVED,
    EVENT_REOPENED,
    EVENT_REMINDER,
    EVENT_MUTED,
    EVENT_UNMUTED,
    _EVENT_MAX,
};

const char *event_type_name(enum event_type type);
int event_type_from_name(const char *name);             /* -EINVAL when unknown */
/* The finding's state after such an event; before, where the event says nothing of it. */
enum finding_state finding_state_after(enum finding_state before, enum event_type type);
/* Do such events go out to administrators, or only into the history? */
bool event_type_alerts(enum event_type type);

/* Channels that are still to get an event: bits of event.outbox. */
#define OUTBOX_LOGS 1u          /* the journal, syslog or the console */
#define OUTBOX_EXEC 2u          /* the program of alerts.exec */

/* One change in a finding's life: appended to the history, which is also the outbox of alerts.
 * Holds a copy of what the alert says, so that it can be told after a crash as it was. */
struct event {
    sd_id128_t id;              /* QCAUDIT_EVENT_ID */
    enum event_type type;
    uint64_t at;                /* usec since the epoch */
    enum finding_type finding;
    int64_t finding_id;         /* 0 until stored */
    enum subject_kind subject_kind;
    char *subject, *datastore;
    enum severity severity;
    enum confidence confidence;
    char *message;              /* one sentence, escaped, ready for a log line */
    char **domains;             /* whose disk it is, or a layer of it: NULL-ended; NULL: none */
    uint32_t depth;             /* of the chain (of an own layer: the disk's deepest), 0 when it
                                 * does not matter */
    int64_t muted_by;           /* number of the mute because of which it is recorded, and not
                                 * told; 0: none */
    unsigned outbox;            /* OUTBOX_LOGS | OUTBOX_EXEC */
};

/* The journal's priority: the severity's, but a notice where it says that something is over. */
int event_priority(const struct event *event);
/* Does it go out to administrators? */
bool event_alerts(const struct event *event);

struct event *event_free(struct event *event);
/* With its own texts and domains. -ENOMEM. */
int event_copy(const struct event *event, struct event **ret_event);
