#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every command that a remedy prints is run as it stands, against real images; the finding then resolves.
load lib

setup() {
    need qemu-img qemu-io python3
    qcaudit_setup
    # Evidence is kept there; qcauditctl asks this test's daemon, as it would ask the host's.
    export HOME=$DIR/home QCAUDIT_SOCKET=$RUN/control
    mkdir "$HOME"
}
teardown() { qcaudit_teardown; }

# commands NAME PATH: the commands of that finding's remedy, one per line.
commands() {
    ctl findings --name "$1" --json=short | python3 -c '
import json, sys
for finding in json.load(sys.stdin):
    if finding["path"] == sys.argv[1]:
        for step in finding.get("remedy") or []:
            if "command" in step: print(step["command"])' "$2"
}

# follow NAME PATH: runs them all, as an administrator would who pastes them.
follow() {
    run_commands "$@"
    # The copy that was kept is as bad as the image was.
    rm -f -- "$STORE"/*.before-repair
    scan
}

run_commands() {
    local lines
    lines=$(commands "$1" "$2")
    [ -n "$lines" ] || { echo "$1 of $2 has no command"; return 1; }
    echo "$lines"
    (cd / && bash -euc "$lines" 3>&- 4>&-)
}

content() { qemu-img convert -O raw "$1" "$DIR/content.raw" && sha256sum <"$DIR/content.raw"; }

# make_chain LAYERS: disk.qcow2 under disk.snap1.qcow2 ... in $STORE, each with a write of its own.
make_chain() {
    local parent=disk.qcow2 i
    make_image "$STORE/disk.qcow2"
    for ((i = 1; i <= $1; i++)); do
        qemu-img create -q -f qcow2 -b "$parent" -F qcow2 "$STORE/disk.snap$i.qcow2"
        qemu-io -f qcow2 -c "write -q -P $((i + 1)) $((i * 64))k 64k" "$STORE/disk.snap$i.qcow2" >/dev/null
        parent=disk.snap$i.qcow2
    done
}

@test "chain-deep: the commit into the disk's own layer keeps what the guest sees" {
    make_chain 6
    before=$(content "$STORE/disk.snap6.qcow2")
    start_daemon
    scan
    has_finding "chain-deep warning disk.qcow2"
    follow chain-deep "$STORE/disk.qcow2"
    # What was between is of no use any more, and says so as long as it is there.
    has_finding "chain-deep warning disk.qcow2"
    [[ $(ctl findings --name chain-deep) == *"up to disk.snap5.qcow2"* ]]
    rm -f "$STORE"/disk.snap[1-6].qcow2
    scan
    same "" "$(findings)"
    same "$before" "$(content "$STORE/disk.qcow2")"
    qemu-img check "$STORE/disk.qcow2"
}

@test "chain-deep on a linked clone never writes the golden image" {
    make_image "$STORE/golden.qcow2"
    chmod 444 "$STORE/golden.qcow2"
    touch -d '10 days ago' "$STORE/golden.qcow2"
    qemu-img create -q -f qcow2 -b golden.qcow2 -F qcow2 "$STORE/other.qcow2"
    parent=golden.qcow2
    for ((i = 0; i <= 6; i++)); do
        qemu-img create -q -f qcow2 -b "$parent" -F qcow2 "$STORE/clone$i.qcow2"
        qemu-io -f qcow2 -c "write -q -P $((i + 1)) $((i * 64))k 64k" "$STORE/clone$i.qcow2" >/dev/null
        parent=clone$i.qcow2
    done
    sum=$(sha256sum <"$STORE/golden.qcow2")
    before=$(content "$STORE/clone6.qcow2")
    start_daemon
    scan
    has_finding "chain-deep warning clone0.qcow2"
    [[ $(commands chain-deep "$STORE/clone0.qcow2") == *"-b $STORE/clone0.qcow2"* ]]
    follow chain-deep "$STORE/clone0.qcow2"
    same "$sum" "$(sha256sum <"$STORE/golden.qcow2")"
    same "$before" "$(content "$STORE/clone0.qcow2")"
}

@test "no commit is printed where the disk's own layer has another overlay" {
    make_chain 6
    qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 "$STORE/sibling.qcow2"
    touch "$STORE/disk.qcow2"       # newer than its overlays: no golden image
    start_daemon
    scan
    has_finding "chain-deep warning disk.qcow2"
    run -0 commands chain-deep "$STORE/disk.qcow2"
    [[ $output != *commit* ]]
}

@test "clusters-leaked: the repair frees them" {
    make_image "$STORE/a.qcow2"
    leak_image "$STORE/a.qcow2" 20
    start_daemon
    scan
    follow clusters-leaked "$STORE/a.qcow2"
    same "" "$(findings)"
    qemu-img check "$STORE/a.qcow2"
}

set_corrupt_bit() {
    python3 -B - "$1" "$IMAGES" <<'END'
import sys
sys.path.insert(0, sys.argv[2])
from imagekit import Qcow2
with Qcow2(sys.argv[1]) as image:
    image.put(72, 8, 2)
END
}

archives() { find "$HOME" -name 'qcaudit-evidence-*.tar' | sort; }

@test "evidence is kept before a repair, with what the daemon knows; pasted again, nothing is done" {
    need jq
    make_image "$STORE/a.qcow2"
    leak_image "$STORE/a.qcow2" 20
    start_daemon
    scan
    expected=$(qcauditctl check "$STORE/a.qcow2" --json=short | jq -c .issues) || :
    [ "$expected" != '[]' ]
    printed=$(commands clusters-leaked "$STORE/a.qcow2")
    # One command: who pastes the repair has pasted this, too.
    [ "$(wc -l <<<"$printed")" = 1 ]
    [[ $printed == "test ! -e "*" && (qcauditctl evidence -o ~/ $STORE/a.qcow2 || echo "*") && qemu-img check -r leaks "* ]]
    ctl show "$(ctl findings --json=short | jq '.[0].id')" >"$DIR/shown"
    tr -s ' \n' ' ' <"$DIR/shown" | grep -q 'keeps a copy and, in a new file'
    run_commands clusters-leaked "$STORE/a.qcow2"
    qemu-img check -q "$STORE/a.qcow2"
    first=$(archives)
    [ "$(wc -l <<<"$first")" = 1 ]
    sum=$(sha256sum <"$first")
    # It has what the repair took away, and the finding with its remedy.
    run -3 qcauditctl check --evidence "$first" --json=short
    [ "$(jq -c '.again.issues' <<<"$output")" = "$expected" ]
    tar -xOf "$first" qcaudit-evidence/image.json | jq -e '[."findings-list"[].name] == ["clusters-leaked"]'
    # The copy is the only good one: the second paste repairs nothing, and overwrites neither.
    copy=$(sha256sum <"$STORE/a.qcow2.before-repair")
    run -1 bash -c "$printed"
    [ "$(archives | wc -l)" = 1 ]
    same "$sum" "$(sha256sum <"$first")"
    same "$copy" "$(sha256sum <"$STORE/a.qcow2.before-repair")"
}

# not_all: the commands said so, beside being printed themselves.
not_all() { grep -qx 'Evidence is missing or incomplete: that is no reason to stop.' <<<"$output"; }

@test "evidence that is incomplete, or cannot be kept, is said and stops no repair" {
    need jq
    "$IMAGES/generate" "$STORE" bitmap-type-unknown
    set_corrupt_bit "$STORE/bitmap-type-unknown.qcow2"
    for i in 1 2 3; do make_image "$STORE/leak$i.qcow2"; leak_image "$STORE/leak$i.qcow2" 20; done
    start_daemon
    scan
    # not all tables can be found
    run -0 run_commands corrupt-bit-set "$STORE/bitmap-type-unknown.qcow2"
    [[ $output == *"NOT all tables of the image"* ]]
    not_all
    [ -f "$STORE/bitmap-type-unknown.qcow2.before-repair" ]
    [ "$(archives | wc -l)" = 1 ]
    # no folder, no daemon, no program
    export HOME=$DIR/none
    run -0 run_commands clusters-leaked "$STORE/leak1.qcow2"
    [[ $output == *"Cannot write $DIR/none/"* ]]
    not_all
    export HOME=$DIR/home
    export QCAUDIT_SOCKET=$DIR/nobody
    run -0 run_commands clusters-leaked "$STORE/leak2.qcow2"
    [[ $output == *"only what can be read without qcauditd"* ]]
    run -1 not_all
    [ "$(archives | wc -l)" = 2 ]
    lines=$(commands clusters-leaked "$STORE/leak3.qcow2")
    (cd / && PATH=/usr/bin:/bin bash -euc "$lines") >"$DIR/said" 2>&1
    output=$(cat "$DIR/said")
    not_all
    for i in 1 2 3; do qemu-img check -q "$STORE/leak$i.qcow2"; done
}

@test "no evidence of what is not damaged: a merge, snapshots that go" {
    make_chain 6
    make_image "$STORE/b.qcow2"
    for ((i = 0; i < 5; i++)); do qemu-img snapshot -c "snap$i" "$STORE/b.qcow2"; done
    start_daemon
    scan
    for finding in chain-deep:disk internal-snapshots:b; do
        printed=$(commands "${finding%:*}" "$STORE/${finding#*:}.qcow2")
        [[ $printed == *qemu-img* && $printed != *evidence* ]]
    done
}

@test "dirty-bit-set with lazy refcounts: the recovery it was made for" {
    "$IMAGES/generate" "$STORE" lazy-after-crash
    start_daemon
    scan
    has_finding dirty-bit-set
    follow dirty-bit-set "$STORE/lazy-after-crash.qcow2"
    same "" "$(findings)"
}

@test "parent-format-missing: the rebase says the format and changes nothing else" {
    make_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$STORE/child.qcow2"
    python3 -B - "$STORE/child.qcow2" "$IMAGES" <<'END'
import sys
sys.path.insert(0, sys.argv[2])
from imagekit import Qcow2
with Qcow2(sys.argv[1]) as image:       # the extension that holds the format becomes one that nobody knows
    image.put(image.extension(0xE2792ACA) - 8, 4, 0x12345678)
END
    start_daemon
    scan
    has_finding "parent-format-missing warning child.qcow2"
    follow parent-format-missing "$STORE/child.qcow2"
    has_no_finding parent-format-missing
    qemu-img info "$STORE/child.qcow2" | grep -q 'backing file format: qcow2'
}

@test "internal-snapshots: deleting them as told" {
    make_image "$STORE/a.qcow2"
    for ((i = 0; i < 5; i++)); do qemu-img snapshot -c "snap '$i" "$STORE/a.qcow2"; done
    before=$(content "$STORE/a.qcow2")
    start_daemon
    scan
    has_finding "internal-snapshots warning a.qcow2"
    follow internal-snapshots "$STORE/a.qcow2"
    same "" "$(findings)"
    same "$before" "$(content "$STORE/a.qcow2")"
}

@test "permissions: the mode as told" {
    make_image "$STORE/a.qcow2"
    chmod 666 "$STORE/a.qcow2"
    start_daemon
    scan
    follow permissions "$STORE/a.qcow2"
    same "" "$(findings)"
}

@test "bitmap-in-use: the bitmap goes as told" {
    "$IMAGES/generate" "$STORE" bitmap-in-use
    start_daemon
    scan
    has_finding "bitmap-in-use warning bitmap-in-use.qcow2"
    follow bitmap-in-use "$STORE/bitmap-in-use.qcow2"
    has_no_finding bitmap-in-use
}

@test "commands survive hostile names" {
    name=$'it\'s $(touch hurt) "x".qcow2'
    make_image "$DIR/a.qcow2"
    leak_image "$DIR/a.qcow2"
    cp "$DIR/a.qcow2" "$STORE/$name"
    start_daemon
    scan
    follow clusters-leaked "$STORE/$name"
    [ ! -e /hurt ] && [ ! -e hurt ]
    has_no_finding clusters-leaked
}

@test "metadata-corrupt by refcounts: the copy is repaired, the image is left as it is" {
    make_image "$STORE/a.qcow2"
    break_refcount "$STORE/a.qcow2"
    sum=$(sha256sum <"$STORE/a.qcow2")
    before=$(content "$STORE/a.qcow2")
    start_daemon
    scan
    has_finding "metadata-corrupt critical a.qcow2"
    run_commands metadata-corrupt "$STORE/a.qcow2"
    same "$sum" "$(sha256sum <"$STORE/a.qcow2")"
    qemu-img check "$STORE/a.qcow2.before-repair"
    same "$before" "$(content "$STORE/a.qcow2.before-repair")"
}

@test "metadata-corrupt by pointers, and leak-burst: a copy, and no repair" {
    make_image "$STORE/pointer.qcow2"
    break_image "$STORE/pointer.qcow2"
    make_image "$STORE/burst.qcow2"
    leak_image "$STORE/burst.qcow2" 300
    start_daemon
    scan
    for finding in metadata-corrupt:pointer leak-burst:burst; do
        [[ $(commands "${finding%:*}" "$STORE/${finding#*:}.qcow2") != *qemu-img* ]]
        run_commands "${finding%:*}" "$STORE/${finding#*:}.qcow2"
        cmp "$STORE/${finding#*:}.qcow2" "$STORE/${finding#*:}.qcow2.before-repair"
    done
    [ "$(archives | wc -l)" = 2 ]
    # The leaks are told as well, and freeing them is not offered.
    [[ $(commands clusters-leaked "$STORE/burst.qcow2") != *leaks* ]]
}

@test "corrupt-bit-set: the repair of the copy takes it away" {
    make_image "$STORE/a.qcow2"
    set_corrupt_bit "$STORE/a.qcow2"
    start_daemon
    scan
    has_finding "corrupt-bit-set critical a.qcow2"
    run_commands corrupt-bit-set "$STORE/a.qcow2"
    run -0 qemu-img info --output=json "$STORE/a.qcow2.before-repair"
    [[ $output == *'"corrupt": false'* ]]
}

@test "snapshot-old and snapshot-runaway: the commit, as for a deep chain" {
    make_chain 4
    before=$(content "$STORE/disk.snap4.qcow2")
    now=$(date +%s)
    touch -d "@$((now - 20 * 86400))" "$STORE/disk.qcow2"
    for i in 1 2 3; do touch -d "@$((now - (20 - 5 * i) * 86400))" "$STORE/disk.snap$i.qcow2"; done
    start_daemon
    scan
    has_finding "snapshot-runaway error disk.qcow2"
    has_finding "snapshot-old error disk.qcow2"
    same "$(commands snapshot-old "$STORE/disk.qcow2")" "$(commands snapshot-runaway "$STORE/disk.qcow2")"
    follow snapshot-old "$STORE/disk.qcow2"
    rm "$STORE"/disk.snap[123].qcow2
    scan
    same "" "$(findings)"
    same "$before" "$(content "$STORE/disk.qcow2")"
    same "$before" "$(content "$STORE/disk.snap4.qcow2")"
}

@test "snapshot-old by an internal snapshot: this one is deleted, and no other" {
    make_image "$STORE/a.qcow2"
    qemu-img snapshot -c old "$STORE/a.qcow2"
    qemu-img snapshot -c young "$STORE/a.qcow2"
    python3 -B - "$STORE/a.qcow2" "$IMAGES" <<'END'
import sys
sys.path.insert(0, sys.argv[2])
from imagekit import Qcow2
with Qcow2(sys.argv[1]) as image:       # its date
    image.put(image.snapshots + 16, 4, image.get(image.snapshots + 16, 4) - 30 * 86400)
END
    start_daemon
    scan
    has_finding "snapshot-old error a.qcow2"
    follow snapshot-old "$STORE/a.qcow2"
    has_no_finding snapshot-old
    run -0 qemu-img snapshot -l "$STORE/a.qcow2"
    [[ $output == *young* && $output != *old* ]]
}

@test "permissions of a golden image: nobody may write it" {
    make_image "$STORE/golden.qcow2"
    chmod 644 "$STORE/golden.qcow2"
    touch -d '10 days ago' "$STORE/golden.qcow2"
    for i in 1 2; do qemu-img create -q -f qcow2 -b golden.qcow2 -F qcow2 "$STORE/clone$i.qcow2"; done
    write_config "golden: { patterns: ['*/golden.qcow2'] }"
    start_daemon
    scan
    has_finding "permissions warning golden.qcow2"
    follow permissions "$STORE/golden.qcow2"
    same "" "$(findings)"
}

