# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images that `qemu-img check` calls clean though something is wrong with them: one or more for each kind of
issue that counts in none of its counters. `images()` lists them as {name: Beyond}."""
import dataclasses
import os
import struct
from collections.abc import Callable

import catalogue
from imagekit import COPIED, OFFSET_MASK, Qcow2, create, io

IMAGES = {}


@dataclasses.dataclass
class Beyond:
    make: Callable
    kind: str               # that has to be reported
    deep: bool = False      # only --deep finds it
    key: str | None = None  # qemu-img cannot open it, with a key or without: not compared with it


def images():
    return dict(IMAGES)


def known(name, kind, deep=False):
    """One of the catalogue's."""
    IMAGES[name] = Beyond(catalogue.images()[name], kind, deep)


def odd(name, kind, base, deep=False, key=None):
    """Makes an image of the catalogue, then hands its editor to the function."""
    def add(function):
        def make(path):
            (catalogue.images()[base] if isinstance(base, str) else base)(path)
            with Qcow2(path) as editor:
                function(editor)
        assert name not in IMAGES, name
        IMAGES[name] = Beyond(make, kind, deep, key)
        return function
    return add


# ---- compressed data ---------------------------------------------------------------------------

def compressed_place(q, index):
    shift = 62 - (q.cluster_bits - 8)
    return q.l2(index) & ((1 << shift) - 1)


@odd("compressed-bytes-lost", "compressed-bad", "compressed-zlib", deep=True)
def _(q): q.put_bytes(compressed_place(q, 2), b"\xff" * 8)


@odd("compressed-bytes-lost-zstd", "compressed-bad", "compressed-zstd", deep=True)
def _(q): q.put_bytes(compressed_place(q, 2), b"\xff" * 8)


@odd("compressed-within-another", "compressed-overlap", "compressed-zlib", deep=True)
def _(q): q.put_l2(1, q.l2(0) + 10)


@odd("compressed-same-twice", "compressed-overlap", "compressed-zlib", deep=True)
def _(q): q.put_l2(1, q.l2(0))


# ---- one cluster for two things, with refcounts that agree ---------------------------------------

def unmap(q, index):
    q.put_refcount(q.l2(index) & OFFSET_MASK, 0)
    q.put_l2(index, 0)


@odd("mapped-twice", "cluster-mapped-twice", "v3")
def _(q):
    unmap(q, 1)
    q.put_l2(0, q.l2(0) & ~COPIED)
    q.put_l2(1, q.l2(0))
    q.put_refcount(q.l2(0), 2)


def put_on(q, target):
    unmap(q, 1)
    q.put_l2(1, target)
    q.put_refcount(target, 2)


@odd("data-on-refcount-table", "data-on-metadata", "v3")
def _(q): put_on(q, q.reftable)


@odd("data-on-l1", "data-on-metadata", "v3")
def _(q): put_on(q, q.l1)


@odd("data-on-l2", "data-on-metadata", "v3")
def _(q):
    put_on(q, q.l2_table())
    q.put(q.l1_place(0), 8, q.l2_table())


@odd("l2-table-twice", "metadata-shared", "cluster-512")
def _(q):
    table = q.l2_table()
    for index in range(q.l2_entries):
        if q.l2(index):
            q.put_l2(index, q.l2(index) & ~COPIED)
            q.put_refcount(q.l2(index), 2)
    q.put_refcount(table, 2)
    q.put(q.l1_place(0), 8, table)
    q.put(q.l1_place(60), 8, table)


# ---- header ------------------------------------------------------------------------------------

known("header-corrupt", "corrupt-bit")
known("header-dirty", "dirty-bit")
known("header-autoclear-unknown", "autoclear-unknown")
known("header-length-104", "header-slack")


