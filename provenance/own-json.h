/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The project's own form of a catalogue, as an object of json-c. */
#pragma once

#include <json-c/json.h>

#include "provenance/catalogue.h"

#define CATALOGUE_OWN_FORMAT "qcaudit-catalogue-1"

/* {"format": ..., "records": [...]}, which catalogue_read() reads. -ENOMEM. */
int catalogue_to_json(const struct catalogue *catalogue, json_object **ret_object);
