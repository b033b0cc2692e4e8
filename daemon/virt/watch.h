/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt knows, asked for by threads of its own: one per connection, since libvirt's calls
 * wait, and one for libvirt's events. The loop gets immutable snapshots and never waits for any of
 * them.
 *
 * Connections are read-only, watched by keepalive, and made again with growing pauses. Events are
 * gathered for a moment and answered by looking at what they name; a poll looks at all of it. A
 * thread that hangs in a call for long is told as a connection that does not answer; one that hangs
 * where keepalive does not reach (opening) is left alone and replaced. */
#pragma once

#include <systemd/sd-event.h>

#include "daemon/virt/status.h"

struct virt_watch;

struct virt_watch_options {
    /* NULL-ended. NULL: qemu:///system where libvirt has a socket on this host, looked for again
     * with every poll. An empty list: none. */
    char *const *uris;
    uint64_t poll;              /* usec */
    /* In the loop, whenever there is news; status is the callee's to keep by virt_status_ref(). */
    void (*status)(void *userdata, struct virt_status *status);
    void *userdata;
};

/* Starts the threads; all signals are blocked in them. */
int virt_watch_new(sd_event *event, const struct virt_watch_options *options,
                   struct virt_watch **ret_watch);
/* Leaves the threads within a moment: those that can end do, the others end when libvirt answers
 * them. Takes NULL, returns NULL. */
struct virt_watch *virt_watch_free(struct virt_watch *watch);
/* Threads of this process that were left and did not end: it must not take down what they use, but
 * _exit(). */
unsigned virt_watch_lingering(void);
/* Looks at everything soon. */
void virt_watch_refresh(struct virt_watch *watch);
