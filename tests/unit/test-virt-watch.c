/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's threads: the test driver's domains and pools, its events, connections that cannot be
 * had or do not answer. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/virt/virt.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

struct fixture {
    sd_event *event;
    struct virt_watch *watch;
    struct virt_status *status;
    unsigned n;
};

static void on_status(void *userdata, struct virt_status *status)
{
    struct fixture *fixture = userdata;

    assert_true(!fixture->status || status->generation > fixture->status->generation);
    virt_status_unref(fixture->status);
    fixture->status = virt_status_ref(status);
    fixture->n++;
}

static void begin(struct fixture *fixture, char **uris)
{
    struct virt_watch_options options = {
        .uris = uris, .poll = 3600 * USEC_PER_SEC, .status = on_status, .userdata = fixture,
    };

    *fixture = (struct fixture){ 0 };
    assert_return_code(sd_event_new(&fixture->event), 0);
    assert_return_code(virt_watch_new(fixture->event, &options, &fixture->watch), 0);
}

static void end(struct fixture *fixture)
{
    virt_watch_free(fixture->watch);
    virt_status_unref(fixture->status);
    sd_event_unref(fixture->event);
    assert_int_equal(virt_watch_lingering(), 0);
}

/* Runs the loop until the condition holds. */
static bool wait_until(struct fixture *fixture, bool (*holds)(const struct virt_status *status))
{
    for (unsigned i = 0; i < 600; i++) {
        if (fixture->status && holds(fixture->status))
            return true;
        assert_return_code(sd_event_run(fixture->event, 100 * 1000), 0);
    }
    return false;
}

static bool is_complete(const struct virt_status *status)
{
    for (size_t i = 0; i < status->n_connections; i++)
        if (!status->connections[i].complete)
            return false;
    return true;
}

static bool domain_is_off(const struct virt_status *status)
{
    const struct virt_domain *domain = virt_find_domain(status, "test", NULL);

    return domain && !virt_domain_is_active(domain);
}

static bool domain_is_on(const struct virt_status *status)
{
    const struct virt_domain *domain = virt_find_domain(status, "test", NULL);

    return domain && virt_domain_is_active(domain);
}

static bool domain_is_new(const struct virt_status *status)
{
    return virt_find_domain(status, "fresh", NULL);
}

static bool pool_is_off(const struct virt_status *status)
{
    return status->n_pools == 1 && !status->pools[0].active;
}

static bool pool_is_refreshed(const struct virt_status *status)
{
    return status->n_pools == 1 && status->pools[0].active && status->pools[0].refreshed > 0;
}

/* The poll is an hour away: whatever is seen here, an event said. */
static void test_events(void **state)
{
    static const char fresh[] =
        "<domain type='test'><name>fresh</name><memory "
        "unit='MiB'>64</memory><os><type>hvm</type></os><devices>"
        "<disk type='file' device='disk'><driver type='qcow2'/><source "
        "file='/a/leaf.qcow2'/><target dev='vdb'/></disk>"
        "<disk type='volume' device='disk'><source pool='default-pool' volume='v.img'/><target "
        "dev='vda'/></disk>"
        "</devices></domain>";
    char *uris[] = { (char[]){ "test:///default" }, NULL };
    struct fixture fixture;
    virConnectPtr connection;
    virDomainPtr domain, defined;
    virStoragePoolPtr pool;
    const struct virt_domain *found;
    uint64_t version, generation;

    begin(&fixture, uris);
    assert_true(wait_until(&fixture, is_complete));
    assert_int_equal(fixture.status->n_connections, 1);
    assert_true(fixture.status->connections[0].connected);
    assert_false(fixture.status->connections[0].absent);
    found = virt_find_domain(fixture.status, "test", NULL);
    assert_non_null(found);
    assert_true(virt_domain_is_active(found) && found->state == VIRT_RUNNING && found->persistent);
    assert_true(found->started > 0 && found->version > 0);
    assert_int_equal(found->memory_max, UINT64_C(8192) << 20);
    assert_int_equal(fixture.status->n_pools, 1);
    assert_string_equal(fixture.status->pools[0].type, "dir");
    assert_string_equal(fixture.status->pools[0].path, "/default-pool");
    assert_true(fixture.status->pools[0].active && fixture.status->pools[0].auditable);
    version = found->version;

    connection = virConnectOpen("test:///default");
    assert_non_null(connection);
    domain = virDomainLookupByName(connection, "test");
    assert_int_equal(virDomainDestroy(domain), 0);
    assert_true(wait_until(&fixture, domain_is_off));
    found = virt_find_domain(fixture.status, "test", NULL);
    assert_int_not_equal(found->version, version);
    assert_true(found->state == VIRT_SHUT_OFF && found->started == 0 && found->id == -1);
    assert_int_equal(virDomainCreate(domain), 0);
    assert_true(wait_until(&fixture, domain_is_on));

    defined = virDomainDefineXML(connection, fresh);
    assert_non_null(defined);
    assert_true(wait_until(&fixture, domain_is_new));
    found = virt_find_domain(fixture.status, "fresh", NULL);
    assert_int_equal(found->n_disks, 2);
    assert_string_equal(found->disks[0].target, "vda");
    assert_int_equal(found->disks[0].layers[0].source, VIRT_SOURCE_VOLUME);
    assert_string_equal(found->disks[0].layers[0].path, "/default-pool/v.img");
    assert_string_equal(virt_find_disk(found, "vdb")->layers[0].path, "/a/leaf.qcow2");
    assert_string_equal(virt_find_disk(found, "vdb")->layers[0].format, "qcow2");
    assert_null(virt_find_disk(found, "vdc"));
    version = virt_find_domain(fixture.status, "test", NULL)->version;

    pool = virStoragePoolLookupByName(connection, "default-pool");
    assert_int_equal(virStoragePoolDestroy(pool), 0);
    assert_true(wait_until(&fixture, pool_is_off));
    assert_int_equal(virStoragePoolCreate(pool, 0), 0);
    assert_int_equal(virStoragePoolRefresh(pool, 0), 0);
    assert_true(wait_until(&fixture, pool_is_refreshed));
    /* What nothing happened to is as it was. */
    assert_int_equal(virt_find_domain(fixture.status, "test", NULL)->version, version);

    generation = fixture.status->generation;
    virt_watch_refresh(fixture.watch);
    while (fixture.status->generation == generation)
        assert_return_code(sd_event_run(fixture.event, 100 * 1000), 0);
    assert_int_equal(virt_find_domain(fixture.status, "test", NULL)->version, version);

    virStoragePoolFree(pool);
    virDomainUndefine(defined);
    virDomainFree(defined);
    virDomainFree(domain);
    virConnectClose(connection);
    end(&fixture);
}

