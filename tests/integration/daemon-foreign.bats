#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Containers of others' formats in a datastore: checked and digested, or named and said once; VMDK's extents.
load lib

setup() { need qemu-img qemu-io jq; qcaudit_setup; cd "$STORE"; }
teardown() { cd /; qcaudit_teardown; }

formats() { ctl images -a --json=short | jq -r '.[] | "\(.path | sub(".*/"; "")) \(.format) \(.role)"' | sort; }
row() { ctl images -a --json=short | jq -c --arg path "$STORE/$1" '.[] | select(.path == $path)'; }

@test "each format has its name and size, none is an image of raw, and it is said once per datastore" {
    for format in vmdk vdi vpc vhdx qed parallels qcow; do
        qemu-img create -q -f $format one.$format 4M
        qemu-img create -q -f qcow2 -F $format -b one.$format over-$format.qcow2
    done
    qemu-img create -q -f vdi two.vdi 4M
    qemu-img create -q -f vmdk -o subformat=monolithicFlat one-desc.vmdk 4M
    # of which the header alone is read
    for name in one two; do
        printf '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n' >$name.cloop
        truncate -s 128 $name.cloop
        printf '\0\1\0\0\0\0\0\100' >>$name.cloop
        truncate -s 64K $name.cloop
    done
    start_daemon
    scan
    for format in vmdk vdi vpc vhdx qed parallels qcow; do
        [ "$(row one.$format | jq -r .format)" = $format ] || { row one.$format; return 1; }
        [ "$(row one.$format | jq '."virtual-size"')" = "$(qemu-img info --output=json one.$format | jq '."virtual-size"')" ]
    done
    same "not-auditable info store" "$(ctl findings --json=short --name not-auditable | jq -r '.[] | "\(.name) \(.severity) \(.datastore)"')"
    ctl findings --json=short --name not-auditable | jq -e '.[0].summary | contains("2 cloop")'
    # which were checked, and which were not
    ctl images -a >text
    for format in vmdk vdi vpc vhdx qed parallels qcow; do grep -q "^ok .*/one.$format " text || { cat text; return 1; }; done
    grep -q "^ok .*/one-desc.vmdk " text
    grep -q "^unchecked .*/one.cloop " text
    ctl show "$STORE/one.vhdx" >text
    grep -q "Format: vhdx (dynamic)$" text
    ctl show "$STORE/one-desc.vmdk" >text
    grep -q "Format: vmdk (descriptor): the files with the pieces of its disk are checked one by one" text
    ctl show "$STORE/one.cloop" >text
    grep -q "Format: cloop, of which the header alone is understood" text
    # sound overlays, of equal size: nothing of parents, formats or sizes
    same "" "$(findings | grep -v '^not-auditable' || :)"
    rm one.* two.* *-desc* over-*
    scan
    wait_for 20 eval '[ -z "$(findings)" ]'
}

@test "a VMDK's extents are a part of it; outside of the datastores, missing, and with strange lines" {
    qemu-img create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 4M
    qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse split.vmdk 4M
    printf '# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/passwd" 0\n' >evil.vmdk
    printf '# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 8 FLAT "gone-flat.vmdk" 0\nrun this\n' >gone.vmdk
    start_daemon
    scan
    formats | grep -q "^flat-flat.vmdk raw extent$"
    formats | grep -q "^split-s001.vmdk vmdk extent$"
    same "data-file error gone.vmdk
descriptor-unsafe error evil.vmdk
descriptor-unsafe error gone.vmdk
reference-escapes critical evil.vmdk" "$(findings --path "$STORE" | sort)"
    # where they are is looked up again after a start
    stop_daemon
    start_daemon
    scan
    wait_for 20 eval 'formats | grep -q "^flat-flat.vmdk raw extent$"'
    same "reference-escapes critical evil.vmdk" "$(findings --name reference-escapes)"
    # the missing one comes
    truncate -s 4096 gone-flat.vmdk
    wait_for 20 eval '[ -z "$(findings --name data-file)" ]'
}

