# SPDX-License-Identifier: LGPL-2.1-or-later
"""The named images of the tests: every variant of qcow2, and every rule of a check broken at least once.

Each is a function that makes one file at a path. All are made by qemu-img and qemu-io; damage is a
change of single fields. `images()` lists them as {name: function}; a name's first word is its group.
"""
import os
import struct

from imagekit import COMPRESSED, COPIED, ZERO, Qcow2, create, io, run

SECRET = "opensesame"
IMAGES = {}


def image(name):
    def add(function):
        assert name not in IMAGES, name
        IMAGES[name] = function
        return function
    return add


def images():
    return dict(IMAGES)


# ---- variants without damage -------------------------------------------------------------------

def plain(options="", size="4M", writes=("write -q -P 1 0 300k", "write -q -P 2 1M 64k"), **kwargs):
    def make(path):
        create(path, size, options, **kwargs)
        io(path, *writes, **kwargs)
    return make


IMAGES["v2"] = plain("compat=0.10")
IMAGES["v3"] = plain("compat=1.1")
for _size in ("512", "1k", "4k", "16k", "128k", "1M", "2M"):
    IMAGES[f"cluster-{_size}"] = plain(f"cluster_size={_size}")
IMAGES["cluster-512-v2"] = plain("compat=0.10,cluster_size=512")
for _bits in (1, 2, 4, 8, 32, 64):
    IMAGES[f"refcount-{_bits}"] = plain(f"cluster_size=4k,refcount_bits={_bits}")
IMAGES["refcount-64-cluster-512"] = plain("cluster_size=512,refcount_bits=64")
IMAGES["refcount-1-cluster-2M"] = plain("cluster_size=2M,refcount_bits=1", size="64M")
IMAGES["empty"] = plain(writes=("read -q 0 512",))
IMAGES["size-zero"] = plain(size="0", writes=("length",))
IMAGES["size-odd"] = plain("cluster_size=4k", size="1234432", writes=("write -q 1233920 512",))
IMAGES["size-8T-sparse"] = plain(size="8T", writes=("write -q 0 64k", "write -q 4T 64k", "write -q 8795556151296 64k"))
IMAGES["lazy-refcounts"] = plain("lazy_refcounts=on")
IMAGES["preallocation-metadata"] = plain("preallocation=metadata,cluster_size=4k")
IMAGES["preallocation-metadata-v2"] = plain("compat=0.10,preallocation=metadata")
IMAGES["preallocation-falloc"] = plain("preallocation=falloc")
IMAGES["preallocation-full"] = plain("preallocation=full", size="2M")
IMAGES["fragmented"] = plain("cluster_size=4k", writes=[f"write -q -P 3 {at * 4}k 4k" for at in (9, 3, 7, 1, 5, 8, 2)])
IMAGES["zero-clusters"] = plain(writes=("write -q -P 1 0 512k", "write -q -z 128k 128k", "write -q -z 1M 256k"))
IMAGES["zero-clusters-unmapped"] = plain(writes=("write -q -P 1 0 512k", "write -q -z -u 128k 128k"))
IMAGES["discarded"] = plain("cluster_size=4k", writes=("write -q -P 1 0 64k", "discard -q 8k 16k", "write -q -P 2 2M 8k"))
IMAGES["compressed-zlib"] = plain(writes=("write -q -c -P 1 0 512k", "write -q -P 2 1M 64k"))
IMAGES["compressed-zstd"] = plain("compression_type=zstd", writes=("write -q -c -P 1 0 512k", "write -q -P 2 1M 64k"))
IMAGES["compressed-v2"] = plain("compat=0.10", writes=("write -q -c -P 1 0 1M",))
IMAGES["compressed-2M"] = plain("cluster_size=2M", size="16M", writes=("write -q -c -P 1 0 8M",))
IMAGES["compressed-512"] = plain("cluster_size=512", size="256k", writes=("write -q -c -P 1 0 64k",))
IMAGES["compressed-overwritten"] = plain(writes=("write -q -c -P 1 0 512k", "write -q -P 2 128k 4k"))
IMAGES["extended-l2"] = plain("extended_l2=on")
IMAGES["extended-l2-16k"] = plain("extended_l2=on,cluster_size=16k")
IMAGES["extended-l2-subclusters"] = plain("extended_l2=on,cluster_size=128k", writes=(
    "write -q -P 1 4k 4k", "write -q -P 1 132k 8k", "write -q -z 140k 8k", "write -q -z 512k 128k"))
