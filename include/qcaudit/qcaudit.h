/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public interface of libqcaudit: open disk images, check them, follow their chains.
 *
 * The library never logs, prints, opens a path, reads a clock or keeps global state. All bytes come
 * through a struct qca_io. Functions return 0 or a negative errno; out-parameters come last, are
 * called ret_*, and are untouched on failure. Destructors take NULL. An object may be used by one
 * thread at a time; different objects are independent. It starts threads in qca_threads_new()
 * alone. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Of this header; configure.ac says the same. */
#define QCA_VERSION_MAJOR 0
#define QCA_VERSION_MINOR 1
#define QCA_VERSION       (QCA_VERSION_MAJOR * 1000 + QCA_VERSION_MINOR)

/* Of the library that the program runs with: QCA_VERSION, as it was when that was built. */
unsigned qca_version(void);

/* ---- the door to bytes -------------------------------------------------------------------- */

struct qca_io;

/* Reads through fd (regular file or block device), which stays the caller's and must outlive io.
 * The size is taken once, by lseek(SEEK_END). Errors: -ENOMEM, or lseek's. */
int qca_io_new_fd(int fd, struct qca_io **ret_io);
/* Fills buf with up to size bytes from offset: their number, 0 at the end of the file, or
 * -errno. */
typedef int64_t (*qca_read_fn)(void *userdata, uint64_t offset, void *buf, size_t size);
/* As qca_io_new_fd(), but bytes come from read alone, and nothing is read ahead; fd is asked for
 * size and holes. */
int qca_io_new_reader(int fd, qca_read_fn read, void *userdata, struct qca_io **ret_io);
/* Reads the size bytes at data, which stay the caller's and must outlive io. */
int qca_io_new_memory(const void *data, size_t size, struct qca_io **ret_io);
void qca_io_free(struct qca_io *io);
/* Bytes; constant for the life of io, even if the file grows or shrinks below it. */
uint64_t qca_io_size(const struct qca_io *io);
/* Fills buf with exactly size bytes from offset. What lies beyond the end reads as zeros (a file
 * that shrank meanwhile too). -EIO and the like come from the device; -EINVAL when offset + size
 * overflows int64_t. */
int qca_io_read(struct qca_io *io, uint64_t offset, void *buf, size_t size);
/* Bytes read from the source so far: for budgets and reports. */
uint64_t qca_io_bytes_read(const struct qca_io *io);

/* ---- threads ------------------------------------------------------------------------------ */

struct qca_threads;

#define QCA_THREADS_MAX 16

/* n threads, the caller's own among them, so that n - 1 are started, here and nowhere else: a
 * process can confine itself afterwards. Handed in by the options of a check or a digest, which it
 * makes faster, and gives the same result: qca_io_read() is then called from all of them. One call
 * may use it at a time. -EINVAL when n is not within 1 and QCA_THREADS_MAX, -EAGAIN, -ENOMEM. */
int qca_threads_new(unsigned n, struct qca_threads **ret_threads);
/* Ends and joins them; not while a call uses it. */
void qca_threads_free(struct qca_threads *threads);

/* ---- what went wrong ---------------------------------------------------------------------- */

enum qca_error_kind {
    QCA_ERROR_NONE,
    QCA_ERROR_IO,               /* a read failed: offset says where */
    QCA_ERROR_MEMORY,           /* more memory than memory_limit would be needed */
    QCA_ERROR_NOT_THIS_FORMAT,  /* the format was demanded and the content is something else */
    QCA_ERROR_HEADER,           /* a header field is invalid: field, value, bound */
    QCA_ERROR_FEATURE,          /* unknown incompatible feature bits: value holds them */
    QCA_ERROR_TRUNCATED,        /* the file ends before what it says it has */
    QCA_ERROR_LIMIT,            /* beyond a limit that QEMU has too */
    QCA_ERROR_SNAPSHOT_TABLE,
    QCA_ERROR_BITMAPS,
    QCA_ERROR_REFERENCE,        /* a parent or data file could not be had: layer says of which
                                 * image */
    QCA_ERROR_LOOP,             /* the chain contains itself */
    QCA_ERROR_CHAIN_LIMIT,      /* more layers than allowed */
    QCA_ERROR_CANCELLED,
    QCA_ERROR_UNSUPPORTED,
    _QCA_ERROR_MAX,
};

/* One failure, said so that an administrator can act: "which field, what it holds, what it may". */
struct qca_error {
    enum qca_error_kind kind;
    uint32_t layer;             /* 0 is the image itself, 1 its parent, ... */
    uint64_t offset;            /* host offset of the field or read, bytes */
    uint64_t value;             /* what the field holds */
    uint64_t bound;             /* what it may hold at most (0: not a matter of a bound) */
    char field[40];             /* the specification's name of the field, "" if none */
    char text[200];             /* one English sentence without a final dot; never holds raw
                                 * image text */
};

const char *qca_error_kind_name(enum qca_error_kind kind);

/* ---- images ------------------------------------------------------------------------------- */

/* Properties of a format that the programs that use an image must know. */
enum qca_trait {
    /* The library knows what a guest reads of it. Of others, no digest of the content can be had,
     * and no statement about it be made; nor may they be treated as raw. */
    QCA_TRAIT_UNDERSTOOD = 1 << 0,
    /* Clusters with refcounts: cluster_size and refcount_bits are set, and valid. */
    QCA_TRAIT_REFCOUNTS = 1 << 1,
    /* The format has a place for its parent's format, so that an empty place leaves it to be
     * guessed. */
    QCA_TRAIT_DECLARES_PARENT = 1 << 2,
    /* `qemu-img rebase -u` changes which parent it names. */
    QCA_TRAIT_REBASE = 1 << 3,
    /* Its magic is not at the start, so that QEMU opens the same content as raw, too; or that of
     * its fixed variant. */
    QCA_TRAIT_OPENS_RAW = 1 << 4,
    QCA_TRAIT_FIXED_OPENS_RAW = 1 << 5,
    /* Only where it is declared: by content it is what a raw disk holds. */
    QCA_TRAIT_IN_RAW = 1 << 6,
    /* Printed commands may change such images: QEMU's way of writing the format is well trodden,
     * and libvirt reads all of its header that matters. */
    QCA_TRAIT_COMMANDS = 1 << 7,
    /* No disk, but what a manager wrote down about disks: its extents are files that it names. */
    QCA_TRAIT_RECORD = 1 << 8,
    /* And those are disks as they were at snapshots. */
    QCA_TRAIT_SNAPSHOTS = 1 << 9,
};

/* Identifier, row in the library's table, the name that QEMU uses in the backing format extension,
 * another name that libvirt uses, traits. The order is that of the values: new ones come last.
 *
 * Of those that are not understood, the header alone is read. */
