# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# sound.bash - the sound store (tests/images/make-sound-store) with its domains. `load sound` after `load domains`.

POOL=var/lib/libvirt/images

# sound_domains: a domain or more for each kind of disk below $STORE/$POOL, half of them running.
sound_domains() {
    local images=$STORE/$POOL cdrom
    cdrom="<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='$STORE/var/lib/libvirt/boot/virtio-win-0.1.240.iso'/><target dev='hdc' bus='ide'/><readonly/></disk>"
    define web01 "$(disk_xml "$images/web01.qcow2")" \
        "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='$images/web01-cidata.iso'/><target dev='hdc' bus='ide'/><readonly/></disk>"
    define app01 "$(disk_xml "$images/app01.qcow2")"
    define app02 "$(disk_xml "$images/app02.qcow2")"
    define app03 "$(disk_xml "$images/app03.qcow2")"
    define db01 "$(disk_xml "$images/db01.qcow2")"
    define win2022 "$(disk_xml "$images/win2022.qcow2")" "$cdrom"
    define win2022-clone "$(disk_xml "$images/win2022-clone.qcow2")" "$cdrom"
    define mail01 "$(disk_xml "$images/mail01.img" vda raw)"
    define cluster01 "$(disk_xml "$images/quorum.raw" vda raw '<shareable/>')"
    define cluster02 "$(disk_xml "$images/quorum.raw" vda raw '<shareable/>')"
    define ci01 "$(disk_xml "$images/ci01.qcow2")" "$(disk_xml "$images/ci01-data.qcow2" vdb)"
    define files01 "$(disk_xml "$images/files01.qcow2")"
    define vault01 "$(disk_xml "$images/vault01.qcow2")"
    define vagrant_lab "$(disk_xml "$STORE/srv/vagrant/images/lab_default.img")"
    define bastion "$(disk_xml "$STORE/srv/terraform/pool/bastion")"
    local name
    for name in jump k8s-node-0.qcow2 k8s-node-1.qcow2 k8s-node-2.qcow2; do
        define "${name%.qcow2}" "$(disk_xml "$STORE/srv/terraform/pool/$name")"
    done
    for name in web01 app01 db01 mail01 cluster01 cluster02 ci01 files01 bastion; do start "$name"; done
    snapshot db01 nightly
    v snapshot-create-as win2022 before-update >/dev/null
    v checkpoint-create-as ci01 backup-1 >/dev/null
    # libvirt's overlays have no time but that of now; the disk's own was frozen by the snapshot.
    guest_write db01 vda "write -P 9 1M 64k"
    guest_write web01 vda "write -P 9 9M 64k"
    guest_write files01 vda "write -P 9 1M 64k"
}

# alarms: the open findings of warning and worse; capacity is this machine's own.
alarms() { findings | awk '$2 != "info"'; }

# settled: two passes are over, and nothing has changed since the first of them.
settled() {
    local before after
    before=$(findings)
    scan
    sleep 1.5       # more than the waiting times
    after=$(findings)
    [ "$before" = "$after" ]
}
