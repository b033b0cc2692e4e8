/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of questions. */
#include "daemon/control/question.h"

#include <string.h>

#include "daemon/control/query-internal.h"

/* A list's filter, cursor and limit; or a path instead of the filter. */
#define TAKES_NOTHING ASKED_NOTHING
#define TAKES_FILTER ASKED_FILTER
#define TAKES_LIST (ASKED_FILTER | ASKED_PAGE)
#define TAKES_LIST_OF_PATH (ASKED_PATH | ASKED_PAGE)
#define TAKES_PATH ASKED_PATH
#define TAKES_NAME ASKED_NAME
#define TAKES_ID ASKED_ID

#define FROM_MODEL(function) .make = function
#define FROM_HISTORY(of) .history = of

#define TEXT(key) { #key, json_type_string },
#define FLAG(key) { #key, json_type_boolean },
#define TIME(key) { #key, json_type_int },
#define NO_FILTER

static const struct question questions[] = {
#define QUESTION(name_, takes_, answers, from, missing_, invalid_, filter)                         \
    { .name = name_, .takes = TAKES_##takes_, FROM_##from, .missing = missing_,                    \
      .invalid = invalid_,                                                                         \
      .keys = (const struct filter_key[]){ filter { NULL, json_type_null } } },
#define METHOD(name, who, takes, answers, function)
#include "daemon/control/methods.def"
#undef QUESTION
#undef METHOD
};

const struct question *question_find(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(questions); i++)
        if (strcmp(questions[i].name, name) == 0)
            return &questions[i];
    return NULL;
}

struct history_question question_history(const struct question *question,
                                         const struct asked *asked)
{
    return (struct history_question){
        .of = question->history,
        .path = asked->path ?: filter_string(asked->filter, "path"),
        .finding = filter_string(asked->filter, "name"),
        .since = filter_number(asked->filter, "since"),
        .until = filter_number(asked->filter,
                               question->history == HISTORY_FINDINGS_AT ? "at" : "until"),
        .datastore = filter_string(asked->filter, "datastore"),
        .disk = filter_bool(asked->filter, "disk"),
        .heads = filter_string(asked->filter, "heads"),
        .cursor = asked->cursor,
        .limit = asked->limit,
    };
}
