/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMware's texts about virtual machines: which are told from other texts, what they name, and what
 * hostile ones cannot do. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "qcaudit/qcaudit.h"

struct opened {
    struct qca_io *io;
    struct qca_image *image;
    const struct qca_image_info *info;
    struct qca_error error;
    enum qca_format probed;
};

static void open_bytes(const void *bytes, size_t size, struct opened *ret)
{
    *ret = (struct opened){ 0 };
    assert_int_equal(qca_io_new_memory(bytes, size, &ret->io), 0);
    assert_int_equal(qca_probe(ret->io, &ret->probed), 0);
    if (qca_image_open(ret->io, NULL, &ret->error, &ret->image) == 0)
        ret->info = qca_image_info(ret->image);
    else
        assert_int_not_equal(ret->error.kind, QCA_ERROR_NONE);
}

static void open_text(const char *text, struct opened *ret)
{
    open_bytes(text, strlen(text), ret);
}

static void done(struct opened *opened)
{
    qca_image_free(opened->image);
    qca_io_free(opened->io);
}

/* "TYPE NAME" of each file, one a line. */
static void names(const struct opened *opened, char *ret_text, size_t size)
{
    size_t n = 0;

    *ret_text = '\0';
    for (size_t i = 0; opened->info && i < opened->info->n_extents; i++)
        n += (size_t)snprintf(ret_text + n, size - n, "%s %s\n", opened->info->extents[i].type,
                              opened->info->extents[i].name);
}

static void names_are(const char *text, enum qca_format format, const char *should)
{
    struct opened opened;
    char is[8192];

    open_text(text, &opened);
    assert_int_equal(opened.probed, format);
    assert_non_null(opened.info);
    names(&opened, is, sizeof(is));
    assert_string_equal(is, should);
    done(&opened);
}

#define VMX ".encoding = \"UTF-8\"\nconfig.version = \"8\"\nvirtualHW.version = \"19\"\n"
#define VMSD ".encoding = \"UTF-8\"\nsnapshot.lastUID = \"7\"\nsnapshot.numSnapshots = \"2\"\n"

static void a_definition_names_its_disks(void **state)
{
    names_are(VMX "displayName = \"web\"\n"
              "scsi0:0.fileName = \"web-000001.vmdk\"\nscsi0:0.present = \"TRUE\"\n"
              "SCSI0:1.FILENAME = \"/vmfs/volumes/5f-1/db/db.vmdk\"\r\n"
              "nvme0:15.fileName = \"n.VMDK\"\n"
              "ide1:0.fileName = \"/vmfs/volumes/ds/iso/x.iso\"\n"
              "sata0:0.fileName = \"emptyBackingString\"\n"
              "floppy0.fileName = \"a.vmdk\"\nscsi0.virtualDev = \"pvscsi\"\n"
              "scsi0:0.redo = \"\"\nscsi0:2x.fileName = \"b.vmdk\"\n"
              "scsi99:0.fileName = \"c.vmdk\"\n",
              QCA_FORMAT_VMX,
              "DISK web-000001.vmdk\nDISK /vmfs/volumes/5f-1/db/db.vmdk\nDISK n.VMDK\n");
    /* the disk that was taken out, before or behind its name */
    names_are("#!/usr/bin/vmware\n" VMX
              "scsi0:0.present = \"FALSE\"\nscsi0:0.fileName = \"a.vmdk\"\n"
              "scsi0:1.fileName = \"b.vmdk\"\nscsi0:1.present = \"false\"\n",
              QCA_FORMAT_VMX, "ABSENT a.vmdk\nABSENT b.vmdk\n");
    names_are("\xef\xbb\xbf" VMX, QCA_FORMAT_VMX, "");
}

