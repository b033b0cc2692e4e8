/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Findings: names, the catalogue as a table, destructors. */
#include "daemon/core/findings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/core/names.h"
#include "daemon/core/strv.h"
#include "lib/cleanup.h"

static const char *const severity_names[_SEVERITY_MAX] = {
    [SEVERITY_INFO] = "info",
    [SEVERITY_WARNING] = "warning",
    [SEVERITY_ERROR] = "error",
    [SEVERITY_CRITICAL] = "critical",
};

const char *severity_name(enum severity severity)
{
    return name_of(severity_names, ELEMENTSOF(severity_names), severity);
}

int severity_from_name(const char *name)
{
    return name_index(severity_names, ELEMENTSOF(severity_names), name);
}

int severity_priority(enum severity severity)
{
    switch (severity) {
    case SEVERITY_CRITICAL:
        return 2;
    case SEVERITY_ERROR:
        return 3;
    case SEVERITY_WARNING:
        return 4;
    default:
        return 6;
    }
}

static const char *const confidence_names[_CONFIDENCE_MAX] = {
    [CONFIDENCE_RACY] = "racy",
    [CONFIDENCE_CONFIRMED] = "confirmed",
    [CONFIDENCE_FROZEN] = "frozen",
    [CONFIDENCE_OFFLINE] = "offline",
};

const char *confidence_name(enum confidence confidence)
{
    return name_of(confidence_names, ELEMENTSOF(confidence_names), confidence);
}

int confidence_from_name(const char *name)
{
    return name_index(confidence_names, ELEMENTSOF(confidence_names), name);
}

static const struct finding_definition definitions[_FINDING_MAX] = {
#define FINDING(id, name, severity, about, basis, ...)                                             \
    [FINDING_##id] = { name, severity, ABOUT_##about, BASIS_##basis, __VA_ARGS__ },
#include "qcaudit/findings.def"
#undef FINDING
};

const struct finding_definition *finding_definition(enum finding_type type)
{
    return (unsigned)type < _FINDING_MAX ? &definitions[type] : NULL;
}

int finding_type_from_name(const char *name)
{
    for (int i = 0; name && i < _FINDING_MAX; i++)
        if (strcmp(definitions[i].name, name) == 0)
            return i;
    return -EINVAL;
}

bool finding_type_is_of_disk(enum finding_type type)
{
    return finding_definition(type)->about == ABOUT_DISK;
}

static const char *const finding_state_names[_FINDING_STATE_MAX] = {
    [FINDING_OPEN] = "open",
    [FINDING_ACKNOWLEDGED] = "acknowledged",
    [FINDING_RESOLVED] = "resolved",
};

const char *finding_state_name(enum finding_state state)
{
    return name_of(finding_state_names, ELEMENTSOF(finding_state_names), state);
}

int finding_state_from_name(const char *name)
{
    return name_index(finding_state_names, ELEMENTSOF(finding_state_names), name);
}

static const char *const subject_kind_names[_SUBJECT_KIND_MAX] = {
    [SUBJECT_IMAGE] = "image",
    [SUBJECT_DATASTORE] = "datastore",
    [SUBJECT_DAEMON] = "daemon",
    [SUBJECT_DOMAIN] = "domain",
};

const char *subject_kind_name(enum subject_kind kind)
{
    return name_of(subject_kind_names, ELEMENTSOF(subject_kind_names), kind);
}

int subject_kind_from_name(const char *name)
{
    return name_index(subject_kind_names, ELEMENTSOF(subject_kind_names), name);
}

static const char *const event_type_names[_EVENT_MAX] = {
    [EVENT_OPENED] = "opened",
    [EVENT_WORSENED] = "worsened",
    [EVENT_EASED] = "eased",
    [EVENT_ACKNOWLEDGED] = "acknowledged",
    [EVENT_UNACKNOWLEDGED] = "unacknowledged",
    [EVENT_RESOLVED] = "resolved",
    [EVENT_REOPENED] = "reopened",
    [EVENT_REMINDER] = "reminder",
    [EVENT_MUTED] = "muted",
    [EVENT_UNMUTED] = "unmuted",
};

const char *event_type_name(enum event_type type)
{
    return name_of(event_type_names, ELEMENTSOF(event_type_names), type);
}

int event_type_from_name(const char *name)
{
    return name_index(event_type_names, ELEMENTSOF(event_type_names), name);
}

enum finding_state finding_state_after(enum finding_state before, enum event_type type)
{
    switch (type) {
    case EVENT_RESOLVED:
        return FINDING_RESOLVED;
    case EVENT_ACKNOWLEDGED:
        return FINDING_ACKNOWLEDGED;
    case EVENT_EASED:
    case EVENT_REMINDER:
    case EVENT_MUTED:
    case EVENT_UNMUTED:
        return before == FINDING_RESOLVED ? FINDING_OPEN : before;
    default:
        return FINDING_OPEN;
    }
}

bool event_type_alerts(enum event_type type)
{
    switch (type) {
    case EVENT_OPENED:
    case EVENT_WORSENED:
    case EVENT_REOPENED:
    case EVENT_RESOLVED:
    case EVENT_UNACKNOWLEDGED:
    case EVENT_REMINDER:
    case EVENT_UNMUTED:
        return true;
    default:
        return false;
    }
}

int event_priority(const struct event *event)
{
    return event->type == EVENT_RESOLVED ? LOG_NOTICE : severity_priority(event->severity);
}

bool event_alerts(const struct event *event)
{
    return event_type_alerts(event->type) && event->muted_by == 0;
}

struct finding *finding_free(struct finding *finding)
{
    if (!finding)
        return NULL;
    free(finding->subject);
    free(finding->datastore);
    free(finding->acknowledged_by);
    free(finding->acknowledged_reason);
    json_object_put(finding->evidence);
    json_object_put(finding->remedy);
    free(finding);
    return NULL;
}

struct event *event_free(struct event *event)
{
    if (!event)
        return NULL;
    free(event->subject);
    free(event->datastore);
    free(event->message);
    strv_free(event->domains);
    free(event);
    return NULL;
}

static char *copy_string(const char *string, bool *failed)
{
    char *copy = string ? strdup(string) : NULL;

    *failed = *failed || (string && !copy);
    return copy;
}

int event_copy(const struct event *event, struct event **ret_event)
{
    struct event *copy = malloc(sizeof(*copy));
    bool failed = false;

    if (!copy)
        return -ENOMEM;
    *copy = *event;
    copy->subject = copy_string(event->subject, &failed);
    copy->datastore = copy_string(event->datastore, &failed);
    copy->message = copy_string(event->message, &failed);
    copy->domains = NULL;
    if (failed || strv_copy(event->domains, &copy->domains) < 0) {
        event_free(copy);
        return -ENOMEM;
    }
    *ret_event = copy;
    return 0;
}

const char *alert_target_name(enum alert_target target)
{
    static const char *const names[] = {
        [ALERT_JOURNAL] = "journal", [ALERT_SYSLOG] = "syslog", [ALERT_CONSOLE] = "console",
        [ALERT_EXEC] = "exec",
    };

    return (unsigned)target < ELEMENTSOF(names) ? names[target] : "?";
}
