/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images: what their last audits and their names say, destructors. */
#include "daemon/core/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "daemon/core/names.h"
#include "lib/cleanup.h"

static const char *const reference_state_names[_REFERENCE_STATE_MAX] = {
    [REFERENCE_NONE] = "none",
    [REFERENCE_PENDING] = "pending",
    [REFERENCE_FOUND] = "found",
    [REFERENCE_MISSING] = "missing",
    [REFERENCE_ESCAPES] = "escapes",
    [REFERENCE_IS_REMOTE] = "remote",
    [REFERENCE_UNREACHABLE] = "unreachable",
};

const char *reference_state_name(enum reference_state state)
{
    return name_of(reference_state_names, ELEMENTSOF(reference_state_names), state);
}

int reference_state_from_name(const char *name)
{
    return name_index(reference_state_names, ELEMENTSOF(reference_state_names), name);
}

bool image_is_device(const struct image *image)
{
    return S_ISBLK(image->fingerprint.mode);
}

struct audit *audit_free(struct audit *audit)
{
    if (!audit)
        return NULL;
    digest_result_free(audit->digest);
    audit_report_free(audit->report);
    packed_layer_free(audit->layer);
    free(audit->verity);
    free(audit);
    return NULL;
}

void reference_done(struct reference *reference)
{
    free(reference->stored);
    free(reference->format);
    free(reference->path);
    *reference = (struct reference){ .state = REFERENCE_NONE };
}

bool error_is_temporary(int error)
{
    switch (error) {
    case -EAGAIN:               /* somebody has a lease on it */
    case -EBUSY:
    case -EINTR:
    case -EMFILE:
    case -ENFILE:
    case -ENOBUFS:
    case -ENOMEM:
        return true;
    default:
        return false;
    }
}

void audit_rest(struct audit *audit)
{
    struct audit_report *report = audit->report;

    if (!report || report->n_layers != 1 || audit->layer ||
        layer_pack(report->layers, &audit->layer) < 0)
        return;
    free(report->layers);
    report->layers = NULL;
    report->n_layers = 0;
}

const struct layer_report *audit_layer_seen_in(const struct audit *audit,
                                               struct layer_report *storage)
{
    if (!audit || !audit->report)
        return NULL;
    if (!audit->layer)
        return audit->report->n_layers > 0 ? audit->report->layers : NULL;
    layer_unpack(audit->layer, storage);
    return storage;
}

const struct layer_report *audit_layer_in(const struct audit *audit, struct layer_report *storage)
{
    const struct layer_report *layer = audit_layer_seen_in(audit, storage);

    return layer && audit->report->error == 0 ? layer : NULL;
}

const struct layer_report *image_layer_in(const struct image *image, struct layer_report *storage)
{
    return image ? audit_layer_in(image->audit, storage) : NULL;
}

struct audit_report audit_whole_report(const struct audit *audit, struct layer_report *storage)
{
    struct audit_report report = audit->report ? *audit->report : (struct audit_report){ 0 };

    if (audit->layer) {
        layer_unpack(audit->layer, storage);
        report.layers = storage;
        report.n_layers = 1;
    }
    return report;
}

bool image_was_denied(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    /* A worker that lacked memory says so as an open error: that depends on the image. */
    return report && !audit_layer_seen(image->audit) &&
           audit_report_open_error(report)->kind == QCA_ERROR_NONE &&
           error_is_temporary(report->error);
}

bool image_is_opaque(const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);

    return layer && layer_is_opaque(layer);
}

bool layer_is_opaque(const struct layer_report *layer)
{
    return layer->info.crypt_method != QCA_CRYPT_NONE ||
           !qca_info_is_understood(&layer->info);
}

size_t image_count_extents(const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);
    size_t n = 0;

    for (size_t i = 0; layer && i < layer->info.n_extents; i++)
        n += layer->info.extents[i].name != NULL;
    return n;
}

bool image_is_foreign(const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);

    /* a descriptor that was compared with its extents: those are audited as images */
    return layer && !qca_info_is_understood(&layer->info) &&
           !(layer->checked && layer->info.n_extents > 0);
}

