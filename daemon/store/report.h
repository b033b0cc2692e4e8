/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole struct audit_report as JSON text and back: what table report keeps of an image's last
 * audit. */
#pragma once

#include <json-c/json.h>

#include "helpers/report.h"

/* Goes up when a reader of the old form would misread the new one; a new key alone does not need
 * it. */
#define STORE_REPORT_VERSION 1

/* *ret_text is malloc'd; what is zero (or QCA_NO_OFFSET where that is the usual) is left out.
 * -ENOMEM. */
int store_report_encode(const struct audit_report *report, char **ret_text);
/* -EBADMSG for text of another version, broken text, words or numbers this program does not
 * know. */
int store_report_decode(const char *text, size_t size, int version,
                        struct audit_report **ret_report);
