#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""damaged_foreign.py [--keep DIR] [WORD...] - a table of damage to the formats of others: what
qcauditctl check finds of it, and what qemu-img check does within 10 s. With words, of the cases
alone whose names hold one of them.

Images are made by qemu-img or by the writers of differential_vmdk.py, then one thing of each is
changed. $QCAUDIT_CHECK is the command, if not `qcauditctl check --json=short`. Exit status: 0 all
is found but for what is known not to be, and nothing in the sound originals.
"""
import argparse
import dataclasses
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable

sys.dont_write_bytecode = True
import differential_vhd as vhd_kit  # noqa: E402
import differential_vmdk as vmdk_kit  # noqa: E402
import imagekit  # noqa: E402

TIMEOUT = 10
KIB, MIB, SECTOR = 1 << 10, 1 << 20, 512
FAR = 0x7FFFFFF0        # sectors: behind the end of every file here


@dataclasses.dataclass
class Base:
    """A sound image: a folder of files, of which one is checked by us and one is opened by QEMU."""
    make: Callable
    format: str
    ours: str
    theirs: str
    order: str                  # of bytes
    edited: str                 # the file that is changed


@dataclasses.dataclass
class Case:
    base: str
    kind: str
    change: Callable            # of an Editor
    deep: bool = False
    chain: bool = False
    awaits: str = ""            # why it is known not to be found


BASES, CASES = {}, []


class Editor:
    """The files of an image that is about to be damaged; numbers are of its format's byte order."""

    def __init__(self, folder, base):
        self.folder, self.base = folder, base
        self.path = os.path.join(folder, base.edited)

    def beside(self, name):
        return os.path.join(self.folder, name)

    @property
    def size(self):
        return os.path.getsize(self.path)

    def read(self, at=0, size=-1):
        with open(self.path, "rb") as file:
            file.seek(at)
            return file.read(size)

    def write(self, at, data):
        with open(self.path, "r+b") as file:
            file.seek(at)
            file.write(data)

    def get(self, at, size):
        return int.from_bytes(self.read(at, size), self.base.order)

    def put(self, at, size, value):
        self.write(at, (value & (1 << 8 * size) - 1).to_bytes(size, self.base.order))

    def zero(self, at, size):
        self.write(at, bytes(size))

    def flip(self, at, size=1):
        self.write(at, bytes(byte ^ 0xFF for byte in self.read(at, size)))

    def cut(self, size):
        assert 0 < size < self.size, (size, self.size)
        os.truncate(self.path, size)

    def used(self, at, number, size, empty=0):
        """The places of the table's entries that lead somewhere."""
        data = self.read(at, number * size)
        places = [at + i for i in range(0, len(data), size)
                  if int.from_bytes(data[i:i + size], self.base.order) not in (0, 1, empty)]
        assert len(places) > 1, places
        return places

    def copy(self, source, target, size):
        self.write(target, self.read(source, size))


def base(name, fmt, ours, theirs=None, order="little", edited=None):
    def add(function):
        BASES[name] = Base(function, fmt, ours, theirs or ours, order, edited or ours)
        return function
    return add


def case(bases, kind, deep=False, chain=False, awaits=None):
    """The same damage to each of these bases. awaits: base -> why it is known not to be found."""
    def add(function):
        CASES.extend(Case(name, kind, function, deep, chain, (awaits or {}).get(name, ""))
                     for name in bases.split())
        return function
    return add


# ---- sound images --------------------------------------------------------------------------------


def disk(folder, size=70 * MIB):
    """A raw disk with data in some places, of which no two are alike."""
    path = os.path.join(folder, "disk.raw")
    chance = random.Random(5)
    with open(path, "wb") as file:
        file.truncate(size)
        for at in (0, 64 * KIB, 3 * MIB, 9 * MIB + 64 * KIB, size - 20 * MIB, size - 64 * KIB):
            file.seek(at)
            file.write((chance.randbytes(512) + bytes(512)) * 64)
    return path


def convert(name, fmt, options=(), status=0, size=70 * MIB):
    def make(folder):
        raw = disk(folder, size)
        path = os.path.join(folder, name)
        done = subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", fmt, *options, raw, path],
                              capture_output=True, check=False)
        assert done.returncode == status, done.stderr
        os.unlink(raw)
    return make


def by_writer(name, seed):
    """As one of the writers that differential_vmdk.py has."""
    def make(folder):
        vmdk_kit.MAKERS[name](folder, random.Random(seed))
    return make


