/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's XML: what is taken from it, what is left out, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/strv.h"
#include "daemon/virt/library.h"
#include "daemon/virt/xml.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct virt_body *, virt_body_unref)

#define UUID "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define HEAD                                                                                       \
    "<domain type='kvm' id='3'><name>web</name><uuid>" UUID "</uuid><memory unit='MiB'>512</memory>"

static struct virt_body *parse(const char *devices)
{
    struct virt_body *body = NULL;
    char *xml;

    assert_true(asprintf(&xml, HEAD "<devices>%s</devices></domain>", devices) > 0);
    assert_int_equal(virt_xml_body(xml, NULL, &body), 0);
    free(xml);
    return body;
}

static void domain(void **state)
{
    static const char live[] =
        HEAD
        "<os><type>hvm</type><loader readonly='yes'>/usr/share/OVMF.fd</loader>"
        "<nvram template='/usr/share/VARS.fd'>/var/lib/nvram/web.fd</nvram><kernel>/boot/k</kernel>"
        "</os><devices>"
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source "
        "file='/s/top.qcow2' index='3'/>"
        "<backingStore type='file' index='2'><format type='qcow2'/><source file='/s/mid.qcow2'/>"
        "<backingStore type='block' index='1'><format type='raw'/><source "
        "dev='/dev/vg/base'/><backingStore/>"
        "</backingStore></backingStore><target dev='vdb' bus='virtio'/></disk>"
        "<disk type='network' device='disk'><driver type='raw'/><source protocol='rbd' "
        "name='pool/image'>"
        "<host name='h'/></source><target dev='vda'/><readonly/><shareable/></disk>"
        "<disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>"
        "<disk type='volume'><source pool='p' volume='v'/><target dev='vdc'/><transient/></disk>"
        "<disk type='nvme'><source type='pci'/><target dev='vdd'/></disk>"
        "<disk type='file'><driver type='qcow2'/><source file='/s/e.qcow2'><dataStore "
        "type='file'><format type='raw'/>"
        "<source file='/s/e.data'/></dataStore></source><target dev='vde'/>"
        "<mirror type='file' job='copy' ready='yes'><format type='qcow2'/><source "
        "file='/t/copy.qcow2'/></mirror></disk>"
        "<serial type='file'><source path='/var/log/web.log'/></serial>"
        "<memory model='nvdimm'><source><path>/s/nv.img</path></source></memory>"
        "<interface type='network'><source network='default'/><rom file='/r/pxe.rom'/></interface>"
        "</devices></domain>";
    static const char defined[] =
        "<domain type='kvm'><name>web</name><uuid>" UUID "</uuid><devices>"
        "<disk type='file'><driver type='qcow2'/>"
        "<source file='/s/base.qcow2'/><target dev='vdb'/></disk></devices></domain>";
    static const char *const files[] = { "/boot/k", "/r/pxe.rom", "/s/nv.img", "/usr/share/OVMF.fd",
                                         "/usr/share/VARS.fd", "/var/lib/nvram/web.fd",
                                         "/var/log/web.log" };
    _cleanup_(virt_body_unrefp) struct virt_body *body = NULL;
    const struct virt_disk *disk;

    assert_int_equal(virt_xml_body(live, defined, &body), 0);
    assert_string_equal(body->name, "web");
    assert_string_equal(body->uuid, UUID);
    assert_int_equal(body->memory_max, 512 << 20);
    assert_int_equal(body->n_left_out, 0);
    assert_int_equal(body->n_disks, 6);

    disk = &body->disks[0];
    assert_string_equal(disk->target, "sda");
    assert_string_equal(disk->device, "cdrom");
    assert_int_equal(disk->layers[0].source, VIRT_SOURCE_NONE);
    disk = &body->disks[1];
    assert_string_equal(disk->target, "vda");
    assert_int_equal(disk->layers[0].source, VIRT_SOURCE_NETWORK);
    assert_string_equal(disk->layers[0].name, "rbd:pool/image");
    assert_true(disk->read_only && disk->shareable && !disk->transient && !disk->complete);
    disk = &body->disks[2];
    assert_string_equal(disk->target, "vdb");
    assert_int_equal(disk->n_layers, 3);
    assert_true(disk->complete);
    assert_string_equal(disk->layers[0].path, "/s/top.qcow2");
    assert_string_equal(disk->layers[1].format, "qcow2");
    assert_int_equal(disk->layers[2].source, VIRT_SOURCE_BLOCK);
    assert_string_equal(disk->layers[2].path, "/dev/vg/base");
    disk = &body->disks[3];
    assert_int_equal(disk->layers[0].source, VIRT_SOURCE_VOLUME);
    assert_string_equal(disk->layers[0].pool, "p");
    assert_string_equal(disk->layers[0].volume, "v");
    assert_null(disk->layers[0].path);
    assert_null(disk->layers[0].format);
    assert_true(disk->transient);
    assert_string_equal(disk->device, "disk");
    assert_int_equal(body->disks[4].layers[0].source, VIRT_SOURCE_OTHER);
    disk = &body->disks[5];
    assert_string_equal(disk->layers[0].data_file, "/s/e.data");
    assert_string_equal(disk->job.type, "copy");
    assert_true(disk->job.ready);
    assert_string_equal(disk->job.mirror, "/t/copy.qcow2");

    assert_int_equal(body->n_defined_disks, 1);
    assert_string_equal(body->defined_disks[0].layers[0].path, "/s/base.qcow2");
    assert_int_equal(body->n_files, ELEMENTSOF(files));
    for (size_t i = 0; i < ELEMENTSOF(files); i++)
        assert_string_equal(body->files[i], files[i]);
    assert_null(body->files[ELEMENTSOF(files)]);
}

