#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What configure found the compiler to have against attacks is in the programs.
bats_require_minimum_version 1.5.0

need() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

# made NAME: the value that configure gave it.
made() { sed -n "s/^$1 = //p" "$top_builddir/lib/Makefile"; }

# programs: each program and the library as they lie in the tree, behind libtool's scripts.
programs() {
    local name
    for name in daemon/qcauditd ctl/qcauditctl helpers/qcaudit-worker helpers/qcaudit-files helpers/qcaudit-checker; do
        if [ -x "$top_builddir/${name%/*}/.libs/${name##*/}" ]; then
            echo "$top_builddir/${name%/*}/.libs/${name##*/}"
        else
            echo "$top_builddir/$name"
        fi
    done
    find "$top_builddir/lib/.libs" -name 'libqcaudit.so.*.*.*'
}

@test "every function is bound at the start, and what binds them is read-only from then on" {
    need readelf
    [[ $(made QCA_LDFLAGS) == *-z,relro*-z,now* ]] || skip "the linker has it not"
    [ "$(programs | wc -l)" = 6 ]
    while read -r program; do
        readelf -dW "$program" | grep -qE 'BIND_NOW|FLAGS_1.* NOW' || { echo "$program: not bound"; return 1; }
        readelf -lW "$program" | grep -q GNU_RELRO || { echo "$program: no relro"; return 1; }
    done < <(programs)
}

@test "the C library's checks of sizes are called" {
    need readelf
    [[ $(made QCA_CPPFLAGS) == *_FORTIFY_SOURCE=[23]* ]] || skip "without optimization, or defined by the user"
    while read -r program; do
        readelf --dyn-syms -W "$program" | grep -qE ' UND __[a-z]+_chk' || { echo "$program: none is"; return 1; }
    done < <(programs)
}

@test "what may be jumped to is marked, in each program" {
    need objdump
    [[ $(made QCA_CFLAGS) == *-fcf-protection* ]] || skip "not for this processor"
    while read -r program; do
        objdump -d --no-show-raw-insn "$program" >"$BATS_TEST_TMPDIR/code"
        # one for the program's start is the C library's own
        [ "$(grep -cE '\sendbr(32|64)' "$BATS_TEST_TMPDIR/code")" -gt 20 ] || { echo "$program: is not"; return 1; }
    done < <(programs)
}

# flags_with ARGUMENT...: the flags that a configure with these arguments chooses. What this tree's configure has found out
# of the machine is known to it; all that it finds out of flags is not kept in a cache, and is found out anew. No files are made.
flags_with() {
    rm -rf "$BATS_TEST_TMPDIR/build"
    mkdir "$BATS_TEST_TMPDIR/build"
    sed -n 's/^\([a-z_]*_cv_[a-zA-Z0-9_]*\)=/\1=/p' "$top_builddir/config.log" |
        grep -v '^ac_cv_env_' >"$BATS_TEST_TMPDIR/build/known"
    [ -s "$BATS_TEST_TMPDIR/build/known" ] || { echo "config.log has no results"; return 1; }
    (cd "$BATS_TEST_TMPDIR/build" && "$top_srcdir/configure" -q --cache-file=known --no-create "$@" >configure.out 2>&1) ||
        { cat "$BATS_TEST_TMPDIR/build/configure.out"; return 1; }
    grep -E "^QCA_(CPPFLAGS|CFLAGS|LDFLAGS)='" "$BATS_TEST_TMPDIR/build/config.log"
}

@test "configure leaves out what would warn, and what the user said already" {
    [ -x "$top_srcdir/configure" ] && [ ! -e "$top_srcdir/config.status" ] || skip "built inside the sources"
    run -0 flags_with CFLAGS=-O0
    [[ $output != *_FORTIFY_SOURCE* ]]
    [[ $output == *QCA_CPPFLAGS=*-D_GNU_SOURCE* && $output == *QCA_CFLAGS=*-Wall* && $output == *QCA_LDFLAGS=* ]]
    run -0 flags_with CFLAGS=-O2 CPPFLAGS=-D_FORTIFY_SOURCE=2
    [[ $output != *_FORTIFY_SOURCE* ]]
    run -0 flags_with --enable-sanitizers CFLAGS=-O1
    [[ $output != *_FORTIFY_SOURCE* && $output != *-ftrivial-auto-var-init* ]]
}
