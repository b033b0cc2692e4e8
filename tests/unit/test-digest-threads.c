/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Content digests on several threads, of many zeros, and of disks without end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "lib/bytes.h"
#include "lib/cleanup.h"
#include "lib/digest-outer.h"
#include "unit/qcow2-kit.h"

#define KIB UINT64_C(1024)
#define TIB (KIB * KIB * KIB * KIB)

static int no_references(void *userdata, const struct qca_reference *reference,
                         struct qca_io **ret_io, struct qca_file_id *ret_id)
{
    return -ENOENT;
}

static int digest_io(struct qca_io *io, const struct qca_digest_options *options,
                     struct qca_error *error, struct qca_content_digest *ret_digest)
{
    struct qca_chain *chain;
    struct qca_image *image;
    struct qca_map *map;
    int r;

    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    assert_int_equal(qca_chain_open(image, NULL, no_references, NULL, NULL, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, NULL, &map), 0);
    r = qca_content_digest(map, options, error, ret_digest);
    qca_map_free(map);
    qca_chain_free(chain);
    qca_image_free(image);
    qca_io_free(io);
    return r;
}

/* ---- any number of threads ---------------------------------------------------------------- */

/* All that was told, as one digest. */
static void on_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                      bool unallocated)
{
    const uint64_t what[] = { first, n, digests != NULL, unallocated };

    assert_int_equal(EVP_DigestUpdate(userdata, what, sizeof(what)), 1);
    if (digests)
        assert_int_equal(EVP_DigestUpdate(userdata, digests, n * 32), 1);
}

static void assert_same(const struct kit *kit, bool scalar)
{
    static const unsigned numbers[] = { 0, 1, 2, 4, 7 };
    struct qca_content_digest digests[ELEMENTSOF(numbers)];
    uint8_t told[ELEMENTSOF(numbers)][32];

    for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
        EVP_MD_CTX *blocks = EVP_MD_CTX_new();
        struct qca_digest_options options = { .blocks = on_blocks,
                                              .userdata = blocks,
                                              .libcrypto_only = scalar };
        struct qca_io *io;

        memset(&digests[i], 0, sizeof(digests[i]));
        assert_int_equal(EVP_DigestInit_ex(blocks, EVP_sha256(), NULL), 1);
        if (numbers[i] > 0)
            assert_int_equal(qca_threads_new(numbers[i], &options.threads), 0);
        assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
        assert_int_equal(digest_io(io, &options, NULL, &digests[i]), 0);
        qca_threads_free(options.threads);
        assert_int_equal(EVP_DigestFinal_ex(blocks, told[i], NULL), 1);
        EVP_MD_CTX_free(blocks);
        assert_int_equal(digests[i].complete, digests[0].complete);
        assert_memory_equal(digests[i].digest, digests[0].digest, 32);
        assert_int_equal(digests[i].data_bytes, digests[0].data_bytes);
        assert_int_equal(digests[i].compressed_bytes, digests[0].compressed_bytes);
        assert_int_equal(digests[i].zero_bytes, digests[0].zero_bytes);
        assert_int_equal(digests[i].unallocated_bytes, digests[0].unallocated_bytes);
        assert_int_equal(digests[i].zero_blocks, digests[0].zero_blocks);
        assert_int_equal(digests[i].bad_bytes, digests[0].bad_bytes);
        assert_int_equal(digests[i].n_bad, digests[0].n_bad);
        assert_memory_equal(digests[i].bad, digests[0].bad,
                            digests[0].n_bad * sizeof(*digests[0].bad));
        assert_memory_equal(told[i], told[0], 32);
    }
}

