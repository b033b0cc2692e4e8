/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests: the published vectors, any container, both ways to hash, and what cannot be read. */
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "lib/bytes.h"
#include "lib/cleanup.h"
#include "lib/qcow2.h"
#include "lib/sha256-two.h"
#include "unit/qcow2-kit.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

static void to_hex(const uint8_t *bytes, size_t n, char *ret)
{
    for (size_t i = 0; i < n; i++)
        sprintf(ret + 2 * i, "%02x", bytes[i]);
}

static int no_references(void *userdata, const struct qca_reference *reference,
                         struct qca_io **ret_io, struct qca_file_id *ret_id)
{
    return -ENOENT;
}

/* The content digest of an image whose bytes are in io, and has no parent. */
static struct qca_content_digest digest_io(struct qca_io *io,
                                           const struct qca_digest_options *options)
{
    struct qca_content_digest digest;
    struct qca_chain *chain;
    struct qca_image *image;
    struct qca_map *map;

    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    assert_int_equal(qca_chain_open(image, NULL, no_references, NULL, NULL, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, NULL, &map), 0);
    assert_int_equal(qca_content_digest(map, options, NULL, &digest), 0);
    assert_int_equal(digest.size, qca_map_size(map));
    assert_int_equal(digest.data_bytes + digest.compressed_bytes + digest.zero_bytes +
                         digest.unallocated_bytes + digest.bad_bytes,
                     digest.size);
    qca_map_free(map);
    qca_chain_free(chain);
    qca_image_free(image);
    return digest;
}

static struct qca_content_digest digest_fd(int fd, const struct qca_digest_options *options)
{
    struct qca_content_digest digest;
    struct qca_io *io;

    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    digest = digest_io(io, options);
    qca_io_free(io);
    return digest;
}

/* ---- the vectors -------------------------------------------------------------------------- */

struct piece {
    bool pattern;               /* P(length), else Z(length) */
    uint64_t length;
};

static void write_pieces(int fd, const struct piece *pieces, size_t n, uint64_t *ret_size)
{
    uint64_t size = 0;

    for (size_t i = 0; i < n; i++) {
        if (pieces[i].pattern) {
            uint8_t *data = malloc(pieces[i].length);

            assert_non_null(data);
            for (uint64_t k = 0; k < pieces[i].length; k++)
                data[k] = (uint8_t)(7 * k + 13 * (k / 65536) + 1);
            assert_int_equal(pwrite(fd, data, pieces[i].length, (off_t)size), pieces[i].length);
            free(data);
        }
        size += pieces[i].length;
    }
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    *ret_size = size;
}

/* "disk" vectors: what a guest sees of a raw file; where they are whole sectors, "stream" ones
 * too. */
static void test_vectors(void **state)
{
    static const struct {
        const char *digest;
        struct piece pieces[5];
        size_t n;
    } vectors[] = {
        { "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc", { { false, 0 } }, 0 },
        { "3864cadb359d7e15f80045d4a96a5529a2e62d55d7d0c42f2b4cf2eaa9dc3b3d", { { true, 65535 } },
          1 },
        { "f02d4ea8c848323fcabebdc8dd387dabd2c25a83088d20bd547dc375824cbf88", { { true, 65536 } },
          1 },
        { "b78daa42ffb73541973d0dee286550424343725e7cc09a97e11433055eebc3c5", { { true, 65537 } },
          1 },
        { "3dd455346755274ce76f1c555df5e05c1cdd8da4b1c70ab7c2a6b09f51bb5ce0", { { false, MIB } },
          1 },
        { "ffb1f0768e94f4ef5feaa8425d8f2cd37978b35e483b8ea6b51aefabe2312639", { { true, MIB + 3 } },
          1 },
        { "c40a44a181bbc66fc009f219c2f42498368cd379b8457b1ddeb89b69599e0911",
          { { true, 65536 }, { false, 3 * 65536 }, { true, 100 }, { false, 65436 }, { false, 17 } },
          5 },
        { "c6d6562c3074a2caa0ceea3e1f460f3af678c792ed05e64157eb51e68ae5260d", { { false, GIB } },
          1 },
        { "574026f75c2a126a5941c170e6ff29fea3bce09637ec74c92ef2a49ac46ee659",
          { { false, GIB - 512 }, { true, 512 } }, 2 },
    };

    for (size_t i = 0; i < ELEMENTSOF(vectors); i++)
        for (int libcrypto_only = 0; libcrypto_only <= 1; libcrypto_only++) {
            const struct qca_digest_options options = { .libcrypto_only = libcrypto_only };
            _cleanup_close_ int fd = memfd_create("vector", MFD_CLOEXEC);
            struct qca_content_digest digest;
            char hex[65];
            uint64_t size;

            assert_true(fd >= 0);
            write_pieces(fd, vectors[i].pieces, vectors[i].n, &size);
            digest = digest_fd(fd, &options);
            assert_true(digest.complete);
            assert_int_equal(digest.size, round_up(size, 512));
            to_hex(digest.digest, 32, hex);
            assert_string_equal(hex, vectors[i].digest);
        }
}

