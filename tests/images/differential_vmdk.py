#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""differential_vmdk.py [--count N] [--seed N] [--keep DIR] VERDICT - compares what VERDICT (tests/unit/vmdk-verdict)
says of N (default 600) VMDK images, every third of them sound, with QEMU's tools: where qemu-img check finds damage, or
does not open the image, something must be found; in a sound image nothing must be found, and the content must be that
of qemu-img convert, as it must be of a damaged one that both can read.

Deterministic by its seed. Exit status: 0 all agree, 1 some do not.
"""
import argparse
import hashlib
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

sys.dont_write_bytecode = True
from imagekit import run  # noqa: E402

SECTOR = 512
CONTENT_MAX = 256 << 20     # bytes of a disk: larger ones are not converted
SPARSE_FIELDS = ((4, 4), (8, 4), (12, 8), (20, 8), (44, 4), (48, 8), (56, 8), (64, 8), (72, 1), (73, 4), (77, 2))
AT_END = 2 ** 64 - 1


class Image:
    """A file with the places of its structure: fields of headers, tables of entries."""

    def __init__(self, path, extent=None):
        self.path = path                # what qemu-img opens
        self.extent = extent or path    # what holds the tables, and is looked at
        self.fields = []                # (offset, size)
        self.tables = []                # (offset, number of entries, size of one)
        self.may_leak = False

    def read(self):
        with open(self.extent, "rb") as file:
            return file.read()

    def find_sparse(self):
        """The places of a hosted sparse extent, by its own header."""
        data = self.read()
        base = 0 if struct.unpack_from("<Q", data, 56)[0] != AT_END else len(data) - 1024
        capacity, grain = struct.unpack_from("<QQ", data, base + 12)
        number, second, first = struct.unpack_from("<IQQ", data, base + 44)
        flags = struct.unpack_from("<I", data, base + 8)[0]
        self.fields += [(at, size) for at, size in SPARSE_FIELDS]
        if base:
            self.fields += [(base + at, size) for at, size in SPARSE_FIELDS]
            self.fields += [(base - 512 + 8, 4), (base - 512 + 12, 4), (base + 512, 8), (base + 512 + 12, 4)]
        for directory in [first] + ([second] if flags & 2 else []):
            tables = -(-capacity // (grain * number))
            self.tables.append((directory * SECTOR, tables, 4))
            for index in range(tables):
                sector = struct.unpack_from("<I", data, directory * SECTOR + 4 * index)[0]
                if sector:
                    self.tables += [(sector * SECTOR, number, 4)] * 2
                    for entry in struct.unpack_from(f"<{number}I", data, sector * SECTOR):
                        if entry > 1 and flags & 1 << 16:
                            self.fields += [(entry * SECTOR, 8), (entry * SECTOR + 8, 4), (entry * SECTOR + 20, 2)]


# ---- makers -----------------------------------------------------------------------------------


def _writes(chance, size, zeros):
    commands = []
    for _ in range(chance.randrange(1, 7)):
        start = chance.randrange(size // SECTOR)
        length = min(chance.choice((1, 3, 8, 100, 128, 129, 700)), size // SECTOR - start)
        if zeros and chance.randrange(2):
            start, length = start // 128 * 128, 128 * chance.randrange(1, 4)
            length = min(length, size // SECTOR - start)
            commands += ["-c", f"write -z {start * SECTOR} {length * SECTOR}"]
        else:
            commands += ["-c", f"write -P {chance.randrange(256)} {start * SECTOR} {length * SECTOR}"]
    return commands


def _size(chance):
    return chance.choice((512, 65536, 1 << 20, (1 << 20) + 512, 1500 << 10, 32 << 20, (33 << 20) + 1024, 70 << 20))


def _by_qemu(options, zeros=False):
    def make(folder, chance):
        path, size = f"{folder}/a.vmdk", _size(chance)
        run("qemu-img", "create", "-q", "-f", "vmdk", "-o", options, path, str(size))
        run("qemu-io", "-f", "vmdk", *_writes(chance, size, zeros), path)
        image = Image(path)
        image.may_leak = zeros
        image.find_sparse()
        return image
    return make


def two_gb(folder, chance):
    path, size = f"{folder}/a.vmdk", _size(chance)
    run("qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path, str(size))
    run("qemu-io", "-f", "vmdk", *_writes(chance, size, False), path)
    image = Image(path, f"{folder}/a-s001.vmdk")
    image.find_sparse()
    return image


def stream(folder, chance):
    path, size = f"{folder}/a.vmdk", _size(chance)
    run("qemu-img", "create", "-q", "-f", "raw", f"{folder}/a.raw", str(size))
    run("qemu-io", "-f", "raw", *_writes(chance, size, False), f"{folder}/a.raw")
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", f"{folder}/a.raw", path)
    image = Image(path)
    image.find_sparse()
    return image


DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="{kind}"
RW {sectors} {extent} "{name}"
"""