IMAGES["extended-l2-compressed"] = plain("extended_l2=on", writes=("write -q -c -P 1 0 256k", "write -q -P 1 1M 6k"))


def with_snapshots(options="", count=3, size="4M"):
    def make(path):
        create(path, size, options)
        for index in range(count):
            io(path, f"write -q -P {index + 1} {index * 40}k 200k")
            run("qemu-img", "snapshot", "-c", f"snap{index}", path)
        io(path, "write -q -P 9 64k 4k")
    return make


IMAGES["snapshot-one"] = with_snapshots(count=1)
IMAGES["snapshots"] = with_snapshots()
IMAGES["snapshots-v2"] = with_snapshots("compat=0.10")
IMAGES["snapshots-512"] = with_snapshots("cluster_size=512", count=5)
IMAGES["snapshots-refcount-2"] = with_snapshots("cluster_size=4k,refcount_bits=2", count=2)
IMAGES["snapshots-refcount-64"] = with_snapshots("cluster_size=4k,refcount_bits=64")
IMAGES["snapshots-extended-l2"] = with_snapshots("extended_l2=on,cluster_size=16k")


@image("snapshot-deleted")
def _(path):
    with_snapshots()(path)
    run("qemu-img", "snapshot", "-d", "snap1", path)


@image("resized-with-snapshot")
def _(path):
    with_snapshots("cluster_size=512", count=1, size="1M")(path)
    run("qemu-img", "resize", "-q", path, "16M")


def with_bitmaps(options="", count=2):
    def make(path):
        create(path, "64M", options)
        for index in range(count):
            run("qemu-img", "bitmap", "--add", "-g", "64k", path, f"backup-{index}")
        io(path, "write -q -P 1 0 3M", "write -q -P 2 40M 1M")
    return make


IMAGES["bitmap"] = with_bitmaps(count=1)
IMAGES["bitmaps"] = with_bitmaps("cluster_size=4k", count=4)
IMAGES["bitmaps-512"] = with_bitmaps("cluster_size=512")


def overlay(options="", declared="qcow2"):
    def make(path):
        base = f"{os.path.basename(path)}.base"
        create(os.path.join(os.path.dirname(path), base), "4M")
        create(path, None, options, backing=(base, declared))
        io(path, "write -q -P 1 0 64k")
    return make


IMAGES["overlay"] = overlay()
IMAGES["overlay-v2"] = overlay("compat=0.10")


@image("overlay-parent-missing")
def _(path):
    overlay()(path)
    os.unlink(f"{path}.base")


@image("overlay-loop")
def _(path):
    overlay()(path)
    run("qemu-img", "rebase", "-u", "-F", "qcow2", "-b", os.path.basename(path), f"{path}.base")


@image("overlay-parent-damaged")
def _(path):
    overlay()(path)
    with Qcow2(f"{path}.base") as base:
        base.put(base.l1_place(0), 8, 0x5000_0000_0200)


@image("overlay-parent-header-bad")
def _(path):
    overlay()(path)
    with Qcow2(f"{path}.base") as base:
        base.put(20, 4, 40)


def data_file(options="", raw=False):
    def make(path):
        name = os.path.basename(path)
        create(path, "4M", f"data_file={name}.data,data_file_raw={'on' if raw else 'off'}{options}")
        io(path, "write -q -P 1 0 300k", "write -q -z 128k 64k")
    return make


