/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* compare: two images by what their guests see, and by what holds it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/check.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

DEFINE_CLEANUP(struct checker *, checker_free)

enum { SAME_CONTENT = 0, DIFFERENT = 1, NOT_COMPARABLE = EXIT_NOT_COMPARABLE };
enum { RANGES_SHOWN = 20, RANGES_MAX = 10000 };

/* Blocks of one image that are alike: zeros, or with digests from index on. */
struct run {
    uint64_t first, n;
    uint64_t index;                 /* UINT64_MAX: zeros */
};

struct side {
    const char *file;
    char *shown;
    struct stat st;
    struct check *check;
    struct run *runs;
    size_t n_runs, runs_capacity;
    uint8_t (*digests)[16];
    size_t n_digests, digests_capacity;
    bool no_memory;
};

struct range {
    uint64_t offset, length;        /* bytes the guest sees */
};

struct difference {
    struct range ranges[RANGES_MAX];
    size_t n_kept;
    uint64_t n_ranges, bytes, end;  /* end of the last one */
};

/* ---- gathering ---------------------------------------------------------------------------- */

static bool grow(void *array, size_t needed, size_t *capacity, size_t size)
{
    size_t more = *capacity ? *capacity : 1024;
    void *grown;

    if (needed <= *capacity)
        return true;
    while (more < needed)
        more *= 2;
    memcpy(&grown, array, sizeof(grown));
    grown = reallocarray(grown, more, size);
    if (!grown)
        return false;
    memcpy(array, &grown, sizeof(grown));
    *capacity = more;
    return true;
}

static void on_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                      bool unallocated)
{
    struct side *side = userdata;
    struct run *last = side->n_runs > 0 ? &side->runs[side->n_runs - 1] : NULL;
    uint64_t index = digests ? side->n_digests : UINT64_MAX;

    if (side->no_memory)
        return;
    if (digests) {
        if (!grow(&side->digests, side->n_digests + n, &side->digests_capacity,
                  sizeof(side->digests[0]))) {
            side->no_memory = true;
            return;
        }
        for (uint64_t i = 0; i < n; i++)
            memcpy(side->digests[side->n_digests++], digests[i], sizeof(side->digests[0]));
    }
    if (last && last->first + last->n == first && (last->index == UINT64_MAX) == !digests) {
        last->n += n;
        return;
    }
    if (!grow(&side->runs, side->n_runs + 1, &side->runs_capacity, sizeof(side->runs[0]))) {
        side->no_memory = true;
        return;
    }
    side->runs[side->n_runs++] = (struct run) { first, n, index };
}

static const struct qca_content_digest *content_of(const struct side *side)
{
    return side->check->report->content_digest;
}

/* Its digests; false, and said why, when not all of them can be had. */
static bool gather(struct checker *checker, struct side *side, bool file_too)
{
    const struct check_ask ask = {
        /* the check tells how the clusters lie */
        .flags = WORKER_CHAIN | WORKER_CHECK | WORKER_CONTENT_DIGEST | WORKER_BLOCK_DIGESTS |
                 (file_too ? WORKER_FILE_DIGEST : 0),
        .blocks = on_blocks,
        .userdata = side,
    };
    _cleanup_free_ char *failure = NULL;

    if (checker_run(checker, side->file, &ask, side->check) < 0)
        return false;
    failure = check_failure(side->check);
    if (failure)
        (void)complain(0, "Cannot compare %s: %s.", side->shown, failure);
    else if (!content_of(side)->complete)
        (void)complain(
            0,
            "Cannot compare %s: not all that its guest sees can be read; see qcauditctl hash "
            "--content.",
            side->shown);
    else if (side->no_memory)
        (void)complain(-ENOMEM, "Cannot compare %s", side->shown);
    else
        return true;
    return false;
}

/* ---- comparing ---------------------------------------------------------------------------- */

static void add_difference(struct difference *difference, uint64_t offset, uint64_t end)
{
    struct range *last = difference->n_kept > 0 ? &difference->ranges[difference->n_kept - 1]
                                                : NULL;

    difference->bytes += end - offset;
    if (difference->n_ranges > 0 && difference->end == offset) {
        if (last && last->offset + last->length == offset)
            last->length += end - offset;
    } else {
        difference->n_ranges++;
        if (difference->n_kept < RANGES_MAX)
            difference->ranges[difference->n_kept++] = (struct range) { offset, end - offset };
    }
    difference->end = end;
}

