#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Raw disks as the usual tools make them: silence on sound ones, a word on what was cut or damaged.
bats_require_minimum_version 1.5.0

setup() {
    PATH=$PATH:/usr/sbin:/sbin
    for command in jq python3; do command -v "$command" >/dev/null || skip "$command is not installed"; done
    cd "$BATS_TEST_TMPDIR" || return 1
}

need() { for command in "$@"; do command -v "$command" >/dev/null || skip "$command is not installed"; done; }

kinds() { qcauditctl check --json=short "$@" | jq -r 'if has("issues") then [.issues[].kind] | join(" ") else "unchecked" end'; }

# NAME: a GPT on 64 MiB, its backup at the end; sectors of 512 or 4,096 bytes
gpt() {
    python3 - "$1" "${2:-512}" <<'END'
import struct, sys, zlib
path, sector = sys.argv[1], int(sys.argv[2])
sectors = (64 << 20) // sector
entries = bytearray(16384)
entries[:56] = b"type GUID.......a partition GUID" + struct.pack("<QQQ", 64, sectors - 100, 0)
def header(mine, other, at):
    fields = lambda crc: struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, mine, other, 34,
                                     sectors - 34, b"a disk's GUID...", at, 128, 128, zlib.crc32(entries))
    return fields(zlib.crc32(fields(0)))
with open(path, "wb") as file:
    file.truncate(sectors * sector)
    file.write(bytes(446) + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xee, b"\xff\xff\xff", 1, sectors - 1) + bytes(48) + b"\x55\xaa")
    second = sectors - 1 - len(entries) // sector
    for mine, other, at in (1, sectors - 1, 2), (sectors - 1, 1, second):
        file.seek(mine * sector), file.write(header(mine, other, at))
        file.seek(at * sector), file.write(entries)
END
}

@test "a GPT: sound, grown and cut, of both sector sizes; --compatible calls each unchecked" {
    for sector in 512 4096; do
        gpt disk.raw $sector
        run -0 qcauditctl check disk.raw
        [[ $output == *"No errors were found"* ]]
        [ "$(kinds disk.raw)" = "" ]
        truncate -s 80M disk.raw
        run -0 qcauditctl check disk.raw
        [ "$(kinds disk.raw)" = "" ]
        truncate -s 60M disk.raw
        run -2 qcauditctl check disk.raw
        [[ $output == *"the disk was cut"* ]]
        [ "$(kinds disk.raw)" = gpt-backup-out-of-file ]
        run -63 qcauditctl check --compatible disk.raw
    done
    gpt disk.raw
    printf x | dd of=disk.raw bs=1 seek=600 conv=notrunc status=none
    # what a guest may do to itself
    run -0 qcauditctl check disk.raw
    [[ $output == *"notice"*"the guest's GPT"* ]]
    [ "$(kinds disk.raw)" = gpt-invalid ]
}

@test "partition tables of sfdisk and sgdisk" {
    need sfdisk
    truncate -s 64M mbr.raw gpt.raw
    printf 'label: dos\nsize=20M\nsize=10M\ntype=5\nsize=5M\nsize=5M\n' | sfdisk -q mbr.raw
    [ "$(kinds mbr.raw)" = "" ]
    truncate -s 25M mbr.raw
    [ "$(kinds mbr.raw)" = partition-out-of-file ]
    printf 'label: gpt\nsize=10M\n\n' | sfdisk -q gpt.raw
    [ "$(kinds gpt.raw)" = "" ]
    if command -v sgdisk >/dev/null; then
        truncate -s 100M gpt.raw
        [ "$(kinds gpt.raw)" = "" ]
        sgdisk -e gpt.raw >/dev/null        # the backup goes to the end
        [ "$(kinds gpt.raw)" = "" ]
        truncate -s 64M gpt.raw
        [ "$(kinds gpt.raw)" = gpt-backup-out-of-file ]
    fi
}

@test "file systems without partitions are no tables" {
    need mkfs.fat
    for bits in 12 16 32; do
        truncate -s 40M fat.raw
        mkfs.fat -F $bits fat.raw >/dev/null
        [[ "$(kinds fat.raw)" =~ ^(unchecked)?$ ]]
        rm fat.raw
    done
    if command -v mkfs.ntfs >/dev/null; then
        truncate -s 40M ntfs.raw
        mkfs.ntfs -qF ntfs.raw >/dev/null 2>&1
        [[ "$(kinds ntfs.raw)" =~ ^(unchecked)?$ ]]
    fi
}

