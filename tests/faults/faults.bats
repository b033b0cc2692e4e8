#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Calls that fail, a few of each kind in each process; all of them: tests/run faults.
bats_require_minimum_version 1.5.0

loop() {
    local command
    for command in qemu-img qemu-io python3; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
    FAULTS=$top_builddir/tests/faults/.libs/fault.so timeout 900 "$top_srcdir/tests/faults/fault-loop" --jobs 4 "$@"
}

@test "the n-th call fails, in the daemon and its helpers: nothing is lost, and it is said" {
    loop --phase first,migrate-1,ack --points 1
}

@test "what cannot be written of a reading is no bit rot; a question that cannot be handed on is answered" {
    loop --phase scrub --process qcauditd --kind write,send --points 14
}

@test "a parent that cannot be looked at is not missing; a table that cannot be read is no corruption" {
    loop --phase first --process qcaudit-files,qcaudit-worker --kind open,read --points 6
}
