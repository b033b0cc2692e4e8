#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Pools that need a kernel with device mapper, an NFS server or iSCSI: what is audited there, and that nobody is in
# anybody's way. A sandbox has none of it: see kernel-guest.
load lib

HOST=$top_srcdir/tests/integration/libvirt-host

setup() {
    need qemu-img virsh libvirtd jq losetup
    need_root
    qcaudit_setup
    chmod 755 "$STORE"
    LOOP='' VG='' NFSD=''
}
teardown() {
    local status=$?
    nfs_done
    stop_daemon || :
    [ -z "${URI-}" ] || "$HOST" stop "$DIR/lv"
    [ -z "$VG" ] || vgremove -q -f "$VG" >/dev/null 2>&1
    [ -z "$LOOP" ] || losetup --detach "$LOOP"
    (exit "$status")
    qcaudit_teardown
}

libvirtd_start() {
    URI=$("$HOST" start "$DIR/lv" system 3>&- 4>&-)
    chmod 777 "$DIR"/lv/sock/*
    LIBVIRT="{uris: [\"$URI\"], poll: 1s}"
}
v() { virsh -q -c "$URI" "$@"; }

status() { ctl status --json=short | jq -r "$1"; }
is() { same "$2" "$(status "$1")"; }
datastore() { is ".datastores[] | select(.name == \"$1\") | .state" "$2"; }
images() { # one per line: NAME SIZE FORMAT DEPTH
    ctl images --json=short | jq -r '.[] | "\(.path | split("/") | last) \(.size) \(.format) \(.depth)"' | sort
}
images_are() { same "$1" "$(images)"; }
open_below() { # what the daemon's processes have open below a folder, or of devices of that name
    local pid
    for pid in "$DAEMON" $(pgrep -P "$DAEMON") $(pgrep -P "$(pgrep -d , -P "$DAEMON")"); do
        find "/proc/$pid/fd" -lname "$1*" 2>/dev/null
    done
}

# volume_group: $VG on a disk of its own.
volume_group() {
    need vgcreate lvcreate dmsetup
    dmsetup targets >/dev/null 2>&1 || skip "the kernel has no device mapper"
    truncate -s 512M "$DIR/disk"
    LOOP=$(losetup --find --show "$DIR/disk") || skip "no loop device can be had"
    vgcreate -q "qca$$" "$LOOP" 3>&- 4>&-
    VG=qca$$
}

# bats test_tags=kernel
@test "a volume group as a pool: its volumes are images, one another's parents, and can be removed and extended" {
    volume_group
    libvirtd_start
    v pool-define-as lvm logical --source-name "$VG"
    v pool-start lvm
    for name in base over raw gone; do v vol-create-as lvm "$name" 32M; done
    qemu-img create -q -f qcow2 "/dev/$VG/base" 24M
    qemu-io -f qcow2 -c 'write -q -P 1 0 1M' "/dev/$VG/base"
    qemu-img create -q -f qcow2 -F qcow2 -b "/dev/$VG/base" "/dev/$VG/over"
    qemu-io -f qcow2 -c 'write -q -P 2 1M 1M' "/dev/$VG/over"
    qemu-img create -q -f qcow2 "/dev/$VG/gone" 24M
    dd if=/dev/urandom of="/dev/$VG/raw" bs=1M count=4 conv=fsync status=none
    write_config
    start_daemon
    wait_for 30 datastore lvm online
    scan
    images_are "base 33554432 qcow2 1
gone 33554432 qcow2 1
over 33554432 qcow2 2
raw 33554432 raw 1"
    same "" "$(findings)"
    [[ "$(ctl chain "/dev/$VG/over")" == *base* ]]

    # Nothing but udev touches a device's times: its clones make it golden, whenever they were made.
    qemu-img create -q -f qcow2 -F qcow2 -b "/dev/$VG/base" "$STORE/leaf.qcow2"
    golden_is() { [ "$(ctl show "/dev/$VG/base" --json=short | jq -r .golden)" = inferred ]; }
    wait_for 30 golden_is
    same "" "$(findings)"
    # A bad pointer in a parent is found there.
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1])
from imagekit import COPIED, Qcow2
with Qcow2(sys.argv[2]) as image: image.put_l2(3, COPIED | 0x7000_0000_0000)' "$IMAGES" "/dev/$VG/base"
    scan "/dev/$VG/base"
    has_finding "metadata-corrupt critical /dev/$VG/base"

    # Nothing is open without need, and release closes the rest.
    same "" "$(open_below "/dev/dm-")"
    lvremove -q -f "$VG/gone" 3>&- 4>&-
    lvextend -q -L 64M "$VG/raw" 3>&- 4>&-
    v pool-refresh lvm
    wait_for 30 without gone
    wait_for 30 size_of raw 67108864
    ctl release lvm
    datastore lvm paused
    v vol-delete --pool lvm over
    v pool-destroy lvm
    lvs --noheadings -o lv_name "$VG" 3>&- 4>&-
}
without() { ! images | grep "^$1 "; }
size_of() { images | grep "^$1 $2 "; }

# nfs_server OPTIONS: $DIR/export is the root of 127.0.0.1, and a pool, not yet started. $NFSD is its mountd.
nfs_server() {
    need rpc.nfsd rpc.mountd exportfs mount.nfs nsenter
    modprobe -q nfsd 2>/dev/null || :
    mkdir -p /proc/fs/nfsd
    mount -t nfsd nfsd /proc/fs/nfsd 2>"$DIR/why" || [ -e /proc/fs/nfsd/threads ] ||
        skip "the kernel has no NFS server: $(cat "$DIR/why")"
    [ "$(cat /proc/fs/nfsd/threads)" = 0 ] || skip "this machine has an NFS server, and it is not the tests'"
    mkdir -p "$DIR/export" "$DIR/mnt" /var/lib/nfs/{v4recovery,sm,rpc_pipefs}
    touch /var/lib/nfs/{etab,rmtab}
    rpc.mountd --no-nfs-version 3 --foreground 3>&- 4>&- &
    NFSD=$!
    exportfs -o "rw,fsid=0,no_subtree_check,$1" "127.0.0.1:$DIR/export"
    nfsd_start
    libvirtd_start
    v pool-define-as nfs netfs --source-host 127.0.0.1 --source-path / --target "$DIR/mnt"
    DAEMON_WRAPPER=(nsenter --mount --target "$(cat "$DIR/lv/pid")" --)
}
nfsd_start() {
    rpc.nfsd --no-nfs-version 3 --no-udp --grace-time 10 --lease-time 10 2
    echo Y >/proc/fs/nfsd/v4_end_grace
}
nfs_done() {
    [ -n "${NFSD-}" ] || return 0
    [ "$(cat /proc/fs/nfsd/threads)" != 0 ] || nfsd_start || :
    stop_daemon || :
    "${DAEMON_WRAPPER[@]}" umount -f "$DIR/mnt" 2>/dev/null || :
    rpc.nfsd 0
    exportfs -u "127.0.0.1:$DIR/export"
    kill "$NFSD"
}

# bats test_tags=kernel
@test "a pool on NFS: walked by the clock, which is told once; its server may go and come back, and it can be stopped" {
    nfs_server no_root_squash
    make_image "$DIR/export/a.qcow2"
    chmod 600 "$DIR/export/a.qcow2"
    v pool-start nfs
    write_config '  walk: 1min' 'reading: {deadline: 3s}'
    make_image "$STORE/local.qcow2"
    start_daemon
    wait_for 30 datastore nfs online
    scan
    is '.["images-audited"]' 2
    wait_for 10 has_finding "watch-degraded info nfs"
    make_image "$DIR/export/b.qcow2"
    break_image "$DIR/export/b.qcow2"
    wait_for 150 has_finding "metadata-corrupt critical"
    rm "$DIR/export/b.qcow2"
    scan
    wait_for 10 has_no_finding metadata-corrupt
    same 1 "$(findings | grep -c watch-degraded)"
    # Nobody answers there any more: that is one finding, and here everything goes on.
    rpc.nfsd 0
    ctl scan >/dev/null || :
    wait_for 60 has_finding "datastore-offline error nfs"
    break_image "$STORE/local.qcow2"
    wait_for 30 has_finding "metadata-corrupt critical local.qcow2"
    nfsd_start
    wait_for 90 has_no_finding datastore-offline
    same 1 "$(findings | grep -c watch-degraded)"
    ctl release nfs
    v pool-destroy nfs
    ctl resume nfs
    wait_for 30 has_finding "datastore-offline error nfs" || { ctl status; false; }
}

# bats test_tags=kernel
@test "a pool on NFS where root is nobody: said once, with what to do about it" {
    nfs_server root_squash
    v pool-start nfs            # with nothing there: libvirt cannot open such volumes, either
    for name in a b c; do
        make_image "$DIR/export/$name.qcow2"
        chmod 600 "$DIR/export/$name.qcow2"
    done
    write_config
    start_daemon
    wait_for 30 datastore nfs online
    scan || :
    wait_for 30 has_finding "not-auditable warning nfs"
    same 1 "$(findings | grep -c not-auditable)"
    ctl show "$(ctl findings --name=not-auditable --json=short | jq -r '.[0].id')" | tee "$DIR/show"
    grep -q "or run it as a user who has it" "$DIR/show"
}