/* One byte, in memory: the "disk" vector. */
static void test_vector_one_byte(void **state)
{
    struct qca_content_digest digest;
    struct qca_io *io;
    char hex[65];

    assert_int_equal(qca_io_new_memory("A", 1, &io), 0);
    digest = digest_io(io, NULL);
    to_hex(digest.digest, 32, hex);
    assert_string_equal(hex, "11ce619e301aa30251795d3ccecfd8fe0b8046570c6a23e6f718560d4f3a3cc9");
    qca_io_free(io);
}

/* ---- two at once -------------------------------------------------------------------------- */

static void test_two(void **state)
{
    static const size_t sizes[] = { 0, 64, 128, 192, 4096, 65536, 65536 + 64 };
    _cleanup_free_ uint8_t *data = malloc(2 * 65536 + 256);

    if (!sha256_two_supported())
        skip();
    assert_non_null(data);
    srandom(1);
    for (size_t i = 0; i < 2 * 65536 + 256; i++)
        data[i] = (uint8_t)random();
    for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
        for (size_t skew = 0; skew < 3; skew++) {
            const uint8_t *a = data + skew, *b = data + 65536 + 67;
            uint8_t ours[2][32], theirs[2][32];

            sha256_two(a, b, sizes[i], ours[0], ours[1]);
            assert_int_equal(EVP_Digest(a, sizes[i], theirs[0], NULL, EVP_sha256(), NULL), 1);
            assert_int_equal(EVP_Digest(b, sizes[i], theirs[1], NULL, EVP_sha256(), NULL), 1);
            assert_memory_equal(ours, theirs, sizeof(ours));
        }
}

/* ---- layers and pieces -------------------------------------------------------------------- */

#define PIECES_BLOCKS 64

struct kept {
    uint64_t next, unallocated;
    uint8_t digests[PIECES_BLOCKS][32];
    bool known[PIECES_BLOCKS];
};

static void keep_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                        bool unallocated)
{
    static const uint8_t zeros[QCA_BLOCK_SIZE];
    struct kept *kept = userdata;

    assert_true(first >= kept->next && first + n <= PIECES_BLOCKS);
    for (uint64_t i = 0; i < n; i++) {
        assert_false(kept->known[first + i]);
        kept->known[first + i] = true;
        if (digests)
            memcpy(kept->digests[first + i], digests[i], 32);
        else
            assert_int_equal(EVP_Digest(zeros, sizeof(zeros), kept->digests[first + i], NULL,
                                        EVP_sha256(), NULL),
                             1);
    }
    kept->next = first + n;
    if (unallocated)
        kept->unallocated += n;
}

/* A reading that was interrupted and went on elsewhere tells the same blocks, and the digest
 * follows from them. */