@test "a VMDK's extent that is cut, and a parent that is not the one an overlay was made on" {
    qemu-img create -q -f vmdk -o subformat=monolithicFlat cut.vmdk 4M
    qemu-img create -q -f vmdk base.vmdk 4M
    qemu-img create -q -f vmdk -F vmdk -b base.vmdk over.vmdk
    start_daemon
    scan
    same "" "$(findings)"
    truncate -s 1M cut-flat.vmdk
    qemu-io -f vmdk -c 'write -q -P 9 64k 4k' base.vmdk     # it has another CID now
    run ! qemu-io -f vmdk -c 'read -q 0 4k' over.vmdk
    scan
    wait_for 20 eval 'findings --name parent-changed | grep -q .'
    same "parent-changed critical base.vmdk" "$(findings --name parent-changed)"
    wait_for 20 eval 'findings --path "$STORE/cut.vmdk" | grep -q .'
    same "data-file critical cut.vmdk" "$(findings --path "$STORE/cut.vmdk")"
    ctl show "$STORE/cut.vmdk" >text
    grep -q "has a piece of its disk in a file that was cut off: cut-flat.vmdk has 1.*M of 4.*M" text || { cat text; return 1; }
    grep -q "Restore .*cut-flat.vmdk from a backup" text || { cat text; return 1; }
    ctl show "$STORE/base.vmdk" >text
    grep -q "is not as it was when 1 overlay was made on it" text
    run ! grep -E "check -r|qemu-img (commit|rebase|amend|snapshot)|baseline accept" text
}

@test "a raw disk whose guest makes a VMDK descriptor of it is critical" {
    qemu-img create -q -f raw disk.img 1M
    start_daemon
    scan
    same "" "$(findings)"
    printf '# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 2048 FLAT "/etc/passwd" 0\n' |
        dd of=disk.img conv=notrunc status=none
    scan
    wait_for 20 eval '[ -n "$(findings --name raw-became-image)" ]'
    same "raw-became-image critical disk.img" "$(findings --name raw-became-image)"
    same "reference-escapes critical disk.img" "$(findings --name reference-escapes)"
}

