/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions that change nothing: those of methods.def, as the control interface and qcaudit-offline
 * ask them. */
#pragma once

#include <json-c/json.h>

#include "daemon/store/store.h"

struct query_view;

/* The arguments of a question, in this order. */
enum asked_for {
    ASKED_NOTHING = 0,
    ASKED_FILTER = 1,
    ASKED_PATH = 2,
    ASKED_NAME = 4,
    ASKED_ID = 8,
    ASKED_PAGE = 16,            /* where it begins and how long it is: rows are answered */
};

/* A question's arguments; what it does not take is 0. */
struct asked {
    json_object *filter;        /* NULL: none */
    const char *path, *name;
    int64_t id;
    const char *cursor;         /* the last page's next; NULL or "": the first page */
    unsigned limit;             /* rows; 0: all */
};

/* A member that a filter may have. */
struct filter_key {
    const char *name;
    enum json_type type;
};

struct question {
    const char *name;           /* of the method */
    unsigned takes;             /* enum asked_for */
    /* The answer, from the model: an object or an array of rows. *ret_next is the cursor of the
     * next page, "" after the last; what has no pages leaves it alone. NULL: from the history. */
    int (*make)(const struct query_view *view, const struct asked *asked, json_object **ret_answer,
                char **ret_next);
    enum history history;
    const char *missing, *invalid;      /* what is named with -ENOENT, and with -EINVAL */
    const struct filter_key *keys;      /* ends with one without a name */
};

/* NULL: that is no question. */
const struct question *question_find(const char *name);
/* Of a question from the history, as the store wants it; borrowed from asked. */
struct history_question question_history(const struct question *question,
                                         const struct asked *asked);