#define QCA_FORMATS(X)                                                                             \
    X(RAW,       raw,       "raw",       "iso",   QCA_TRAIT_UNDERSTOOD | QCA_TRAIT_COMMANDS)       \
    X(QCOW2,     qcow2,     "qcow2",     NULL,    QCA_TRAIT_UNDERSTOOD | QCA_TRAIT_COMMANDS |      \
                                                      QCA_TRAIT_REFCOUNTS |                        \
                                                      QCA_TRAIT_DECLARES_PARENT |                  \
                                                      QCA_TRAIT_REBASE)                            \
    X(VMDK,      vmdk,      "vmdk",      NULL,    QCA_TRAIT_UNDERSTOOD)                            \
    X(VDI,       vdi,       "vdi",       NULL,    QCA_TRAIT_UNDERSTOOD)                            \
    /* Microsoft's VHD, as QEMU and libvirt call it */                                             \
    X(VPC,       vpc,       "vpc",       "vhd",   QCA_TRAIT_UNDERSTOOD | QCA_TRAIT_FIXED_OPENS_RAW)\
    X(VHDX,      vhdx,      "vhdx",      NULL,    QCA_TRAIT_UNDERSTOOD)                            \
    X(QED,       qed,       "qed",       NULL,    QCA_TRAIT_UNDERSTOOD)                            \
    X(PARALLELS, parallels, "parallels", "ploop", QCA_TRAIT_UNDERSTOOD)                            \
    X(QCOW,      qcow,      "qcow",      NULL,    QCA_TRAIT_UNDERSTOOD) /* version 1 */            \
    X(DMG,       dmg,       "dmg",       NULL,    QCA_TRAIT_OPENS_RAW)                             \
    X(CLOOP,     cloop,     "cloop",     NULL,    0)                                               \
    X(BOCHS,     bochs,     "bochs",     NULL,    0)                                               \
    /* a tar archive with a disk in it: no disk itself */                                          \
    X(OVA,       ova,       "ova",       NULL,    QCA_TRAIT_OPENS_RAW)                             \
    X(LUKS,      luks,      "luks",      NULL,    QCA_TRAIT_IN_RAW)                                \
    /* VMware's texts about a virtual machine, which name its disks and what its snapshots stand   \
     * on: no disks themselves */                                                                  \
    X(VMX,       vmx,       "vmx",       NULL,    QCA_TRAIT_OPENS_RAW | QCA_TRAIT_RECORD)          \
    X(VMSD,      vmsd,      "vmsd",      NULL,    QCA_TRAIT_OPENS_RAW | QCA_TRAIT_RECORD |         \
                                                      QCA_TRAIT_SNAPSHOTS)

enum qca_format {
    QCA_FORMAT_UNKNOWN,         /* as an option: probe */
#define QCA_X(id, ...) QCA_FORMAT_##id,
    QCA_FORMATS(QCA_X)
#undef QCA_X
    _QCA_FORMAT_MAX,
};

/* "raw", "qcow2", "vpc": the names QEMU uses in the backing format extension; NULL when out of
 * range. */
const char *qca_format_name(enum qca_format format);
/* QCA_FORMAT_UNKNOWN for a name that the library does not know. libvirt's other names ("vhd",
 * "ploop", "iso") are known, too. */
enum qca_format qca_format_from_name(const char *name);
bool qca_format_has(enum qca_format format, enum qca_trait trait);
/* QCA_TRAIT_UNDERSTOOD. */
bool qca_format_is_understood(enum qca_format format);

/* The kind of an image within its format, or of the content at the beginning of a raw disk. */
enum qca_variant {
    QCA_VARIANT_NONE,
    QCA_VARIANT_RAW_MBR,        /* raw: a disk with a partition table, */
    QCA_VARIANT_RAW_GPT,
    QCA_VARIANT_RAW_ISO9660,    /* an install medium, with a partition table or without, */
    QCA_VARIANT_RAW_LUKS,       /* encrypted by the host or by its guest: which, nobody can tell */
    QCA_VARIANT_VMDK_SPARSE,    /* monolithicSparse */
    QCA_VARIANT_VMDK_STREAM,    /* streamOptimized */
    QCA_VARIANT_VMDK_COWD,      /* vmfsSparse: an extent */
    QCA_VARIANT_VMDK_SESPARSE,  /* an extent */
    QCA_VARIANT_VMDK_DESCRIPTOR,        /* text that names extents */
    QCA_VARIANT_FIXED,          /* VHD, VDI, VHDX: all of the disk is allocated; of a VHD known by
                                 * its last sector alone */
    QCA_VARIANT_DYNAMIC,
    QCA_VARIANT_DIFFERENCING,   /* has a parent, whether the header names it or not */
    QCA_VARIANT_VMDK_EXTENT,    /* a piece of a disk, sparse: a descriptor beside it tells of the
                                 * disk */
    QCA_VARIANT_PARALLELS_BUNDLE,       /* DiskDescriptor.xml, which names the images of a disk and
                                         * of its snapshots */
    _QCA_VARIANT_MAX,
};

/* "gpt", "stream-optimized", ...: stable; NULL for none and out of range. */
const char *qca_variant_name(enum qca_variant variant);
enum qca_variant qca_variant_from_name(const char *name);   /* NONE for an unknown name */

/* Is it an error to open content of this format and variant as declared? Not where QEMU opens the
 * same content as raw, too, because its magic is not at the start (a fixed VHD, DMG, OVA), and not
 * for LUKS, which lies on a raw disk. Unknown formats contradict nothing. */
bool qca_format_contradicts(enum qca_format declared, enum qca_format content,
                            enum qca_variant variant);

enum qca_crypt { QCA_CRYPT_NONE = 0, QCA_CRYPT_AES = 1, QCA_CRYPT_LUKS = 2 };

/* qcow2 feature bits (docs/interop/qcow2.txt, "Header"). */
#define QCA_INCOMPAT_DIRTY          (UINT64_C(1) << 0)
#define QCA_INCOMPAT_CORRUPT        (UINT64_C(1) << 1)
#define QCA_INCOMPAT_DATA_FILE      (UINT64_C(1) << 2)
#define QCA_INCOMPAT_COMPRESSION    (UINT64_C(1) << 3)
#define QCA_INCOMPAT_EXTENDED_L2    (UINT64_C(1) << 4)
#define QCA_COMPAT_LAZY_REFCOUNTS   (UINT64_C(1) << 0)
#define QCA_AUTOCLEAR_BITMAPS       (UINT64_C(1) << 0)
#define QCA_AUTOCLEAR_DATA_FILE_RAW (UINT64_C(1) << 1)

/* An internal snapshot as its table says it; strings are copies, cut at 1,023 bytes, NUL-ended,
 * raw. */
