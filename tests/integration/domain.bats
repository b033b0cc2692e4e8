#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images of a running domain, under a private libvirtd: what a guest makes of its image while it runs is no damage.
load lib

setup() {
    need qemu-img qemu-io python3 libvirtd virsh qemu-system-x86_64
    qcaudit_setup
    chmod 755 "$STORE"
    URI=$("$top_srcdir/tests/integration/libvirt-host" start "$DIR/lv" session 3>&- 4>&-)
}
teardown() {
    [ -z "${URI-}" ] || "$top_srcdir/tests/integration/libvirt-host" stop "$DIR/lv"
    qcaudit_teardown
}

@test "a running domain: no finding from its leaf, its parents are read, and no lock of ours is in its way" {
    make_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o lazy_refcounts=on "$STORE/leaf.qcow2"
    leak_image "$STORE/base.qcow2" 3
    [ "$(id -u)" != 0 ] || chown nobody "$STORE" "$STORE"/*.qcow2
    cat >"$DIR/domain.xml" <<END
<domain type='qemu'><name>d1</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='$STORE/leaf.qcow2'/><target dev='vda' bus='virtio'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/><serial type='null'/></devices></domain>
END
    virsh -q -c "$URI" define "$DIR/domain.xml"
    virsh -q -c "$URI" start --paused d1
    # What a crash would leave in the leaf is there all the time while a guest runs with lazy refcounts.
    leak_image "$STORE/leaf.qcow2" 5
    start_daemon
    scan
    same "clusters-leaked warning base.qcow2" "$(findings)"
    run -0 ctl images --json=short
    [[ $output == *leaf.qcow2* ]]
    # Whatever was audited meanwhile, the domain can be stopped, snapshotted and started as ever.
    virsh -q -c "$URI" destroy d1
    scan "$STORE/leaf.qcow2"
    wait_for 20 has_finding leaf.qcow2
    virsh -q -c "$URI" start --paused d1
    virsh -q -c "$URI" destroy d1
}
