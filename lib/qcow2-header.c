/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opens a qcow2 image: header of versions 2 and 3, feature bits and header extensions. */
#include "qcow2.h"

#include <inttypes.h>

#include "error.h"
#include "io.h"

enum {
    HEADER_V2_SIZE = 72,
    HEADER_V3_SIZE = 104,
    HEADER_SIZE = 112,          /* with the compression type and its padding */
    EXTENSIONS_KEPT = 1024,     /* in info; a cluster has room for 262,144 empty ones */
    NAME_MAX_SIZE = 1023,
    BACKING_FORMAT_MAX_SIZE = 15,
};

enum {
    EXTENSION_END = 0,
    EXTENSION_BACKING_FORMAT = (int)0xe2792aca,
    EXTENSION_CRYPT = 0x0537be77,
    EXTENSION_BITMAPS = 0x23852875,
};

#define KNOWN_INCOMPATIBLE (QCA_INCOMPAT_DIRTY | QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DATA_FILE | \
                            QCA_INCOMPAT_COMPRESSION | QCA_INCOMPAT_EXTENDED_L2)

#define SCAN_BASE (UINT64_C(16) << 20)

/* The header being read: its first bytes at once, the rest of its cluster on demand. */
struct header {
    struct qca_image *image;
    struct qca_error *error;
    uint64_t backing_offset;
    uint32_t backing_size;
    uint8_t head[4096];
};

uint64_t qcow2_scan_bound(const struct qca_image *image, uint64_t times)
{
    uint64_t bound;

    if (__builtin_mul_overflow(image->info.file_size, times, &bound) ||
        add_overflows(bound, SCAN_BASE, &bound))
        return UINT64_MAX;
    return bound;
}

int qcow2_read(struct qca_image *image, uint64_t offset, void *buf, size_t size)
{
    uint64_t end;

    if (add_overflows(offset, size, &end) || end > QCOW2_MAX_OFFSET)
        return -EIO;
    return qca_io_read(image->io, offset, buf, size);
}

int qcow2_read_cached(struct qca_image *image, uint64_t offset, void *buf, size_t size)
{
    uint64_t end;

    if (add_overflows(offset, size, &end) || end > QCOW2_MAX_OFFSET)
        return 0;
    return io_read_cached(image->io, offset, buf, size);
}

static int header_get(struct header *header, uint64_t offset, void *buf, size_t size)
{
    const uint8_t *bytes = bytes_at((struct bytes) { header->head, sizeof(header->head) }, offset,
                                    size);
    int r;

    if (bytes) {
        memcpy(buf, bytes, size);
        return 0;
    }
    r = qcow2_read(header->image, offset, buf, size);
    return r < 0 ? error_set_read(header->error, r, offset, "the header") : 0;
}

/* A field holds what it must not: a file that ends within its header gets the better reason. */
static int header_invalid(struct header *header, const char *name, uint64_t offset, uint64_t value,
                          uint64_t bound, const char *text)
{
    struct error_field field = { .name = name, .offset = offset, .value = value, .bound = bound };
    uint64_t file_size = header->image->info.file_size;

    if (file_size < HEADER_V2_SIZE ||
        (file_size < HEADER_V3_SIZE && be32_get(header->head + 4) > 2))
        return error_set(header->error, EINVAL, QCA_ERROR_TRUNCATED, field,
                         "the file ends after %" PRIu64 " bytes, within its qcow2 header",
                         file_size);
    return error_set(header->error, EINVAL, QCA_ERROR_HEADER, field, "%s", text);
}

/* A table of entries * entry_size bytes at offset, by the rules that QEMU has for all of them. */
static int table_validate(struct header *header, const char *offset_name, uint64_t offset_place,
                          uint64_t offset, const char *entries_name, uint64_t entries_place,
                          uint64_t entries, uint64_t entry_size, uint64_t max_bytes)
{
    if (entries > max_bytes / entry_size)
        return error_set(
            header->error, EFBIG, QCA_ERROR_LIMIT,
            (struct error_field) { entries_name, entries_place, entries, max_bytes / entry_size },
            "the table is larger than %" PRIu64 " bytes", max_bytes);
    if (offset > INT64_MAX - entries * entry_size)
        return header_invalid(header, offset_name, offset_place, offset,
                              INT64_MAX - entries * entry_size,
                              "the table's offset is beyond the largest file");
    if (!qcow2_aligned(qcow2_of(header->image), offset))
        return header_invalid(header, offset_name, offset_place, offset, 0,
                              "the table's offset is not a multiple of the cluster size");
    return 0;
}

