/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt would say, made by hand: a status whose domains are the test's own arrays and
 * texts. */
#pragma once

#include "unit/model-fixture.h"

#include "daemon/virt/part.h"
#include "daemon/virt/virt.h"

#define URI "qemu:///system"
#define TEXT(literal) ((char[]){ literal })

struct virt_fixture {
    struct virt_status *status;
    struct virt_domain domains[8], *none;
    size_t n_domains;
};

static inline void fixture_virt_begin(struct virt_fixture *fixture)
{
    char *uris[] = { TEXT(URI) };
    struct virt_part *parts[] = { NULL };

    *fixture = (struct virt_fixture){ .n_domains = 0 };
    assert_int_equal(virt_status_new(uris, parts, 1, &fixture->status), 0);
    fixture->none = fixture->status->domains;
    fixture->status->connections[0].connected = fixture->status->connections[0].complete = true;
    fixture->status->taken = T0_USEC;
}

/* The status as it is now; domains may have been added or changed since. */
static inline struct virt_status *fixture_virt_status(struct virt_fixture *fixture)
{
    fixture->status->domains = fixture->domains;
    fixture->status->n_domains = fixture->n_domains;
    return fixture->status;
}

static inline void fixture_virt_end(struct virt_fixture *fixture)
{
    fixture->status->domains = fixture->none;
    fixture->status->n_domains = 0;
    fixture->status = virt_status_unref(fixture->status);
}

/* A domain with these disks: running with id > 0, else shut off. */
static inline struct virt_domain *fixture_domain(struct virt_fixture *fixture, char *name, int id,
                                                 struct virt_disk *disks, size_t n_disks)
{
    struct virt_domain *domain = &fixture->domains[fixture->n_domains++];

    *domain = (struct virt_domain){
        .name = name, .id = id > 0 ? id : -1, .state = id > 0 ? VIRT_RUNNING : VIRT_SHUT_OFF,
        .persistent = true,
        .disks = disks, .n_disks = n_disks, .started = id > 0 ? T0_USEC : 0,
        .memory_max = UINT64_C(1) << 30,
        .version = 1,
    };
    assert_true(fixture->n_domains <= 8);
    domain->uuid[0] = (char)('a' + fixture->n_domains);
    return domain;
}