@test "a golden VMDK that is changed, in itself or in an extent, is noticed" {
    mkdir golden
    qemu-img create -q -f vmdk -o subformat=monolithicFlat golden/flat.vmdk 4M
    qemu-img create -q -f vmdk golden/sparse.vmdk 4M
    chmod 0444 golden/*
    write_config 'scrub: {pressure: off}' "golden: {patterns: ['$STORE/golden/flat.vmdk', '$STORE/golden/sparse.vmdk']}"
    start_daemon
    scan
    scan --scrub "$STORE/golden"
    same "" "$(findings --path "$STORE" --name golden-modified)"
    wait_for 20 eval '[ "$(ctl baseline | grep -c "^verified *policy")" = 2 ]'
    sleep 0.1
    qemu-io -f raw -c 'write -q -P 9 0 4k' golden/flat-flat.vmdk
    qemu-io -f vmdk -c 'write -q -P 9 64k 4k' golden/sparse.vmdk
    scan --scrub "$STORE/golden"
    wait_for 20 eval 'findings --name golden-modified | grep -q "golden/sparse.vmdk"'
    wait_for 20 eval 'findings --name golden-modified | grep -q "golden/flat"'
}

@test "damage in another's format is told, with no command that writes; a sound one has no finding" {
    for format in vmdk vdi vpc vhdx qed parallels qcow; do
        qemu-img create -q -f raw disk.raw 8M
        qemu-io -f raw -c 'write -q -P 7 1M 3M' disk.raw
        qemu-img convert -f raw -O $format disk.raw sound.$format
        cp sound.$format hurt.$format
        rm disk.raw
        # the last block is cut
        truncate -s $(($(stat -c %s hurt.$format) - 1048576 - 512)) hurt.$format
    done
    start_daemon
    scan
    for format in vmdk vdi vpc vhdx qed parallels qcow; do
        same "" "$(findings --path "$STORE/sound.$format")"
        findings --path "$STORE/hurt.$format" | grep -qE "^(corrupt|header-invalid|image-truncated|metadata-corrupt)" ||
            { echo "$format"; findings --path "$STORE/hurt.$format"; ctl check "$STORE/hurt.$format"; return 1; }
        ctl show "$STORE/hurt.$format" >text
        run ! grep -E 'check -r|qemu-img (commit|rebase|amend|snapshot)|dd .*of=' text
    done
}

@test "a golden container whose bytes an earlier version remembered is remembered anew, without a word" {
    need sqlite3
    mkdir golden
    qemu-img create -q -f vdi golden/a.vdi 4M
    qemu-io -f vdi -c 'write -q -P 9 1M 64k' golden/a.vdi
    chmod 0444 golden/*
    write_config 'scrub: {pressure: off}' "golden: {patterns: ['$STORE/golden/a.vdi']}"
    start_daemon
    scan
    scan --scrub "$STORE/golden"
    wait_for 20 eval '[ "$(ctl baseline | grep -c "^verified *policy")" = 1 ]'
    before=$(ctl baseline --json=short "$STORE/golden/a.vdi" | jq -r '.[0].digest // .digest')
    stop_daemon
    sqlite3 "$STATE/qcaudit.db" "UPDATE baseline SET encrypted = 1, digest = randomblob(32)"
    start_daemon
    scan
    scan --scrub "$STORE/golden"
    wait_for 20 eval '[ "$(ctl baseline --json=short "$STORE/golden/a.vdi" | jq -r ".[0].digest // .digest")" = "$before" ]'
    same "" "$(findings --path "$STORE")"
}

@test "differencing VHD and VHDX have their parents: nothing is said of sound ones; a missing one is told" {
    local layers=$top_srcdir/tests/images/layers_vhd.py raw=$BATS_TEST_TMPDIR format name
    qemu-img create -q -f raw "$raw/disk.raw" 5M
    for format in vpc vhdx; do
        for name in base gone; do
            qemu-img convert -O $format "$raw/disk.raw" $name.$format
            qemu-img convert -f $format -O raw $name.$format "$raw/$name.raw"
            "$layers" $name.$format "$raw/$name.raw" on-$name.$format "$raw/on-$name.raw"
        done
        rm gone.$format
    done
    start_daemon
    scan
    for format in vpc vhdx; do
        same "" "$(findings --path "$STORE/base.$format"; findings --path "$STORE/on-base.$format")"
        same "parent-missing critical on-gone.$format" "$(findings --path "$STORE/on-gone.$format")"
        ctl show "$STORE/on-base.$format" >text
        grep -q "Format: $format (differencing)$" text
        grep -q "Chain: 2 layers" text
        grep -q "Parent: $STORE/base.$format$" text
    done
    ctl show "$STORE/on-gone.vhdx" >text
    run ! grep -E 'check -r|qemu-img (commit|rebase|amend|snapshot)|dd .*of=' text
}

@test "the images that DiskDescriptor.xml names: inside of the datastore, missing, and one that must not be followed" {
    descriptor() { # FILE...
        printf '<Parallels_disk_image Version="1.0"><Disk_Parameters><Disk_size>8192</Disk_size></Disk_Parameters>'
        printf '<StorageData><Storage><Start>0</Start><End>8192</End>'
        printf '<Image><GUID>{1}</GUID><Type>Compressed</Type><File>%s</File></Image>' "$@"
        printf '</Storage></StorageData></Parallels_disk_image>\n'
    }
    mkdir sound.hdd gone.hdd evil.hdd
    qemu-img create -q -f parallels "sound.hdd/a & b.hds" 4M
    descriptor "a &amp; b.hds" >sound.hdd/DiskDescriptor.xml
    descriptor top.hds base.hds >gone.hdd/DiskDescriptor.xml
    qemu-img create -q -f parallels gone.hdd/top.hds 4M
    descriptor /etc/passwd >evil.hdd/DiskDescriptor.xml
    start_daemon
    scan
    [ "$(row sound.hdd/DiskDescriptor.xml | jq -r '"\(.format) \(.variant) \(."virtual-size")"')" = "parallels bundle 4194304" ] ||
        { row sound.hdd/DiskDescriptor.xml; return 1; }
    ctl findings --json=short | jq -r '.[] | "\(.name) \(.severity) \((.path // "") | sub(".*/(?<a>[^/]*/[^/]*)$"; "\(.a)")) \(.summary)"' | sort >found
    grep -q "^data-file error gone.hdd/DiskDescriptor.xml has pieces of its disk in files of which 1 of 2 is missing: base.hds" found || { cat found; return 1; }
    grep -q "^descriptor-unsafe error evil.hdd/DiskDescriptor.xml names an extent that must not be followed: /etc/passwd" found || { cat found; return 1; }
    ! grep -q "sound.hdd" found || { cat found; return 1; }
}