/* Version, cluster size, lengths and features: everything that later fields are measured by. */
static int parse_basics(struct header *header)
{
    struct qca_image *image = header->image;
    struct qca_image_info *info = &image->info;
    struct qcow2 *qcow2 = qcow2_of(image);
    const uint8_t *head = header->head;
    uint32_t cluster_bits, refcount_order = 4;

    if (be32_get(head) != QCOW2_MAGIC)
        return error_set(header->error, EMEDIUMTYPE, QCA_ERROR_NOT_THIS_FORMAT,
                         (struct error_field){ "magic", 0, be32_get(head), 0 },
                         "the file is not a qcow2 image");
    info->version = be32_get(head + 4);
    if (info->version < 2 || info->version > 3)
        return header_invalid(header, "version", 4, info->version, 3,
                              "this qcow2 version is not known");

    cluster_bits = be32_get(head + 20);
    if (cluster_bits < 9 || cluster_bits > 21)
        return header_invalid(header, "cluster_bits", 20, cluster_bits, 21,
                              "the cluster size is not within 512 bytes to 2 MiB");
    qcow2->cluster_bits = cluster_bits;
    info->cluster_size = UINT32_C(1) << cluster_bits;

    info->header_length = HEADER_V2_SIZE;
    if (info->version >= 3) {
        info->incompatible_features = be64_get(head + 72);
        info->compatible_features = be64_get(head + 80);
        info->autoclear_features = be64_get(head + 88);
        refcount_order = be32_get(head + 96);
        info->header_length = be32_get(head + 100);
        if (info->header_length < HEADER_V3_SIZE)
            return header_invalid(header, "header_length", 100, info->header_length,
                                  info->cluster_size,
                                  "the header is shorter than version 3 demands");
    }
    if (info->header_length > info->cluster_size)
        return header_invalid(header, "header_length", 100, info->header_length, info->cluster_size,
                              "the header is longer than a cluster");
    header->backing_offset = qcow2->parent_offset = be64_get(head + 8);
    header->backing_size = qcow2->parent_size = be32_get(head + 16);
    if (header->backing_offset > info->cluster_size)
        return header_invalid(header, "backing_file_offset", 8, header->backing_offset,
                              info->cluster_size,
                              "the parent's name is not within the first cluster");

    if (info->header_length > HEADER_V3_SIZE)
        info->compression_type = head[104];
    if (info->compression_type > 1)
        return header_invalid(header, "compression_type", 104, info->compression_type, 1,
                              "this compression type is not known");
    if ((info->compression_type != 0) !=
        ((info->incompatible_features & QCA_INCOMPAT_COMPRESSION) != 0))
        return header_invalid(header, "incompatible_features", 72, info->incompatible_features, 0,
                              "the compression type and its feature bit contradict each other");
    if (info->incompatible_features & ~KNOWN_INCOMPATIBLE)
        return error_set(header->error, EOPNOTSUPP, QCA_ERROR_FEATURE,
                         (struct error_field) { "incompatible_features", 72,
                                                info->incompatible_features & ~KNOWN_INCOMPATIBLE,
                                                KNOWN_INCOMPATIBLE },
                         "the image uses incompatible features that are not known");

    qcow2->extended_l2 = info->incompatible_features & QCA_INCOMPAT_EXTENDED_L2;
    qcow2->has_data_file = info->incompatible_features & QCA_INCOMPAT_DATA_FILE;
    if (qcow2->extended_l2 && cluster_bits < 14)
        return header_invalid(header, "cluster_bits", 20, cluster_bits, 21,
                              "clusters below 16 KiB have no room for subclusters");
    if (refcount_order > 6)
        return header_invalid(header, "refcount_order", 96, refcount_order, 6,
                              "refcounts are wider than 64 bits");
    qcow2->refcount_order = refcount_order;
    info->refcount_bits = UINT32_C(1) << refcount_order;
    qcow2->refcount_max = UINT64_MAX >> (64 - info->refcount_bits);
    qcow2->refblock_bits = cluster_bits + 3 - refcount_order;
    qcow2->l2_bits = cluster_bits - (qcow2->extended_l2 ? 4 : 3);
    return 0;
}

