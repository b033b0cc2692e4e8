#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""differential_foreign.py [--count N] [--seed N] [--keep DIR] [FORMAT...] - compares qcauditctl with qemu-img on N images (default
500) of each format of others, half of them sound, half with random damage in headers and tables.

Of a sound image: the check finds nothing, and the content digest is that of the raw disk. Of a damaged one: qcauditctl
finds damage where qemu-img does; and where it finds none, the content is what qemu-img reads.

Deterministic by its seed. Exit status: 0 all as they should be, 1 some are not, which are kept in DIR.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import places  # noqa: E402

SIZE = 12 << 20
# name -> qemu-img's format, ways of making it, has `qemu-img check`
FORMATS = {
    "vdi": ("vdi", [[], ["-o", "static=on"]], True),
    "qed": ("qed", [[], ["-o", "cluster_size=4096"], ["-o", "cluster_size=4096,table_size=2"],
                    ["-o", "table_size=16"]], True),
    "parallels": ("parallels", [[], ["-o", "cluster_size=65536"]], True),
    "qcow": ("qcow", [[], ["-c"]], False),
    "vmdk": ("vmdk", [["-o", "subformat=monolithicSparse"], ["-o", "subformat=streamOptimized"]], True),
    "vpc": ("vpc", [["-o", "subformat=dynamic"]], False),
    "vhdx": ("vhdx", [[], ["-o", "subformat=fixed"], ["-o", "block_size=1M"]], False),
}


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)


def make_disk(path, chance, odd):
    """A raw disk with runs of data, some of zeros; odd: not always of whole clusters."""
    with open(path, "wb") as file:
        file.truncate(SIZE - chance.choice((0, 0, 512 if odd else 4096, 65536 + 512 if odd else 65536)))
        for _ in range(chance.randrange(1, 12)):
            at = chance.randrange(SIZE - (1 << 20)) & ~511
            file.seek(at)
            file.write(bytes([chance.randrange(256)]) * (chance.randrange(1, 256) * 512))


def make(path, fmt, options, disk, chance):
    # qemu-img 7.2 ends with 1 after it has written a compressed qcow
    run("qemu-img", "convert", "-O", fmt, *options, disk, path, check="-c" not in options)
    if "-c" in options or "subformat=streamOptimized" in options:       # written once
        return
    writes = []
    for _ in range(chance.randrange(6)):
        at = chance.randrange(SIZE - (1 << 20)) & ~511
        writes += ["-c", f"write -q -P {chance.randrange(256)} {at} {chance.randrange(1, 300) * 512}"]
    if writes:
        run("qemu-io", "-f", fmt, *writes, path)


def damage(path, chance):
    """Some changes near the start, where headers and tables are; or a shorter file."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        if chance.randrange(8) == 0:
            file.truncate(chance.randrange(512, size))
            return
        head = bytearray(file.read(min(size, 1 << 17)))
        used = [i for i, byte in enumerate(head[:65536 * 2]) if byte]
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            at = chance.choice(used)
            kind = chance.randrange(5)
            if kind == 0:
                head[at] ^= 1 << chance.randrange(8)
            elif kind == 1:
                head[at] = chance.randrange(256)
            elif kind == 2:     # an entry copied to its neighbour
                at &= ~7
                head[at + 8:at + 16] = head[at:at + 8]
            elif kind == 3:
                at &= ~3
                head[at:at + 4] = bytes(chance.choice(((0, 0, 0, 0), (255, 255, 255, 255), (255, 255, 255, 127))))
            else:
                at &= ~3
                head[at + 4:at + 8] = head[at:at + 4]
        file.seek(0)
        file.write(head[:size])


def digest(*paths):
    """The content digest, None when it cannot be had."""
    lines = run("qcauditctl", "hash", "--content", *paths, check=False).stdout.splitlines()
    return lines[0].split(" = ")[1] if lines else None


def ours(path):
    done = run("qcauditctl", "check", "--deep", "--json=short", path, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}


def theirs(path, fmt):
    try:
        return run("qemu-img", "check", "-f", fmt, path, check=False).returncode
    except subprocess.TimeoutExpired:
        return None


def kinds(report):
    return " ".join(sorted({issue["kind"] for issue in report.get("issues", [])}))


def judge_sound(path, disk, found):
    status, report = ours(path)
    if status != 0 or report.get("issues"):
        found(f"sound, and the check says {status} {kinds(report)}")
    if digest(path) != digest(disk):
        found("sound, and its content digest is another")


def judge_damaged(path, fmt, checkable, raw, found):
    status, report = ours(path)
    if status < 0 or status > 63 or not report:
        found(f"the check ended with {status}")
        return
    for problem in {text for issue in report.get("issues", []) for text in places.problems(issue, report["virtual-size"])}:
        if not problem.endswith("without a host offset"):       # an entry that is none points nowhere
            found(problem)
    their = theirs(path, fmt) if checkable else None
    if their in (2, 3) and status == 0:
        found(f"qemu-img check finds damage ({their}), and we do not")
    if status != 0 or report.get("issues"):
        return
    done = run("qemu-img", "convert", "-f", fmt, "-O", "raw", path, raw, check=False)
    if done.returncode == 0 and digest(path) != digest(raw):
        found("no issue, and its content digest is not that of what qemu-img reads")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", default=None)
    parser.add_argument("formats", nargs="*", default=[])
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="qcaudit-foreign.") as directory:
        disk, raw = os.path.join(directory, "disk.raw"), os.path.join(directory, "read.raw")
        for name in options.formats or FORMATS:
            fmt, ways, checkable = FORMATS[name]
            told = []
            for number in range(options.count):
                chance = random.Random(f"{options.seed} {name} {number}")
                path = os.path.join(directory, f"{name}-{number}")

                def found(text, path=path):
                    told.append(f"# {os.path.basename(path)}: {text}")
                    if options.keep:
                        shutil.copy(path, options.keep)

                make_disk(disk, chance, "-c" not in ways[number % len(ways)])
                make(path, fmt, ways[number % len(ways)], disk, chance)
                run("qemu-img", "convert", "-f", fmt, "-O", "raw", path, disk)
                if number % 2 == 0:
                    judge_sound(path, disk, found)
                else:
                    damage(path, chance)
                    judge_damaged(path, fmt, checkable, raw, found)
                os.unlink(path)
            print("\n".join(told + [f"{name}: {options.count} images, {len(told)} not as they should be"]))
            wrong += len(told)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
