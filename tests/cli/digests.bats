#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl hash, verify and compare: equal for every container of one content, to a reference and to coreutils.
bats_require_minimum_version 1.5.0

setup() {
    for command in qemu-img qemu-io jq python3; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
    cd "$BATS_TEST_TMPDIR" || return 1
}

# reference RAW: the blkhash construction, by the book
reference() {
    python3 -B -c '
import hashlib, struct, sys
outer, size = hashlib.sha256(), 0
with open(sys.argv[1], "rb") as disk:
    while block := disk.read(65536):
        outer.update(hashlib.sha256(block).digest())
        size += len(block)
outer.update(struct.pack("<Q", size))
print(outer.hexdigest())' "$1"
}

content() { qcauditctl hash --content "$@" | sed 's/.* = //'; }

# same IMAGE [CONVERT-OPTIONS]: our digest is that of what qemu-img reads
same() {
    local image=$1 ours theirs
    shift
    qemu-img convert -q "$@" -O raw "$image" same.raw
    theirs=$(reference same.raw)
    ours=$(content "$image")
    [ "$ours" = "$theirs" ] || { echo "$image: $ours, not $theirs"; return 1; }
}

# Data at odd places, zeros in all forms, a piece that ends within a sector's cluster.
fill() {
    qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 2 1234432 5120' -c 'write -q -P 0 2M 192k' \
        -c 'write -q -z 3M 512k' -c 'write -q -P 3 3211264 1536' -c 'write -q -P 4 8387584 1024' "$@" >/dev/null
}

@test "all geometries" {
    for options in compat=0.10 compat=1.1 cluster_size=512 cluster_size=1k cluster_size=2k cluster_size=4k \
        cluster_size=8k cluster_size=16k cluster_size=32k cluster_size=128k cluster_size=256k cluster_size=512k \
        cluster_size=1M cluster_size=2M extended_l2=on,cluster_size=16k extended_l2=on,cluster_size=128k \
        extended_l2=on,cluster_size=2M preallocation=metadata refcount_bits=1 lazy_refcounts=on; do
        qemu-img create -q -f qcow2 -o "$options" disk.qcow2 8389120
        fill disk.qcow2
        same disk.qcow2 || { echo "with $options"; return 1; }
        rm disk.qcow2
    done
}

@test "one content in many containers" {
    qemu-img create -q -f qcow2 disk.qcow2 8389120
    fill disk.qcow2
    qemu-img convert -O raw disk.qcow2 disk.raw
    want=$(reference disk.raw)
    [ "$(content disk.raw)" = "$want" ]
    for options in compression_type=zlib compression_type=zstd compression_type=zlib,cluster_size=512 \
        compression_type=zstd,cluster_size=2M compression_type=zlib,cluster_size=2M,extended_l2=on; do
        qemu-img convert -c -O qcow2 -o "$options" disk.qcow2 other.qcow2
        [ "$(content other.qcow2)" = "$want" ] || { echo "with $options"; return 1; }
    done
    for how in vmdk:subformat=monolithicSparse vmdk:subformat=streamOptimized vmdk:subformat=monolithicFlat \
        vmdk:subformat=twoGbMaxExtentSparse vpc:subformat=dynamic,force_size=on vpc:subformat=fixed,force_size=on; do
        # and back again: there is no other way to read them yet
        qemu-img convert -O "${how%%:*}" -o "${how#*:}" disk.qcow2 "other.${how%%:*}"
        qemu-img convert -f "${how%%:*}" -O qcow2 "other.${how%%:*}" back.qcow2
        [ "$(content back.qcow2)" = "$want" ] || { echo "by $how"; return 1; }
        [ "$(content disk.raw)" = "$(content back.qcow2)" ]
        rm other*.vmdk other.vpc 2>/dev/null || :
    done
    qemu-img create -q -f qcow2 -o data_file=data.raw data.qcow2 8389120
    fill data.qcow2
    [ "$(content data.qcow2)" = "$want" ]
    qemu-img create -q -f qcow2 -o data_file=data2.raw,data_file_raw=on data2.qcow2 8389120
    fill data2.qcow2
    [ "$(content data2.qcow2)" = "$want" ]
    # in one pass or by libcrypto alone
    [ "$(content --scalar disk.qcow2)" = "$want" ]
}

