/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words for the result of a reading. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

char *explain_verdict(const struct finishing *finishing, const struct baseline *baseline,
                      const struct reading *reading, enum reading_verdict verdict, bool moved)
{
    char *text = NULL;
    int n = 0;

    switch (verdict) {
    case READING_VERIFIED:
        if (moved)
            n = asprintf(&text, "another file with the same content lies there now");
        break;
    case READING_METADATA:
        n = asprintf(&text, "%s: the content is as it was",
                     baseline->has_metadata && reading->has_metadata &&
                             memcmp(baseline->metadata, reading->metadata, 32) != 0
                         ? "only the image's metadata changed" : "the file was written");
        break;
    case READING_COMMIT: {
        uint64_t blocks = reading->difference.blocks;
        const char *plural = blocks == 1 ? "" : "s";
        _cleanup_free_ char *children = NULL;

        if (reading->difference.handed_down == blocks) {
            n = asprintf(&text,
                         "it was committed into its parent, which holds now what it held: %" PRIu64
                         " block%s",
                         blocks, plural);
            break;
        }
        children = commit_names(finishing);
        n = asprintf(&text, "a commit of %s explains it: %" PRIu64 " block%s %s what it held",
                     children ? children : "an overlay", blocks, plural,
                     blocks == 1 ? "is" : "are");
        break;
    }
    case READING_CHANGED:
        n = reading->compared && reading->difference.blocks == 0
                ? asprintf(&text, "its disk has another size: what its overlays see is as it was")
                : asprintf(&text, "it was written before its overlays were made, or has none");
        break;
    case READING_ROT:
    case READING_MODIFIED:
        if (verdict == READING_MODIFIED && reading->compared && reading->difference.hurts) {
            const struct candidate *hurt = &finishing->children[reading->difference.hurt_child];
            _cleanup_free_ char *children = commit_names(finishing),
                                *shown = text_escape_string(hurt->path);

            n = asprintf(&text,
                         "it holds what %s held, and %s, which stands on it too, sees that",
                         children ? children : "an overlay", shown ? shown : "another overlay");
        } else if (reading->compared && reading->difference.n_ranges > 0)
            n = asprintf(&text,
                         "%" PRIu64 " block%s, the first at byte %" PRIu64
                         " of the guest's disk",
                         reading->difference.blocks,
                         reading->difference.blocks == 1 ? " differs" : "s differ",
                         reading->difference.ranges[0].offset);
        else if (reading->compared && baseline->virtual_size != reading->virtual_size)
            n = asprintf(&text,
                         "its disk has %" PRIu64 " bytes now, and had %" PRIu64
                         ": the data is as it was",
                         reading->virtual_size, baseline->virtual_size);
        else
            n = reading->compared
                    ? asprintf(&text, "its headers or tables differ, and the data does not")
                    : asprintf(&text, "the digest differs; which blocks is not known");
        break;
    case READING_INCOMPLETE:
        n = asprintf(&text, "%" PRIu64 " bytes could not be read: %s", reading->bad_bytes,
                     strerror(-reading->error));
        break;
    default:
        break;
    }
    return n < 0 ? NULL : text;
}

void explain_tell(const struct image *image, enum reading_verdict verdict, const char *explanation)
{
    _cleanup_free_ char *path = text_escape_string(image->path);

    if (verdict == READING_COMMIT || verdict == READING_METADATA)
        log_info(0, "%s: %s", path ? path : "an image",
                 explanation ? explanation : reading_verdict_name(verdict));
}
