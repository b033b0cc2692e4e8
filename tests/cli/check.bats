#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl check: exit status and figures of qemu-img check, on good, bad and hostile files.
bats_require_minimum_version 1.5.0

setup() {
    for command in qemu-img qemu-io jq python3; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
    cd "$BATS_TEST_TMPDIR" || return 1
}

edit() { # IMAGE STATEMENT: with imagekit's editor as `image`
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1] + "/tests/images")
from imagekit import COPIED, Qcow2
with Qcow2(sys.argv[2]) as image: exec(sys.argv[3])' "$top_srcdir" "$1" "$2"
}

make_image() { # PATH [OPTIONS]
    qemu-img create -q -f qcow2 -o "${2:-compat=1.1}" "$1" 8M
    qemu-io -f qcow2 -c 'write -q -P 1 0 1M' -c 'write -q -P 2 4M 512k' "$1" >/dev/null
}

# same IMAGE: status and all figures are qemu-img's; a figure that qemu-img leaves out is 0.
same() {
    local theirs=0 ours=0
    timeout 20 qemu-img check --output=json "$1" >theirs.json 2>/dev/null || theirs=$?
    qcauditctl check --compatible --json=short "$1" >ours.json 2>/dev/null || ours=$?
    [ "$theirs" = "$ours" ] || { echo "$1: qemu-img $theirs, ours $ours"; cat ours.json; return 1; }
    [ -s theirs.json ] || return 0
    local figures='[."check-errors", .corruptions, .leaks, ."image-end-offset", ."total-clusters",
        ."allocated-clusters", ."compressed-clusters", ."fragmented-clusters"] | map(. // 0)'
    diff <(jq -c "$figures" theirs.json) <(jq -c "$figures" ours.json)
    diff <(jq -r '.filename, .format' theirs.json) <(jq -r '.filename, .format' ours.json)
}

@test "a header of version 2 with the fields of version 3, as old versions of QEMU left them, is nothing to tell" {
    make_image a.qcow2 compat=0.10
    edit a.qcow2 'image.put(96, 4, 4); image.put(100, 4, 104)'
    run -0 qcauditctl check a.qcow2
    [[ $output != *notice* ]]
    same a.qcow2
    cp a.qcow2 b.qcow2
    edit b.qcow2 'image.put(88, 1, 1)'
    run -0 qcauditctl check b.qcow2
    [[ $output == *"the header's cluster holds data that belongs to nothing"* ]]
    cp a.qcow2 c.qcow2
    edit c.qcow2 'image.put(104, 1, 1)'
    run -0 qcauditctl check c.qcow2
    [[ $output == *"the header's cluster holds data that belongs to nothing"* ]]
}

@test "contiguous issues are one, with a count and a range; the counters are qemu-img's" {
    qemu-img create -q -f qcow2 a.qcow2 1G
    qemu-io -f qcow2 -c 'write -q -P 1 0 160M' a.qcow2
    truncate -s 20M a.qcow2
    same a.qcow2
    qcauditctl check --json=short a.qcow2 >a.json || [ "$?" = 2 ]
    corruptions=$(jq .corruptions a.json)
    [ "$corruptions" -gt 2000 ]         # more than issues are kept
    cat a.json
    [ "$(jq -c '[.issues[] | select(.counter == "corruption") | .kind]' a.json)" = '["out-of-file"]' ]
    [ "$(jq --argjson n "$corruptions" '.issues[0] | .count == $n and ."host-length" == $n * 65536 and ."guest-length" == $n * 65536' a.json)" = true ]
    # Two ranges with a sound cluster between them are two issues; so are refcounts that are too low.
    qemu-img create -q -f qcow2 b.qcow2 1G
    qemu-io -f qcow2 -c 'write -q -P 1 0 16M' b.qcow2
    edit b.qcow2 '[image.put_refcount(image.l2(i) & 0xfffffffffffe00, 0) for i in (*range(10, 20), *range(21, 31))]'
    same b.qcow2
    qcauditctl check --json=short b.qcow2 >b.json || [ "$?" = 2 ]
    cat b.json
    [ "$(jq -c '[.issues[] | select(.kind == "refcount-low") | [.count, ."guest-offset" / 65536, ."guest-length" / 65536]]' b.json)" = '[[10,10,10],[10,21,10]]' ]
}

