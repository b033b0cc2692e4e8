#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Space: a datastore that fills, and a domain that stands still because of an I/O error.
load lib
load domains

teardown() {
    stop_daemon || :
    [ -z "${MOUNTED-}" ] || umount -l "$STORE"
    domains_teardown
}

# small_store [LINE...]: a datastore of 16 MiB with a libvirtd whose domains use it, and a configuration with these lines, in
# which space matters.
small_store() {
    need_root
    domains_setup "$@"
    mount -t tmpfs -o size=16M,mode=755 tmpfs "$STORE" || skip "cannot mount here"
    MOUNTED=yes
    own "$STORE"
    rm "$DIR/conf.d/00-machine.yaml"
}

space() { findings --name="$1"; }        # datastore-full is no finding of findings()' own accord
has_space() { space "$1" | grep -qF -- "$1 $2 store"; }
has_no_space() { [ -z "$(space "$1")" ]; }
# What is to be done about a finding of the datastore, in one line.
advice() { ctl show "$(ctl findings --name="$1" --json=short | jq '.[0].id')" | tr -s ' \n' ' '; }

@test "a datastore that fills, and is emptied as it says: chains are merged, leftovers deleted" {
    small_store 'thresholds:' '  time-to-full: off' '  datastore-overcommitted: off' '  chain-deep: {warning: 2}' '  orphan: {after: 1s}' \
        '  snapshot-unmanaged: off' '  snapshot-runaway: off'
    make_image "$STORE/a.qcow2"
    make_image "$STORE/left.qcow2" 8M
    qemu-io -f qcow2 -c 'write -q -P 3 0 7M' "$STORE/left.qcow2" >/dev/null
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    start_daemon
    scan
    has_no_space datastore-full
    for i in 1 2; do
        snapshot web "s$i"
        guest_write web vda "write -P $i 0 2M"
    done
    scan
    wait_for 30 has_space datastore-full warning
    snapshot web s3
    guest_write web vda "write -P 3 0 2M"
    scan
    wait_for 30 has_space datastore-full critical
    [[ $(advice datastore-full) == *"Merge chains and delete leftovers (qcauditctl images --orphan), move images, or extend the file system."* ]]
    # Leftovers: as the command that it names lists them.
    wait_for 20 has_finding "orphan warning left.qcow2"
    ctl images --orphan --json=short | jq -r '.[].path' >"$DIR/leftovers"
    same "$STORE/left.qcow2" "$(cat "$DIR/leftovers")"
    xargs rm <"$DIR/leftovers"
    wait_for 30 has_no_finding orphan
    # Chains: each by its own remedy.
    three_layers() { [ "$(evidence "$(finding chain-deep a.qcow2)" unconsolidated)" = 3 ]; }
    wait_for 20 three_layers
    remedy chain-deep a.qcow2
    rm "$STORE"/a.s*
    scan
    wait_for 30 has_no_space datastore-full
    wait_for 30 nothing_left
    holds_live web 3 0 2M
}

holds_live() { # DOMAIN PATTERN OFFSET LENGTH
    guest_write "$1" vda "flush"
    v destroy "$1"
    holds "$2" "$3" "$4" "$(v domblklist "$1" | awk '/vda/ {print $2}')"
}