/* Counts the blocks from there on that have one answer, and says whether they differ. Past the end
 * of a disk are zeros. */
static bool blocks_differ(const struct side *a, const struct side *b, const struct run *x,
                          const struct run *y, uint64_t block)
{
    bool zero_x = !x || x->index == UINT64_MAX, zero_y = !y || y->index == UINT64_MAX;

    if (zero_x || zero_y)
        return zero_x != zero_y;
    return memcmp(a->digests[x->index + (block - x->first)],
                  b->digests[y->index + (block - y->first)], sizeof(a->digests[0])) != 0;
}

static void compare_blocks(const struct side *a, const struct side *b,
                           struct difference *difference)
{
    uint64_t size = content_of(a)->size > content_of(b)->size
                        ? content_of(a)->size : content_of(b)->size;
    size_t i = 0, k = 0;
    uint64_t block = 0;

    while (block * QCA_BLOCK_SIZE < size) {
        const struct run *x, *y;
        uint64_t end, until;

        while (i < a->n_runs && a->runs[i].first + a->runs[i].n <= block)
            i++;
        while (k < b->n_runs && b->runs[k].first + b->runs[k].n <= block)
            k++;
        x = i < a->n_runs ? &a->runs[i] : NULL;
        y = k < b->n_runs ? &b->runs[k] : NULL;
        /* both of zeros, or one has ended: all of the run at once */
        until = x ? x->first + x->n : y ? y->first + y->n : block + 1;
        if (x && y && y->first + y->n < until)
            until = y->first + y->n;
        if (x && y && x->index != UINT64_MAX && y->index != UINT64_MAX)
            until = block + 1;
        end = until * QCA_BLOCK_SIZE < size ? until * QCA_BLOCK_SIZE : size;
        if (blocks_differ(a, b, x, y, block))
            add_difference(difference, block * QCA_BLOCK_SIZE, end);
        block = until;
    }
}

/* ---- telling ------------------------------------------------------------------------------ */

/* Differences between both containers: lines for people, or entries of a list. */
struct unlike {
    json_object *list;              /* NULL: lines */
    size_t n;
    bool no_memory;
};

static void tell_unlike(struct unlike *unlike, const char *what, const char *a, const char *b)
{
    json_object *entry;

    if (strcmp(a, b) == 0)
        return;
    unlike->n++;
    if (!unlike->list) {
        (void)printf("  %s:%*s %s, %s\n", what, strlen(what) < 13 ? (int)(13 - strlen(what)) : 0,
                     "", a, b);
        return;
    }
    entry = json_object_new_object();
    if (!entry || json_object_array_add(unlike->list, entry) < 0) {
        json_object_put(entry);
        unlike->no_memory = true;
        return;
    }
    unlike->no_memory |= json_add(entry, "what", json_object_new_string(what)) < 0 ||
                         json_add(entry, "first", json_object_new_string(a)) < 0 ||
                         json_add(entry, "second", json_object_new_string(b)) < 0;
}

static void tell_unlike_numbers(struct unlike *unlike, const char *what, uint64_t a, uint64_t b,
                                const char *unit)
{
    char left[80], right[80];

    (void)snprintf(left, sizeof(left), "%" PRIu64 "%s", a, unit);
    (void)snprintf(right, sizeof(right), "%" PRIu64 "%s", b, unit);
    tell_unlike(unlike, what, left, right);
}

/* How the clusters lie in the file: consecutive as the guest sees them, or how many of them
 * do not. */
static const char *order_text(const struct side *side, char buf[static 80])
{
    const struct layer_report *layer = &side->check->report->layers[0];

    if (!layer->checked || layer->info.format == QCA_FORMAT_RAW)
        return "as on the disk";
    if (layer->check.fragmented_clusters == 0)
        return "consecutive";
    (void)snprintf(buf, 80, "%" PRIu64 " of %" PRIu64 " cluster%s not next to the one before",
                   layer->check.fragmented_clusters, layer->check.allocated_clusters,
                   layer->check.allocated_clusters == 1 ? "" : "s");
    return buf;
}

