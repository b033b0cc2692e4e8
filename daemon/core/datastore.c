/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Datastores: names of their states, a destructor. */
#include "daemon/core/datastore.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/names.h"
#include "lib/cleanup.h"

static const char *const datastore_state_names[_DATASTORE_STATE_MAX] = {
    [DATASTORE_STARTING] = "starting",
    [DATASTORE_ONLINE] = "online",
    [DATASTORE_OFFLINE] = "offline",
    [DATASTORE_PAUSED] = "paused",
    [DATASTORE_REMOVED] = "removed",
};

const char *datastore_state_name(enum datastore_state state)
{
    return name_of(datastore_state_names, ELEMENTSOF(datastore_state_names), state);
}

int datastore_state_from_name(const char *name)
{
    return name_index(datastore_state_names, ELEMENTSOF(datastore_state_names), name);
}

struct datastore *datastore_free(struct datastore *datastore)
{
    if (!datastore)
        return NULL;
    free(datastore->name);
    free(datastore->path);
    free(datastore->pool);
    free(datastore->space.others);
    coverage_done(&datastore->coverage);
    free(datastore);
    return NULL;
}