static void test_resumed(void **state)
{
    const uint64_t size = 20 * UINT64_C(65536) + 512, n = 21, length = htole64(size);
    _cleanup_free_ uint8_t *disk = calloc(1, size);
    struct qca_content_digest whole, rest;
    struct qca_io *io;

    assert_non_null(disk);
    for (uint64_t i = 0; i < size; i++)
        disk[i] = i / 65536 % 3 == 1 ? 0 : (uint8_t)(i * 7 + i / 4096);
    assert_int_equal(qca_io_new_memory(disk, size, &io), 0);
    whole = digest_io(io, NULL);
    for (uint64_t first = 1; first <= n + 1; first++) {
        struct kept kept = { 0 };
        struct qca_digest_options options = { .blocks = keep_blocks, .userdata = &kept };
        uint8_t outer[PIECES_BLOCKS * 32 + 8], digest[32], none[32] = { 0 };

        digest_io(io, &options);
        for (uint64_t i = first; i < n; i++)
            kept.known[i] = false;
        kept.next = first;
        options.first_block = first;
        rest = digest_io(io, &options);
        assert_true(rest.complete);
        assert_memory_equal(rest.digest, none, 32);
        assert_int_equal(rest.data_bytes, whole.data_bytes);
        for (uint64_t i = 0; i < n; i++)
            assert_true(kept.known[i]);
        memcpy(outer, kept.digests, n * 32);
        memcpy(outer + n * 32, &length, 8);
        assert_int_equal(EVP_Digest(outer, n * 32 + 8, digest, NULL, EVP_sha256(), NULL), 1);
        assert_memory_equal(digest, whole.digest, 32);
    }
    qca_io_free(io);
}

static int forbidden_reference(void *userdata, const struct qca_reference *reference,
                               struct qca_io **ret_io, struct qca_file_id *ret_id)
{
    fail_msg("a layer alone opens no parent");
    return -ENOENT;
}

/* One layer: what its parent would hold is unallocated, told apart from zeros, and reads as
 * zeros. */
static void test_layer(void **state)
{
    const struct qca_chain_options chain_options = { .layer_only = true };
    struct kit *kit = kit_new(12, 4, 20);  /* a block and a quarter of 32 */
    struct kept kept = { 0 };
    const struct qca_digest_options options = { .blocks = keep_blocks, .userdata = &kept };
    struct qca_content_digest layer, raw;
    _cleanup_free_ uint8_t *disk = NULL;
    struct qca_chain *chain;
    struct qca_image *image;
    struct qca_map *map;
    struct qca_io *io;
    uint64_t data = kit->size - 20 * kit->cluster;

    memset(kit->data + data, 0x5a, 20 * kit->cluster);
    kit_parent(kit, "base.qcow2", "qcow2");
    assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    assert_non_null(qca_image_info(image)->parent);
    assert_int_equal(qca_chain_open(image, &chain_options, forbidden_reference, NULL, NULL, &chain),
                     0);
    assert_int_equal(qca_chain_depth(chain), 1);
    assert_int_equal(qca_map_new(chain, NULL, NULL, &map), 0);
    assert_int_equal(qca_content_digest(map, &options, NULL, &layer), 0);
    assert_true(layer.complete);
    assert_int_equal(layer.data_bytes, 20 * kit->cluster);
    assert_int_equal(layer.unallocated_bytes, layer.size - layer.data_bytes);
    assert_int_equal(kept.unallocated, layer.size / QCA_BLOCK_SIZE - 2);
    assert_true(layer.size <= PIECES_BLOCKS * UINT64_C(65536));
    disk = calloc(1, layer.size);
    assert_non_null(disk);
    memset(disk, 0x5a, 20 * kit->cluster);
    qca_map_free(map);
    qca_chain_free(chain);
    qca_image_free(image);
    qca_io_free(io);
    assert_int_equal(qca_io_new_memory(disk, layer.size, &io), 0);
    raw = digest_io(io, NULL);
    assert_memory_equal(layer.digest, raw.digest, 32);
    qca_io_free(io);
    kit_free(kit);
}

