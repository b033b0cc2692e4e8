#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A datastore of ESXi hosts: what .vmx and .vmsd say of disks and their layers, and locks on NFS.
load lib

setup() {
    need jq python3
    qcaudit_setup
    write_config 'thresholds: {snapshot-unmanaged: {after: 0s}, orphan: {after: 0s}}'
    cd "$STORE"
}
teardown() { cd /; qcaudit_teardown; }

esxi() { "$IMAGES/make-esxi-chain" "$@"; }
roles() { ctl images -a --json=short "$@" | jq -r '.[] | "\(.path | sub(".*/"; "")) \(.role)"' | sort; }
finding() { ctl findings --json=short --name "$1" --path "$STORE/$2" | jq -c '.[0]'; }
remedy() { ctl show "$(finding "$1" "$2" | jq .id)" --json=short | jq -c '.remedy // .[0].remedy'; }

@test "a virtual machine with two snapshots is as it should be, and its records are no images" {
    esxi 3 vm --listed 2 --every 21600
    start_daemon
    scan
    same "" "$(findings)"
    same "vm-000001-delta.vmdk extent
vm-000001.vmdk overlay
vm-000002-delta.vmdk extent
vm-000002.vmdk leaf
vm-flat.vmdk extent
vm.vmdk base" "$(roles)"
    ctl images -a --json=short "$STORE/vm/vm-000002.vmdk" | jq -e '.[0].relation == "snapshot"'
}

@test "its records are neither counted, listed nor read for their content" {
    esxi 3 vm --listed 2
    start_daemon
    scan
    ctl status --json=short | jq -e '.images == 6'
    same "[]" "$(ctl images -a --json=short | jq -c 'map(select(.path | test("[.](vmx|vmsd)$|-ctk")))')"
    ctl scrub --wait "$STORE" >/dev/null || :
    same "" "$(findings)"
    # nor after a restart
    stop_daemon
    start_daemon
    scan
    ctl status --json=short | jq -e '.images == 6'
    roles | grep -q "^vm-000002.vmdk leaf$"
}

@test "a delta that no snapshot of the list explains, and commands in ESXi's words alone" {
    esxi 4 vm --listed 2
    start_daemon
    scan
    same "snapshot-unmanaged warning vm/vm.vmdk" "$(findings)"
    finding snapshot-unmanaged vm | jq -e '.summary | contains("1 layer above it in the virtual machine vm.vmx")'
    remedy snapshot-unmanaged vm >text
    grep -q "vim-cmd vmsvc/getallvms" text
    grep -q "vim-cmd vmsvc/snapshot.create NUMBER" text
    grep -q "vim-cmd vmsvc/snapshot.removeall NUMBER" text
    grep -q "vmkfstools -i" text
    run ! grep -qE "qemu-img|command" text
    rm text
    # the list has it now
    esxi 4 vm2 --listed 3
    mv vm2/vm.vmsd vm/vm.vmsd
    rm -r vm2
    wait_for 20 has_no_finding snapshot-unmanaged
    # its list is gone, and with it all that explains the layers
    rm vm/vm.vmsd
    wait_for 20 has_finding "snapshot-unmanaged warning vm/vm.vmdk"
    finding snapshot-unmanaged vm | jq -e '.evidence.unmanaged == 3'
}

@test "forty deltas, every six hours: deep and a runaway, whether the list has them or not" {
    esxi 41 vm --listed 40 --every 21600
    start_daemon
    scan
    same "chain-deep error vm/vm.vmdk
snapshot-runaway error vm/vm.vmdk" "$(findings | grep -v '^snapshot-old')"
    remedy chain-deep vm >text
    grep -q "vim-cmd vmsvc/snapshot.removeall NUMBER" text
    grep -q "vm/vm.vmx" text
    run ! grep -qE "qemu-img|command" text
    rm text vm/vm.vmsd
    wait_for 20 has_finding "snapshot-unmanaged warning vm/vm.vmdk"
    has_finding "chain-deep error vm/vm.vmdk"
}

@test "disks of a virtual machine whose definition was deleted, and one beside it that nobody has" {
    esxi 3 gone --listed 2
    esxi 2 kept --listed 1
    cp kept/vm.vmdk kept/old.vmdk
    sed -i 's/vm-flat/old-flat/' kept/old.vmdk
    cp --sparse=always kept/vm-flat.vmdk kept/old-flat.vmdk
    # without a record beside it nobody knows whose it is
    mkdir plain
    cp kept/old*.vmdk plain/
    start_daemon
    scan
    same "orphan warning kept/old.vmdk" "$(findings)"
    rm gone/vm.vmx
    wait_for 20 has_finding "orphan warning gone/vm.vmdk"
    finding orphan gone | jq -e '.evidence."n-layers" == 3'
    remedy orphan gone >text
    grep -q "vmkfstools -E" text
    run ! grep -q "command" text
    rm text
    # another virtual machine of the same owner has it, by its volume
    mkdir other
    sed 's|vm-000001.vmdk|/vmfs/volumes/store/kept/old.vmdk|' kept/vm.vmx >other/other.vmx
    wait_for 20 has_no_finding "orphan warning kept/old.vmdk"
    same "orphan warning gone/vm.vmdk" "$(findings)"
    rm -r other
    wait_for 20 has_finding "orphan warning kept/old.vmdk"
}