static void a_list_of_snapshots_names_what_they_stand_on(void **state)
{
    struct opened opened;
    char is[1024];

    open_text(VMSD "snapshot.current = \"7\"\nsnapshot0.uid = \"3\"\n"
              "snapshot0.filename = \"web-Snapshot3.vmsn\"\n"
              "snapshot0.displayName = \"before |22it|22\"\n"
              "snapshot0.createTimeHigh = \"394886\"\nsnapshot0.createTimeLow = \"-1\"\n"
              "snapshot0.numDisks = \"1\"\nsnapshot0.disk0.fileName = \"web.vmdk\"\n"
              "snapshot0.disk0.node = \"scsi0:0\"\nsnapshot1.uid = \"7\"\n"
              "snapshot1.disk0.fileName = \"web-000001.vmdk\"\nsnapshot.mru0.uid = \"7\"\n"
              "snapshot1.clone0 = \"/x/y.vmx\"\n",
              &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_VMSD);
    names(&opened, is, sizeof(is));
    assert_string_equal(is, "SNAPSHOT web.vmdk\nSNAPSHOT web-000001.vmdk\n");
    assert_int_equal(opened.info->n_snapshots, 2);
    assert_string_equal(opened.info->snapshots[0].id, "3");
    assert_string_equal(opened.info->snapshots[0].name, "before \"it\"");
    assert_int_equal(opened.info->snapshots[0].date_sec,
                     ((INT64_C(394886) << 32) + UINT32_MAX) / 1000000);
    assert_string_equal(opened.info->snapshots[1].name, "");
    done(&opened);
    /* all were deleted */
    names_are(".encoding = \"UTF-8\"\nsnapshot.lastUID = \"3\"\nsnapshot.current = \"0\"\n",
              QCA_FORMAT_VMSD, "");
}

static void other_texts_are_none(void **state)
{
    static const char *const texts[] = {
        "", "\n\n", "#", ".encoding = \"UTF-8\"\n", "[section]\nconfig.version = \"8\"\n",
        "config.version\n", "<?xml version=\"1.0\"?>\n<Foundry>\n", "a = b\nc = d\n",
        "2023-01-01 log\nconfig.version = \"8\"\n", "x.config.version = \"8\"\n",
    };

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        struct opened opened;

        open_text(texts[i], &opened);
        if (opened.probed != QCA_FORMAT_RAW)
            fail_msg("%s", texts[i]);
        done(&opened);
    }
    /* a NUL, at the beginning and behind what is looked at first */
    for (size_t at = 60; at < 4000; at += 3000) {
        char text[4096];
        struct opened opened;

        memset(text, '\n', sizeof(text));
        memcpy(text, VMX, strlen(VMX));
        text[at] = '\0';
        open_bytes(text, sizeof(text), &opened);
        assert_int_equal(opened.probed, QCA_FORMAT_RAW);
        done(&opened);
    }
}

static void hostile_names_are_kept_or_refused(void **state)
{
    struct opened opened;

    names_are(VMX "scsi0:0.fileName = \"a|0Ab|7C.vmdk\"\nscsi0:1.fileName = \"c|0x|.vmdk\"\n"
              "scsi0:2.fileName = \"../../etc/x.vmdk\"\nscsi0:3.fileName = \"d.vmdk\n",
              QCA_FORMAT_VMX,
              "DISK a\nb|.vmdk\nDISK c|0x|.vmdk\nDISK ../../etc/x.vmdk\nDISK d.vmdk\n");
    /* what cannot be a name: nobody may think that the disk is nobody's */
    open_text(VMX "scsi0:0.fileName = \"a|00.vmdk\"\n", &opened);
    assert_null(opened.info);
    assert_int_equal(opened.error.kind, QCA_ERROR_HEADER);
    done(&opened);
    names_are(".encoding = \"windows-1252\"\nconfig.version = \"8\"\n"
              "scsi0:0.fileName = \"gr\xfc\xdf.vmdk\"\n",
              QCA_FORMAT_VMX, "DISK gr\xc3\xbc\xc3\x9f.vmdk\n");
    open_text(".encoding = \"GBK\"\nconfig.version = \"8\"\nscsi0:0.fileName = \"\xc4\xe3.vmdk\"\n",
              &opened);
    assert_null(opened.info);
    done(&opened);
    open_text(VMSD "snapshot99999999999999999999.uid = \"1\"\n", &opened);
    assert_null(opened.info);
    done(&opened);
}