struct qca_snapshot {
    char *id;
    char *name;
    int64_t date_sec;           /* seconds since the epoch */
    uint32_t date_nsec;
    uint64_t vm_state_size;     /* bytes */
    uint64_t virtual_size;      /* bytes; 0 when the entry does not say */
    uint64_t l1_offset;         /* host offset, bytes */
    uint32_t l1_entries;
};

struct qca_bitmap {
    char *name;
    uint32_t flags;             /* bit 0 in use, bit 1 auto */
    uint8_t granularity_bits;
    uint64_t table_offset;      /* host offset, bytes */
    uint32_t table_entries;
};
#define QCA_BITMAP_IN_USE (UINT32_C(1) << 0)

struct qca_extension {
    uint32_t type;              /* magic of the header extension */
    uint32_t length;            /* bytes of data, without padding */
    uint64_t offset;            /* host offset of its data */
};

/* A piece of a disk that a VMDK descriptor places in another file; an image that Parallels'
 * descriptor names, of all of a disk or of a layer of it; or a file that a record names, as "DISK",
 * "ABSENT" (a disk that was taken out) or "SNAPSHOT": then there is but the name. */
struct qca_extent_file {
    char *name;                 /* as stored, hostile; NULL: zeros, without a file */
    char type[16];              /* "FLAT", "SPARSE", "PLAIN", ... as stored, printable */
    uint64_t size;              /* bytes of the disk */
    uint64_t offset;            /* in the file, bytes; of flat ones alone, else 0 */
};
/* Do the bytes of its file lie as the guest reads them? */
bool qca_extent_file_is_flat(const struct qca_extent_file *extent);
/* Does its file only say which device of an ESXi host has the data ("Virtual Disk Format 5.0",
 * "VMFSRDM", "VMFSRAW")? */
bool qca_extent_file_is_device(const struct qca_extent_file *extent);
#define QCA_EXTENT_FILES_MAX 8192   /* more make a descriptor invalid */

/* A mark that a format writes into an image, and its child keeps, so that a parent that is not the
 * one any more can be told: VMDK's CID, the UUID of a VHD or VDI, the DataWriteGuid of a VHDX. As
 * text of lower-case hexadecimal digits and hyphens, NUL-ended: of a CID 8 digits, of a UUID 36
 * characters. */
struct qca_identity { char text[40]; };

/* The header's fields. Strings are hostile bytes: escape them before they go anywhere. */
struct qca_image_info {
    enum qca_format format;
    uint32_t version;           /* qcow2: 2 or 3; raw: 0; of others as the header has it */
    uint64_t file_size;         /* bytes of the container */
    uint64_t virtual_size;      /* bytes the guest sees; 0 of a format that is not understood:
                                 * the header does not say */
    uint32_t cluster_size;      /* bytes; qcow2: 512 to 2 MiB; raw: 0 */
    uint32_t refcount_bits;     /* qcow2: 1 to 64, a power of two; else 0 */
    uint32_t header_length;
    enum qca_variant variant;
    uint64_t incompatible_features;
    uint64_t compatible_features;
    uint64_t autoclear_features;
    uint8_t compression_type;   /* 0 zlib, 1 zstd */
    enum qca_crypt crypt_method;
    uint64_t crypt_header_offset;   /* LUKS header in the container, bytes; 0 if none */
    uint64_t crypt_header_length;
    uint64_t l1_offset;
    uint32_t l1_entries;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint64_t snapshots_offset;
    uint32_t snapshot_count;    /* as the header says; n_snapshots were readable */
    char *parent;               /* backing file name, NULL when there is none */
    char *parent_format;        /* backing format as written, NULL when not declared */
    char *data_file;            /* external data file name, NULL when none or not named */
    struct qca_snapshot *snapshots;
    size_t n_snapshots;
    struct qca_bitmap *bitmaps;
    size_t n_bitmaps;
    struct qca_extension *extensions;
    size_t n_extensions;
    struct qca_extent_file *extents;    /* of a descriptor, VMDK's or Parallels' */
    size_t n_extents;
    uint32_t unknown_lines;     /* of a VMDK descriptor: neither comment, value nor extent */
    struct qca_identity identity;       /* its own, */
    struct qca_identity parent_identity;        /* and its parent's, as it was; "": there is none,
                                                 * or the format has no such mark */
    struct qca_identity second_parent_identity; /* that its parent may have instead: of a VHDX */
    uint64_t other_size;        /* bytes of the disk for readers that go by another field than QEMU
                                 * (a VHD has a size and a geometry); 0: both say the same */
};

/* Is the parent the one that the child was made on, as far as their marks tell? True where one of
 * them has none. */
bool qca_info_fits_parent(const struct qca_image_info *child, const struct qca_image_info *parent);
/* Frees what info owns and zeroes it. */
void qca_image_info_done(struct qca_image_info *info);

/* Is what a guest reads of this very image known? Not of a layer whose parent its header does
 * not name, nor of a part of a disk: an extent, or the text that names extents. */
bool qca_info_is_understood(const struct qca_image_info *info);

struct qca_image;

struct qca_open_options {
    enum qca_format format;     /* QCA_FORMAT_UNKNOWN probes: a magic, else raw */
    uint64_t memory_limit;      /* bytes for everything this image needs; 0 is 1 GiB */
};

/* Reads and validates the header, its extensions, the snapshot table and the bitmap directory, by
 * the rules under which `qemu-img check` opens an image. io must outlive the image. options may be
 * NULL. On failure error (may be NULL) says why. An unreadable snapshot table or bitmap directory
 * does not fail the open: qca_check() reports it. */
int qca_image_open(struct qca_io *io, const struct qca_open_options *options,
                   struct qca_error *error, struct qca_image **ret_image);
void qca_image_free(struct qca_image *image);
/* Owned by the image, valid for its life. */
const struct qca_image_info *qca_image_info(const struct qca_image *image);
/* The format whose magic the content carries, at its beginning or, where the format has it there,
 * at its end (raw for anything else); -errno when unreadable. */
int qca_probe(struct qca_io *io, enum qca_format *ret_format);
/* SHA-256 over header, L1, refcount table and snapshot table: changes with every change of
 * structure. -EOPNOTSUPP for a format without one. */
int qca_metadata_digest(struct qca_image *image, uint8_t ret_digest[32]);

/* ---- check -------------------------------------------------------------------------------- */

/* The counter of `qemu-img check` for an issue; BEYOND: qemu-img calls it clean. */
enum qca_counter {
    QCA_COUNTER_CORRUPTION,
    QCA_COUNTER_LEAK,
    QCA_COUNTER_CHECK_ERROR,
    QCA_COUNTER_BEYOND
};

