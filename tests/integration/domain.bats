#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images of a running domain, under a private libvirtd: what a guest makes of its image while it runs is no damage.
load lib
load domains

setup() {
    need qemu-img qemu-io python3
    qcaudit_setup
    domains_begin
}
teardown() { domains_teardown; }

@test "a running domain: no finding from its leaf, its parents are read, and no lock of ours is in its way" {
    make_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o lazy_refcounts=on "$STORE/leaf.qcow2"
    leak_image "$STORE/base.qcow2" 3
    own "$STORE" "$STORE"/*.qcow2
    define d1 "$(disk_xml "$STORE/leaf.qcow2")"
    start d1
    # What a crash would leave in the leaf is there all the time while a guest runs with lazy refcounts.
    leak_image "$STORE/leaf.qcow2" 5
    start_daemon
    scan
    same "clusters-leaked warning base.qcow2" "$(findings)"
    run -0 ctl images --json=short
    [[ $output == *leaf.qcow2* ]]
    # Whatever was audited meanwhile, the domain can be stopped, snapshotted and started as ever.
    v destroy d1
    scan "$STORE/leaf.qcow2"
    wait_for 20 has_finding leaf.qcow2
    start d1
    v destroy d1
}
