#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The corpora through the fuzz harnesses: none may crash, hang or complain.
bats_require_minimum_version 1.5.0

# replay HARNESS DIR...: no less than one input each. Each input has 5 s of processor time and 256 MiB (replay.c).
replay() {
    local harness=$top_builddir/tests/fuzz/$1
    shift
    run -0 timeout 300 "$harness" "$@"
    echo "$output"
    [ "${output##*$'\n'}" != "0 inputs" ]
}

@test "an input that takes more than its time, or its memory, is one that fails" {
    cd "$BATS_TEST_TMPDIR"
    cat >harness.c <<'END'
#include <stdlib.h>
#include <string.h>
int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size)
{
    if (size && *data == 't')
        for (volatile unsigned long i = 0;; i++)
            ;
    if (size && *data == 'm') {
        volatile char *p = malloc(300UL << 20);
        for (unsigned long i = 0; p && i < 300UL << 20; i += 4096)
            p[i] = 1;
        free((void *)p);
    }
    return 0;
}
END
    # A second is for the endless loop alone: 300 MiB may take longer.
    "${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -I"$top_srcdir" harness.c "$top_srcdir/tests/fuzz/replay.c" -o harness
    "${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -DFUZZ_CPU_SECONDS=1 -I"$top_srcdir" harness.c \
        "$top_srcdir/tests/fuzz/replay.c" -o hasty
    printf x >fine
    printf t >time
    printf m >memory
    run -0 ./harness fine
    run -1 ./hasty time
    [ "$output" = "time: takes too long" ]
    run -1 ./harness memory
    [[ $output == "memory: "*" KiB of memory"* ]]
}

@test "images: every named one" {
    command -v qemu-img >/dev/null || skip "qemu-img is not installed"
    "$top_srcdir/tests/images/generate" "$BATS_TEST_TMPDIR"
    replay fuzz-image "$BATS_TEST_TMPDIR"
}

@test "images: the corpus, as far as fuzzing got" {
    replay fuzz-image "$top_srcdir/tests/fuzz/corpus/image"
}

@test "images: seeds of fuzzing" {
    command -v qemu-img >/dev/null || skip "qemu-img is not installed"
    "$top_srcdir/tests/fuzz/make-image-seeds" "$BATS_TEST_TMPDIR/seeds"
    replay fuzz-image "$BATS_TEST_TMPDIR/seeds"
}

@test "images: VHDX, the corpus, as far as fuzzing got" {
    replay fuzz-vhdx "$top_srcdir/tests/fuzz/corpus/vhdx"
}

@test "images: VHDX, seeds of fuzzing, whole and with bytes changed" {
    command -v qemu-img >/dev/null || skip "qemu-img is not installed"
    cd "$BATS_TEST_TMPDIR"
    "$top_srcdir/tests/fuzz/make-vhdx-seeds" seeds
    python3 - seeds/blocks seeds/differencing seeds/log <<'END'
import sys
for seed in sys.argv[1:]:
    data = open(seed, "rb").read()
    for place in (place for place in range(113, len(data), 5) if data[place] or place % 3 == 0):
        with open(f"{seed}-{place}", "wb") as file:
            file.write(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1:])
END
    replay fuzz-vhdx seeds
}

@test "images: all the work that 1 MiB can ask for" {
    "$top_srcdir/tests/fuzz/make-hard-images" "$BATS_TEST_TMPDIR/hard"
    replay fuzz-image "$BATS_TEST_TMPDIR/hard"
}

