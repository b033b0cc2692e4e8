#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Formats that are not understood: name, virtual size and exit status are qemu-img's, and nothing is said of their content.
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
vmdk flat.vmdk subformat=monolithicFlat
vmdk split.vmdk subformat=twoGbMaxExtentSparse
vmdk splitflat.vmdk subformat=twoGbMaxExtentFlat
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

make_all() {
    local format name options
    qemu-img create -q -f raw disk.raw 5M
    qemu-io -f raw -c 'write -q -P 7 1M 64k' disk.raw
    kinds | while read -r format name options; do
        qemu-img convert -O "$format" ${options:+-o "$options"} disk.raw "$name" || { echo "cannot make $name"; return 1; }
    done
}

@test "name and virtual size are qemu-img's; check says that it does not check, and ends with 63" {
    make_all
    kinds | while read -r format name _; do
        status=0
        qcauditctl check --json=short "$name" >ours.json || status=$?
        [ "$status" = 63 ] || { echo "$name: $status"; return 1; }
        diff <(qemu-img info -f "$format" --output=json "$name" | jq -r '.format, ."virtual-size"') \
            <(jq -r '.format, ."virtual-size"' ours.json) || { echo "$name"; return 1; }
        status=0
        qcauditctl check "$name" >text || status=$?
        grep -q "It is not checked: the content of $format images is not understood." text
    done
}

@test "hash --content and compare refuse with 2 and the reason; a file's digest is had" {
    make_all
    qcauditctl hash --content disk.raw >plain
    kinds | while read -r format name _; do
        status=0
        qcauditctl hash --content "$name" >out 2>err || status=$?
        [ "$status" = 2 ] && [ ! -s out ] && grep -q "a $format image is not understood" err || { echo "$name: $status"; cat out err; return 1; }
        status=0
        qcauditctl compare "$name" disk.raw >out 2>err || status=$?
        [ "$status" = 2 ] && [ ! -s out ] && grep -q "a $format image is not understood" err || { echo "$name: $status"; cat out err; return 1; }
        [ "$(qcauditctl hash "$name" | cut -d' ' -f1)" = "$(sha256sum <"$name" | cut -d' ' -f1)" ]
        # one that can be had is told all the same
        status=0
        qcauditctl hash --content "$name" disk.raw >out 2>/dev/null || status=$?
        [ "$status" = 2 ] && grep -q "disk.raw" out
    done
}

@test "overlays on such parents: status and figures of qemu-img check; --chain says where it ends" {
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
        qcauditctl check --chain "over-$name.qcow2" >text
        grep -q "The chain is understood down to layer 0; 1 layer was not checked, the first is $name, a $format image." text ||
            { cat text; return 1; }
        status=0
        qcauditctl hash --content "over-$name.qcow2" >out 2>err || status=$?
        [ "$status" = 2 ] && grep -q "$name" err || { cat out err; return 1; }
    done
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