# snapshots_of IMAGE: id, name and content of each internal snapshot, and the content of the disk; fails where one
# of them cannot be read, or has no id.
snapshots_of() {
    local id name
    content "$1" || return
    qemu-img info --output=json "$1" | jq -r '.snapshots[]? | "\(.id) \(.name)"' >"$DIR/snapshots"
    while read -r id name; do
        [ -n "$id" ] && [ -n "$name" ] || return
        qemu-img convert -l "snapshot.id=$id" -O raw "$1" "$DIR/content.raw" 2>/dev/null || return
        echo "$id $name $(sha256sum <"$DIR/content.raw")"
    done <"$DIR/snapshots"
}

# mends_without_loss IMAGE: does qemu-img check -r all, on a copy? What leaks may be what a lost table referred to.
mends_without_loss() {
    cp "$1" "$DIR/mended.qcow2"
    [ "$(qemu-img check --output=json "$1" 2>/dev/null | jq '.leaks // 0')" = 0 ] &&
    before=$(snapshots_of "$1" 2>/dev/null) && qemu-img check -q -r all "$DIR/mended.qcow2" >/dev/null 2>&1 &&
        qemu-img check -q "$DIR/mended.qcow2" >/dev/null 2>&1 &&
        [ "$before" = "$(snapshots_of "$DIR/mended.qcow2" 2>/dev/null)" ]
}

