/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of what was left over: images that nothing refers to, and what backup tools left
 * behind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/judge/internal.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define LAYERS_SHOWN 20

/* When the file itself was made: what lies below it says nothing here. */
static uint64_t file_made(const struct image *image)
{
    int64_t made = image->identity.btime > 0 ? image->identity.btime : image->fingerprint.mtime;

    if (image_is_device(image))
        return image->first_seen;
    return made > 0 ? (uint64_t)made / 1000 : 0;
}

static int evidence_looked_for(struct evidence *evidence)
{
    static const char *const looked_for[] = {
        "disks of domains", "other files of domains", "snapshots", "overlays of other images",
        "data files of other images", "references that lead nowhere", "locks",
        "records of VMware's",
    };
    json_object *list = json_object_new_array();

    for (size_t i = 0; list && i < ELEMENTSOF(looked_for); i++)
        if (json_object_array_add(list, json_object_new_string(looked_for[i])) < 0) {
            json_object_put(list);
            list = NULL;
        }
    if (evidence->failed) {
        json_object_put(list);
        return -ENOMEM;
    }
    return json_add(evidence->object, "looked-for", list);
}

/* allocated-bytes (of all layers), made-at, written-at, looked-for []; of more than one layer:
 * layers [path, allocated-bytes], n-layers. Told once of a whole chain, or tree, of the lowest
 * layer. */
static int judge_orphan(struct judging *judging)
{
    const struct image *image = judging->image;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ struct image **layers = NULL;
    char size[TEXT_SIZE_MAX];
    uint64_t bytes = 0, written = 0;
    size_t n;
    int r;

    if (!graph_knows_owners(judging->graph, image))
        return 0;
    judging_looked(judging, FINDING_ORPHAN);
    if (graph_unused_base(judging->graph, image) != image)
        return 0;
    n = graph_tree(image, NULL, 0);
    layers = calloc(n, sizeof(*layers));
    evidence = evidence_new();
    if (!layers || evidence_looked_for(&evidence) < 0)
        return -ENOMEM;
    (void)graph_tree(image, layers, n);
    for (size_t i = 0; i < n; i++) {
        bytes += layers[i]->fingerprint.allocated;
        if ((uint64_t)layers[i]->fingerprint.mtime / 1000 > written)
            written = (uint64_t)layers[i]->fingerprint.mtime / 1000;
    }
    evidence_number(&evidence, NUMBER_ALLOCATED_BYTES, bytes);
    if (file_made(image) > 0)
        evidence_number(&evidence, NUMBER_MADE_AT, file_made(image));
    evidence_number(&evidence, NUMBER_WRITTEN_AT, written);
    if (n > 1) {
        struct evidence list = evidence_new_list();

        for (size_t i = 0; i < n && i < LAYERS_SHOWN; i++) {
            struct evidence layer = evidence_new();

            evidence_text(&layer, TEXT_PATH, layers[i]->path);
            evidence_number(&layer, NUMBER_ALLOCATED_BYTES, layers[i]->fingerprint.allocated);
            evidence_append(&list, &layer);
        }
        evidence_value(&evidence, PART_LAYERS, &list);
        evidence_number(&evidence, NUMBER_N_LAYERS, n);
    }
    if (n == 1)
        r = judging_add(judging, FINDING_ORPHAN, SEVERITY_WARNING, n, &evidence,
                        "is used by no domain, snapshot or other image, and takes %s",
                        text_size(bytes, size));
    else if (n == 2)
        r = judging_add(judging, FINDING_ORPHAN, SEVERITY_WARNING, n, &evidence,
                        "and the layer above it are used by no domain, snapshot or other image, "
                        "and take %s",
                        text_size(bytes, size));
    else
        r = judging_add(judging, FINDING_ORPHAN, SEVERITY_WARNING, n, &evidence,
                        "and the %zu layers above it are used by no domain, snapshot or other "
                        "image, and take %s",
                        n - 1, text_size(bytes, size));
    if (r >= 0)
        judging_hold(judging, FINDING_ORPHAN, judging->thresholds->orphan_after);
    return r;
}

/* tool, made-at, age-seconds; domain, connection, disk, running of who uses it */
static int judge_backup(struct judging *judging)
{
    const struct image *image = judging->image;
    const char *tool = backup_tool(image->path);
    const struct usage_entry *entry = usage_layer(&judging->usage);
    uint64_t made = file_made(image), after = judging->thresholds->backup_after, age;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *words = entry ? entry_words(entry) : NULL;
    char text[TEXT_DURATION_MAX];
    int r;

    judging_looked(judging, FINDING_BACKUP_LEFTOVER);
    if (!tool || !backup_tool_is_temporary(image->path) || made == 0 || made > judging->now ||
        usage_made(&judging->usage, NULL))
        return 0;
    /* At work; or a disk that only has such a name, as the tool's own appliance. */
    if (entry &&
        (entry->disk->job.type || entry->domain->backup || image->parent.state == REFERENCE_NONE))
        return 0;
    if (entry && !words)
        return -ENOMEM;
    age = judging->now - made;
    evidence = evidence_new();
    evidence_text(&evidence, TEXT_TOOL, tool);
    evidence_number(&evidence, NUMBER_MADE_AT, made);
    evidence_number(&evidence, NUMBER_AGE_SECONDS, age / USEC_PER_SEC);
    if (entry)
        evidence_entry(&evidence, judging, entry);
    r = judging_add(judging, FINDING_BACKUP_LEFTOVER, SEVERITY_WARNING, entry ? 2 : 1, &evidence,
                    "was left behind by %s %s ago%s%s", tool, text_duration(age, text),
                    entry ? ", and is in use as " : "", entry ? words : "");
    if (r >= 0 && age < after)
        judging_hold(judging, FINDING_BACKUP_LEFTOVER, after - age);
    return r;
}

int judge_leftover(struct judging *judging)
{
    int r = judge_orphan(judging);

    return r < 0 ? r : judge_backup(judging);
}
