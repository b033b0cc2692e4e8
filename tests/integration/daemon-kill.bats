#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# SIGKILL at any moment: a few rounds here, more by hand with kill-rounds.
load lib

@test "killed 8 times during passes over 60 images: nothing lost, nothing damaged" {
    need qemu-img qemu-io python3 sqlite3
    run -0 "$top_srcdir/tests/integration/kill-rounds" 8 60
    echo "$output"
}

@test "killed 6 times under a real systemd: the journal has every event exactly once" {
    need_root
    need systemd-nspawn qemu-img qemu-io python3 sqlite3
    local tree=$BATS_TEST_TMPDIR/tree
    mkdir "$BATS_TEST_TMPDIR/work"
    install_tree "$tree"
    tree_is_usual "$tree" || skip "configured for another prefix than /usr or /usr/local"
    run -0 "$top_srcdir/tests/integration/systemd-host" -t 240 -i "$tree" -b "$top_srcdir/tests:/srv/tests" \
        -b "$BATS_TEST_TMPDIR/work:/srv/work" -- env LOG_TARGET=journal TMPDIR=/srv/work top_srcdir=/srv \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /srv/tests/integration/kill-rounds 6 45
    echo "$output"
    [[ $output == *"0 of them twice, 0 of 45 missing"* ]]
}

@test "the launcher of qcaudit-files is killed: the daemon says so and ends with failure, to be started again" {
    local status=0
    need_root
    need qemu-img qemu-io pgrep
    qcaudit_setup
    make_image "$STORE/a.qcow2"
    start_daemon
    scan
    pkill -KILL -P "$DAEMON" -x qcaudit-launch
    wait "$DAEMON" || status=$?
    [ "$status" = 1 ]
    DAEMON=
    grep -q "launcher of qcaudit-files ended" "$LOG"
    start_daemon
    scan
    run -0 ctl status
    [[ $output == *online* ]]
    qcaudit_teardown
}

@test "an acknowledgement is answered when it is kept, not before: killed at once, it holds" {
    need qemu-img qemu-io python3 jq
    qcaudit_setup
    make_image "$STORE/a.qcow2"
    break_image "$STORE/a.qcow2"
    start_daemon
    scan
    id=$(ctl findings --name=metadata-corrupt --json=short | jq '.[0].id')
    state() { ctl findings --name=metadata-corrupt --json=short | jq -r '.[0].state'; }
    # Somebody else writes the database: nothing can be kept meanwhile.
    python3 -c '
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
open(sys.argv[2], "w")
time.sleep(600)' "$STATE/qcaudit.db" "$DIR/locked" 3>&- 4>&- &
    holder=$!
    locked() { [ -e "$DIR/locked" ]; }
    wait_for 60 locked
    ctl ack "$id" --reason=first >"$DIR/answer" 2>&1 3>&- 4>&- &
    asker=$!
    seen() { [ "$(state)" = acknowledged ]; }
    wait_for 60 seen
    kill_daemon
    kill "$holder"
    run wait "$asker"
    cat "$DIR/answer"
    [ "$status" != 0 ]
    # Answered, it holds.
    start_daemon
    [ "$(state)" = open ]
    ctl ack "$id" --reason=second
    kill_daemon
    start_daemon
    [ "$(state)" = acknowledged ]
    qcaudit_teardown
}
