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

# Another datastore, with a layer and a disk whose data lie in the released one.
reaching_in() {
    mkdir "$DIR/other"
    write_config "scrub: { budget: 64KiB/s, pressure: off }" "golden: { patterns: ['*/golden-*'] }"
    sed -i "s|^datastores:|&\n  - path: $DIR/other|" "$CONFIG"
    qemu-img create -q -f qcow2 -b "$STORE/a.qcow2" -F qcow2 "$DIR/other/overlay.qcow2"
    qemu-img create -q -f qcow2 -o "data_file=$STORE/data.raw,data_file_raw=on" "$DIR/other/split.qcow2" 8M
    qemu-io -f qcow2 -c 'write -q -P 1 0 8M' "$DIR/other/split.qcow2" >/dev/null
}
name_of() {
    ctl status --json=short | FOLDER="$1" python3 -c '
import json, os, sys
print(next(row["name"] for row in json.load(sys.stdin)["datastores"] if row["path"] == os.environ["FOLDER"]))'
}
is_read() { ctl status --json=short | python3 -c '
import json, sys
sys.exit(not any(row["path"].endswith(sys.argv[1]) and row.get("total", 0) > 0 and not row.get("waits")
                 for row in json.load(sys.stdin).get("scrubs", [])))' "$1"; }

@test "released: nothing is open there when it is answered, whatever was under way" {
    for ((i = 0; i < 20; i++)); do cp "$STORE/a.qcow2" "$STORE/b$i.qcow2"; done
    reaching_in
    start_daemon
    scan
    store=$(name_of "$STORE")
    for ((round = 0; round < 25; round++)); do
        for ((i = 0; i < 20; i++)); do touch "$STORE/b$i.qcow2"; done
        touch "$DIR/other/overlay.qcow2" "$DIR/other/split.qcow2"
        ctl scan >/dev/null
        ctl release "$store"
        umount "$STORE"
        mount -o loop "$DIR/disk" "$STORE"
        ctl resume "$store"
    done
    stop_daemon
}

@test "released: a disk of another datastore that keeps its data there is not read on" {
    reaching_in
    start_daemon
    scan
    ctl scan --scrub "$DIR/other/split.qcow2" >/dev/null
    wait_for 30 is_read split.qcow2
    ls -l /proc/[0-9]*/fd 2>/dev/null | grep -qF " $STORE/data.raw"
    ctl release "$(name_of "$STORE")"
    umount "$STORE"
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
