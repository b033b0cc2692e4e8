#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Formats of others: name, virtual size, check and content are qemu-img's; of parts of disks nothing is said but the header.
bats_require_minimum_version 1.5.0

setup() {
    for command in qemu-img qemu-io jq; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
    cd "$BATS_TEST_TMPDIR" || return 1
}

# FORMAT NAME [OPTIONS]: what qemu-img makes here, one a line.
kinds() {
    cat <<'END'
vmdk sparse.vmdk subformat=monolithicSparse
vmdk stream.vmdk subformat=streamOptimized
vdi a.vdi
vdi static.vdi static=on
vpc dynamic.vhd subformat=dynamic
vpc fixed.vhd subformat=fixed
vhdx a.vhdx
vhdx fixed.vhdx subformat=fixed
qed a.qed
parallels a.hdd
qcow a.qcow
vmdk flat.vmdk subformat=monolithicFlat
vmdk split.vmdk subformat=twoGbMaxExtentSparse
vmdk splitflat.vmdk subformat=twoGbMaxExtentFlat
END
}

make_all() {
    local format name options
    qemu-img create -q -f raw disk.raw 5M
    qemu-io -f raw -c 'write -q -P 7 1M 64k' disk.raw
    kinds | while read -r format name options; do
        qemu-img convert -O "$format" ${options:+-o "$options"} disk.raw "$name" || { echo "cannot make $name"; return 1; }
    done
}

same_header() { # NAME FORMAT
    diff <(qemu-img info -f "$2" --output=json "$1" | jq -r '.format, ."virtual-size"') \
        <(jq -r '.format, ."virtual-size"' ours.json) || { echo "$1"; return 1; }
}

@test "name and virtual size are qemu-img's; a sound image is said to be sound" {
    make_all
    kinds | while read -r format name _; do
        status=0 wanted=0
        [ $name != fixed.vhd ] || format=raw wanted=63        # by its first bytes alone QEMU takes it for raw
        qcauditctl check --json=short "$name" >ours.json || status=$?
        jq -e '(.issues // []) == []' ours.json || { echo "$name"; cat ours.json; return 1; }
        [ $name = fixed.vhd ] || same_header "$name" $format
        [ "$status" = 0 ] || { echo "$name: $status"; return 1; }
        qcauditctl check "$name" | grep -q "No errors were found" || { qcauditctl check "$name"; return 1; }
    done
}

@test "of a part of a disk alone, hash --content and compare refuse with 2 and the reason" {
    make_all
    status=0
    qcauditctl hash --content split-s001.vmdk >out 2>err || status=$?
    [ "$status" = 2 ] && [ ! -s out ] && grep -q "a vmdk image is not understood" err || { echo "$status"; cat out err; return 1; }
    status=0
    qcauditctl compare split-s001.vmdk disk.raw >out 2>err || status=$?
    [ "$status" = 2 ] && [ ! -s out ] && grep -q "a vmdk image is not understood" err || { echo "$status"; cat out err; return 1; }
    # one that can be had is told all the same
    status=0
    qcauditctl hash --content split-s001.vmdk disk.raw >out 2>/dev/null || status=$?
    [ "$status" = 2 ] && grep -q "disk.raw" out
}

@test "the content digest is that of the same disk in every container; compare finds them equal, and one byte" {
    make_all
    kinds | while read -r _ name _; do
        [ "$(qcauditctl hash "$name" | cut -d' ' -f1)" = "$(sha256sum <"$name" | cut -d' ' -f1)" ] || return 1
    done
    kinds | while read -r format name _; do
        # its geometry makes a VHD longer
        qemu-img convert -f "$format" -O raw "$name" read.raw
        [ "$(qcauditctl hash --content "$name" | cut -d= -f2)" = "$(qcauditctl hash --content read.raw | cut -d= -f2)" ] ||
            { echo "$name"; return 1; }
        qcauditctl compare "$name" read.raw || return 1
        printf x | dd of=read.raw bs=1 seek=$((1024 * 1024 + 5)) conv=notrunc status=none
        run -1 qcauditctl compare "$name" read.raw
    done
}

