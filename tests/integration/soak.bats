#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A minute of the soak: running domains under load, no false alarm, and what is really broken is found.
load lib

@test "writes, discards, snapshots, commits and resizes raise no alarm, and real damage does" {
    need qemu-img qemu-io python3 libvirtd virsh qemu-system-x86_64
    run "$top_srcdir/tests/integration/soak" "${QCAUDIT_SOAK_MINUTES:-1}" 3>&- 4>&-
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"false findings of corruption or leaks: 0"* ]]
    [[ $output == *"other false findings of warning and worse: 0"* ]]
    [[ $output == *"idle image: found, offline"* ]]
    [[ $output == *"leaf: found, confirmed"* ]]
}
