#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Calls that fail, a few of each kind in each process; all of them: tests/run faults.
bats_require_minimum_version 1.5.0

loop() {
    local command
    for command in qemu-img qemu-io python3; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
    FAULTS=$top_builddir/tests/faults/.libs/fault.so run -0 timeout 900 "$top_srcdir/tests/faults/fault-loop" "$@"
    echo "$output"
}

@test "the n-th call fails, in the daemon and its helpers: nothing is lost, and it is said" {
    loop --points 1
}
