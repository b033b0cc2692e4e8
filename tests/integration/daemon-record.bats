#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A record that shows tampering: sqlite3 is the attacker, verify-log finds him; retention, renames and kills are none.
bats_require_minimum_version 1.5.0
load lib

setup() {
    need qemu-img qemu-io jq python3 sqlite3
    qcaudit_setup
    export LC_ALL=C.UTF-8 TZ=UTC
    JOURNAL=
    cd "$DIR" || return 1
}
teardown() {
    stop_daemon || :
    [ -z "$JOURNAL" ] || kill "$JOURNAL" 2>/dev/null || :
    qcaudit_teardown
}

attack() { sqlite3 "$STATE/qcaudit.db" ".timeout 5000" "$1"; }
offline() { timeout 60 qcauditctl --offline --state-directory "$STATE" --no-pager "$@" </dev/null; }

flat() { output=$(tr -s '[:space:]' ' ' <<<"$output"); }   # long lines are wrapped

# some events: four images with leaks, one of them damaged
fill() {
    local name
    for name in a b c d; do
        make_image "$STORE/$name.qcow2"
        leak_image "$STORE/$name.qcow2"
    done
    scan
    break_image "$STORE/d.qcow2"
    scan
}

@test "a record that nobody touched is sound: over renames, kills and restarts" {
    start_daemon
    fill
    run -0 ctl verify-log
    [[ $output == "The record is sound in itself."*"$STATE/qcaudit.db"*" checked, the last is number "* ]]
    mv "$STORE/a.qcow2" "$STORE/renamed.qcow2"
    scan
    run -0 ctl verify-log --json=short
    [ "$(jq -c '[.sound, ."problems-total", .unchained]' <<<"$output")" = '[true,0,0]' ]
    kill_daemon
    run -0 offline verify-log
    start_daemon
    rm "$STORE/b.qcow2"
    scan
    ctl verify-log
    stop_daemon
    run -0 offline verify-log --json=short
    [ "$(jq .events <<<"$output")" = "$(attack 'SELECT count(*) FROM event')" ]
    [ "$(attack "SELECT count(*) FROM event WHERE type = 'renamed'")" = 1 ]
}

@test "what somebody changes in the database is named" {
    start_daemon
    fill
    stop_daemon
    cp "$STATE/qcaudit.db" good.db
    last=$(attack 'SELECT max(seq) FROM event')
    [ "$last" -ge 5 ]
    attack "UPDATE event SET severity = 'info' WHERE seq = 2"
    run -1 offline verify-log
    flat
    [[ $output == "The record was tampered with"*"event 2 of "*"(opened clusters-leaked, $STORE/"*"was changed: what it says does"* ]]
    cp good.db "$STATE/qcaudit.db"
    attack "DELETE FROM event WHERE seq IN (3, 4)"
    run -1 offline verify-log
    flat
    [[ $output == *"events 3 to 4: missing, and not removed by retention"* ]]
    # a running daemon says the same, and what it adds hides nothing
    start_daemon
    mv "$STORE/a.qcow2" "$STORE/renamed.qcow2"
    rm "$STORE/b.qcow2"
    scan
    run -1 ctl verify-log
    flat
    [[ $output == *"events 3 to 4: missing, and not removed by retention"* ]]
    run -1 ctl verify-log --json=short
    [ "$(jq -c '[.sound, (.problems[0] | [.kind, .seq, .last])]' <<<"$output")" = '[false,["missing",3,4]]' ]
    stop_daemon
    cp good.db "$STATE/qcaudit.db"
    attack "DELETE FROM event WHERE seq = $last"
    run -1 offline verify-log
    flat
    [[ $output == *"event $last: missing, and not removed by retention"* ]]
    cp good.db "$STATE/qcaudit.db"
    attack "UPDATE event SET subject = CAST('$STORE/other.qcow2' AS BLOB) WHERE seq = 1"
    run -1 offline verify-log
    flat
    [[ $output == *"its subject was changed; it was written of $STORE/"* ]]
    # what cannot be checked is neither
    rm -f "$STATE"/qcaudit.db*
    run -10 offline verify-log
}

@test "events that retention deletes are no gap" {
    write_config "history:" "  retention: 1d"
    start_daemon
    fill
    stop_daemon
    # ten days ago, by somebody who computes the chain; then the daemon sweeps
    python3 -B - "$STATE/qcaudit.db" <<'PYTHON'
import hashlib, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.text_factory = bytes
columns = "seq, id, type, at, finding, finding_id, subject_kind, origin, datastore, severity, confidence, message, depth, muted_by, renamed"
blobs = (7, 14)
database.execute("UPDATE event SET at = at - 864000000000, outbox = 0")
database.execute("UPDATE state SET swept = 0")
previous = bytes(32)
for row in database.execute(f"SELECT {columns} FROM event ORDER BY seq").fetchall():
    text = b""
    for i, value in enumerate(row):
        if value is None: text += b"n"
        elif isinstance(value, int): text += b"i" + value.to_bytes(8, "big", signed=True)
        else: text += (b"b" if i in blobs else b"t") + len(value).to_bytes(8, "big") + value
    previous = hashlib.sha256(previous + text).digest()
    database.execute("UPDATE event SET digest = ? WHERE seq = ?", (previous, row[0]))
database.commit()
PYTHON
    run -0 offline verify-log
    last=$(attack 'SELECT max(seq) FROM event')
    start_daemon
    rm "$STORE/a.qcow2"
    scan
    swept() { [ "$(attack "SELECT count(*) FROM event WHERE seq <= $last")" = 0 ]; }
    wait_for 90 swept
    run -0 ctl verify-log
    [[ $output == *"Removed: $last by retention, in 1 range; the newest of them of "* ]]
    attack "UPDATE event_removed SET digest = zeroblob(32)"
    run -1 ctl verify-log
}