@test "a disk that is called otherwise than the definition says may be what it looks for" {
    esxi 2 vm --listed 1
    cp vm/vm-000001.vmdk vm/renamed.vmdk
    rm vm/vm-000001.vmdk
    start_daemon
    scan
    same "" "$(findings)"
    mv vm/renamed.vmdk vm/vm-000001.vmdk
    knows_leaf() { roles | grep "^vm-000001.vmdk leaf$"; }
    wait_for 20 knows_leaf
    same "" "$(findings)"
}

@test "a stranger's definition neither owns nor explains what is not his" {
    need_root
    esxi 3 vm --listed 2
    cp vm/vm.vmdk vm/old.vmdk
    sed -i 's/vm-flat/old-flat/' vm/old.vmdk
    cp vm/vm-flat.vmdk vm/old-flat.vmdk
    mkdir evil
    sed 's|"vm-000002.vmdk"|"/vmfs/volumes/store/vm/old.vmdk"|' vm/vm.vmx >evil/evil.vmx
    sed 's|"vm-000002.vmdk"|"old.vmdk"|' vm/vm.vmx >vm/evil.vmx
    sed 's|"vm.vmdk"|"../vm/old.vmdk"|' vm/vm.vmsd >evil/evil.vmsd
    chown 12345 evil evil/* vm/evil.vmx
    start_daemon
    scan
    same "orphan warning vm/old.vmdk" "$(findings)"
    # nor does one of any owner that names by a way around
    chown 0 evil evil/*
    sed -i 's|/vmfs/volumes/store/vm/old.vmdk|../vm/old.vmdk|' evil/evil.vmx
    fence
    same "orphan warning vm/old.vmdk" "$(findings)"
    # of the disk's owner
    sed -i 's|../vm/old.vmdk|/vmfs/volumes/store/vm/old.vmdk|' evil/evil.vmx
    wait_for 20 has_no_finding orphan
}

@test "an encrypted virtual machine's disks, and those of a damaged one, are named in what cannot be read" {
    esxi 2 vm --listed 1
    printf '.encoding = "UTF-8"\ndisplayName = "vm"\nencryption.keySafe = "vmware:key/list"\nencryption.data = "AAAA"\n' >vm/vm.vmx
    # and one that is damaged, of which the list of snapshots alone is left
    esxi 2 damaged --listed 1
    truncate -s 0 damaged/vm.vmx
    truncate -s 4096 damaged/vm.vmx
    start_daemon
    scan
    same "" "$(findings)"
    ctl status --json=short | jq -e '.images == 8'
    # but where there is none the disk is nobody's
    rm damaged/vm.vmx
    wait_for 20 has_finding "orphan warning damaged/vm.vmdk"
}

@test "what an ESXi host has locked is in use" {
    esxi 5 vm --listed 1 --locked
    esxi 5 stale --listed 1 --locked
    touch -d "1 hour ago" stale/*.lck stale/.lck*
    break_image_of() { printf '\0\0\0\7' | dd of="$1" bs=1 seek=$((5 * 512 + 16)) conv=notrunc status=none; }
    break_image_of vm/vm-000004-delta.vmdk
    break_image_of stale/vm-000004-delta.vmdk
    start_daemon
    scan
    [ "$(finding snapshot-unmanaged vm | jq -r .confidence)" = confirmed ]
    [ "$(finding metadata-corrupt vm | jq -r .confidence)" != offline ]
    [ "$(finding snapshot-unmanaged stale | jq -r .confidence)" = offline ]
    [ "$(finding metadata-corrupt stale | jq -r .confidence)" = offline ]
    ctl images -a --json=short "$STORE/vm/vm-000004-delta.vmdk" | jq -e '.[0].use == "writer"'
    ctl images -a --json=short "$STORE/stale/vm-000004-delta.vmdk" | jq -e '.[0].use != "writer"'
}

@test "a device of the host that is mapped as a disk is none to be alarmed about, whatever came along of it" {
    mapping() { # DESCRIPTOR TYPE FILE
        printf '# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID=fffffffe\nparentCID=ffffffff\n' >"$1"
        printf 'createType="%s"\nRW 2048 VMFSRDM "%s"\nddb.adapterType = "lsilogic"\n' "$2" "$3" >>"$1"
    }
    esxi 2 vm --listed 1
    mapping vm/virtual.vmdk vmfsRawDeviceMap virtual-rdm.vmdk
    mapping vm/physical.vmdk vmfsPassthroughRawDeviceMap physical-rdmp.vmdk
    truncate -s 1M vm/virtual-rdm.vmdk
    sed -i 's|^nvram.*|scsi0:1.fileName = "virtual.vmdk"\nscsi0:2.fileName = "physical.vmdk"|' vm/vm.vmx
    start_daemon
    scan
    # that they are not read is said once of the datastore
    same "not-auditable info store" "$(findings)"
}
