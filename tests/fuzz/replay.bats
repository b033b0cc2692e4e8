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

@test "configurations" {
    replay fuzz-config "$top_srcdir/tests/fuzz/corpus/config"
}