/* identifier, stable name, counter, damaged pointer? (true of running guests too), what it means */
#define QCA_ISSUE_KINDS(X)                                                                         \
    X(L1_RESERVED_BITS,     "l1-reserved-bits",     CORRUPTION, true,                              \
      "an L1 entry has reserved bits set")                                                         \
    X(L1_UNALIGNED,         "l1-unaligned",         CORRUPTION, true,                              \
      "an L1 entry's L2 table is not cluster aligned")                                             \
    X(L2_RESERVED_BITS,     "l2-reserved-bits",     CORRUPTION, true,                              \
      "an L2 entry has reserved bits set")                                                         \
    X(L2_UNALIGNED,         "l2-unaligned",         CORRUPTION, true,                              \
      "an L2 entry's cluster is not cluster aligned")                                              \
    X(L2_COMPRESSED_COPIED, "l2-compressed-copied", CORRUPTION, true,                              \
      "a compressed cluster has the COPIED flag")                                                  \
    X(L2_COMPRESSED_DATA_FILE, "l2-compressed-data-file", CORRUPTION, true,                        \
      "a compressed cluster in an image with a data file")                                         \
    X(L2_COMPRESSED_SUBCLUSTERS, "l2-compressed-subclusters", CORRUPTION, true,                    \
      "a compressed cluster with a subcluster bitmap")                                             \
    X(L2_SUBCLUSTERS,       "l2-subclusters",       CORRUPTION, true,                              \
      "an extended L2 entry's subcluster bits contradict each other")                              \
    X(OUT_OF_FILE,          "out-of-file",          CORRUPTION, true,                              \
      "a reference points beyond the end of the file")                                             \
    X(REFERENCE_OVERFLOW,   "reference-overflow",   CORRUPTION, false,                             \
      "a cluster has more references than its refcount can hold")                                  \
    X(REFCOUNT_LOW,         "refcount-low",         CORRUPTION, false,                             \
      "a stored refcount is lower than the references counted")                                    \
    X(COPIED_WRONG,         "copied-wrong",         CORRUPTION, false,                             \
      "a COPIED flag contradicts the stored refcount")                                             \
    X(REFTABLE_RESERVED_BITS, "reftable-reserved-bits", CORRUPTION, true,                          \
      "a refcount table entry has reserved bits set")                                              \
    X(REFTABLE_UNALIGNED,   "reftable-unaligned",   CORRUPTION, true,                              \
      "a refcount block is not cluster aligned")                                                   \
    X(REFTABLE_OUT_OF_FILE, "reftable-out-of-file", CORRUPTION, true,                              \
      "a refcount block lies beyond the end of the file")                                          \
    X(REFBLOCK_SHARED,      "refblock-shared",      CORRUPTION, true,                              \
      "a refcount block is not referenced exactly once")                                           \
    X(SNAPSHOT_L1_INVALID,  "snapshot-l1-invalid",  CORRUPTION, true,                              \
      "a snapshot's L1 table has an impossible place or size")                                     \
    X(SNAPSHOT_INCOMPLETE,  "snapshot-incomplete",  CORRUPTION, false,                             \
      "a snapshot table entry lacks its extra data")                                               \
    X(SNAPSHOT_WITH_DATA_FILE, "snapshot-with-data-file", CORRUPTION, false,                       \
      "an internal snapshot in an image with a data file")                                         \
    X(CLUSTER_LEAKED,       "cluster-leaked",       LEAK,       false,                             \
      "clusters with a refcount that nothing references")                                          \
    X(READ_FAILED,          "read-failed",          CHECK_ERROR, false,                            \
      "metadata that could not be read")                                                           \
    X(SNAPSHOT_TABLE_INVALID, "snapshot-table-invalid", CHECK_ERROR, true,                         \
      "the snapshot table cannot be read to its end")                                              \
    X(BITMAPS_INVALID,      "bitmaps-invalid",      CHECK_ERROR, true,                             \
      "the bitmap directory or a bitmap table is invalid")                                         \
    X(CORRUPT_BIT,          "corrupt-bit",          BEYOND,     false,                             \
      "the image is marked corrupt: QEMU does not write it any more")                              \
    X(DIRTY_BIT,            "dirty-bit",            BEYOND,     false,                             \
      "the image was not closed cleanly, or is open now")                                          \
    X(BITMAP_IN_USE,        "bitmap-in-use",        BEYOND,     false,                             \
      "a persistent bitmap is marked in use")                                                      \
    X(COMPRESSED_BAD,       "compressed-bad",       BEYOND,     true,                              \
      "compressed data does not inflate to a whole cluster")                                       \
    X(COMPRESSED_OVERLAP,   "compressed-overlap",   BEYOND,     true,                              \
      "compressed data begins within that of another cluster")                                     \
    X(CLUSTER_MAPPED_TWICE, "cluster-mapped-twice", BEYOND,     true,                              \
      "two places of the guest's disk lie in one cluster")                                         \
    X(DATA_ON_METADATA,     "data-on-metadata",     BEYOND,     true,                              \
      "guest data lies on the image's own metadata")                                               \
    X(METADATA_SHARED,      "metadata-shared",      BEYOND,     true,                              \
      "a cluster of metadata serves two purposes")                                                 \
    X(AUTOCLEAR_UNKNOWN,    "autoclear-unknown",    BEYOND,     false,                             \
      "feature bits that nothing here knows (autoclear): a newer QEMU's")                          \
    X(HEADER_LENGTH_UNALIGNED, "header-length-unaligned", BEYOND, false,                           \
      "the header length is not a multiple of 8")                                                  \
    X(EXTENSION_DUPLICATE,  "extension-duplicate",  BEYOND,     false,                             \
      "a header extension is there twice")                                                         \
    X(EXTENSION_STALE,      "extension-stale",      BEYOND,     false,                             \
      "a header extension that means nothing in this image")                                       \
    X(HEADER_SLACK,         "header-slack",         BEYOND,     false,                             \
      "the header's cluster holds data that belongs to nothing")                                   \
    X(L2_ZERO_IN_EXTENDED,  "l2-zero-in-extended",  BEYOND,     false,                             \
      "an extended L2 entry has the reserved bit 0 set")                                           \
    X(L2_ZERO_IN_V2,        "l2-zero-in-v2",        BEYOND,     true,                              \
      "a zero cluster in version 2, where QEMU takes it for damage")                               \
    X(COPIED_WITHOUT_OFFSET, "copied-without-offset", BEYOND,   false,                             \
      "an unallocated entry has the COPIED flag")                                                  \
    X(COPIED_WRONG_INACTIVE, "copied-wrong-inactive", BEYOND,   false,                             \
      "a snapshot's L2 entry has COPIED though its cluster is shared")                             \
    X(REFCOUNT_BEYOND_END,  "refcount-beyond-end",  BEYOND,     false,                             \
      "refcounts of clusters beyond the end of the file")                                          \
    X(DATA_BEHIND_END,      "data-behind-end",      BEYOND,     false,                             \
      "the file holds data behind its last cluster in use")                                        \
    X(LAST_CLUSTER_CUT,     "last-cluster-cut",     BEYOND,     true,                              \
      "the file ends within a cluster in use")                                                     \
    X(MAPPING_BEYOND_DISK,  "mapping-beyond-disk",  BEYOND,     false,                             \
      "clusters are mapped beyond the end of the disk")                                            \
    X(SNAPSHOT_ID_DUPLICATE, "snapshot-id-duplicate", BEYOND,   false,                             \
      "two internal snapshots have the same id")                                                   \
    X(SNAPSHOT_SIZE_MISMATCH, "snapshot-size-mismatch", BEYOND, false,                             \
      "a snapshot's L1 table is too small for its disk size")                                      \
    X(SNAPSHOT_EMPTY,       "snapshot-empty",       BEYOND,     false,                             \
      "a snapshot table entry without an id or an L1 table")                                       \
    X(BITMAP_BEYOND_DISK,   "bitmap-beyond-disk",   BEYOND,     false,                             \
      "a bitmap has bits set beyond the end of the disk")                                          \
    X(DATA_FILE_OFFSET,     "data-file-offset",     BEYOND,     true,                              \
      "an offset of a raw data file is not the guest's")                                           \
    X(DATA_FILE_END,        "data-file-end",        BEYOND,     true,                              \
      "a cluster lies beyond the end of the data file")                                            \
    X(DATA_FILE_SHARED,     "data-file-shared",     BEYOND,     true,                              \
      "two places of the guest's disk lie in one cluster of the data file")                        \
    X(DATA_FILE_REUSED,     "data-file-reused",     BEYOND,     true,                              \
      "a data file that is a layer, or another layer's data file, too")                            \
    X(PARENT_FORMAT_MISSING, "parent-format-missing", BEYOND,   false,                             \
      "the parent's format is not declared, and would be guessed")                                 \
    X(PARENT_FORMAT_WRONG,  "parent-format-wrong",  BEYOND,     true,                              \
      "the parent's content is not of the declared format")                                        \
    X(PARENT_SHORTER,       "parent-shorter",       BEYOND,     false,                             \
      "the parent is smaller; beyond its end the guest reads zeros")                               \
    X(PARENT_NEWER,         "parent-newer",         BEYOND,     false,                             \
      "the parent was written after this layer was")                                               \
    X(LUKS_HEADER_INVALID,  "luks-header-invalid",  BEYOND,     false,                             \
      "a field of the LUKS header is invalid")                                                     \
    X(LUKS_SLOT_INVALID,    "luks-slot-invalid",    BEYOND,     false,                             \
      "a LUKS key slot is invalid")                                                                \
    X(LUKS_SLOTS_EMPTY,     "luks-slots-empty",     BEYOND,     false,                             \
      "no LUKS key slot is in use: no key opens the image")                                        \
    X(L2_TABLE_HOLE,        "l2-table-hole",        BEYOND,     false,                             \
      "an L2 table is a hole of the host's file")                                                  \
    X(DATA_HOLE,            "data-hole",            BEYOND,     false,                             \
      "allocated clusters are holes of the host's file")                                           \
    /* of the formats that others made */                                                          \
    X(BLOCK_MAPPED_TWICE,   "block-mapped-twice",   CORRUPTION, true,                              \
      "two places of the guest's disk lie in one block of the file")                               \
    X(BLOCK_REUSED,         "block-reused",         CORRUPTION, true,                              \
      "a place in the file is a table's, and another table's or a block's, too")                   \
    X(BLOCK_LEAKED,         "block-leaked",         LEAK,       false,                             \
      "blocks of the file that nothing refers to")                                                 \
    X(BLOCK_NUMBER,         "block-number",         CORRUPTION, true,                              \
      "a block map entry is beyond the number of blocks that the header counts")                   \
    X(BLOCK_COUNT,          "block-count",          CORRUPTION, false,                             \
      "the header counts other blocks than the block map has")                                     \
    X(BLOCK_OUT_OF_FILE,    "block-out-of-file",    BEYOND,     true,                              \
      "a block lies beyond the end of the file, or the file ends within it")                       \
    X(BLOCK_OVERLAP,        "block-overlap",        BEYOND,     true,                              \
      "two places of the guest's disk lie in one block of the file, or in parts of it")            \
    X(BLOCK_UNALIGNED,      "block-unaligned",      BEYOND,     true,                              \
      "a block is not where the format places blocks")                                             \
    X(BLOCK_INVALID,        "block-invalid",        BEYOND,     true,                              \
      "an entry holds what the format does not know")                                              \
    X(BLOCK_UNUSED,         "block-unused",         BEYOND,     false,                             \
      "blocks of the file that no entry refers to")                                                \
    X(TABLE_OUT_OF_FILE,    "table-out-of-file",    BEYOND,     true,                              \
      "a table lies beyond the end of the file, or the file ends within it")                       \
    X(COPY_DIFFERS,         "copy-differs",         BEYOND,     false,                             \
      "a structure and its copy in the same file differ")                                          \
    X(CHECKSUM_WRONG,       "checksum-wrong",       BEYOND,     true,                              \
      "a structure does not have the checksum that it says")                                       \
    X(FIELD_INVALID,        "field-invalid",        BEYOND,     true,                              \
      "a header field holds what the format does not allow")                                       \
    X(TRAILER_MISSING,      "trailer-missing",      BEYOND,     true,                              \
      "what the format keeps at the end of the file is not there")                                 \
    X(LOG_PENDING,          "log-pending",          BEYOND,     false,                             \
      "writes to the tables lie in the log alone: the image was not closed cleanly, or is open")   \
    X(LOG_INVALID,          "log-invalid",          BEYOND,     true,                              \
      "the log should hold writes to the tables, and holds none that can be replayed")             \
    X(TEXT_TRANSFER,        "text-transfer",        BEYOND,     true,                              \
      "the file was changed as text, line ends were rewritten")                                    \
    X(PARENT_CHANGED,       "parent-changed",       BEYOND,     true,                              \
      "the parent is not as it was when this layer was made: their identities differ")             \
    X(EXTENT_SIZE,          "extent-size",          BEYOND,     true,                              \
      "a file that holds a piece of the disk is smaller than the descriptor says")                 \
    X(GPT_BACKUP_OUT_OF_FILE, "gpt-backup-out-of-file", BEYOND, true,                              \
      "the disk was cut: its GPT says that the backup lies beyond the end of the file")            \
    X(GPT_INVALID,          "gpt-invalid",          BEYOND,     false,                             \
      "the guest's GPT, or its backup, is not there or does not have its checksum")                \
    X(GPT_COPIES_DIFFER,    "gpt-copies-differ",    BEYOND,     false,                             \
      "the guest's GPT and its backup differ")                                                     \
    X(PARTITION_OUT_OF_FILE, "partition-out-of-file", BEYOND,   false,                             \
      "the guest's partition table has a partition that ends beyond the end of the file")          \
    X(VOLUME_OUT_OF_FILE,   "volume-out-of-file",   BEYOND,     true,                              \
      "the medium was cut: its ISO 9660 volume ends beyond the end of the file")                   \
    X(LUKS_DATA_OUT_OF_FILE, "luks-data-out-of-file", BEYOND,   true,                              \
      "the disk was cut: its LUKS header says that data lie beyond the end of the file")           \
    X(MEMBER_OUT_OF_FILE,   "member-out-of-file",   BEYOND,     true,                              \
      "the archive was cut: a file in it ends beyond its end")                                     \
    X(MEMBER_HEADER_INVALID, "member-header-invalid", BEYOND,   true,                              \
      "the header of a file in the archive does not have its checksum, or no size")                \
    X(MEMBER_MISSING,       "member-missing",       BEYOND,     true,                              \
      "a file that the appliance's descriptor or manifest names is not in the archive")            \
    X(MEMBER_DIGEST_WRONG,  "member-digest-wrong",  BEYOND,     true,                              \
      "a file in the archive does not have the digest that the manifest says")