@test "overlays on such parents: status and figures of qemu-img check; the digest of the whole chain; --chain" {
    make_all
    kinds | while read -r format name _; do
        (umask 022; qemu-img create -q -f qcow2 -F "$format" -b "$name" "over-$name.qcow2")
        qemu-io -f qcow2 -c 'write -q -P 1 2M 64k' "over-$name.qcow2"
        theirs=0 ours=0
        qemu-img check --output=json "over-$name.qcow2" >theirs.json 2>&1 || theirs=$?
        qcauditctl check --compatible --json=short "over-$name.qcow2" >ours.json || ours=$?
        [ "$theirs" = 0 ] && [ "$ours" = 0 ] || { echo "$name: $theirs $ours"; cat ours.json; return 1; }
        diff <(jq '."image-end-offset", ."allocated-clusters"' theirs.json) \
            <(jq '."image-end-offset", ."allocated-clusters"' ours.json)
    done
    kinds | while read -r _ name _; do
        qemu-img convert -f qcow2 -O raw "over-$name.qcow2" read.raw
        [ "$(qcauditctl hash --content "over-$name.qcow2" | cut -d= -f2)" = "$(qcauditctl hash --content read.raw | cut -d= -f2)" ] ||
            { echo "over-$name.qcow2"; return 1; }
    done
    qcauditctl check --chain over-split.vmdk.qcow2 | grep -q "2 layers: none is damaged."
    # a part of a disk as a parent
    qemu-img create -q -u -f qcow2 -F vmdk -b split-s001.vmdk over-part.qcow2 5M
    qcauditctl check --chain over-part.qcow2 >text || :
    grep -q "The chain is understood down to layer 0; 1 layer was not checked, the first is split-s001.vmdk, a vmdk image." text ||
        { cat text; return 1; }
    run -2 qcauditctl hash --content over-part.qcow2
}

@test "random images against qemu-img: sound ones without a word, damage found where it finds some" {
    PATH=/usr/bin:$PATH
    "$top_srcdir/tests/images/differential_foreign.py" --count 24
}

desc() { # FILE CID PARENT-CID PARENT LINE...
    local file=$1 cid=$2 parent_cid=$3 parent=$4
    shift 4
    { printf '# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\ncreateType="vmfs"\n' $cid $parent_cid
      [ -z "$parent" ] || printf 'parentFileNameHint="%s"\n' "$parent"
      printf '%s\n' "$@"; } >"$file"
}

@test "a disk in several files: split at any place, flat at an offset, of zeros, with overlays that are split elsewhere" {
    head -c 3M /dev/urandom >pieces.bin
    qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse s.vmdk 1M
    qemu-io -f vmdk -c 'write -q -P 5 64k 200k' s.vmdk
    desc base.vmdk 00000001 ffffffff "" 'RW 100 FLAT "pieces.bin" 3' 'RW 2048 SPARSE "s-s001.vmdk"' 'RW 77 ZERO' \
        'RDONLY 4000 VMFS "pieces.bin" 1000'
    { tail -c +1537 pieces.bin | head -c 51200; qemu-img convert -O raw s.vmdk s.raw; cat s.raw; head -c $((77 * 512)) /dev/zero
      tail -c +$((1000 * 512 + 1)) pieces.bin | head -c $((4000 * 512)); } >base.raw
    [ "$(qcauditctl hash --content base.vmdk | cut -d= -f2)" = "$(qcauditctl hash --content base.raw | cut -d= -f2)" ]
    qcauditctl compare base.vmdk base.raw
    qcauditctl check base.vmdk | grep -q "No errors were found"
    # an overlay of one file, as QEMU makes it, over a disk that was split by it
    qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentFlat q.vmdk 5G
    qemu-io -f vmdk -c 'write -q -P 3 2097148k 8k' -c 'write -q -P 4 4G 64k' q.vmdk
    qemu-img create -q -f vmdk -F vmdk -b q.vmdk -o subformat=twoGbMaxExtentSparse over.vmdk
    qemu-io -f vmdk -c 'write -q -P 6 2097150k 1k' over.vmdk
    qemu-img convert -O raw over.vmdk over.raw
    [ "$(qcauditctl hash --content over.vmdk | cut -d= -f2)" = "$(qcauditctl hash --content over.raw | cut -d= -f2)" ]
    qcauditctl check --chain over.vmdk | grep -q "2 layers: none is damaged."
}