/* Places and sizes of the tables, virtual size, encryption method. */
static int parse_tables(struct header *header)
{
    struct qca_image_info *info = &header->image->info;
    struct qcow2 *qcow2 = qcow2_of(header->image);
    const uint8_t *head = header->head;
    uint32_t crypt_method = be32_get(head + 32);
    uint64_t needed, size = be64_get(head + 24);
    unsigned shift = qcow2->cluster_bits + qcow2->l2_bits;
    int r;

    info->refcount_table_offset = be64_get(head + 48);
    info->refcount_table_clusters = be32_get(head + 56);
    r = table_validate(header, "refcount_table_offset", 48, info->refcount_table_offset,
                       "refcount_table_clusters", 56, info->refcount_table_clusters,
                       info->cluster_size, QCOW2_MAX_REFTABLE_BYTES);
    if (r < 0)
        return r;
    info->l1_offset = be64_get(head + 40);
    info->l1_entries = be32_get(head + 36);
    r = table_validate(header, "l1_table_offset", 40, info->l1_offset, "l1_size", 36,
                       info->l1_entries, 8, QCOW2_MAX_L1_BYTES);
    if (r < 0)
        return r;
    /* Validated apart: these two reads at open fail where the tables themselves would be in
     * order. */
    if (info->l1_offset + UINT64_C(8) * info->l1_entries > QCOW2_MAX_OFFSET)
        return header_invalid(header, "l1_table_offset", 40, info->l1_offset, QCOW2_MAX_OFFSET,
                              "the table's offset is beyond the largest file");
    if (info->refcount_table_clusters > 0 &&
        info->refcount_table_offset +
                ((uint64_t)info->refcount_table_clusters << qcow2->cluster_bits) >
            QCOW2_MAX_OFFSET)
        return header_invalid(header, "refcount_table_offset", 48, info->refcount_table_offset,
                              QCOW2_MAX_OFFSET, "the table's offset is beyond the largest file");

    info->snapshot_count = be32_get(head + 60);
    info->snapshots_offset = be64_get(head + 64);

    /* QEMU works in whole sectors. */
    info->virtual_size = size & ~UINT64_C(511);
    needed = div_round_up(size, UINT64_C(1) << shift);
    if (needed > INT32_MAX)
        return error_set(header->error, EFBIG, QCA_ERROR_LIMIT,
                         (struct error_field) { "size", 24, size, (uint64_t)INT32_MAX << shift },
                         "the virtual size is beyond what an L1 table may map");
    if (info->l1_entries < needed)
        return header_invalid(header, "l1_size", 36, info->l1_entries, needed,
                              "the L1 table is too small for the virtual size");

    if (crypt_method > QCA_CRYPT_LUKS)
        return header_invalid(header, "crypt_method", 32, crypt_method, QCA_CRYPT_LUKS,
                              "this encryption method is not known");
    info->crypt_method = (enum qca_crypt)crypt_method;
    return 0;
}

/* A copy of length bytes of the header's cluster as a string, cut at its first NUL. */
static int header_string(struct header *header, uint64_t offset, uint32_t length, char **ret_string)
{
    _cleanup_free_ char *string = malloc((size_t)length + 1);
    int r;

    if (!string)
        return error_set(header->error, ENOMEM, QCA_ERROR_MEMORY,
                         (struct error_field) { .offset = offset }, "out of memory");
    r = header_get(header, offset, string, length);
    if (r < 0)
        return r;
    string[length] = 0;
    free(*ret_string);
    *ret_string = TAKE_PTR(string);
    return 0;
}