enum qca_issue_kind {
#define QCA_X(id, name, counter, pointer, text) QCA_ISSUE_##id,
    QCA_ISSUE_KINDS(QCA_X)
#undef QCA_X
    _QCA_ISSUE_MAX,
};

enum qca_table {
    QCA_TABLE_HEADER,
    QCA_TABLE_L1,
    QCA_TABLE_L2,
    QCA_TABLE_REFCOUNT_TABLE,
    QCA_TABLE_REFCOUNT_BLOCK,
    QCA_TABLE_SNAPSHOTS,
    QCA_TABLE_BITMAP_DIRECTORY,
    QCA_TABLE_BITMAP,
    QCA_TABLE_CRYPT,
    QCA_TABLE_DATA,
    QCA_TABLE_DIRECTORY,        /* of others' formats: what leads to block maps, */
    QCA_TABLE_BLOCK_MAP,        /* which lead to data; */
    QCA_TABLE_DESCRIPTOR,       /* text that describes the disk, */
    QCA_TABLE_TRAILER,          /* what is at the end of the file, */
    QCA_TABLE_LOG,
    _QCA_TABLE_MAX,
};

/* The place of a table, or of a part of one: bytes that are in the file. */
struct qca_place {
    enum qca_table table;
    uint64_t offset, size;
};

