/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cells of CSV (RFC 4180), in which no spreadsheet finds a formula. */
#include "ctl/csv.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "helpers/clock.h"

static void end_cell(bool last)
{
    (void)fputs(last ? "\r\n" : ",", stdout);
}

void csv_put_text(const char *text, bool last)
{
    size_t n = strlen(text);
    /* Programs that open such a file take what begins so for a formula, and may run it. An
     * apostrophe that was there gets one, too: so the first one is never a name's. */
    bool formula = n > 0 && strchr("=+-@'\t\r", text[0]);
    bool quoted = strpbrk(text, ",\"\r\n") || (n > 0 && (text[0] == ' ' || text[n - 1] == ' '));

    if (quoted)
        (void)putchar('"');
    if (formula)
        (void)putchar('\'');
    for (; *text; text++) {
        if (*text == '"')
            (void)putchar('"');
        (void)putchar(*text);
    }
    if (quoted)
        (void)putchar('"');
    end_cell(last);
}

/* ISO 8601, in UTC. */
static void put_time(uint64_t usec)
{
    time_t seconds = (time_t)(usec / USEC_PER_SEC);
    struct tm tm;
    char text[40];

    if (usec > 0 && gmtime_r(&seconds, &tm) && strftime(text, sizeof(text), "%FT%TZ", &tm) > 0)
        (void)fputs(text, stdout);
}

void csv_put_cell(const struct column *column, json_object *row, const char *text, bool last)
{
    json_object *value = column_value(column, row);

    if (column->flags & COLUMN_TIME) {
        put_time(value ? json_object_get_uint64(value) : 0);
        end_cell(last);
    } else if (column->flags & (COLUMN_NUMBER | COLUMN_SIZE)) {
        /* a number, negative or not: no text of anybody's */
        (void)fputs(value ? json_object_get_string(value) : "", stdout);
        end_cell(last);
    } else
        csv_put_text(!text || (!value && strcmp(text, "-") == 0) ? "" : text, last);
}
