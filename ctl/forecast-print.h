/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A forecast in words, and as JSON. */
#pragma once

#include <json-c/json.h>

#include "ctl/forecast.h"

/* The figure of a forecast, and its limit. */
struct forecast_subject {
    bool is_size;               /* bytes; else a number of things */
    const char *one, *many;     /* "layer", "layers"; sizes: NULL */
    bool in_steps;              /* as forecast_make() takes it */
    bool is_space;              /* the limit is where the space ends; else that of a chain */
    bool is_layer;              /* points of layers below are left out */
};

/* One sentence, or two; nothing of what is not known. limit: 0 none, or none to be told of. */
void forecast_print(const struct forecast *forecast, const struct forecast_subject *subject,
                    uint64_t limit, uint64_t now);
/* The member "forecast" of the object; none of what is not known. */
int forecast_add(json_object *object, const struct forecast *forecast,
                 const struct forecast_subject *subject, uint64_t limit, uint64_t now);