/* What a guest's administrator can put into a name comes through as it is; what is no path is
 * none. */
static void hostile_texts(void **state)
{
    _cleanup_(virt_body_unrefp) struct virt_body *body = parse(
        "<disk type='file'><source file='/a&#10;b\xc3\xa4&lt;&#9;c'/><target dev='vda'/></disk>"
        "<disk type='file'><source file='relative.img'/><target dev='vdb'/></disk>"
        "<disk type='file'><source/><target dev='vdc'/></disk>"
        "<disk type='file'><source file=''/><target dev='vdd'/></disk>"
        "<disk type='no-such'><source file='/x'/><target dev='vde'/></disk>"
        "<disk><source file='/default-is-file'/><target dev='vdf'/></disk>"
        "<disk type='network'><source/><target dev='vdg'/></disk>"
        "<disk type='file'><source file='/no-target'/></disk>"
        "<disk type='file'><source file='/empty-target'/><target dev=''/></disk>"
        "<disk xmlns='urn:else' type='file'><source file='/else'/><target dev='vdz'/></disk>");

    assert_int_equal(body->n_disks, 7);
    assert_int_equal(body->n_left_out, 2);
    assert_string_equal(body->disks[0].layers[0].path, "/a\nb\xc3\xa4<\tc");
    for (size_t i = 1; i < 4; i++) {
        assert_int_equal(body->disks[i].layers[0].source, VIRT_SOURCE_NONE);
        assert_null(body->disks[i].layers[0].path);
    }
    assert_int_equal(body->disks[4].layers[0].source, VIRT_SOURCE_OTHER);
    assert_string_equal(body->disks[5].layers[0].path, "/default-is-file");
    assert_string_equal(body->disks[6].layers[0].name, "network:");
}

/* Appends n times. */
static char *repeat(const char *text, size_t n)
{
    size_t length = strlen(text);
    char *all = malloc(length * n + 1);

    assert_non_null(all);
    for (size_t i = 0; i < n; i++)
        memcpy(all + i * length, text, length);
    all[length * n] = 0;
    return all;
}

