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

# FORMAT NAME [OPTIONS]: what qemu-img makes here, one a line. understood: of which the guest's disk is known.
kinds() { understood; others; }

understood() {
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
END
}

others() {
    cat <<'END'
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
    understood | while read -r format name _; do
        status=0 wanted=0
        [ $name != fixed.vhd ] || format=raw wanted=63        # by its first bytes alone QEMU takes it for raw
        qcauditctl check --json=short "$name" >ours.json || status=$?
        jq -e '(.issues // []) == []' ours.json || { echo "$name"; cat ours.json; return 1; }
        [ $name = fixed.vhd ] || same_header "$name" $format
        [ "$status" = 0 ] || { echo "$name: $status"; return 1; }
        qcauditctl check "$name" | grep -q "No errors were found" || { qcauditctl check "$name"; return 1; }
    done
}

@test "of a part of a disk, name and virtual size; hash --content and compare refuse with 2 and the reason" {
    make_all
    others | while read -r format name _; do
        qcauditctl check --json=short "$name" >ours.json || :
        same_header "$name" $format
        status=0
        qcauditctl hash --content "$name" >out 2>err || status=$?
        [ "$status" = 2 ] && [ ! -s out ] && grep -q "a $format image is not understood" err || { echo "$name: $status"; cat out err; return 1; }
        status=0
        qcauditctl compare "$name" disk.raw >out 2>err || status=$?
        [ "$status" = 2 ] && [ ! -s out ] && grep -q "a $format image is not understood" err || { echo "$name: $status"; cat out err; return 1; }
        # one that can be had is told all the same
        status=0
        qcauditctl hash --content "$name" disk.raw >out 2>/dev/null || status=$?
        [ "$status" = 2 ] && grep -q "disk.raw" out
    done
}

@test "the content digest is that of the same disk in every container; compare finds them equal, and one byte" {
    make_all
    kinds | while read -r _ name _; do
        [ "$(qcauditctl hash "$name" | cut -d' ' -f1)" = "$(sha256sum <"$name" | cut -d' ' -f1)" ] || return 1
    done
    understood | while read -r format name _; do
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
    understood | while read -r _ name _; do
        qemu-img convert -f qcow2 -O raw "over-$name.qcow2" read.raw
        [ "$(qcauditctl hash --content "over-$name.qcow2" | cut -d= -f2)" = "$(qcauditctl hash --content read.raw | cut -d= -f2)" ] ||
            { echo "over-$name.qcow2"; return 1; }
    done
    others | while read -r format name _; do
        qcauditctl check --chain "over-$name.qcow2" >text || :
        grep -q "The chain is understood down to layer 0; 1 layer was not checked, the first is $name, a $format image." text ||
            { cat text; return 1; }
        status=0
        qcauditctl hash --content "over-$name.qcow2" >out 2>err || status=$?
        [ "$status" = 2 ] && grep -q "$name" err || { cat out err; return 1; }
    done
}

@test "random images against qemu-img: sound ones without a word, damage found where it finds some" {
    PATH=/usr/bin:$PATH
    "$top_srcdir/tests/images/differential_foreign.py" --count 24
}

@test "descriptors of ESXi, which are no multiple of 512, and one with a byte order mark" {
    truncate -s 4M esx-flat.vmdk
    printf '# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID=1f2e3d4c\nparentCID=ffffffff\ncreateType="vmfs"\n\n# Extent description\nRW 8192 VMFS "esx-flat.vmdk"\n\n# The Disk Data Base \n#DDB\n\nddb.adapterType = "lsilogic"\n' >esx.vmdk
    [ $(($(stat -c %s esx.vmdk) % 512)) != 0 ]
    { printf '\xef\xbb\xbf\n# made by hand\n'; cat esx.vmdk; } >bom.vmdk
    for name in esx.vmdk bom.vmdk; do
        run -63 qcauditctl check --json=short $name
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