def _grain(chance, short):
    grains = bytes([chance.randrange(1, 256)]) * 65536, chance.randbytes(512) * 128, chance.randbytes(65536)
    return chance.choice(grains[:2] if short else grains)


def _compressed(markers, footer):
    """As VMware and VirtualBox write streams: with the tables behind the grains, and a footer; or without markers."""
    def make(folder, chance):
        image = Image(f"{folder}/a.vmdk")
        grains = chance.randrange(1, 1500)
        sectors = grains * 128 - chance.randrange(128)
        tables = -(-grains // 512)
        used = sorted(chance.sample(range(grains), min(grains, chance.randrange(1, 8))))
        text = DESCRIPTOR.format(kind="streamOptimized", sectors=sectors, extent="SPARSE", name="a.vmdk").encode()
        start = 3 if footer else 3 + -(-tables // 128) + 4 * tables
        entries = [[0] * 512 for _ in range(tables)]
        body = bytearray()
        for number in used:
            # without a marker, QEMU reads no more than a grain of compressed data
            packed = zlib.compress(_grain(chance, not markers), chance.choice((0, 1, 9)) if markers else 9)
            entries[number // 512][number % 512] = start + len(body) // SECTOR
            if markers:
                body += struct.pack("<QI", number * 128, len(packed))
            body += packed
            body += bytes(-len(body) % SECTOR)
        flags = 1 | 1 << 16 | (1 << 17 if markers else 0)

        def header(directory):
            return struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", 3, flags, sectors, 128, 1, 2, 512, 0, directory, start, 0,
                               b"\n \r\n", 1).ljust(SECTOR, b"\0")

        def marker(length, kind):
            return struct.pack("<QII", length, 0, kind).ljust(SECTOR, b"\0") if footer else b""

        at, directory, packed_tables = 3 + -(-tables // 128), [], b""
        if footer:
            at = start + len(body) // SECTOR
        for table in entries:
            if footer and not any(table):
                directory.append(0)
                continue
            packed_tables += marker(4, 1) + struct.pack("<512I", *table)
            directory.append(at + (1 if footer else 0))
            at += 5 if footer else 4
        packed = struct.pack(f"<{tables}I", *directory)
        packed += bytes(-len(packed) % SECTOR)
        with open(image.path, "wb") as file:
            file.write(header(AT_END if footer else 3) + text.ljust(2 * SECTOR, b"\0"))
            if footer:
                file.write(bytes(body) + packed_tables + marker(len(packed) // SECTOR, 2) + packed)
                file.write(marker(1, 3) + header(at + 1) + bytes(SECTOR))
            else:
                file.write(packed + packed_tables + bytes(body))
        image.find_sparse()
        if not markers:
            image.fields = [field for field in image.fields if field[0] < SECTOR]
        return image
    return make


def cowd(folder, chance):
    """As ESXi writes redo logs."""
    image = Image(f"{folder}/a.vmdk", f"{folder}/e.vmdk")
    grain, sectors = chance.choice((1, 1, 8)), chance.randrange(1, 30000)
    grains = -(-sectors // grain)
    tables = -(-grains // 4096)
    used = chance.sample(range(grains), min(grains, chance.randrange(1, 200)))
    directory, at = [0] * tables, 4 + -(-tables // 128)
    places = {}
    for number in used:
        if not directory[number // 4096]:
            directory[number // 4096] = at
            at += 32
        places[number] = at
        at += grain
    data = bytearray(at * SECTOR)
    struct.pack_into("<4sIIIIIIIIIII", data, 0, b"COWD", 1, 3, sectors, grain, 4, tables, at, 1, 64, 32, 0)
    struct.pack_into(f"<{tables}I", data, 4 * SECTOR, *directory)
    for number, place in places.items():
        struct.pack_into("<I", data, directory[number // 4096] * SECTOR + 4 * (number % 4096), place)
        data[place * SECTOR:(place + grain) * SECTOR] = chance.randbytes(grain * SECTOR)
    with open(image.extent, "wb") as file:
        file.write(data)
    with open(image.path, "w", encoding="ascii") as file:
        file.write(DESCRIPTOR.format(kind="vmfsSparse", sectors=sectors, extent="VMFSSPARSE", name="e.vmdk"))
    image.fields = [(at, 4) for at in (4, 12, 16, 20, 24)]
    image.tables = [(4 * SECTOR, tables, 4)] + [(sector * SECTOR, 4096, 4) for sector in directory if sector] * 3
    return image


def se_sparse(folder, chance):
    image = Image(f"{folder}/a.vmdk", f"{folder}/e.vmdk")
    grains = chance.randrange(1, 12000)
    sectors, tables = grains * 8, -(-grains // 4096)
    used = chance.sample(range(grains), min(grains, chance.randrange(1, 60)))
    order = list(range(tables))
    chance.shuffle(order)
    free, backmap = 24 + 64 * tables, 24 + 64 * tables + 8
    start = backmap + 8 + -(-grains // 64)
    stored, data = 0, bytearray(start * SECTOR)
    header = (0xcafebabe, 0x200000001, sectors, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 2, 4, 8, 16, 1, 24, 64 * tables, free, 8,
              backmap, 8 + -(-grains // 64), start, grains * 8)
    struct.pack_into("<26Q", data, 0, *header)
    struct.pack_into("<QQQQ", data, SECTOR, 0xcafecafe, tables, 1, 0)
    for number in used:
        struct.pack_into("<Q", data, 16 * SECTOR + 8 * (number // 4096), 0x1 << 60 | order[number // 4096])
        kind = chance.choice((1, 2, 3, 3, 3, 3))
        entry = kind << 60
        if kind == 3:
            entry |= (stored & 0xfff) << 48 | stored >> 12
            stored += 1
            data += chance.randbytes(4096)
        struct.pack_into("<Q", data, (24 + 64 * order[number // 4096]) * SECTOR + 8 * (number % 4096), entry)
    with open(image.extent, "wb") as file:
        file.write(data)
    with open(image.path, "w", encoding="ascii") as file:
        file.write(DESCRIPTOR.format(kind="seSparse", sectors=sectors, extent="SESPARSE", name="e.vmdk"))
    image.fields = [(8 * at, 8) for at in range(2, 26)] + [(300, 1), (SECTOR, 8), (SECTOR + 24, 8), (SECTOR + 60, 8)]
    image.tables = [(16 * SECTOR, tables, 8)] + [(24 * SECTOR, 4096 * tables, 8)] * 3
    return image


MAKERS = {
    "sparse": _by_qemu("subformat=monolithicSparse"),
    "compat6": _by_qemu("compat6=on,adapter_type=lsilogic"),
    "zeroed": _by_qemu("zeroed_grain=on", zeros=True),
    "two-gb": two_gb,
    "stream": stream,
    "footer": _compressed(True, True),
    "unmarked": _compressed(False, False),
    "cowd": cowd,
    "se-sparse": se_sparse,
}

# ---- damage -----------------------------------------------------------------------------------


def _put(data, at, size, value):
    if 0 <= at and at + size <= len(data):
        data[at:at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _used_entry(data, table, chance):
    """One of the entries that are not 0, as most of them are."""
    at, number, size = table
    used = [i for i in range(number) if any(data[at + i * size:at + (i + 1) * size])]
    return at + size * (chance.choice(used) if used else chance.randrange(number))


def damage(image, chance):
    """One random change of the structure."""
    data = bytearray(image.read())
    table = chance.choice(image.tables)
    kind = chance.randrange(9)
    if kind == 0:           # a field at an extreme, or near what it was
        at, size = chance.choice(image.fields)
        old = int.from_bytes(data[at:at + size], "little")
        _put(data, at, size, chance.choice((0, 1, old + 1, old - 1, 2 * old, old // 2, (1 << 8 * size) - 1,
                                            1 << (8 * size - 1), chance.randrange(1 << 8 * size))))
    elif kind == 1:         # a bit of a field
        at, size = chance.choice(image.fields)
        _put(data, at, size, int.from_bytes(data[at:at + size], "little") ^ 1 << chance.randrange(8 * size))
    elif kind == 2:         # a bit of an entry
        at = _used_entry(data, table, chance)
        _put(data, at, table[2], int.from_bytes(data[at:at + table[2]], "little") ^ 1 << chance.randrange(8 * table[2]))
    elif kind == 3:         # an entry that points somewhere in the file or shortly behind
        value = chance.randrange(len(data) // SECTOR + 140)
        if table[2] == 8:
            value = chance.choice((0, 1, 2, 3, 4, 15)) << 60 | (value // 8 & 0xfff) << 48
        _put(data, _used_entry(data, table, chance), table[2], value)
    elif kind == 4:         # an entry copied to another place
        at = _used_entry(data, table, chance)
        _put(data, table[0] + table[2] * chance.randrange(table[1]), table[2],
             int.from_bytes(data[at:at + table[2]], "little"))
    elif kind == 5:         # an entry that is anything
        _put(data, table[0] + table[2] * chance.randrange(table[1]), table[2], chance.randrange(1 << 8 * table[2]))
    elif kind == 6:         # an entry is gone
        _put(data, _used_entry(data, table, chance), table[2], 0)
    elif kind == 7:         # a run of the same byte
        length = table[1] * table[2]
        start, run_length = chance.randrange(length), chance.choice((1, 4, 64, 512))
        data[table[0] + start:table[0] + min(length, start + run_length)] = \
            bytes([chance.choice((0, 1, 255, chance.randrange(256)))]) * (min(length, start + run_length) - start)
    else:                   # a shorter file
        del data[max(1536, len(data) - chance.choice((512, 1024, 4096, 65536, 100, 70000, 300000))):]
    with open(image.extent, "wb") as file:
        file.write(data)


# ---- comparison -------------------------------------------------------------------------------


def _digest(path):
    """The content digest of a raw file: blkhash over blocks of 64 KiB (qcaudit.h, qca_content_digest())."""
    outer, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(65536):
            outer.update(hashlib.sha256(block).digest())
            size += len(block)
    outer.update(struct.pack("<Q", size))
    return outer.hexdigest()


def _qemu(*command, folder):
    try:
        return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=20).returncode
    except subprocess.TimeoutExpired:
        return None


def compare(image, verdict, folder, sound):
    """What disagrees, in words; and what kind of a pair of verdicts it was."""
    line = subprocess.run([verdict, str(CONTENT_MAX), image.extent], capture_output=True, timeout=60)
    if line.returncode != 0:
        return [f"it ends with {line.returncode}"], "no answer of ours"
    ours = dict(part.split("=", 1) for part in line.stdout.decode().split())
    status = _qemu("qemu-img", "check", "-f", "vmdk", os.path.basename(image.path), folder=folder)
    issues = {issue for issue in ours.get("issues", "").split(",") if issue}
    found = ours["open"] != "0" or ours.get("finished") == "0" or bool(issues)
    kind = f"qemu-img {status}, ours {'found' if found else 'clean'}"
    wrong = []
    if status not in (0, None) and not found:
        wrong.append(f"qemu-img check says {status}")
    if sound and (status != 0 or issues - ({"block-unused"} if image.may_leak else set()) or ours["open"] != "0" or
                  ours.get("finished") == "0"):
        wrong.append(f"a sound image: qemu-img check says {status}")
    content = ours.get("content", "")
    if ours["open"] == "0" and 0 < int(ours["size"]) <= CONTENT_MAX:
        raw = f"{folder}/content.raw"
        converted = _qemu("qemu-img", "convert", "-f", "vmdk", "-O", "raw", os.path.basename(image.path), raw,
                          folder=folder)
        whole = len(content) == 64 and ours["bad"] == "0"
        theirs = _digest(raw) if converted == 0 else None
        if sound and not whole:
            wrong.append("the content of a sound image cannot be read")
        if whole and theirs and theirs != content:
            wrong.append("another content than qemu-img's")
        if whole and converted not in (0, None) and not found:
            wrong.append("a content that qemu-img cannot read")
        kind += "; content " + ("not compared" if not (whole and theirs) else
                                "equal" if theirs == content else "different")
        if os.path.exists(raw):
            os.unlink(raw)
    return [f"{text}; ours: {line.stdout.decode().strip()}" for text in wrong], kind


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="DIR")
    parser.add_argument("verdict", metavar="VERDICT")
    arguments = parser.parse_args()
    verdict = os.path.abspath(arguments.verdict)
    chance, kinds, different, sounds = random.Random(arguments.seed), {}, 0, 0
    for number in range(arguments.count):
        name = list(MAKERS)[number % len(MAKERS)]
        sound = number // len(MAKERS) % 3 == 0
        sounds += sound
        with tempfile.TemporaryDirectory(prefix="qcaudit-differential.") as folder:
            image = MAKERS[name](folder, chance)
            for _ in range(0 if sound else chance.choice((1, 1, 1, 2, 3))):
                damage(image, chance)
            wrong, kind = compare(image, verdict, folder, sound)
            kind = f"{'sound' if sound else 'damaged'}: {kind}"
            kinds[kind] = kinds.get(kind, 0) + 1
            different += bool(wrong)
            for text in wrong:
                print(f"{number} {name}: {text}", flush=True)
            if wrong and arguments.keep:
                shutil.copytree(folder, f"{arguments.keep}/{number}-{name}", dirs_exist_ok=True)
    print(f"{arguments.count} images, {sounds} of them sound, {different} different")
    for kind, count in sorted(kinds.items()):
        print(f"  {count:5} {kind}")
    return 1 if different or arguments.count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
