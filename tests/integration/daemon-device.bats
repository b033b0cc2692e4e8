#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Block devices in a datastore: a node there is an image, a link to one elsewhere is not followed.
load lib

setup() {
    need qemu-img losetup jq
    need_root
    qcaudit_setup
    qemu-img create -q -f qcow2 "$DIR/disk" 1M
    truncate -s 4M "$DIR/disk"
    LOOP=$(losetup --find --show "$DIR/disk" 2>/dev/null) || skip "no loop device"
    read -r major minor < <(stat -c '%Hr %Lr' "$LOOP")
    mknod "$STORE/lv.qcow2" b "$major" "$minor" || skip "no device nodes"
    ln -s "$LOOP" "$STORE/link.qcow2"
}
teardown() {
    stop_daemon || :
    [ -z "${LOOP-}" ] || losetup --detach "$LOOP"
    qcaudit_teardown
}

images() { ctl images --json=short | jq -c '.[] | [(.path | split("/") | last), .size, .format]'; }

@test "its size and format are known, and it is audited once" {
    start_daemon
    scan
    same '["lv.qcow2",4194304,"qcow2"]' "$(images)"
    same "coverage-gap warning store" "$(findings)"
    stop_daemon
    start_daemon
    scan
    same '["lv.qcow2",4194304,"qcow2"]' "$(images)"
    [ "$(ctl history --json=short "$STORE/lv.qcow2" | jq '.audits | length')" = 1 ]
}

@test "an image that ends beyond its device is cut off; what is behind the end of another is not its own" {
    qemu-io -f qcow2 -c 'write -q -P 1 0 1M' "$DIR/disk"
    head -c 1M /dev/urandom | dd of="$DIR/disk" bs=1M seek=3 conv=notrunc status=none
    start_daemon
    scan
    same "coverage-gap warning store" "$(findings)"
    stop_daemon
    truncate -s 1M "$DIR/disk"
    losetup --set-capacity "$LOOP"
    start_daemon
    scan "$STORE/lv.qcow2"
    same "coverage-gap warning store"$'\n'"image-truncated critical lv.qcow2" "$(findings)"
}