@test "chains, before and after their consolidation" {
    qemu-img create -q -f qcow2 base.qcow2 8M
    qemu-io -c 'write -q -P 1 0 1M' base.qcow2
    qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 -o cluster_size=4k mid.qcow2
    qemu-io -c 'write -q -P 5 64k 100k' -c 'write -q -z 128k 64k' -c 'write -q -P 6 5M 4k' mid.qcow2
    qemu-img create -q -f qcow2 -F qcow2 -b mid.qcow2 -o extended_l2=on,cluster_size=128k top.qcow2
    qemu-io -c 'write -q -P 7 66k 3k' -c 'write -q -z 5M 2k' top.qcow2
    qemu-img create -q -f qcow2 -F qcow2 -b top.qcow2 leaf.qcow2 10M
    qemu-io -c 'write -q -P 8 9M 64k' leaf.qcow2
    for image in base mid top leaf; do same "$image.qcow2"; done
    before=$(content top.qcow2)
    qemu-img convert -O qcow2 top.qcow2 flat.qcow2
    [ "$(content flat.qcow2)" = "$before" ]
    qemu-img commit -q -d top.qcow2
    [ "$(content mid.qcow2)" = "$before" ]
    [ "$(content top.qcow2)" = "$before" ]
}

@test "a parent that is shorter hides what its own parent has behind its end; a compressed one shows in pieces" {
    qemu-img create -q -f raw base.raw 4M
    qemu-io -f raw -c 'write -q -P 1 0 4M' base.raw
    qemu-img create -q -f qcow2 -F raw -b base.raw short.qcow2 1M
    qemu-img create -q -f qcow2 -F qcow2 -b short.qcow2 leaf.qcow2 3M
    qemu-io -c 'write -q -P 2 2M 64k' leaf.qcow2
    same leaf.qcow2
    qemu-img convert -f raw -c -O qcow2 base.raw packed.qcow2
    qemu-img create -q -f qcow2 -F qcow2 -b packed.qcow2 -o cluster_size=512 over.qcow2
    qemu-io -c 'write -q -P 3 1536 512' -c 'write -q -P 4 70000 100' over.qcow2
    same over.qcow2
}

@test "internal snapshots" {
    qemu-img create -q -f qcow2 disk.qcow2 8M
    qemu-io -c 'write -q -P 1 0 1M' disk.qcow2
    qemu-img snapshot -c first disk.qcow2
    qemu-io -c 'write -q -P 2 512k 1M' disk.qcow2
    qemu-img convert -l snapshot.name=first -O raw disk.qcow2 first.raw
    [ "$(content --snapshot=first disk.qcow2)" = "$(reference first.raw)" ]
    [ "$(content --snapshot=1 disk.qcow2)" = "$(reference first.raw)" ]
    same disk.qcow2
    run -1 qcauditctl hash --content --snapshot=none disk.qcow2
    [[ $output == *"no such internal snapshot"* ]]
    run -1 qcauditctl hash --snapshot=first disk.qcow2
}

@test "a deep chain" {
    qemu-img create -q -f qcow2 layer0.qcow2 8M
    for ((i = 1; i < 150; i++)); do
        qemu-img create -q -u -f qcow2 -F qcow2 -b "layer$((i - 1)).qcow2" "layer$i.qcow2" 8M
    done
    for ((i = 0; i < 150; i += 30)); do qemu-io -c "write -q -P $((i + 1)) $((i * 50))k 150k" "layer$i.qcow2"; done
    same layer149.qcow2
}

@test "a disk of 1 TiB that is empty" {
    truncate -s 1T empty.raw
    qemu-img create -q -f qcow2 empty.qcow2 1T
    qemu-img create -q -f qcow2 -o cluster_size=2M,preallocation=off sparse.qcow2 1T
    a=$(timeout 60 qcauditctl hash --content --json=short empty.raw empty.qcow2 sparse.qcow2 | jq -c '[.[]."content-sha256"] | unique')
    [ "$a" = '["e3918f867fb182a40237a7b7e30ba90dbd78defcf6ac1c502bff489670e79f85"]' ]
}

