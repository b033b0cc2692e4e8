#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""qcauditctl check against qemu-img check: all eight figures and the exit status of every named image,
and of images with random bytes of their metadata changed. One TAP case each; the log holds the table."""
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/images"))
import catalogue  # noqa: E402
import differential  # noqa: E402
import figures  # noqa: E402
import places  # noqa: E402

RANDOM_IMAGES = 150


def main():
    if not shutil.which("qemu-img"):
        print("1..0 # SKIP qemu-img is not installed")
        return
    images = catalogue.images()
    seen = places.Seen()
    print(f"1..{len(images) + RANDOM_IMAGES + 1}")
    print(f"# {'image':<40} {'status':>6} " + " ".join(f"{name[:9]:>9}" for name in figures.FIGURES))
    number = 0
    with tempfile.TemporaryDirectory(prefix="qcaudit-oracle.") as directory:
        def case(name, path, secret=None):
            nonlocal number
            number += 1
            expected, actual = figures.of_qemu(path, secret), figures.of_qcaudit(path)
            seen.take(actual["report"])
            same = figures.equal(expected, actual)
            print(f"# {name:<40} {expected['status']:>6} {figures.row(expected['figures'])} {'equal' if same else 'DIFFERENT:'}")
            if not same:
                print(f"# {'qcauditctl:':<40} {actual['status']:>6} {figures.row(actual['figures'])}")
                print(f"# {actual['text'][:500]!r}, qemu-img: {expected['text'][:500]!r}")
            print(f"{'ok' if same else 'not ok'} {number} - {name}", flush=True)

        for name, make in images.items():
            path = f"{directory}/{name}.qcow2"
            make(path)
            case(name, path, catalogue.secret_of(name))
            for entry in os.scandir(directory):
                os.unlink(entry.path)
        for name, path in differential.random_images(directory, RANDOM_IMAGES, seed=1):
            case(name, path)
    wrong = list(seen.problems(places.kinds(beyond=False)))
    for line in wrong:
        print(f"# {line}")
    print(f"{'not ok' if wrong else 'ok'} {number + 1} - every kind that is counted was seen, and says where")


main()
