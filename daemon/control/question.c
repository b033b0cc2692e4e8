/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls that are answered later: each connection has one at a time. */
#include <stdlib.h>

#include "daemon/control/internal.h"

struct question {
    struct question *next;
    struct connection *connection;      /* NULL: it is gone */
    sd_bus_message *call;
};

struct question *question_new(sd_bus_message *call, struct connection *connection)
{
    struct question *question = malloc(sizeof(*question));

    if (!question)
        return NULL;
    *question = (struct question){ .next = connection->questions, .connection = connection,
                                   .call = sd_bus_message_ref(call) };
    connection->questions = question;
    if (connection->gate)
        gate_hold(connection->gate, true);
    return question;
}

sd_bus_message *question_end(struct question *question)
{
    struct connection *connection = question->connection;
    sd_bus_message *call = question->call;

    if (connection) {
        for (struct question **link = &connection->questions; *link; link = &(*link)->next)
            if (*link == question) {
                *link = question->next;
                break;
            }
        if (connection->gate && !connection->questions)
            gate_hold(connection->gate, false);
    }
    free(question);
    return call;
}

void questions_leave(struct connection *connection)
{
    for (struct question *question = connection->questions; question; question = question->next)
        question->connection = NULL;
    connection->questions = NULL;
}
