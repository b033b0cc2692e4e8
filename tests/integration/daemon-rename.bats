#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A file that is called otherwise is the same image; several names of one file are one image; another file at the
# same path is another image.
load lib

setup() { qcaudit_setup; }
teardown() { qcaudit_teardown; }

# acked FILE: a leak in it, found and acknowledged: its number in $ID.
acked() {
    ID=$(ctl findings --json=short --name clusters-leaked --path "$1" | jq '.[0].id')
    ctl ack "$ID" --reason "known since long" >/dev/null
}
state_of() { ctl findings -a --json=short --name clusters-leaked | jq -r --arg p "$1" '.[] | select(.path == $p) | "\(.id) \(.state)"'; }
events_of() { ctl history --json=short "$1" | jq -r '.events[] | select(.finding == "clusters-leaked") | .event' | sort | uniq -c | tr -s ' ' | tr '\n' ';'; }
made() {
    make_image "$1"
    leak_image "$1" 3
}
kept() { # FILE: what was known of it is known by this name, and by no other
    same "$ID acknowledged" "$(state_of "$1")"
    same "1" "$(ctl findings -a --json=short --name clusters-leaked | jq length)"
    ! ctl history --json=short | jq -e '.events[] | select(.event == "resolved" or .event == "reopened")' || return 1
    same " 1 acknowledged; 1 opened;" "$(events_of "$1")"
}

@test "a rename keeps findings, acknowledgement and history: watched, walked, and while the daemon was stopped" {
    need qemu-img
    made "$STORE/a.qcow2"
    start_daemon
    scan
    acked "$STORE/a.qcow2"
    mv "$STORE/a.qcow2" "$STORE/b.qcow2"
    wait_for 100 ctl show "$STORE/b.qcow2"
    scan
    kept "$STORE/b.qcow2"
    # of a folder, and of one above
    mkdir -p "$STORE/one/two"
    mv "$STORE/b.qcow2" "$STORE/one/two/"
    scan
    kept "$STORE/one/two/b.qcow2"
    mv "$STORE/one" "$STORE/three"
    scan
    kept "$STORE/three/two/b.qcow2"
    ctl show "$STORE/three/two/b.qcow2" | grep -q 'known since long' || ctl findings -a | grep -q acknowledged
    stop_daemon
    mv "$STORE/three/two/b.qcow2" "$STORE/c.qcow2"
    start_daemon
    scan
    kept "$STORE/c.qcow2"
    # and back to a name that it had
    mv "$STORE/c.qcow2" "$STORE/a.qcow2"
    scan
    kept "$STORE/a.qcow2"
    stop_daemon
    start_daemon
    scan
    kept "$STORE/a.qcow2"
    ! grep -E 'Cannot|refuses' "$LOG" || return 1
}

@test "another file in its place inherits nothing; a file that replaces another is no rename of that" {
    need qemu-img
    made "$STORE/old.qcow2"
    made "$STORE/new.qcow2"
    make_image "$STORE/good.qcow2"
    start_daemon
    scan
    acked "$STORE/old.qcow2"
    local old=$ID
    # mv new old: what was known of new is known by the name of old, and nothing of old's.
    mv "$STORE/new.qcow2" "$STORE/old.qcow2"
    scan
    same "open" "$(state_of "$STORE/old.qcow2" | cut -d' ' -f2)"
    [ "$(state_of "$STORE/old.qcow2" | cut -d' ' -f1)" != "$old" ]
    same "" "$(ctl findings --json=short --path "$STORE/new.qcow2" | jq -r '.[].name')"
    # A file from elsewhere with the same trouble: what was acknowledged was of the other file.
    acked "$STORE/old.qcow2"
    made "$BATS_TEST_TMPDIR/fresh.qcow2"
    cp "$BATS_TEST_TMPDIR/fresh.qcow2" "$STORE/.tmp"
    mv "$STORE/.tmp" "$STORE/old.qcow2"
    scan
    same "open" "$(state_of "$STORE/old.qcow2" | cut -d' ' -f2)"
    # A sound one: resolved.
    mv "$STORE/good.qcow2" "$STORE/old.qcow2"
    scan
    ! has_finding clusters-leaked || return 1
}