/* ---- containers --------------------------------------------------------------------------- */

struct told {
    uint64_t next, data, zero;
};

static void on_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                      bool unallocated)
{
    struct told *told = userdata;

    assert_true(n > 0);
    assert_int_equal(first, told->next);
    assert_false(unallocated && digests);
    told->next += n;
    *(digests ? &told->data : &told->zero) += n;
}

/* Clusters of all sizes: the digest is that of the raw bytes, and each block is told once. */
static void test_cluster_sizes(void **state)
{
    for (unsigned bits = 9; bits <= 21; bits++) {
        struct kit *kit = kit_new(bits, 4, 3);
        struct told told = { 0 };
        const struct qca_digest_options options = { .blocks = on_blocks, .userdata = &told };
        struct qca_content_digest in_qcow2, in_raw;
        _cleanup_free_ uint8_t *disk = NULL;
        struct qca_io *io;
        uint64_t size, data = kit->size - 3 * kit->cluster;

        for (uint64_t i = data; i < kit->size; i++)
            kit->data[i] = (uint8_t)(i * 31 + i / 509);
        assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
        in_qcow2 = digest_io(io, &options);
        qca_io_free(io);
        assert_true(in_qcow2.complete);
        assert_int_equal(in_qcow2.data_bytes, 3 * kit->cluster);
        assert_int_equal(told.next, div_round_up(in_qcow2.size, QCA_BLOCK_SIZE));

        size = in_qcow2.size;
        if (size <= 64 * MIB) {
            disk = calloc(1, size);
            assert_non_null(disk);
            memcpy(disk, kit->data + data, 3 * kit->cluster);
            assert_int_equal(qca_io_new_memory(disk, size, &io), 0);
            in_raw = digest_io(io, NULL);
            qca_io_free(io);
            assert_memory_equal(in_qcow2.digest, in_raw.digest, 32);
        }
        kit_free(kit);
    }
}

/* What the tables say wrong costs the blocks it concerns, with their place, and nothing else. */
static void test_damage(void **state)
{
    static const struct {
        unsigned version;
        uint64_t entry;
        int error;
    } damages[] = {
        { 3, UINT64_C(0x8000000000050200), -EBADMSG },      /* not aligned */
        { 2, UINT64_C(0x8000000000050001), -EBADMSG },      /* a zero cluster in version 2 */
        { 3, L2_COMPRESSED | UINT64_C(0x50000), -EBADMSG }, /* compressed garbage */
    };

    for (size_t i = 0; i < ELEMENTSOF(damages); i++) {
        struct kit *kit = kit_new(16, 4, 3);
        struct qca_content_digest digest;
        struct qca_io *io;

        memset(kit->data + kit->size - 3 * kit->cluster, 0xff, 3 * kit->cluster);
        kit_put(kit, 4, 4, damages[i].version);
        kit_put(kit, kit_l2(kit, 1), 8, damages[i].entry);
        assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
        digest = digest_io(io, NULL);
        qca_io_free(io);
        assert_false(digest.complete);
        assert_int_equal(digest.n_bad, 1);
        assert_int_equal(digest.bad[0].guest_offset, kit->cluster);
        assert_int_equal(digest.bad[0].length, kit->cluster);
        assert_int_equal(digest.bad[0].error, damages[i].error);
        assert_int_equal(digest.data_bytes, 2 * kit->cluster);
        kit_free(kit);
    }
}

