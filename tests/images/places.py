# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an issue has to say, as `qcauditctl check --json` shows it: its kind, the table and index, the host offset, the
guest range it damages, stored and counted refcounts, the layer; of an internal snapshot's tables, whose."""
import os
import re

ALWAYS = {"kind", "counter", "table", "index", "stored", "counted", "count", "layer"}
# Kinds of damage to the image as such: nothing that an offset or a range could be said of.
NO_HOST = {"autoclear-unknown", "corrupt-bit", "dirty-bit", "extension-duplicate", "extension-stale", "header-slack",
           "header-length-unaligned", "parent-format-missing", "parent-format-wrong", "parent-newer", "parent-shorter",
           "data-file-reused", "snapshot-incomplete", "snapshot-with-data-file", "snapshot-table-invalid",
           "luks-slots-empty"}
# Said where there is one: an entry that points nowhere has no host offset, a LUKS field is a byte of the header.
SOME_HOST = {"bitmaps-invalid", "copied-without-offset", "l2-reserved-bits", "l2-subclusters", "l2-zero-in-extended",
             "luks-header-invalid"}
# Kinds that damage what a guest reads; in tables that map nothing of its disk there is no range.
GUEST = {"cluster-mapped-twice", "compressed-bad", "compressed-overlap", "copied-without-offset", "copied-wrong",
         "copied-wrong-inactive", "data-file-end", "data-file-offset", "data-file-reused", "data-file-shared",
         "data-on-metadata", "l1-reserved-bits", "l1-unaligned", "l2-compressed-copied", "l2-compressed-data-file",
         "l2-compressed-subclusters", "l2-reserved-bits", "l2-subclusters", "l2-table-hole", "l2-unaligned",
         "l2-zero-in-extended", "l2-zero-in-v2", "last-cluster-cut", "out-of-file", "parent-format-wrong",
         "parent-shorter", "refcount-low"}
SNAPSHOT = {"copied-wrong-inactive", "snapshot-empty", "snapshot-id-duplicate", "snapshot-incomplete",
            "snapshot-l1-invalid", "snapshot-size-mismatch"}


def kinds(beyond):
    """Kinds of the public header that qcow2 has: those beyond qemu-img, or those that it counts."""
    with open(os.path.join(os.environ["top_srcdir"], "include/qcaudit/qcaudit.h"), encoding="ascii") as header:
        text, others = header.read().split("/* of the formats that others made */")
    assert others
    found = re.findall(r'X\(\w+,\s+"([a-z0-9-]+)",\s+(\w+),', text)
    assert len(found) > 50
    return {kind for kind, counter in found if (counter == "BEYOND") == beyond}


def problems(issue, virtual_size):
    """What the issue does not say, or says wrongly, in words."""
    kind = issue.get("kind")
    for key in ALWAYS - set(issue):
        yield f"{kind} without {key}"
    for what in ("host", "guest"):
        if (f"{what}-offset" in issue) != (f"{what}-length" in issue):
            yield f"{kind}: half a {what} range"
    if kind not in NO_HOST | SOME_HOST and "host-offset" not in issue:
        yield f"{kind} without a host offset"
    if kind in SNAPSHOT and not {"snapshot", "snapshot-id", "snapshot-name"} <= set(issue):
        yield f"{kind} does not say of which snapshot"
    if "guest-offset" in issue:
        end = issue["guest-offset"] + issue["guest-length"]
        if issue["guest-length"] == 0 or end > virtual_size:
            yield f"{kind}: a guest range up to {end} of {virtual_size}"
    if kind == "refcount-low" and issue["stored"] >= issue["counted"]:
        yield f"{kind}: {issue['stored']} stored, {issue['counted']} counted"
    if kind == "cluster-leaked" and issue["stored"] <= issue["counted"]:
        yield f"{kind}: {issue['stored']} stored, {issue['counted']} counted"


class Seen:
    """The kinds that were seen, and what is wrong with them all."""

    def __init__(self):
        self.kinds, self.with_guest, self.wrong = set(), set(), set()

    def take(self, report):
        """A layer's part of a report: itself, or one of its layers."""
        for issue in report.get("issues", []):
            self.kinds.add(issue["kind"])
            if "guest-offset" in issue:
                self.with_guest.add(issue["kind"])
            self.wrong |= set(problems(issue, report["virtual-size"]))

    def problems(self, wanted):
        """Of the kinds that had to be seen."""
        if wanted - self.kinds:
            yield f"no image shows {sorted(wanted - self.kinds)}"
        if wanted & GUEST - self.with_guest:
            yield f"no guest range is ever said of {sorted(wanted & GUEST - self.with_guest)}"
        yield from sorted(self.wrong)