/* Tells found() of all tables that the check of an image reads, by what its header and its tables
 * say: first those that the header leads to, then refcount blocks, L2 tables, and bitmaps with
 * their bits. One that several refer to is told of several times; what a damaged entry points at
 * may be anything. Keys (a LUKS header) are left out. found() returns 0, or -errno, which ends
 * it. -EOPNOTSUPP for a format without; -EFBIG when tables overlap each other beyond reason. */
int qca_image_places(struct qca_image *image,
                     int (*found)(void *userdata, const struct qca_place *place), void *userdata);

#define QCA_NO_OFFSET UINT64_MAX
#define QCA_ACTIVE    UINT32_MAX    /* qca_issue.snapshot: the active tables */

/* One bad entry; or a run: entries of one table that follow one another and have the same trouble,
 * with what they point at, and what they hurt, without a gap. */
struct qca_issue {
    enum qca_issue_kind kind;
    enum qca_table table;       /* the table that holds the bad entry */
    uint32_t layer;             /* 0 is the image itself */
    uint32_t snapshot;          /* index of the snapshot whose table it is, or QCA_ACTIVE */
    uint64_t table_offset;      /* host offset of that table, QCA_NO_OFFSET when it has none */
    uint64_t index;             /* (first) entry in that table */
    uint64_t host_offset;       /* what the entry points at; QCA_NO_OFFSET when nothing */
    uint64_t host_length;       /* bytes; of the whole run */
    uint64_t guest_offset;      /* damaged guest range; QCA_NO_OFFSET when no guest data is hurt */
    uint64_t guest_length;      /* bytes; of the whole run */
    uint64_t stored;            /* stored refcount, where it matters */
    uint64_t counted;           /* counted references, where it matters */
    uint64_t count;             /* how much it added to its counter: a run's clusters */
    uint64_t extent;            /* 0; of a disk in several files the number of the extent, from 1
                                 * on, in whose file the offsets are */
};

const char *qca_issue_kind_name(enum qca_issue_kind kind);
const char *qca_issue_kind_text(enum qca_issue_kind kind);
enum qca_counter qca_issue_kind_counter(enum qca_issue_kind kind);
/* True for damage to pointers, which is damage even while a guest writes the image. */
bool qca_issue_kind_is_pointer(enum qca_issue_kind kind);
enum qca_issue_kind qca_issue_kind_from_name(const char *name);     /* _QCA_ISSUE_MAX if unknown */
const char *qca_table_name(enum qca_table table);

struct qca_digest_options;
struct qca_file_digest;

struct qca_check_options {
    uint64_t memory_limit;      /* bytes; 0 is 1 GiB. What needs more counts in passes */
    size_t max_issues;          /* issues (runs) kept; 0 is 1,000. Counters always count all */
    bool scalar_only;           /* no vector instructions: for tests and measurements */
    bool deep;                  /* also inflate every compressed cluster, look for holes of the
                                 * file, and compare digests in an archive */
    bool on_device;             /* the image lies on a block device: what is behind its end is
                                 * not its own */
    uint64_t inflate_limit;     /* bytes that deep inflates at most: what is beyond is not looked
                                 * at, and the check not finished. 0 is 1 TiB or 16 times the
                                 * file, whichever is more: so much no honest image has, and a
                                 * hostile one of 1 MiB can have 28 GiB */
    bool pieces;                /* of a disk in several files that a chain has open: each is
                                 * checked, too; else only compared with the descriptor */
    bool data_file_known;       /* data_file_size is that of the external data file, in bytes */
    uint64_t data_file_size;
    struct qca_threads *threads;    /* may be NULL: the caller's own alone. Others read tables
                                     * ahead */
    const atomic_bool *cancel;  /* may be NULL; once true, the check ends with -ECANCELED soon */
    /* may be NULL; at most ~10 per s of work */
    void (*progress)(void *userdata, uint64_t done, uint64_t total);
    void *userdata;
    /* qca_file_digest(); NULL, or one that returns -EOPNOTSUPP: the digests in an archive's
     * manifest are not compared. Used by a check that is deep */
    int (*file_digest)(struct qca_io *io, unsigned algorithms,
                       const struct qca_digest_options *options, struct qca_error *error,
                       struct qca_file_digest *ret_digest);
};

