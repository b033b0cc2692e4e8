/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's XML: the first byte says which document the rest is read as. */
#include <stdlib.h>
#include <string.h>

#include "daemon/core/strv.h"
#include "daemon/virt/library.h"
#include "daemon/virt/xml.h"
#include "fuzz/fuzz.h"

/* What was read keeps to its limits. */
static void look(const struct virt_body *body)
{
    if (body->n_disks > VIRT_DISKS_MAX || body->n_files > VIRT_FILES_MAX ||
        strlen(body->uuid) != 36 || !*body->name)
        abort();
    for (size_t i = 0; i < body->n_disks; i++) {
        const struct virt_disk *disk = &body->disks[i];

        if (!disk->target || !disk->device || disk->n_layers == 0 ||
            disk->n_layers > VIRT_LAYERS_MAX)
            abort();
        for (size_t j = 0; j < disk->n_layers; j++)
            if (disk->layers[j].path && disk->layers[j].path[0] != '/')
                abort();
        if (i > 0 && strcmp(body->disks[i - 1].target, disk->target) > 0)
            abort();
    }
}

static bool load(void)
{
    static bool loaded;
    char *reason;

    if (!loaded && virt_library_load_xml(&reason) < 0)
        abort();
    return loaded = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct virt_body *body;
    struct virt_snapshot snapshot;
    struct virt_checkpoint checkpoint;
    struct virt_pool pool;
    uint64_t left_out;
    char *text, **files;

    if (size == 0 || size > FUZZ_INPUT_MAX || !load())
        return 0;
    text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0] % 5) {
    case 0:
        if (virt_xml_body(text, data[0] & 128 ? text : NULL, &body) == 0) {
            struct virt_record *record;

            look(body);
            if (virt_record_new(body, NULL, NULL, &record) == 0)
                virt_record_unref(record);
            virt_body_unref(body);
        }
        break;
    case 1:
        if (virt_xml_snapshot(text, &snapshot, &left_out) == 0)
            virt_snapshot_done(&snapshot);
        break;
    case 2:
        if (virt_xml_checkpoint(text, &checkpoint, &left_out) == 0)
            virt_checkpoint_done(&checkpoint);
        break;
    case 3:
        if (virt_xml_pool(text, &pool) == 0)
            virt_pool_done(&pool);
        break;
    default:
        if (virt_xml_backup(text, &files) == 0)
            strv_free(files);
    }
    free(text);
    return 0;
}