/* One cluster is mapped again and again: given up once it is more than the file can hold. */
static void test_endless(void **state)
{
    for (uint64_t n = 7; n <= 64; n += 57) {
        struct kit *kit = kit_new(16, 4, 2);
        uint64_t entry = kit_get(kit, kit_l2(kit, 0), 8);
        struct qca_content_digest digest;
        struct qca_error error;
        struct qca_chain *chain;
        struct qca_image *image;
        struct qca_map *map;
        struct qca_io *io;
        int r;

        kit_put(kit, 24, 8, n * kit->cluster);
        for (uint64_t i = 0; i < n; i++)
            kit_put(kit, kit_l2(kit, i), 8, entry);
        assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
        assert_int_equal(qca_chain_open(image, NULL, no_references, NULL, NULL, &chain), 0);
        assert_int_equal(qca_map_new(chain, NULL, &error, &map), 0);
        r = qca_content_digest(map, NULL, &error, &digest);
        assert_int_equal(r, n == 7 ? 0 : -EFBIG);
        if (r < 0) {
            assert_int_equal(error.kind, QCA_ERROR_LIMIT);
            assert_non_null(strstr(error.text, "again and again"));
            assert_true(qca_io_bytes_read(io) < 32 * kit->cluster);
            /* Gone on with behind it, it is no less. */
            r = qca_content_digest(map, &(struct qca_digest_options){ .first_block = n - 1 },
                                   &error, &digest);
            assert_int_equal(r, -EFBIG);
        }
        qca_map_free(map);
        qca_chain_free(chain);
        qca_image_free(image);
        qca_io_free(io);
        kit_free(kit);
    }
}

/* ---- more than the file holds ------------------------------------------------------------- */

/* The kit's image in a file that says it is larger than any disk, and holds what it held before. */
static int kit_file(const struct kit *kit, uint64_t size)
{
    int fd = memfd_create("kit", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, kit->data, kit->size, 0), kit->size);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

struct zero_runs {
    uint64_t calls, blocks;
};

static void count_told(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                       bool unallocated)
{
    struct zero_runs *told = userdata;

    assert_null(digests);
    assert_false(unallocated);
    told->calls++;
    told->blocks += n;
}

/* Of a file with holes; *ret_read: bytes that were read of it. */
static int digest_sparse(const struct kit *kit, const struct qca_digest_options *options,
                         struct qca_error *error, struct qca_content_digest *ret_digest,
                         uint64_t *ret_read)
{
    _cleanup_close_ int fd = kit_file(kit, UINT64_C(1) << 61);
    struct qca_chain *chain;
    struct qca_image *image;
    struct qca_map *map;
    struct qca_io *io;
    int r;

    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    assert_int_equal(qca_chain_open(image, NULL, no_references, NULL, NULL, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, NULL, &map), 0);
    r = qca_content_digest(map, options, error, ret_digest);
    *ret_read = qca_io_bytes_read(io);
    qca_map_free(map);
    qca_chain_free(chain);
    qca_image_free(image);
    qca_io_free(io);
    return r;
}

/* A hole makes a file as large as its owner likes, and no cluster more of it. */
static void size_is_no_bound(void **state)
{
    for (int compressed = 0; compressed < 2; compressed++) {
        struct kit *kit = kit_new(16, 4, 2);
        uint64_t n = 8192, entry = kit_get(kit, kit_l2(kit, 0), 8), read;
        struct qca_content_digest digest;
        struct qca_error error;

        kit_put(kit, 24, 8, n * kit->cluster);
        if (compressed)         /* a cluster of garbage, which does not inflate */
            entry = UINT64_C(1) << 62 | (entry & UINT64_C(0xffffffffff)) | UINT64_C(127) << 54;
        for (uint64_t i = 0; i < n; i++)
            kit_put(kit, kit_l2(kit, i), 8, entry);
        assert_int_equal(digest_sparse(kit, NULL, &error, &digest, &read), -EFBIG);
        assert_int_equal(error.kind, QCA_ERROR_LIMIT);
        assert_non_null(strstr(error.text, "again and again"));
        assert_true(read < (compressed ? 1024 : 64) * kit->cluster);
        kit_free(kit);
    }
}