@test "good images of all kinds" {
    for options in compat=0.10 compat=1.1 cluster_size=512 cluster_size=2M refcount_bits=1 refcount_bits=64 \
        lazy_refcounts=on extended_l2=on,cluster_size=64k compression_type=zstd; do
        make_image "good.qcow2" "$options"
        same good.qcow2
        run -0 qcauditctl check good.qcow2
        [[ $output == *"No errors were found."* ]]
        rm good.qcow2
    done
}

@test "snapshots, bitmaps, compression, parents, data files" {
    make_image base.qcow2
    qemu-img snapshot -c one base.qcow2
    qemu-img bitmap --add base.qcow2 b0
    same base.qcow2
    qemu-img convert -q -c -O qcow2 base.qcow2 compressed.qcow2
    same compressed.qcow2
    mkdir sub
    qemu-img create -q -f qcow2 -F qcow2 -b ../base.qcow2 sub/overlay.qcow2
    same sub/overlay.qcow2
    [ "$(qcauditctl check --json=short sub/overlay.qcow2 | jq .depth)" = 2 ]
    qemu-img create -q -f qcow2 -o data_file=data.raw,data_file_raw=on data.qcow2 8M
    same data.qcow2
}

@test "leaks: 3; corruptions: 2; both: 2" {
    make_image leak.qcow2
    edit leak.qcow2 'image.leak(5)'
    same leak.qcow2
    run -3 qcauditctl check leak.qcow2
    [[ $output == *"5 leaked clusters were found."* ]]
    make_image bad.qcow2
    edit bad.qcow2 'image.put_l2(3, COPIED | 0x7000_0000_0000)'
    same bad.qcow2
    run -2 qcauditctl check bad.qcow2
    [[ $output == *"errors were found."* ]]
    [[ $output == *"guest data affected: 64K at 0x30000"* ]]
    [ "$(qcauditctl check --json=short bad.qcow2 | jq -r '[.issues[] | select(.kind == "out-of-file")] | length')" = 1 ]
    # of several, the worst
    run -2 qcauditctl check leak.qcow2 bad.qcow2
    run -3 qcauditctl check leak.qcow2
    run -1 qcauditctl check leak.qcow2 bad.qcow2 none.qcow2
}

@test "a data file that was cut off, or emptied: 2, in as many lines as there are gaps" {
    qemu-img create -q -f qcow2 -o data_file=data.raw,data_file_raw=on cut.qcow2 8M
    qemu-io -c 'write -q 0 4M' cut.qcow2
    for size in 1M 0; do
        truncate -s "$size" data.raw
        run -0 qcauditctl check --compatible cut.qcow2
        same cut.qcow2 --compatible
        run -2 qcauditctl check cut.qcow2
        [ "$(grep -c 'beyond the end of the data file' <<<"$output")" = 1 ]
    done
    [[ $output == *"(128 in a row)"*"entries 0 to 127; host offset 0x0 on"*"guest data affected: 8M at 0x0"* ]]
    [[ $output == *"Damage was found in 128 places"* && $output != *"--full"* ]]
    [ "$(qcauditctl check --json=short cut.qcow2 | jq -c '[.issues[] | [.kind, .count]]')" = '[["data-file-end",128]]' ]
}