@test "file digests are those of coreutils, which reads them" {
    for command in sha256sum sha512sum sha1sum md5sum; do command -v "$command" || skip "$command is not installed"; done
    head -c 300000 /dev/urandom >noise
    printf abc >$'odd\nname\\'
    : >empty
    qcauditctl hash noise $'odd\nname\\' empty >ours
    sha256sum noise $'odd\nname\\' empty >theirs
    diff ours theirs
    sha256sum -c ours
    qcauditctl hash --tag noise $'odd\nname\\' >ours
    sha256sum --tag noise $'odd\nname\\' >theirs
    diff ours theirs
    for algorithm in md5 sha1 sha512; do
        qcauditctl hash --algorithm=$algorithm noise empty >ours
        "${algorithm}sum" noise empty >theirs
        diff ours theirs
    done
    [ "$(qcauditctl hash --algorithm=md5,sha256 noise | wc -l)" = 2 ]
    run -1 qcauditctl hash --algorithm=crc32 noise
    run -1 qcauditctl hash noise none
    [[ $output == *"Cannot hash none: No such file or directory."* ]]
}

@test "lists are verified, whoever wrote them" {
    printf abc >$'odd\nname\\'
    head -c 100000 /dev/urandom >noise
    qemu-img create -q -f qcow2 disk.qcow2 8M
    { qcauditctl hash --file --content --algorithm=sha256,md5,sha1,sha512 noise disk.qcow2 $'odd\nname\\'
      qcauditctl hash --tag noise
      sed 's/$/\r/' < <(sha256sum noise)
      sha256sum --binary noise
      echo "# a comment"
      echo
      echo "SHA256(noise)= $(sha256sum <noise | cut -d ' ' -f 1)"
      echo "SHA2-512(noise)= $(sha512sum <noise | cut -d ' ' -f 1)"
      printf '%s noise\n' "$(md5sum <noise | cut -d ' ' -f 1)"
      printf '%s\tnoise\n' "$(sha1sum <noise | cut -d ' ' -f 1)"; } >list
    run -0 --separate-stderr qcauditctl verify list
    [ "$(grep -c ': OK$' <<<"$output")" = 22 ]
    [ -z "$stderr" ]
    [[ $output == *'odd\nname\\: OK'* ]]
    qcauditctl verify - <list >/dev/null
    # blksum's lines have no tag
    content disk.qcow2 | sed 's/$/  disk.qcow2/' >blksum
    qcauditctl verify --content blksum
    run -1 qcauditctl verify blksum
    [[ $output == *"disk.qcow2: FAILED"* ]]
    printf x >>noise
    run -1 --separate-stderr qcauditctl verify list
    [[ $output == *"noise: FAILED"* && $stderr == *"did NOT match"* ]]
}

@test "what is wrong with a list is said with its line" {
    printf abc >file
    good=$(sha256sum file)
    { echo "$good"
      echo "no digest at all"
      echo "${good:2}"
      echo "SHA3-256 (file) = ${good%% *}"
      echo "SHA1 (file) = ${good%% *}"
      printf '\\%s  bad\\escape\n' "${good%% *}"
      echo "${good%% *}  gone"
      head -c 40000 /dev/zero | tr '\0' a; echo
      printf '%s  na\0me\n' "${good%% *}"; } >list
    run -1 --separate-stderr qcauditctl verify list
    [ "$(grep -c OK <<<"$output")" = 1 ]
    for line in 2 3 4 5 6 8 9; do [[ $stderr == *"list:$line: The line is left out: "* ]]; done
    [[ $stderr == *"algorithm is not known"* && $stderr == *"list:7: gone: No such file or directory."* ]]
    [[ $output == *"gone: FAILED open or read"* ]]
    [[ $(qcauditctl verify --json=short list 2>/dev/null | jq -c '[.[].result]') == '["same","unreadable"]' ]]
    # what is only badly written does not fail, as of sha256sum; nothing at all does
    { echo "$good"; echo "no digest at all"; } >list
    run -0 qcauditctl verify list
    echo "no digest at all" >list
    run -1 qcauditctl verify list
    run -1 qcauditctl verify none
}