/* What is mapped once is read, whatever the file's size. */
static void sound_with_a_long_end(void **state)
{
    struct kit *kit = kit_new(16, 4, 5);
    struct qca_content_digest digest, plain;
    struct qca_io *io;
    uint64_t read;

    memset(kit->data + kit->size - 5 * kit->cluster, 0x5a, 5 * kit->cluster);
    assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
    plain = digest_io(io, NULL);
    qca_io_free(io);
    assert_int_equal(digest_sparse(kit, NULL, NULL, &digest, &read), 0);
    assert_true(digest.complete);
    assert_int_equal(digest.data_bytes, 5 * kit->cluster);
    assert_memory_equal(digest.digest, plain.digest, 32);
    kit_free(kit);
}

/* One table of entries that read as zeros, to which many lead; behind a block that is damaged,
 * zeros are not even hashed. */
static void tables_again_and_again(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    uint64_t l2 = kit_get(kit, kit->cluster * 3, 8), n = kit->cluster / 8, read;
    struct qca_content_digest digest;
    struct qca_error error;

    assert_int_equal(l2 & ~(UINT64_C(1) << 63), kit_l2(kit, 0));
    kit_put(kit, kit_l2(kit, 0), 8, UINT64_C(1) << 62 | 1 << 20);
    for (uint64_t i = 1; i < n; i++)
        kit_put(kit, kit_l2(kit, i), 8, 1);
    for (uint64_t i = 0; i < n; i++)
        kit_put(kit, kit->cluster * 3 + 8 * i, 8, l2);
    kit_put(kit, 36, 4, n);
    kit_put(kit, 24, 8, n * n * kit->cluster);
    assert_int_equal(digest_sparse(kit, NULL, &error, &digest, &read), -EFBIG);
    assert_non_null(strstr(error.text, "the same tables"));
    kit_free(kit);
}

/* Tables that lie in a hole map nothing, and none of their entries is looked at. */
static void tables_in_a_hole(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    uint64_t n = kit->cluster / 8, read;
    struct qca_content_digest digest;

    for (uint64_t i = 0; i < n; i++)
        kit_put(kit, kit->cluster * 3 + 8 * i, 8, (UINT64_C(1) << 40) + (i << 20));
    kit_put(kit, 36, 4, n);
    kit_put(kit, 24, 8, n * n * kit->cluster);
    assert_int_equal(digest_sparse(kit, NULL, NULL, &digest, &read), 0);
    assert_int_equal(digest.unallocated_bytes, n * n * kit->cluster);
    assert_true(read < 16 * kit->cluster);
    kit_free(kit);
}

/* Blocks whose parts are zeros for one reason or another are a run of zeros as others are. */
static void zeros_of_all_kinds(void **state)
{
    struct kit *kit = kit_new(12, 4, 1);
    struct zero_runs told = { 0 };
    const struct qca_digest_options options = { .blocks = count_told, .userdata = &told };
    struct qca_content_digest digest;
    uint64_t n = kit->cluster / 8, read;

    for (uint64_t i = 0; i < n; i++)
        kit_put(kit, kit_l2(kit, i), 8, i % 2);
    kit_put(kit, 24, 8, n * kit->cluster);
    assert_int_equal(digest_sparse(kit, &options, NULL, &digest, &read), 0);
    assert_int_equal(digest.zero_bytes, n * kit->cluster / 2);
    assert_int_equal(digest.unallocated_bytes, n * kit->cluster / 2);
    assert_int_equal(told.blocks, n * kit->cluster / QCA_BLOCK_SIZE);
    assert_int_equal(told.calls, 1);
    kit_free(kit);
}