IMAGES["data-file"] = data_file()
IMAGES["data-file-raw"] = data_file(raw=True)
IMAGES["data-file-4k"] = data_file(",cluster_size=4k")


@image("data-file-missing")
def _(path):
    data_file()(path)
    os.unlink(f"{path}.data")


IMAGES["luks"] = plain("encrypt.format=luks,encrypt.iter-time=10", size="1M", secret=SECRET,
                       writes=("write -q -P 1 0 128k",))
IMAGES["luks-4k"] = plain("encrypt.format=luks,encrypt.iter-time=10,cluster_size=4k", size="1M", secret=SECRET,
                          writes=("write -q -P 1 0 128k",))
IMAGES["aes"] = plain("encrypt.format=aes", size="1M", secret=SECRET, writes=("write -q -P 1 0 128k",))


@image("raw")
def _(path):
    with open(path, "wb") as file:
        file.truncate(1 << 20)


# ---- damage: one function per broken rule --------------------------------------------------------

def damaged(name, base):
    """Makes an image by base, then hands its editor to the function."""
    def add(function):
        def make(path):
            base(path)
            with Qcow2(path) as editor:
                function(editor)
        assert name not in IMAGES, name
        IMAGES[name] = make
        return function
    return add


V2 = plain("compat=0.10")
V3 = plain()
SMALL = plain("cluster_size=512", size="256k", writes=("write -q -P 1 0 40k", "write -q -P 2 100k 10k"))
EXTENDED = IMAGES["extended-l2-subclusters"]
COMPRESS = IMAGES["compressed-zlib"]
SNAPSHOTS = IMAGES["snapshots"]
BITMAPS = IMAGES["bitmaps"]
DATA_FILE = IMAGES["data-file"]
FAR = 0x0000_7000_0000_0000


@damaged("file-tail-odd", V3)
def _(q): q.truncate(q.length() - 100)


@damaged("file-tail-cut", V3)
def _(q): q.truncate(q.length() - q.cluster + 512)


@damaged("file-one-cluster-short", V3)
def _(q): q.truncate(q.length() - q.cluster)


