#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The makers of the large images and the program around them, in small.
bats_require_minimum_version 1.5.0

setup() {
    DIR=$BATS_TEST_TMPDIR
    TOOLS=${top_builddir:?set by make check}/tests/bench
    command -v qemu-img >/dev/null || skip "qemu-img is not installed"
}

@test "preallocated images are clean, fully allocated and the same every time" {
    "$TOOLS/make-image" preallocated "$DIR/a" 2560
    "$TOOLS/make-image" preallocated "$DIR/b" 2560
    cmp "$DIR/a" "$DIR/b"
    run -0 qemu-img check "$DIR/a"
    [[ $output = *"40960/40960 = 100.00% allocated, 0.00% fragmented"* ]]
}

@test "permuted images have the leaks that were asked for, and nothing else wrong" {
    "$TOOLS/make-image" permuted "$DIR/a" 2560 37
    run -3 qemu-img check --output=json "$DIR/a"
    [[ $output = *'"leaks": 37'* ]]
    [[ $output != *corruptions* ]]
    [[ $output = *'"allocated-clusters": 40960'* ]]
    run -3 qcauditctl check --json=short "$DIR/a"
    run -3 qcauditctl check --json=short --scalar "$DIR/a"
}

@test "a check says the same with any number of threads, and with as many as are worth it" {
    "$TOOLS/make-image" preallocated "$DIR/a" 262144
    "$TOOLS/make-image" permuted "$DIR/b" 2560 37
    python3 -B - "$DIR/a" <<'END'
import sys
with open(sys.argv[1], "r+b") as file:      # the last L2 table that it reads ahead of, and a refcount block
    for offset in (3 << 16, 5 << 16, (32768 << 16) + 77):
        file.seek(offset)
        file.write(b"\x12\x34\x56\x78\x9a\xbc\xde\xf0" * 3)
END
    for file in a b; do
        run qcauditctl check --json=pretty --threads=1 "$DIR/$file"
        one=$status,$output
        for threads in --threads=2 --threads=3 --threads=4 --threads=16 ""; do
            run qcauditctl check --json=pretty $threads "$DIR/$file"
            [ "$status,$output" = "$one" ]
        done
    done
    [[ $one = 3,* ]]
    run -1 qcauditctl check --threads=17 "$DIR/b"
    [[ $output = *"it is 16 at most"* ]]
}

@test "the tools refuse what they do not know" {
    run -2 "$TOOLS/make-image" preallocated "$DIR/a"
    run -1 "$TOOLS/drop-cache" "$DIR/none"
    run -1 "$TOOLS/read-tables" "$DIR/none"
    run -1 "$TOOLS/open-chain" "$DIR/none"
    run -1 "$TOOLS/walk-tree" "$DIR/none"
}

@test "a command's time, memory and status are measured, with those it leaves behind" {
    run -0 "$TOOLS/measure" sh -c 'sh -c "exit 0" & exit 3'
    [[ $output = '{"seconds": '*'"status": 3}' ]]
}

@test "all works run and are written as a table and as JSON" {
    cd "$DIR"
    BENCH_DIR=$DIR/images BENCH_TOOLS=$TOOLS run -0 python3 -B "${top_srcdir:?}/tests/bench/bench.py" --quick --runs=1
    [[ $output = *"permuted, warm, QEMU's caches tuned"* ]]
    run -0 python3 -B -c '
import json
rows = json.load(open("bench.json"))["rows"]
assert len(rows) == 43, len(rows)
for row in rows:
    assert row["ours"]["peak-kib"] > 0 and row["ours"]["seconds"] > 0, row
    assert ("empty" in row["work"]) == ("theirs" not in row), row
    assert "theirs" not in row or (row["ratio"] > 0 and row["theirs"]["seconds"] > 0), row
'
}

@test "a work that there is not is named" {
    BENCH_DIR=$DIR/images run -2 python3 -B "${top_srcdir:?}/tests/bench/bench.py" prealloc9t
    [[ $output = *prealloc9t* ]]
}