static const char *compression_text(const struct side *side, char buf[static 80])
{
    const struct qca_content_digest *digest = content_of(side);
    uint64_t stored = digest->data_bytes + digest->compressed_bytes;

    if (digest->compressed_bytes == 0)
        return "none";
    (void)snprintf(buf, 80, "%s, %.0f%% of the data",
                   side->check->report->layers[0].info.compression_type ? "zstd" : "zlib",
                   100.0 * (double)digest->compressed_bytes / (double)stored);
    return buf;
}

static void tell_containers(const struct side *a, const struct side *b, struct unlike *unlike)
{
    const struct qca_image_info *x = &a->check->report->layers[0].info,
                                *y = &b->check->report->layers[0].info;
    char left[80], right[80], size[2][TEXT_SIZE_MAX];

    tell_unlike(unlike, "Format", qca_format_name(x->format), qca_format_name(y->format));
    if (x->format == y->format) {
        tell_unlike_numbers(unlike, "Version", x->version, y->version, "");
        tell_unlike(unlike, "Cluster size", text_size(x->cluster_size, size[0]),
                    text_size(y->cluster_size, size[1]));
        tell_unlike(unlike, "Subclusters",
                    x->incompatible_features & QCA_INCOMPAT_EXTENDED_L2 ? "yes" : "no",
                    y->incompatible_features & QCA_INCOMPAT_EXTENDED_L2 ? "yes" : "no");
        tell_unlike_numbers(unlike, "Snapshots", x->snapshot_count, y->snapshot_count, "");
        tell_unlike_numbers(unlike, "Bitmaps", x->n_bitmaps, y->n_bitmaps, "");
    }
    tell_unlike(unlike, "Compression", compression_text(a, left), compression_text(b, right));
    tell_unlike(unlike, "Order", order_text(a, left), order_text(b, right));
    tell_unlike_numbers(unlike, "Layers", a->check->report->n_layers, b->check->report->n_layers,
                        "");
    tell_unlike_numbers(unlike, "File size", x->file_size, y->file_size, " bytes");
    if (unlike->n == 0)
        tell_unlike(unlike, "Other", "metadata or the order of clusters", "not the same");
}

static void tell_difference(const struct side *a, const struct side *b,
                            const struct difference *difference)
{
    uint64_t size_a = content_of(a)->size, size_b = content_of(b)->size,
             size = size_a > size_b ? size_a : size_b;
    char text[2][TEXT_SIZE_MAX];
    size_t n = difference->n_kept < RANGES_SHOWN ? difference->n_kept : RANGES_SHOWN;

    (void)printf("%s and %s hold different content.\n", a->shown, b->shown);
    if (size_a != size_b)
        (void)printf("  Virtual size:  %" PRIu64 " bytes, %" PRIu64 " bytes%s\n", size_a, size_b,
                     difference->n_ranges > 0 ? ""
                                              : "; past that, the larger one has zeros");
    (void)printf("  Different:     %s of %s (%.4g%%), in %" PRIu64 " range%s of blocks of 64K\n",
                 text_size(difference->bytes, text[0]), text_size(size, text[1]),
                 size ? 100.0 * (double)difference->bytes / (double)size : 0.0,
                 difference->n_ranges, difference->n_ranges == 1 ? "" : "s");
    for (size_t i = 0; i < n; i++)
        (void)printf("    0x%" PRIx64 ", %s\n", difference->ranges[i].offset,
                     text_size(difference->ranges[i].length, text[0]));
    if (difference->n_ranges > n)
        (void)printf("    and %" PRIu64 " more; with --json %s of them\n",
                     difference->n_ranges - n,
                     difference->n_kept < difference->n_ranges ? "the first 10,000" : "all");
}

