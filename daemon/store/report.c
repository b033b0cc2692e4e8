/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole struct audit_report as JSON text and back. */
#include "daemon/store/report.h"

#include <errno.h>
#include <string.h>

#include "helpers/json-text.h"
#include "helpers/report-json.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct audit_report *, audit_report_free)

int store_report_encode(const struct audit_report *report, char **ret_text)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    const char *text;
    char *copy;
    int r;

    r = json_fields_encode(report_fields_of_report(), report, &object);
    if (r < 0)
        return r;
    text = json_object_to_json_string_ext(object,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    copy = text ? strdup(text) : NULL;
    if (!copy)
        return -ENOMEM;
    *ret_text = copy;
    return 0;
}

int store_report_decode(const char *text, size_t size, int version,
                        struct audit_report **ret_report)
{
    _cleanup_(audit_report_freep) struct audit_report *report = NULL;
    _cleanup_(json_object_putp) json_object *object = NULL;
    int r;

    if (version != STORE_REPORT_VERSION)
        return -EBADMSG;
    r = json_text_parse(text, size, &object);
    if (r < 0)
        return r;
    report = calloc(1, sizeof(*report));
    if (!report)
        return -ENOMEM;
    r = json_fields_decode(report_fields_of_report(), object, report);
    if (r < 0)
        return r;
    *ret_report = TAKE_PTR(report);
    return 0;
}
