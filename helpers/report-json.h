/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of a report and its parts in JSON: in the database, in evidence, in the answers of daemon
 * and command. */
#pragma once

#include "helpers/json-fields.h"

const struct json_fields *report_fields_of_report(void);        /* struct audit_report */
const struct json_fields *report_fields_of_info(void);          /* struct qca_image_info */
const struct json_fields *report_fields_of_snapshot(void);      /* struct qca_snapshot */
const struct json_fields *report_fields_of_check(void);         /* struct qca_check_result */
const struct json_fields *report_fields_of_issue(void);         /* struct qca_issue */