@test "a disk in several files: pieces that are missing, short, damaged, the disk itself, or lie elsewhere" {
    qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse s.vmdk 1M
    qemu-io -f vmdk -c 'write -q -P 5 64k 200k' s.vmdk
    truncate -s 1M flat.bin
    desc short.vmdk 00000001 ffffffff "" 'RW 1024 FLAT "flat.bin" 0' 'RW 2048 FLAT "flat.bin" 1024'
    run -2 qcauditctl check short.vmdk
    grep -q "extent 2, flat.bin; 1.0M by the descriptor, 512K in the file" <<<"$output" ||
        grep -q "extent 2, flat.bin; 1M by the descriptor, 512K in the file" <<<"$output"
    grep -q "guest data affected: 512K at 0x100000" <<<"$output"
    [ "$(qcauditctl check --json=short short.vmdk | jq -c '[.issues[] | .kind, .extent]')" = '["extent-size",2]' ]
    desc loop.vmdk 00000001 ffffffff "" 'RW 8 FLAT "loop.vmdk" 0'
    run -1 qcauditctl check loop.vmdk
    grep -q "an extent of layer 0 lies in the file of layer 0" <<<"$output"
    desc nested.vmdk 00000001 ffffffff "" 'RW 2048 SPARSE "s.vmdk"'
    run -1 qcauditctl check nested.vmdk
    grep -q "no sparse extent" <<<"$output"
    desc gone.vmdk 00000001 ffffffff "" 'RW 2048 SPARSE "gone-s001.vmdk"'
    run -1 qcauditctl check gone.vmdk
    grep -q "the file of an extent does not exist" <<<"$output"
    for name in /etc/passwd ../x/flat.bin file:/etc/passwd /dev/zero nbd:localhost:1 'json:{}'; do
        desc evil.vmdk 00000001 ffffffff "" "RW 8 FLAT \"$name\" 0"
        for command in check "check --chain" hash\ --content; do
            status=0
            qcauditctl $command evil.vmdk >out 2>&1 || status=$?
            [ "$status" != 0 ] && grep -qE "lies outside of what may be read|is remote" out || { echo "$name"; cat out; return 1; }
        done
    done
    # a grain behind the end of an extent's file
    python3 -c 'import struct
f = open("s-s001.vmdk", "r+b")
f.seek(56); f.seek(struct.unpack("<Q", f.read(8))[0] * 512); f.seek(struct.unpack("<I", f.read(4))[0] * 512 + 4)
f.write(struct.pack("<I", 0x7fffffff))'
    run -2 qcauditctl check s.vmdk
    grep -q "extent 1, s-s001.vmdk; block-map at" <<<"$output"
}

@test "no file that a descriptor names elsewhere is opened" {
    command -v strace >/dev/null || skip "strace is not installed"
    desc evil.vmdk 00000001 ffffffff "" 'RW 8 FLAT "/etc/machine-secret" 0' 'RW 8 FLAT "../../etc/machine-secret" 0'
    for command in check "check --chain" hash\ --content; do
        strace -f -e trace=open,openat,openat2,stat,newfstatat,readlink -o trace qcauditctl $command evil.vmdk >/dev/null 2>&1 || :
        grep -q evil.vmdk trace
        run ! grep machine-secret trace
    done
}

