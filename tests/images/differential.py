#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""differential.py [--count N] [--seed N] [--keep DIR] [DIR...] - compares qcauditctl check with qemu-img check on N
images (default 1,500) with random damage confined to metadata, or on the images in DIR..., such as a fuzzer's corpus,
and keeps those that differ.

Deterministic by its seed. $QCAUDIT_CHECK names the command to compare, if not `qcauditctl check --compatible --json=short`.
Exit status: 0 all equal, 1 some differ.
"""
import argparse
import os
import random
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
import catalogue  # noqa: E402
import figures  # noqa: E402
from imagekit import COMPRESSED, COPIED, ZERO, Qcow2  # noqa: E402

BASES = ("v2", "v3", "cluster-512", "cluster-512-v2", "cluster-4k", "cluster-2M", "refcount-1", "refcount-2",
         "refcount-8", "refcount-64", "refcount-64-cluster-512", "zero-clusters", "compressed-zlib",
         "compressed-zstd", "compressed-512", "compressed-v2", "extended-l2-subclusters", "extended-l2-compressed",
         "snapshots", "snapshots-v2", "snapshots-512", "snapshots-refcount-2", "bitmaps", "bitmaps-512", "fragmented",
         "preallocation-metadata", "size-odd", "resized-with-snapshot", "lazy-refcounts")


def _damage(editor, ranges, chance):
    """One random change of metadata."""
    offset, length = chance.choice(ranges)
    kind = chance.randrange(8)
    if kind == 0:       # a bit
        place = offset + chance.randrange(length)
        editor.put(place, 1, editor.get(place, 1) ^ 1 << chance.randrange(8))
    elif kind == 1:     # a byte
        editor.put(offset + chance.randrange(length), 1, chance.randrange(256))
    elif kind == 2:     # a used byte: most of a table is empty
        for _ in range(200):
            place = offset + chance.randrange(length)
            if editor.get(place, 1):
                break
        editor.put(place, 1, chance.randrange(256))
    elif kind == 3:     # an entry that points anywhere in the file
        target = chance.randrange(-(-editor.length() // editor.cluster) + 2) * editor.cluster
        flags = chance.choice((0, COPIED, COPIED | ZERO, ZERO, COMPRESSED, COPIED | COMPRESSED))
        editor.put(offset + chance.randrange(max(length // 8, 1)) * 8, 8, target | flags)
    elif kind == 4:     # an entry copied to another place
        count = max(length // 8, 1)
        value = editor.get(offset + chance.randrange(count) * 8, 8)
        editor.put(offset + chance.randrange(count) * 8, 8, value)
    elif kind == 5:     # a run of the same byte
        start = chance.randrange(length)
        run = min(chance.choice((2, 8, 64, 512)), length - start)
        editor.put_bytes(offset + start, bytes([chance.choice((0, 1, 255, chance.randrange(256)))]) * run)
    elif kind == 6:     # a field at an extreme
        size = chance.choice((2, 4, 8))
        value = chance.choice((0, 1, (1 << 8 * size) - 1, 1 << (8 * size - 1), (1 << 8 * size - 1) - 1))
        editor.put(offset + chance.randrange(max(length // size, 1)) * size, size, value)
    else:               # a shorter or longer file
        editor.truncate(max(512, editor.length() + chance.choice((-512, -4096, -65536, -100, 100, 65536))))


def random_images(directory, count, seed):
    """Yields (name, path) of count damaged images, one at a time: the file is gone at the next step."""
    chance = random.Random(seed)
    pristine = {}
    for number in range(count):
        base = BASES[number % len(BASES)]
        if base not in pristine:
            source = f"{directory}/{base}.pristine"
            catalogue.images()[base](source)
            with Qcow2(source) as editor:
                pristine[base] = source, editor.metadata_ranges()
        source, ranges = pristine[base]
        name = f"random-{seed}-{number}-{base}"
        path = f"{directory}/{name}.qcow2"
        shutil.copyfile(source, path)
        # The header alone decides too often whether anything is opened at all: seldom touch it.
        body = [entry for entry in ranges if entry[0] != 0]
        with Qcow2(path) as editor:
            for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
                _damage(editor, ranges if chance.randrange(6) == 0 else body, chance)
        yield name, path
        os.unlink(path)


def found_images(directory, sources, count, seed):
    """Yields (name, path) of at most count qcow2 images from the folders, chosen by the seed. Left out is what names
    a file beside itself, as its name would choose what qemu-img opens, and what qemu-img needs a key for."""
    names = sorted(os.path.join(source, name) for source in sources for name in os.listdir(source))
    random.Random(seed).shuffle(names)
    for name in names:
        with open(name, "rb") as file:
            data = file.read()
        header = data[:112].ljust(112, b"\0")
        data_file = header[4:8] >= b"\0\0\0\3" and header[79] & 4
        if header[:4] != b"QFI\xfb" or any(header[8:16]) or data_file or any(header[32:36]) or count == 0:
            continue
        count -= 1
        path = f"{directory}/{os.path.basename(name)}.qcow2"
        with open(path, "wb") as file:
            file.write(data)
        yield os.path.basename(name), path
        os.unlink(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="DIR")
    parser.add_argument("sources", metavar="DIR", nargs="*")
    arguments = parser.parse_args()
    verdicts, different, compared, opened = {}, 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="qcaudit-differential.") as directory:
        images = found_images(directory, arguments.sources, arguments.count, arguments.seed) if arguments.sources \
            else random_images(directory, arguments.count, arguments.seed)
        for name, path in images:
            compared += 1
            expected, actual = figures.of_qemu(path), figures.of_qcaudit(path)
            opened += expected["figures"] is not None
            verdicts[expected["status"]] = verdicts.get(expected["status"], 0) + 1
            if figures.equal(expected, actual):
                continue
            different += 1
            for tool, result in (("qemu-img", expected), ("qcauditctl", actual)):
                print(f"{name}: {tool}: status {result['status']}, {result['figures']} {result['text'][:200]!r}", flush=True)
            if arguments.keep:
                os.makedirs(arguments.keep, exist_ok=True)
                shutil.copy(path, arguments.keep)
    print(f"{compared} images, {opened} of them with figures, {different} different; qemu-img's exit statuses: "
          + ", ".join(f"{status}: {number}" for status, number in sorted(verdicts.items(), key=str)))
    return 1 if different or compared == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
