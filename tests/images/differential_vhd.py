#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""differential_vhd.py [--count N] [--seed N] [--keep DIR] - compares what the library says of VHD and VHDX images with
qemu-img, on N images (default 600), every third of them sound, and keeps those that differ.

Sound images must have no issue and QEMU's content. Of damaged ones, those that qemu-img does not open, or counts
corruptions of, must have an issue, and what the library reads of the others must be what qemu-img reads, or there must be
an issue that says why it reads nothing.

Of N / 2 images besides, a layer or two lie on what QEMU made, as QEMU makes none: what is read of the chain must be what was
written, or, where every second of them was damaged, what a strict reader makes of it, or there must be an issue.

Deterministic by its seed but for what QEMU makes up (UUIDs, times). $QCAUDIT_IMAGES names the command that tells of an
image, if not `tests/unit/check-images` of a build tree in the current folder.
Exit status: 0 all equal, 1 some differ.
"""
import argparse
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from layers_vhd import (FULL, METADATA, PARTIAL, TABLE, UNMAPPED, ZERO, read_vhd, read_vhdx, vhd_identity,  # noqa: E402
                        vhd_sum, vhdx_identity, vhdx_sum, write_vhd, write_vhdx)

TELL = os.environ.get("QCAUDIT_IMAGES", "tests/unit/check-images").split()
KIB, MIB = 1 << 10, 1 << 20
# Issues with which the library does not read an image, or some of its blocks, where QEMU may.
UNREADABLE = {"block-invalid", "field-invalid", "checksum-wrong", "copy-differs", "metadata-shared", "log-pending",
              "table-out-of-file", "log-invalid", "out-of-file", "block-out-of-file"}


def _run(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          timeout=120)


def vhdx_regions(data):
    """(offset, size) of the block allocation table and of the metadata, where QEMU puts them."""
    log = struct.unpack_from("<I", data, 64 * KIB + 68)[0]
    return (log + MIB, MIB), (log + 2 * MIB, MIB)


def vhdx_log_entry(data, sequence, writes, tail=0, at=0):
    """Writes one log entry of (file offset, 4 KiB), at this place of the log; its length."""
    log = struct.unpack_from("<Q", data, 64 * KIB + 72)[0]
    first = (64 + 32 * len(writes) + 4095) // 4096
    entry = bytearray(4096 * (first + len(writes)))
    struct.pack_into("<4sIIIQII16sQQ", entry, 0, b"loge", 0, len(entry), tail, sequence, len(writes), 0, b"L" * 16,
                     len(data), len(data))
    for index, (offset, block) in enumerate(writes):
        struct.pack_into("<4s4s8sQQ", entry, 64 + 32 * index, b"desc", block[4092:], block[:8], offset, sequence)
        sector = 4096 * (first + index)
        struct.pack_into("<4sI4084sI", entry, sector, b"data", sequence >> 32, block[8:4092], sequence & 0xffffffff)
    vhdx_sum(entry, 0, len(entry))
    data[log + at:log + at + len(entry)] = entry
    return len(entry)


def vhdx_log_guid(data, guid=b"L" * 16):
    for header in (64 * KIB, 128 * KIB):
        data[header + 48:header + 64] = guid
        vhdx_sum(data, header, 4096)


# ---- images ---------------------------------------------------------------------------------------------------------

def _writes(chance, size, zeros):
    commands = []
    for number in range(chance.randrange(6)):
        offset = chance.randrange(size // 512) * 512
        length = min(chance.choice((512, 4 * KIB, 64 * KIB, MIB, 3 * MIB)), size - offset)
        kind = chance.choice(("-z ", "-z -u ", "")) if zeros else ""
        commands += ["-c", f"write -q {kind}{'' if kind else f'-P {number + 1} '}{offset} {length}"]
        if zeros and chance.randrange(4) == 0:
            commands += ["-c", f"discard -q {offset} {length}"]
    return commands


def make_sound(chance, path, kind):
    """A sound image, by QEMU's tools; how it was made."""
    size = chance.choice((chance.randrange(1, 40) * MIB, chance.randrange(1, 60000) * 512))
    if kind == "vpc":
        options = [f"subformat={chance.choice(('dynamic', 'dynamic', 'fixed'))}"]
        if chance.randrange(2):
            options.append("force_size=on")
    else:
        options = [f"subformat={chance.choice(('dynamic', 'dynamic', 'fixed'))}",
                   f"block_size={chance.choice((1, 2, 8, 32))}M", f"log_size={chance.choice((1, 1, 2))}M",
                   f"block_state_zero={chance.choice(('on', 'off'))}"]
        size = size // 512 * 512
    command = ["qemu-img", "create", "-q", "-f", kind, "-o", ",".join(options), path, str(size)]
    if _run(*command).returncode:
        raise SystemExit(f"cannot make {command}")
    size = int(next(line for line in _run("qemu-img", "info", "-f", kind, path).stdout.splitlines()
                    if "virtual size" in line).split("(")[1].split()[0])
    writes = _writes(chance, size, kind == "vhdx") if size >= 512 else []
    if writes:
        _run("qemu-io", "-f", kind, *writes, path)
    return " ".join(options) + f" {size}"