@test "install media of genisoimage and xorriso, hybrid ones too" {
    mkdir tree
    head -c 3000000 /dev/urandom >tree/a
    truncate -s 2M efi
    made=
    if command -v genisoimage >/dev/null; then
        genisoimage -quiet -J -R -o joliet.iso tree
        genisoimage -quiet -no-pad -o bare.iso tree
        genisoimage -quiet -udf -o bridge.iso tree
        made="joliet.iso bare.iso bridge.iso"
    fi
    if command -v xorriso >/dev/null; then
        xorriso -as mkisofs -quiet -o plain.iso tree
        xorriso -as mkisofs -quiet --protective-msdos-label -partition_offset 16 -append_partition 2 0xef efi -appended_part_as_gpt -o hybrid.iso tree
        made="$made plain.iso hybrid.iso"
    fi
    [ -n "$made" ] || skip "neither genisoimage nor xorriso is installed"
    for name in $made; do
        [ "$(kinds $name)" = "" ] || { echo $name; kinds $name; return 1; }
        truncate -s +1M $name
        [ "$(kinds $name)" = "" ]
        truncate -s 2M $name
        [ "$(kinds $name)" = volume-out-of-file ]
    done
}

@test "LUKS containers of cryptsetup, and headers that are kept apart" {
    need cryptsetup
    printf key >key
    truncate -s 32M disk
    for type in luks1 luks2; do
        for header in "" --header=apart; do
            rm -f apart disk.raw
            truncate -s 16M apart
            truncate -s 32M disk.raw
            cryptsetup -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --type $type $header luksFormat disk.raw key
            [ -z "$header" ] || mv apart disk.raw
            [ "$(kinds disk.raw)" = "" ] || { echo $type $header; kinds disk.raw; return 1; }
        done
        rm disk.raw
        truncate -s 32M disk.raw
        cryptsetup -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --type $type luksFormat disk.raw key
        truncate -s 1M disk.raw
        [ "$(kinds disk.raw)" = luks-data-out-of-file ]
    done
}

@test "appliances of tar: members that are cut, missing, or other than the manifest says" {
    printf '<Envelope><References><File ovf:href="disk.vmdk"/></References></Envelope>' >a.ovf
    head -c 100000 /dev/urandom >disk.vmdk
    printf 'SHA256(a.ovf)= %s\nSHA1(disk.vmdk)= %s\n' "$(sha256sum <a.ovf | cut -d' ' -f1)" "$(sha1sum <disk.vmdk | cut -d' ' -f1)" >a.mf
    for format in ustar gnu pax; do
        tar --format=$format -cf $format.ova a.ovf a.mf disk.vmdk
        [ "$(kinds --deep $format.ova)" = "" ]
        run -0 qcauditctl check $format.ova
    done
    head -c 50000 ustar.ova >cut.ova
    run -2 qcauditctl check cut.ova
    [ "$(kinds cut.ova)" = member-out-of-file ]
    tar --format=ustar -cf less.ova a.ovf a.mf
    [ "$(kinds less.ova)" = "member-missing member-missing" ]
    printf x | dd of=disk.vmdk bs=1 seek=5000 conv=notrunc status=none
    tar --format=ustar -cf other.ova a.ovf a.mf disk.vmdk
    [ "$(kinds other.ova)" = "" ]
    [ "$(kinds --deep other.ova)" = member-digest-wrong ]
    run -63 qcauditctl check --compatible other.ova
}

@test "under an overlay: the layer is named, and the overlay's own figures stay" {
    need qemu-img
    gpt base.raw
    (umask 022; qemu-img create -q -f qcow2 -F raw -b base.raw over.qcow2)
    run -0 qcauditctl check --chain over.qcow2
    truncate -s 60M base.raw
    run -2 qcauditctl check --chain over.qcow2
    [[ $output == *"the first from above is layer 1"* ]]
    run -0 qcauditctl check --chain --compatible over.qcow2
}
