/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-alert: has qcauditd send one test alert through each channel, and shows what arrived. */
#include <errno.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/facts.h"
#include "ctl/list.h"
#include "helpers/text.h"

/* The program of alerts.exec may take 2 min, and its message may wait for another one's. */
#define ANSWER_USEC (330 * USEC_PER_SEC)

static bool row_flag(json_object *row, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(row, key, &value) && json_object_get_boolean(value);
}

static const struct column columns[] = {
    { "CHANNEL", 0, "channel" }, { "RESULT", 0, "delivered" }, { "DETAIL", 0, "detail" },
};

static int print(struct ctl *ctl, json_object *rows)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, columns, ELEMENTSOF(columns), &table);

    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        bool delivered = row_flag(row, "delivered");

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, row_text(row, "channel"), COLOUR_OFF);
        if (r >= 0)
            r = table_cell(table, 1, delivered ? "delivered" : "FAILED",
                           delivered ? COLOUR_GREEN : COLOUR_RED);
        if (r >= 0)
            r = table_take(table, 2, row_text(row, "detail"), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

int verb_test_alert(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    _cleanup_(json_object_putp) json_object *rows = NULL;
    size_t failed = 0;
    int r = client_call_new(ctl, "TestAlert", &call);

    if (r >= 0)
        r = sd_bus_message_append(call, "s", ctl->channel ? ctl->channel : "");
    ctl->answer_usec = ANSWER_USEC;
    if (r >= 0)
        r = client_call_json(ctl, call, NULL, true, &rows);
    if (r >= 0)
        r = list_arrange(&ctl->output, columns, ELEMENTSOF(columns), 0, rows);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    for (size_t i = 0; i < json_object_array_length(rows); i++)
        failed += !row_flag(json_object_array_get_idx(rows, i), "delivered");
    if (ctl->output.json != JSON_OFF) {
        r = output_json(&ctl->output, rows);
    } else if (json_object_array_length(rows) == 0 && !ctl->output.csv) {
        (void)printf("No channel is configured: see alerts.* in qcauditd.yaml(5). Nobody is "
                     "notified of findings.\n");
        return EXIT_FAILURE;
    } else {
        r = print(ctl, rows);
    }
    if (r < 0)
        return complain(r, "Cannot show the channels");
    return failed > 0 || json_object_array_length(rows) == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