def layers(fmt, suffix):
    """A layer with data on a base with data."""
    def make(folder):
        names = [os.path.join(folder, f"{name}{suffix}") for name in ("base", "a")]
        imagekit.run("qemu-img", "create", "-q", "-f", fmt, names[0], "8M")
        imagekit.run("qemu-io", "-f", fmt, "-c", "write -q -P 1 0 1M", names[0])
        imagekit.run("qemu-img", "create", "-q", "-f", fmt, "-b", f"base{suffix}", "-F", fmt,
                     names[1])
        imagekit.run("qemu-io", "-f", fmt, "-c", "write -q -P 2 2M 64k", names[1])
    return make


for _name, _fmt, _suffix, _options, _order in (
        ("vmdk", "vmdk", "vmdk", ["-o", "subformat=monolithicSparse"], "little"),
        ("stream", "vmdk", "vmdk", ["-o", "subformat=streamOptimized"], "little"),
        ("flat", "vmdk", "vmdk", ["-o", "subformat=monolithicFlat"], "little"),
        ("two-gb", "vmdk", "vmdk", ["-o", "subformat=twoGbMaxExtentSparse"], "little"),
        ("vhd", "vpc", "vhd", ["-o", "subformat=dynamic,force_size=on"], "big"),
        ("vhdx", "vhdx", "vhdx", ["-o", "block_size=1M"], "little"),
        ("vdi", "vdi", "vdi", [], "little"),
        ("qed", "qed", "qed", ["-o", "cluster_size=4096,table_size=2"], "little"),
        ("parallels", "parallels", "hdd", [], "little"),
        ("qcow1", "qcow", "qcow", [], "big")):
    base(_name, _fmt, f"a.{_suffix}", order=_order)(convert(f"a.{_suffix}", _fmt, _options))
# qemu-img 7.2 ends with 1 after it has written a compressed qcow
base("qcow1-packed", "qcow", "a.qcow", order="big")(convert("a.qcow", "qcow", ["-c"], 1))


@base("vhd-fixed", "vpc", "over.qcow2", "a.vhd", "big", "a.vhd")
def _(folder):
    """Nothing but who declares it can tell that it is one when its only footer is lost."""
    convert("a.vhd", "vpc", ["-o", "subformat=fixed,force_size=on"])(folder)
    imagekit.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "vpc", "-b", "a.vhd",
                 os.path.join(folder, "over.qcow2"))


base("stream-footer", "vmdk", "a.vmdk")(by_writer("footer", 11))
base("cowd", "vmdk", "e.vmdk", "a.vmdk")(by_writer("cowd", 3))
base("se-sparse", "vmdk", "e.vmdk", "a.vmdk")(by_writer("se-sparse", 3))
for _name, _fmt in (("vmdk", "vmdk"), ("qed", "qed"), ("qcow1", "qcow")):
    base(f"{_name}-layer", _fmt, f"a.{_fmt}", order="big" if _name == "qcow1" else "little")(
        layers(_fmt, f".{_fmt}"))


# ---- VMDK: hosted sparse extents ("Virtual Disk Format 5.0") -------------------------------------