@test "damage that qemu-img calls clean: 2, with --compatible its exit status; our words" {
    make_image twice.qcow2
    edit twice.qcow2 'first = image.l2(0) & ~COPIED; image.put_refcount(image.l2(1) & ~COPIED, 0)
image.put_l2(0, first); image.put_l2(1, first); image.put_refcount(first, 2)'
    same twice.qcow2
    run -0 qcauditctl check --compatible twice.qcow2
    run -2 qcauditctl check twice.qcow2
    [[ $output == *"damage     two places of the guest's disk lie in one cluster"* ]]
    [[ $output == *"Damage was found in 1 place, which qemu-img check calls clean"* && $output != *"No errors"* ]]
    # oddities are told, and are no damage; one that stands for many clusters is one
    make_image smaller.qcow2
    edit smaller.qcow2 'image.put(24, 8, 65536)'
    run -0 qcauditctl check smaller.qcow2
    [[ $output == *"notice     clusters are mapped beyond the end of the disk"*"No errors were found."* ]]
    [[ $output != *shown* ]]
    # with leaks, which are 3, it is 2; of a layer below only where that is looked at
    edit twice.qcow2 'image.leak(5)'
    same twice.qcow2
    run -3 qcauditctl check --compatible twice.qcow2
    run -2 qcauditctl check twice.qcow2
    qemu-img create -q -f qcow2 -F qcow2 -b twice.qcow2 above.qcow2
    run -0 qcauditctl check above.qcow2
    run -2 qcauditctl check --chain above.qcow2
    run -3 qcauditctl check --chain --compatible above.qcow2
    # no line is wider than the terminal, unless there is none
    [ "$(COLUMNS=80 qcauditctl check twice.qcow2 | awk 'length > 80' | wc -l)" = 0 ]
}

@test "a LUKS header that no key opens is damage: 2" {
    # It measures how fast it hashes, and gives up when it hardly gets the processor.
    for _ in {1..20}; do
        ! qemu-img create -q --object secret,id=s,data=x -f qcow2 \
            -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 good.qcow2 8M || break
    done
    run -0 qcauditctl check good.qcow2
    # its magic; its only key slot, switched off; one that lies on the payload
    for statement in 'put(at, 4, 0)' 'put(at + 208, 4, 0xDEAD)' 'put(at + 208 + 48 + 40, 4, 1 << 24)'; do
        cp good.qcow2 bad.qcow2
        edit bad.qcow2 "at = image.get(image.extension(0x0537BE77), 8); image.$statement"
        run -2 qcauditctl check bad.qcow2
        [[ $output == *"damage "*"LUKS"*"Damage was found in "* && $output != *"No errors"* ]]
        run -0 qcauditctl check --compatible bad.qcow2
    done
}

@test "the file may end behind the last subcluster that was written" {
    qemu-img create -q -f qcow2 -o extended_l2=on a.qcow2 64M
    # the last of several clusters in a row
    qemu-io -f qcow2 -c 'write -q -P 1 0 100k' a.qcow2
    [ $(($(stat -c %s a.qcow2) % 65536)) != 0 ]
    same a.qcow2
    run -0 qcauditctl check a.qcow2
    [[ $output != *"damage"* ]]
}

@test "raw has no check: 63; asked for as qcow2: 1" {
    truncate -s 1M image.raw
    same image.raw
    run -63 qcauditctl check image.raw
    [[ $output == *"does not support checks"* ]]
    run -1 qcauditctl check --format=qcow2 image.raw
    make_image good.qcow2
    run -63 qcauditctl check --format=raw good.qcow2
}

@test "a chain that cannot be opened: 1, with the layer and the reason" {
    make_image base.qcow2
    qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 overlay.qcow2
    mv base.qcow2 gone.qcow2
    same overlay.qcow2
    run -1 qcauditctl check overlay.qcow2
    [[ $output == *"Cannot open overlay.qcow2: "*"does not exist"* ]]
    # a loop, on which qemu-img would never end
    qemu-img rebase -u -f qcow2 -F qcow2 -b overlay2.qcow2 overlay.qcow2
    qemu-img create -q -u -f qcow2 -F qcow2 -b overlay.qcow2 overlay2.qcow2 8M
    run -1 timeout 20 qcauditctl check overlay.qcow2
    [[ $output == *loop* ]]
    # remote, or built of JSON: not opened
    for parent in 'nbd://localhost/x' 'json:{"driver":"null-co"}'; do
        qemu-img create -q -u -f qcow2 -F raw -b "$parent" remote.qcow2 8M
        run -1 qcauditctl check remote.qcow2
        [[ $output == "Cannot open remote.qcow2: "* ]]
    done
}

