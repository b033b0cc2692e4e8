#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A full disk under the database: said once, retried, nothing lost that was stored before; auditing goes on.
load lib

setup() {
    need qemu-img qemu-io python3 sqlite3
    need_root
    qcaudit_setup
    mount -t tmpfs -o size=6m,mode=700 tmpfs "$STATE" || skip "cannot mount a tmpfs"
}
teardown() {
    local status=0
    qcaudit_teardown_daemon || status=$?
    umount "$STATE" 2>/dev/null || :
    qcaudit_teardown || status=$?
    return "$status"
}
qcaudit_teardown_daemon() { stop_daemon || :; }

@test "the disk fills up and gets room again" {
    make_image "$STORE/first.qcow2"
    break_image "$STORE/first.qcow2"
    start_daemon
    scan
    before=$(findings)
    dd if=/dev/zero of="$STATE/ballast" bs=4k 2>/dev/null || :
    for ((i = 0; i < 40; i++)); do
        cp "$STORE/first.qcow2" "$STORE/more-$i.qcow2"
    done
    more() { [ "$(findings | grep -c metadata-corrupt)" = 41 ]; }
    wait_for 60 more
    trouble() { grep -qiE 'no space|disk is full|database or disk' "$LOG"; }
    wait_for 30 trouble
    [ "$(grep -ciE 'no space|disk is full|database or disk' "$LOG")" -le 2 ]
    rm "$STATE/ballast"
    written() { [ "$(ctl status --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)["store-waiting"])')" = 0 ]; }
    wait_for 90 written
    stop_daemon
    [ "$(sqlite3 "$STATE/qcaudit.db" 'PRAGMA integrity_check')" = ok ]
    [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM finding')" = 41 ]
    start_daemon
    [ "$(findings | grep -c metadata-corrupt)" = 41 ]
}

@test "a limit of the size of files is told as any other error" {
    DAEMON_WRAPPER=(bash -c 'ulimit -f 1; exec "$@"' --)
    run -1 start_daemon
    [[ $output == *"qcauditd ended"* ]]
    DAEMON_WRAPPER=()
    grep -q "Cannot open the database .*File too large" "$LOG"
}

# waiting: how many results are not in the database yet.
waiting() { ctl status --json=short | jq '."store-waiting"'; }

@test "an acknowledgement that cannot be kept is refused with the reason, and kept when there is room" {
    need jq
    make_image "$STORE/first.qcow2"
    break_image "$STORE/first.qcow2"
    start_daemon
    scan
    dd if=/dev/zero of="$STATE/ballast" bs=4k 2>/dev/null || :
    run ctl ack "$(ctl findings --name=metadata-corrupt --json=short | jq ".[0].id")" --reason="known to the test"
    echo "$output"
    [ "$status" != 0 ]
    [[ $output == *"Cannot write the database: No space left on device"* ]]
    rm "$STATE/ballast"
    written() { [ "$(waiting)" = 0 ]; }
    wait_for 90 written
    kill_daemon
    start_daemon
    same "acknowledged known to the test" \
        "$(ctl findings --name=metadata-corrupt --json=short | jq -r '.[0] | "\(.state) \(."acknowledged-reason")"')"
}

@test "a pause that cannot be kept says so, and holds after a kill when it was kept" {
    need jq
    make_image "$STORE/first.qcow2"
    start_daemon
    scan
    state() { ctl status --json=short | jq -r '.datastores[0].state'; }
    dd if=/dev/zero of="$STATE/ballast" bs=4k 2>/dev/null || :
    for verb in pause resume release; do
        run ctl "$verb" store
        echo "$output"
        [ "$status" != 0 ]
        [[ $output == *"Cannot write the database: No space left on device. It holds as long as qcauditd runs"* ]]
    done
    [ "$(state)" = paused ]
    rm "$STATE/ballast"
    written() { [ "$(waiting)" = 0 ]; }
    wait_for 90 written
    ctl resume store
    for verb in pause release; do
        ctl "$verb" store
        kill_daemon
        start_daemon
        [ "$(state)" = paused ]
        ctl resume store
        kill_daemon
        start_daemon
        [ "$(state)" != paused ]
    done
}