@test "records: what a worker says of some images, whole and with every byte changed in turn" {
    command -v qemu-img >/dev/null || skip "qemu-img is not installed"
    cd "$BATS_TEST_TMPDIR"
    "$top_srcdir/tests/images/generate" . snapshots bitmaps many-at-once
    mkdir seeds
    "$top_builddir/tests/fuzz/make-wire-seeds" snapshots.qcow2 bitmaps.qcow2 many-at-once.qcow2 >seeds/three
    "$top_builddir/tests/fuzz/make-wire-seeds" --digests many-at-once.qcow2 >seeds/scrub
    "$top_builddir/tests/fuzz/make-wire-seeds" many-at-once.qcow2 >seeds/one
    python3 - seeds/one seeds/scrub <<'END'
import sys
for seed in sys.argv[1:]:
    data = open(seed, "rb").read()
    for place in range(0, len(data), max(1, len(data) // 800)):
        for value in (0, 255, data[place] ^ 1):
            with open(f"{seed}-{place}-{value}", "wb") as file:
                file.write(data[:place] + bytes([value]) + data[place + 1:])
END
    replay fuzz-wire seeds
}

@test "configurations" {
    replay fuzz-config "$top_srcdir/tests/fuzz/corpus/config"
}

@test "families of images, and names" {
    replay fuzz-families "$top_srcdir/tests/fuzz/corpus/families"
}

@test "names and references" {
    replay fuzz-text "$top_srcdir/tests/fuzz/corpus/text"
}

@test "reports of a database, rows of the control interface" {
    replay fuzz-report "$top_srcdir/tests/fuzz/corpus/report"
}

@test "libvirt's XML: the corpus" {
    replay fuzz-virt "$top_srcdir/tests/fuzz/corpus/virt"
}

@test "journals of baselines, files of block digests, and each with a byte changed or cut off" {
    cd "$BATS_TEST_TMPDIR"
    mkdir seeds
    python3 - "$top_srcdir/tests/fuzz/corpus/baseline" <<'END'
import os, sys
for name in os.listdir(sys.argv[1]):
    data = open(os.path.join(sys.argv[1], name), "rb").read()
    for place in range(0, len(data), max(1, len(data) // 300)):
        for kind, changed in (("flip", data[:place] + bytes([data[place] ^ 1]) + data[place + 1:]), ("cut", data[:place])):
            with open(f"seeds/{name}-{kind}-{place}", "wb") as file:
                file.write(changed)
END
    replay fuzz-baseline "$top_srcdir/tests/fuzz/corpus/baseline" seeds
}

@test "archives of evidence: the corpus, each with bytes changed, and cut off" {
    cd "$BATS_TEST_TMPDIR"
    mkdir seeds
    python3 - "$top_srcdir/tests/fuzz/corpus/bundle" <<'END'
import os, sys
for name in os.listdir(sys.argv[1]):
    data = open(os.path.join(sys.argv[1], name), "rb").read()
    for place in range(0, len(data), max(1, len(data) // 300)):
        changed = bytearray(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:])
        # with a header's sum that is right again
        header = place // 512 * 512
        if changed[header + 257:header + 262] == b"ustar":
            changed[header + 148:header + 156] = b"%06o\0 " % sum(changed[header:header + 148] + b" " * 8 + changed[header + 156:header + 512])
        for kind, seed in (("flip", changed), ("cut", data[:place])):
            with open(f"seeds/{name}-{kind}-{place}", "wb") as file:
                file.write(seed)
END
    replay fuzz-bundle "$top_srcdir/tests/fuzz/corpus/bundle" seeds
}

@test "catalogues: a list of each form, each with bytes changed, and cut off" {
    cd "$BATS_TEST_TMPDIR"
    mkdir seeds
    python3 - "$top_srcdir/tests/fuzz/corpus/catalogue" <<'END'
import os, sys
for name in os.listdir(sys.argv[1]):
    data = open(os.path.join(sys.argv[1], name), "rb").read()
    for place in range(0, len(data), max(1, len(data) // 300)):
        for kind, seed in (("flip", data[:place] + bytes([data[place] ^ 1]) + data[place + 1:]), ("cut", data[:place]),
                           ("quote", data[:place] + b'"' + data[place:])):
            with open(f"seeds/{name}-{kind}-{place}", "wb") as file:
                file.write(seed)
END
    replay fuzz-catalogue "$top_srcdir/tests/fuzz/corpus/catalogue" seeds
}