/* A line n times, behind a head, with its number between the two halves. */
static char *many(const char *head, const char *first, const char *rest, unsigned n,
                  size_t *ret_size)
{
    char *text = malloc(strlen(head) + n * 64 + 1);
    size_t size = strlen(head);

    assert_non_null(text);
    memcpy(text, head, size);
    for (unsigned i = 0; i < n; i++)
        size += (size_t)snprintf(text + size, 64, "%s%u%s\n", first, i, rest);
    *ret_size = size;
    return text;
}

static void hostile_sizes_take_no_time(void **state)
{
    static const struct { const char *head, *first, *rest; unsigned n; bool opens; } rows[] = {
        { VMX, "k", "=", 100000, true },
        { VMX, "scsi0:0.present=\"FALSE\"#", "", 30000, true },
        { VMX, "scsi0:0.fileName=\"", ".vmdk\"", 30000, false },
        { VMX, "scsi0:0.fileName=\"", ".vmdk\"", 512, true },
        { VMX, "scsi0:0.fileName=\"", ".vmdk\"", 513, false },
        { VMSD, "snapshot0.displayName=\"", "\"", 30000, true },
        { VMSD, "snapshot0.disk0.fileName=\"", ".vmdk\"", 20000, false },
        { VMSD, "snapshot", ".uid=\"1\"", 1024, true },
        { VMSD, "snapshot", ".uid=\"1\"", 1025, false },
    };
    clock_t begun = clock();

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct opened opened;
        size_t size;
        char *text = many(rows[i].head, rows[i].first, rows[i].rest, rows[i].n, &size);

        assert_in_range(size, 0, 1 << 20);
        open_bytes(text, size, &opened);
        assert_int_not_equal(opened.probed, QCA_FORMAT_RAW);
        if (rows[i].opens != (opened.info != NULL))
            fail_msg("row %zu: %s", i, opened.error.text);
        done(&opened);
        free(text);
    }
    assert_in_range(clock() - begun, 0, CLOCKS_PER_SEC);
}

static void a_large_file_is_not_read(void **state)
{
    int fd = memfd_create("large", 0);
    struct qca_io *io;
    enum qca_format format;

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, VMX, strlen(VMX), 0), strlen(VMX));
    assert_int_equal(ftruncate(fd, INT64_C(1) << 30), 0);
    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    assert_int_equal(qca_probe(io, &format), 0);
    assert_int_equal(format, QCA_FORMAT_RAW);
    assert_in_range(qca_io_bytes_read(io), 0, 1 << 20);
    qca_io_free(io);
    close(fd);
}

static void a_text_cut_anywhere_is_harmless(void **state)
{
    static const char text[] = VMX "scsi0:0.fileName = \"a|20b.vmdk\"\nscsi0:0.present = \"FALSE\"";
    static const char list[] = VMSD "snapshot0.disk0.fileName = \"a.vmdk\"\nsnapshot0.uid = \"1\"";

    for (size_t i = 0; i < sizeof(text) + sizeof(list) - 2; i++) {
        size_t n = i < sizeof(text) - 1 ? i : i - (sizeof(text) - 1);
        char *cut = malloc(n ? n : 1);      /* so that reads behind are seen */
        struct opened opened;

        assert_non_null(cut);
        memcpy(cut, i < sizeof(text) - 1 ? text : list, n);
        open_bytes(cut, n, &opened);
        done(&opened);
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_definition_names_its_disks),
        cmocka_unit_test(a_list_of_snapshots_names_what_they_stand_on),
        cmocka_unit_test(other_texts_are_none),
        cmocka_unit_test(hostile_names_are_kept_or_refused),
        cmocka_unit_test(hostile_sizes_take_no_time),
        cmocka_unit_test(a_large_file_is_not_read),
        cmocka_unit_test(a_text_cut_anywhere_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
