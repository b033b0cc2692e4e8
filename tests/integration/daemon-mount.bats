#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A datastore is its file system: an empty folder where it should be mounted is not an empty datastore.
load lib

setup() {
    need qemu-img qemu-io python3
    need_root
    qcaudit_setup
    truncate -s 64M "$DIR/disk"
    mkfs.ext4 -q "$DIR/disk" || skip "no mkfs.ext4"
    mount -o loop "$DIR/disk" "$STORE" 2>/dev/null || skip "cannot mount"
    make_image "$STORE/a.qcow2"
    leak_image "$STORE/a.qcow2"
}
teardown() {
    stop_daemon || :
    umount -l "$STORE" 2>/dev/null || :
    qcaudit_teardown
}

name() { ctl status --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)["datastores"][0]["name"])'; }

@test "not mounted when the daemon starts: offline, the images stay, and all is well when it is" {
    start_daemon
    scan
    has_finding a.qcow2
    before=$(findings)
    stop_daemon
    umount "$STORE"
    start_daemon
    wait_for 20 has_finding datastore-offline
    has_finding a.qcow2
    mount -o loop "$DIR/disk" "$STORE"
    wait_for 60 has_no_finding datastore-offline
    same "$before" "$(findings)"
    stop_daemon
}

@test "released, unmounted, mounted elsewhere in between: nothing is lost" {
    start_daemon
    scan
    before=$(findings)
    ctl release "$(name)"
    umount "$STORE"         # nothing holds it
    ctl resume "$(name)"
    wait_for 20 has_finding datastore-offline
    has_finding a.qcow2
    mount -o loop "$DIR/disk" "$STORE"
    wait_for 60 has_no_finding datastore-offline
    same "$before" "$(findings)"
    stop_daemon
}

@test "another file system in its place: offline, until somebody says that it is right" {
    start_daemon
    scan
    ctl release "$(name)"
    umount "$STORE"
    mount -t tmpfs none "$STORE"
    make_image "$STORE/b.qcow2"
    leak_image "$STORE/b.qcow2" 5
    stop_daemon
    start_daemon
    ctl release "$(name)" >/dev/null || :
    run -0 findings
    [[ $output != *b.qcow2* && $output == *a.qcow2* ]]
    ctl resume "$(name)"
    wait_for 20 has_finding b.qcow2
    has_no_finding a.qcow2
    stop_daemon
}
