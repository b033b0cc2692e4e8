/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The snapshots of a virtual machine of VMware's (NAME.vmsd): of each, the disks as they were. No
 * disk itself. A layer that ESXi made for a snapshot stands on a file that is named here ("vSphere
 * Virtual Machine Administration", "Snapshot Files"). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "foreign.h"
#include "vmware-text.h"

enum { SNAPSHOTS_MAX = 1024, DISKS_MAX = 255 };

/* As it comes together, in lines of any order. */
struct found {
    char *id, *name;
    uint32_t high, low;         /* microseconds since the epoch */
    bool seen;
};

struct reading {
    struct qca_image *image;
    struct qca_error *error;
    struct found found[SNAPSHOTS_MAX];
};

static bool key_is_snapshots(const char *key, size_t n_key)
{
    return vmware_key_is(key, n_key, "snapshot.lastUID") ||
           vmware_key_is(key, n_key, "snapshot.numSnapshots") ||
           vmware_key_is(key, n_key, "snapshot.current");
}

static bool vmsd_probe(struct probe *probe)
{
    return vmware_text_probe(probe, key_is_snapshots);
}

/* Of the same line twice, the first counts. */
static int take_text(const struct vmware_line *line, char **text)
{
    if (*text || line->bad)
        return 0;
    *text = strdup(line->value);
    return *text ? 0 : -ENOMEM;
}

/* "-1234" is what a program says that takes the lower half for a signed number. */
static uint32_t take_half(const struct vmware_line *line)
{
    return line->bad ? 0 : (uint32_t)strtoll(line->value, NULL, 10);
}

static int take_line(void *userdata, const struct vmware_line *line)
{
    struct reading *reading = userdata;
    struct vmware_line key = { .key = line->key, .n_key = line->n_key };
    unsigned number, disk;
    struct found *found;

    if (!vmware_key_word(&key, "snapshot") || key.n_key == 0 || *key.key == '.')
        return 0;
    if (!vmware_key_number(&key, SNAPSHOTS_MAX - 1, &number))
        return foreign_invalid(reading->error, "snapshot", 0, 0, SNAPSHOTS_MAX - 1,
                               "there are more snapshots than a virtual machine can have");
    if (!vmware_key_word(&key, "."))
        return 0;
    found = &reading->found[number];
    found->seen = true;
    if (vmware_key_is(key.key, key.n_key, "uid"))
        return take_text(line, &found->id);
    if (vmware_key_is(key.key, key.n_key, "displayName"))
        return take_text(line, &found->name);
    if (vmware_key_is(key.key, key.n_key, "createTimeHigh"))
        found->high = take_half(line);
    else if (vmware_key_is(key.key, key.n_key, "createTimeLow"))
        found->low = take_half(line);
    else if (vmware_key_word(&key, "disk") && vmware_key_number(&key, DISKS_MAX, &disk) &&
             vmware_key_is(key.key, key.n_key, ".fileName") && vmware_names_disk(line))
        return vmware_add_file(reading->image, reading->error, line, "SNAPSHOT");
    return 0;
}

static int take_snapshots(struct reading *reading)
{
    struct qca_image_info *info = &reading->image->info;
    size_t n = 0;

    for (size_t i = 0; i < SNAPSHOTS_MAX; i++)
        n += reading->found[i].seen;
    info->snapshots = calloc(n ? n : 1, sizeof(*info->snapshots));
    if (!info->snapshots)
        return error_set_memory(reading->error);
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        struct found *found = &reading->found[i];
        uint64_t made = (uint64_t)found->high << 32 | found->low;
        struct qca_snapshot *snapshot = &info->snapshots[info->n_snapshots];

        if (!found->seen)
            continue;
        info->n_snapshots++;
        snapshot->id = found->id ? TAKE_PTR(found->id) : strdup("");
        snapshot->name = found->name ? TAKE_PTR(found->name) : strdup("");
        snapshot->date_sec = (int64_t)(made / 1000000);
        snapshot->date_nsec = (uint32_t)(made % 1000000) * 1000;
        if (!snapshot->id || !snapshot->name)
            return error_set_memory(reading->error);
    }
    info->snapshot_count = (uint32_t)info->n_snapshots;
    return 0;
}

static int vmsd_open(struct qca_image *image, struct qca_error *error)
{
    _cleanup_free_ struct reading *reading = calloc(1, sizeof(*reading));
    int r = vmware_text_begin(image, error, key_is_snapshots, "the list of snapshots");

    if (r < 0)
        return r;
    if (!reading)
        return error_set_memory(error);
    reading->image = image;
    reading->error = error;
    r = vmware_text_each(image, error, take_line, reading);
    if (r >= 0)
        r = take_snapshots(reading);
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        free(reading->found[i].id);
        free(reading->found[i].name);
    }
    return r;
}

const struct format format_vmsd = {
    .format = QCA_FORMAT_VMSD,
    .probe = vmsd_probe,
    .open = vmsd_open,
};