@test "files that changed places, and names that rotated, while the daemon was stopped" {
    need qemu-img
    made "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    make_image "$STORE/c.qcow2"
    start_daemon
    scan
    acked "$STORE/a.qcow2"
    stop_daemon
    mv "$STORE/a.qcow2" "$STORE/.t" && mv "$STORE/b.qcow2" "$STORE/a.qcow2" && mv "$STORE/.t" "$STORE/b.qcow2"
    start_daemon
    scan
    kept "$STORE/b.qcow2"
    same "3" "$(ctl images --json=short | jq length)"
    stop_daemon
    mv "$STORE/c.qcow2" "$STORE/d.qcow2" && mv "$STORE/b.qcow2" "$STORE/c.qcow2" && mv "$STORE/a.qcow2" "$STORE/b.qcow2"
    make_image "$STORE/a.qcow2"
    start_daemon
    scan
    kept "$STORE/c.qcow2"
    same "4" "$(ctl images --json=short | jq length)"
    ctl images --json=short | jq -r '.[].path' >"$BATS_TEST_TMPDIR/paths"
    for name in a b c d; do grep -qx "$STORE/$name.qcow2" "$BATS_TEST_TMPDIR/paths"; done
}

@test "several names of one file are one image, whichever of them goes" {
    need qemu-img
    made "$STORE/a.qcow2"
    ln "$STORE/a.qcow2" "$STORE/b.qcow2"
    mkdir "$STORE/copies"
    start_daemon
    scan
    same "1" "$(ctl images --json=short | jq length)"
    same "1" "$(ctl findings --json=short --name clusters-leaked | jq length)"
    first=$(ctl images --json=short | jq -r '.[0].path')
    other=$([ "$first" = "$STORE/a.qcow2" ] && echo "$STORE/b.qcow2" || echo "$STORE/a.qcow2")
    same "$other" "$(ctl show "$first" --json=short | jq -r '.names[]')"
    # By any of its names it is found.
    same "$first" "$(ctl show "$other" --json=short | jq -r .path)"
    ctl show "$first" | grep -q 'Also called'
    acked "$first"
    ln "$STORE/a.qcow2" "$STORE/copies/a.qcow2"
    scan
    same "2" "$(ctl show "$first" --json=short | jq '.names | length')"
    rm "$first"
    scan
    same "1" "$(ctl images --json=short | jq length)"
    kept "$(ctl images --json=short | jq -r '.[0].path')"
    rm "$other"
    scan
    kept "$STORE/copies/a.qcow2"
    rm "$STORE/copies/a.qcow2"
    scan
    same "0" "$(ctl images --json=short | jq length)"
    ! has_finding clusters-leaked || return 1
}

@test "a move to another datastore of the same file system keeps what was known" {
    need qemu-img
    mkdir "$DIR/cold"
    chmod 755 "$DIR/cold"
    sed -i "s,^  - path: .*,&\n  - path: $DIR/cold," "$CONFIG"
    made "$STORE/a.qcow2"
    start_daemon
    scan
    acked "$STORE/a.qcow2"
    mv "$STORE/a.qcow2" "$DIR/cold/b.qcow2"
    wait_for 100 ctl show "$DIR/cold/b.qcow2"
    scan
    kept "$DIR/cold/b.qcow2"
    same "1" "$(ctl images --json=short | jq length)"
    # and back, while the daemon was stopped
    stop_daemon
    mv "$DIR/cold/b.qcow2" "$STORE/a.qcow2"
    start_daemon
    scan
    kept "$STORE/a.qcow2"
}

# exchange A B: in one step, as renameat2() and `mv --exchange` of newer systems do.
exchange() { python3 -c 'import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2) != 0)' "$1" "$2"; }

@test "two files that are exchanged in one step keep what is known of each" {
    need qemu-img python3
    made "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    mkdir "$STORE/deep"
    make_image "$STORE/deep/c.qcow2"
    start_daemon
    scan
    acked "$STORE/a.qcow2"
    exchange "$STORE/a.qcow2" "$STORE/b.qcow2" || skip "the file system cannot exchange two names"
    fence
    kept "$STORE/b.qcow2"
    exchange "$STORE/b.qcow2" "$STORE/deep/c.qcow2"
    exchange "$STORE/a.qcow2" "$STORE/b.qcow2"
    fence
    kept "$STORE/deep/c.qcow2"
    ! grep -F '(moved)' "$LOG" || return 1
    scan
    kept "$STORE/deep/c.qcow2"
    same "3" "$(ctl images --json=short | jq length)"
    # its place is taken at once
    mv "$STORE/deep/c.qcow2" "$STORE/d.qcow2" && cp "$STORE/a.qcow2" "$STORE/deep/c.qcow2"
    fence
    kept "$STORE/d.qcow2"
    scan
    kept "$STORE/d.qcow2"
    same "4" "$(ctl images --json=short | jq length)"
    ! grep -E 'Cannot|refuses' "$LOG" || return 1
}

