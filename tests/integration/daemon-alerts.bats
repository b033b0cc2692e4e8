#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is told, on the console: the first pass together, then each change; after a crash nothing is lost.
load lib

setup() { need qemu-img qemu-io python3; qcaudit_setup; }
teardown() { qcaudit_teardown; }

told() { grep -c -- "$1" "$LOG" || :; }     # how many lines of the log match

@test "the first pass is one summary, critical findings apart; later ones are told one by one" {
    for i in 1 2 3 4; do make_image "$STORE/open$i.qcow2"; chmod 666 "$STORE/open$i.qcow2"; done
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    start_daemon
    wait_for 20 grep -q 'First pass over the store' "$LOG"
    [ "$(told 'First pass over the store')" = 1 ]
    [ "$(told "metadata-corrupt: $STORE/bad.qcow2.*\[event [0-9a-f]\{32\}\]$")" = 1 ]
    [ "$(told 'permissions: ')" = 0 ]
    make_image "$STORE/new.qcow2"
    chmod 666 "$STORE/new.qcow2"
    wait_for 20 grep -q "permissions: $STORE/new.qcow2" "$LOG"
    chmod 644 "$STORE/new.qcow2"
    wait_for 20 grep -q "permissions: $STORE/new.qcow2.*resolved" "$LOG"
    stop_daemon
    # What was told is not told again by the next daemon.
    : >"$LOG"
    start_daemon
    wait_for 20 grep -q 'Pass complete' "$LOG"
    stop_daemon
    [ "$(told 'metadata-corrupt:')" = 0 ]
    [ "$(told 'First pass')" = 0 ]
}

@test "what is below the severity that is told is found, but not told" {
    make_image "$STORE/a.qcow2"
    chmod 666 "$STORE/a.qcow2"
    write_config 'alerts: { severity: error }'
    start_daemon
    wait_for 20 has_finding "permissions warning a.qcow2"
    stop_daemon
    [ "$(told 'permissions:')" = 0 ]
}
