/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cells of CSV (RFC 4180), in which no spreadsheet finds a formula. */
#pragma once

#include "ctl/output.h"

/* Text that is escaped for people: one line of UTF-8. last: of its line. */
void csv_put_text(const char *text, bool last);
/* The member that the column is about, where that is a number, a size or a time; else the text,
 * nothing where "-" stands for none. */
void csv_put_cell(const struct column *column, json_object *row, const char *text, bool last);
