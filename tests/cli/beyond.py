#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What qemu-img check calls clean, qcauditctl check names, and its counters stay the same; damage that costs data is
exit status 2, or 0 with --compatible: for every image of
tests/images/beyond.py. Every kind of issue beyond qemu-img has an image. One TAP case each."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
source = os.environ["top_srcdir"]
sys.path.insert(0, os.path.join(source, "tests/images"))
import beyond  # noqa: E402
import figures  # noqa: E402
import places  # noqa: E402


# What costs data; the rest is odd, and harms nobody by itself.
DAMAGE = {"cluster-mapped-twice", "compressed-bad", "compressed-overlap", "data-file-end", "data-file-offset",
          "data-file-reused", "data-file-shared", "data-on-metadata", "l2-zero-in-v2", "last-cluster-cut",
          "luks-header-invalid", "luks-slot-invalid", "luks-slots-empty", "metadata-shared", "parent-format-wrong"}


def report(path, deep, *options):
    command = os.environ.get("QCAUDIT_CHECK", "qcauditctl check --json=short").split()
    done = subprocess.run(command + list(options) + (["--deep"] if deep else []) + [os.path.basename(path)],
                          cwd=os.path.dirname(path), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode, json.loads(done.stdout)


def problems(entry, path, seen):
    status, result = report(path, entry.deep)
    seen.take(result)
    found = {issue["kind"]: issue for issue in result.get("issues", [])}
    expected = 2 if DAMAGE & set(found) else 0
    if status != expected:
        yield f"exit status {status}, not {expected}"
    if report(path, entry.deep, "--compatible") != (0, result):
        yield "with --compatible: not 0, or another report"
    if entry.kind not in found:
        yield f"{entry.kind} is not among {sorted(found)}"
    elif found[entry.kind]["counter"] != "beyond":
        yield "counted"
    if entry.deep and entry.kind in {issue["kind"] for issue in report(path, False)[1].get("issues", [])}:
        yield "found without --deep, too"
    if not entry.key:
        expected, actual = figures.of_qemu(path), figures.of_qcaudit(path)
        if expected["status"] != 0 or not figures.equal(expected, actual):
            yield f"qemu-img: {expected}, qcauditctl: {actual}"


def main():
    if not shutil.which("qemu-img"):
        print("1..0 # SKIP qemu-img is not installed")
        return
    images = beyond.images()
    print(f"1..{len(images) + 1}")
    seen = places.Seen()
    with tempfile.TemporaryDirectory(prefix="qcaudit-beyond.") as directory:
        for number, (name, entry) in enumerate(images.items(), 1):
            path = f"{directory}/{name}.qcow2"
            entry.make(path)
            wrong = list(problems(entry, path, seen))
            for line in wrong:
                print(f"# {line}")
            print(f"{'not ok' if wrong else 'ok'} {number} - {name}: {entry.kind}", flush=True)
            for left in os.scandir(directory):
                os.unlink(left.path)
    wrong = list(seen.problems(places.kinds(beyond=True)))
    for line in wrong:
        print(f"# {line}")
    print(f"{'not ok' if wrong else 'ok'} {len(images) + 1} - every kind was seen, and says where")


main()