bool issue_kind_is_proven_cut(enum qca_issue_kind kind)
{
    return kind == QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE || kind == QCA_ISSUE_VOLUME_OUT_OF_FILE ||
           kind == QCA_ISSUE_LUKS_DATA_OUT_OF_FILE || kind == QCA_ISSUE_MEMBER_OUT_OF_FILE;
}

/* Does it end so, in whatever case? */
static bool name_ends(const char *path, const char *end)
{
    size_t n = strlen(path), k = strlen(end);

    return n > k && strcasecmp(path + n - k, end) == 0;
}

bool image_is_record(const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);

    if (qca_format_has(layer ? layer->info.format : image->past.format, QCA_TRAIT_RECORD))
        return true;
    return (!layer || layer->info.format == QCA_FORMAT_RAW) &&
           image->past.format == QCA_FORMAT_UNKNOWN &&
           (name_ends(image->path, ".vmx") || name_ends(image->path, ".vmtx"));
}

/* By the name that ESXi gives ("changeTrackPath" of the descriptor), as the format is documented
 * nowhere; one that is a disk by its content is one. */
bool image_is_tracking(const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);

    return name_ends(image->path, "-ctk.vmdk") &&
           (!layer || layer->info.format == QCA_FORMAT_RAW) &&
           image->past.format == QCA_FORMAT_UNKNOWN;
}

bool path_is_image_name(const char *path)
{
    static const char *const extensions[] = {
        "avhd", "avhdx", "bochs", "cloop", "cow",  "dd",  "disk", "dmg", "fd",   "hdd",
        "hds",  "img",   "iso",   "ova",   "qco",  "qcow", "qcow2", "qed", "raw", "vdi",
        "vhd",  "vhdx",  "vmdk",  "vpc",
    };
    const char *dot = strrchr(path, '.');

    if (!dot || strchr(dot, '/'))
        return false;
    for (size_t i = 0; i < ELEMENTSOF(extensions); i++)
        if (strcasecmp(dot + 1, extensions[i]) == 0)
            return true;
    return false;
}

bool image_has_data_file(const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);

    return layer && (layer->info.incompatible_features & QCA_INCOMPAT_DATA_FILE) != 0;
}

void reference_list_done(struct reference_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        reference_done(&list->items[i]);
    free(list->items);
    *list = (struct reference_list){ 0 };
}

struct image *image_free(struct image *image)
{
    if (!image)
        return NULL;
    free(image->path);
    audit_free(image->audit);
    audit_free(image->audit_before);
    reference_done(&image->parent);
    reference_done(&image->data_file);
    reference_list_done(&image->extents);
    former_free(image->former);
    free(image->growth);
    free(image);
    return NULL;
}

/* rsync's ".NAME.XXXXXX" */
static bool name_is_of_rsync(const char *name)
{
    const char *dot = strrchr(name, '.');

    return name[0] == '.' && dot > name + 1 && strlen(dot + 1) == 6 &&
           strspn(dot + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == 6;
}

bool image_name_is_partial(const char *path)
{
    /* browsers, curl, wget, WinSCP, nova, Proxmox, torrent clients */
    static const char *const ends[] = {
        ".part", ".partial", ".crdownload", ".filepart", ".download", ".opdownload", ".downloading",
        ".incomplete", ".unfinished", ".tmp", ".temp", ".wget", ".!qB", ".!ut", ".bc!",
    };
    static const char *const middles[] = { ".tmp.", ".tmp_dwnl.", ".part." };
    /* of rsync and glance */
    static const char *const folders[] = { "/.rsync-partial/", "/.~tmp~/", "/incomplete/" };
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name);

    for (size_t i = 0; i < ELEMENTSOF(ends); i++)
        if (n > strlen(ends[i]) && strcasecmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    for (size_t i = 0; i < ELEMENTSOF(middles); i++)
        if (strstr(name, middles[i]))
            return true;
    for (size_t i = 0; i < ELEMENTSOF(folders); i++)
        if (strstr(path, folders[i]))
            return true;
    return name_is_of_rsync(name);
}
