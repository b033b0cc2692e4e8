#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Layers and what lies between them, each sound by itself: formats, sizes, loops by any name, data files, long chains.
load lib

setup() { need qemu-img qemu-io python3 jq; qcaudit_setup; cd "$STORE"; }
teardown() { cd /; qcaudit_teardown; }

evidence() { # NAME PATH: of the one finding
    ctl show --json=short "$STORE/$2" | jq -c --arg name "$1" '."findings-list"[] | select(.name == $name) | .evidence'
}

edit() { # IMAGE STATEMENT: with imagekit's editor as `image`
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1])
from imagekit import COPIED, Qcow2
with Qcow2(sys.argv[2]) as image: exec(sys.argv[3])' "$IMAGES" "$1" "$2"
}

overlay() { qemu-img create -q -f qcow2 -F "${3-qcow2}" -b "$2" "$1" ${4-}; }

@test "a damaged layer below: the finding is its own, and says who reads through it" {
    make_image base.qcow2
    overlay one.qcow2 base.qcow2
    overlay two.qcow2 one.qcow2
    edit one.qcow2 "image.put(image.l1_place(0), 8, COPIED | 0x70000000000)"
    start_daemon
    scan
    same "metadata-corrupt critical one.qcow2" "$(findings --name metadata-corrupt)"
    same "[\"$STORE/two.qcow2\"]" "$(evidence metadata-corrupt one.qcow2 | jq -c '[.overlays[].path]')"
}

@test "formats: declared raw but qcow2, not declared at all; a parent that is too short" {
    make_image base.qcow2
    overlay raw.qcow2 base.qcow2 raw
    overlay undeclared.qcow2 base.qcow2
    edit undeclared.qcow2 'image.put(image.extension(0xE2792ACA) - 8, 4, 0x0BADCAFE)'
    overlay longer.qcow2 base.qcow2 qcow2 1G
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 shorter.qcow2 1M
    start_daemon
    scan
    same "format-mismatch critical raw.qcow2
parent-format-missing warning undeclared.qcow2
size-mismatch info shorter.qcow2" "$(findings --path "$STORE" | grep -v "size-mismatch info raw.qcow2")"
}

@test "loops by another spelling, a symbolic link, a hard link" {
    mkdir s h o
    for folder in s h o; do
        qemu-img create -q -f qcow2 $folder/base.qcow2 1M
        overlay $folder/leaf.qcow2 base.qcow2
    done
    ln -s leaf.qcow2 s/link.qcow2
    qemu-img rebase -u -f qcow2 -F qcow2 -b link.qcow2 s/base.qcow2
    ln h/leaf.qcow2 h/hard.qcow2
    qemu-img rebase -u -f qcow2 -F qcow2 -b hard.qcow2 h/base.qcow2
    qemu-img rebase -u -f qcow2 -F qcow2 -b ".././o//../o/leaf.qcow2" o/base.qcow2
    start_daemon
    scan
    same "chain-loop critical h/base.qcow2
chain-loop critical o/base.qcow2
chain-loop critical s/base.qcow2" "$(findings --name chain-loop)"
}

@test "one data file of two images, by two names; one that is too short, or shared within" {
    for name in one two three four; do
        qemu-img create -q -f qcow2 -o data_file=$name.raw $name.qcow2 4M
        qemu-io -f qcow2 -c 'write -q -P 1 0 1M' $name.qcow2
    done
    rm two.raw
    ln -s one.raw two.raw
    truncate -s 128k three.raw
    edit four.qcow2 'image.put_l2(1, image.l2(0))'
    start_daemon
    scan
    same "data-file critical three.qcow2
data-file error one.qcow2
data-file error two.qcow2
data-file warning four.qcow2" "$(findings --name data-file)"
    same "[\"$STORE/two.qcow2\"]" "$(evidence data-file one.qcow2 | jq -c '[."also-of"[].path]')"
    same "metadata-corrupt critical four.qcow2" "$(findings --name metadata-corrupt)"
    same 14 "$(evidence data-file three.qcow2 | jq '."missing-clusters"')"
    same 131072 "$(evidence data-file three.qcow2 | jq '."data-size"')"
    same 1 "$(evidence metadata-corrupt four.qcow2 | jq '.kinds."data-file-shared"')"
    # it is mended: the other hears of it
    qemu-img create -q -f raw two.new 4M
    mv two.new two.raw
    scan "$STORE/two.qcow2"
    wait_for 20 has_finding "data-file warning one.qcow2"
}

