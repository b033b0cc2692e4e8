#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Space: a datastore that fills, and a domain that stands still because of an I/O error.
load lib
load domains

teardown() {
    [ -z "${MOUNTED-}" ] || umount -l "$STORE"
    domains_teardown
}

@test "a datastore that fills, and images that could grow beyond it" {
    need_root
    qcaudit_setup
    mount -t tmpfs -o size=16M,mode=755 tmpfs "$STORE" || skip "cannot mount here"
    MOUNTED=yes
    rm "$DIR/conf.d/00-machine.yaml"
    write_config 'thresholds:' '  time-to-full: off'
    make_image "$STORE/a.qcow2" 4M
    start_daemon
    scan
    same "" "$(findings --name=datastore-full)"
    same "" "$(findings --name=datastore-overcommitted)"
    qemu-img create -q -f qcow2 "$STORE/big.qcow2" 100M
    head -c 12M /dev/urandom >"$STORE/junk"
    scan
    wait_for 30 is_full "datastore-full warning store"
    wait_for 30 has_finding "datastore-overcommitted warning store"
    head -c 1M /dev/urandom >"$STORE/junk2"
    scan
    wait_for 30 is_full "datastore-full critical store"
    rm "$STORE"/junk* "$STORE/big.qcow2"
    scan
    wait_for 30 is_not_full
    wait_for 30 has_no_finding datastore-overcommitted
}

is_full() { findings --name=datastore-full | grep -qF -- "$1"; }
is_not_full() { [ -z "$(findings --name=datastore-full)" ]; }

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
