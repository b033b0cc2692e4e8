/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pieces of a disk that a VMDK descriptor places in other files: opened by their type
 * ("Virtual Disk Format 5.0", "The Extent Description"), and compared with what it says of them. */
#include "pieces.h"

#include <errno.h>

#include "bytes.h"
#include "check.h"
#include "error.h"
#include "vmdk.h"

/* The file maps its piece by tables of its own. */
static bool type_is_mapped(const char *type)
{
    return strcmp(type, "SPARSE") == 0 || strcmp(type, "VMFSSPARSE") == 0 ||
           strcmp(type, "SESPARSE") == 0;
}

/* All of them, closed. */
static int pieces_begin(struct qca_image *image)
{
    const struct qca_image_info *info = &image->info;
    uint64_t start = 0;

    if (image->pieces)
        return 0;
    image->pieces = calloc(info->n_extents, sizeof(*image->pieces));
    if (!image->pieces)
        return -ENOMEM;
    for (size_t i = 0; i < info->n_extents; i++) {
        image->pieces[i] = (struct piece){ .start = start, .size = info->extents[i].size,
                                           .offset = info->extents[i].offset };
        start += info->extents[i].size;         /* their sum was found to be no overflow */
    }
    return 0;
}

static int refuse(struct qca_error *error, int r, enum qca_error_kind kind, size_t index,
                  const char *text)
{
    return error_set(error, r, kind, (struct error_field){ "Extent description", 0, index, 0 },
                     "%s", text);
}

static int open_mapped(const struct qca_image *image, size_t index, struct qca_io *io,
                       struct qca_error *error, struct qca_image **ret_image)
{
    const struct qca_open_options options = { .format = image->info.format,
                                              .memory_limit = image->memory_limit };
    struct qca_image *opened;
    int r = qca_image_open(io, &options, error, &opened);

    if (r < 0)
        return r;
    if (!vmdk_extent_of_disk(opened)) {
        qca_image_free(opened);
        return refuse(error, EMEDIUMTYPE, QCA_ERROR_NOT_THIS_FORMAT, index,
                      "an extent's file is no sparse extent");
    }
    *ret_image = opened;
    return 0;
}

int qca_image_take_extent(struct qca_image *image, size_t index, struct qca_io *io,
                          struct qca_error *error)
{
    const struct qca_extent_file *extent = image->info.extents + index;
    struct qca_image *mapped = NULL;
    struct image_link link;
    int r;

    /* how the files of other descriptors make a disk is not known */
    if (index >= image->info.n_extents || !image_link_at(image, (unsigned)index, &link) ||
        link.kind != QCA_REFERENCE_EXTENT) {
        qca_io_free(io);
        return refuse(error, EOPNOTSUPP, QCA_ERROR_UNSUPPORTED, index,
                      "what the files of this descriptor hold is not understood");
    }
    r = pieces_begin(image);
    if (r < 0)
        (void)error_set_memory(error);
    else if (type_is_mapped(extent->type))
        r = open_mapped(image, index, io, error, &mapped);
    else if (!qca_extent_file_is_flat(extent))
        r = refuse(error, EOPNOTSUPP, QCA_ERROR_UNSUPPORTED, index,
                   "an extent is of a type whose data does not lie in a file");
    if (r < 0) {
        qca_io_free(io);
        return r;
    }
    qca_image_free(image->pieces[index].image);
    qca_io_free(image->pieces[index].io);
    image->pieces[index].io = io;
    image->pieces[index].image = mapped;
    return 0;
}

void pieces_close(struct qca_image *image)
{
    for (size_t i = 0; image->pieces && i < image->info.n_extents; i++) {
        qca_image_free(image->pieces[i].image);
        qca_io_free(image->pieces[i].io);
    }
    free(image->pieces);
    image->pieces = NULL;
}

/* ---- check -------------------------------------------------------------------------------- */

/* A file that holds less than its line says; flat ones are rounded up to whole sectors. */
static int check_size(const struct qca_image *image, size_t index, struct check *check)
{
    const struct piece *piece = &image->pieces[index];
    uint64_t has = piece->image ? piece->image->info.virtual_size
                                : round_up(qca_io_size(piece->io), VMDK_SECTOR);
    struct qca_issue issue = check_issue_new(QCA_ISSUE_EXTENT_SIZE, QCA_TABLE_HEADER);

    if (!piece->image)
        has -= min_u64(has, piece->offset);
    if (has >= piece->size)
        return 0;
    issue.index = index;
    issue.extent = index + 1;
    issue.guest_offset = piece->start + has;
    issue.guest_length = piece->size - has;
    issue.stored = piece->size;
    issue.counted = has;
    return check_issue(check, &issue);
}

/* The issues of one piece, and those that were counted and not kept. */
static int add_issues(struct check *check, const struct qca_check_result *piece, size_t index,
                      uint64_t start)
{
    uint64_t kept[_QCA_ISSUE_MAX] = { 0 };
    int r = 0;

    for (size_t i = 0; i < piece->n_issues && r >= 0; i++) {
        struct qca_issue issue = piece->issues[i];

        issue.extent = index + 1;
        if (issue.guest_offset != QCA_NO_OFFSET)
            issue.guest_offset += start;
        kept[issue.kind] += issue.count;
        r = check_issue(check, &issue);
    }
    for (unsigned kind = 0; kind < _QCA_ISSUE_MAX && r >= 0; kind++) {
        struct qca_issue issue = check_issue_new(kind, QCA_TABLE_HEADER);

        issue.count = qca_check_count(piece, kind);
        issue.count -= min_u64(issue.count, kept[kind]);
        if (issue.count > 0)
            r = check_issue_omit(check, &issue);
    }
    return r;
}

/* Its own check's result, as part of the whole disk's. */
static int add_result(struct check *check, const struct qca_check_result *piece, size_t index,
                      uint64_t start)
{
    struct qca_check_result *all = check->result;
    int r = add_issues(check, piece, index, start);

    all->image_end_offset = max_u64(all->image_end_offset, piece->image_end_offset);
    all->total_clusters += piece->total_clusters;
    all->allocated_clusters += piece->allocated_clusters;
    all->compressed_clusters += piece->compressed_clusters;
    all->fragmented_clusters += piece->fragmented_clusters;
    return r;
}

static int check_mapped(struct qca_image *image, size_t index, struct check *check)
{
    const struct piece *piece = &image->pieces[index];
    struct qca_check_options options = check->options;
    struct qca_check_result result;
    int r;

    options.pieces = false;
    r = qca_check(piece->image, &options, &result);
    if (r < 0)
        return r;
    r = add_result(check, &result, index, piece->start);
    if (r >= 0 && !result.finished)
        r = check_unfinished(check, -EIO, qca_check_error(&result));
    qca_check_result_done(&result);
    return r;
}

int pieces_check(struct qca_image *image, struct check *check)
{
    int r = 0;

    for (size_t i = 0; i < image->info.n_extents && r >= 0; i++) {
        const struct piece *piece = image->pieces ? &image->pieces[i] : NULL;

        if (!piece || !piece->io)
            continue;
        r = check_size(image, i, check);
        if (r >= 0 && piece->image && check->options.pieces)
            r = check_mapped(image, i, check);
    }
    return r;
}