class Hosted:
    """Where the structures of such an extent lie."""

    def __init__(self, e):
        self.second, self.first = (e.get(at, 8) * SECTOR for at in (48, 56))
        if e.get(56, 8) == vmdk_kit.AT_END:
            self.first = e.get(e.size - 1024 + 56, 8) * SECTOR
        self.n = -(-e.get(12, 8) // (512 * 128))
        tables = [SECTOR * e.get(self.first + 4 * i, 4) for i in range(self.n)]
        self.table = max(filter(None, tables), key=lambda at: sum(map(bool, struct.unpack(
            "<512I", e.read(at, 2048)))))
        self.entries = e.used(self.table, 512, 4)
        self.grain = e.get(self.entries[0], 4) * SECTOR


@case("vmdk stream", "cut in the grain directory")
def _(e): e.cut(Hosted(e).first + 2)


@case("vmdk stream", "cut in a grain table")
def _(e): e.cut(Hosted(e).table + 1024)


@case("vmdk stream stream-footer", "cut in a grain")
def _(e): e.cut(Hosted(e).grain + 100)


@case("vmdk stream-footer vhd cowd se-sparse vdi qed parallels qcow1", "the last sector is cut off")
def _(e): e.cut(e.size - SECTOR)


@case("vmdk", "capacity zeroed")
def _(e): e.put(12, 8, 0)


@case("vmdk stream", "grainSize zeroed")
def _(e): e.put(20, 8, 0)


@case("vmdk stream", "gdOffset zeroed")
def _(e): e.put(56, 8, 0)


@case("vmdk", "numGTEsPerGT zeroed")
def _(e): e.put(44, 4, 0)


@case("vmdk", "line end characters converted")
def _(e): e.write(73, b"\n\n\r\n")


@case("vmdk", "grain directory zeroed")
def _(e): e.zero(Hosted(e).first, 4 * Hosted(e).n)


@case("vmdk", "grain table zeroed")
def _(e): e.zero(Hosted(e).table, 2048)


@case("vmdk", "redundant grain directory zeroed")
def _(e): e.zero(Hosted(e).second, 4 * Hosted(e).n)


@case("vmdk stream stream-footer", "grain out of the file")
def _(e): e.put(Hosted(e).entries[0], 4, FAR)


@case("vmdk stream", "grain table out of the file")
def _(e): e.put(Hosted(e).first, 4, FAR)


@case("vmdk stream", "the same grain twice", deep=True)
def _(e): e.copy(Hosted(e).entries[0], Hosted(e).entries[1], 4)


@case("vmdk", "grain on its grain table")
def _(e): e.put(Hosted(e).entries[0], 4, Hosted(e).table // SECTOR)


@case("vmdk", "grain on the descriptor")
def _(e): e.put(Hosted(e).entries[0], 4, 2)


@case("vmdk", "grains overlap by all but a sector")
def _(e): e.put(Hosted(e).entries[0], 4, e.get(Hosted(e).entries[1], 4) + 1)


@case("vmdk", "two directory entries with one table")
def _(e): e.copy(Hosted(e).first, Hosted(e).first + 4, 4)


@case("stream", "compressAlgorithm zeroed")
def _(e): e.put(77, 2, 0)


@case("stream stream-footer", "marker's size zeroed", deep=True)
def _(e): e.put(Hosted(e).grain + 8, 4, 0)


@case("stream stream-footer", "marker's size beyond the file", deep=True)
def _(e): e.put(Hosted(e).grain + 8, 4, 0x7FFFFFFF)


@case("stream", "marker of another grain", deep=True)
def _(e): e.put(Hosted(e).grain, 8, 0x12345 * 128)


@case("stream stream-footer", "compressed bytes changed", deep=True)
def _(e): e.flip(Hosted(e).grain + 20, 8)


@case("stream-footer", "footer zeroed")
def _(e): e.zero(e.size - 1024, SECTOR)


@case("stream-footer", "footer's gdOffset zeroed")
def _(e): e.put(e.size - 1024 + 56, 8, 0)


@case("stream-footer", "footer's marker zeroed")
def _(e): e.zero(e.size - 1536, SECTOR)


# ---- VMDK: COWD and SESparse ---------------------------------------------------------------------


class Cowd:
    def __init__(self, e):
        self.first, self.n = e.get(20, 4) * SECTOR, e.get(24, 4)
        self.table = SECTOR * next(filter(None, (e.get(self.first + 4 * i, 4)
                                                 for i in range(self.n))))
        self.entries = e.used(self.table, 4096, 4)


@case("cowd", "cut in a grain table")
def _(e): e.cut(Cowd(e).table + 1024)


@case("cowd", "cut in the data")
def _(e): e.cut(e.get(Cowd(e).entries[1], 4) * SECTOR + 100)


@case("cowd", "granularity zeroed")
def _(e): e.put(16, 4, 0)


@case("cowd", "gdOffset zeroed")
def _(e): e.put(20, 4, 0)


@case("cowd", "number of directory entries zeroed")
def _(e): e.put(24, 4, 0)


@case("cowd", "grain out of the file")
def _(e): e.put(Cowd(e).entries[0], 4, FAR)


@case("cowd", "grain table out of the file")
def _(e): e.put(Cowd(e).first, 4, FAR)


@case("cowd", "the same grain twice")
def _(e): e.copy(Cowd(e).entries[0], Cowd(e).entries[1], 4)


@case("cowd", "grain on the grain directory")
def _(e): e.put(Cowd(e).entries[0], 4, Cowd(e).first // SECTOR)


class SeSparse:
    def __init__(self, e):
        self.first, self.tables, self.data = (e.get(8 * i, 8) * SECTOR for i in (16, 18, 24))
        n = e.get(8 * 17, 8) * SECTOR // 8
        self.directory = [self.first + 8 * i for i in range(n) if e.get(self.first + 8 * i, 8)]
        self.table = self.tables + (e.get(self.directory[0], 8) & 0xFFFFFFFF) * 32 * KIB
        self.entries = [at for at in e.used(self.table, 4096, 8) if e.get(at, 8) >> 60 == 3]


@case("se-sparse", "cut in a grain table")
def _(e): e.cut(SeSparse(e).table + 1024)


@case("se-sparse", "grain_size zeroed")
def _(e): e.put(24, 8, 0)


@case("se-sparse", "version of the volatile header changed")
def _(e): e.zero(SECTOR, 8)


@case("se-sparse", "journal to be replayed")
def _(e): e.put(SECTOR + 24, 1, 1)


@case("se-sparse", "grain table out of the file")
def _(e): e.put(SeSparse(e).directory[0], 8, 1 << 60 | 0xFFFFFF)


@case("se-sparse", "grain out of the file")
def _(e): e.put(SeSparse(e).entries[0], 8, 3 << 60 | 0xFFFFFF)


@case("se-sparse", "the same grain twice")
def _(e): e.copy(SeSparse(e).entries[0], SeSparse(e).entries[1], 8)


@case("se-sparse", "entry of an unknown kind")
def _(e): e.put(SeSparse(e).entries[0], 8, 5 << 60)


@case("se-sparse", "grains_offset on the grain tables")
def _(e): e.put(8 * 24, 8, SeSparse(e).tables // SECTOR)


# ---- VMDK: descriptors ---------------------------------------------------------------------------


@case("flat two-gb", "extent is missing", chain=True)
def _(e): os.unlink(e.beside("a-flat.vmdk" if e.base is BASES["flat"] else "a-s001.vmdk"))


@case("flat", "extent is cut", chain=True)
def _(e): os.truncate(e.beside("a-flat.vmdk"), 9 * MIB)


# ---- VHD ("Virtual Hard Disk Image Format Specification") ----------------------------------------


class Vhd:
    def __init__(self, e):
        self.table, self.n = e.get(512 + 16, 8), e.get(512 + 28, 4)
        self.entries = e.used(self.table, self.n, 4, 0xFFFFFFFF)

    @staticmethod
    def sums(e, *parts):
        """(offset, size, place of the sum)"""
        for offset, size, at in parts or ((0, 512, 64), (512, 1024, 36), (e.size - 512, 512, 64)):
            e.put(offset + at, 4, 0)
            e.put(offset + at, 4, ~sum(e.read(offset, size)))


@case("vhd", "cut in the block allocation table")
def _(e): e.cut(Vhd(e).table + 8)


@case("vhd", "cut in a block")
def _(e): e.cut(e.get(Vhd(e).entries[1], 4) * SECTOR + 100000)


@case("vhd", "footer's copy zeroed but for its cookie")
def _(e): e.zero(8, 504)


@case("vhd", "footer zeroed")
def _(e): e.zero(e.size - 512, 512)


@case("vhd", "footer's checksum wrong")
def _(e): e.flip(e.size - 512 + 64)


@case("vhd", "footer and its copy differ")
def _(e):
    e.put(e.size - 512 + 48, 8, 4 * MIB)
    Vhd.sums(e)


@case("vhd", "dynamic header's checksum wrong")
def _(e): e.flip(512 + 36)


@case("vhd", "dynamic header zeroed")
def _(e): e.zero(512, 1024)


@case("vhd", "block size zeroed")
def _(e):
    e.put(512 + 32, 4, 0)
    Vhd.sums(e)


@case("vhd", "max table entries zeroed")
def _(e):
    e.put(512 + 28, 4, 0)
    Vhd.sums(e)


@case("vhd", "table offset out of the file")
def _(e):
    e.put(512 + 16, 8, 1 << 40)
    Vhd.sums(e)


@case("vhd", "block out of the file")
def _(e): e.put(Vhd(e).entries[0], 4, FAR)


@case("vhd", "the same block twice")
def _(e): e.copy(Vhd(e).entries[0], Vhd(e).entries[1], 4)


@case("vhd", "block on the table")
def _(e): e.put(Vhd(e).entries[0], 4, Vhd(e).table // SECTOR)


@case("vhd", "block on the header")
def _(e): e.put(Vhd(e).entries[0], 4, 1)


@case("vhd", "block allocation table zeroed")
def _(e): e.zero(Vhd(e).table, 4 * Vhd(e).n)


@case("vhd", "block allocation table emptied",
      awaits={"vhd": "blocks that no entry leads to are not counted"})
def _(e): e.write(Vhd(e).table, b"\xff" * (4 * Vhd(e).n))


@case("vhd-fixed", "the last sector is cut off", chain=True)
def _(e): e.cut(e.size - SECTOR)


@case("vhd-fixed", "data cut out before the footer", chain=True)
def _(e):
    footer = e.read(e.size - 512)
    e.cut(e.size - 512 - MIB)
    with open(e.path, "ab") as file:
        file.write(footer)


@case("vhd-fixed", "footer's checksum wrong", chain=True)
def _(e): e.flip(e.size - 512 + 64)


@case("vhd-fixed", "current size zeroed", chain=True)
def _(e):
    e.put(e.size - 512 + 48, 8, 0)
    Vhd.sums(e, (e.size - 512, 512, 64))


# ---- VHDX ([MS-VHDX]) ----------------------------------------------------------------------------


class Vhdx:
    def __init__(self, e):
        (self.table, _), (self.metadata, _) = vhd_kit.vhdx_regions(e.read(0, 4 * MIB))
        self.log = e.get(64 * KIB + 72, 8)
        self.entries = e.used(self.table, 71, 8)

    @staticmethod
    def sum(e, offset, size=4096):
        data = bytearray(e.read(offset, size))
        vhd_kit.vhdx_sum(data, 0, size)
        e.write(offset, data)

    @staticmethod
    def log_written(e, damage=None, state=2):
        """A log entry that writes the first part of the table, which is to be replayed."""
        data, place = bytearray(e.read()), Vhdx(e)
        block = bytearray(data[place.table:place.table + 4096])
        struct.pack_into("<Q", block, 0, state)
        vhd_kit.vhdx_log_guid(data)
        vhd_kit.vhdx_log_entry(data, 7, [(place.table, bytes(block))])
        if damage is not None:
            data[place.log + damage] ^= 0xFF
        e.write(0, data)


@case("vhdx", "cut in the block allocation table")
def _(e): e.cut(Vhdx(e).table + 8)


@case("vhdx", "cut in a block")
def _(e): e.cut((e.get(Vhdx(e).entries[1], 8) >> 20 << 20) + 1000)


@case("vhdx", "cut before the metadata")
def _(e): e.cut(Vhdx(e).metadata)


@case("vhdx", "the last MiB is cut off")
def _(e): e.cut(e.size - MIB)


@case("vhdx", "a header's checksum wrong")
def _(e): e.flip(64 * KIB + 4)


@case("vhdx", "both headers zeroed")
def _(e):
    e.zero(64 * KIB, 4096)
    e.zero(128 * KIB, 4096)


@case("vhdx", "a region table zeroed")
def _(e): e.zero(192 * KIB, 64 * KIB)


@case("vhdx", "both region tables' checksums wrong")
def _(e):
    e.flip(192 * KIB + 4)
    e.flip(256 * KIB + 4)


@case("vhdx", "region tables differ")
def _(e):
    e.put(256 * KIB + 16 + 24, 4, 2 * MIB)
    Vhdx.sum(e, 256 * KIB, 64 * KIB)


@case("vhdx", "metadata table's signature zeroed")
def _(e): e.zero(Vhdx(e).metadata, 8)


@case("vhdx", "metadata zeroed")
def _(e): e.zero(Vhdx(e).metadata, 128 * KIB)


@case("vhdx", "block size zeroed")
def _(e): e.put(Vhdx(e).metadata + 64 * KIB, 4, 0)


@case("vhdx", "block out of the file")
def _(e): e.put(Vhdx(e).entries[0], 8, FAR << 20 | 6)


@case("vhdx", "the same block twice")
def _(e): e.copy(Vhdx(e).entries[0], Vhdx(e).entries[1], 8)


@case("vhdx", "block on the log")
def _(e): e.put(Vhdx(e).entries[0], 8, Vhdx(e).log | 6)


@case("vhdx", "entry of an unknown state")
def _(e): e.put(Vhdx(e).entries[0], 8, e.get(Vhdx(e).entries[0], 8) & ~7 | 4)


@case("vhdx", "log to be replayed")
def _(e): Vhdx.log_written(e)


@case("vhdx", "log entry's checksum wrong")
def _(e): Vhdx.log_written(e, 4)


@case("vhdx", "log entry's data changed")
def _(e): Vhdx.log_written(e, 4096 + 100)


@case("vhdx", "log wanted, and empty")
def _(e):
    data = bytearray(e.read(0, MIB))
    vhd_kit.vhdx_log_guid(data)
    e.write(0, data)


# ---- VDI (QEMU's block/vdi.c, VdiHeader) ---------------------------------------------------------


class Vdi:
    def __init__(self, e):
        self.map, self.n = e.get(0x154, 4), e.get(0x180, 4)
        places = [self.map + 4 * i for i in range(self.n)]
        self.entries = [at for at in places if e.get(at, 4) < 0xFFFFFFFE]


@case("vdi", "cut in the block map")
def _(e): e.cut(Vdi(e).map + 8)


@case("vdi", "cut in a block")
def _(e): e.cut(e.get(0x158, 4) + MIB + 1000)


@case("vdi", "block size zeroed")
def _(e): e.put(0x178, 4, 0)


@case("vdi", "blocks in image zeroed")
def _(e): e.put(0x180, 4, 0)


@case("vdi", "allocated blocks zeroed")
def _(e): e.put(0x184, 4, 0)


@case("vdi", "offset of the block map zeroed")
def _(e): e.put(0x154, 4, 0)


@case("vdi", "block map out of the file")
def _(e): e.put(0x154, 4, 0x40000000)


@case("vdi", "block out of the file")
def _(e): e.put(Vdi(e).entries[0], 4, 0x00FFFFFF)


@case("vdi", "the same block twice")
def _(e): e.copy(Vdi(e).entries[0], Vdi(e).entries[1], 4)


@case("vdi", "data on the block map")
def _(e): e.put(0x158, 4, Vdi(e).map)


@case("vdi", "block map emptied")
def _(e): e.write(Vdi(e).map, b"\xff" * (4 * Vdi(e).n))


# ---- QED (docs/interop/qed_spec.rst) -------------------------------------------------------------


class Qed:
    def __init__(self, e):
        self.cluster = e.get(4, 4)
        self.table_size = self.cluster * e.get(8, 4)
        self.l1 = e.get(40, 8)
        self.tables = e.used(self.l1, self.table_size // 8, 8)
        self.l2 = e.get(self.tables[0], 8)
        self.entries = e.used(self.l2, self.table_size // 8, 8)


@case("qed", "cut in the L1 table")
def _(e): e.cut(Qed(e).l1 + 4)


@case("qed", "cut in an L2 table")
def _(e): e.cut(e.get(Qed(e).tables[1], 8) + 8)


@case("qed", "cut in a cluster")
def _(e): e.cut(e.get(Qed(e).entries[1], 8) + 100)


@case("qed", "cluster_size zeroed")
def _(e): e.put(4, 4, 0)


@case("qed", "table_size zeroed")
def _(e): e.put(8, 4, 0)


@case("qed", "l1_table_offset zeroed")
def _(e): e.put(40, 8, 0)


@case("qed", "image_size beyond the tables")
def _(e): e.put(48, 8, 1 << 50)


@case("qed", "unknown feature")
def _(e): e.put(16, 8, 1 << 9)


@case("qed", "was not closed: needs a check")
def _(e): e.put(16, 8, 2)


@case("qed", "L1 table zeroed")
def _(e): e.zero(Qed(e).l1, Qed(e).table_size)


@case("qed", "L2 table zeroed")
def _(e): e.zero(Qed(e).l2, Qed(e).table_size)


@case("qed", "L2 table out of the file")
def _(e): e.put(Qed(e).tables[0], 8, 1 << 40)


@case("qed", "cluster out of the file")
def _(e): e.put(Qed(e).entries[0], 8, 1 << 40)


@case("qed", "cluster not aligned")
def _(e): e.put(Qed(e).entries[0], 8, e.get(Qed(e).entries[0], 8) + 512)


@case("qed", "the same cluster twice")
def _(e): e.copy(Qed(e).entries[0], Qed(e).entries[1], 8)


@case("qed", "the same L2 table twice")
def _(e): e.copy(Qed(e).tables[0], Qed(e).tables[1], 8)


@case("qed", "cluster on the L1 table")
def _(e): e.put(Qed(e).entries[0], 8, Qed(e).l1)


@case("qed", "L2 table on the header")
def _(e): e.put(Qed(e).tables[0], 8, Qed(e).cluster)


# ---- Parallels (docs/interop/parallels.rst) ------------------------------------------------------


class Parallels:
    def __init__(self, e):
        self.n, self.tracks = e.get(32, 4), e.get(28, 4)
        self.entries = e.used(64, self.n, 4)


@case("parallels", "cut in the block allocation table")
def _(e): e.cut(72)


@case("parallels", "cut in a cluster")
def _(e): e.cut(e.size - 512 * KIB)


@case("parallels", "tracks zeroed")
def _(e): e.put(28, 4, 0)


@case("parallels", "bat_entries zeroed")
def _(e): e.put(32, 4, 0)


@case("parallels", "nb_sectors beyond the table")
def _(e): e.put(36, 8, 1 << 40)


@case("parallels", "version zeroed")
def _(e): e.put(16, 4, 0)


@case("parallels", "data_off within the table")
def _(e):
    assert e.read(0, 16) == b"WithouFreSpacExt"
    e.put(32, 4, 4096)
    e.put(48, 4, 1)


@case("parallels", "marked in use")
def _(e): e.put(44, 4, 0x746F6E59)


@case("parallels", "block allocation table zeroed")
def _(e): e.zero(64, 4 * Parallels(e).n)


@case("parallels", "cluster out of the file")
def _(e): e.put(Parallels(e).entries[0], 4, 0x00FFFFFF)


@case("parallels", "the same cluster twice")
def _(e): e.copy(Parallels(e).entries[0], Parallels(e).entries[1], 4)


@case("parallels", "cluster on the table")
def _(e):
    e.write(0, b"WithoutFreeSpace")
    for place in Parallels(e).entries:
        e.put(place, 4, e.get(place, 4) * Parallels(e).tracks)
    e.put(Parallels(e).entries[0], 4, 0x1)
    e.put(32, 4, 4096)


# ---- qcow, the first (QEMU's block/qcow.c) -------------------------------------------------------


class Qcow1:
    def __init__(self, e):
        self.cluster, self.l2_entries = 1 << e.get(32, 1), 1 << e.get(33, 1)
        self.l1 = e.get(40, 8)
        self.n = -(-e.get(24, 8) // (self.cluster * self.l2_entries))
        self.tables = e.used(self.l1, self.n, 8)
        self.l2 = e.get(self.tables[0], 8)
        self.entries = e.used(self.l2, self.l2_entries, 8)


@case("qcow1 qcow1-packed", "cut in the L1 table")
def _(e): e.cut(Qcow1(e).l1 + 4)


@case("qcow1", "cut in an L2 table")
def _(e): e.cut(e.get(Qcow1(e).tables[1], 8) + 8)


@case("qcow1", "cut in a cluster")
def _(e): e.cut(e.get(Qcow1(e).entries[1], 8) + 100)


@case("qcow1", "size zeroed")
def _(e): e.put(24, 8, 0)


@case("qcow1", "cluster_bits zeroed")
def _(e): e.put(32, 1, 0)


@case("qcow1", "l2_bits zeroed")
def _(e): e.put(33, 1, 0)


@case("qcow1", "l1_table_offset zeroed")
def _(e): e.put(40, 8, 0)


@case("qcow1", "l1_table_offset out of the file")
def _(e): e.put(40, 8, 1 << 40)


@case("qcow1", "L2 table out of the file")
def _(e): e.put(Qcow1(e).tables[0], 8, 1 << 40)


@case("qcow1", "cluster out of the file")
def _(e): e.put(Qcow1(e).entries[0], 8, 1 << 40)


@case("qcow1-packed", "compressed cluster out of the file")
def _(e): e.put(Qcow1(e).entries[0], 8, e.get(Qcow1(e).entries[0], 8) | 1 << 40)


@case("qcow1-packed", "compressed bytes changed", deep=True)
def _(e): e.flip((e.get(Qcow1(e).entries[0], 8) & (1 << 63 - e.get(32, 1)) - 1) + 4, 8)


@case("qcow1 qcow1-packed", "the same cluster twice", deep=True)
def _(e): e.copy(Qcow1(e).entries[0], Qcow1(e).entries[1], 8)


@case("qcow1", "the same L2 table twice")
def _(e): e.copy(Qcow1(e).tables[0], Qcow1(e).tables[1], 8)


@case("qcow1", "cluster on an L2 table")
def _(e): e.put(Qcow1(e).entries[0], 8, Qcow1(e).l2)


@case("qcow1", "cluster on the header")
def _(e): e.put(Qcow1(e).tables[0], 8, 32)


# ---- chains --------------------------------------------------------------------------------------


@case("vmdk-layer qed-layer qcow1-layer", "parent is missing", chain=True)
def _(e): os.unlink(e.beside(f"base.{e.base.format}"))



@case("vmdk-layer qed-layer qcow1-layer", "layers name each other", chain=True)
def _(e): shutil.copy(e.path, e.beside(f"base.{e.base.format}"))


@case("vmdk-layer qed-layer qcow1-layer", "parent is cut", chain=True)
def _(e): os.truncate(e.beside(f"base.{e.base.format}"), 100)


@case("vmdk-layer", "parent has another CID", chain=True)
def _(e):
    with open(e.beside("base.vmdk"), "r+b") as file:
        file.seek(file.read().index(b"\nCID=") + 5)
        file.write(b"0badcafe")


@case("vmdk-layer", "parentCID is another", chain=True)
def _(e): e.write(e.read().index(b"\nparentCID=") + 11, b"0badcafe")


# ---- what both say -------------------------------------------------------------------------------


def _limits():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # qemu-img follows a chain that loops until it has no file descriptor left
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def _run(command, folder):
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=TIMEOUT, preexec_fn=_limits, check=False)


def ours(folder, image, case_=None):
    """(status, words for what was found)"""
    command = os.environ.get("QCAUDIT_CHECK", "qcauditctl check --json=short").split()
    options = [option for option, wanted in (("--deep", case_ is None or case_.deep),
                                             ("--chain", case_ is None or case_.chain)) if wanted]
    done = _run(command + options + [image.ours], folder)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        reason = done.stderr.decode(errors="replace").strip()[:200]
        return done.returncode, [f"no report: {reason}"]
    parts = [report] + report.get("layers", [])
    words = sorted({issue["kind"] for part in parts for issue in part.get("issues") or []})
    if not report.get("opened", True) or not all(part.get("finished", True) for part in parts):
        words.append("refused" if not report.get("opened", True) else "not finished")
    return done.returncode, words


def theirs(folder, image):
    """(whether it says that something is wrong, its verdict in words)"""
    try:
        status = _run(["qemu-img", "check", "-f", image.format, image.theirs], folder).returncode
    except subprocess.TimeoutExpired:
        return False, f"no answer in {TIMEOUT} s"
    words = {0: "clean", 1: "refused", 2: "damaged", 3: "leaks", 63: "has no check"}
    return status in (1, 2, 3), words.get(status, f"status {status}")


@dataclasses.dataclass
class Row:
    title: str                  # kind of damage | format
    wrong: str                  # "": as it should be
    ours: str
    theirs: str
    is_damaged: bool
    qemu_finds: bool
    awaits: str = ""

    @property
    def fails(self):
        return bool(self.wrong and not self.awaits)


def copy(source, target):
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


def sound_row(name, folder):
    status, words = ours(folder, BASES[name])
    finds, verdict = theirs(folder, BASES[name])
    wrong = "qemu-img finds something" if finds else ""
    if words or status not in (0, 63):
        wrong = f"sound, and found: {status} {' '.join(words)}"
    return Row(f"(sound) | {name}", wrong, " ".join(words) or "nothing", verdict, False, finds)


def damaged_row(case_, original, folder):
    image = BASES[case_.base]
    copy(original, folder)
    case_.change(Editor(folder, image))
    # a parent that was written after its layer is odd by itself
    for entry in os.scandir(folder):
        os.utime(entry.path, (10 ** 9 + (entry.name == image.ours),) * 2)
    status, words = ours(folder, image, case_)
    finds, verdict = theirs(folder, image)
    # what is only odd, or may be a guest that runs, is told with a status of 0
    wrong = "" if words and status in (0, 1, 2, 3) else f"status {status}" if words else "not found"
    return Row(f"{case_.kind} | {case_.base}", wrong, " ".join(words) or "nothing", verdict, True,
               finds, case_.awaits)


def rows(directory, words=()):
    """All of them, each as it was found out; the folders of the images stay."""
    for name in BASES:
        wanted = [case_ for case_ in CASES if case_.base == name and
                  (not words or any(word in f"{case_.kind} | {name}" for word in words))]
        if not wanted:
            continue
        original = os.path.join(directory, name)
        os.mkdir(original)
        BASES[name].make(original)
        yield sound_row(name, original)
        for number, case_ in enumerate(wanted):
            yield damaged_row(case_, original, os.path.join(directory, f"{name}-{number}"))


def totals(told):
    damaged = [row for row in told if row.is_damaged]
    return (f"found {sum(not row.wrong for row in damaged)} of {len(damaged)}, "
            f"qemu-img {sum(row.qemu_finds for row in damaged)} of {len(damaged)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", metavar="DIR", help="where the images stay")
    parser.add_argument("words", nargs="*", metavar="WORD")
    arguments = parser.parse_args()
    told = []
    with tempfile.TemporaryDirectory(prefix="qcaudit-damaged.") as scratch:
        if arguments.keep:
            os.makedirs(arguments.keep)
        print("| kind of damage | format | found | qemu-img check |\n|---|---|---|---|")
        for row in rows(arguments.keep or scratch, arguments.words):
            told.append(row)
            wrong = f" **{row.wrong}{': ' if row.awaits else ''}{row.awaits}**" if row.wrong else ""
            print(f"| {row.title} | {row.ours}{wrong} | {row.theirs} |", flush=True)
    print(totals(told))
    return 1 if any(row.fails for row in told) or not told else 0


if __name__ == "__main__":
    sys.exit(main())