static void too_much(void **state)
{
    _cleanup_free_ char *disks =
        repeat("<disk type='file'><source file='/x'/><target dev='vd'/></disk>",
               VIRT_DISKS_MAX + 44);
    _cleanup_free_ char *sources = repeat("<x><source file='/same'/></x>", VIRT_FILES_MAX + 5);
    _cleanup_free_ char *deep = repeat("<x>", 200), *long_path = repeat("/aaaaaaa", 600),
                        *one = NULL;
    _cleanup_(virt_body_unrefp) struct virt_body *many = parse(disks), *files = parse(sources),
                                                 *body = NULL;

    assert_int_equal(many->n_disks, VIRT_DISKS_MAX);
    assert_int_equal(many->n_left_out, 44);
    assert_int_equal(files->n_files, 1);
    assert_int_equal(files->n_left_out, 5);
    assert_true(asprintf(&one, "<disk><source file='%s'/><target dev='vda'/></disk>", long_path) >
                0);
    body = parse(one);
    assert_int_equal(body->n_left_out, 1);
    assert_int_equal(body->disks[0].layers[0].source, VIRT_SOURCE_NONE);
    free(one);
    one = NULL;
    /* Elements that do not end are no document, however deep. */
    assert_true(asprintf(&one, HEAD "<devices>%s", deep) > 0);
    assert_int_equal(virt_xml_body(one, NULL, &body), -EBADMSG);
}

static void refused(void **state)
{
    static const char *const texts[] = {
        "", "x", "<domain/>", "<domain><name>a</name></domain>", "<pool/>", HEAD,
        "<domain><name></name><uuid>" UUID "</uuid></domain>",
        "<domain><name>a</name><uuid>not-a-uuid</uuid></domain>",
        "<domain><name>a</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db180g</uuid></domain>",
        /* a document that brings its own words is none of libvirt's */
        "<!DOCTYPE domain [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]>" HEAD "</domain>",
        "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'>" HEAD "</domain>",
        HEAD "<description>&undefined;</description></domain>",
        HEAD "<devices><disk></devices></domain>",
        HEAD "<title>\xff\xfe</title></domain>",
        "<?xml version='1.0' encoding='no-such'?>" HEAD "</domain>",
    };
    _cleanup_free_ char *long_text = repeat(" ", VIRT_XML_MAX + 1);
    struct virt_body *body = NULL;
    struct virt_snapshot snapshot;
    struct virt_checkpoint checkpoint;
    struct virt_pool pool;
    uint64_t left_out;
    char **files;

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        assert_int_equal(virt_xml_body(texts[i], NULL, &body), -EBADMSG);
        assert_int_equal(virt_xml_snapshot(texts[i], &snapshot, &left_out), -EBADMSG);
        assert_int_equal(virt_xml_checkpoint(texts[i], &checkpoint, &left_out), -EBADMSG);
        assert_int_equal(virt_xml_backup(texts[i], &files), -EBADMSG);
        assert_int_equal(virt_xml_pool(texts[i], &pool), -EBADMSG);
    }
    assert_null(body);
    assert_int_equal(virt_xml_body(long_text, NULL, &body), -E2BIG);
    assert_int_equal(virt_xml_body(HEAD "</domain>", "<domain", &body), -EBADMSG);
    assert_int_equal(virt_xml_snapshot("<domainsnapshot/>", &snapshot, &left_out), -EBADMSG);
    assert_int_equal(virt_xml_checkpoint("<domaincheckpoint><name/></domaincheckpoint>",
                                         &checkpoint, &left_out),
                     -EBADMSG);
    assert_int_equal(virt_xml_pool("<pool type='dir'><name>p</name></pool>", &pool), -EBADMSG);
}

