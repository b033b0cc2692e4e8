#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Files that are not called as images are: looked at once, then no more than a hash of each is kept, until something
# calls one an image.
load lib

setup() { need qemu-img qemu-io python3 sqlite3; qcaudit_setup; make_image "$STORE/good.qcow2"; }
teardown() { qcaudit_teardown; }

paths() { ctl images --json=short | jq -r '.[].path' | sed "s,^$STORE/,,"; }
passed() { grep -c 'Pass complete' "$LOG" || :; }
# pass_done N: the N-th pass since the log was emptied is over.
pass_done() { [ "$(passed)" -ge "$1" ]; }
audited() { sed -n 's/.*Pass complete: \([0-9]*\) image.*/\1/p' "$LOG" | tail -n 1; }
# What the database knows: images that were ever stored; other files.
kept_images() { sqlite3 "file:$STATE/qcaudit.db?mode=ro" 'SELECT count(*) FROM image'; }
kept_others() { sqlite3 "file:$STATE/qcaudit.db?mode=ro" 'SELECT coalesce(sum(length(files)) / 24, 0) FROM other_files'; }
old() { touch -d '1 hour ago' "$@"; }

# texts N: so many files that are none, all older than a file system's clock is coarse.
texts() {
    python3 - "$STORE" "$1" <<'END'
import os, sys
for index in range(int(sys.argv[2])):
    path = f"{sys.argv[1]}/text-{index:05}"
    with open(path, "w") as file:
        file.write("x" * 512)
    os.utime(path, (1e9, 1e9))
END
}

@test "they are looked at once: not stored as images, and not looked at again, after a start neither" {
    texts 300
    ln "$STORE/text-00000" "$STORE/second-name"
    start_daemon
    wait_for 60 pass_done 1
    same 301 "$(audited)"
    same good.qcow2 "$(paths)"
    stop_daemon
    same 1 "$(kept_images)"
    same 300 "$(kept_others)"
    : >"$LOG"
    start_daemon
    wait_for 60 pass_done 1
    same 0 "$(audited)"
    # what changed is looked at again; what is gone is forgotten
    echo more >>"$STORE/text-00007"
    rm "$STORE"/text-0001?
    scan
    same good.qcow2 "$(paths)"
    stop_daemon
    same 1 "$(kept_images)"
    same 290 "$(kept_others)"
    # a daemon that is killed has looked in vain, that is all
    start_daemon
    scan
    echo more >>"$STORE/text-00008"
    scan
    kill_daemon
    start_daemon
    scan
    same good.qcow2 "$(paths)"
}

@test "more of them than wait at once are all looked at in one pass" {
    texts 9000
    cp "$STORE/good.qcow2" "$STORE/zz-without-a-name"   # an image, by its first bytes
    start_daemon
    wait_for 300 pass_done 1
    same 9002 "$(audited)"
    same "good.qcow2
zz-without-a-name" "$(paths)"
    stop_daemon
    same 2 "$(kept_images)"
    same 9000 "$(kept_others)"
}

@test "one that becomes an image is one: written, renamed, replaced" {
    texts 3
    start_daemon
    scan
    same good.qcow2 "$(paths)"
    cat "$STORE/good.qcow2" >"$STORE/text-00000"
    mv "$STORE/text-00001" "$STORE/text-00001.qcow2"
    cp "$STORE/good.qcow2" "$STORE/.new"
    mv "$STORE/.new" "$STORE/text-00002"
    scan
    same "good.qcow2
text-00000
text-00001.qcow2
text-00002" "$(paths | LC_ALL=C sort | grep -v new)"
}

@test "one that an overlay stands on is its parent, and one that keeps an image's data is that" {
    head -c 1M /dev/urandom >"$STORE/payload"
    qemu-img create -q -f qcow2 -o data_file="$STORE/pieces",data_file_raw=on "$DIR/external.qcow2" 1M
    old "$STORE/payload" "$STORE/pieces"
    start_daemon
    scan
    same good.qcow2 "$(paths)"
    stop_daemon
    same 2 "$(kept_others)"
    start_daemon
    scan
    qemu-img create -q -f qcow2 -b payload -F raw "$STORE/overlay.qcow2"
    wait_for 20 eval '[[ $(paths) == *payload* ]]'
    scan
    same "" "$(findings)"
    same 2 "$(ctl chain --json=short "$STORE/overlay.qcow2" | jq '[.. | objects | .path? // empty] | unique | length')"
    ctl show "$STORE/payload" | grep -q overlay.qcow2
    # no longer, and again
    rm "$STORE/overlay.qcow2"
    scan
    qemu-img create -q -f qcow2 -b payload -F raw "$STORE/second.qcow2"
    scan
    [[ $(paths) == *payload* ]]
    # the other one: as soon as it is cut off, its image has lost data
    mv "$DIR/external.qcow2" "$STORE"
    scan
    same "data-file warning external.qcow2" "$(findings)"
    truncate -s 1000 "$STORE/pieces"
    wait_for 20 has_finding "data-file critical external.qcow2"
}

@test "a raw disk without a name on which a guest writes an image's header is told, whenever it does" {
    for delay in 0 0.1 0.2 0.3 0.4 1; do
        head -c 4M /dev/urandom >"$STORE/disk-$delay"
        old "$STORE/disk-$delay"
    done
    start_daemon
    scan
    same good.qcow2 "$(paths)"
    for delay in 0 0.1 0.2 0.3 0.4 1; do
        sleep $delay        # when it does: the subject
        head -c 64K "$STORE/good.qcow2" | dd of="$STORE/disk-$delay" conv=notrunc status=none
    done
    for delay in 0 0.1 0.2 0.3 0.4 1; do wait_for 20 has_finding "raw-became-image critical disk-$delay"; done
}

@test "files that are none take no image's place, those least that are gone" {
    need jq
    write_config 'limits: {files: 1000}'
    start_daemon
    scan
    texts 1500
    rm "$STORE"/text-*
    texts 900
    for i in 1 2 3; do
        cp "$STORE/good.qcow2" "$STORE/bad$i.qcow2"
        break_image "$STORE/bad$i.qcow2"
    done
    for i in 1 2 3; do wait_for 20 has_finding "metadata-corrupt critical bad$i.qcow2"; done
}

@test "the journal does not tell of each that is called otherwise, as what editors and downloads write at once is" {
    need jq
    start_daemon
    scan
    # more than are looked at before they have their names
    for ((i = 0; i < 300; i++)); do echo x >"$STORE/text-$i.part"; done
    for ((i = 0; i < 300; i++)); do mv "$STORE/text-$i.part" "$STORE/text-$i"; done
    mv "$STORE/good.qcow2" "$STORE/better.qcow2"
    fence
    grep -q "good.qcow2 is called .*better.qcow2 now" "$LOG"
    same 1 "$(grep -c ' is called .* now' "$LOG")"
    same better.qcow2 "$(paths)"
}

@test "what the database has of them may be damaged" {
    texts 10
    start_daemon
    scan
    stop_daemon
    sqlite3 "$STATE/qcaudit.db" "UPDATE other_files SET files = x'010203'"
    start_daemon
    scan
    same good.qcow2 "$(paths)"
    grep -q "The database's list of files that are no images is damaged (datastore store)" "$LOG"
    stop_daemon
    same 10 "$(kept_others)"
    sqlite3 "$STATE/qcaudit.db" "UPDATE other_files SET files = randomblob(24000)"
    start_daemon
    scan
    same good.qcow2 "$(paths)"
}