@test "snapshot-table-bad: completed where that loses nothing, as qemu-img is the judge, and nowhere else" {
    need jq
    mapfile -t names < <("$IMAGES/generate" --list | grep '^snapshot-')
    "$IMAGES/generate" "$STORE" "${names[@]}"
    start_daemon
    scan
    n_mended=0 n_left=0
    mapfile -t bad < <(ctl findings --name snapshot-table-bad --json=short | jq -r '.[].path')
    for path in "${bad[@]}"; do
        printed=$(commands snapshot-table-bad "$path")
        if mends_without_loss "$path"; then
            [[ $printed == "test ! -e "*"cp -nT "*" && (qcauditctl evidence "*") && qemu-img check -r all "* ]] || { echo "nothing for $path"; false; }
            same "$printed" "$(commands metadata-corrupt "$path")"
            n_mended=$((n_mended + 1))
        else
            [[ $printed != *"check -r"* ]] || { echo "$path: $printed"; false; }
            n_left=$((n_left + 1))
        fi
    done
    [ "$n_mended" -ge 3 ]
    [ "$n_left" -ge 5 ]
    before=$(snapshots_of "$STORE/snapshot-shortened-0.qcow2")
    follow snapshot-table-bad "$STORE/snapshot-shortened-0.qcow2"
    same "" "$(findings | grep shortened-0 || true)"
    same "$before" "$(snapshots_of "$STORE/snapshot-shortened-0.qcow2")"
}

@test "snapshot-table-bad: nothing is completed in an image that an overlay stands on" {
    "$IMAGES/generate" "$STORE" snapshot-shortened-8
    qemu-img create -q -f qcow2 -b snapshot-shortened-8.qcow2 -F qcow2 "$STORE/over.qcow2"
    start_daemon
    scan
    has_finding "snapshot-table-bad error snapshot-shortened-8.qcow2"
    [[ $(commands snapshot-table-bad "$STORE/snapshot-shortened-8.qcow2") != *qemu-img* ]]
    ctl findings --name snapshot-table-bad --json=short | grep -q "has another overlay"
}