# A journal of the test's own: daemon and command see it as the system's.
journal_begin() {
    need_root
    need unshare nsenter journalctl
    [ -x /lib/systemd/systemd-journald ] || skip "systemd-journald is not installed"
    unshare -m bash -c 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal "/run/log/journal/$(cat /etc/machine-id)" &&
        exec /lib/systemd/systemd-journald' >journald.log 2>&1 3>&- 4>&- </dev/null &
    JOURNAL=$!
    listens() { [ -S "/proc/$JOURNAL/root/run/systemd/journal/socket" ]; }
    wait_for 10 listens || skip "no journal of one's own: $(tail -n 1 journald.log)"
    DAEMON_WRAPPER=(nsenter -t "$JOURNAL" -m)
}
verify_log() {
    timeout 60 nsenter -t "$JOURNAL" -m qcauditctl --socket "$RUN/control" --no-pager verify-log "$@" </dev/null
}
entries() { nsenter -t "$JOURNAL" -m journalctl --no-pager -q -o json MESSAGE_ID=ac991f50e4834af1b56c45a5eb50f2ff | jq -s length; }
has_entries() { [ "$(entries)" -ge "$1" ]; }

@test "with the journal: the end cut off, all of it deleted, or another database" {
    journal_begin
    start_daemon --log-target journal
    fill
    stop_daemon
    wait_for 10 has_entries 1
    [ "$(entries)" -le 2 ]      # at the start, and at the end
    sed -n '/record ends/p' <(nsenter -t "$JOURNAL" -m journalctl --no-pager -q -o cat)
    start_daemon --log-target journal
    run -0 verify_log
    flat
    [[ $output == "The record is sound."*"Journal: "*" compared"* ]]
    stop_daemon
    cp "$STATE/qcaudit.db" good.db
    last=$(attack 'SELECT max(seq) FROM event')

    # all events, and every trace of their numbers
    attack "DELETE FROM event; DELETE FROM sqlite_sequence WHERE name = 'event'"
    run -0 offline verify-log
    start_daemon --log-target journal
    run -1 verify_log
    flat
    [[ $output == *"event $last: was the last one by an entry of the journal, and is not in"* ]]
    stop_daemon
    # the last one
    rm -f "$STATE"/qcaudit.db*
    cp good.db "$STATE/qcaudit.db"
    attack "DELETE FROM event WHERE seq = $last; UPDATE sqlite_sequence SET seq = $((last - 1)) WHERE name = 'event'"
    run -1 timeout 60 nsenter -t "$JOURNAL" -m qcauditctl --offline --state-directory "$STATE" --no-pager verify-log
    flat
    [[ $output == *"event $last: was the last one"* ]]
    # from outside, the journal's files are named
    run -1 offline verify-log --journal "/proc/$JOURNAL/root/run/log/journal"
    # whoever may write to the journal is not believed
    cp good.db "$STATE/qcaudit.db"
    run -0 offline verify-log --journal "/proc/$JOURNAL/root/run/log/journal"
    nsenter -t "$JOURNAL" -m python3 -B -c '
import os, socket, sys
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
fields = "MESSAGE=x\nMESSAGE_ID=ac991f50e4834af1b56c45a5eb50f2ff\nQCAUDIT_LOG_DATABASE=%s\nQCAUDIT_LOG_RECORD=%s\nQCAUDIT_LOG_SEQ=99\nQCAUDIT_LOG_DIGEST=%s\n"
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto((fields % (sys.argv[1], sys.argv[2], "0" * 64)).encode(), "/run/systemd/journal/socket")' \
        "$STATE/qcaudit.db" "$(attack 'SELECT record FROM state')"
    forged() { nsenter -t "$JOURNAL" -m journalctl -q -D /run/log/journal QCAUDIT_LOG_SEQ=99 | grep -q x; }
    wait_for 20 forged
    run -0 offline verify-log --journal "/proc/$JOURNAL/root/run/log/journal"
    # another database in its place
    rm -f "$STATE"/qcaudit.db*
    start_daemon --log-target journal
    scan
    run -1 verify_log
    flat
    [[ $output == *"about another record of this database"*"the database was replaced"* ]]
    next_second
    run -0 verify_log --since "$(date -u '+%Y-%m-%d %H:%M:%S')"
}
