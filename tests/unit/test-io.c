/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door to bytes: bounds, ends, shrinking files. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "qcaudit/qcaudit.h"

static void memory_reads_what_is_there_and_zeros_beyond(void **state)
{
    uint8_t data[100], buf[64];
    struct qca_io *io;

    memset(data, 7, sizeof(data));
    assert_int_equal(qca_io_new_memory(data, sizeof(data), &io), 0);
    assert_int_equal(qca_io_size(io), 100);
    memset(buf, 1, sizeof(buf));
    assert_int_equal(qca_io_read(io, 90, buf, 20), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(buf[i], i < 10 ? 7 : 0);
    assert_int_equal(buf[20], 1);
    assert_int_equal(qca_io_bytes_read(io), 10);
    assert_int_equal(qca_io_read(io, 1 << 20, buf, 64), 0);
    assert_int_equal(buf[63], 0);
    assert_int_equal(qca_io_bytes_read(io), 10);
    assert_int_equal(qca_io_read(io, 0, buf, 0), 0);
    qca_io_free(io);
}

static void offsets_do_not_overflow(void **state)
{
    uint8_t buf[16];
    struct qca_io *io;

    assert_int_equal(qca_io_new_memory("", 1, &io), 0);
    assert_int_equal(qca_io_read(io, UINT64_MAX - 3, buf, 16), -EINVAL);
    assert_int_equal(qca_io_read(io, INT64_MAX, buf, 1), -EINVAL);
    assert_int_equal(qca_io_read(io, INT64_MAX - 16, buf, 16), 0);
    qca_io_free(io);
}

static void a_file_that_shrinks_reads_as_zeros(void **state)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    uint8_t buf[8192];
    struct qca_io *io;

    assert_true(fd >= 0);
    memset(buf, 5, sizeof(buf));
    assert_int_equal(pwrite(fd, buf, sizeof(buf), 0), sizeof(buf));
    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    assert_int_equal(ftruncate(fd, 4096), 0);
    assert_int_equal(qca_io_size(io), 8192);
    assert_int_equal(qca_io_read(io, 0, buf, sizeof(buf)), 0);
    assert_int_equal(buf[4095], 5);
    assert_int_equal(buf[4096], 0);
    assert_int_equal(buf[8191], 0);
    assert_int_equal(qca_io_bytes_read(io), 4096);
    qca_io_free(io);
    close(fd);
}

static void errors_of_the_source_are_told(void **state)
{
    struct qca_io *io = NULL;
    uint8_t buf[1];
    int fds[2], fd;

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(qca_io_new_fd(fds[0], &io), -ESPIPE);
    assert_null(io);
    close(fds[0]);
    close(fds[1]);

    fd = memfd_create("image", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 10), 0);
    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    close(fd);
    assert_int_equal(qca_io_read(io, 0, buf, 1), -EBADF);
    qca_io_free(io);
    qca_io_free(NULL);
}

/* In pieces, as it likes, and no further than the end. */
static int64_t read_slowly(void *userdata, uint64_t offset, void *buf, size_t size)
{
    unsigned *calls = userdata;

    if (++*calls == 1)
        return -EINTR;
    if (offset >= 90)
        return *calls > 100 ? -EIO : 0;
    memset(buf, (int)offset, size < 10 ? size : 10);
    return size < 10 ? (int64_t)size : 10;
}

static void a_reader_may_read_in_pieces(void **state)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    unsigned calls = 0;
    uint8_t buf[100];
    struct qca_io *io;

    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(qca_io_new_reader(-1, read_slowly, &calls, &io), -EBADF);
    assert_int_equal(qca_io_new_reader(fd, read_slowly, &calls, &io), 0);
    assert_int_equal(qca_io_size(io), 100);
    assert_int_equal(qca_io_read(io, 5, buf, 25), 0);
    assert_int_equal(calls, 4);
    assert_int_equal(buf[0], 5);
    assert_int_equal(buf[10], 15);
    assert_int_equal(buf[24], 25);
    assert_int_equal(qca_io_bytes_read(io), 25);
    assert_int_equal(qca_io_read(io, 85, buf, 15), 0);      /* shrank */
    assert_int_equal(buf[4], 85);
    assert_int_equal(buf[9], 85);
    assert_int_equal(buf[10], 0);
    calls = 100;
    assert_int_equal(qca_io_read(io, 95, buf, 5), -EIO);
    qca_io_free(io);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_reads_what_is_there_and_zeros_beyond),
        cmocka_unit_test(offsets_do_not_overflow),
        cmocka_unit_test(a_file_that_shrinks_reads_as_zeros),
        cmocka_unit_test(errors_of_the_source_are_told),
        cmocka_unit_test(a_reader_may_read_in_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