static int parse_crypt_extension(struct header *header, uint64_t offset, uint32_t length)
{
    struct qca_image_info *info = &header->image->info;
    uint8_t data[16];
    int r;

    if (info->crypt_method != QCA_CRYPT_LUKS)
        return header_invalid(header, "Full disk encryption header pointer", offset,
                              info->crypt_method, QCA_CRYPT_LUKS,
                              "there is an encryption header but the method is not LUKS");
    if (length != sizeof(data))
        return header_invalid(header, "Full disk encryption header pointer", offset, length,
                              sizeof(data), "the header extension has a wrong length");
    r = header_get(header, offset, data, sizeof(data));
    if (r < 0)
        return r;
    info->crypt_header_offset = be64_get(data);
    info->crypt_header_length = be64_get(data + 8);
    if (!qcow2_aligned(qcow2_of(header->image), info->crypt_header_offset))
        return header_invalid(
            header, "Offset into the image file", offset, info->crypt_header_offset, 0,
            "the encryption header's offset is not a multiple of the cluster size");
    return 0;
}

static int parse_bitmaps_extension(struct header *header, uint64_t offset, uint32_t length)
{
    struct qcow2 *qcow2 = qcow2_of(header->image);
    uint64_t directory_size, directory_offset;
    uint32_t n_bitmaps;
    uint8_t data[24];
    int r;

    if (length != sizeof(data))
        return header_invalid(header, "Bitmaps extension", offset, length, sizeof(data),
                              "the header extension has a wrong length");
    /* Without the bit some program did not keep the bitmaps up to date: they do not count. */
    if (!(header->image->info.autoclear_features & QCA_AUTOCLEAR_BITMAPS))
        return 0;
    r = header_get(header, offset, data, sizeof(data));
    if (r < 0)
        return r;
    n_bitmaps = be32_get(data);
    directory_size = be64_get(data + 8);
    directory_offset = be64_get(data + 16);
    if (be32_get(data + 4) != 0)
        return header_invalid(header, "Reserved, must be zero", offset + 4, be32_get(data + 4), 0,
                              "the bitmaps extension's reserved field is set");
    if (n_bitmaps == 0 || n_bitmaps > QCOW2_MAX_BITMAPS)
        return header_invalid(header, "nb_bitmaps", offset, n_bitmaps, QCOW2_MAX_BITMAPS,
                              "the number of bitmaps is not within 1 to 65535");
    if (!qcow2_aligned(qcow2, directory_offset))
        return header_invalid(header, "bitmap_directory_offset", offset + 16, directory_offset, 0,
                              "the bitmap directory's offset is not a multiple of the cluster "
                              "size");
    if (directory_size > QCOW2_MAX_BITMAP_DIRECTORY_BYTES)
        return header_invalid(header, "bitmap_directory_size", offset + 8, directory_size,
                              QCOW2_MAX_BITMAP_DIRECTORY_BYTES,
                              "the bitmap directory is too large");
    qcow2->n_bitmaps = n_bitmaps;
    qcow2->bitmap_directory_size = directory_size;
    qcow2->bitmap_directory_offset = directory_offset;
    return 0;
}

static int extension_keep(struct header *header, size_t *capacity, struct qca_extension extension)
{
    struct qca_image_info *info = &header->image->info;

    if (info->n_extensions == EXTENSIONS_KEPT)
        return 0;
    if (info->n_extensions == *capacity) {
        size_t more = *capacity ? 2 * *capacity : 8;
        struct qca_extension *grown = reallocarray(info->extensions, more, sizeof(*grown));

        if (!grown)
            return error_set(header->error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field){ 0 },
                             "out of memory");
        info->extensions = grown;
        *capacity = more;
    }
    info->extensions[info->n_extensions++] = extension;
    return 0;
}