/* splitmix64 */
static uint64_t random_next(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Data, clusters that hold zeros, holes, zero clusters, compressed garbage and damage, in all
 * sizes. */
static void digests_are_the_same_with_any_number(void **state)
{
    uint64_t seed = 1;

    for (unsigned round = 0; round < 26; round++) {
        unsigned bits = 9 + round % 13, n_data = bits <= 12 ? 60 : bits <= 16 ? 100 : 4;
        struct kit *kit = kit_new(bits, 4, n_data);
        uint64_t data = kit->size - n_data * kit->cluster, entries = kit->cluster / 8;

        /* 1 GiB at most */
        entries = min_u64(entries, (UINT64_C(1) << 30) / kit->cluster);
        kit_put(kit, 24, 8, entries * kit->cluster);

        for (uint64_t i = 0; i < n_data; i++)
            if (random_next(&seed) % 4)
                memset(kit->data + data + i * kit->cluster, (int)(random_next(&seed) % 5),
                       kit->cluster);
        for (uint64_t i = 0; i < n_data; i++) {
            uint64_t to = random_next(&seed) % min_u64(entries, 4096),
                     entry = kit_get(kit, kit_l2(kit, i), 8);

            kit_put(kit, kit_l2(kit, i), 8, kit_get(kit, kit_l2(kit, to), 8));
            kit_put(kit, kit_l2(kit, to), 8, entry);
        }
        for (unsigned i = 0; i < 4 && round % 3 == 0; i++) {
            static const uint64_t odd[] = { 1, UINT64_C(1) << 62 | 0x5000, 0x200,
                                            UINT64_C(1) << 50 };

            kit_put(kit, kit_l2(kit, random_next(&seed) % min_u64(entries, 256)), 8,
                    odd[random_next(&seed) % 4]);
        }
        assert_same(kit, round % 2);
        kit_free(kit);
    }
}

static void cancelled_digests_leave_no_job_behind(void **state)
{
    struct kit *kit = kit_new(16, 4, 200);
    atomic_bool cancel = true;

    for (unsigned n = 1; n <= 4; n++) {
        struct qca_digest_options options = { .cancel = &cancel };
        struct qca_content_digest digest;

        assert_int_equal(qca_threads_new(n, &options.threads), 0);
        for (int i = 0; i < 20; i++) {
            struct qca_io *io;

            assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
            assert_int_equal(digest_io(io, &options, NULL, &digest), -ECANCELED);
        }
        qca_threads_free(options.threads);
    }
    kit_free(kit);
}

/* ---- zeros -------------------------------------------------------------------------------- */

static void zero_digest(uint8_t ret_digest[32])
{
    static const uint8_t zeros[QCA_BLOCK_SIZE];

    assert_int_equal(EVP_Digest(zeros, sizeof(zeros), ret_digest, NULL, EVP_sha256(), NULL), 1);
}

/* Digests of n zero blocks of which the first `known` are skipped, and the size. */
static void outer_of(uint64_t known, uint64_t n, uint8_t ret_digest[32])
{
    struct outer *outer;
    uint8_t zero[32];

    zero_digest(zero);
    assert_int_equal(outer_new(zero, &outer), 0);
    if (known > 0)
        assert_int_equal(outer_skip_zeros(outer, known), known);
    for (uint64_t left = n - known, step; left > 0; left -= step) {
        step = min_u64(left, OUTER_ZEROS_MAX);
        assert_int_equal(outer_feed_zeros(outer, step), 0);
    }
    assert_int_equal(outer_finish(outer, n * QCA_BLOCK_SIZE, ret_digest), 0);
    outer_free(outer);
}

/* Each state leads to the next, as far as that is a matter of a second. */
static void known_states_are_right(void **state)
{
    size_t n;
    const struct zeros_state *states = zeros_states(&n);

    assert_true(n > 800);
    assert_int_equal(states[n - 1].n, UINT64_C(1) << 34);
    for (size_t i = 0; i < n; i++) {
        uint64_t before = i > 0 ? states[i - 1].n : 0;
        uint8_t with[32], without[32];

        assert_true(states[i].n > before);
        assert_int_equal(states[i].n % 2, 0);
        /* no longer way than a 64th of all */
        assert_true(i < 64 || (states[i].n - before) * 64 <= before);
        if (i >= 24 && (i % 16 || states[i].n - before > UINT64_C(1) << 22))
            continue;
        outer_of(states[i].n, states[i].n, with);
        outer_of(before, states[i].n, without);
        assert_memory_equal(with, without, 32);
    }
    assert_null(zeros_state_find(states[0].n - 1));
    assert_ptr_equal(zeros_state_find(states[0].n), &states[0]);
    assert_ptr_equal(zeros_state_find(states[1].n - 1), &states[0]);
    assert_ptr_equal(zeros_state_find(UINT64_MAX), &states[n - 1]);
}

/* What is skipped leads to the same as what is not: 5 GiB and a bit, then data. */
static void zeros_at_the_begin_are_no_matter(void **state)
{
    for (int then_data = 0; then_data <= 1; then_data++) {
        const uint64_t blocks = 5 * 16384 + 3, n = blocks + (uint64_t)then_data;
        _cleanup_close_ int fd = memfd_create("zeros", MFD_CLOEXEC);
        _cleanup_free_ uint8_t *outer = malloc(n * 32 + 8);
        static uint8_t data[QCA_BLOCK_SIZE];
        struct qca_content_digest digest;
        uint64_t size = n * QCA_BLOCK_SIZE;
        uint8_t expected[32];
        struct qca_io *io;

        assert_non_null(outer);
        memset(data, 0x5a, sizeof(data));
        for (uint64_t i = 0; i < blocks; i++)
            zero_digest(outer);
        for (uint64_t i = 1; i < blocks; i++)
            memcpy(outer + 32 * i, outer, 32);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        if (then_data) {
            assert_int_equal(pwrite(fd, data, sizeof(data), (off_t)(blocks * QCA_BLOCK_SIZE)),
                             sizeof(data));
            assert_int_equal(EVP_Digest(data, sizeof(data), outer + 32 * blocks, NULL, EVP_sha256(),
                                        NULL),
                             1);
        }
        memcpy(outer + 32 * n, &size, 8);
        assert_int_equal(EVP_Digest(outer, 32 * n + 8, expected, NULL, EVP_sha256(), NULL), 1);
        assert_int_equal(qca_io_new_fd(fd, &io), 0);
        assert_int_equal(digest_io(io, NULL, NULL, &digest), 0);
        assert_int_equal(digest.zero_blocks, blocks);
        assert_memory_equal(digest.digest, expected, 32);
    }
}

/* ---- without end -------------------------------------------------------------------------- */

/* Empty, or data first, then nothing up to size. */
static int digest_large(uint64_t size, bool data, struct qca_error *error,
                        struct qca_content_digest *ret_digest)
{
    struct kit *kit = kit_new(21, 4, 1);
    struct qca_io *io;
    int r;

    kit_put(kit, 24, 8, size);
    kit_put(kit, 36, 4, div_round_up(size, UINT64_C(1) << 39));
    if (!data)
        kit_put(kit, kit_l2(kit, 0), 8, 0);
    assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
    r = digest_io(io, NULL, error, ret_digest);
    kit_free(kit);
    return r;
}

static void disks_without_end_are_refused_at_once(void **state)
{
    struct qca_content_digest digest;
    struct qca_error error;
    struct qca_io *io;
    int fd;

    assert_int_equal(digest_large(1024 * TIB, false, &error, &digest), 0);
    assert_int_equal(digest.unallocated_bytes, 1024 * TIB);
    assert_int_equal(digest.zero_blocks, 16384 * KIB * KIB);
    assert_int_equal(digest_large(1281 * TIB, false, &error, &digest), -EFBIG);
    assert_int_equal(digest_large(300 * TIB, true, &error, &digest), -EFBIG);
    assert_int_equal(error.kind, QCA_ERROR_LIMIT);
    assert_non_null(strstr(error.text, "256 TiB"));
    assert_int_equal(digest_large(UINT64_C(1) << 57, false, &error, &digest), -EFBIG);
    assert_int_equal(digest_large(UINT64_C(1) << 57, false, NULL, &digest), -EFBIG);

    fd = memfd_create("large", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)(UINT64_C(1) << 62)), 0);
    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    assert_int_equal(digest_io(io, NULL, &error, &digest), -EFBIG);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_the_same_with_any_number),
        cmocka_unit_test(cancelled_digests_leave_no_job_behind),
        cmocka_unit_test(known_states_are_right),
        cmocka_unit_test(zeros_at_the_begin_are_no_matter),
        cmocka_unit_test(disks_without_end_are_refused_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