/* The eight figures of `qemu-img check --output=json`, and the issues behind them. */
struct qca_check_result {
    bool finished;              /* false: it could not be finished; counters so far stand */
    struct qca_error *error;    /* owned; why, when it is not finished, else NULL.
                                 * qca_check_error() */
    uint64_t corruptions;
    uint64_t leaks;             /* clusters */
    uint64_t check_errors;
    uint64_t image_end_offset;  /* bytes */
    uint64_t total_clusters;    /* guest clusters */
    uint64_t allocated_clusters;
    uint64_t compressed_clusters;
    uint64_t fragmented_clusters;
    uint64_t leak_runs;         /* maximal runs of adjacent leaked clusters */
    uint64_t burst_leaks;       /* most leaks in any (sliding) host span as long as what one L2
                                 * table maps */
    uint64_t burst_offset;      /* that span's first and last leaked byte; QCA_NO_OFFSET if no
                                 * leaks */
    uint64_t burst_end;
    uint32_t *kind_count;       /* owned; by kind, NULL: none was seen. qca_check_count() */
    struct qca_issue *issues;   /* in the order found; the first max_issues */
    size_t n_issues;
};

/* How often the kind was seen, kept among the issues or not; UINT32_MAX: so often, or more. */
uint32_t qca_check_count(const struct qca_check_result *result, enum qca_issue_kind kind);
/* Why it was not finished; of kind QCA_ERROR_NONE when it was. Never NULL, the result's. */
const struct qca_error *qca_check_error(const struct qca_check_result *result);
/* Frees what result owns and zeroes it. */
void qca_check_result_done(struct qca_check_result *result);

/* Checks one image; its parents are not looked at. 0 also when damage was found or the check could
 * not be finished (result.finished); -EOPNOTSUPP for a format that has no check (raw); -ENOMEM;
 * -ECANCELED. */
int qca_check(struct qca_image *image, const struct qca_check_options *options,
              struct qca_check_result *ret_result);

/* Of a descriptor that no chain has open: hands it the file of its index-th extent, so that a check
 * compares them. io is freed with the image, or at once on failure. -ENOMEM, or what opening it
 * gave. */
int qca_image_take_extent(struct qca_image *image, size_t index, struct qca_io *io,
                          struct qca_error *error);

/* The exit status of `qemu-img check`: 0 clean, 1 not opened or not finished, 2 corruptions, 3
 * leaks. */
int qca_check_exit_status(const struct qca_check_result *result);

/* ---- chains ------------------------------------------------------------------------------- */

/* Two files are the same when a and b are equal: the resolver's business (device and inode, say).
 * No part of that: mtime, nanoseconds since the epoch, 0 when not known; and whether it is a block
 * device. */
struct qca_file_id { uint64_t a, b; int64_t mtime; uint64_t is_device; };

enum qca_reference_kind {
    QCA_REFERENCE_PARENT,
    QCA_REFERENCE_DATA_FILE,
    QCA_REFERENCE_EXTENT,       /* a piece of the disk, which a VMDK descriptor names */
    _QCA_REFERENCE_MAX,
};

struct qca_reference {
    enum qca_reference_kind kind;
    uint32_t layer;             /* of the image that holds the reference */
    const char *name;           /* as stored, hostile */
    const char *format;         /* declared format, NULL when not declared */
};

/* Finds the file a reference means. On success *ret_io is the chain's (freed by qca_io_free); the
 * resolver keeps what lies beneath it alive as long as the chain. -errno refuses: -ENOENT missing,
 * -EPERM not allowed, -EMEDIUMTYPE remote. */
typedef int (*qca_resolve_fn)(void *userdata, const struct qca_reference *reference,
                              struct qca_io **ret_io, struct qca_file_id *ret_id);

struct qca_chain;

struct qca_chain_options {
    uint32_t max_depth;         /* layers; 0 is 200, libvirt's limit */
    uint64_t memory_limit;      /* as in struct qca_open_options, for all layers together */
    struct qca_file_id id;      /* of the leaf, so that a loop back to it is seen */
    bool layer_only;            /* the leaf and its data file: neither a parent nor an extent is
                                 * opened, and what they hold is unallocated */
};

/* Opens all parents of leaf, which stays the caller's and must outlive the chain. Of several chains
 * of one leaf, the first that was opened is the last to be freed. A parent whose format is not
 * declared is probed for qcow2's magic only to report it, and then read as raw: libvirt's rule. Of
 * formats that have no place to declare it (QED, the first qcow) its content tells, as for QEMU. */
int qca_chain_open(struct qca_image *leaf, const struct qca_chain_options *options,
                   qca_resolve_fn resolve, void *userdata, struct qca_error *error,
                   struct qca_chain **ret_chain);
void qca_chain_free(struct qca_chain *chain);
/* Number of layers, at least 1. */
size_t qca_chain_depth(const struct qca_chain *chain);
/* Layer 0 is the leaf. NULL when index is beyond the base. */
struct qca_image *qca_chain_layer(const struct qca_chain *chain, size_t index);
/* Bytes of that layer's external data file. False when it has none. */
bool qca_chain_data_file_size(const struct qca_chain *chain, size_t index, uint64_t *ret_size);

#define QCA_NO_LAYER UINT32_MAX

/* A layer of a chain that is walked, and what is known of its parent. */
struct qca_chain_link {
    uint32_t layer;
    struct qca_image *image;    /* the walk's, valid during the call */
    bool on_device;             /* its file is a block device */
    bool data_file_known;       /* it has a data file, of data_file_size bytes */
    uint64_t data_file_size;
    uint32_t data_file_user;    /* a layer that uses this data file, too; or whose data file the
                                 * parent is; else QCA_NO_LAYER */
    const struct qca_image_info *parent;    /* NULL: there is none, or it was not opened, which
                                             * ends the walk */
    enum qca_format parent_content;         /* what the parent's first bytes say, whatever was
                                             * declared */
    enum qca_variant parent_variant;        /* of that content, as qca_format_contradicts() wants
                                             * it */
    bool parent_is_newer;       /* it was written after the layer was */
};

/* -errno ends the walk. */
typedef int (*qca_layer_fn)(void *userdata, const struct qca_chain_link *link);

/* Goes down a chain of any length with no more than two layers open: tells of each layer, from the
 * leaf on, as soon as its parent is open or cannot be. What the resolver gave for a layer and for
 * its data file is not used any more when that call returns. *ret_depth is the number of layers.
 * Errors as of qca_chain_open(), and layer's own. */
int qca_chain_walk(struct qca_image *leaf, const struct qca_chain_options *options,
                   qca_resolve_fn resolve, qca_layer_fn layer, void *userdata,
                   struct qca_error *error, uint32_t *ret_depth);
/* Adds what is odd about a layer and its parent to the layer's check: issues of the kinds PARENT_*,
 * and of DATA_FILE_REUSED. At most max_issues (0: 1,000) are kept in all. -ENOMEM. */
int qca_chain_link_check(const struct qca_chain_link *link, size_t max_issues,
                         struct qca_check_result *result);

/* ---- what the guest sees ------------------------------------------------------------------ */