@test "an overlay whose parent is another one than it was made on, or lies in a folder of ESXi's" {
    mkdir -p store/base store/vm
    truncate -s 1M store/base/base-flat.vmdk
    desc store/base/base.vmdk 11112222 ffffffff "" 'RW 2048 VMFS "base-flat.vmdk"'
    truncate -s 1M store/vm/delta-flat.vmdk
    desc store/vm/delta.vmdk 33334444 11112222 /vmfs/volumes/5f3a0011-aa/base/base.vmdk 'RW 2048 VMFS "delta-flat.vmdk"'
    run -0 qcauditctl check --chain store/vm/delta.vmdk
    grep -q "2 layers: none is damaged" <<<"$output"
    (cd store/vm && qcauditctl check --chain delta.vmdk | grep -q "2 layers: none is damaged")
    sed -i 's/^CID=.*/CID=deadbeef/' store/base/base.vmdk
    qcauditctl check --chain store/vm/delta.vmdk >text || :
    grep -q "the parent is not as it was when this layer was made" text
    grep -q "made on 11112222, the parent is deadbeef" text || { cat text; return 1; }
    desc store/vm/delta.vmdk 33334444 11112222 /vmfs/volumes/5f3a0011-aa/../../../etc/passwd 'RW 2048 VMFS "delta-flat.vmdk"'
    run ! qcauditctl check --chain store/vm/delta.vmdk
}

@test "QED and the first qcow do not declare the format of a parent: it is what QEMU takes it for" {
    for format in qed qcow; do
        qemu-img create -q -f $format base.$format 1M
        qemu-io -f $format -c 'write -q -P 5 64k 200k' base.$format
        qemu-img create -q -f $format -F $format -b base.$format over.$format
        qemu-io -f $format -c 'write -q -P 6 100k 10k' over.$format
        qemu-img convert -O raw over.$format over.raw
        [ "$(qcauditctl hash --content over.$format | cut -d= -f2)" = "$(qcauditctl hash --content over.raw | cut -d= -f2)" ] || { echo $format; return 1; }
        qcauditctl check --chain over.$format | grep -q "2 layers: none is damaged."
    done
    qemu-img create -q -f raw base.raw 1M
    qemu-io -f raw -c 'write -q -P 7 64k 200k' base.raw
    qemu-img create -q -f qed -F raw -b base.raw over.qed
    qemu-img convert -O raw over.qed over.raw
    [ "$(qcauditctl hash --content over.qed | cut -d= -f2)" = "$(qcauditctl hash --content over.raw | cut -d= -f2)" ]
}

@test "the disk of an ESXi host on which nobody consolidated: all deltas, and the damaged one" {
    "$top_srcdir/tests/images/make-esxi-chain" 1848 long
    qcauditctl check --chain long/vm-001847.vmdk | grep -q "1848 layers: none is damaged."
    "$top_srcdir/tests/images/make-esxi-chain" 60 short
    qemu-img convert -O raw short/vm-000059.vmdk read.raw
    [ "$(qcauditctl hash --content short/vm-000059.vmdk | cut -d= -f2)" = "$(qcauditctl hash --content read.raw | cut -d= -f2)" ]
    "$top_srcdir/tests/images/make-esxi-chain" 60 hurt 17
    qcauditctl check --chain hurt/vm-000059.vmdk >text || :
    grep -q "1 of 60 layers is damaged, the first from above is layer 42, .*/vm-000017.vmdk" text || { cat text; return 1; }
    qemu-img check hurt/vm-000059.vmdk          # of the leaf alone, and so it sees nothing
}

