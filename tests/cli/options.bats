#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The options and verbs of both programs are the same in --help and in the manual; completions.bats looks at completions.
bats_require_minimum_version 1.5.0

need() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

help_options() { "$1" --help | grep -oE '(^|[ ,])--[a-z][a-z-]*' | tr -d ' ,' | sort -u; }

# From the list of options alone, not from what is said about others elsewhere.
manual_options() {
    sed 's/\\-/-/g' "$top_srcdir/man/$1" | sed -n 's/^\.It Fl .*/&/p' | grep -oE 'Fl -[a-z][a-z-]*' | sed 's/^Fl -/--/' |
        sort -u
}

compare() { # PROGRAM MANUAL
    help_options "$1" >"$BATS_TEST_TMPDIR/help"
    manual_options "$2" >"$BATS_TEST_TMPDIR/manual"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/help")" -ge 5 ]
    diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/manual"
}

@test "qcauditctl's options" { compare qcauditctl qcauditctl.1; }

@test "qcauditd's options" { compare qcauditd qcauditd.8; }

@test "qcauditctl's verbs" {
    qcauditctl --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' | sort >"$BATS_TEST_TMPDIR/help"
    sed -n 's/^\.It Cm \([a-z\\-]*\).*/\1/p' "$top_srcdir/man/qcauditctl.1" | tr -d '\\' | sort >"$BATS_TEST_TMPDIR/manual"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/help")" -ge 10 ]
    diff "$BATS_TEST_TMPDIR/help" "$BATS_TEST_TMPDIR/manual"
}

@test "every verb has a help" {
    for verb in $(qcauditctl --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'); do
        run -0 qcauditctl "$verb" --help
        [[ $output == "qcauditctl [OPTION...] $verb"* ]]
    done
}

@test "an option that means nothing to the verb is refused, by both" {
    run -10 qcauditctl status --wait
    [[ $output == *"--wait means nothing to 'status'"* ]]
    run -1 qcauditctl explain --severity=error
    run -10 qcauditctl --no-such-option
    run -10 qcauditctl no-such-verb
    [[ $output == *"no verb 'no-such-verb'"* ]]
    run ! qcauditd --no-such-option
}

@test "bad values are refused, with what is allowed" {
    for option in --json=xml --severity=fatal --state=closed --format=vhdx --lines=0 --lines=-1 --lines=x \
        --since=soon --until=2026-13-01; do
        verb=findings trouble=10
        case $option in --format=*) verb=images trouble=1 ;; --since=* | --until=*) verb=history trouble=1 ;; esac
        run "-$trouble" qcauditctl "$verb" "$option"
        [[ $output == "${option%%=*}="*": "* ]]
    done
    run -1 qcauditctl pause pool --for=0
    run -1 qcauditctl pause pool --for=1h --until=+1h
    run -1 qcauditctl pause pool --until=@0
    [[ "$output" == *"--until is over already."* ]]
    run -1 qcauditctl ack 1
    [[ $output == *--reason* ]]
    run -1 qcauditctl ack one --reason=x
    run -1 qcauditctl show
    run -10 qcauditctl status too many
}

@test "help fits 80 columns, and what verbs and options do begins in one of them" {
    local verb
    run -0 qcauditctl --help
    [ -z "$(awk 'length > 80' <<<"$output")" ]
    # Each line of the two lists: two blanks, a name of at most 25 columns, a blank, a text; or one of the two alone.
    [ -z "$(sed -n '/^Verbs:/,/^'\''/p' <<<"$output" | grep -vE '^(Verbs:|Options:|'\''.*|)$' |
        grep -vE '^  .{25} [^ ]|^  [a-z][^ ].{24,}$|^ {28}[^ ]')" ]
    for verb in $(sed -n '/^Verbs:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p' <<<"$output"); do
        qcauditctl "$verb" --help | awk 'length > 80' | { ! grep . ; }
    done
}

@test "qcauditctl's manual has no fault" {
    need man
    MANWIDTH=78 LC_ALL=C.UTF-8 man --warnings=w -l "$top_srcdir/man/qcauditctl.1" >/dev/null 2>"$BATS_TEST_TMPDIR/faults"
    diff /dev/null "$BATS_TEST_TMPDIR/faults"
    command -v mandoc >/dev/null || skip "mandoc is not installed"
    run mandoc -T lint -W warning "$top_srcdir/man/qcauditctl.1"
    [ -z "$(grep -v 'outdated mandoc.db' <<<"$output")" ]
}
