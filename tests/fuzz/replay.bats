#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The corpora through the fuzz harnesses: none may crash, hang or complain.
bats_require_minimum_version 1.5.0

# replay HARNESS DIR...: no less than one input each.
replay() {
    local harness=$top_builddir/tests/fuzz/$1
    shift
    run -0 timeout 300 "$harness" "$@"
    echo "$output"
    [ "${output##*$'\n'}" != "0 inputs" ]
}

@test "images: every named one, and what broke earlier" {
    command -v qemu-img >/dev/null || skip "qemu-img is not installed"
    "$top_srcdir/tests/images/generate" "$BATS_TEST_TMPDIR"
    replay fuzz-image "$BATS_TEST_TMPDIR"
    [ ! -d "$top_srcdir/tests/fuzz/corpus/image" ] || replay fuzz-image "$top_srcdir/tests/fuzz/corpus/image"
}

@test "configurations" {
    replay fuzz-config "$top_srcdir/tests/fuzz/corpus/config"
}
