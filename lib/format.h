/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of formats: what a format must offer, and the image it makes. */
#pragma once

#include "cleanup.h"
#include "qcaudit/qcaudit.h"

struct block_layout;
struct check;
struct format_map;
struct piece;

struct qca_image {
    struct qca_io *io;
    const struct format *format;
    struct qca_image_info info;
    uint64_t memory_limit;      /* bytes */
    void *own;                  /* the format's private part */
    struct piece *pieces;       /* of a disk in several files: info.n_extents (pieces.h); NULL: none
                                 * was opened */
};

enum { PROBE_SIZE = 1024, PROBE_TAIL = 512 };

/* Content whose format is looked for. */
struct probe {
    struct qca_io *io;
    uint64_t size;              /* bytes of the file */
    uint8_t head[PROBE_SIZE];   /* zeros past the end */
    uint8_t tail[PROBE_TAIL];   /* the last bytes; of a shorter file zeros, then all of it */
    int error;                  /* a probe's own read failed: -errno */
};

/* Another file that an image names. */
struct image_link {
    enum qca_reference_kind kind;
    const char *name, *format;  /* as stored; name NULL: an extent of zeros, without a file; format
                                 * NULL: not declared */
    const char *field, *format_field;   /* the specification's names of where they are stored */
    uint64_t offset;            /* of that place in the file, 0 when it has no fixed one */
};

/* Bytes of an image that are its structure, and not its content. */
struct metadata_section {
    uint64_t offset, size;
};

/* Everything that depends on the format. What may be NULL, a format need not have. */
struct format {
    enum qca_format format;
    /* True when the content is of this format, by its first bytes; NULL: it has no magic there. */
    bool (*probe)(struct probe *probe);
    /* The same by its last bytes, where all fields of a trailer fit: asked when no format was found
     * by the first ones, as it may be a guest that wrote the last ones. */
    bool (*probe_end)(struct probe *probe);
    enum qca_variant end_variant;       /* the variant of what was found so */
    /* Fills info and the private part; on failure qca_image_free() cleans up. */
    int (*open)(struct qca_image *image, struct qca_error *error);
    void (*close)(struct qca_image *image);
    int (*check)(struct qca_image *image, struct check *check);
    /* The map of what a guest reads (map.h); NULL: the format is not understood. */
    const struct format_map *map;
    /* How blocks are mapped (block-layout.h), of a format whose map is block_map; NULL of an image
     * that is not understood. */
    const struct block_layout *(*layout)(const struct qca_image *image);
    /* The index-th part of the structure, for its digest; false behind the last. NULL: no
     * digest. */
    bool (*section)(const struct qca_image *image, unsigned index,
                    struct metadata_section *ret_section);
    /* As qca_image_places(). NULL: its tables are not known. */
    int (*places)(struct qca_image *image,
                  int (*found)(void *userdata, const struct qca_place *place), void *userdata);
    /* The index-th file that QEMU opens besides, a data file or extents before the parent; false
     * behind the last. NULL: the image stands alone, whatever its header names. */
    bool (*link)(const struct qca_image *image, unsigned index, struct image_link *ret_link);
};

/* One row for each format that qcaudit.h knows. */
#define QCA_X(id, row, ...) extern const struct format format_##row;
QCA_FORMATS(QCA_X)
#undef QCA_X

/* The kind of content at the beginning of a raw disk. */
enum qca_variant raw_variant(const struct probe *probe);
/* Reads what probes are made from. */
int probe_begin(struct qca_io *io, struct probe *ret_probe);
/* As qca_probe(); the variant as far as it matters to qca_format_contradicts(). */
int probe_content(struct qca_io *io, enum qca_format *ret_format, enum qca_variant *ret_variant);
/* The index-th link; false behind the last. */
bool image_link_at(const struct qca_image *image, unsigned index, struct image_link *ret_link);
/* The first link of this kind; false when there is none. */
bool image_link_find(const struct qca_image *image, enum qca_reference_kind kind,
                     struct image_link *ret_link);
/* How the image's blocks are mapped; NULL when that is not understood, or its guest's disk lies in
 * a parent, too, that cannot be named. */
const struct block_layout *image_layout(const struct qca_image *image);
/* For a format whose one link is its parent, stored in this field at this place of the header. */
bool image_link_parent(const struct qca_image *image, unsigned index, const char *field,
                       uint64_t offset, struct image_link *ret_link);

DEFINE_CLEANUP(struct qca_image *, qca_image_free)
#define _cleanup_image_ _cleanup_(qca_image_freep)
