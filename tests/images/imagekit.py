# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the image tests share: making images with QEMU's tools, and editing single qcow2 fields.

Nothing here looks at what the product says. The layout of the fields is that of QEMU's
docs/interop/qcow2.txt; all numbers on disk are big-endian.
"""
import os
import subprocess

COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = 1
OFFSET_MASK = 0x00FFFFFFFFFFFE00


def run(*command, check=True, **kwargs):
    """Runs a tool quietly; its output goes with the exception when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, **kwargs)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout.decode(errors='replace')}")
    return done


def create(path, size="4M", options="", backing=None, secret=None):
    """qemu-img create of a qcow2 image; backing is a (name, format) pair, resolved from the image's folder."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if secret:
        command += ["--object", f"secret,id=s,data={secret}"]
        options += ",encrypt.key-secret=s"
    if backing:
        command += ["-b", backing[0], "-F", backing[1]]
    if options:
        command += ["-o", options.lstrip(",")]
    command.append(os.path.basename(path))
    if size:
        command.append(str(size))
    for _ in range(20):       # on a busy machine LUKS at times fails to measure its key derivation
        done = run(*command, cwd=os.path.dirname(path), check=False)
        if done.returncode == 0 or not secret:
            break
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.decode(errors='replace')}")


def io(path, *commands, secret=None):
    """Commands of qemu-io on an image, in its folder."""
    command = ["qemu-io"]
    target = ["-f", "qcow2", os.path.basename(path)]
    if secret:
        command += ["--object", f"secret,id=s,data={secret}"]
        target = ["--image-opts", f"driver=qcow2,file.filename={os.path.basename(path)},encrypt.key-secret=s"]
    for one in commands:
        command += ["-c", one]
    run(*command, *target, cwd=os.path.dirname(path))


class Qcow2:
    """A qcow2 file opened for changing single fields. Use as a context manager."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "r+b")
        self.version = self.get(4, 4)
        self.cluster_bits = self.get(20, 4)
        self.cluster = 1 << self.cluster_bits
        self.size = self.get(24, 8)
        self.l1_entries = self.get(36, 4)
        self.l1 = self.get(40, 8)
        self.reftable = self.get(48, 8)
        self.snapshot_count = self.get(60, 4)
        self.snapshots = self.get(64, 8)
        self.refcount_bits = 16
        self.entry_size = 8
        if self.version >= 3:
            self.refcount_bits = 1 << self.get(96, 4)
            if self.get(72, 8) & (1 << 4):
                self.entry_size = 16
        self.l2_entries = self.cluster // self.entry_size

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def get(self, offset, size):
        self.file.seek(offset)
        return int.from_bytes(self.file.read(size), "big")

    def put(self, offset, size, value):
        self.file.seek(offset)
        self.file.write((value & ((1 << (8 * size)) - 1)).to_bytes(size, "big"))

    def put_bytes(self, offset, data):
        self.file.seek(offset)
        self.file.write(data)

    def length(self):
        return self.file.seek(0, os.SEEK_END)

    def truncate(self, size):
        self.file.truncate(size)

    def append(self, data=None, clusters=1):
        """New clusters at the end of the file, without a refcount: their offset."""
        offset = -(-self.length() // self.cluster) * self.cluster
        self.file.truncate(offset + clusters * self.cluster)
        if data:
            self.put_bytes(offset, data)
        return offset

    # Places of entries, so that put(place, 8, value) changes one.
    def l1_place(self, index):
        return self.l1 + 8 * index

    def l2_table(self, l1_index=0):
        return self.get(self.l1_place(l1_index), 8) & OFFSET_MASK

    def l2_place(self, index, l1_index=0):
        return self.l2_table(l1_index) + self.entry_size * index

    def l2(self, index, l1_index=0):
        return self.get(self.l2_place(index, l1_index), 8)

    def put_l2(self, index, value, l1_index=0):
        self.put(self.l2_place(index, l1_index), 8, value)

    def reftable_place(self, index):
        return self.reftable + 8 * index

    def refblock(self, index=0):
        return self.get(self.reftable_place(index), 8) & OFFSET_MASK

    def _refcount_place(self, cluster):
        per_block = self.cluster * 8 // self.refcount_bits
        return self.refblock(cluster // per_block), cluster % per_block

    def refcount(self, offset):
        block, index = self._refcount_place(offset // self.cluster)
        if self.refcount_bits >= 8:
            size = self.refcount_bits // 8
            return self.get(block + index * size, size)
        byte = self.get(block + index * self.refcount_bits // 8, 1)
        return byte >> (index * self.refcount_bits % 8) & ((1 << self.refcount_bits) - 1)

    def put_refcount(self, offset, value):
        block, index = self._refcount_place(offset // self.cluster)
        if self.refcount_bits >= 8:
            size = self.refcount_bits // 8
            self.put(block + index * size, size, value)
            return
        place = block + index * self.refcount_bits // 8
        shift = index * self.refcount_bits % 8
        mask = (1 << self.refcount_bits) - 1
        self.put(place, 1, self.get(place, 1) & ~(mask << shift) | (value & mask) << shift)

    def leak(self, clusters=1):
        """Appends clusters that have a refcount and no reference: their offset."""
        offset = self.append(clusters=clusters)
        for index in range(clusters):
            self.put_refcount(offset + index * self.cluster, 1)
        return offset

    def extensions(self):
        """(magic, offset of the data, length) of each header extension."""
        place = self.get(100, 4) if self.version >= 3 else 72
        while True:
            magic, length = self.get(place, 4), self.get(place + 4, 4)
            if magic == 0 or place >= self.cluster:
                return
            yield magic, place + 8, length
            place += 8 + (length + 7) // 8 * 8

    def extension(self, magic):
        for found, place, _ in self.extensions():
            if found == magic:
                return place
        raise KeyError(hex(magic))

    def bitmap_directory(self):
        return self.get(self.extension(0x23852875) + 16, 8)

    def metadata_ranges(self):
        """(offset, length) of all metadata of the active tables and of the snapshots: where to damage it."""
        ranges = [(0, 112), (self.l1, 8 * self.l1_entries), (self.reftable, self.cluster)]
        for index in range(self.cluster // 8):
            block = self.refblock(index)
            if block:
                ranges.append((block, self.cluster))
        tables = [(self.l1, self.l1_entries)]
        place = self.snapshots
        for _ in range(self.snapshot_count):
            tables.append((self.get(place, 8), self.get(place + 8, 4)))
            length = 40 + self.get(place + 36, 4) + self.get(place + 12, 2) + self.get(place + 14, 2)
            ranges.append((place, length))
            place += (length + 7) // 8 * 8
        for offset, entries in tables[1:]:
            ranges.append((offset, 8 * entries))
        for offset, entries in tables:
            for index in range(min(entries, 64)):
                l2 = self.get(offset + 8 * index, 8) & OFFSET_MASK
                if l2:
                    ranges.append((l2, self.cluster))
        return sorted(set(ranges))
