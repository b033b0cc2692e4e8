/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The messages that the program of alerts.exec gets, as JSON; qcauditd(8) documents their
 * members. */
#include "daemon/tell/exec-message.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/tell/alert.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define VERSION 1
#define LISTED_MAX 200          /* events of a summary */
#define LISTED_BYTES_MAX (256 * 1024)   /* of their sentences and names */

DEFINE_CLEANUP(json_object *, json_object_put)

static int message_new(const char *kind, const char *text, enum severity severity, int priority,
                       json_object **ret_message)
{
    _cleanup_(json_object_putp) json_object *message = json_object_new_object();
    _cleanup_free_ char *host = NULL;
    char name[HOST_NAME_MAX + 1] = "";
    int r;

    if (!message)
        return -ENOMEM;
    (void)gethostname(name, sizeof(name));      /* "" then: nothing better is known */
    name[HOST_NAME_MAX] = 0;
    host = text_escape_string(name);
    if (!host)
        return -ENOMEM;
    if ((r = json_add_number(message, "version", VERSION)) < 0 ||
        (r = json_add_text(message, "kind", kind)) < 0 ||
        (r = json_add_text(message, "host", host)) < 0 ||
        (r = json_add_text(message, "message", text)) < 0 ||
        (r = json_add_text(message, "severity", severity_name(severity))) < 0 ||
        (r = json_add_number(message, "priority", (uint64_t)priority)) < 0)
        return r;
    *ret_message = TAKE_PTR(message);
    return 0;
}

static int add_domains(json_object *object, char **domains)
{
    json_object *list;
    int r;

    if (!domains || !domains[0])
        return 0;
    list = json_object_new_array();
    r = json_add(object, "domains", list);
    for (size_t i = 0; r >= 0 && domains[i]; i++) {
        _cleanup_free_ char *name = text_escape_string(domains[i]);
        json_object *item = name ? json_object_new_string(name) : NULL;

        if (!item || json_object_array_add(list, item) < 0) {
            json_object_put(item);
            r = -ENOMEM;
        }
    }
    return r;
}

/* Adds the members of one event beside its sentence and severity. */
static int add_event(json_object *object, const struct event *event)
{
    _cleanup_free_ char *subject = text_escape_string(event->subject);
    char id[SD_ID128_STRING_MAX];
    int r;

    if (!subject)
        return -ENOMEM;
    if ((r = json_add_text(object, "event", event_type_name(event->type))) < 0 ||
        (r = json_add_text(object, "event-id", sd_id128_to_string(event->id, id))) < 0 ||
        (r = json_add_number(object, "time", event->at / USEC_PER_SEC)) < 0 ||
        (r = json_add_text(object, "finding", finding_definition(event->finding)->name)) < 0 ||
        (r = json_add_number(object, "finding-id", (uint64_t)event->finding_id)) < 0 ||
        (r = json_add_text(object, "confidence", confidence_name(event->confidence))) < 0)
        return r;
    if (event->subject_kind == SUBJECT_IMAGE && (r = json_add_text(object, "image", subject)) < 0)
        return r;
    if (event->datastore && *event->datastore &&
        (r = json_add_text(object, "datastore", event->datastore)) < 0)
        return r;
    if (event->depth > 0 && (r = json_add_number(object, "depth", event->depth)) < 0)
        return r;
    return add_domains(object, event->domains);
}

int exec_message_event(const struct event *event, json_object **ret_message)
{
    _cleanup_(json_object_putp) json_object *message = NULL;
    _cleanup_free_ char *text = alert_event_text(event);
    int r;

    if (!text)
        return -ENOMEM;
    r = message_new("event", text, event->severity, event_priority(event), &message);
    if (r >= 0)
        r = add_event(message, event);
    if (r >= 0)
        *ret_message = TAKE_PTR(message);
    return r;
}

static int listed_event(const struct event *event, const char *text, json_object **ret_item)
{
    _cleanup_(json_object_putp) json_object *item = json_object_new_object();
    int r;

    if (!item)
        return -ENOMEM;
    if ((r = json_add_text(item, "message", text)) < 0 ||
        (r = json_add_text(item, "severity", severity_name(event->severity))) < 0 ||
        (r = add_event(item, event)) < 0)
        return r;
    *ret_item = TAKE_PTR(item);
    return 0;
}

int exec_message_summary(const struct collection *collection, const struct event *const events[],
                         size_t n_events, json_object **ret_message)
{
    _cleanup_(json_object_putp) json_object *message = NULL;
    _cleanup_free_ char *summary = collection_message(collection);
    json_object *list = NULL;
    size_t bytes = 0, n = 0;
    int r;

    if (!summary)
        return -ENOMEM;
    r = message_new("summary", summary, collection_severity(collection),
                    collection_priority(collection), &message);
    if (r >= 0)
        r = json_add_number(message, "count", collection->n_ids);
    if (r >= 0)
        r = json_add(message, "events", list = json_object_new_array());
    for (; r >= 0 && n < n_events && n < LISTED_MAX; n++) {
        _cleanup_free_ char *text = alert_event_text(events[n]);
        json_object *item = NULL;

        r = text ? 0 : -ENOMEM;
        bytes += text ? strlen(text) + strlen(events[n]->subject) : 0;
        if (bytes > LISTED_BYTES_MAX)
            break;
        if (r >= 0)
            r = listed_event(events[n], text, &item);
        if (r >= 0 && json_object_array_add(list, item) < 0) {
            json_object_put(item);
            r = -ENOMEM;
        }
    }
    if (r >= 0)
        r = json_add_number(message, "not-listed", collection->n_ids - n);
    if (r >= 0)
        *ret_message = TAKE_PTR(message);
    return r;
}

int exec_message_test(json_object **ret_message)
{
    return message_new("test", ALERT_TEST_MESSAGE, SEVERITY_INFO, LOG_NOTICE, ret_message);
}