@test "images that could grow beyond their datastore, until one of them is moved" {
    small_store 'thresholds:' '  time-to-full: off' '  datastore-full: off'
    make_image "$STORE/a.qcow2"
    make_image "$STORE/big.qcow2" 100M
    own "$STORE"/*
    define web "$(disk_xml "$STORE/big.qcow2")"
    start_daemon
    scan
    wait_for 30 has_space datastore-overcommitted warning
    [[ $(advice datastore-overcommitted) == *"Watch datastore-full and time-to-full, let guests discard what they do not need, or move images."* ]]
    mkdir "$DIR/elsewhere"
    own "$DIR/elsewhere"
    mv "$STORE/big.qcow2" "$DIR/elsewhere/"
    v undefine web
    define web "$(disk_xml "$DIR/elsewhere/big.qcow2")"
    scan
    wait_for 30 has_no_space datastore-overcommitted
    # Where it is now, nobody looks at it.
    wait_for 30 has_finding "coverage-gap warning -"
    same "coverage-gap warning -" "$(findings)"
}

@test "a datastore that will soon be full: what grows is found, and room is made" {
    # A slope takes an hour to be sure of, otherwise.
    small_store 'thresholds:' '  time-to-full: {span: 4s}' '  datastore-full: off' '  datastore-overcommitted: off' \
        '  snapshot-large: off'
    make_image "$STORE/a.qcow2" 64M
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2" vda qcow2)"
    start web
    snapshot web s1
    start_daemon
    scan
    has_no_space time-to-full
    fills() {
        [ "$MIB" -ge 12 ] || guest_write web vda "write -P 7 ${MIB}M 512k"
        MIB=$((MIB + 1))
        sleep 0.6       # the slope's step: the subject
        has_space time-to-full critical
    }
    MIB=1
    until fills; do [ "$MIB" -lt 40 ]; done
    id=$(ctl findings --name=time-to-full --json=short | jq '.[0].id')
    run -0 ctl show "$id" --json=short
    same true "$(jq '.evidence | (."bytes-per-day" > 0) and (.series | length >= 4) and (."full-at" > 0)' <<<"$output")"
    [[ $(advice time-to-full) == *"Find out what grows (qcauditctl images), usually a snapshot's layer. Make room before guests are paused."* ]]
    # What it names shows the layer: it has the most of all.
    scan
    same "$STORE/a.s1" "$(ctl images --json=short | jq -r 'max_by(.allocated).path')"
    v blockcommit web vda --base "$STORE/a.qcow2" --active --pivot --wait >/dev/null
    v snapshot-delete web s1 --metadata >/dev/null
    rm "$STORE/a.s1"
    guest_write web vda "discard 0 32M"
    wait_for 60 has_no_space time-to-full
    wait_for 30 nothing_left
}

@test "a domain that is paused because its disk is full goes on when there is room again" {
    small_store 'thresholds:' '  datastore-overcommitted: off'
    # A boot sector that writes a5 from 1 MiB to 9 MiB, 32 KiB at a time (int 13h, ah = 43h), and then stands still.
    python3 -B -c '
import sys
code = bytes.fromhex(
    "31c08ed88ec08ed0bc007c"    # no segments, a stack
    "fcbf007eb90040b8a5a5f3ab"  # what to write lies at 7e00h
    "be407cb80043b280cd13"      # write what the packet at 7c40h says
    "8306487c40"                # the next 64 sectors,
    "813e487c004872e9"          # up to 18432
    "ebfe")
packet = bytes.fromhex("10004000007e0000") + (2048).to_bytes(8, "little")
open(sys.argv[1], "wb").write((code.ljust(64, b"\0") + packet).ljust(510, b"\0") + b"\x55\xaa")' "$DIR/boot"
    qemu-img create -q -f qcow2 "$STORE/a.qcow2" 64M
    qemu-io -f qcow2 -c "write -q -s $DIR/boot 0 512" "$STORE/a.qcow2" >/dev/null
    head -c 10M /dev/zero >"$STORE/junk"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start_daemon
    scan
    v start web
    wait_for 90 has_finding "domain-io-error critical web on $URI"
    [[ $(evidence "$(finding domain-io-error web)" disks) == *no-space* ]]
    run -0 ctl domains
    [[ $output == *io-error* ]]
    # Without room it would stand still again at once: the precondition first.
    run -0 steps "$(finding domain-io-error web)"
    [[ $output == "there is room again on the file system"* ]]
    rm "$STORE/junk"
    remedy domain-io-error web
    wait_for 30 resolved domain-io-error
    wait_for 30 nothing_left
    # It lost nothing.
    whole() { holds_running web 0xa5 1M 8M; }
    wait_for 30 whole
}

holds_running() { # DOMAIN PATTERN OFFSET LENGTH
    [ "$(v domstate "$1")" = running ] && guest_write "$1" vda "read -P $2 $3 $4"
}

@test "a domain that is paused because of an I/O error" {
    domains_setup
    qemu-img create -q -f qcow2 "$STORE/a.qcow2" 1G
    # A boot sector that reads what lies at 600 MiB (int 13h, ah = 42h), where the L2 entry is one that no QEMU takes.
    python3 -B -c '
import sys
code = bytes.fromhex("31c08ed8b442b280be107ccd13ebfe90") + bytes.fromhex("10000100007e0000") + (600 * 2048).to_bytes(8, "little")
open(sys.argv[1], "wb").write(code.ljust(510, b"\0") + b"\x55\xaa")' "$DIR/boot"
    qemu-io -f qcow2 -c "write -q -s $DIR/boot 0 512" -c 'write -q -P 1 600M 64k' "$STORE/a.qcow2" >/dev/null
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1])
from imagekit import Qcow2
with Qcow2(sys.argv[2]) as image: image.put_l2(88 * 16, image.l2(88 * 16, 1) + 512, 1)' "$IMAGES" "$STORE/a.qcow2"
    own "$STORE"/*
    define web "<disk type='file' device='disk'><driver name='qemu' type='qcow2' error_policy='stop' rerror_policy='stop'/><source file='$STORE/a.qcow2'/><target dev='vda' bus='virtio'/></disk>"
    v start web
    start_daemon
    wait_for 90 has_finding "domain-io-error critical web on $URI"
    run -0 ctl domains
    [[ $output == *io-error* ]]
    [[ $(commands "$(finding domain-io-error web)") == "virsh -c "*" resume web" ]]
    v destroy web
    wait_for 30 resolved domain-io-error
}
