/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as an image: opened, checked, digested, and as a chain whose parents are the same
 * bytes, or none, with the map of what its guest sees.
 *
 * A byte of the input says how (fuzz-image.h). However it is checked, the counters must be the
 * same; the extents of its map lie end to end over the whole disk, wherever the map is asked; and
 * where the check of an image without parents finds nothing, the map is whole. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz-image.h"
#include "lib/bytes.h"
#include "lib/cleanup.h"
#include "qcaudit/qcaudit.h"
#include "vhdx-input.h"

#define MEMORY_LIMIT UINT64_C(0)                        /* the default: what an input can make of
                                                         * it is bounded by its size */
#define MEMORY_LIMIT_SPARSE (UINT64_C(64) << 20)        /* an entry for each sector of a file of
                                                         * SPARSE_SIZE does not fit */
#define MEMORY_LIMIT_TIGHT (UINT64_C(4) << 20)            /* and less and less, until it is too
                                                           * little */
#define SPARSE_SIZE (UINT64_C(576) * 1024 * 1024)
#define MAX_MAPPED (UINT64_C(1) << 28)                  /* guest bytes from the beginning, and up
                                                         * to the end */

enum {
    MAX_DEPTH = 4,
    MAX_EXTENTS = 64,
    MAX_DIGESTED = 256 * 1024,  /* bytes of a disk */
};

DEFINE_CLEANUP(struct qca_io *, qca_io_free)
DEFINE_CLEANUP(struct qca_image *, qca_image_free)
DEFINE_CLEANUP(struct qca_chain *, qca_chain_free)
DEFINE_CLEANUP(struct qca_map *, qca_map_free)

enum { DESCRIPTOR_SIZE = 1024 };

struct input {
    const uint8_t *data;
    size_t size;
    unsigned layers;            /* resolved */
    unsigned told;              /* layers that a walk told of */
};

/* The same bytes, of another file each time, as often as the name is long; then the name's end says
 * what happens: it is refused, a file that was there before, or goes on up to the limit. */
static int resolve(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                   struct qca_file_id *ret_id)
{
    static const int errors[] = { -ENOENT, -EPERM, -EMEDIUMTYPE, -EACCES, -ELOOP, -EIO };
    struct input *input = userdata;
    size_t length = strlen(reference->name);
    unsigned last = length ? (uint8_t)reference->name[length - 1] % 16 : 0;

    if (input->layers == length % MAX_DEPTH && last < sizeof(errors) / sizeof(*errors))
        return errors[last];
    /* of a descriptor that fills its first sectors, the pieces are what lies behind it */
    size_t skip = reference->kind == QCA_REFERENCE_EXTENT && input->size > DESCRIPTOR_SIZE
                      ? DESCRIPTOR_SIZE : 0;
    int r = qca_io_new_memory(input->data + skip, input->size - skip, ret_io);
    if (r < 0)
        return r;
    *ret_id = (struct qca_file_id){ .a = 1, .b = last == 6 ? 0 : ++input->layers };
    return 0;
}

static int input_io(const struct input *input, bool sparse, int *fd, struct qca_io **ret_io)
{
    if (!sparse)
        return qca_io_new_memory(input->data, input->size, ret_io);
    *fd = memfd_create("image", MFD_CLOEXEC);
    if (*fd < 0 || write(*fd, input->data, input->size) != (ssize_t)input->size ||
        ftruncate(*fd, SPARSE_SIZE) < 0)
        return -errno;
    return qca_io_new_fd(*fd, ret_io);
}

static uint64_t memory_limit(unsigned mode)
{
    return mode & FUZZ_MODE_SPARSE ? MEMORY_LIMIT_SPARSE : MEMORY_LIMIT;
}

static int check(struct qca_image *image, unsigned mode, uint64_t memory_limit,
                 struct qca_check_result *result)
{
    const struct qca_check_options options = {
        .memory_limit = memory_limit,
        .max_issues = 50,
        .scalar_only = mode & FUZZ_MODE_SCALAR,
        .deep = true,
        .data_file_known = true, .data_file_size = qca_image_info(image)->file_size,
    };