@damaged("file-half", SMALL)
def _(q): q.truncate(q.length() // 2)


@damaged("file-cut-within-a-run", IMAGES["refcount-64-cluster-512"])
def _(q): q.truncate(q.refblock(10) - 61 * q.cluster)


@damaged("file-l2-gone", V3)
def _(q): q.truncate(q.l2_table())


@damaged("file-refcounts-gone", V3)
def _(q): q.truncate(q.cluster + 100)


@damaged("file-header-only", V3)
def _(q): q.truncate(104)


@damaged("file-header-cut", V3)
def _(q): q.truncate(90)


@damaged("file-tail-appended", V3)
def _(q): q.append(b"rest", 3)


@damaged("l1-reserved-bits", V3)
def _(q): q.put(q.l1_place(0), 8, q.get(q.l1_place(0), 8) | 0x1FE)


@damaged("l1-high-reserved-bits", V3)
def _(q): q.put(q.l1_place(0), 8, q.get(q.l1_place(0), 8) | 1 << 58)


@damaged("l1-unaligned", V3)
def _(q): q.put(q.l1_place(0), 8, q.get(q.l1_place(0), 8) + 512)


@damaged("l1-out-of-file", V3)
def _(q): q.put(q.l1_place(0), 8, COPIED | FAR)


@damaged("l1-copied-without-offset", V3)
def _(q): q.put(q.l1_place(0), 8, COPIED)


@damaged("l1-points-at-itself", V3)
def _(q): q.put(q.l1_place(0), 8, COPIED | q.l1)


@damaged("l1-points-at-header", SMALL)
def _(q): q.put(q.l1_place(1), 8, 1 << 20 | COPIED)


@damaged("l1-two-entries-one-table", SMALL)
def _(q): q.put(q.l1_place(1), 8, q.get(q.l1_place(0), 8))


@damaged("l1-copied-missing", V3)
def _(q): q.put(q.l1_place(0), 8, q.get(q.l1_place(0), 8) & ~COPIED)


@damaged("l1-zeroed", V3)
def _(q): q.put(q.l1_place(0), 8, 0)


@damaged("l2-reserved-low-bits", V3)
def _(q): q.put_l2(0, q.l2(0) | 0x1FE)


@damaged("l2-reserved-high-bits", V3)
def _(q): q.put_l2(1, q.l2(1) | 0x3F << 56)


@damaged("l2-unaligned", V3)
def _(q): q.put_l2(1, q.l2(1) + 512)


@damaged("l2-unaligned-at-end", V3)
def _(q): q.put_l2(1, COPIED | (q.length() - 512))


@damaged("l2-out-of-file", V3)
def _(q): q.put_l2(5, COPIED | FAR)


@damaged("l2-far-out-of-file", V3)
def _(q): q.put_l2(5, COPIED | 0x00FF_FFFF_FFFF_0000)


@damaged("l2-just-beyond-the-file", V3)
def _(q): q.put_l2(5, COPIED | -(-q.length() // q.cluster) * q.cluster)


@damaged("l2-zero-flag-in-v2", V2)
def _(q): q.put_l2(0, q.l2(0) | ZERO)


@damaged("l2-copied-missing", V3)
def _(q): q.put_l2(0, q.l2(0) & ~COPIED)


@damaged("l2-copied-missing-zero-allocated", V3)
def _(q): q.put_l2(0, (q.l2(0) | ZERO) & ~COPIED)


@damaged("l2-copied-without-offset", V3)
def _(q): q.put_l2(9, COPIED)


@damaged("l2-zero-plain-copied", V3)
def _(q): q.put_l2(9, COPIED | ZERO)


@damaged("l2-cluster-twice", V3)
def _(q): q.put_l2(7, q.l2(0))


@damaged("l2-cluster-thrice-refcount-3", V3)
def _(q):
    q.put_l2(7, q.l2(0))
    q.put_l2(8, q.l2(0))
    q.put_refcount(q.l2(0) & ~COPIED, 3)


@damaged("l2-points-at-header", V3)
def _(q): q.put_l2(9, COPIED | 1 << 55)


@damaged("l2-points-at-l1", V3)
def _(q): q.put_l2(9, COPIED | q.l1)


@damaged("l2-points-at-itself", V3)
def _(q): q.put_l2(9, COPIED | q.l2_table())


@damaged("l2-points-at-refcount-table", V3)
def _(q): q.put_l2(9, COPIED | q.reftable)


@damaged("l2-points-at-refcount-block", V3)
def _(q): q.put_l2(9, COPIED | q.refblock())


@damaged("l2-wiped", SMALL)
def _(q): q.put_bytes(q.l2_table(), bytes(q.cluster))


@damaged("l2-overwritten-with-ones", SMALL)
def _(q): q.put_bytes(q.l2_table(), b"\xff" * q.cluster)


@damaged("l2-overwritten-with-text", SMALL)
def _(q): q.put_bytes(q.l2_table(), (b"The quick brown fox jumps over the lazy dog. " * 12)[:q.cluster])


@damaged("l2-swapped", SMALL)
def _(q):
    first, second = q.get(q.l1_place(0), 8), q.get(q.l1_place(1), 8)
    q.put(q.l1_place(0), 8, second)
    q.put(q.l1_place(1), 8, first)


@damaged("compressed-copied", COMPRESS)
def _(q): q.put_l2(0, q.l2(0) | COPIED)


@damaged("compressed-out-of-file", COMPRESS)
def _(q): q.put_l2(1, COMPRESSED | 0x0000_7000_0000_0000)


@damaged("compressed-into-metadata", COMPRESS)
def _(q): q.put_l2(1, COMPRESSED | q.l1 + 77)


@damaged("compressed-many-sectors", COMPRESS)
def _(q): q.put_l2(1, q.l2(1) | 0xFF << (62 - (q.cluster_bits - 8)))


@damaged("compressed-zero-offset", COMPRESS)
def _(q): q.put_l2(9, COMPRESSED)


@damaged("compressed-refcount-low", COMPRESS)
def _(q): q.put_refcount(q.l2(0) & ((1 << (62 - (q.cluster_bits - 8))) - 1), 1)


@damaged("compressed-with-data-file", DATA_FILE)
def _(q): q.put_l2(0, COMPRESSED | q.l2(0) & ~COPIED)


@damaged("compressed-with-subclusters", IMAGES["extended-l2-compressed"])
def _(q): q.put(q.l2_place(0) + 8, 8, 0x0000_0000_0000_00FF)


@damaged("extended-l2-allocated-and-zero", EXTENDED)
def _(q): q.put(q.l2_place(0) + 8, 8, 0x0000_0003_0000_0003)


@damaged("extended-l2-allocated-without-offset", EXTENDED)
def _(q): q.put(q.l2_place(9) + 8, 8, 0x0000_0000_0000_0001)


@damaged("extended-l2-zero-without-offset", EXTENDED)
def _(q): q.put(q.l2_place(9) + 8, 8, 0x8000_0001_0000_0000)


@damaged("extended-l2-bit-0", EXTENDED)
def _(q): q.put_l2(0, q.l2(0) | ZERO)


@damaged("extended-l2-bit-0-alone", EXTENDED)
def _(q): q.put_l2(9, ZERO)


@damaged("extended-l2-unaligned", EXTENDED)
def _(q): q.put_l2(0, q.l2(0) + 512)


@damaged("data-file-copied-missing", DATA_FILE)
def _(q): q.put_l2(1, q.l2(1) & ~COPIED)


@damaged("data-file-copied-missing-at-0", DATA_FILE)
def _(q): q.put_l2(0, q.l2(0) & ~COPIED)


@damaged("data-file-offset-zero-not-copied", DATA_FILE)
def _(q): q.put_l2(1, ZERO)


@damaged("data-file-unaligned", DATA_FILE)
def _(q): q.put_l2(1, q.l2(1) + 512)


@damaged("data-file-far", DATA_FILE)
def _(q): q.put_l2(1, COPIED | FAR)


@damaged("data-file-with-snapshot", SNAPSHOTS)
def _(q):
    """A snapshot in an image that claims an external data file, which no tool would make."""
    q.put(72, 8, q.get(72, 8) | 1 << 2)
    name = b"data-file-with-snapshot.data"
    at = q.get(100, 4)
    q.put_bytes(at, struct.pack(">II", 0x44415441, len(name)) + name.ljust(-(-len(name) // 8) * 8, b"\0") + bytes(8))
    with open(os.path.join(os.path.dirname(q.path), name.decode()), "wb") as file:
        file.truncate(4 << 20)


def snapshot_field(name, offset, size, value, base=SNAPSHOTS):
    @damaged(name, base)
    def _(q): q.put(q.snapshots + offset, size, value(q) if callable(value) else value)


snapshot_field("snapshot-l1-unaligned", 0, 8, lambda q: q.get(q.snapshots, 8) + 512)
snapshot_field("snapshot-l1-out-of-file", 0, 8, FAR)
snapshot_field("snapshot-l1-at-header", 0, 8, 0)
snapshot_field("snapshot-l1-too-many", 8, 4, (4 << 20) + 1)
snapshot_field("snapshot-l1-4Mi", 8, 4, 4 << 20)
snapshot_field("snapshot-l1-none", 8, 4, 0)
snapshot_field("snapshot-extra-8", 36, 4, 8)
snapshot_field("snapshot-extra-0", 36, 4, 0)
snapshot_field("snapshot-extra-1032", 36, 4, 1032)
snapshot_field("snapshot-extra-huge", 36, 4, 0xFFFFFFF0)
snapshot_field("snapshot-name-long", 14, 2, 0xFFFF)
snapshot_field("snapshot-id-empty", 12, 2, 0)
snapshot_field("snapshot-l1-of-active", 0, 8, lambda q: q.l1)


def snapshot_shortened(name, extra):
    """A whole and valid entry, as an older tool would have written it, with less extra data."""
    @damaged(name, IMAGES["snapshot-one"])
    def _(q):
        old = q.get(q.snapshots + 36, 4)
        strings = q.get(q.snapshots + 12, 2) + q.get(q.snapshots + 14, 2)
        q.file.seek(q.snapshots + 40)
        data = q.file.read(old + strings)
        q.put(q.snapshots + 36, 4, extra)
        q.put_bytes(q.snapshots + 40, data[:extra] + data[old:])


for _extra in (0, 8, 15, 16):
    snapshot_shortened(f"snapshot-shortened-{_extra}", _extra)


@damaged("snapshot-table-unaligned", SNAPSHOTS)
def _(q): q.put(64, 8, q.snapshots + 8)


@damaged("snapshot-table-out-of-file", SNAPSHOTS)
def _(q): q.put(64, 8, FAR)


@damaged("snapshot-table-too-many", SNAPSHOTS)
def _(q): q.put(60, 4, 65537)


@damaged("snapshot-table-one-more", SNAPSHOTS)
def _(q): q.put(60, 4, q.snapshot_count + 1)


@damaged("snapshot-table-65536", SNAPSHOTS)
def _(q): q.put(60, 4, 65536)


@damaged("snapshot-table-forgotten", SNAPSHOTS)
def _(q): q.put(60, 4, 0)


@damaged("snapshot-l2-damaged", SNAPSHOTS)
def _(q):
    l1 = q.get(q.snapshots, 8)
    l2 = q.get(l1, 8) & 0x00FFFFFFFFFFFE00
    q.put(l2, 8, FAR)
    q.put(l2 + 8, 8, q.get(l2 + 8, 8) + 512)


@damaged("snapshot-copied-wrong", SNAPSHOTS)
def _(q): q.put_l2(0, q.l2(0) | COPIED)


@damaged("snapshot-refcount-low", SNAPSHOTS)
def _(q): q.put_refcount(q.l2(0) & ~COPIED, 1)


@damaged("refcount-overflow", IMAGES["refcount-1"])
def _(q): q.put_l2(20, q.l2(0))


@damaged("refcount-2-overflow", IMAGES["refcount-2"])
def _(q):
    for index in range(100, 104):
        q.put_l2(index, q.l2(0))
    q.put_refcount(q.l2(0) & ~COPIED, 3)


for _bits in (1, 2, 4, 8, 32, 64):
    @damaged(f"leak-refcount-{_bits}", IMAGES[f"refcount-{_bits}"])
    def _(q): q.leak(3)

    @damaged(f"refcount-{_bits}-zeroed", IMAGES[f"refcount-{_bits}"])
    def _(q): q.put_refcount(q.l2(0) & ~COPIED, 0)


@damaged("leak-one", V3)
def _(q): q.leak()


@damaged("leak-run", SMALL)
def _(q): q.leak(37)


@damaged("leak-scattered", SMALL)
def _(q):
    for index in range(0, 30, 3):
        q.put_l2(index, 0)


@damaged("leak-beyond-the-file", SMALL)
def _(q):
    q.put_refcount(q.length() + 4 * q.cluster, 1)


@damaged("refcount-high", V3)
def _(q): q.put_refcount(q.l2(0) & ~COPIED, 2)


@damaged("refcount-very-high", V3)
def _(q): q.put_refcount(q.l2(0) & ~COPIED, 0xFFFF)


@damaged("refcount-zero", V3)
def _(q): q.put_refcount(q.l2(0) & ~COPIED, 0)


@damaged("refcount-of-header-zero", V3)
def _(q): q.put_refcount(0, 0)


@damaged("refcount-of-l1-high", V3)
def _(q): q.put_refcount(q.l1, 2)


@damaged("refcount-of-l2-high", V3)
def _(q): q.put_refcount(q.l2_table(), 2)


@damaged("refcount-of-block-zero", V3)
def _(q): q.put_refcount(q.refblock(), 0)


@damaged("refblock-wiped", SMALL)
def _(q): q.put_bytes(q.refblock(), bytes(q.cluster))


@damaged("refblock-ones", SMALL)
def _(q): q.put_bytes(q.refblock(), b"\xff" * q.cluster)


@damaged("reftable-reserved-bits", V3)
def _(q): q.put(q.reftable_place(0), 8, q.refblock() | 0x1FF)


@damaged("reftable-unaligned", V3)
def _(q): q.put(q.reftable_place(0), 8, q.refblock() + 512)


@damaged("reftable-out-of-file", V3)
def _(q): q.put(q.reftable_place(1), 8, FAR)


@damaged("reftable-first-out-of-file", V3)
def _(q): q.put(q.reftable_place(0), 8, FAR)


@damaged("reftable-block-twice", V3)
def _(q): q.put(q.reftable_place(1), 8, q.refblock())


@damaged("reftable-block-is-l1", V3)
def _(q): q.put(q.reftable_place(1), 8, q.l1)


@damaged("reftable-block-is-table", V3)
def _(q): q.put(q.reftable_place(1), 8, q.reftable)


@damaged("reftable-empty", V3)
def _(q): q.put(q.reftable_place(0), 8, 0)


@damaged("reftable-wrong-place", V3)
def _(q): q.put(48, 8, q.l1)


@damaged("reftable-unaligned-place", V3)
def _(q): q.put(48, 8, q.reftable + 8)


@damaged("reftable-far", V3)
def _(q): q.put(48, 8, FAR)


@damaged("reftable-no-clusters", V3)
def _(q): q.put(56, 4, 0)


@damaged("reftable-many-clusters", V3)
def _(q): q.put(56, 4, 3)


@damaged("reftable-too-large", V3)
def _(q): q.put(56, 4, 1 << 20)


def bitmap_field(name, offset, size, value):
    @damaged(name, BITMAPS)
    def _(q): q.put(q.bitmap_directory() + offset, size, value(q) if callable(value) else value)


bitmap_field("bitmap-in-use", 12, 4, 1)
bitmap_field("bitmap-table-unaligned", 0, 8, lambda q: q.get(q.bitmap_directory(), 8) + 8)
bitmap_field("bitmap-table-out-of-file", 0, 8, FAR)
bitmap_field("bitmap-table-too-large", 8, 4, 0xFFFFFFFF)
bitmap_field("bitmap-reserved-flags", 12, 4, 0xF0)
bitmap_field("bitmap-type-unknown", 16, 1, 7)
bitmap_field("bitmap-granularity-64", 17, 1, 64)
bitmap_field("bitmap-name-empty", 18, 2, 0)


@damaged("bitmap-table-entry-bad", BITMAPS)
def _(q): q.put(q.get(q.bitmap_directory(), 8), 8, FAR | 0x1FE)


@damaged("bitmap-table-entry-bad-in-use", BITMAPS)
def _(q):
    q.put(q.bitmap_directory() + 12, 4, 1)
    q.put(q.get(q.bitmap_directory(), 8), 8, FAR | 0x1FE)


@damaged("bitmap-table-entry-far-in-use", BITMAPS)
def _(q):
    q.put(q.bitmap_directory() + 12, 4, 1)
    q.put(q.get(q.bitmap_directory(), 8), 8, FAR)


@damaged("bitmap-autoclear-off", BITMAPS)
def _(q): q.put(88, 8, 0)


@damaged("bitmap-directory-out-of-file", BITMAPS)
def _(q): q.put(q.extension(0x23852875) + 16, 8, FAR)


@damaged("bitmap-directory-unaligned", BITMAPS)
def _(q): q.put(q.extension(0x23852875) + 16, 8, q.bitmap_directory() + 8)


@damaged("bitmap-directory-short", BITMAPS)
def _(q): q.put(q.extension(0x23852875) + 8, 8, 24)


@damaged("bitmap-count-zero", BITMAPS)
def _(q): q.put(q.extension(0x23852875), 4, 0)


@damaged("bitmap-count-more", BITMAPS)
def _(q): q.put(q.extension(0x23852875), 4, 5)


@damaged("bitmap-extension-short", BITMAPS)
def _(q): q.put(q.extension(0x23852875) - 4, 4, 16)


def header_field(name, offset, size, value, base=V3):
    @damaged(name, base)
    def _(q): q.put(offset, size, value(q) if callable(value) else value)


header_field("header-version-0", 4, 4, 0)
header_field("header-version-4", 4, 4, 4)
header_field("header-backing-offset-far", 8, 8, FAR)
header_field("header-backing-name-long", 16, 4, 1024, base=overlay())
header_field("header-cluster-bits-8", 20, 4, 8)
header_field("header-cluster-bits-22", 20, 4, 22)
header_field("header-cluster-bits-max", 20, 4, 0xFFFFFFFF)
header_field("header-cluster-bits-less", 20, 4, 15)
header_field("header-size-too-large", 24, 8, 1 << 62)
header_field("header-size-max", 24, 8, (1 << 64) - 1)
header_field("header-size-smaller", 24, 8, 65536)
header_field("header-crypt-unknown", 32, 4, 3)
header_field("header-l1-too-small", 36, 4, 0)
header_field("header-l1-larger", 36, 4, 4)
header_field("header-l1-4Mi", 36, 4, (4 << 20))
header_field("header-l1-too-large", 36, 4, (4 << 20) + 1)
header_field("header-l1-unaligned", 40, 8, lambda q: q.l1 + 8)
header_field("header-l1-far", 40, 8, FAR)
header_field("header-l1-is-header", 40, 8, 0)
header_field("header-feature-unknown", 72, 8, 1 << 40)
header_field("header-feature-compression-bit", 72, 8, 1 << 3)
header_field("header-feature-extended-l2", 72, 8, 1 << 4)
header_field("header-compatible-unknown", 80, 8, 1 << 40)
header_field("header-autoclear-unknown", 88, 8, 1 << 40)
header_field("header-refcount-order-7", 96, 4, 7)
header_field("header-refcount-order-3", 96, 4, 3)
header_field("header-length-100", 100, 4, 100)
header_field("header-length-104", 100, 4, 104)
header_field("header-length-huge", 100, 4, 1 << 20)
header_field("header-compression-unknown", 104, 1, 9, base=IMAGES["compressed-zstd"])
header_field("header-dirty", 72, 8, 1)
header_field("header-corrupt", 72, 8, 2)
header_field("header-extension-long", 108 + 8, 4, 0x7FFFFFFF)
header_field("header-luks-offset-unaligned", 120, 8, lambda q: q.get(120, 8) + 512, base=IMAGES["luks"])
header_field("header-magic-wrong", 0, 4, 0x51464900)


@damaged("lazy-after-crash", IMAGES["lazy-refcounts"])
def _(q):
    """What a killed QEMU leaves behind with lazy refcounts: data without refcounts, and the dirty bit."""
    q.put(72, 8, 1)
    q.put_l2(30, COPIED | q.append())


@damaged("many-at-once", SMALL)
def _(q):
    q.put(q.l1_place(0), 8, q.get(q.l1_place(0), 8) | 0x100)
    q.put_l2(0, q.l2(0) | 2)
    q.put_l2(1, q.l2(1) & ~COPIED)
    q.put_l2(2, 0)
    q.put_refcount(q.l2(4) & ~COPIED, 9)
    q.leak(2)


def secret_of(name):
    """The key that qemu-img needs to check the image; qcaudit needs none."""
    return SECRET if name.split("-")[0] in ("luks", "aes") or name.startswith("header-luks") else None
