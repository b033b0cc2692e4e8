/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of VHD and VHDX: the library's answers about an image, and QEMU's tools. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhd-kit.h"

#include <cmocka.h>

#include "lib/cleanup.h"

static void tell_content(struct qca_image *image, struct told *ret)
{
    const struct qca_chain_options options = { .layer_only = true };
    struct qca_content_digest digest;
    struct qca_chain *chain;
    struct qca_error error;
    struct qca_map *map;

    assert_int_equal(qca_chain_open(image, &options, NULL, NULL, &error, &chain), 0);
    if (qca_map_new(chain, NULL, &error, &map) == 0) {
        assert_int_equal(qca_content_digest(map, NULL, &error, &digest), 0);
        ret->has_content = digest.complete;
        memcpy(ret->content, digest.digest, sizeof(ret->content));
        qca_map_free(map);
    }
    qca_chain_free(chain);
}

void tell_image(struct qca_image *image, struct told *ret)
{
    struct qca_check_result result;

    *ret = (struct told){ .virtual_size = qca_image_info(image)->virtual_size };
    if (qca_image_info(image)->format != QCA_FORMAT_RAW) {
        assert_int_equal(qca_check(image, NULL, &result), 0);
        ret->finished = result.finished;
        ret->allocated = result.allocated_clusters;
        for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++) {
            ret->kinds[kind] = qca_check_count(&result, kind);
            ret->n_kinds += ret->kinds[kind] > 0;
        }
        qca_check_result_done(&result);
    }
    tell_content(image, ret);
}

static void tell_io(struct qca_io *io, enum qca_format format, struct told *ret)
{
    const struct qca_open_options options = { .format = format };
    struct qca_image *image;
    struct qca_error error;

    if (qca_image_open(io, &options, &error, &image) < 0)
        fail_msg("%s", error.text);
    tell_image(image, ret);
    qca_image_free(image);
    qca_io_free(io);
}

void tell_bytes(const void *bytes, size_t size, enum qca_format format, struct told *ret)
{
    struct qca_io *io;

    assert_int_equal(qca_io_new_memory(bytes, size, &io), 0);
    tell_io(io, format, ret);
}

void tell_file(const char *path, enum qca_format format, struct told *ret)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct qca_io *io;

    assert_true(fd >= 0);
    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    tell_io(io, format, ret);
}

static void assert_clean(const char *what, const struct told *told)
{
    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (told->kinds[kind] > 0)
            fail_msg("%s: %s", what, qca_issue_kind_name(kind));
    if (!told->finished || !told->has_content)
        fail_msg("%s: finished %d, content %d", what, told->finished, told->has_content);
}

void assert_sound(const char *what, const struct told *told, const void *disk, size_t size)
{
    struct told raw;

    assert_clean(what, told);
    tell_bytes(disk, size, QCA_FORMAT_RAW, &raw);
    assert_int_equal(told->virtual_size, size);
    if (memcmp(told->content, raw.content, sizeof(raw.content)) != 0)
        fail_msg("%s: other content", what);
}

void assert_kind(const char *what, const struct told *told, enum qca_issue_kind kind)
{
    for (int other = 0; other < _QCA_ISSUE_MAX; other++)
        if (other != (int)kind && told->kinds[other] > 0)
            fail_msg("%s: %s", what, qca_issue_kind_name(other));
    if (told->kinds[kind] == 0)
        fail_msg("%s: no %s", what, qca_issue_kind_name(kind));
}

void put_be(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        at[size - 1 - i] = (uint8_t)(value >> (8 * i));
}

void put_le(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* ---- QEMU's tools ------------------------------------------------------------------------- */

bool have_qemu(void)
{
    return system("command -v qemu-img >/dev/null && command -v qemu-io >/dev/null") == 0;
}

void run_in(const char *directory, const char *format, ...)
{
    char command[1024];
    int n = snprintf(command, sizeof(command), "cd '%s' && { ", directory);
    va_list arguments;

    va_start(arguments, format);
    n += vsnprintf(command + n, sizeof(command) - (size_t)n, format, arguments);
    va_end(arguments);
    assert_true((size_t)n + 3 < sizeof(command));
    strcpy(command + n, "; }");
    if (system(command) != 0)
        fail_msg("%s", command);
}

void assert_as_qemu(enum qca_format format, const char *create, const char *writes)
{
    const char *name = qca_format_name(format);
    char directory[] = "/tmp/test-vhd.XXXXXX", path[64];
    struct told told, raw;

    assert_non_null(mkdtemp(directory));
    run_in(directory, "qemu-img create -q -f %s %s image.%s", name, create, name);
    /* the size comes behind the file's name */
    if (*writes)
        run_in(directory, "qemu-io -f %s %s image.%s >/dev/null", name, writes, name);
    run_in(directory, "qemu-img convert -f %s -O raw image.%s raw", name, name);
    snprintf(path, sizeof(path), "%s/image.%s", directory, name);
    tell_file(path, format, &told);
    assert_clean(create, &told);
    snprintf(path, sizeof(path), "%s/raw", directory);
    tell_file(path, QCA_FORMAT_RAW, &raw);
    assert_int_equal(told.virtual_size, raw.virtual_size);
    if (memcmp(told.content, raw.content, sizeof(raw.content)) != 0)
        fail_msg("%s, %s: other content", create, writes);
    run_in("/", "rm -r '%s'", directory);
}
