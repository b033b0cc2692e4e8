#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""All damage of tests/images/damaged_foreign.py to the formats of others is found by qcauditctl
check, and nothing in the sound originals. One TAP case each."""
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/images"))
import damaged_foreign  # noqa: E402


def main():
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("1..0 # SKIP qemu-img is not installed")
        return
    told = []
    with tempfile.TemporaryDirectory(prefix="qcaudit-damaged.") as directory:
        for row in damaged_foreign.rows(directory):
            told.append(row)
            known = f" # TODO {row.awaits}" if row.wrong and row.awaits else ""
            title = row.title.replace(" | ", ": ")
            print(f"{'not ok' if row.wrong else 'ok'} {len(told)} - {title}{known}")
            if row.wrong:
                print(f"# {row.wrong}: {row.ours}; qemu-img check: {row.theirs}", flush=True)
    print(f"# {damaged_foreign.totals(told)}")
    print(f"1..{len(damaged_foreign.BASES) + len(damaged_foreign.CASES)}")


main()
