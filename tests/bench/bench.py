#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""bench.py [--quick] [--runs N] [--json FILE] [WORK...] - how long qcaudit needs beside the tools a user would run.

Works: checks: prealloc1t prealloc8t permuted data4g chain tiny; digests: digest4g digest-frag digest-zlib digest-zstd
digest-empty1t digest-cold; formats of others: vmdk-check esxi-chain (beside as many layers in qcow2) stream-digest
container-digest (VHDX, VHD and VDI beside the same disk in qcow2); what a daemon reads: scrub; passes over what did
not change: unchanged100k. Without a name, all of them; tiny-cold when it is named.

Each row runs its commands in turns (ours, QEMU's, ours, ...), so that what else the machine does hurts both, and
takes the median of N runs (5). The ratio is the other's time over ours. Cold: every file is dropped from the page cache
before each run. Images are made in $BENCH_DIR (bench-images in the working directory), are the same every time, and
stay there for the next run. With --quick everything is small, for a look at the program itself.

$BENCH_TOOLS is the folder of make-image, measure, drop-cache, read-tables, open-chain and walk-tree (set by `make bench`);
qcauditctl and qcauditd are taken from $PATH.
"""
import argparse
import array
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "images"))
import imagekit  # noqa: E402

LEAKS = 1000
PASS_DEADLINE = 900     # seconds for the daemon's first pass


class Bench:
    """Where images and tools are, and what was measured so far."""

    def __init__(self, directory, tools, runs, quick):
        self.directory = os.path.abspath(directory)
        self.tools = os.path.abspath(tools)
        self.runs = runs
        self.quick = quick
        self.rows = []

    def tool(self, name):
        return os.path.join(self.tools, name)

    def path(self, name):
        return os.path.join(self.directory, ("quick-" if self.quick else "") + name)

    def size(self, full, quick):
        return quick if self.quick else full

    def measure(self, command, expected=0):
        """One run of a command; what it took, by tests/bench/measure.c."""
        done = subprocess.run([self.tool("measure")] + command, stdout=subprocess.PIPE, check=True)
        taken = json.loads(done.stdout)
        if taken["status"] != expected:
            raise RuntimeError(f"{' '.join(command)[:200]}: exit {taken['status']}, expected {expected}")
        return taken

    def drop(self, files):
        for i in range(0, len(files), 1000):
            subprocess.run([self.tool("drop-cache")] + files[i:i + 1000], check=True)

    def compare(self, work, ours, theirs, cold=(), runs=None):
        """A row: ours and theirs are functions, run in turns."""
        self.compare_all({work: ours}, theirs, cold, runs)

    def compare_all(self, ours, theirs, cold=(), runs=None):
        """A row for each of ours (by its work), all beside the same runs of theirs."""
        taken = {name: [] for name in (*ours, None)}
        for _ in range(runs or self.runs):
            for name, run in (*ours.items(), (None, theirs)):
                if cold:
                    self.drop(list(cold))
                taken[name].append(run())
        for work in ours:
            row = {"work": work, "runs": len(taken[work]), "ours": summary(taken[work]), "theirs": summary(taken[None])}
            row["ratio"] = row["theirs"]["seconds"] / row["ours"]["seconds"]
            row["cpu-ratio"] = row["theirs"]["cpu"] / max(row["ours"]["cpu"], 1e-6)
            row["memory-ratio"] = row["theirs"]["peak-kib"] / row["ours"]["peak-kib"]
            self.rows.append(row)
            show(row)

    def alone(self, work, ours):
        """A row of ours that nothing can be put beside."""
        row = {"work": work, "runs": self.runs, "ours": summary([ours() for _ in range(self.runs)])}
        self.rows.append(row)
        show(row)


def summary(results):
    """The medians of some runs."""
    medians = {key: statistics.median(result[key] for result in results) for key in ("seconds", "cpu", "peak-kib")}
    medians["all-seconds"] = [round(result["seconds"], 6) for result in results]
    return medians


HEAD = f"{'work':<44}{'ours':>10}{'other':>10}{'ratio':>9}{'CPU':>8}{'ours':>10}{'other':>10}{'ratio':>8}"


def show(row):
    ours, theirs = row["ours"], row.get("theirs")
    if not theirs:
        print(f"{row['work']:<44}{ours['seconds']:>9.3f}s{'':>28}{ours['peak-kib'] / 1024:>6.1f} MiB", flush=True)
        return
    print(f"{row['work']:<44}{ours['seconds']:>9.3f}s{theirs['seconds']:>9.3f}s{row['ratio']:>8.1f}x"
          f"{row['cpu-ratio']:>7.1f}x{ours['peak-kib'] / 1024:>6.1f} MiB{theirs['peak-kib'] / 1024:>6.1f} MiB"
          f"{row['memory-ratio']:>7.1f}x", flush=True)


# ---- images --------------------------------------------------------------------------------------------------------

def made(path, make):
    """Makes it unless it is there; one that was not finished is not there."""
    if not os.path.exists(path):
        print(f"making {path}", file=sys.stderr, flush=True)
        unfinished = path + ".unfinished"
        if os.path.isdir(unfinished):
            shutil.rmtree(unfinished)
        make(unfinished)
        os.rename(unfinished, path)
    return path


def preallocated(bench, name, mib):
    return made(bench.path(name), lambda path: subprocess.run(
        [bench.tool("make-image"), "preallocated", path, str(mib)], check=True))


def permuted(bench):
    return made(bench.path("permuted.qcow2"), lambda path: subprocess.run(
        [bench.tool("make-image"), "permuted", path, str(bench.size(65536, 256)), str(LEAKS)], check=True))


def data(bench):
    mib = bench.size(4096, 16)

    def make(path):
        imagekit.create(path, f"{mib}M")
        step = min(mib, 256)
        for start in range(0, mib, step):
            imagekit.io(path, f"write -q -P 0x5a {start}M {step}M")
    return made(bench.path("data.qcow2"), make)


def copies(directory, template, count, name, patch=None):
    """Copies of a small image without its holes."""
    with open(template, "rb") as file:
        content = file.read()
    pieces = [(i, content[i:i + 4096]) for i in range(0, len(content), 4096) if content[i:i + 4096].strip(b"\0")]
    for number in range(count):
        with open(os.path.join(directory, name(number)), "wb") as file:
            for offset, piece in pieces:
                file.seek(offset)
                file.write(patch(piece, number) if patch and offset == 0 else piece)
            file.truncate(len(content))


def layer_name(number):
    return f"layer-{number:05}.qcow2"


def chain(bench):
    """A folder with a base, layer 0, and overlays on it."""
    def make(directory):
        os.mkdir(directory)
        imagekit.create(os.path.join(directory, layer_name(0)), "64M")
        template = os.path.join(directory, "template")
        placeholder = layer_name(99999)
        imagekit.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", placeholder, "-F", "qcow2", template, "64M")
        copies(directory, template, bench.size(1847, 20) - 1, lambda number: layer_name(number + 1),
               lambda piece, number: piece.replace(placeholder.encode(), layer_name(number).encode()))
        os.unlink(template)
    return made(bench.path("chain"), make)


def tiny(bench):
    def make(directory):
        os.mkdir(directory)
        template = os.path.join(directory, "template")
        imagekit.create(template, "1G")
        imagekit.io(template, "write -q -P 1 0 64k")
        copies(directory, template, bench.size(10000, 30), lambda number: f"image-{number:05}.qcow2")
        os.unlink(template)
    return made(bench.path("tiny"), make)


def disk(bench, kind, name):
    """8 GiB with 4 GiB of data in it."""
    return made(bench.path(name), lambda path: subprocess.run(
        [bench.tool("make-image"), kind, path, str(bench.size(8192, 16)), str(bench.size(4096, 8))], check=True))


def compressed(bench, kind):
    def make(path):
        raw = path + ".raw"
        subprocess.run([bench.tool("make-image"), "text", raw, str(bench.size(1024, 4))], check=True)
        imagekit.run("qemu-img", "convert", "-q", "-c", "-O", "qcow2", "-o", f"compression_type={kind}", raw, path)
        os.unlink(raw)
    return made(bench.path(f"{kind}.qcow2"), make)


def empty(bench):
    return made(bench.path("empty.qcow2"), lambda path: imagekit.create(path, "1T"))


def many(bench):
    """Folders of small images."""
    def make(directory):
        os.mkdir(directory)
        template = os.path.join(directory, "template")
        imagekit.create(template, "64k", "cluster_size=512")
        for folder in range(bench.size(100, 2)):
            os.mkdir(os.path.join(directory, f"{folder:03}"))
            copies(os.path.join(directory, f"{folder:03}"), template, bench.size(1000, 10),
                   lambda number: f"image-{number:05}.qcow2")
        os.unlink(template)
    return made(bench.path("many"), make)


def vmdk_full(bench):
    """A hosted sparse extent as VMware writes it, all of whose grains are allocated, one after the other; what they hold
    is never written."""
    grains = bench.size(1 << 20, 512) * 16

    def make(path):
        tables = -(-grains // 512)
        directory = -(-tables // 128)
        second, first = 21, 21 + directory + 4 * tables
        data = -(-(first + directory + 4 * tables) // 128) * 128
        text = (f'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicSparse"\n'
                f'RW {grains * 128} SPARSE "{bench.path("full.vmdk")}"\n').encode()
        with open(path, "wb") as file:
            file.write(struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", 1, 3, grains * 128, 128, 1, 20, 512, second, first, data, 0,
                                   b"\n \r\n", 0).ljust(512, b"\0"))
            file.write(text)
            for start in (second, first):
                file.seek(start * 512)
                file.write(words(range(start + directory, start + directory + 4 * tables, 4)))
                file.seek((start + directory) * 512)
                for grain in range(0, grains, 1 << 20):
                    file.write(words(range(data + 128 * grain, data + 128 * min(grain + (1 << 20), grains), 128)))
            file.truncate((data + 128 * grains) * 512)
    return made(bench.path("full.vmdk"), make)


def words(numbers):
    """Numbers of 32 bits, little-endian."""
    packed = array.array("I", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def stream(bench):
    def make(path):
        raw = path + ".raw"
        subprocess.run([bench.tool("make-image"), "text", raw, str(bench.size(4096, 4))], check=True)
        # longer than imagekit.run() waits
        subprocess.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, path],
                       check=True)
        os.unlink(raw)
    return made(bench.path("stream.vmdk"), make)


def container(bench, fmt, *options):
    """The disk of disk(bench, "data"), as another format."""
    return made(bench.path(f"digest.{fmt}"), lambda path: imagekit.run(
        "qemu-img", "convert", "-q", "-f", "qcow2", "-O", fmt, *options, disk(bench, "data", "digest.qcow2"), path))


# ---- works ---------------------------------------------------------------------------------------------------------

# Both as somebody at a terminal has them say it: with every leak on a line of its own, or in runs.
def ours(bench, path, *options, expected=0):
    command = ["qcauditctl", "check", *options, path]
    return lambda: bench.measure(command, expected)


def theirs(bench, path, expected=0):
    return lambda: bench.measure(["qemu-img", "check", path], expected)


def work_preallocated(bench, title, path):
    plain = lambda: bench.measure([bench.tool("read-tables"), path])  # noqa: E731
    bench.compare_all({f"{title}, warm": ours(bench, path),
                       f"{title}, warm, one thread": ours(bench, path, "--threads=1"),
                       f"{title}, warm, one thread, scalar": ours(bench, path, "--threads=1", "--scalar")},
                      theirs(bench, path))
    bench.compare(f"{title}, cold", ours(bench, path), theirs(bench, path), cold=[path])
    bench.compare(f"{title}, cold: plain reading, 32 deep", ours(bench, path), plain, cold=[path])


def work_prealloc1t(bench):
    work_preallocated(bench, "1 TiB preallocated", preallocated(bench, "prealloc1t.qcow2", bench.size(1 << 20, 512)))


def work_prealloc8t(bench):
    work_preallocated(bench, "8 TiB preallocated", preallocated(bench, "prealloc8t.qcow2", bench.size(8 << 20, 1024)))


def work_permuted(bench):
    path = permuted(bench)
    clusters = bench.size(65536, 256) * 16
    # Caches that hold every refcount block and L2 table of the image.
    tuned = (f"driver=qcow2,refcount-cache-size={(clusters // 32768 + 4) * 65536},"
             f"l2-cache-size={(clusters // 8192 + 4) * 65536},file.driver=file,file.filename={path}")
    bench.compare("64 GiB permuted, warm, QEMU as it is", ours(bench, path, expected=3), theirs(bench, path, 3))
    bench.compare_all({"64 GiB permuted, warm, QEMU's caches tuned": ours(bench, path, expected=3),
                       "64 GiB permuted, warm, scalar code, tuned": ours(bench, path, "--scalar", expected=3)},
                      lambda: bench.measure(["qemu-img", "check", "--image-opts", tuned], 3))


def work_data4g(bench):
    path = data(bench)
    bench.compare("4 GiB data, warm", ours(bench, path), theirs(bench, path))
    bench.compare("4 GiB data, cold", ours(bench, path), theirs(bench, path), cold=[path])


def work_chain(bench):
    directory = chain(bench)
    files = sorted(os.path.join(directory, name) for name in os.listdir(directory))
    depth = len(files)
    info = lambda: bench.measure(["qemu-img", "info", "--backing-chain", "--output=json", files[-1]])  # noqa: E731
    library = lambda: bench.measure([bench.tool("open-chain"), files[-1]])  # noqa: E731
    bench.compare(f"chain of {depth:,}: open, resolve, headers", library, info)
    bench.compare(f"chain of {depth:,}: daemon's first pass", lambda: first_pass(bench, directory, depth), info,
                  runs=1 if bench.quick else 3)


def pass_over_tiny(bench, cold):
    directory = tiny(bench)
    files = sorted(os.path.join(directory, name) for name in os.listdir(directory))
    loop = ["sh", "-c", 'for i in "$1"/*; do qemu-img check -q "$i" || exit; done', "sh", directory]
    bench.compare(f"{len(files):,} tiny images, {'cold' if cold else 'warm'}: first pass",
                  lambda: first_pass(bench, directory, len(files)), lambda: bench.measure(loop),
                  cold=files if cold else (), runs=1 if bench.quick else min(bench.runs, 3))


def work_tiny(bench):
    pass_over_tiny(bench, False)


def work_tiny_cold(bench):
    pass_over_tiny(bench, True)


# ---- digests

def content(bench, path, *options):
    return lambda: bench.measure(["qcauditctl", "hash", "--content", *options, path])


def convert_and_hash(bench, path):
    """What a user does without us: the disk as a raw file, and its sum."""
    script = 'qemu-img convert -O raw "$1" "$2" && sha256sum "$2" && rm "$2"'
    return lambda: bench.measure(["sh", "-c", script, "sh", path, bench.path("convert.raw")])


def digest_rows(bench, title, path):
    bench.compare_all({title: content(bench, path), f"{title}, one thread": content(bench, path, "--threads=1"),
                       f"{title}, libcrypto alone": content(bench, path, "--scalar")}, convert_and_hash(bench, path))


def work_digest4g(bench):
    digest_rows(bench, "digest, 8 GiB with 4 GiB data", disk(bench, "data", "digest.qcow2"))


def work_digest_frag(bench):
    digest_rows(bench, "digest, 64k random clusters", disk(bench, "fragments", "fragments.qcow2"))


def work_digest_zlib(bench):
    digest_rows(bench, "digest, zlib", compressed(bench, "zlib"))


def work_digest_zstd(bench):
    digest_rows(bench, "digest, zstd", compressed(bench, "zstd"))


def work_digest_empty1t(bench):
    bench.alone("digest, 1 TiB empty", content(bench, empty(bench)))


def work_digest_cold(bench):
    path = disk(bench, "data", "digest.qcow2")
    bench.compare("digest, cold, beside dd iflag=direct", content(bench, path),
                  lambda: bench.measure(["dd", "iflag=direct", "bs=1M", "status=none", f"if={path}", "of=/dev/null"]),
                  cold=[path])


def work_vmdk_check(bench):
    path = vmdk_full(bench)
    bench.compare_all({"1 TiB VMDK, warm": ours(bench, path), "1 TiB VMDK, warm, one thread": ours(bench, path, "--threads=1")},
                      theirs(bench, path))


def work_esxi_chain(bench):
    """The other is a chain of qcow2 of as many layers."""
    layers = 100 if bench.quick else 1848
    images = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "images")

    def layered(name, maker):
        def make(directory):
            os.mkdir(directory)
            subprocess.run([os.path.join(images, maker), str(layers), directory], check=True)
        return made(bench.path(name), make)
    leaf = os.path.join(layered(f"esxi-chain-{layers}", "make-esxi-chain"), f"vm-{layers - 1:06d}.vmdk")
    other = os.path.join(layered(f"qcow2-chain-{layers}", "make-chain"), "00000.qcow2")
    bench.compare(f"chain of {layers:,} ESXi deltas beside qcow2", ours(bench, leaf, "--chain"), ours(bench, other, "--chain"))


def work_stream_digest(bench):
    digest_rows(bench, "digest, stream-optimized VMDK", stream(bench))


def content_digest(path):
    return subprocess.run(["qcauditctl", "hash", "--content", path], stdout=subprocess.PIPE, check=True).stdout.split()[-1]


def work_container_digest(bench):
    """The other is the same disk in qcow2."""
    path = disk(bench, "data", "digest.qcow2")
    containers = {"VHDX": container(bench, "vhdx"), "VHD": container(bench, "vpc", "-o", "force_size=on"),
                  "VDI": container(bench, "vdi")}
    if len({content_digest(one) for one in (path, *containers.values())}) != 1:
        raise RuntimeError("the containers of one disk have several digests")
    bench.compare_all({f"digest, {name} beside qcow2": content(bench, one) for name, one in containers.items()},
                      content(bench, path))


def work_scrub(bench):
    """All data, read and hashed by a daemon: past the page cache, in one thread and one that reads ahead of it."""
    path = disk(bench, "data", "digest.qcow2")
    directory = made(bench.path("scrub"), os.mkdir)
    image = os.path.join(directory, "digest.qcow2")
    if not os.path.exists(image):
        os.link(path, image)

    def compare(daemon):
        def scrub():
            cpu = cpu_seconds(daemon.pid)
            taken = bench.measure(["qcauditctl", "--socket", daemon.control, "scan", "--scrub", "--wait", image])
            return {**taken, "cpu": cpu_seconds(daemon.pid) - cpu, "peak-kib": peak_memory(daemon.pid)}
        bench.compare("scrub, cold, beside dd iflag=direct", scrub,
                      lambda: bench.measure(["dd", "iflag=direct", "bs=1M", "status=none", f"if={image}",
                                             "of=/dev/null"]), cold=[image])
    with_daemon(bench, directory, 1, compare, "scrub: {pressure: off}\n")


def work_unchanged100k(bench):
    directory = many(bench)
    count = bench.size(100000, 20)

    def compare(daemon):
        def again():
            cpu = cpu_seconds(daemon.pid)
            taken = bench.measure(["qcauditctl", "--socket", daemon.control, "scan", "--wait"])
            return {**taken, "cpu": cpu_seconds(daemon.pid) - cpu, "peak-kib": peak_memory(daemon.pid)}
        bench.compare(f"{count:,} unchanged: pass, beside statx", again,
                      lambda: bench.measure([bench.tool("walk-tree"), directory]))
    with_daemon(bench, directory, count, compare)


def peak_memory(pid):
    """The peaks of a process and of its descendants that live now, KiB."""
    peak = 0
    todo = [pid]
    while todo:
        one = todo.pop()
        try:
            with open(f"/proc/{one}/task/{one}/children", encoding="ascii") as file:
                todo += [int(child) for child in file.read().split()]
            with open(f"/proc/{one}/status", encoding="ascii", errors="replace") as file:
                peak += sum(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return peak


def stop(pid):
    """Ends the daemon; processor seconds of it and of all its helpers."""
    os.kill(pid, signal.SIGTERM)
    usage = os.wait4(pid, 0)[2]
    return usage.ru_utime + usage.ru_stime


def cpu_seconds(pid):
    """Of a process and all its descendants so far, those that ended too."""
    ticks = 0
    todo = [pid]
    while todo:
        one = todo.pop()
        try:
            with open(f"/proc/{one}/task/{one}/children", encoding="ascii") as file:
                todo += [int(child) for child in file.read().split()]
            with open(f"/proc/{one}/stat", encoding="ascii", errors="replace") as file:
                ticks += sum(int(field) for field in file.read().rpartition(")")[2].split()[11:15])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


class Daemon:
    """One that runs: its process and where it listens."""

    def __init__(self, pid, control):
        self.pid = pid
        self.control = control


def first_pass(bench, directory, count):
    """Starts a private daemon on an empty state; until every image has been audited and its pass is over."""
    return with_daemon(bench, directory, count, lambda daemon: None)


def with_daemon(bench, directory, count, then, options=""):
    """first_pass(), and what is to be done with the daemon before it ends."""
    private = bench.path("daemon")
    shutil.rmtree(private, ignore_errors=True)
    os.mkdir(private, 0o700)
    for name in ("state", "run"):
        os.mkdir(os.path.join(private, name), 0o700)
    config = os.path.join(private, "qcauditd.yaml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"datastores:\n  - path: {directory}\n{options}")
    control = os.path.join(private, "run", "control")
    peak = 0
    with open(os.path.join(private, "log"), "wb") as log:
        started = time.monotonic()
        pid = os.posix_spawn(shutil.which("qcauditd"), [
            "qcauditd", "--config", config, "--state-directory", os.path.join(private, "state"),
            "--runtime-directory", os.path.join(private, "run"), "--log-target=console"], os.environ, file_actions=[
                (os.POSIX_SPAWN_DUP2, log.fileno(), 1), (os.POSIX_SPAWN_DUP2, log.fileno(), 2)])
        try:
            while True:
                time.sleep(0.05 if time.monotonic() - started < 2 else 0.25)
                peak = max(peak, peak_memory(pid))
                answer = subprocess.run(["qcauditctl", "--socket", control, "status", "--exit-zero", "--json=short"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
                elapsed = time.monotonic() - started
                if answer.returncode == 0:
                    status = json.loads(answer.stdout)
                    if status["images-audited"] == count and status["pass-started"] == 0 and status["last-pass"] > 0:
                        break
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    raise RuntimeError(f"qcauditd ended: see {private}/log")
                if elapsed > PASS_DEADLINE:
                    raise RuntimeError(f"no first pass within {PASS_DEADLINE} s: see {private}/log")
            then(Daemon(pid, control))
        finally:
            cpu = stop(pid)
    return {"seconds": elapsed, "cpu": cpu, "peak-kib": peak, "status": 0}


WORKS = {"prealloc1t": work_prealloc1t, "prealloc8t": work_prealloc8t, "permuted": work_permuted,
         "data4g": work_data4g, "chain": work_chain, "tiny": work_tiny, "tiny-cold": work_tiny_cold,
         "digest4g": work_digest4g, "digest-frag": work_digest_frag, "digest-zlib": work_digest_zlib,
         "digest-zstd": work_digest_zstd, "digest-empty1t": work_digest_empty1t, "digest-cold": work_digest_cold,
         "vmdk-check": work_vmdk_check, "esxi-chain": work_esxi_chain,
         "stream-digest": work_stream_digest, "container-digest": work_container_digest,
         "scrub": work_scrub, "unchanged100k": work_unchanged100k}
ON_DEMAND = {"tiny-cold"}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    version = subprocess.run(["qemu-img", "--version"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return {"processor": model, "processors": os.cpu_count(), "kernel": os.uname().release,
            "qemu-img": version.split()[2], "load-before": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description="Compares the speed of qcaudit with that of qemu-img and others.")
    parser.add_argument("--quick", action="store_true", help="small images")
    parser.add_argument("--runs", type=int, default=5, help="runs of each command (5)")
    parser.add_argument("--json", metavar="FILE", default="bench.json", help="where the figures go (bench.json)")
    parser.add_argument("works", nargs="*", metavar="WORK", help=" ".join(WORKS))
    arguments = parser.parse_args()
    for work in arguments.works:
        if work not in WORKS:
            parser.error(f"there is no work {work!r}: they are {' '.join(WORKS)}")

    bench = Bench(os.environ.get("BENCH_DIR") or "bench-images", os.environ.get("BENCH_TOOLS", "."),
                  arguments.runs, arguments.quick)
    os.makedirs(bench.directory, exist_ok=True)
    about = machine()
    print(f"{about['processors']} x {about['processor']}, qemu-img {about['qemu-img']}, "
          f"medians of {arguments.runs}, load {about['load-before']:.1f}")
    print(f"{'':<44}{'time':>10}{'':>27}{'peak memory':>20}")
    print(HEAD, flush=True)
    for name in arguments.works or [name for name in WORKS if name not in ON_DEMAND]:
        WORKS[name](bench)
        # after each work, so that what was measured is there whatever comes
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": about, "quick": bench.quick, "rows": bench.rows}, file, indent=1)
            file.write("\n")


main()