static void snapshots(void **state)
{
    static const char text[] =
        "<domainsnapshot><name>s&amp;2</name><creationTime>1700000000</creationTime>"
        "<parent><name>s1</name></parent>"
        "<state>running</state><memory snapshot='external' file='/m/s2.mem'/><disks>"
        "<disk name='vdb' snapshot='internal'/><disk name='vda' snapshot='external' "
        "type='file'><driver type='qcow2'/>"
        "<source file='/s/top.qcow2'/><snapshotDeleteInProgress/></disk><disk name='/s/c.img' "
        "snapshot='manual'/>"
        "<disk name='vdd' snapshot='no'/></disks><domain><devices>"
        "<disk><source file='/s/base.qcow2'/><target dev='vda'/></disk>"
        "<disk><source file='/s/c.img'/><target "
        "dev='vdc'/></disk></devices></domain></domainsnapshot>";
    struct virt_snapshot snapshot;
    uint64_t left_out;

    assert_int_equal(virt_xml_snapshot(text, &snapshot, &left_out), 0);
    assert_string_equal(snapshot.name, "s&2");
    assert_string_equal(snapshot.parent, "s1");
    assert_true(snapshot.created == UINT64_C(1700000000000000));
    assert_true(snapshot.deleting && !snapshot.current && !snapshot.memory_internal);
    assert_string_equal(snapshot.memory_path, "/m/s2.mem");
    assert_int_equal(snapshot.n_disks, 4);
    assert_string_equal(snapshot.disks[0].target, "/s/c.img");
    assert_int_equal(snapshot.disks[0].kind, VIRT_SNAPSHOT_MANUAL);
    assert_string_equal(snapshot.disks[0].before, "/s/c.img");
    assert_string_equal(snapshot.disks[1].target, "vda");
    assert_int_equal(snapshot.disks[1].kind, VIRT_SNAPSHOT_EXTERNAL);
    assert_string_equal(snapshot.disks[1].path, "/s/top.qcow2");
    assert_string_equal(snapshot.disks[1].before, "/s/base.qcow2");
    assert_int_equal(snapshot.disks[2].kind, VIRT_SNAPSHOT_INTERNAL);
    assert_int_equal(snapshot.disks[3].kind, VIRT_SNAPSHOT_NONE);
    virt_snapshot_done(&snapshot);

    assert_int_equal(
        virt_xml_snapshot("<domainsnapshot><name>x</name><creationTime>-5</creationTime>"
                          "<memory snapshot='internal'/></domainsnapshot>",
                          &snapshot, &left_out),
        0);
    assert_true(snapshot.created == 0 && snapshot.memory_internal && !snapshot.parent &&
                snapshot.n_disks == 0);
    virt_snapshot_done(&snapshot);
}

static void checkpoints_and_backups(void **state)
{
    struct virt_checkpoint checkpoint;
    uint64_t left_out;
    char **files;

    assert_int_equal(virt_xml_checkpoint(
        "<domaincheckpoint><name>c2</name><parent><name>c1</name></parent>"
        "<creationTime>1</creationTime>"
        "<disks>"
        "<disk name='vdb' checkpoint='no'/><disk name='vda' checkpoint='bitmap' "
        "bitmap='b2'/></disks></domaincheckpoint>",
        &checkpoint, &left_out), 0);
    assert_string_equal(checkpoint.parent, "c1");
    assert_int_equal(checkpoint.created, 1000000);
    assert_int_equal(checkpoint.n_disks, 2);
    assert_string_equal(checkpoint.disks[0].bitmap, "b2");
    assert_null(checkpoint.disks[1].bitmap);
    virt_checkpoint_done(&checkpoint);

    assert_int_equal(virt_xml_backup(
        "<domainbackup mode='push'><disks><disk name='vda' type='file'><target "
        "file='/b/vda.qcow2'/>"
        "<scratch file='/b/scratch'/></disk><disk name='vdb'><target "
        "dev='/dev/vg/b'/></disk></disks></domainbackup>",
        &files), 0);
    assert_string_equal(files[0], "/b/vda.qcow2");
    assert_string_equal(files[1], "/b/scratch");
    assert_string_equal(files[2], "/dev/vg/b");
    assert_null(files[3]);
    strv_free(files);
}