@test "descriptors of ESXi, which are no multiple of 512, and one with a byte order mark" {
    truncate -s 4M esx-flat.vmdk
    printf '# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID=1f2e3d4c\nparentCID=ffffffff\ncreateType="vmfs"\n\n# Extent description\nRW 8192 VMFS "esx-flat.vmdk"\n\n# The Disk Data Base \n#DDB\n\nddb.adapterType = "lsilogic"\n' >esx.vmdk
    [ $(($(stat -c %s esx.vmdk) % 512)) != 0 ]
    { printf '\xef\xbb\xbf\n# made by hand\n'; cat esx.vmdk; } >bom.vmdk
    for name in esx.vmdk bom.vmdk; do
        run -0 qcauditctl check --json=short $name
        [ "$(jq -r '.format, ."virtual-size"' <<<"$output" | xargs)" = "vmdk 4194304" ]
    done
}

@test "what lies at the end of a raw disk does not make it a VHD or DMG unless all of it fits" {
    qemu-img create -q -f raw disk.raw 4M
    printf conectix | dd of=disk.raw bs=1 seek=$((4 * 1024 * 1024 - 512)) conv=notrunc status=none
    run -63 qcauditctl check --json=short disk.raw
    [ "$(jq -r .format <<<"$output")" = raw ]
    printf koly | dd of=disk.raw bs=1 seek=$((4 * 1024 * 1024 - 512)) conv=notrunc status=none
    run -63 qcauditctl check --json=short disk.raw
    [ "$(jq -r .format <<<"$output")" = raw ]
    qcauditctl hash --content disk.raw
}

@test "differencing VHD and VHDX are read with their parents; a swapped one is told, a missing one named" {
    local layers=$top_srcdir/tests/images/layers_vhd.py format name
    qemu-img create -q -f raw disk.raw 5M
    qemu-io -f raw -c 'write -q -P 7 1M 2M' disk.raw
    for format in vpc vhdx; do
        for name in base other; do
            qemu-img convert -O "$format" -o subformat=dynamic disk.raw "$name.$format"
        done
        qemu-img convert -f "$format" -O raw "base.$format" base.raw
        "$layers" "base.$format" base.raw "first.$format" first.raw
        "$layers" "first.$format" first.raw "second.$format" second.raw
        for name in first second; do
            run -0 qcauditctl check --chain "$name.$format"
            [[ $output == *"none is damaged"* ]] || { echo "$output"; return 1; }
            [ "$(qcauditctl hash --content "$name.$format" | cut -d= -f2)" = "$(qcauditctl hash --content "$name.raw" | cut -d= -f2)" ] ||
                { echo "$name.$format"; return 1; }
            qcauditctl compare "$name.$format" "$name.raw"
        done
        run -1 qcauditctl compare "second.$format" first.raw
        mv "other.$format" "base.$format"
        run -2 qcauditctl check --chain --json=short "second.$format"
        [ "$(jq -r '[.layers[] | [.issues[]?.kind] | join(" ")] | join(",")' <<<"$output")" = parent-changed, ] ||
            { echo "$output"; return 1; }
        rm "base.$format"
        run -1 --separate-stderr qcauditctl check --chain "second.$format"
        [[ $stderr == *"the parent does not exist"* ]] || { echo "$stderr"; return 1; }
        run ! --separate-stderr qcauditctl hash --content "second.$format"
        [[ $stderr == *"the parent does not exist"* ]] || { echo "$stderr"; return 1; }
    done
}

