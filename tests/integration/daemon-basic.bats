#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The daemon on a real store: what it finds, what it does not, and what it still knows after a restart.
load lib

setup() { need qemu-img qemu-io python3; qcaudit_setup; WRITERS=(); }
teardown() {
    qcaudit_teardown || return
    [ ${#WRITERS[@]} = 0 ] || kill "${WRITERS[@]}" 2>/dev/null || :
}

@test "the demonstration store: these findings and no others" {
    rmdir "$STORE"
    "$IMAGES/make-demo-store" "$STORE"
    start_daemon
    scan
    same "chain-deep error database/orders.qcow2
chain-loop critical damaged/loop-a.qcow2
clusters-leaked warning damaged/leaked.qcow2
image-truncated critical damaged/truncated.qcow2
internal-snapshots warning strange/internal-snapshots.qcow2
metadata-corrupt critical damaged/bad-pointer.qcow2
parent-missing critical damaged/parent-gone.qcow2
reference-escapes critical strange/uploaded.qcow2
snapshot-old warning database/orders.qcow2
snapshot-runaway error database/orders.qcow2" "$(findings)"
    # The golden image and its clones are as they should be, and the notes are no images.
    run findings
    [[ $output != *golden/* && $output != *clones/* && $output != *notes/* ]]
    stop_daemon
}

@test "the evidence of a deep chain: its depth, its own layer, a remedy that names both" {
    rmdir "$STORE"
    "$IMAGES/make-demo-store" "$STORE"
    start_daemon
    scan
    # The finding is of the whole disk: it has the own layer as subject, and is shown with any of its layers.
    for name in orders orders.snap-20 orders.snap-40; do
        run -0 ctl show "$STORE/database/$name.qcow2"
        [[ $output == *chain-deep* && $output == *41* && $output == *"qemu-img commit"* && $output == *orders.qcow2* ]]
        [[ $output == *"has 40 unconsolidated layers above it, up to orders.snap-40.qcow2 (limit: 25)"* ]]
        run -0 ctl chain "$STORE/database/$name.qcow2"
        [[ $output == *"The disk of "*"orders.qcow2: "*chain-deep* ]]
        run -0 ctl --no-legend findings --name chain-deep --path "$STORE/database/$name.qcow2"
        [[ $output == *orders.qcow2* ]]
    done
    [ "$(ctl status --json=short | jq -r '."depth-max-path"')" = "$STORE/database/orders.snap-40.qcow2" ]
    run -0 ctl chain --json=short "$STORE/database/orders.snap-40.qcow2"
    [ "$(python3 -c 'import json, sys; print(len(json.load(sys.stdin)))' <<<"$output")" = 41 ]
}

@test "a repaired image resolves its finding; one that breaks again is reopened" {
    make_image "$STORE/a.qcow2"
    cp "$STORE/a.qcow2" "$DIR/good"
    break_image "$STORE/a.qcow2"
    start_daemon
    scan
    same "metadata-corrupt critical a.qcow2" "$(findings)"
    cp "$STORE/a.qcow2" "$DIR/bad"
    cat "$DIR/good" >"$STORE/a.qcow2"
    wait_for 20 has_no_finding metadata-corrupt
    cat "$DIR/bad" >"$STORE/a.qcow2"
    wait_for 20 has_finding "metadata-corrupt critical a.qcow2"
    stop_daemon
    same "opened
resolved
reopened" "$(sqlite3 "$STATE/qcaudit.db" "SELECT type FROM event ORDER BY seq")"
}

@test "a restart keeps findings, history and identities, and tells nothing twice" {
    make_image "$STORE/a.qcow2"
    break_image "$STORE/a.qcow2"
    start_daemon
    scan
    before=$(ctl findings --json=short | python3 -c 'import json, sys
for row in json.load(sys.stdin): print(row["id"], row["name"], row["first-seen"])')
    stop_daemon
    : >"$LOG"
    start_daemon
    scan
    after=$(ctl findings --json=short | python3 -c 'import json, sys
for row in json.load(sys.stdin): print(row["id"], row["name"], row["first-seen"])')
    [ -n "$before" ]
    same "$before" "$after"
    stop_daemon
    run -1 grep metadata-corrupt "$LOG"
    [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM event')" = 1 ]
}

@test "unchanged images are not read again" {
    need sqlite3
    make_image "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    start_daemon
    scan
    stop_daemon
    [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM audit')" = 2 ]
    start_daemon
    scan
    stop_daemon
    [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM audit')" = 2 ]
}

@test "an image that QEMU has open for writing: refcounts and leaks say nothing until it is closed" {
    make_image "$STORE/a.qcow2"
    break_refcount "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    leak_image "$STORE/b.qcow2" 300
    mkfifo "$DIR/commands"
    sleep 60 >"$DIR/commands" 3>&- 4>&- &
    holder=$!
    for name in a b; do
        qemu-io -f qcow2 "$STORE/$name.qcow2" <"$DIR/commands" >/dev/null 2>&1 3>&- 4>&- &
        writers+=($!)
    done
    wait_for 20 is_locked "$STORE/a.qcow2" "$STORE/b.qcow2"
    start_daemon
    scan
    same "" "$(findings)"
    run -0 ctl show "$STORE/a.qcow2"
    kill "${writers[@]}" "$holder"
    wait "${writers[@]}" || :
    scan
    scan "$STORE/a.qcow2" "$STORE/b.qcow2"
    has_finding "metadata-corrupt critical a.qcow2"
    has_finding "leak-burst critical b.qcow2"
}

@test "with nothing left to do it does nothing, whatever there is to complain about" {
    rmdir "$STORE"
    "$IMAGES/make-demo-store" "$STORE"
    start_daemon
    scan
    fence_judged        # the last looks at references
    switches() {
        local pid
        for pid in "$DAEMON" $(pgrep -P "$DAEMON"); do
            awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$pid/status"
        done | awk '{ n += $1 } END { print n }'
    }
    before=$(switches)
    sleep 2     # of which nothing is done: the subject
    after=$(switches)
    [ $((after - before)) -lt 100 ]
}

@test "a compressed cluster that went bad is found when it is asked for, and when the interval is over" {
    make_image "$DIR/plain"
    qemu-img convert -q -c -f qcow2 -O qcow2 "$DIR/plain" "$STORE/a.qcow2"
    start_daemon
    scan
    # as a disk does it: nothing but the bytes changes
    python3 -B -c '
import os, sys; sys.path.insert(0, sys.argv[1])
from imagekit import Qcow2
before = os.stat(sys.argv[2])
with Qcow2(sys.argv[2]) as image:
    place = image.l2(1) & ((1 << (62 - (image.cluster_bits - 8))) - 1)
    image.put_bytes(place, b"\xff" * 8)
os.utime(sys.argv[2], ns=(before.st_atime_ns, before.st_mtime_ns))' "$IMAGES" "$STORE/a.qcow2"
    scan
    scan "$STORE/a.qcow2"
    same "compressed-cluster-bad critical a.qcow2" "$(findings --name compressed-cluster-bad)"
    stop_daemon

    # the same, unchanged since an audit long ago
    rm -rf "$STATE"
    mkdir -m 700 "$STATE"
    start_daemon
    scan
    same "" "$(findings --name compressed-cluster-bad)"
    stop_daemon
    sqlite3 "$STATE/qcaudit.db" "UPDATE audit SET started = started - 8 * 86400000000, finished = finished - 8 * 86400000000"
    start_daemon
    wait_for 30 has_finding "compressed-cluster-bad critical a.qcow2"
    stop_daemon
}

# in_use PATH: a writer that waits until the test ends.
in_use() {
    [ -p "$DIR/commands" ] || mkfifo "$DIR/commands"
    # Open for reading and writing, it never ends.
    qemu-io -f qcow2 "$1" <>"$DIR/commands" >/dev/null 2>&1 3>&- 4>&- &
    WRITERS+=($!)
    wait_for 20 is_locked "$1"
}

# No walk and no interval helps here: the second look comes of the first one.
@test "a pointer that goes bad while a guest writes is confirmed by a second look" {
    make_image "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    in_use "$STORE/a.qcow2"
    in_use "$STORE/b.qcow2"
    write_config
    start_daemon
    scan
    same "" "$(findings)"
    for name in a b; do
        python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1])
from imagekit import COPIED, Qcow2
with Qcow2(sys.argv[2]) as image:
    image.put_l2(9, COPIED | (0x7000_0000_0000 if sys.argv[3] == "a" else image.get(40, 8)))' \
            "$IMAGES" "$STORE/$name.qcow2" $name
    done
    wait_for 30 has_finding "metadata-corrupt critical a.qcow2"
    # guest data on the L1 table
    wait_for 30 has_finding "metadata-corrupt critical b.qcow2"
    wait_for 10 has_no_finding metadata-suspect
    # What stays so is not looked at for ever: all looks wait as long, and those at an image that is written later come last.
    looks() { # PATH...
        local paths
        printf -v paths ",'%s'" "$@"
        sqlite3 "$STATE/qcaudit.db" "SELECT count(*) FROM audit JOIN image ON image.id = image WHERE CAST(path AS TEXT) IN (${paths#,})"
    }
    looked_twice() { [ "$(looks "$1")" -ge 2 ]; }
    for name in c d; do
        make_image "$DIR/$name.qcow2"
        mv "$DIR/$name.qcow2" "$STORE"
        in_use "$STORE/$name.qcow2"
        wait_for 30 looked_twice "$STORE/$name.qcow2"
        [ $name = d ] || before=$(looks "$STORE/a.qcow2" "$STORE/b.qcow2")
    done
    same "$before" "$(looks "$STORE/a.qcow2" "$STORE/b.qcow2")"
}