def _places(data, kind):
    """(offset, size) of structures, those that matter more often."""
    if kind == "vhdx":
        table, metadata = vhdx_regions(data)
        return [(64 * KIB, 80), (128 * KIB, 80), (192 * KIB, 80), (256 * KIB, 80), (metadata[0], 200),
                (metadata[0] + 64 * KIB, 64), (table[0], 128), (table[0], 128), (table[0], 128)]
    places = [(len(data) - 512, 88)]
    if data[:8] == b"conectix":
        table = struct.unpack_from(">Q", data, 512 + 16)[0]
        places += [(0, 88), (512, 64), (512, 64), (table, 32), (table, 32), (table, 32)]
    return places


def _entry(data, chance, kind):
    """A table entry that says something."""
    if kind == "vhdx":
        table = vhdx_regions(data)[0][0]
        place = chance.randrange(-1, len(data) // MIB + 2) << 20 & (1 << 64) - 1
        struct.pack_into("<Q", data, table + 8 * chance.randrange(8), place | chance.choice((0, 1, 2, 3, 4, 5, 6, 6, 6, 7)))
    elif data[:8] == b"conectix":
        table = struct.unpack_from(">Q", data, 512 + 16)[0]
        if table + 32 <= len(data):
            struct.pack_into(">I", data, table + 4 * chance.randrange(8),
                             chance.choice((0xffffffff, 0, 3, chance.randrange(len(data) // 512 + 9))))


def _change(data, chance, kind):
    change = chance.randrange(7)
    if change == 0:
        _entry(data, chance, kind)
        return
    if change == 1 and len(data) > 4 * MIB:
        del data[len(data) - chance.choice((1, 511, 512, 4096, MIB)):]
        return
    if change == 2:
        data += bytes(chance.choice((1, 512, MIB)))
        return
    offset, size = chance.choice(_places(data, kind))
    if offset + size > len(data):
        return
    at = offset + chance.randrange(size)
    if change == 3:
        data[at] ^= 1 << chance.randrange(8)
    elif change == 4:
        data[at] = chance.randrange(256)
    else:
        width = chance.choice((2, 4, 8))
        at = offset + chance.randrange(size // width) * width
        data[at:at + width] = chance.choice((0, 1, (1 << 8 * width) - 1, chance.randrange(1 << 24))).to_bytes(
            width, chance.choice(("big", "little")), signed=False) if width > 2 else bytes(2)


def _sum_again(data, kind):
    """So that fields that are damaged are looked at."""
    if kind == "vhdx":
        for offset, size in ((64 * KIB, 4096), (128 * KIB, 4096), (192 * KIB, 64 * KIB), (256 * KIB, 64 * KIB)):
            vhdx_sum(data, offset, size)
    elif data[:8] == b"conectix":
        vhd_sum(data, 0, 512, 64)
        if len(data) > 1536:
            vhd_sum(data, 512, 1024, 36)
    elif len(data) > 512:
        vhd_sum(data, len(data) - 512, 512, 64)


def _log_writes(data, chance, table, block):
    """Of the table's first 4 KiB, and of others that are no header and not in the log."""
    writes = [(table, bytes(block))]
    for _ in range(chance.choice((0, 0, 1, 9, 100))):
        offset = chance.randrange(table, len(data) - 4095) & ~4095
        if offset != table and not table + MIB <= offset < table + 2 * MIB:     # nor of the metadata
            writes.insert(chance.randrange(len(writes)), (offset, bytes((chance.randrange(256),)) * 4096))
    return writes


def _log(data, chance):
    """A log with something in it, valid or not: the first block is zeros, and what its writes say."""
    table = vhdx_regions(data)[0][0]
    block = bytearray(data[table:table + 4096])
    struct.pack_into("<Q", block, 0, 2)
    sequence = chance.randrange(1, 1 << 40)
    vhdx_log_guid(data)
    end = vhdx_log_entry(data, sequence, _log_writes(data, chance, table, block))
    if chance.randrange(2):
        vhdx_log_entry(data, sequence + 1, [(table, bytes(block))] * chance.choice((0, 1, 130)), at=end)
    if chance.randrange(3) == 0:
        log = struct.unpack_from("<Q", data, 64 * KIB + 72)[0]
        data[log + chance.randrange(end)] ^= 1 << chance.randrange(8)


def damage(data, chance, kind):
    if kind == "vhdx" and chance.randrange(4) == 0:
        _log(data, chance)
        return
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        _change(data, chance, kind)
    if chance.randrange(2) and len(data) > (MIB if kind == "vhdx" else 512):
        _sum_again(data, kind)


# ---- what both say --------------------------------------------------------------------------------------------------

class Told:
    """What the library says of an image."""

    def __init__(self, path):
        done = _run(*TELL, path)
        if done.returncode:
            raise SystemExit(f"{TELL} {path}: {done.returncode} {done.stderr}")
        lines = done.stdout.splitlines()[1:]
        self.text = " | ".join(line.strip() for line in lines)
        words = [line.split() for line in lines]
        self.format = words[0][0]
        self.opened = self.format != "open"
        self.finished = any(word[:2] == ["1", "corruptions"] for word in words)
        self.issues = {word[0] for word in words if len(word) == 2 and word[0] != "check"}
        content = [word for word in words if word[0] == "content"]
        self.content = tuple(content[0][3:5]) if content and content[0][1:3] == ["0", "1"] else None
        self.layers = {word[2] for word in words if word[0] == "layer"}
        chain = [word for word in words if word[0] == "chain"]
        self.opened_chain = bool(chain) and chain[0][1] == "0"
        self.chain = tuple(chain[0][3:5]) if self.opened_chain and chain[0][2] == "1" else None


def of_qemu(path, kind, scratch):
    """(content, corruptions, why): content None when it cannot be read, corruptions None when there is no check."""
    done = _run("qemu-img", "convert", "-f", kind, "-O", "raw", path, scratch)
    content = Told(scratch).content if done.returncode == 0 else None
    corruptions = None
    if kind == "vhdx":
        corruptions = _run("qemu-img", "check", "-f", kind, path).returncode == 2
    return content, corruptions, done.stderr.strip()[-160:]


def after_replay(path, scratch):
    """The content when QEMU has replayed the log, which it does for writers alone."""
    copy = f"{scratch}.vhdx"
    shutil.copy(path, copy)
    _run("qemu-img", "check", "-q", "-f", "vhdx", "-r", "all", copy)
    content = of_qemu(copy, "vhdx", scratch)[0]
    os.unlink(copy)
    return content


def differs(path, kind, sound, scratch):
    """Why they do not agree, and what each says; None when they do."""
    told = Told(path)
    content, corruptions, why = of_qemu(path, kind, scratch)
    clean = told.opened and told.finished and not told.issues
    reason = None
    if kind == "vhdx" and told.finished and "log-pending" in told.issues:
        content = after_replay(path, scratch)
    if sound and not clean:
        reason = "an issue of a sound image"
    elif told.format == "raw":          # a footer that is damaged: nobody takes it for a VHD
        pass
    elif clean and told.content is None:
        reason = "no content, and no issue"
    elif clean and content is None and told.content[1] != "0":  # QEMU miscounts the entries of a disk without bytes
        reason = "QEMU does not read what has no issue"
    elif clean and corruptions:
        reason = "QEMU counts corruptions of what has no issue"
    elif told.opened and told.finished and told.content and content and told.content != content:
        reason = "other content"
    elif told.opened and content and not told.finished and not told.issues & UNREADABLE:
        reason = "not finished, and no issue that says why"
    return reason and f"{reason}: qemu-img: {content} {corruptions} {why!r}; library: {told.text}", told, content


# ---- layers ---------------------------------------------------------------------------------------------------------

def _content(chance, sectors, unit):
    """Runs of sectors, the layer's and the parent's."""
    content = []
    while len(content) < sectors:
        there = bytes((chance.randrange(256),)) * 512 if chance.randrange(2) else None
        content += [there] * (unit * chance.choice((1, 1, 2, 7, 64, sectors)))
    return content[:sectors]


def make_layer(chance, kind, parent, name, size):
    """The layer's bytes, and for messages how it was made. size: that of the parent's disk."""
    if kind == "vpc":
        block_size = chance.choice((4, 64, 512, 2048)) * KIB
        sector = 512
    else:
        block_size, sector = chance.choice((1, 2, 8)) * MIB, chance.choice((512, 512, 4096))
        sector = sector if size >= sector else 512
    size -= chance.choice((0, 0, chance.randrange(size))) if size > 4096 else 0
    size = max(size // sector * sector, sector)
    n = -(-size // block_size)
    blocks = {}
    for number in chance.sample(range(n), min(n, chance.randrange(6))):
        blocks[number] = _content(chance, block_size // 512, sector // 512)
        if kind == "vhdx" and chance.randrange(4) == 0:
            blocks[number] = chance.choice((ZERO, UNMAPPED))
    if kind == "vpc":
        data = write_vhd(chance, vhd_identity(parent), name, blocks, size, block_size)
    else:
        data = write_vhdx(chance, vhdx_identity(parent), name, blocks, size, block_size, sector)
    return data, f"layer of {size} by {block_size} and {sector}, {len(blocks)} blocks"


def _vhd_bits(data, chance):
    """Of a block's bitmap: other sectors are the parent's, and nobody can know that it was not meant."""
    table, _, entries = struct.unpack_from(">QII", data, 512 + 16)
    places = [place for place in struct.unpack_from(f">{entries}I", data, table) if place != 0xffffffff]
    if places:
        data[chance.choice(places) * 512] ^= 1 << chance.randrange(8)


def _vhdx_entries(data):
    """(place in the file, entry) of those that say something."""
    entries = ((TABLE + at, struct.unpack_from("<Q", data, TABLE + at)[0]) for at in range(0, MIB, 8))
    return [(at, entry) for at, entry in entries if entry]


def _vhdx_state(data, chance):
    entries = _vhdx_entries(data)
    if entries:
        at, entry = chance.choice(entries)
        struct.pack_into("<Q", data, at, entry & ~7 | chance.choice((0, 2, 3, 4, 5, 6, 7)))


def _vhdx_place(data, chance):
    entries = _vhdx_entries(data)
    if entries:
        at, entry = chance.choice(entries)
        struct.pack_into("<Q", data, at, chance.choice((0, METADATA, TABLE, len(data), len(data) - MIB)) | entry & 7)


def _vhdx_bits(data, chance):
    partial = {entry & 7: entry & ~7 for _, entry in _vhdx_entries(data)}
    if PARTIAL in partial and FULL in partial:
        data[partial[FULL] + chance.randrange(64)] ^= 1 << chance.randrange(8)


def damage_layer(data, chance, kind):
    """Issues of which one must be found; None: what a strict reader says goes."""
    change = chance.randrange(6)
    if change == 0:                     # another parent's mark
        if kind == "vpc":
            data[512 + 40] ^= 1
            vhd_sum(data, 512, 1024, 36)
        else:
            for match in re.finditer(rb"\{\0(?:[0-9a-fA-F-]\0){36}\}\0", data[METADATA:TABLE]):
                data[METADATA + match.start() + 2] = ord("0" if match.group()[2] != ord("0") else "1")
        return {"parent-changed"}
    if change == 1:
        if kind == "vpc":
            _vhd_bits(data, chance)
        else:
            _vhdx_bits(data, chance)
        return None
    if change == 2:
        data[(64 * KIB if kind == "vhdx" else 512) + 200] ^= 1
        return {"checksum-wrong"}
    if change == 3 and kind == "vhdx":
        _vhdx_state(data, chance)
        return None
    if change == 3:
        table, _, entries = struct.unpack_from(">QII", data, 512 + 16)
        struct.pack_into(">I", data, table + 4 * chance.randrange(entries),
                         chance.choice((0, 1, 4, chance.randrange(len(data) // 512 + 9))))
        return None
    if change == 4 and kind == "vhdx":
        _vhdx_place(data, chance)
        return None
    cut = chance.choice((512, 4096, MIB))
    del data[max(len(data) - cut, 4 * MIB if kind == "vhdx" else 2048):]
    return None


def layer_differs(chance, kind, folder, number, damaged):
    """Why the library's chain is not what was written; how it was made."""
    base = f"{folder}/{number}-base.{kind}"
    how = make_sound(chance, base, kind)
    scratch = f"{folder}/scratch.raw"
    if _run("qemu-img", "convert", "-f", kind, "-O", "raw", base, scratch).returncode:
        raise SystemExit(f"{base}: {how}: not read")
    with open(scratch, "rb") as file:
        disk = file.read()
    read = read_vhd if kind == "vpc" else read_vhdx
    names = [base]
    wanted, why = set(), None
    for layer in range(chance.choice((1, 1, 2))):
        with open(names[-1], "rb") as file:
            parent = file.read()
        data, made = make_layer(chance, kind, parent, os.path.basename(names[-1]), max(len(disk), 512))
        how += f"; {made}"
        names.append(f"{folder}/{number}-{layer}.{kind}")
        if damaged and layer == 0:
            wanted = damage_layer(data, chance, kind)
        try:
            disk = read(data, disk) if why is None else None
        except (ValueError, struct.error) as error:
            why = str(error)
        with open(names[-1], "wb") as file:
            file.write(data)
        if why:
            break
    missing = damaged and chance.randrange(8) == 0
    if missing:
        os.unlink(base)
    told = Told(names[-1])
    reason = None
    if missing:
        reason = "a parent that is missing" if told.opened_chain else None
    elif why or disk.startswith(b"vhdxfile"):   # a block on the headers, by which a raw disk is taken for another
        reason = None if told.layers or not told.opened_chain else f"no issue of {why}"
    else:
        with open(scratch, "wb") as file:
            file.write(disk)
        content = Told(scratch).content
        if not damaged and told.layers:
            reason = "an issue of a sound chain"
        elif wanted and not wanted & told.layers:
            reason = f"none of {wanted}"
        elif told.chain != content and not (damaged and told.layers & UNREADABLE):
            reason = f"other content, {content}"
    return reason and f"{reason} ({how}): {told.text}", names, bool(told.layers)


def compare_layers(arguments, chance, directory):
    figures = {"sound": 0, "damaged": 0, "with issues": 0}
    different = 0
    for number in range(arguments.count // 2):
        kind = ("vpc", "vhdx")[number % 2]
        damaged = number // 2 % 2 == 1
        reason, names, issues = layer_differs(chance, kind, directory, number, damaged)
        figures["damaged" if damaged else "sound"] += 1
        figures["with issues"] += issues
        different += bool(reason)
        if reason:
            print(f"{os.path.basename(names[-1])}: {reason}", flush=True)
        for name in names:
            if os.path.exists(name):
                if reason and arguments.keep:
                    os.makedirs(arguments.keep, exist_ok=True)
                    shutil.copy(name, arguments.keep)
                os.unlink(name)
    print(f"{arguments.count // 2} chains, {different} different; "
          + ", ".join(f"{name}: {value}" for name, value in figures.items()))
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="DIR")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    figures = {"sound": 0, "damaged": 0, "content equal": 0, "with issues": 0, "not read by qemu-img": 0}
    different = 0
    with tempfile.TemporaryDirectory(prefix="qcaudit-differential.") as directory:
        scratch = f"{directory}/scratch.raw"
        for number in range(arguments.count):
            kind = ("vpc", "vhdx")[number % 2]
            sound = number % 3 == 0
            path = f"{directory}/{arguments.seed}-{number}.{kind}"
            how = make_sound(chance, path, kind)
            if not sound:
                with open(path, "r+b") as file:
                    data = bytearray(file.read())
                    damage(data, chance, kind)
                    file.seek(0)
                    file.truncate()
                    file.write(data)
            reason, told, content = differs(path, kind, sound, scratch)
            figures["sound" if sound else "damaged"] += 1
            figures["content equal"] += content is not None and told.content == content
            figures["with issues"] += bool(told.issues)
            figures["not read by qemu-img"] += content is None
            if reason:
                different += 1
                print(f"{os.path.basename(path)} ({how}): {reason}", flush=True)
                if arguments.keep:
                    os.makedirs(arguments.keep, exist_ok=True)
                    shutil.copy(path, arguments.keep)
            os.unlink(path)
        chains = compare_layers(arguments, chance, directory)
    print(f"{arguments.count} images, {different} different; "
          + ", ".join(f"{name}: {value}" for name, value in figures.items()))
    return 1 if different or chains or arguments.count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