static int parse_extension(struct header *header, struct qca_extension extension)
{
    struct qca_image_info *info = &header->image->info;

    switch (extension.type) {
    case (uint32_t)EXTENSION_BACKING_FORMAT:
        if (extension.length > BACKING_FORMAT_MAX_SIZE)
            return header_invalid(header, "Backing file format name string", extension.offset,
                                  extension.length, BACKING_FORMAT_MAX_SIZE,
                                  "the parent's format name is too long");
        return header_string(header, extension.offset, extension.length, &info->parent_format);
    case EXTENSION_CRYPT:
        return parse_crypt_extension(header, extension.offset, extension.length);
    case EXTENSION_BITMAPS:
        return parse_bitmaps_extension(header, extension.offset, extension.length);
    case QCOW2_EXTENSION_DATA_FILE:
        return header_string(header, extension.offset, extension.length, &info->data_file);
    default:
        return 0;
    }
}

static int parse_extensions(struct header *header)
{
    struct qca_image_info *info = &header->image->info;
    uint64_t end = header->backing_offset ? header->backing_offset : info->cluster_size;
    uint64_t offset = info->header_length;
    size_t capacity = 0;
    int r;

    qcow2_of(header->image)->extensions_end = end;
    while (offset < end) {
        struct qca_extension extension;
        uint8_t data[8];

        r = header_get(header, offset, data, sizeof(data));
        if (r < 0)
            return r;
        offset += sizeof(data);
        extension = (struct qca_extension) { be32_get(data), be32_get(data + 4), offset };
        if (offset > end || extension.length > end - offset)
            return header_invalid(header, "Length of the header extension", offset - 4,
                                  extension.length, offset > end ? 0 : end - offset,
                                  "a header extension is longer than the room for it");
        if (extension.type == EXTENSION_END) {
            qcow2_of(header->image)->extensions_end = offset;
            return 0;
        }
        r = extension_keep(header, &capacity, extension);
        if (r < 0)
            return r;
        r = parse_extension(header, extension);
        if (r < 0)
            return r;
        offset += round_up(extension.length, 8);
    }
    return 0;
}

/* Parses the fields that only make sense once the extensions are known. */
static int parse_rest(struct header *header)
{
    struct qca_image_info *info = &header->image->info;
    uint64_t room;
    int r;

    if (qcow2_of(header->image)->has_data_file) {
        if (!info->data_file)
            return header_invalid(header, "External data file name string", 0, 0, 0,
                                  "the image needs a data file and does not name it");
    } else if (info->autoclear_features & QCA_AUTOCLEAR_DATA_FILE_RAW)
        return header_invalid(header, "autoclear_features", 88, info->autoclear_features, 0,
                              "the header says that the data file is raw, but there is none");
    if (info->crypt_method == QCA_CRYPT_LUKS && info->crypt_header_length == 0 &&
        info->crypt_header_offset == 0)
        return header_invalid(header, "Full disk encryption header pointer", 0, 0, 0,
                              "the image is encrypted with LUKS and has no encryption header");

    if (header->backing_offset == 0)
        return 0;
    room = min_u64(NAME_MAX_SIZE, info->cluster_size - header->backing_offset);
    if (header->backing_size > room)
        return header_invalid(header, "backing_file_size", 16, header->backing_size, room,
                              "the parent's name is too long");
    r = header_string(header, header->backing_offset, header->backing_size, &info->parent);
    if (r < 0)
        return r;
    /* An empty name is no parent to QEMU. */
    if (info->parent[0] == 0) {
        free(info->parent);
        info->parent = NULL;
    }
    return 0;
}

int qcow2_open(struct qca_image *image, struct qca_error *error)
{
    struct header header = { .image = image, .error = error };
    int r;

    image->own = calloc(1, sizeof(struct qcow2));
    if (!image->own)
        return error_set_memory(error);
    r = qcow2_read(image, 0, header.head, sizeof(header.head));
    if (r < 0)
        return error_set_read(error, r, 0, "the header");

    r = parse_basics(&header);
    if (r < 0)
        return r;
    r = parse_tables(&header);
    if (r < 0)
        return r;
    r = parse_extensions(&header);
    if (r < 0)
        return r;
    r = parse_rest(&header);
    if (r < 0)
        return r;
    if (image->info.parent_format && image->info.parent_format[0] == 0) {
        free(image->info.parent_format);
        image->info.parent_format = NULL;
    }

    r = qcow2_snapshots_load(image, error);
    if (r < 0)
        return r;
    return qcow2_bitmaps_load(image, error);
}