static void test_encrypted(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    struct qca_content_digest digest, plain;
    struct qca_error error;
    struct qca_chain *chain;
    struct qca_image *image;
    struct qca_map *map;
    struct qca_io *io;

    kit_put(kit, 32, 4, QCA_CRYPT_AES);
    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    assert_int_equal(qca_chain_open(image, NULL, no_references, NULL, NULL, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, &error, &map), -EOPNOTSUPP);
    assert_int_equal(error.kind, QCA_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "AES"));
    /* But what is stored can be had, and says whether it is the same. */
    assert_int_equal(qca_map_new(chain, &(struct qca_map_options){ .stored = true }, &error, &map),
                     0);
    assert_int_equal(qca_content_digest(map, NULL, &error, &digest), 0);
    assert_true(digest.complete);
    kit_put(kit, 32, 4, QCA_CRYPT_NONE);
    plain = digest_io(io, NULL);
    assert_memory_equal(digest.digest, plain.digest, 32);
    qca_map_free(map);
    qca_chain_free(chain);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

/* ---- files -------------------------------------------------------------------------------- */

static void test_file_digests(void **state)
{
    struct qca_file_digest digest;
    struct qca_io *io;
    char hex[129];

    assert_int_equal(qca_io_new_memory("abc", 3, &io), 0);
    assert_int_equal(qca_file_digest(io, QCA_DIGEST_MD5 | QCA_DIGEST_SHA1 | QCA_DIGEST_SHA512, NULL,
                                     NULL, &digest),
                     0);
    assert_int_equal(digest.algorithms, 15);
    assert_int_equal(digest.size, 3);
    to_hex(digest.sha256, 32, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    to_hex(digest.md5, 16, hex);
    assert_string_equal(hex, "900150983cd24fb0d6963f7d28e17f72");
    to_hex(digest.sha1, 20, hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    to_hex(digest.sha512, 64, hex);
    assert_string_equal(hex, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                             "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    qca_io_free(io);
}

/* A file that shrank is told, also where the lost part would look like a hole. */
static void test_shrinking(void **state)
{
    _cleanup_close_ int fd = memfd_create("shrinking", MFD_CLOEXEC);
    struct qca_content_digest content;
    struct qca_file_digest file;
    struct qca_error error;
    struct qca_io *io;
    uint64_t size;

    assert_true(fd >= 0);
    write_pieces(fd, (const struct piece[]) { { true, MIB } }, 1, &size);
    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    assert_int_equal(ftruncate(fd, (off_t)(MIB / 2)), 0);
    content = digest_io(io, NULL);
    assert_false(content.complete);
    assert_int_equal(content.bad[0].guest_offset, MIB / 2);
    assert_int_equal(content.bad[0].length, MIB / 2);
    assert_int_equal(content.bad[0].error, -ESTALE);
    assert_int_equal(qca_file_digest(io, 0, NULL, &error, &file), -ESTALE);
    assert_int_equal(error.kind, QCA_ERROR_TRUNCATED);
    qca_io_free(io);
}

static void test_cancel(void **state)
{
    atomic_bool cancel = true;
    const struct qca_digest_options options = { .cancel = &cancel };
    struct qca_content_digest content;
    struct qca_file_digest file;
    struct qca_chain *chain;
    struct qca_image *image;
    struct qca_map *map;
    struct qca_io *io;

    assert_int_equal(qca_io_new_memory("A", 1, &io), 0);
    assert_int_equal(qca_file_digest(io, 0, &options, NULL, &file), -ECANCELED);
    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    assert_int_equal(qca_chain_open(image, NULL, no_references, NULL, NULL, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, NULL, &map), 0);
    assert_int_equal(qca_content_digest(map, &options, NULL, &content), -ECANCELED);
    qca_map_free(map);
    qca_chain_free(chain);
    qca_image_free(image);
    qca_io_free(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_vector_one_byte),
        cmocka_unit_test(test_two),           cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_layer),         cmocka_unit_test(test_cluster_sizes),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_endless),
        cmocka_unit_test(size_is_no_bound),
        cmocka_unit_test(sound_with_a_long_end),
        cmocka_unit_test(tables_again_and_again),
        cmocka_unit_test(tables_in_a_hole),
        cmocka_unit_test(zeros_of_all_kinds),
        cmocka_unit_test(test_encrypted),
        cmocka_unit_test(test_file_digests),  cmocka_unit_test(test_shrinking),
        cmocka_unit_test(test_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