@test "two images compared" {
    qemu-img create -q -f qcow2 a.qcow2 8M
    qemu-io -c 'write -q -P 1 0 1M' a.qcow2
    qemu-io -c 'write -q -P 9 5M 64k' a.qcow2
    cp a.qcow2 b.qcow2
    run -0 qcauditctl compare a.qcow2 b.qcow2
    [[ $output == *"the same file"* ]]
    qemu-img convert -c -O qcow2 -o compat=0.10,cluster_size=4k a.qcow2 c.qcow2
    run -0 qcauditctl compare a.qcow2 c.qcow2
    [[ $output == *"the same content in different containers"* ]]
    [[ $output == *"Version: "*"3, 2"* && $output == *"Cluster size: "*"64K, 4K"* && $output == *"Compression: "*"zlib"* ]]
    qemu-img convert -O raw a.qcow2 a.raw
    run -0 qcauditctl compare a.qcow2 a.raw
    [[ $output == *"Format: "*"qcow2, raw"* ]]
    qemu-io -f raw -c 'write -q -P 77 5300000 100' -c 'write -q -P 78 7M 1' -c 'write -q -P 79 7M 128k' a.raw
    run -1 qcauditctl compare a.qcow2 a.raw
    [[ $output == *"different content"* && $output == *"0x500000, 64K"* && $output == *"0x700000, 128K"* ]]
    [[ $output == *", in 2 ranges of blocks of 64K"* ]]
    [ "$(qcauditctl compare --json=short a.qcow2 a.raw | jq -c '[.result, ."different-bytes", ."ranges-total", .ranges[1]."guest-offset"]')" = \
        '["different",196608,2,7340032]' ]
    # the same clusters in another order
    qemu-img create -q -f qcow2 up.qcow2 8M
    qemu-img create -q -f qcow2 down.qcow2 8M
    for ((i = 0; i < 8; i++)); do qemu-io -c "write -q -P $((i + 1)) $((i * 64))k 64k" up.qcow2; done
    for ((i = 7; i >= 0; i--)); do qemu-io -c "write -q -P $((i + 1)) $((i * 64))k 64k" down.qcow2; done
    run -0 qcauditctl compare up.qcow2 down.qcow2
    [[ $output == *"Order: "*"consecutive, "*" of 8 clusters not next to the one before"* ]]
    qemu-img bitmap --add up.qcow2 backup
    [ "$(qcauditctl compare --json=short up.qcow2 down.qcow2 | jq -c '[.result, (.differs | map(.what))]')" = \
        '["same-content",["Bitmaps","Order","File size"]]' ]
    [[ "$(qcauditctl compare --json=short up.qcow2 up.qcow2 | jq -c .differs)" == null ]]
    # longer, by zeros
    qemu-img convert -O qcow2 a.qcow2 d.qcow2
    qemu-img resize -q d.qcow2 12M
    run -1 qcauditctl compare a.qcow2 d.qcow2
    [[ $output == *"Virtual size: "*" has zeros"* && $output == *"Different: "*"0B of 12M"* ]]
    [ "$(qcauditctl compare --json=short a.qcow2 d.qcow2 |
        jq -c '[.result, ."first-virtual-size", ."second-virtual-size", ."different-bytes"]')" = \
        '["different",8388608,12582912,0]' ]
    run -2 qcauditctl compare a.qcow2 none.qcow2
    # nothing that goes wrong looks like different content
    run -2 qcauditctl compare a.qcow2
    run -2 qcauditctl compare --none a.qcow2 a.qcow2
    run -2 qcauditctl compare --content a.qcow2 a.qcow2
    run -2 bash -c 'qcauditctl compare a.qcow2 a.qcow2 >/dev/full'
    cp a.qcow2 e.qcow2
    qemu-io -c 'write -q -P 3 5M 1' e.qcow2
    run -1 qcauditctl compare a.qcow2 e.qcow2
    [[ $output == *"64K of 8M ("*"), in 1 range of blocks of 64K"* ]]
}

edit() { # IMAGE STATEMENT: with imagekit's editor as `image`
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1] + "/tests/images")
from imagekit import COPIED, Qcow2
with Qcow2(sys.argv[2]) as image: exec(sys.argv[3])' "$top_srcdir" "$1" "$2"
}

