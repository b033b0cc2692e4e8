/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of coverage: what nobody looks at although it holds, or may hold, disks of guests. */
#include <errno.h>
#include <string.h>

#include "daemon/judge/internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define NAMED_MAX 5

static void add_item(struct evidence *list, const struct coverage_item *item)
{
    struct evidence entry = evidence_new();

    evidence_text(&entry, TEXT_REASON, coverage_reason_name(item->why));
    evidence_text(&entry, TEXT_PATH, item->path);
    evidence_text(&entry, item->why == FILES_LEFT_DEVICE ? TEXT_DEVICE : TEXT_FILE_SYSTEM,
                  item->target);
    evidence_append(list, &entry);
}

/* "2 network file systems", after what is in text already. */
static int words_add(char **text, uint64_t n, const char *one, const char *many)
{
    _cleanup_free_ char *before = *text;

    if (n == 0) {
        before = NULL;
        return 0;
    }
    if (asprintf(text, "%s%s%llu %s", before ? before : "", before ? ", " : "",
                 (unsigned long long)n, n == 1 ? one : many) < 0) {
        *text = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* left-out [reason, path, file-system or device], mounts-remote, mounts-gone, mounts-forbidden,
 * links-to-devices, too-many-files */
int judge_coverage(struct judging *judging, const struct datastore *datastore)
{
    const struct coverage *coverage = &datastore->coverage;
    const uint64_t *left_out = coverage->left_out;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = { .object = NULL };
    _cleanup_free_ char *words = NULL, *path = NULL;
    uint64_t gaps = coverage_gaps(coverage), forbidden = left_out[FILES_LEFT_FORBIDDEN];
    const struct coverage_item *first = NULL;
    int r;

    judging_looked(judging, FINDING_COVERAGE_GAP);
    if (gaps == 0 && forbidden == 0)
        return 0;
    list = evidence_new_list();
    for (size_t i = 0; i < coverage->n_items; i++) {
        const struct coverage_item *item = &coverage->items[i];

        if (!first && (gaps == 0 || coverage_reason_is_gap(item->why)))
            first = item;
        add_item(&list, item);
    }
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_MOUNTS_REMOTE, left_out[FILES_LEFT_REMOTE]);
    evidence_number(&evidence, NUMBER_MOUNTS_GONE, left_out[FILES_LEFT_GONE]);
    evidence_number(&evidence, NUMBER_MOUNTS_FORBIDDEN, forbidden);
    evidence_number(&evidence, NUMBER_LINKS_TO_DEVICES, left_out[FILES_LEFT_DEVICE]);
    evidence_number(&evidence, NUMBER_TOO_MANY_FILES, left_out[FILES_LEFT_TOO_MANY]);
    evidence_value(&evidence, PART_LEFT_OUT, &list);
    path = text_escape_string(first ? first->path : datastore->path);
    r = path ? 0 : -ENOMEM;
    if (gaps == 0) {
        if (r >= 0)
            r = words_add(&words, forbidden, "file system mounted below it",
                          "file systems mounted below it");
        return r < 0 ? r
                     : judging_add(judging, FINDING_COVERAGE_GAP, SEVERITY_INFO, 0, &evidence,
                                   "leaves out %s, as its configuration says: %s%s", words, path,
                                   forbidden > 1 ? ", ..." : "");
    }
    if (r >= 0)
        r = words_add(&words, left_out[FILES_LEFT_REMOTE], "network file system mounted below it",
                      "network file systems mounted below it");
    if (r >= 0)
        r = words_add(&words, left_out[FILES_LEFT_GONE], "file system that is not mounted now",
                      "file systems that are not mounted now");
    if (r >= 0)
        r = words_add(&words, left_out[FILES_LEFT_DEVICE], "link to a block device",
                      "links to block devices");
    if (r >= 0)
        r = words_add(&words, left_out[FILES_LEFT_TOO_MANY], "file more than limits.files allows",
                      "files more than limits.files allows");
    return r < 0 ? r
                 : judging_add(judging, FINDING_COVERAGE_GAP, SEVERITY_WARNING, gaps, &evidence,
                               "does not look at %s: %s%s", words, path, gaps > 1 ? ", ..." : "");
}

/* disks [domain, disk, path], disks-outside */
int judge_outside(struct judging *judging, const struct outside_disk *disks, size_t n,
                  uint64_t total)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = { .object = NULL };
    _cleanup_free_ char *names = NULL;

    judging->judgement->judged[FINDING_COVERAGE_GAP] = true;
    if (total == 0)
        return 0;
    list = evidence_new_list();
    for (size_t i = 0; i < n; i++) {
        struct evidence entry = evidence_new();

        evidence_text(&entry, TEXT_DOMAIN, disks[i].domain);
        evidence_text(&entry, TEXT_DISK, disks[i].target);
        evidence_text(&entry, TEXT_PATH, disks[i].path);
        evidence_append(&list, &entry);
    }
    for (size_t i = 0; i < n && i < NAMED_MAX; i++) {
        _cleanup_free_ char *domain = text_escape_string(disks[i].domain),
                            *path = text_escape_string(disks[i].path),
                            *target = text_escape_string(disks[i].target), *before = names;

        if (!domain || !path || !target ||
            asprintf(&names, "%s%s%s of %s (%s)", before ? before : "", before ? ", " : "", target,
                     domain, path) < 0) {
            names = TAKE_PTR(before);
            return -ENOMEM;
        }
    }
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_DISKS_OUTSIDE, total);
    evidence_value(&evidence, PART_DISKS, &list);
    return judging_add(judging, FINDING_COVERAGE_GAP, SEVERITY_WARNING, total, &evidence,
                       "does not look at %llu disk%s of domains, in no datastore: %s%s",
                       (unsigned long long)total, total == 1 ? "" : "s", names ? names : "",
                       total > NAMED_MAX ? ", ..." : "");
}