    return qca_check(image, &options, result);
}

static bool same_counts(const struct qca_check_result *a, const struct qca_check_result *b)
{
    for (unsigned kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (qca_check_count(a, kind) != qca_check_count(b, kind))
            return false;
    return true;
}

/* What does not depend on how the check was done. */
static bool same(const struct qca_check_result *a, const struct qca_check_result *b)
{
    return a->corruptions == b->corruptions && a->leaks == b->leaks &&
           a->check_errors == b->check_errors && a->image_end_offset == b->image_end_offset &&
           a->total_clusters == b->total_clusters &&
           a->allocated_clusters == b->allocated_clusters &&
           a->compressed_clusters == b->compressed_clusters &&
           a->fragmented_clusters == b->fragmented_clusters && a->leak_runs == b->leak_runs &&
           a->burst_leaks == b->burst_leaks &&
           same_counts(a, b);
}

static bool same_issue(const struct qca_issue *a, const struct qca_issue *b)
{
    return a->kind == b->kind && a->table == b->table && a->layer == b->layer &&
           a->snapshot == b->snapshot && a->table_offset == b->table_offset &&
           a->index == b->index && a->host_offset == b->host_offset &&
           a->host_length == b->host_length && a->guest_offset == b->guest_offset &&
           a->guest_length == b->guest_length && a->stored == b->stored &&
           a->counted == b->counted && a->count == b->count;
}

static bool same_issues(const struct qca_check_result *a, const struct qca_check_result *b)
{
    if (a->n_issues != b->n_issues)
        return false;
    for (size_t i = 0; i < a->n_issues; i++)
        if (!same_issue(&a->issues[i], &b->issues[i]))
            return false;
    return true;
}

/* Nothing is wrong with what tables point at. */
static bool is_sound(const struct qca_check_result *result)
{
    for (unsigned kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (qca_check_count(result, kind) > 0 && qca_issue_kind_is_pointer(kind))
            return false;
    return result->finished && result->check_errors == 0;
}

/* The less memory, the more passes; they find things in another order, but not other things. */
static void check_tight(struct qca_image *image, unsigned mode,
                        const struct qca_check_result *plain)
{
    bool enough = true;

    for (uint64_t limit = MEMORY_LIMIT_TIGHT; enough && limit > MEMORY_LIMIT_TIGHT / 8;
         limit -= limit / 8) {
        _cleanup_(qca_check_result_done) struct qca_check_result result = { 0 };

        enough = check(image, mode, limit, &result) == 0 &&
                 qca_check_error(&result)->kind != QCA_ERROR_MEMORY;
        if (enough && plain->finished && result.finished && !same(plain, &result))
            abort();
    }
}

/* Whether the image is sound. */
static bool check_all(struct qca_image *image, unsigned mode)
{
    _cleanup_(qca_check_result_done) struct qca_check_result plain = { 0 }, again = { 0 };

    if (check(image, 0, memory_limit(mode), &plain) < 0)
        return false;
    if ((mode & (FUZZ_MODE_SCALAR | FUZZ_MODE_AGAIN)) &&
        check(image, mode, memory_limit(mode), &again) == 0 &&
        (plain.finished != again.finished || !same(&plain, &again) || !same_issues(&plain, &again)))
        abort();
    if (mode & FUZZ_MODE_TIGHT)
        check_tight(image, mode, &plain);
    return is_sound(&plain);
}

/* What the extents promise is true of each, and its bytes can be had or there is a reason. */
static void check_extent(struct qca_map *map, const struct qca_extent *extent, uint64_t offset,
                         size_t depth, bool sound)
{
    uint8_t bytes[512];
    size_t size = extent->length < sizeof(bytes) ? extent->length : sizeof(bytes);
    int r = qca_map_read(map, extent, extent->length - size, bytes, size);

    if (extent->guest_offset != offset || extent->length == 0 ||
        extent->length > qca_map_size(map) - offset || extent->layer >= depth ||
        !qca_extent_kind_name(extent->kind) ||
        (extent->kind == QCA_EXTENT_DAMAGED) != (extent->error != 0) ||
        (extent->kind == QCA_EXTENT_DATA && extent->host_length != extent->length) ||
        (extent->kind == QCA_EXTENT_DAMAGED && r >= 0) || (sound && r < 0))
        abort();
}

/* What lies at any place of an extent is the rest of that extent, however one comes there. */
static void check_middle(struct qca_map *map, const struct qca_extent *extent)
{
    uint64_t skip = extent->length / 2;
    struct qca_extent rest;
    int r = qca_map_next(map, extent->guest_offset + skip, &rest);

    if (r < 0)
        return;
    if (r == 0 || rest.guest_offset != extent->guest_offset + skip ||
        rest.length != extent->length - skip || rest.kind != extent->kind ||
        rest.layer != extent->layer || rest.error != extent->error ||
        rest.host_offset != extent->host_offset + (extent->kind == QCA_EXTENT_DATA ? skip : 0))
        abort();
}

/* Goes through the disk from offset on, up to MAX_EXTENTS or MAX_MAPPED. */
static void walk_map(struct qca_map *map, uint64_t offset, size_t depth, unsigned mode, bool sound)
{
    uint64_t end = offset + min_u64(qca_map_size(map) - offset, MAX_MAPPED);
    struct qca_extent extents[MAX_EXTENTS];
    size_t n = 0;

    while (n < MAX_EXTENTS && offset < end) {
        int r = qca_map_next(map, offset, &extents[n]);

        if (r == 0)
            abort();
        if (r < 0)
            return;
        check_extent(map, &extents[n], offset, depth, sound);
        offset += extents[n++].length;
    }
    if (qca_map_next(map, qca_map_size(map), &extents[n < MAX_EXTENTS ? n : 0]) != 0)
        abort();
    while ((mode & FUZZ_MODE_AGAIN) && n > 0)
        check_middle(map, &extents[--n]);
}

/* Blocks are told in rising order, none twice. */
static void take_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                        bool unallocated)
{
    uint64_t *next = userdata;

    if (first < *next || n == 0 || (unallocated && digests))
        abort();
    *next = first + n;
}

/* The same with SHA-256 of our own and without. */
static void digest_content(struct qca_map *map)
{
    uint64_t next = 0;
    const struct qca_digest_options options = { .blocks = take_blocks,
                                                .userdata = &next,
                                                .libcrypto_only = true };
    struct qca_content_digest ours, theirs;

    if (qca_content_digest(map, NULL, NULL, &ours) < 0 ||
        qca_content_digest(map, &options, NULL, &theirs) < 0)
        return;
    if (memcmp(ours.digest, theirs.digest, sizeof(ours.digest)) != 0 ||
        ours.complete != theirs.complete || ours.bad_bytes != theirs.bad_bytes ||
        next * QCA_BLOCK_SIZE >= theirs.size + QCA_BLOCK_SIZE)
        abort();
}

static void map_chain(struct qca_chain *chain, const char *snapshot, unsigned mode, bool sound)
{
    const struct qca_map_options options = { .memory_limit = memory_limit(mode),
                                             .snapshot = snapshot,
                                             .stored = true };
    size_t depth = qca_chain_depth(chain);
    _cleanup_(qca_map_freep) struct qca_map *map = NULL;
    struct qca_error error;

    if (qca_map_new(chain, &options, &error, &map) < 0)
        return;
    walk_map(map, 0, depth, mode, sound && depth == 1);
    if (qca_map_size(map) > 2 * MAX_MAPPED)
        walk_map(map, qca_map_size(map) - MAX_MAPPED, depth, mode, sound && depth == 1);
    if ((mode & FUZZ_MODE_DIGEST) && qca_map_size(map) <= MAX_DIGESTED)
        digest_content(map);
}

/* What a walk tells of is in order, and its check is one of that layer. */
static int take_layer(void *userdata, const struct qca_chain_link *link)
{
    _cleanup_(qca_check_result_done) struct qca_check_result result = { 0 };
    struct input *input = userdata;
    int r = qca_chain_link_check(link, 0, &result);

    if (link->layer != input->told++ || !link->image || !qca_image_info(link->image))
        abort();
    for (size_t i = 0; i < result.n_issues; i++)
        if (result.issues[i].layer != link->layer)
            abort();
    return r;
}

/* Through a chain with two layers open: as far as with all of them open. */
static void walk_chain(struct qca_image *image, const struct qca_chain_options *options,
                       struct input *input, int opened, size_t depth)
{
    struct qca_error error;
    uint32_t walked = 0;
    int r;

    input->layers = input->told = 0;
    r = qca_chain_walk(image, options, resolve, take_layer, input, &error, &walked);
    if (r != opened || (r == 0 && (walked != depth || input->told != depth)))
        abort();
}

static void follow_chain(struct qca_image *image, struct input *input, unsigned mode, bool sound)
{
    const struct qca_chain_options options = { .max_depth = MAX_DEPTH,
                                               .memory_limit = memory_limit(mode),
                                               .id = { .a = 1 } };
    const struct qca_image_info *info = qca_image_info(image);
    _cleanup_(qca_chain_freep) struct qca_chain *chain = NULL;
    struct qca_error error;
    int r = qca_chain_open(image, &options, resolve, input, &error, &chain);

    if (info->parent || info->data_file || (mode & FUZZ_MODE_AGAIN))
        walk_chain(image, &options, input, r, chain ? qca_chain_depth(chain) : 0);
    if (r < 0)
        return;
    map_chain(chain, NULL, mode, sound);
    if (info->n_snapshots > 0)
        map_chain(chain, info->snapshots[info->n_snapshots - 1].name, mode, false);
}

static void examine(const uint8_t *data, size_t size)
{
    unsigned mode = size > FUZZ_MODE_PLACE && data[FUZZ_MODE_PLACE] < FUZZ_MODES
                        ? data[FUZZ_MODE_PLACE]
                        : 0;
    const struct qca_open_options options = { .memory_limit = memory_limit(mode) };
    struct input input = { .data = data, .size = size };
    struct qca_error error;
    struct qca_file_digest file;
    uint8_t digest[32];
    _cleanup_close_ int fd = -1;
    _cleanup_(qca_io_freep) struct qca_io *io = NULL;
    _cleanup_(qca_image_freep) struct qca_image *image = NULL;

    if (input_io(&input, mode & FUZZ_MODE_SPARSE, &fd, &io) < 0)
        return;
    if (qca_image_open(io, &options, &error, &image) < 0)
        return;
    if (mode & FUZZ_MODE_DIGEST)
        qca_metadata_digest(image, digest);
    if ((mode & FUZZ_MODE_DIGEST) && !(mode & FUZZ_MODE_SPARSE))
        qca_file_digest(io, ~0U, NULL, &error, &file);
    follow_chain(image, &input, mode, check_all(image, mode));
}

/* fuzz-vhdx is the same with images that are made from the input. */
static void examine_input(const uint8_t *data, size_t size)
{
#ifdef FUZZ_VHDX
    size_t image_size = 0;
    _cleanup_free_ uint8_t *image = vhdx_input(data, size, &image_size);

    if (image)
        examine(image, image_size);
#else
    examine(data, size);
#endif
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double started = fuzz_cpu_seconds();

    if (size <= FUZZ_INPUT_MAX)
        examine_input(data, size);
    if (fuzz_cpu_seconds() - started > FUZZ_CPU_SECONDS)
        abort();
    return 0;
}
