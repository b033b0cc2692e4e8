/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives with a manifest: what is written is read again, and nothing else is. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "helpers/bundle.h"
#include "lib/cleanup.h"
#include "lib/io.h"

static int sha256(const void *data, size_t size, uint8_t ret_digest[32])
{
    unsigned n;

    return EVP_Digest(data, size, ret_digest, &n, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

struct seen {
    size_t n[4];
};

static void on_problem(void *userdata, const char *name, enum bundle_problem problem)
{
    ((struct seen *)userdata)->n[problem]++;
}

/* An archive of three members, the last one of that size. */
static int make(size_t size, uint8_t ret_manifest[32])
{
    _cleanup_free_ char *large = malloc(size + 1);
    struct bundle_writer writer;
    int fd = memfd_create("bundle", MFD_CLOEXEC);

    memset(large, 'x', size + 1);
    assert_true(fd >= 0);
    assert_int_equal(bundle_begin(fd, 1796183705, sha256, &writer), 0);
    assert_int_equal(bundle_add(&writer, "README", "text\n", 5), 0);
    assert_int_equal(bundle_add(&writer, "layer-0/0000000000000000", "", 0), 0);
    assert_int_equal(bundle_add(&writer, "layer-0/0000000000010000", large, size), 0);
    assert_int_equal(bundle_end(&writer, ret_manifest), 0);
    bundle_writer_done(&writer);
    return fd;
}

static void test_round_trip(void **state)
{
    for (size_t size = 0; size < 1030; size += 103) {
        _cleanup_(bundle_done) struct bundle bundle;
        _cleanup_free_ char *text = NULL;
        struct seen seen = { { 0 } };
        uint8_t manifest[32];
        _cleanup_close_ int fd = make(size, manifest);
        _cleanup_io_ struct qca_io *io = NULL;

        assert_int_equal(qca_io_new_fd(fd, &io), 0);
        assert_int_equal(bundle_read(io, sha256, on_problem, &seen, &bundle), 0);
        assert_int_equal(bundle.n, 3);
        assert_memory_equal(bundle.manifest, manifest, 32);
        assert_int_equal(seen.n[0] + seen.n[1] + seen.n[2] + seen.n[3], 0);
        assert_null(bundle_find(&bundle, "README2"));
        assert_int_equal(bundle_find(&bundle, "layer-0/0000000000010000")->place.size, size);
        assert_int_equal(bundle_data(io, bundle_find(&bundle, "README"), &text), 0);
        assert_string_equal(text, "text\n");
        /* a multiple of blocks, as POSIX wants it */
        assert_int_equal(qca_io_size(io) % 512, 0);
    }
}

/* No byte of it can be changed unnoticed. */
static void test_every_byte(void **state)
{
    uint8_t manifest[32], byte;
    _cleanup_close_ int fd = make(700, manifest);
    off_t size = lseek(fd, 0, SEEK_END);

    for (off_t at = 0; at < size; at++) {
        struct seen seen = { { 0 } };
        struct bundle bundle;
        _cleanup_io_ struct qca_io *io = NULL;
        int r;

        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(qca_io_new_fd(fd, &io), 0);
        r = bundle_read(io, sha256, on_problem, &seen, &bundle);
        assert_true(r == -EBADMSG || r == -ENODATA ||
                    (r == 0 && (seen.n[BUNDLE_DIFFERS] > 0 || seen.n[BUNDLE_MISSING] > 0)));
        bundle_done(&bundle);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
}

static void test_cut_off(void **state)
{
    uint8_t manifest[32];
    _cleanup_close_ int fd = make(700, manifest);

    for (off_t size = lseek(fd, 0, SEEK_END) - 1; size >= 0; size--) {
        struct seen seen = { { 0 } };
        struct bundle bundle;
        _cleanup_io_ struct qca_io *io = NULL;

        assert_int_equal(ftruncate(fd, size), 0);
        assert_int_equal(qca_io_new_fd(fd, &io), 0);
        assert_int_equal(bundle_read(io, sha256, on_problem, &seen, &bundle), -ENODATA);
        bundle_done(&bundle);
    }
}

static void test_names(void **state)
{
    static const char *const bad[] = { "", "/a", "../a", "a/../b", "a/", "a//b", ".a", "a/.b", 
                                       "a b", "a\nb", "a\\b", "\xc3\xa4" };
    _cleanup_close_ int fd = memfd_create("tar", MFD_CLOEXEC);
    char name[TAR_NAME_MAX + 2];

    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_int_equal(tar_write(fd, bad[i], 0, "", 0), -EINVAL);
    memset(name, 'a', sizeof(name));
    name[TAR_NAME_MAX + 1] = '\0';
    assert_int_equal(tar_write(fd, name, 0, "", 0), -EINVAL);
    name[TAR_NAME_MAX] = '\0';
    assert_int_equal(tar_write(fd, name, 0, "", 0), 0);
    assert_int_equal(tar_write(fd, "a", UINT64_C(1) << 33, "", 0), -EINVAL);
    assert_int_equal(tar_write(fd, "a", 0, "", TAR_MEMBER_MAX + 1), -EINVAL);
    assert_int_equal(lseek(fd, 0, SEEK_END), 512);
}

static void test_full(void **state)
{
    struct bundle_writer writer;
    _cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    assert_int_equal(bundle_begin(fd, 0, sha256, &writer), 0);
    assert_int_equal(bundle_add(&writer, "README", "text\n", 5), -ENOSPC);
    bundle_writer_done(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_cut_off),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