static bool is_refused(const struct virt_status *status)
{
    return status->connections[0].error != NULL;
}

static void test_refused(void **state)
{
    char *uris[] = { (char[]){ "qemu:///system?socket=/nonexistent/socket" },
                     (char[]){ "test:///default" }, NULL };
    struct fixture fixture;

    begin(&fixture, uris);
    assert_true(wait_until(&fixture, is_refused));
    assert_false(fixture.status->connections[0].connected ||
                 fixture.status->connections[0].complete);
    assert_non_null(strstr(fixture.status->connections[0].error, "/nonexistent/socket"));
    /* One that cannot be had is not in another's way. */
    while (!fixture.status->connections[1].complete)
        assert_return_code(sd_event_run(fixture.event, 100 * 1000), 0);
    assert_int_equal(fixture.status->domains[0].connection, 1);
    end(&fixture);
}

/* A socket behind which nobody answers: nothing waits for it, not even the end. */
static void test_silent(void **state)
{
    char path[] = "/tmp/qca-silent-XXXXXX", uri[128];
    char *uris[] = { uri, NULL };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct fixture fixture;
    int fd, accepted;

    close(mkstemp(path));
    unlink(path);
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_return_code(listen(fd, 4), 0);
    snprintf(uri, sizeof(uri), "qemu:///system?socket=%s", path);

    begin(&fixture, uris);
    accepted = accept(fd, NULL, NULL);
    assert_true(accepted >= 0);
    assert_return_code(sd_event_run(fixture.event, 100 * 1000), 0);
    virt_watch_free(fixture.watch);
    assert_int_equal(virt_watch_lingering(), 1);
    fixture.watch = NULL;
    /* The daemon dies: the thread that was left ends. */
    close(accepted);
    close(fd);
    for (unsigned i = 0; i < 300 && virt_watch_lingering() > 0; i++)
        usleep(100 * 1000);
    unlink(path);
    end(&fixture);
}

static void test_none(void **state)
{
    char *uris[] = { NULL };
    struct fixture fixture;

    begin(&fixture, uris);
    assert_return_code(sd_event_run(fixture.event, 1000), 0);
    assert_null(fixture.status);
    end(&fixture);
}

/* Wherever it fails for want of a descriptor, all that was begun is given back (memory:
 * LeakSanitizer looks). */
static void test_no_descriptors(void **state)
{
    char *uris[] = { (char[]){ "qemu:///system?socket=/nonexistent/1" },
                     (char[]){ "qemu:///system?socket=/nonexistent/2" }, NULL };
    struct fixture fixture = { 0 };
    struct virt_watch_options options = {
        .uris = uris, .poll = 3600 * USEC_PER_SEC, .status = on_status, .userdata = &fixture
    };
    struct rlimit before, few;
    unsigned failed = 0;
    int free_fd, r = -EMFILE;

    assert_return_code(sd_event_new(&fixture.event), 0);
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), 0);
    free_fd = dup(0);
    assert_true(free_fd >= 0);
    close(free_fd);
    for (unsigned extra = 0; extra < 20 && r == -EMFILE; extra++) {
        few = (struct rlimit){ .rlim_cur = (rlim_t)free_fd + extra, .rlim_max = before.rlim_max };
        assert_return_code(setrlimit(RLIMIT_NOFILE, &few), 0);
        r = virt_watch_new(fixture.event, &options, &fixture.watch);
        assert_return_code(setrlimit(RLIMIT_NOFILE, &before), 0);
        failed += r < 0;
        for (unsigned i = 0; r < 0 && virt_watch_lingering() > 0 && i < 100; i++)
            usleep(20 * 1000);
    }
    assert_return_code(r, 0);
    assert_true(failed >= 3);
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_no_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
