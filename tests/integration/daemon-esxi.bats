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