enum qca_extent_kind {
    QCA_EXTENT_UNALLOCATED,     /* in no layer: reads as zeros */
    QCA_EXTENT_ZERO,            /* said to be zeros, or a hole of the file that holds it */
    QCA_EXTENT_DATA,            /* as it lies at host_offset */
    QCA_EXTENT_COMPRESSED,      /* of one cluster */
    QCA_EXTENT_DAMAGED,         /* what maps it cannot be read or followed: error and reason say
                                 * why */
    _QCA_EXTENT_KIND_MAX,
};

struct qca_extent {
    uint64_t guest_offset;      /* bytes */
    uint64_t length;            /* bytes, at least 1 */
    enum qca_extent_kind kind;
    uint32_t layer;             /* that decides; of what is in no layer, the base */
    uint32_t file;              /* for qca_map_read(): which of the files that the map reads */
    uint64_t host_offset;       /* data: in the layer's file or data file; compressed: of the
                                 * compressed bytes of the whole cluster; else QCA_NO_OFFSET */
    uint64_t host_length;       /* bytes; data: length; compressed: to the end of the last
                                 * sector; else 0 */
    int error;                  /* damaged: a negative errno, else 0 */
    const char *reason;         /* damaged: one English sentence without a final dot, static;
                                 * else NULL */
};

const char *qca_extent_kind_name(enum qca_extent_kind kind);

struct qca_map;

struct qca_map_options {
    uint64_t memory_limit;      /* bytes for the L1 tables of all layers; 0 is 1 GiB */
    const char *snapshot;       /* id, or else name, of an internal snapshot of the leaf; NULL:
                                 * the active tables */
    bool stored;                /* of encrypted layers, the data as it is stored, and of layers
                                 * of a format that is not understood the file's own bytes: not
                                 * what the guest sees, but what must not change when that must
                                 * not */
};

/* The guest's disk through all layers of chain, which must outlive the map. Each entry of each
 * table is looked at once when the map is gone through in order: linear in the tables, however many
 * layers. options may be NULL. -EOPNOTSUPP when a layer is encrypted, or of a format that is not
 * understood, and not stored, -ENOENT when
 * there is no such snapshot, -ENOMEM, -EIO (an L1 table). */
int qca_map_new(struct qca_chain *chain, const struct qca_map_options *options,
                struct qca_error *error, struct qca_map **ret_map);
void qca_map_free(struct qca_map *map);
/* Bytes the guest sees: whole sectors of 512 bytes. */
uint64_t qca_map_size(const struct qca_map *map);
/* The extent that offset lies in, from offset on; a long one is told in several pieces. 1; 0 at the
 * end of the disk; -ENOMEM. */
int qca_map_next(struct qca_map *map, uint64_t offset, struct qca_extent *ret_extent);
/* Reads size bytes of an extent of this map, from skip bytes into it; they must lie within it. -EIO
 * and the like from the device, -EBADMSG for compressed bytes that are none or too short, -ESTALE
 * when the file became shorter since it was opened, the extent's error when it is damaged. */
int qca_map_read(struct qca_map *map, const struct qca_extent *extent, uint64_t skip, void *buf,
                 size_t size);

/* ---- digests ------------------------------------------------------------------------------ */

/* MD5 and SHA-1 are for comparison with sums that others publish, never a reason to trust. */
#define QCA_DIGEST_SHA256 (1u << 0)
#define QCA_DIGEST_MD5    (1u << 1)
#define QCA_DIGEST_SHA1   (1u << 2)
#define QCA_DIGEST_SHA512 (1u << 3)

struct qca_digest_options {
    const atomic_bool *cancel;  /* may be NULL; once true, -ECANCELED soon */
    /* may be NULL; bytes of the file or disk */
    void (*progress)(void *userdata, uint64_t done, uint64_t total);
    /* May be NULL; content digests only. Called in order for runs of 64 KiB blocks: digests holds
     * the SHA-256 of each of n blocks, valid during the call; of a run of blocks of zeros it is
     * NULL, and unallocated says whether all of it is in no layer. Not called for blocks that could
     * not be read. */
    void (*blocks)(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                   bool unallocated);
    void *userdata;
    bool libcrypto_only;        /* no SHA-256 of our own: for tests and measurements */
    struct qca_threads *threads;    /* content digests only; may be NULL: the caller's own alone */
    uint64_t first_block;       /* content digests only: what lies before this block is not read.
                                 * Its blocks are not told, and the digest is void (all 0) when
                                 * it is not 0; bytes are those of all the disk */
};

struct qca_file_digest {
    unsigned algorithms;        /* QCA_DIGEST_*: those that were asked for, and SHA-256 always */
    uint64_t size;              /* bytes */
    uint8_t sha256[32], md5[16], sha1[20], sha512[64];
};

/* Digests of the container as it lies there, several in one pass. -EIO and the like from the
 * device, with the offset in error; -ESTALE when the file became shorter meanwhile; -ECANCELED;
 * -ENOMEM. */
int qca_file_digest(struct qca_io *io, unsigned algorithms,
                    const struct qca_digest_options *options, struct qca_error *error,
                    struct qca_file_digest *ret_digest);

#define QCA_BLOCK_SIZE UINT32_C(65536)
#define QCA_BAD_RANGES_MAX 64

/* Guest bytes that could not be had. */
struct qca_bad_range {
    uint64_t guest_offset, length;
    uint32_t layer;
    int error;                  /* negative errno, as of qca_map_read() */
};

struct qca_content_digest {
    bool complete;              /* false: digest is void, bad says what is missing; the rest was
                                 * read */
    uint8_t digest[32];
    uint64_t size;              /* bytes the guest sees */
    uint64_t data_bytes, compressed_bytes, zero_bytes, unallocated_bytes;   /* as the tables say */
    uint64_t zero_blocks;       /* of 64 KiB that hold nothing but zeros, however they are stored */
    uint64_t bad_bytes;
    struct qca_bad_range bad[QCA_BAD_RANGES_MAX];   /* the first of them, neighbours joined */
    size_t n_bad;
};

/* Digest of what the guest sees, the same for every container: the blkhash construction (Soffer and
 * Waisbard, SECRYPT 2024), SHA-256( SHA-256(block 1) || ... || SHA-256(block N) || bytes as 64-bit
 * little-endian ) over blocks of 64 KiB, the last one perhaps shorter. Unallocated and zero ranges
 * are not read; where they begin the disk, little of their digests has to be hashed (up to 1 PiB).
 * 0 also when not complete; -EFBIG, with the reason in error (which may be NULL), when more than
 * 256 TiB of zeros would have to be hashed; -ECANCELED, -ENOMEM, -EIO (the crypto library). */
int qca_content_digest(struct qca_map *map, const struct qca_digest_options *options,
                       struct qca_error *error, struct qca_content_digest *ret_digest);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
