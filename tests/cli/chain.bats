#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl check of chains: thousands of layers, broken ones, and loops by any spelling.
bats_require_minimum_version 1.5.0

setup() {
    for command in qemu-img jq python3; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
    cd "$BATS_TEST_TMPDIR" || return 1
    # parents are written first: no layer is older than the one below
}

make_chain() { # LAYERS [DAMAGED]
    python3 "$top_srcdir/tests/images/make-chain" "$1" c "${@:2}"
}

figures() { jq -c '[.depth, .corruptions, (.layers | length), ([.layers[] | select(.corruptions > 0)] | length)]'; }

@test "1,847 layers: opened, and each one checked, with few descriptors and little memory" {
    make_chain 1847 900
    run -0 qcauditctl check --json=short c/00000.qcow2
    [ "$(jq -c '[.depth, .opened, .corruptions]' <<<"$output")" = '[1847,true,0]' ]
    ulimit -n 32
    run -2 qcauditctl check --chain --json=short c/00000.qcow2
    [ "$(figures <<<"$output")" = '[1847,0,1846,1]' ]
    [ "$(jq -c '.layers[899] | [.filename, .corruptions, (.issues[0] | .kind, .layer)]' <<<"$output")" = \
        '["c/00900.qcow2",2,"out-of-file",900]' ]
    run -2 qcauditctl check --chain c/00000.qcow2
    [[ $output == *"Layers 1 to 899: no errors were found."* ]]
    [[ $output == *"Layer 900 c/00900.qcow2"*"1 of 1847 layers is damaged"*"layer 900, c/00900.qcow2"* ]]
    [ "${#lines[@]}" -lt 30 ]
}

@test "10,000 layers are checked, one more is refused, and said so" {
    make_chain 10001
    run -0 qcauditctl check --chain --json=short c/00001.qcow2
    [ "$(figures <<<"$output")" = '[10000,0,9999,0]' ]
    run -1 qcauditctl check --chain c/00000.qcow2
    [[ $output == *"the chain has more than 10000 layers"* ]]
    [ "$(qcauditctl check --json=short c/00000.qcow2 | jq -c '[.opened, .error]')" = \
        '[false,"Layer 9999, c/09999.qcow2: the chain has more than 10000 layers"]' ]
}

@test "what a guest sees through 1,847 layers has a digest; through more than 2,000 it is refused" {
    make_chain 2001
    run -0 qcauditctl hash --content c/00154.qcow2
    run -1 qcauditctl hash --content c/00000.qcow2
    [[ $output == *"the chain has more than 2000 layers"* ]]
}

@test "a chain that breaks: 1, and all that was seen down to the break" {
    make_chain 20 7
    rm c/00012.qcow2
    run -1 qcauditctl check --chain c/00000.qcow2
    [[ $output == *"Cannot open c/00000.qcow2: Layer 11, c/00011.qcow2: the parent does not exist."* ]]
    [[ $output == *"1 of 12 layers is damaged"*"layer 7, c/00007.qcow2"* ]]
    run -1 qcauditctl check --chain --json=short c/00000.qcow2
    [ "$(jq -c '[.opened, .depth, .layers[6].corruptions, (.layers | length)]' <<<"$output")" = '[false,null,2,11]' ]
    # without --chain it is as with qemu-img: not opened
    run -1 qcauditctl check c/00000.qcow2
    [ "${#lines[@]}" = 1 ]
}

loop() { # PARENT: that of the base
    qemu-img rebase -u -f qcow2 -F qcow2 -b "$1" base.qcow2
    for option in --chain --deep; do
        run -1 timeout 20 qcauditctl check "$option" leaf.qcow2
        [[ $output == *"the chain is a loop"* ]] || { echo "$1: $output"; return 1; }
    done
}

@test "loops by another spelling, a link, a link to a folder, a hard link" {
    mkdir sub
    qemu-img create -q -f qcow2 base.qcow2 1M
    qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 middle.qcow2
    qemu-img create -q -f qcow2 -F qcow2 -b middle.qcow2 leaf.qcow2
    ln -s middle.qcow2 link.qcow2
    ln -s . here
    ln middle.qcow2 hard.qcow2
    ln base.qcow2 self.qcow2
    for parent in middle.qcow2 ./sub/..//middle.qcow2 "$PWD/middle.qcow2" "file:$PWD/leaf.qcow2" link.qcow2 \
        here/here/leaf.qcow2 hard.qcow2 self.qcow2; do
        loop "$parent"
    done
}

@test "an image that is its own data file" {
    qemu-img create -q -f qcow2 -o data_file=a.raw a.qcow2 1M
    rm a.raw
    ln -s a.qcow2 a.raw
    run qcauditctl check --json=short a.qcow2
    [ "$(jq -r '.issues[].kind' <<<"$output" | grep data-file-reused)" = data-file-reused ]
}

@test "parents that are no files: said, and never waited for" {
    mkfifo fifo
    mkdir folder
    ln -s /dev/zero zero
    ln -s fifo to-fifo
    ln -s turning round
    ln -s round turning
    for parent in fifo to-fifo folder zero round /dev/full /dev/tty "$PWD" .; do
        qemu-img create -q -u -f qcow2 -F raw -b "$parent" leaf.qcow2 1M
        run -1 timeout 20 qcauditctl check --chain leaf.qcow2
        [[ $output == "Cannot open leaf.qcow2: "* ]] || { echo "$parent: $output"; return 1; }
    done
}
