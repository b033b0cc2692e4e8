/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive of evidence: what the daemon knows of the image. */
#include <errno.h>
#include <string.h>

#include "ctl/bundle-make.h"
#include "ctl/client.h"
#include "ctl/source.h"
#include "helpers/json-text.h"

#define EVENTS_MAX 10000            /* of each list, the newest */

/* An answer of the daemon, r: its failure, which is said already. The rest is worth having without
 * it. */
static int keep_answer(struct bundle_maker *maker, const char *name, int r, json_object *answer)
{
    if (r < 0 && r != -ENOMEM) {
        json_object *string = json_object_new_string(name);

        if (string && json_object_array_add(maker->missing, string) >= 0)
            return 0;
        json_object_put(string);
        return -ENOMEM;
    }
    return r < 0 ? r : bundle_add_json(maker, name, answer);
}

static int keep_list(struct bundle_maker *maker, const char *name, const char *question)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    int r = source_list_of_path(maker->ctl, question, maker->path, &rows);

    return keep_answer(maker, name, r, rows);
}

static int keep_events(struct bundle_maker *maker)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    int r = filter ? filter_add(filter, "path", maker->path) : -ENOMEM;

    if (r >= 0)
        r = json_add(filter, "disk", json_object_new_boolean(true));
    if (r >= 0)
        r = source_events(maker->ctl, filter, &rows);
    return keep_answer(maker, "events.json", r, rows);
}

/* How the record of events ends, and whether it is as it was written. */
static int keep_record(struct bundle_maker *maker)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *record = NULL,
                                            *check = NULL;
    int r = filter ? source_record(maker->ctl, &record) : -ENOMEM;

    if (r >= 0)
        r = source_check(maker->ctl, filter, &check);
    if (r >= 0)
        r = json_add(record, "check", json_object_get(check));
    return keep_answer(maker, "record.json", r, record);
}

static bool uses_image(json_object *users, json_object *domain)
{
    const char *name = row_raw(domain, "name");

    for (size_t i = 0; users && name && i < json_object_array_length(users); i++) {
        const char *user = row_raw(json_object_array_get_idx(users, i), "domain");

        if (user && strcmp(user, name) == 0)
            return true;
    }
    return false;
}

/* libvirt's words of the domains that use the image. */
static int keep_domains(struct bundle_maker *maker)
{
    _cleanup_(json_object_putp) json_object *all = NULL, *kept = json_object_new_array();
    int r = kept ? client_rows(maker->ctl, "ListDomains", &all) : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < json_object_array_length(all); i++) {
        json_object *domain = json_object_array_get_idx(all, i);

        if (uses_image(row_member(maker->image, "users"), domain) &&
            json_object_array_add(kept, json_object_get(domain)) < 0) {
            json_object_put(domain);
            r = -ENOMEM;
        }
    }
    return keep_answer(maker, "domains.json", r, kept);
}

static int keep_chain(struct bundle_maker *maker)
{
    _cleanup_(json_object_putp) json_object *chain = NULL;
    int r = client_chain(maker->ctl, maker->path, &chain);

    return keep_answer(maker, "chain.json", r, chain);
}

int bundle_known(struct bundle_maker *maker)
{
    int r = bundle_add_json(maker, "finding.json", maker->finding);

    if (r >= 0)
        r = bundle_add_json(maker, "image.json", maker->image);
    if (r < 0 || !maker->image)
        return r;
    maker->ctl->lines = EVENTS_MAX;
    r = keep_chain(maker);
    if (r >= 0)
        r = keep_domains(maker);
    if (r >= 0)
        r = keep_events(maker);
    if (r >= 0)
        r = keep_list(maker, "audits.json", "ListAudits");
    if (r >= 0)
        r = keep_list(maker, "readings.json", "ListReadings");
    return r < 0 ? r : keep_record(maker);
}