@test "four files that change places, by renames and by exchanges that are over before the first of them is looked at" {
    need qemu-img python3
    start_daemon
    # four in a row, in steps that are over before the first of them is looked at
    for name in e f g h; do made "$STORE/$name.qcow2"; done
    scan
    for name in e f g h; do ctl ack "$(ctl findings --json=short --name clusters-leaked --path "$STORE/$name.qcow2" | jq '.[0].id')" \
        --reason "known since long" >/dev/null; done
    local before after
    before=$(ctl findings -a --json=short --name clusters-leaked | jq -c '[.[] | [.id, .state]] | sort')
    python3 -c 'import os, sys
os.chdir(sys.argv[1])
for a, b in ("et", "fe", "gf", "hg", "th"): os.rename(a + ".qcow2", b + ".qcow2")' "$STORE"
    fence
    after=$(ctl findings -a --json=short --name clusters-leaked | jq -c '[.[] | [.id, .state]] | sort')
    same "$before" "$after"
    for pair in "e f" "f g" "g h"; do exchange "$STORE/${pair% *}.qcow2" "$STORE/${pair#* }.qcow2"; done
    fence
    scan
    after=$(ctl findings -a --json=short --name clusters-leaked | jq -c '[.[] | [.id, .state]] | sort')
    same "$before" "$after"
    # folders in a row, and what was in them
    for name in e f g; do mkdir "$STORE/in-$name" && mv "$STORE/$name.qcow2" "$STORE/in-$name/x.qcow2"; done
    fence
    scan
    python3 -c 'import os, sys
os.chdir(sys.argv[1])
for a, b in ("et", "fe", "gf", "tg"): os.rename("in-" + a, "in-" + b)' "$STORE"
    fence
    scan
    after=$(ctl findings -a --json=short --name clusters-leaked | jq -c '[.[] | [.id, .state]] | sort')
    same "$before" "$after"
    same "4" "$(ctl images --json=short | jq length)"
    ! grep -E 'Cannot|refuses|gone after' "$LOG" || return 1
}

@test "another file with damage of its own does not inherit what was acknowledged of the first" {
    need qemu-img python3
    bad() { # PATH ENTRY
        make_image "$1"
        printf '\x80\x00\x70\x00\x00\x00\x00\x00' | dd of="$1" bs=1 seek=$((0x40000 + 8 * $2)) conv=notrunc status=none
    }
    bad "$STORE/a.qcow2" 1
    bad "$STORE/b.qcow2" 1
    bad "$BATS_TEST_TMPDIR/n.qcow2" 2
    start_daemon
    scan
    for name in a b; do ctl ack "$(ctl findings --json=short --name metadata-corrupt --path "$STORE/$name.qcow2" | jq '.[0].id')" --reason mine >/dev/null; done
    cp "$BATS_TEST_TMPDIR/n.qcow2" "$BATS_TEST_TMPDIR/m.qcow2"
    mv "$BATS_TEST_TMPDIR/m.qcow2" "$STORE/a.qcow2"
    rm "$STORE/b.qcow2" && cp "$BATS_TEST_TMPDIR/n.qcow2" "$STORE/b.qcow2"
    fence
    scan
    fence
    scan
    ctl findings -a --json=short --name metadata-corrupt | jq -c '.[] | [.path, .state]'
    same "0" "$(ctl findings -a --json=short --name metadata-corrupt | jq '[.[] | select(.state == "acknowledged")] | length')"
}

@test "a file that came back for a moment and is gone again is gone" {
    make_image "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    start_daemon
    scan
    for delay in 0 0.1 0.3; do
        cp "$STORE/a.qcow2" "$DIR/kept"
        rm "$STORE/b.qcow2"
        cp "$DIR/kept" "$STORE/b.qcow2"
        sleep $delay        # the moment: the subject
        rm "$STORE/b.qcow2"
        fence
        same "$STORE/a.qcow2" "$(ctl images --json=short | jq -r '.[].path')"
        cp "$DIR/kept" "$STORE/b.qcow2"
        wait_for 20 eval '[[ $(ctl images --json=short) == *b.qcow2* ]]'
    done
}
