#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# One state folder belongs to one daemon.
load lib

setup() { need python3; qcaudit_setup; }
teardown() { qcaudit_teardown; }

@test "a second daemon on the state folder says who holds it, and the first goes on" {
    start_daemon
    mkdir -m 700 "$DIR/run2"
    run timeout 20 qcauditd --config "$CONFIG" --state-directory "$STATE" --runtime-directory "$DIR/run2" --log-target console
    [ "$status" -ne 0 ] && [ "$status" -ne 124 ]
    [[ $output == *"$DAEMON"* ]]
    run -0 ctl status
    stop_daemon
}

@test "a crashed daemon's lock and socket are no obstacle" {
    start_daemon
    kill -KILL "$DAEMON"
    wait "$DAEMON" 2>/dev/null || :
    start_daemon
    scan
    stop_daemon
}
