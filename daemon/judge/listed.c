/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Decides which files count as images. */
#include "daemon/judge/judgement.h"

/* Content that begins with a format's magic is an image, and so is what an overlay names as its
 * parent. Raw content can be anything: then size and name decide. What a manager wrote down about
 * disks is none. */
bool judge_is_listed(const struct image *image, const struct relation *relation)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;
    const struct layer_report *layer = audit_layer_seen(image->audit);

    if ((!relation || relation->n_children == 0) &&
        (image_is_record(image) || image_is_tracking(image)))
        return false;
    if ((relation && relation->n_children > 0) || image->past.format != QCA_FORMAT_UNKNOWN)
        return true;
    if (image->datastore->of_devices || image_is_device(image))
        return true;            /* somebody says so */
    if (report && audit_report_worker_died(report))
        return true;
    if (!report || (!layer && audit_report_open_error(report)->kind <= QCA_ERROR_IO))
        return path_is_image_name(image->path);
    if (!layer || layer->info.format != QCA_FORMAT_RAW)
        return true;
    return image->fingerprint.size % 512 == 0 && path_is_image_name(image->path);
}