/* Without a difference, the containers are told apart where there is something to tell. */
static int tell_json(const struct ctl *ctl, const char *result, const struct difference *difference,
                     const struct side *a, const struct side *b)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    json_object *ranges = NULL;
    int r = object ? json_add(object, "result", json_object_new_string(result)) : -ENOMEM;

    if (r == 0 && !difference && a) {
        struct unlike unlike = { .list = json_object_new_array() };

        r = json_add(object, "differs", unlike.list);
        if (r == 0)
            tell_containers(a, b, &unlike);
        r = r == 0 && unlike.no_memory ? -ENOMEM : r;
    }
    if (r == 0 && difference) {
        ranges = json_object_new_array();
        r = json_add(object, "first-virtual-size", json_object_new_uint64(content_of(a)->size));
        if (r == 0)
            r = json_add(object, "second-virtual-size",
                           json_object_new_uint64(content_of(b)->size));
        if (r == 0)
            r = json_add(object, "different-bytes", json_object_new_uint64(difference->bytes));
        if (r == 0)
            r = json_add(object, "ranges-total", json_object_new_uint64(difference->n_ranges));
        if (r == 0)
            r = json_add(object, "ranges", ranges);
    }
    for (size_t i = 0; r == 0 && difference && i < difference->n_kept; i++) {
        json_object *range = json_object_new_object();

        if (!range || json_object_array_add(ranges, range) < 0) {
            json_object_put(range);
            return -ENOMEM;
        }
        r = json_add(range, "guest-offset", json_object_new_uint64(difference->ranges[i].offset));
        if (r == 0)
            r = json_add(range, "length", json_object_new_uint64(difference->ranges[i].length));
    }
    return r == 0 ? output_json(&ctl->output, object) : r;
}

static int conclude(const struct ctl *ctl, const struct side *a, const struct side *b,
                    bool file_too)
{
    bool json = ctl->output.json != JSON_OFF;
    const struct audit_report *x = a->check->report, *y = b->check->report;
    _cleanup_free_ struct difference *difference = NULL;
    int r = 0;

    if (memcmp(x->content_digest->digest, y->content_digest->digest,
               sizeof(x->content_digest->digest)) != 0) {
        difference = calloc(1, sizeof(*difference));
        if (!difference)
            return complain(-ENOMEM, "Cannot compare"), NOT_COMPARABLE;
        compare_blocks(a, b, difference);
        if (json)
            r = tell_json(ctl, "different", difference, a, b);
        else
            tell_difference(a, b, difference);
    } else if (file_too && memcmp(x->file_digest->sha256, y->file_digest->sha256,
                                  sizeof(x->file_digest->sha256)) == 0) {
        if (json)
            r = tell_json(ctl, "same-file", NULL, NULL, NULL);
        else
            (void)printf("%s and %s are the same file, byte for byte.\n", a->shown, b->shown);
    } else if (json)
        r = tell_json(ctl, "same-content", NULL, a, b);
    else {
        (void)printf("%s and %s hold the same content in different containers.\n", a->shown,
                     b->shown);
        tell_containers(a, b, &(struct unlike){ .n = 0 });
    }
    if (r < 0)
        return complain(r, "Cannot show the result"), NOT_COMPARABLE;
    return difference ? DIFFERENT : SAME_CONTENT;
}

static bool side_begin(struct side *side, const char *file)
{
    side->file = file;
    side->shown = text_escape_string(file);
    side->check = calloc(1, sizeof(*side->check));
    if (!side->shown || !side->check)
        return complain(-ENOMEM, "Cannot compare"), false;
    if (stat(file, &side->st) < 0)
        return complain(-errno, "Cannot compare %s", side->shown), false;
    return true;
}

static void side_done(struct side *side)
{
    if (side->check)
        check_done(side->check);
    free(side->check);
    free(side->shown);
    free(side->runs);
    free(side->digests);
}

int verb_compare(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(checker_freep) struct checker *checker = NULL;
    _cleanup_(side_done) struct side a = { .file = NULL }, b = { .file = NULL };
    bool file_too;

    if (!side_begin(&a, argv[0]) || !side_begin(&b, argv[1]) ||
        checker_new(ctl, true, &checker) < 0)
        return NOT_COMPARABLE;
    file_too = a.st.st_size == b.st.st_size && S_ISREG(a.st.st_mode) && S_ISREG(b.st.st_mode);
    if (!gather(checker, &a, file_too) || !gather(checker, &b, file_too))
        return NOT_COMPARABLE;
    return conclude(ctl, &a, &b, file_too);
}