@test "DiskDescriptor.xml of Parallels: named, with the size of its disk; nothing is said of its content" {
    mkdir a.hdd
    qemu-img create -q -f parallels "a.hdd/a.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds" 4M
    cat >a.hdd/DiskDescriptor.xml <<'END'
<?xml version='1.0' encoding='UTF-8'?>
<Parallels_disk_image Version="1.0">
    <Disk_Parameters>
        <Disk_size>8192</Disk_size><Cylinders>16</Cylinders><Heads>16</Heads><Sectors>32</Sectors><Padding>0</Padding>
    </Disk_Parameters>
    <StorageData>
        <Storage>
            <Start>0</Start><End>8192</End><Blocksize>2048</Blocksize>
            <Image>
                <GUID>{5fbaabe3-6958-40ff-92a7-860e329aab41}</GUID>
                <Type>Compressed</Type>
                <File>a.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds</File>
            </Image>
        </Storage>
    </StorageData>
    <Snapshots>
        <Shot>
            <GUID>{5fbaabe3-6958-40ff-92a7-860e329aab41}</GUID>
            <ParentGUID>{00000000-0000-0000-0000-000000000000}</ParentGUID>
        </Shot>
    </Snapshots>
</Parallels_disk_image>
END
    cd a.hdd
    run -63 qcauditctl check --json=short DiskDescriptor.xml
    [ "$(jq -r '.format, ."virtual-size"' <<<"$output" | xargs)" = "parallels 4194304" ] || { echo "$output"; return 1; }
    for verb in "hash --content" "compare a.hdd.0.*"; do
        run -2 qcauditctl $verb DiskDescriptor.xml
        [[ $output = *"a parallels image is not understood"* ]] || { echo "$output"; return 1; }
    done
    qcauditctl check a.hdd.0.*
    # cut, as by a file system that was full: not raw
    truncate -s 400 DiskDescriptor.xml
    run -1 qcauditctl check --json=short DiskDescriptor.xml
    [[ $output = *"the descriptor ends before its end"* ]] || { echo "$output"; return 1; }
}

@test "the format extension of a Parallels image: its clusters are not leaked; damage is told, that of an open image is not" {
    local damage said
    while read -r damage said; do
        rm -f p.hds
        qemu-img create -q -f parallels p.hds 64M
        qemu-io -f parallels -c "write -q -P 1 0 3M" p.hds
        "$top_srcdir/tests/images/extend-parallels" p.hds "$damage"
        qcauditctl check --deep --json p.hds | jq -r '[.issues[].kind] | join(" ")' >got || :
        [ "$(cat got)" = "$said" ] || { echo "$damage: $(cat got)"; return 1; }
    done <<'END'
sound
feature
magic field-invalid
sum checksum-wrong
size field-invalid
granularity field-invalid
entries field-invalid
outside table-out-of-file
cut table-out-of-file
on-data data-on-metadata block-leaked
in-use dirty-bit
stale extension-stale block-leaked
END
    # what QEMU says of the first, and of those in which it looks at what is damaged
    for damage in sound magic sum size entries; do
        rm -f p.hds
        qemu-img create -q -f parallels p.hds 64M
        "$top_srcdir/tests/images/extend-parallels" p.hds "$damage"
        if [ "$damage" = sound ]; then qemu-img info p.hds >/dev/null; else run ! qemu-img info p.hds; fi
    done
}

@test "a VHD whose geometry and size differ: content and size are those that QEMU goes by, and it is said" {
    qemu-img create -q -f vpc a.vhd 10000000
    qemu-io -f vpc -c "write -q -P 5 1M 10k" a.vhd
    run -0 qcauditctl hash --content a.vhd
    [[ $output != *geometry* ]]
    python3 - a.vhd <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    for place, whence in ((0, 0), (-512, 2)):
        file.seek(place, whence)
        footer = bytearray(file.read(512))
        footer[28:32] = b"vpc "
        struct.pack_into(">Q", footer, 48, 10000384)
        footer[64:68] = bytes(4)
        struct.pack_into(">I", footer, 64, ~sum(footer) & 0xffffffff)
        file.seek(place, whence)
        file.write(footer)
END
    qemu-img convert -f vpc -O raw a.vhd a.raw
    run -0 --separate-stderr qcauditctl hash --content a.vhd
    [ "${output##* }" = "$(qcauditctl hash --content a.raw | sed 's/.* //')" ]
    [[ $stderr == *"the size of the disk's geometry, which QEMU goes by"* ]]
    run -0 qcauditctl check a.vhd
    [[ $output == *"its size field says 9.5M"* ]]
    qcauditctl check --json a.vhd | jq -e '."other-size" == 10000384 and ."virtual-size" > ."other-size"'
}