@test "what cannot be read is told with its place, and no digest is printed" {
    for type in zlib zstd; do
        qemu-img create -q -f qcow2 plain.qcow2 8M
        qemu-io -c 'write -q -P 1 0 1M' plain.qcow2
        qemu-img convert -c -O qcow2 -o compression_type=$type plain.qcow2 packed.qcow2
        edit packed.qcow2 'image.put_bytes(image.l2(3) & (1 << 54) - 1, b"\xff" * 4)'
        run -1 --separate-stderr qcauditctl hash --content packed.qcow2
        [ -z "$output" ]
        [[ $stderr == *"guest range 0x30000, 64K, of layer 0: "* ]]
        [ "$(qcauditctl hash --json=short --content packed.qcow2 2>/dev/null | jq -c .)" = \
            '[{"filename":"packed.qcow2","missing":[{"guest-offset":196608,"length":65536,"layer":0,"reason":"metadata or compressed data is damaged"}],"missing-bytes":65536}]' ]
        # the file can be hashed all the same
        qcauditctl hash packed.qcow2 | sha256sum -c
        run -2 qcauditctl compare plain.qcow2 packed.qcow2
    done
    edit plain.qcow2 'image.put_l2(5, COPIED | 0x50200)'
    run -1 qcauditctl hash --content plain.qcow2
    [[ $output == *"guest range 0x50000, 64K, of layer 0: metadata or compressed data is damaged"* ]]
    qemu-img create -q -f qcow2 -F qcow2 -b plain.qcow2 over.qcow2
    run -1 qcauditctl hash --content over.qcow2
    [[ $output == *"of layer 1: "* ]]
}

@test "encrypted, without a parent, no image: the reason" {
    # on a busy machine LUKS at times fails to measure its key derivation
    for ((i = 0; i < 20; i++)); do
        ! qemu-img create -q -f qcow2 --object secret,id=s,data=x \
            -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 luks.qcow2 1M || break
    done
    run -1 qcauditctl hash --content luks.qcow2
    [[ $output == *"Cannot hash luks.qcow2: the image is encrypted (LUKS)"* ]]
    qemu-img create -q -f qcow2 plain.qcow2 1M
    for other in plain.qcow2 luks.qcow2; do
        run -2 qcauditctl compare luks.qcow2 "$other"
        [[ $output == *"the image is encrypted (LUKS): its guest's data cannot be read without the key."* ]]
    done
    echo "$(printf 'a%.0s' {1..64})  luks.qcow2" >list
    run -1 qcauditctl verify --content list
    [[ $output == *"luks.qcow2: FAILED open or read"* && $output == *"is encrypted"* ]]
    qcauditctl hash luks.qcow2 | sha256sum -c
    qemu-img create -q -u -f qcow2 -F qcow2 -b gone.qcow2 over.qcow2 1M
    run -1 qcauditctl hash --content over.qcow2
    [[ $output == *"Cannot hash over.qcow2: "*"does not exist."* ]]
    mkfifo fifo
    run -1 timeout 20 qcauditctl hash fifo
    qemu-img create -q -f qcow2 cut.qcow2 1M
    truncate -s 100 cut.qcow2
    run -1 qcauditctl hash --content cut.qcow2
    qcauditctl hash cut.qcow2 | sha256sum -c
}

@test "disks of many zeros: at once where they begin it, refused with the reason where it would take for ever" {
    qemu-img create -q -f qcow2 empty.qcow2 1T
    for option in --threads=1 --threads=4 --scalar; do
        run -0 qcauditctl hash --content "$option" empty.qcow2
        [[ $output == *e3918f867fb182a40237a7b7e30ba90dbd78defcf6ac1c502bff489670e79f85* ]]
    done
    qemu-img create -q -f qcow2 -o cluster_size=2M endless.qcow2 1500T
    run -1 qcauditctl hash --content endless.qcow2
    [[ $output == *"Cannot hash endless.qcow2: of a disk of 1649267441664000 bytes, too much reads as zeros"* ]]
    [[ $output == *"at most 256 TiB are hashed." ]]
}