@test "a data file is an input of its own: cut, mended, replaced, gone and back, and while nobody looked" {
    for raw in on off; do
        qemu-img create -q -f qcow2 -o "data_file=$raw.data,data_file_raw=$raw" $raw.qcow2 4M
        qemu-io -f qcow2 -c 'write -q -P 1 0 2M' $raw.qcow2
        cp $raw.data "$DIR/$raw.kept"
    done
    said() { ctl findings --json=short --name data-file | jq -r ".[] | select(.path | endswith(\"/$1\")) | .severity"; }
    start_daemon
    scan
    for raw in on off; do
        image=$raw.qcow2
        same warning "$(said $image)"
        truncate -s 1M $raw.data
        wait_for 30 eval '[ "$(said $image)" = critical ]'
        same 1048576 "$(evidence data-file $image | jq '."data-size"')"
        cat "$DIR/$raw.kept" >$raw.data
        wait_for 30 eval '[ "$(said $image)" = warning ]'
        # Another file, that is too short, in its place; and the right one again.
        truncate -s 1M new && mv new $raw.data
        wait_for 30 eval '[ "$(said $image)" = critical ]'
        cp "$DIR/$raw.kept" new && mv new $raw.data
        wait_for 30 eval '[ "$(said $image)" = warning ]'
        rm $raw.data
        wait_for 30 eval '[ "$(said $image)" = error ]'
        cp "$DIR/$raw.kept" $raw.data
        wait_for 30 eval '[ "$(said $image)" = warning ]'
        # Nothing is left of it.
        : >$raw.data
        wait_for 30 eval '[ "$(said $image)" != warning ]'
        cat "$DIR/$raw.kept" >$raw.data
        wait_for 30 eval '[ "$(said $image)" = warning ]'
    done
    same "" "$(findings --name metadata-corrupt)"
    stop_daemon
    truncate -s 1M on.data off.data
    start_daemon
    wait_for 30 eval '[ "$(said on.qcow2) $(said off.qcow2)" = "critical critical" ]'
    same "" "$(findings --name metadata-corrupt)"
}

@test "1,847 layers: each one audited, the damaged one named" {
    python3 "$IMAGES/make-chain" 1847 deep 900
    start_daemon
    scan
    same "metadata-corrupt critical deep/00900.qcow2" "$(findings --name metadata-corrupt)"
    has_finding "chain-limit critical deep/01846.qcow2"
    same "[\"$STORE/deep/00899.qcow2\"]" "$(evidence metadata-corrupt deep/00900.qcow2 | jq -c '[.overlays[].path]')"
    run -0 ctl chain --json=short "$STORE/deep/00000.qcow2"
    [ "$(jq length <<<"$output")" = 1847 ]
}

@test "a data file that was cut off and is gone then is missing, and the image's metadata is as it was" {
    qemu-img create -q -f qcow2 -o "data_file=cut.data,data_file_raw=on" cut.qcow2 64M
    qemu-io -f qcow2 -c 'write -q -P 1 0 64M' cut.qcow2
    start_daemon
    scan
    truncate -s 1M new
    mv new cut.data
    wait_for 30 has_finding "data-file critical cut.qcow2"
    rm cut.data
    wait_for 30 has_finding "data-file error cut.qcow2"
    fence_judged
    same "data-file error cut.qcow2" "$(findings)"
}