static void pools(void **state)
{
    static const struct {
        const char *type;
        enum virt_pool_kind kind;
    } types[] = {
        { "dir", VIRT_POOL_FILES }, { "fs", VIRT_POOL_FILES }, { "netfs", VIRT_POOL_FILES },
        { "logical", VIRT_POOL_DEVICES }, { "disk", VIRT_POOL_DEVICES },
        { "iscsi", VIRT_POOL_DEVICES },
        { "scsi", VIRT_POOL_DEVICES }, { "mpath", VIRT_POOL_DEVICES }, { "rbd", VIRT_POOL_NETWORK },
        { "gluster", VIRT_POOL_NETWORK }, { "iscsi-direct", VIRT_POOL_NETWORK },
        { "no such", VIRT_POOL_NETWORK },
    };

    for (size_t i = 0; i < ELEMENTSOF(types); i++) {
        _cleanup_free_ char *text = NULL;
        struct virt_pool pool;

        assert_true(asprintf(&text, "<pool type='%s'><name>p&#10;q</name><uuid>" UUID "</uuid>"
                             "<capacity unit='bytes'>100</capacity><allocation "
                             "unit='KiB'>2</allocation>"
                             "<available unit='bytes'>99999999999999999999999</available>"
                             "<target><path>/t/p</path></target></pool>", types[i].type) > 0);
        assert_int_equal(virt_xml_pool(text, &pool), 0);
        assert_string_equal(pool.name, "p\nq");
        assert_int_equal(virt_pool_kind(pool.type), types[i].kind);
        assert_true(pool.auditable == (types[i].kind != VIRT_POOL_NETWORK));
        assert_true(!pool.path == (types[i].kind == VIRT_POOL_NETWORK));
        assert_true(pool.capacity == 100 && pool.allocation == 2048 && pool.available == 0);
        virt_pool_done(&pool);
    }
}

/* 5,000 domains with three disks of two layers each, as one status. */
static void many_domains(void **state)
{
    enum { N = 5000 };
    static char uri[] = "test:///many";
    char *uris[] = { uri };
    struct virt_part *part = calloc(1, sizeof(*part));
    struct virt_status *status = NULL;
    bool ambiguous;

    part->refs = 1;
    part->records = calloc(N, sizeof(struct virt_record *));
    for (unsigned i = 0; i < N; i++) {
        _cleanup_(virt_body_unrefp) struct virt_body *body = NULL;
        _cleanup_free_ char *text = NULL;

        assert_true(asprintf(&text,
            "<domain><name>guest-%u</name><uuid>00000000-0000-0000-0000-%012u</uuid><devices>"
            "<disk><driver type='qcow2'/><source file='/s/%u-a.qcow2'/><backingStore "
            "type='file'><format type='raw'/>"
            "<source file='/s/base.raw'/><backingStore/></backingStore><target dev='vda'/></disk>"
            "<disk><driver type='qcow2'/><source file='/s/%u-b.qcow2'/><target dev='vdb'/></disk>"
            "<disk><driver type='raw'/><source file='/s/%u-c.raw'/><target dev='vdc'/></disk>"
            "</devices></domain>", i / 2 * 2, i, i, i, i) > 0);
        assert_int_equal(virt_xml_body(text, NULL, &body), 0);
        assert_int_equal(virt_record_new(body, NULL, NULL, &part->records[i]), 0);
        part->n_records++;
    }
    assert_int_equal(virt_status_new(uris, &part, 1, &status), 0);
    virt_part_unref(part);
    assert_int_equal(status->n_domains, N);
    assert_string_equal(status->domains[N - 1].disks[2].layers[0].path, "/s/4999-c.raw");
    assert_non_null(virt_find_domain(status, "00000000-0000-0000-0000-000000004999", &ambiguous));
    assert_false(ambiguous);
    assert_null(virt_find_domain(status, "guest-10", &ambiguous));
    assert_true(ambiguous);
    assert_null(virt_find_domain(status, "guest-11", NULL));
    assert_ptr_equal(virt_status_ref(status), status);
    assert_null(virt_status_unref(status));
    assert_string_equal(status->connections[0].uri, "test:///many");
    assert_null(virt_status_unref(status));
}

static int load(void **state)
{
    _cleanup_free_ char *reason = NULL;

    return virt_library_load_xml(&reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(domain),
        cmocka_unit_test(hostile_texts),
        cmocka_unit_test(too_much),
        cmocka_unit_test(refused),
        cmocka_unit_test(snapshots),
        cmocka_unit_test(checkpoints_and_backups),
        cmocka_unit_test(pools),
        cmocka_unit_test(many_domains),
    };

    return cmocka_run_group_tests(tests, load, NULL);
}