@test "every layer with --chain" {
    make_image base.qcow2
    edit base.qcow2 'image.put_l2(3, COPIED | 0x7000_0000_0000)'
    qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 overlay.qcow2
    run -0 qcauditctl check overlay.qcow2
    run -2 qcauditctl check --chain overlay.qcow2
    [[ $output == *base.qcow2* ]]
    [ "$(qcauditctl check --chain --json=short overlay.qcow2 | jq '.layers[0].corruptions')" -gt 0 ]
}

@test "what is no image: a clear line, no hang" {
    mkfifo fifo
    mkdir directory.qcow2
    ln -s nowhere dangling.qcow2
    : >empty.qcow2
    head -c 4096 /dev/urandom >noise.raw
    for file in fifo directory.qcow2 dangling.qcow2 none.qcow2 /dev/null; do
        run -1 timeout 20 qcauditctl check "$file"
        [[ $output == "Cannot open $file: "*. ]]
        [ "$(timeout 20 qcauditctl check --json=short "$file" | jq -c '[.opened, (.error | type)]')" = '[false,"string"]' ]
    done
    run -63 qcauditctl check empty.qcow2
    run -63 qcauditctl check noise.raw
    make_image cut.qcow2
    truncate -s 100 cut.qcow2
    run -1 qcauditctl check cut.qcow2
}

@test "no permission" {
    make_image secret.qcow2
    chmod 0 secret.qcow2
    if [ "$(id -u)" = 0 ]; then
        command -v setpriv >/dev/null || skip "setpriv is not installed"
        # Neither this folder nor the build tree need be reachable for everybody.
        open=$(mktemp -d)
        chmod 755 "$open"
        mv secret.qcow2 "$open"
        cp "$(command -v qcauditctl)" "$QCAUDIT_LIBEXECDIR/qcaudit-checker" "$open"
        run -1 env QCAUDIT_LIBEXECDIR="$open" setpriv --reuid=65534 --regid=65534 --clear-groups \
            "$open/qcauditctl" check "$open/secret.qcow2"
        rm -rf "$open"
    else
        run -1 qcauditctl check secret.qcow2
    fi
    [[ $output == *"Permission denied"* ]]
}

@test "hostile names reach neither terminal nor JSON as they are" {
    name=$'a\e[31m\nb\xff.qcow2'
    make_image plain.qcow2
    mv plain.qcow2 "$name"
    run -0 qcauditctl check "$name"
    [[ $output == 'a\x1b[31m\nb\xff.qcow2: qcow2'* ]]
    qcauditctl check --json=pretty "$name" >json
    # no UTF-8: an array of its bytes
    [ "$(jq '.filename | length' json)" = "$(printf %s "$name" | wc -c)" ]
    run ! grep -q $'\e' json
    utf8=$'ü\e[31m.qcow2'
    mv "$name" "$utf8"
    [ "$(qcauditctl check --json=short "$utf8" | jq -r .filename)" = "$utf8" ]
}

@test "several files make an array, one an object" {
    make_image a.qcow2
    make_image b.qcow2
    [ "$(qcauditctl check --json=short a.qcow2 | jq -r type)" = object ]
    [ "$(qcauditctl check --json=pretty a.qcow2 b.qcow2 | jq -rc '[type, length, .[1].filename]')" = '["array",2,"b.qcow2"]' ]
}

@test "an image that QEMU writes is said to be in use" {
    make_image busy.qcow2
    coproc qemu-io -f qcow2 busy.qcow2
    echo 'write -q 0 64k' >&"${COPROC[1]}"
    for ((i = 0; i < 100; i++)); do
        ! qcauditctl check --json=short busy.qcow2 | jq -e '."in-use"' >/dev/null || break
        sleep 0.05
    done
    run qcauditctl check busy.qcow2
    [[ $output == *"QEMU has it open for writing"* ]]
    echo quit >&"${COPROC[1]}"
    wait
}

@test "nothing is written" {
    make_image good.qcow2
    edit good.qcow2 'image.leak(5)'
    touch -d 2020-01-01 good.qcow2
    before=$(sha256sum good.qcow2; stat -c '%Y %Z' good.qcow2)
    run -3 qcauditctl check good.qcow2
    [ "$before" = "$(sha256sum good.qcow2; stat -c '%Y %Z' good.qcow2)" ]
}
