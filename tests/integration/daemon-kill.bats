#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# SIGKILL at any moment: a few rounds here, more by hand with kill-rounds.
load lib

@test "killed 8 times during passes over 60 images: nothing lost, nothing damaged" {
    need qemu-img qemu-io python3 sqlite3
    run -0 "$top_srcdir/tests/integration/kill-rounds" 8 60
    echo "$output"
}