# NAME MIB [OTHER]: a raw disk with a GPT, its backup at the end, that is made larger, or cut, to OTHER
gpt() {
    python3 - "$1" "$2" <<'END'
import struct, sys, zlib
sectors, entries = int(sys.argv[2]) * 2048, bytes(16384)
def header(mine, other, at):
    fields = lambda crc: struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, mine, other, 34,
                                     sectors - 34, b"a disk's GUID...", at, 128, 128, zlib.crc32(entries))
    return fields(zlib.crc32(fields(0)))
with open(sys.argv[1], "wb") as file:
    file.truncate(sectors * 512)
    file.write(bytes(446) + struct.pack("<B3sB3sII", 0, bytes(3), 0xee, bytes(3), 1, sectors - 1) + bytes(48) + b"\x55\xaa")
    for mine, other, at in (1, sectors - 1, 2), (sectors - 1, 1, sectors - 33):
        file.seek(mine * 512), file.write(header(mine, other, at))
END
    [ $# = 2 ] || truncate -s "$3M" "$1"
}

@test "a raw disk, a medium and an appliance that were cut; sound and grown ones, and pieces of a disk, are silent" {
    gpt sound.raw 8
    gpt grown.raw 8 16
    gpt cut.raw 8 6
    gpt damaged.raw 8
    printf x | dd of=damaged.raw bs=1 seek=580 conv=notrunc status=none
    # of two flat extents the first holds the table of both; so does a data file in which clusters lie in any order
    gpt pieces-f001.vmdk 8 4
    truncate -s 4M pieces-f002.vmdk
    printf '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="twoGbMaxExtentFlat"\nRW 8192 FLAT "pieces-f001.vmdk" 0\nRW 8192 FLAT "pieces-f002.vmdk" 0\n' >pieces.vmdk
    printf '<Envelope><File ovf:href="disk.vmdk"/></Envelope>' >a.ovf
    head -c 100000 /dev/urandom >disk.vmdk
    tar --format=ustar -cf sound.ova a.ovf disk.vmdk
    head -c 50000 sound.ova >cut.ova
    rm a.ovf disk.vmdk
    start_daemon
    scan
    same "image-truncated critical cut.ova
image-truncated critical cut.raw" "$(findings | grep -v '^not-auditable' | sort)"
    ctl findings --json=short --name image-truncated | jq -e \
        'map(select(.subject | endswith("cut.raw"))) | .[0].evidence | ."file-size" == 6291456 and ."needed-size" == 8388608 and .issues[0].kind == "gpt-backup-out-of-file"'
    ctl images -a >text
    for name in sound.raw grown.raw damaged.raw sound.ova; do grep -q "^ok .*/$name " text || { cat text; return 1; }; done
    # the rest of it comes
    gpt cut.raw 8
    cp sound.ova cut.ova
    scan
    wait_for 20 eval '[ -z "$(findings | grep -v "^not-auditable" || :)" ]'
}
