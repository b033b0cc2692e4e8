/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of what was an image before: its header is overwritten, and what is left reads as raw,
 * by whatever name. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "daemon/judge/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

char *past_words(const struct image_past *past)
{
    time_t until = (time_t)(past->until / USEC_PER_SEC);
    char stamp[64], *words;
    struct tm utc;

    if (!gmtime_r(&until, &utc) ||
        strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M UTC", &utc) == 0)
        stamp[0] = 0;
    return asprintf(&words, "a %s image%s%s", qca_format_name(past->format),
                    stamp[0] ? " until " : "", stamp) < 0
               ? NULL
               : words;
}

static bool name_says(const char *path, enum qca_format format)
{
    const char *dot = strrchr(path, '.'), *name = qca_format_name(format);

    return dot && name && strcasecmp(dot + 1, name) == 0;
}

/* The format that users of the image declare. */
enum declared { DECLARED_BY_NOBODY, DECLARED_RAW, DECLARED_OTHER };

static enum declared declared_as(const struct graph *graph, const struct image *image)
{
    struct usage usage = graph_image_usage(graph, image);
    enum declared declared = DECLARED_BY_NOBODY;
    const struct image *child;

    for (size_t i = 0; i < usage.n_entries; i++) {
        const struct usage_entry *entry = &usage.entries[i];
        const char *format = entry->kind == USAGE_LAYER && entry->disk
                                 ? entry->disk->layers[entry->layer].format : NULL;

        if (format && strcmp(format, "raw") == 0)
            declared = DECLARED_RAW;
        else if (format)
            return DECLARED_OTHER;
    }
    for (size_t i = 0; i < 8 && (child = graph_child(image, i)); i++)
        if (child->parent.format)
            return strcmp(child->parent.format, "raw") == 0 ? DECLARED_RAW : DECLARED_OTHER;
    return declared;
}

bool image_lost_header(const struct graph *graph, const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);
    const struct image_past *past = &image->past;
    enum declared declared;
    uint64_t size;

    if (past->format == QCA_FORMAT_UNKNOWN || !layer || layer->probed_format != QCA_FORMAT_RAW ||
        !identity_equal(&image->audit->identity, &image->identity))
        return false;
    declared = declared_as(graph, image);
    if (declared != DECLARED_BY_NOBODY)
        return declared != DECLARED_RAW;
    if (image_is_device(image))
        return false;           /* a volume is given to whoever needs one */
    if (layer->info.variant != QCA_VARIANT_NONE)
        return false;           /* a partition table, an install medium: it is a disk */
    size = image->audit->fingerprint.size;
    /* Written over where it lies, and nothing else: the size stays. Else a raw disk may have been
     * copied onto it; that is whole sectors, and does not bear the name of the other format. */
    return size == past->size || size % 512 != 0 || size == 0 ||
           name_says(image->path, past->format);
}

/* was, header-seen-at, size-then */
int judge_header(struct judging *judging)
{
    const struct image *image = judging->image;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *past = NULL;

    if (!image_lost_header(judging->graph, image))
        return 0;
    /* A copy onto it may be under way; what a QEMU has open is no target of a copy. */
    if (image->audit->confidence <= CONFIDENCE_CONFIRMED && image->audit->locked != FILES_WRITER) {
        judging->judgement->judged[FINDING_HEADER_INVALID] = false;
        return 0;
    }
    past = past_words(&image->past);
    if (!past)
        return -ENOMEM;
    evidence = evidence_new();
    evidence_text(&evidence, TEXT_WAS, qca_format_name(image->past.format));
    evidence_number(&evidence, NUMBER_HEADER_SEEN_AT, image->past.until);
    evidence_number(&evidence, NUMBER_SIZE_THEN, image->past.size);
    return judging_add(judging, FINDING_HEADER_INVALID, SEVERITY_CRITICAL, 2, &evidence,
                       "was %s, and its header is overwritten", past);
}