def add_extension(q, magic, data, times=1):
    place = q.get(100, 4)
    for _, offset, length in q.extensions():
        place = offset + (length + 7) // 8 * 8
    for _ in range(times):
        q.put_bytes(place, struct.pack(">II", magic, len(data)) + data.ljust((len(data) + 7) // 8 * 8, b"\0"))
        place += 8 + (len(data) + 7) // 8 * 8
    q.put(place, 8, 0)


@odd("header-length-odd", "header-length-unaligned", "v3")
def _(q):
    q.put_bytes(112, bytes(1024))
    q.put(100, 4, 108)


@odd("extension-twice", "extension-duplicate", "v3")
def _(q): add_extension(q, 0x71636175, b"something", 2)


@odd("extension-backing-format-alone", "extension-stale", "v3")
def _(q): add_extension(q, 0xE2792ACA, b"raw")


@odd("header-cluster-not-empty", "header-slack", "v3")
def _(q): q.put_bytes(q.cluster - 100, b"left behind")


# ---- entries -----------------------------------------------------------------------------------

known("extended-l2-bit-0", "l2-zero-in-extended")
known("extended-l2-bit-0-alone", "l2-zero-in-extended")
known("l2-zero-flag-in-v2", "l2-zero-in-v2")
known("l2-copied-without-offset", "copied-without-offset")
known("header-size-smaller", "mapping-beyond-disk")


@odd("snapshot-copied-though-shared", "copied-wrong-inactive", "snapshot-one")
def _(q):
    table = q.get(q.get(q.snapshots, 8), 8) & OFFSET_MASK
    assert table != q.l2_table()
    for place in range(table, table + q.cluster, 8):
        entry = q.get(place, 8)
        if entry and q.refcount(entry & OFFSET_MASK) > 1:
            q.put(place, 8, entry | COPIED)
            return
    raise AssertionError("no cluster is shared")


# ---- the end of the file -----------------------------------------------------------------------

known("leak-beyond-the-file", "refcount-beyond-end")
known("file-tail-cut", "last-cluster-cut")
known("file-tail-appended", "data-behind-end")


# ---- snapshots and bitmaps ---------------------------------------------------------------------

known("snapshot-id-empty", "snapshot-empty")
known("bitmap-in-use", "bitmap-in-use")


def snapshot_place(q, number):
    place = q.snapshots
    for _ in range(number):
        length = 40 + q.get(place + 36, 4) + q.get(place + 12, 2) + q.get(place + 14, 2)
        place += (length + 7) // 8 * 8
    return place


@odd("snapshot-ids-same", "snapshot-id-duplicate", "snapshots")
def _(q):
    place = snapshot_place(q, 1)
    q.put_bytes(place + 40 + q.get(place + 36, 4), b"1")


@odd("snapshot-of-larger-disk", "snapshot-size-mismatch", "snapshots")
def _(q): q.put(snapshot_place(q, 1) + 48, 8, 1 << 40)


@odd("bitmap-bits-behind-disk", "bitmap-beyond-disk", "bitmap")
def _(q):
    table = q.get(q.bitmap_directory(), 8)
    q.put(q.get(table, 8) + 200, 1, 4)


# ---- data file ---------------------------------------------------------------------------------

known("data-file-far", "data-file-end")


@odd("data-file-raw-swapped", "data-file-offset", "data-file-raw")
def _(q):
    first, second = q.l2(0), q.l2(1)
    q.put_l2(0, second)
    q.put_l2(1, first)


@odd("data-file-cluster-twice", "data-file-shared", "data-file")
def _(q): q.put_l2(1, q.l2(0))


# ---- a layer and its parent ----------------------------------------------------------------------

BACKING_FORMAT = 0xE2792ACA


def beside(path, ending):
    """Another file for the image at path, in its folder."""
    return os.path.splitext(path)[0] + ending


def on_base(kind, declared="qcow2", size=None, base_size="4M"):
    """An image with a qcow2 parent; the function changes what it likes of the two."""
    def add(function):
        def make(path):
            base = beside(path, "-base.qcow2")
            create(base, base_size)
            io(base, "write -q -P 1 0 64k")
            create(path, size, backing=(os.path.basename(base), declared))
            function(path, base)
        IMAGES[kind] = Beyond(make, kind)
        return function
    return add


@on_base("parent-format-wrong", declared="raw")
def _(path, base): pass


@on_base("parent-shorter", size="8M")
def _(path, base): pass


@on_base("parent-newer")
def _(path, base): os.utime(base, (os.stat(path).st_mtime + 60,) * 2)


@on_base("parent-format-missing")
def _(path, base):
    with Qcow2(path) as q:
        q.put(q.extension(BACKING_FORMAT) - 8, 4, 0x0BADCAFE)


@on_base("data-file-reused")
def _(path, base):
    for image, name, backing in ((base, "one.data", None), (path, "two.data", (os.path.basename(base), "qcow2"))):
        create(image, "4M", f"data_file={name}", backing=backing)
    with Qcow2(path) as q:
        q.put_bytes(q.extension(0x44415441), b"one.data")


# ---- LUKS --------------------------------------------------------------------------------------

def luks(q):
    return q.get(q.extension(0x0537BE77), 8)


@odd("luks-slot-without-iterations", "luks-slot-invalid", "luks", key="none opens it")
def _(q): q.put(luks(q) + 208 + 4, 4, 0)


@odd("luks-slot-on-payload", "luks-slot-invalid", "luks", key="none opens it")
def _(q): q.put(luks(q) + 208 + 48 + 40, 4, 1 << 24)


@odd("luks-slots-overlap", "luks-slot-invalid", "luks", key="none opens it")
def _(q): q.put(luks(q) + 208 + 48 + 40, 4, q.get(luks(q) + 208 + 40, 4))


@odd("luks-no-slot", "luks-slots-empty", "luks", key="none opens it")
def _(q): q.put(luks(q) + 208, 4, 0x0000DEAD)


@odd("luks-cipher-endless", "luks-header-invalid", "luks", key="none opens it")
def _(q): q.put_bytes(luks(q) + 8, b"a" * 32)


@odd("luks-key-empty", "luks-header-invalid", "luks", key="none opens it")
def _(q): q.put(luks(q) + 108, 4, 0)


@odd("luks-magic-gone", "luks-header-invalid", "luks", key="none opens it")
def _(q): q.put(luks(q), 4, 0)


# ---- holes -------------------------------------------------------------------------------------

@odd("l2-table-is-hole", "l2-table-hole", "cluster-4k")
def _(q):
    table = q.append(clusters=2)
    q.put_bytes(table + q.cluster, b"behind")
    q.put_refcount(table, 1)
    q.put(q.l1_place(1), 8, COPIED | table)


known("preallocation-metadata", "data-hole", deep=True)
