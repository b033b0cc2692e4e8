/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The definition of a virtual machine of VMware's (NAME.vmx, and NAME.vmtx of a template): which
 * disks it has. No disk itself ("VMware Virtual Machine configuration file": BUS C:U.fileName and
 * BUS C:U.present, as libvirt's src/vmx/vmx.c reads them, too). */
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "foreign.h"
#include "vmware-text.h"

enum {
    N_BUSES = 4, CONTROLLERS = 16, UNITS = 256,
    ABSENT = 1,                 /* present = "FALSE" */
    DISKS_MAX = 512,            /* vSphere's "Configuration Maximums": 256 of SCSI, 60 of NVMe and
                                 * 120 of SATA; each name is looked for in the datastore */
};

/* Of an encrypted virtual machine all lines but a few are in the value of this one ("vSphere
 * Security", "Virtual Machine Encryption"), and so are the names of its disks. */
static bool key_is_cipher(const char *key, size_t n_key)
{
    return vmware_key_is(key, n_key, "encryption.data");
}

static bool key_is_definitions(const char *key, size_t n_key)
{
    return vmware_key_is(key, n_key, "config.version") ||
           vmware_key_is(key, n_key, "virtualHW.version") || key_is_cipher(key, n_key);
}

static bool vmx_probe(struct probe *probe)
{
    return vmware_text_probe(probe, key_is_definitions);
}

struct reading {
    struct qca_image *image;
    struct qca_error *error;
    uint8_t slots[N_BUSES * CONTROLLERS * UNITS];
};

/* Where the disk is plugged in: "scsi0:0." goes off the key. */
static bool take_slot(struct vmware_line *key, unsigned *ret_slot)
{
    static const char *const buses[N_BUSES] = { "scsi", "sata", "nvme", "ide" };
    unsigned controller, unit;

    for (unsigned bus = 0; bus < N_BUSES; bus++)
        if (vmware_key_word(key, buses[bus])) {
            if (!vmware_key_number(key, CONTROLLERS - 1, &controller) ||
                !vmware_key_word(key, ":") || !vmware_key_number(key, UNITS - 1, &unit) ||
                !vmware_key_word(key, "."))
                return false;
            *ret_slot = (bus * CONTROLLERS + controller) * UNITS + unit;
            return true;
        }
    return false;
}

static int take_line(void *userdata, const struct vmware_line *line)
{
    struct reading *reading = userdata;
    struct qca_image_info *info = &reading->image->info;
    struct vmware_line key = { .key = line->key, .n_key = line->n_key };
    unsigned slot;
    int r;

    if (key_is_cipher(line->key, line->n_key))
        info->crypt_method = QCA_CRYPT_AES;
    if (!take_slot(&key, &slot))
        return 0;
    if (vmware_key_is(key.key, key.n_key, "present"))
        reading->slots[slot] = strcasecmp(line->value, "FALSE") == 0 ? ABSENT : 0;
    if (!vmware_key_is(key.key, key.n_key, "fileName") || !vmware_names_disk(line))
        return 0;
    if (info->n_extents == DISKS_MAX)
        return foreign_invalid(reading->error, "fileName", 0, info->n_extents, DISKS_MAX,
                               "the definition names more disks than a virtual machine has");
    r = vmware_add_file(reading->image, reading->error, line, "DISK");
    if (r >= 0)
        info->extents[info->n_extents - 1].offset = slot;       /* until all was read */
    return r;
}

static int vmx_open(struct qca_image *image, struct qca_error *error)
{
    _cleanup_free_ struct reading *reading = calloc(1, sizeof(*reading));
    int r = vmware_text_begin(image, error, key_is_definitions, "the definition");

    if (r < 0)
        return r;
    if (!reading)
        return error_set_memory(error);
    reading->image = image;
    reading->error = error;
    r = vmware_text_each(image, error, take_line, reading);
    for (size_t i = 0; i < image->info.n_extents; i++) {
        struct qca_extent_file *file = &image->info.extents[i];

        /* A disk that was taken out keeps its name, until the line is used again. */
        if (reading->slots[file->offset] == ABSENT)
            snprintf(file->type, sizeof(file->type), "ABSENT");
        file->offset = 0;
    }
    return r;
}

const struct format format_vmx = {
    .format = QCA_FORMAT_VMX,
    .probe = vmx_probe,
    .open = vmx_open,
};
