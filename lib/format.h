/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of formats: what a format must offer, and the image it makes. */
#pragma once

#include "cleanup.h"
#include "qcaudit/qcaudit.h"

struct qcow2;
struct check;

struct qca_image {
    struct qca_io *io;
    const struct format *format;
    struct qca_image_info info;
    uint64_t memory_limit;      /* bytes */
    struct qcow2 *qcow2;        /* qcow2 only */
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

struct format {
    enum qca_format format;
    /* True when the content is of this format; NULL: never by content. */
    bool (*probe)(struct probe *probe);
    /* Fills info and the private part; on failure qca_image_free() cleans up. */
    int (*open)(struct qca_image *image, struct qca_error *error);
    void (*close)(struct qca_image *image);                             /* may be NULL */
    int (*check)(struct qca_image *image, struct check *check);     /* NULL: it has no check */
};

extern const struct format format_raw;
extern const struct format format_qcow2;
extern const struct format format_vmdk;
extern const struct format format_vdi;
extern const struct format format_vpc;
extern const struct format format_vhdx;
extern const struct format format_qed;
extern const struct format format_parallels;
extern const struct format format_qcow;
extern const struct format format_dmg;
extern const struct format format_cloop;
extern const struct format format_bochs;
extern const struct format format_ova;
extern const struct format format_luks;

/* What a raw disk holds at its beginning. */
enum qca_variant raw_variant(const struct probe *probe);
/* Reads what probes are made from. */
int probe_begin(struct qca_io *io, struct probe *ret_probe);
/* As qca_probe(); the variant as far as it matters to qca_format_contradicts(). */
int probe_content(struct qca_io *io, enum qca_format *ret_format, enum qca_variant *ret_variant);
/* Of content that is a VHD: has it no footer at its start? */
bool vpc_is_fixed(const struct probe *probe);

DEFINE_CLEANUP(struct qca_image *, qca_image_free)
#define _cleanup_image_ _cleanup_(qca_image_freep)
