#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl check of images on block devices: the device's size is the file's, and qemu-img says the same.
bats_require_minimum_version 1.5.0

setup() {
    for command in qemu-img qemu-io losetup jq python3; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
    [ "$(id -u)" = 0 ] || skip "needs root"
    cd "$BATS_TEST_TMPDIR" || return 1
    qemu-img create -q -f qcow2 disk 8M
    qemu-io -f qcow2 -c 'write -q -P 1 0 4M' disk
    LOOP=
}
teardown() { [ -z "${LOOP-}" ] || losetup --detach "$LOOP"; }

device() { # [OPTION...]: the disk as a device
    [ -z "$LOOP" ] || losetup --detach "$LOOP"
    LOOP=$(losetup --find --show --read-only "$@" disk 2>/dev/null) || skip "no loop device"
}

# same: status and all figures are qemu-img's. KINDS: of what was found.
same() {
    local theirs=0 ours=0 figures='[."check-errors", .corruptions, .leaks, ."image-end-offset", ."total-clusters",
        ."allocated-clusters", ."compressed-clusters", ."fragmented-clusters"] | map(. // 0)'
    qemu-img check -f qcow2 --output=json "$LOOP" >theirs.json 2>/dev/null || theirs=$?
    qcauditctl check --compatible --json=short "$LOOP" >ours.json || ours=$?
    [ "$theirs" = "$ours" ] || { echo "qemu-img $theirs, ours $ours"; cat ours.json; return 1; }
    diff <(jq -c "$figures" theirs.json) <(jq -c "$figures" ours.json)
    KINDS=$(jq -r '[.issues[].kind] | unique | join(" ")' ours.json)
}

@test "a device that is larger, whatever was on it before" {
    size=$(stat -c %s disk)
    { cat disk; head -c $((16777216 - size)) /dev/urandom; } >larger
    mv larger disk
    device
    same
    [ "$KINDS" = "" ]
    # in a file it is said
    run -0 qcauditctl check --json=short disk
    [ "$(jq -r '.issues[].kind' <<<"$output")" = data-behind-end ]
}

@test "a device that is too small: the image ends beyond it" {
    size=$(stat -c %s disk)
    for cut in 65536 1048576 1000448 4194304; do
        device --sizelimit $((size - cut))
        same
        [[ $KINDS == *out-of-file* ]]
        [ "$(jq '[.issues[] | select(.kind == "out-of-file") | .["guest-offset"]] | length > 0' ours.json)" = true ]
        [[ $KINDS == *refcount-beyond-end* ]]
    done
    # the last cluster is cut within: its data is partly there
    device --sizelimit $((size - 512))
    same
    [ "$KINDS" = last-cluster-cut ]
}

@test "leaks and damage on a device; an overlay of one" {
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1] + "/tests/images")
from imagekit import COPIED, Qcow2
with Qcow2("disk") as image:
    image.leak(5)
    image.put_l2(100, COPIED | 0x7000_0000_0000)' "$top_srcdir"
    device
    same
    [ "$(jq -c '[.corruptions > 0, .leaks]' ours.json)" = '[true,5]' ]
    qemu-img create -q -f qcow2 -F qcow2 -b "$LOOP" overlay.qcow2
    run -2 qcauditctl check --chain --json=short overlay.qcow2
    [ "$(jq -c '[.layers[0].filename, .layers[0].leaks]' <<<"$output")" = "[\"$LOOP\",5]" ]
}
