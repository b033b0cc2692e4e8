#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""layers_vhd.py PARENT RAW LAYER WANTED - makes LAYER, a differencing VHD or VHDX by its name, on PARENT, whose disk is RAW,
and WANTED, the disk that a guest reads of both.

Writers of such images, which QEMU does not make, and what of a layer is read: by "Virtual Hard Disk Image Format
Specification" 1.0 and [MS-VHDX] alone.
"""
import os
import random
import struct
import sys
import uuid

KIB, MIB = 1 << 10, 1 << 20
SECTOR = 512
UNUSED = 0xffffffff
LOG, METADATA, TABLE = MIB, 2 * MIB, 3 * MIB    # of a VHDX, as written here
NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULL, PARTIAL = 0, 1, 2, 3, 6, 7
CHUNK_SECTORS = 1 << 23
REGION_TABLE, REGION_METADATA = (bytes.fromhex(text) for text in (
    "6677c22d23f600429d64115e9bfd4a08", "06a27c8b90479a4bb8fe575f050f886e"))
PARAMETERS, DISK_SIZE, PAGE83, LOGICAL, PHYSICAL, LOCATOR = (bytes.fromhex(text) for text in (
    "3767a1ca36fa434db3b633f0aa44e76b", "2442a52f1bcd7648b2115dbed83bf4b8",
    "ab12cabee6b2234593efc309e000c746", "1dbf41816fa90947ba47f233a8faab5f", "c748a3cd5d4471449cc9e9885251c556",
    "2d5fd3a80bb34d45abf7d3d84834ab0c"))
LOCATOR_TYPE = bytes.fromhex("b7ef4ab09ed18149b78925b8e9445913")


def _crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table.append(value)
    return table


CRC = _crc32c_table()


def vhdx_sum(data, offset, size):
    """Writes the checksum of a header, a region table or a log entry."""
    crc = 0xffffffff
    data[offset + 4:offset + 8] = bytes(4)
    for byte in data[offset:offset + size]:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    struct.pack_into("<I", data, offset + 4, crc ^ 0xffffffff)


def vhd_sum(data, offset, size, at):
    data[offset + at:offset + at + 4] = bytes(4)
    struct.pack_into(">I", data, offset + at, ~sum(data[offset:offset + size]) & 0xffffffff)


def vhd_identity(data):
    return bytes(data[len(data) - 512 + 68:len(data) - 512 + 84])


def vhdx_identity(data):
    """The DataWriteGuid of the header with the higher sequence number."""
    header = max((64 * KIB, 128 * KIB), key=lambda at: struct.unpack_from("<Q", data, at + 8)[0])
    return bytes(data[header + 32:header + 48])


# ---- VHD ------------------------------------------------------------------------------------------------------------

def write_vhd(chance, parent, parent_name, blocks, size, block_size):
    """blocks: {number: [bytes of a sector, or None where it is the parent's]}."""
    sectors = block_size // SECTOR
    lead = -(-sectors // 8 // SECTOR) * SECTOR or SECTOR
    n = -(-size // block_size)
    entries = n + chance.randrange(3)
    footer = bytearray(struct.pack(">8sIIQI4sHH4sQQHBBII16s", b"conectix", 2, 0x10000, 512, 0, b"win ", 6, 1, b"Wi2k", size,
                                   size, 1, 1, 1, 4, 0, chance.randbytes(16))).ljust(512, b"\0")
    vhd_sum(footer, 0, 512, 64)
    table = 1536
    end = table + -(-entries * 4 // SECTOR) * SECTOR
    header = bytearray(struct.pack(">8sQQIIII16sII", b"cxsparse", (1 << 64) - 1, table, 0x10000, entries, block_size, 0,
                                   parent, 0, 0)).ljust(1024, b"\0")
    names = [(b"W2ru", f".\\{parent_name}"), (b"W2ku", f"C:\\disks\\{parent_name}")]
    chance.shuffle(names)
    names = names[:chance.randrange(3)]
    header[64:64 + 2 * len(parent_name)] = parent_name.encode("utf-16-be")
    body = bytearray()
    for index, (code, name) in enumerate(names):
        text = name.encode("utf-16-le")
        struct.pack_into(">4sIIIQ", header, 576 + 24 * chance.choice((index, index + 3)), code, 512, len(text), 0,
                         end + len(body))
        body += text.ljust(512, b"\0")
    vhd_sum(header, 0, 1024, 36)
    places = [UNUSED] * entries
    order = list(blocks)
    chance.shuffle(order)
    for number in order:
        bits = bytearray(lead)
        content = bytearray(chance.randbytes(SECTOR)) * sectors     # of sectors that are not the layer's: anything
        for sector, there in enumerate(blocks[number]):
            if there is not None:
                bits[sector // 8] |= 0x80 >> sector % 8
                content[sector * SECTOR:(sector + 1) * SECTOR] = there
        places[number] = (end + len(body)) // SECTOR
        body += bits + content
    data = footer + header + struct.pack(f">{entries}I", *places).ljust(end - table, b"\xff") + body + footer
    return data


def read_vhd(data, parent):
    """What a guest reads of the layer on these bytes; ValueError when it cannot be told."""
    size, = struct.unpack_from(">Q", data, 48)
    at, = struct.unpack_from(">Q", data, 16)
    table, _, entries, block_size = struct.unpack_from(">QIII", data, at + 16)
    if block_size < 8 * SECTOR or block_size & block_size - 1 or entries * block_size < size:
        raise ValueError("fields")
    sectors = block_size // SECTOR
    lead = -(-sectors // 8 // SECTOR) * SECTOR or SECTOR
    disk = bytearray(parent[:size].ljust(size, b"\0"))
    for number in range(-(-size // block_size)):
        place, = struct.unpack_from(">I", data, table + 4 * number)
        if place == UNUSED:
            continue
        for sector in range(min(sectors, (size - number * block_size) // SECTOR)):
            if place * SECTOR + lead + (sector + 1) * SECTOR > len(data):
                raise ValueError("outside")
            if data[place * SECTOR + sector // 8] & 0x80 >> sector % 8:
                start = place * SECTOR + lead + sector * SECTOR
                to = number * block_size + sector * SECTOR
                disk[to:to + SECTOR] = data[start:start + SECTOR]
    return bytes(disk)


# ---- VHDX -----------------------------------------------------------------------------------------------------------

def _guid_text(guid):
    return "{" + str(uuid.UUID(bytes_le=guid)) + "}"


def _locator(chance, parent, parent_name):
    other = chance.randbytes(16)
    pairs = [("parent_linkage", _guid_text(parent)), ("relative_path", f".\\{parent_name}"),
             ("absolute_win32_path", f"D:\\disks\\{parent_name}"),
             ("volume_path", f"\\\\?\\Volume{_guid_text(other)}\\disks\\{parent_name}")]
    if chance.randrange(3) == 0:        # the second one is the parent's
        pairs[0] = ("parent_linkage", _guid_text(other).upper())
        pairs.append(("parent_linkage2", _guid_text(parent).upper()))
    elif chance.randrange(2):
        pairs.append(("parent_linkage2", _guid_text(bytes(16))))
    names = pairs[1:4]
    pairs = [pairs[0]] + chance.sample(names, chance.randrange(1, 4)) + pairs[4:]
    chance.shuffle(pairs)
    head, text = struct.pack("<16sHH", LOCATOR_TYPE, 0, len(pairs)), b""
    for key, value in pairs:
        key, value = key.encode("utf-16-le"), value.encode("utf-16-le")
        at = 20 + 12 * len(pairs) + len(text)
        head += struct.pack("<IIHH", at, at + len(key), len(key), len(value))
        text += key + value
    return head + text


def _metadata(size, block_size, sector, locator):
    items = [(PARAMETERS, struct.pack("<II", block_size, 2)), (DISK_SIZE, struct.pack("<Q", size)), (PAGE83, b"P" * 16),
             (LOGICAL, struct.pack("<I", sector)), (PHYSICAL, struct.pack("<I", 4096)), (LOCATOR, locator)]
    data, at = bytearray(MIB), 64 * KIB
    struct.pack_into("<8sHH", data, 0, b"metadata", 0, len(items))
    for index, (guid, value) in enumerate(items):
        struct.pack_into("<16sIII", data, 32 * (index + 1), guid, at, len(value), 4)
        data[at:at + len(value)] = value
        at += len(value) + 7 & ~7
    return data


def write_vhdx(chance, parent, parent_name, blocks, size, block_size, sector):
    """blocks: {number: a state without data, or [bytes of a sector of 512, or None where it is the parent's]}; what is
    the parent's are whole sectors of the size that is given."""
    ratio = CHUNK_SECTORS * sector // block_size
    chunks = -(-(-(-size // block_size)) // ratio)
    table = bytearray(max(1, -(-chunks * (ratio + 1) * 8 // MIB)) * MIB)
    body, end = bytearray(), TABLE + len(table)
    bitmaps = {}
    order = list(blocks)
    chance.shuffle(order)
    for number in order:
        entry, chunk = number // ratio * (ratio + 1) + number % ratio, number // ratio
        content = blocks[number]
        if isinstance(content, int):
            struct.pack_into("<Q", table, 8 * entry, content)
            continue
        whole = None not in content
        if not whole and chunk not in bitmaps:
            bitmaps[chunk] = len(body)
            struct.pack_into("<Q", table, 8 * (chunk * (ratio + 1) + ratio), end + len(body) | FULL)
            body += bytes(MIB)
        struct.pack_into("<Q", table, 8 * entry, end + len(body) | (FULL if whole else PARTIAL))
        for index, there in enumerate(content):
            if there is not None and not whole:
                bit = (number % ratio * block_size + index * SECTOR) // sector
                body[bitmaps[chunk] + bit // 8] |= 1 << bit % 8
            body += there if there is not None else b"\xee" * SECTOR
        body += bytes(-len(body) % MIB)
    data = bytearray(MIB)
    data[:8] = b"vhdxfile"
    for sequence, at in ((4, 64 * KIB), (5, 128 * KIB)):
        struct.pack_into("<4sIQ16s16s16sHHIQ", data, at, b"head", 0, sequence, b"F" * 16, chance.randbytes(16), bytes(16),
                         0, 1, MIB, LOG)
        vhdx_sum(data, at, 4096)
    for at in (192 * KIB, 256 * KIB):
        struct.pack_into("<4sII", data, at, b"regi", 0, 2)
        struct.pack_into("<16sQII", data, at + 16, REGION_TABLE, TABLE, len(table), 1)
        struct.pack_into("<16sQII", data, at + 48, REGION_METADATA, METADATA, MIB, 1)
        vhdx_sum(data, at, 64 * KIB)
    return data + bytes(MIB) + _metadata(size, block_size, sector, _locator(chance, parent, parent_name)) + table + body


def read_vhdx(data, parent):
    """What a guest reads of a layer that write_vhdx() wrote on these bytes; ValueError when it cannot be told."""
    block_size, = struct.unpack_from("<I", data, METADATA + 64 * KIB)
    size, = struct.unpack_from("<Q", data, METADATA + 64 * KIB + 8)
    sector, = struct.unpack_from("<I", data, METADATA + 64 * KIB + 32)
    ratio = CHUNK_SECTORS * sector // block_size
    disk = bytearray(parent[:size].ljust(size, b"\0"))
    for number in range(-(-size // block_size)):
        row = TABLE + 8 * (number // ratio * (ratio + 1))
        entry, = struct.unpack_from("<Q", data, row + 8 * (number % ratio))
        place, state, to = entry & ~(MIB - 1), entry & 7, number * block_size
        length = min(block_size, size - to)
        if state in (UNDEFINED, ZERO, UNMAPPED):
            disk[to:to + length] = bytes(length)
        elif state in (FULL, PARTIAL):
            bitmap, = struct.unpack_from("<Q", data, row + 8 * ratio)
            if place + length > len(data) or (state == PARTIAL and (bitmap & 7 != FULL or
                                                                    (bitmap & ~(MIB - 1)) + MIB > len(data))):
                raise ValueError("outside")
            for at in range(0, length, sector):
                bit = (number % ratio * block_size + at) // sector
                if state == FULL or data[(bitmap & ~(MIB - 1)) + bit // 8] >> bit % 8 & 1:
                    disk[to + at:to + at + sector] = data[place + at:place + at + sector]
        elif state != NOT_PRESENT:
            raise ValueError("state")
    return bytes(disk)


def main():
    parent_name, raw_name, name, wanted = sys.argv[1:]
    chance = random.Random(name)
    with open(parent_name, "rb") as parent, open(raw_name, "rb") as raw:
        parent, disk = parent.read(), raw.read()
    content = [bytes((chance.randrange(1, 256),)) * SECTOR if number % 3 else None for number in range(MIB // SECTOR)]
    if name.endswith(".vhdx"):
        blocks = {0: ZERO, 1: content, 3: [b"7" * SECTOR] * len(content)}
        data = write_vhdx(chance, vhdx_identity(parent), os.path.basename(parent_name), blocks, len(disk), MIB, SECTOR)
        disk = read_vhdx(data, disk)
    else:
        data = write_vhd(chance, vhd_identity(parent), os.path.basename(parent_name), {1: content}, len(disk), MIB)
        disk = read_vhd(data, disk)
    with open(name, "wb") as layer, open(wanted, "wb") as file:
        layer.write(data)
        file.write(disk)
    return 0


if __name__ == "__main__":
    sys.exit(main())
