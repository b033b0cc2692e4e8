#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""differential_vhd.py [--count N] [--seed N] [--keep DIR] - compares what the library says of VHD and VHDX images with
qemu-img, on N images (default 600), every third of them sound, and keeps those that differ.

Sound images must have no issue and QEMU's content. Of damaged ones, those that qemu-img does not open, or counts
corruptions of, must have an issue, and what the library reads of the others must be what qemu-img reads, or there must be
an issue that says why it reads nothing.

Deterministic by its seed but for what QEMU makes up (UUIDs, times). $QCAUDIT_IMAGES names the command that tells of an
image, if not `tests/unit/check-images` of a build tree in the current folder.
Exit status: 0 all equal, 1 some differ.
"""
import argparse
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

TELL = os.environ.get("QCAUDIT_IMAGES", "tests/unit/check-images").split()
KIB, MIB = 1 << 10, 1 << 20
# Issues with which the library does not read an image, or some of its blocks, where QEMU may.
UNREADABLE = {"block-invalid", "field-invalid", "checksum-wrong", "copy-differs", "metadata-shared", "log-pending",
              "table-out-of-file", "log-invalid", "out-of-file", "block-out-of-file"}


def _run(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          timeout=120)


def _crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xffffffff


def _remainder(value):
    for _ in range(8):
        value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value


TABLE = [_remainder(value) for value in range(256)]


def vhdx_sum(data, offset, size):
    """Writes the checksum of a header, a region table or a log entry."""
    data[offset + 4:offset + 8] = bytes(4)
    struct.pack_into("<I", data, offset + 4, _crc32c(data[offset:offset + size]))


def vhd_sum(data, offset, size, at):
    data[offset + at:offset + at + 4] = bytes(4)
    struct.pack_into(">I", data, offset + at, ~sum(data[offset:offset + size]) & 0xffffffff)


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


def _log(data, chance):
    """A log with something in it, valid or not: a write of the table's first 4 KiB."""
    table = vhdx_regions(data)[0][0]
    block = bytearray(data[table:table + 4096])
    struct.pack_into("<Q", block, 0, 2)
    sequence = chance.randrange(1, 1 << 40)
    vhdx_log_guid(data)
    end = vhdx_log_entry(data, sequence, [(table, bytes(block))])
    if chance.randrange(2):
        vhdx_log_entry(data, sequence + 1, [(table, bytes(block))] * chance.choice((0, 1, 130)), at=end)
    if chance.randrange(3) == 0:
        log = struct.unpack_from("<Q", data, 64 * KIB + 72)[0]
        data[log + chance.randrange(end)] ^= 1 << chance.randrange(8)


def damage(data, chance, kind):
    if kind == "vhdx" and chance.randrange(8) == 0:
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


def of_qemu(path, kind, scratch):
    """(content, corruptions, why): content None when it cannot be read, corruptions None when there is no check."""
    done = _run("qemu-img", "convert", "-f", kind, "-O", "raw", path, scratch)
    content = Told(scratch).content if done.returncode == 0 else None
    corruptions = None
    if kind == "vhdx":
        corruptions = _run("qemu-img", "check", "-f", kind, path).returncode == 2
    return content, corruptions, done.stderr.strip()[-160:]


def differs(path, kind, sound, scratch):
    """Why they do not agree, and what each says; None when they do."""
    told = Told(path)
    content, corruptions, why = of_qemu(path, kind, scratch)
    clean = told.opened and told.finished and not told.issues
    reason = None
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
    print(f"{arguments.count} images, {different} different; "
          + ", ".join(f"{name}: {value}" for name, value in figures.items()))
    return 1 if different or arguments.count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
