#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What bash, zsh and fish complete: verbs, the options of each verb, values, and what the daemon knows.
bats_require_minimum_version 1.5.0
load ../integration/lib

setup() { cd "$BATS_TEST_TMPDIR" || return 1; }
teardown() { if [ -n "${DIR-}" ]; then qcaudit_teardown; fi; }

# in_SHELL WORD...: what is offered for the last word, sorted.
in_bash() {
    bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _qcauditctl
        printf "%s\n" "${COMPREPLY[@]}"' - "$top_srcdir/completions/qcauditctl" qcauditctl "$@" | grep . | sort -u
}
# compadd is asked for what would be added.
in_zsh() {
    zsh -f -c '
        compadd() {
            local -a plain; local word array= ended=
            while (( $# )); do
                case ${ended:-$1} in
                -a) array=1 ;;
                -X | -S) shift ;;
                --) ended=word ;;
                *) if [[ -n $array ]]; then plain+=(${(P)1}); else plain+=($1); fi ;;
                esac
                shift
            done
            for word in $plain; do [[ $word == $PREFIX* ]] && print -r -- $word; done
        }
        compset() { PREFIX=${PREFIX#*=}; }
        _files() { :; }
        file=$1; shift
        words=("$@"); CURRENT=$#; PREFIX=$words[CURRENT]
        functions[_complete_qcauditctl]="$(<$file)"
        _complete_qcauditctl' - "$top_srcdir/completions/_qcauditctl" qcauditctl "$@" | sort -u
}
in_fish() {
    fish --no-config -c 'source $argv[1]; complete -C "$argv[2]"' "$top_srcdir/completions/qcauditctl.fish" "qcauditctl $*" |
        cut -f 1 | sort -u
}

verbs() { qcauditctl --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' | sort; }
options() { qcauditctl "$@" --help | grep -oE '^  .. --[a-z-]+=?' | sed 's/.* //' | sort; }

each_shell() { # COMMAND...: with $SHELL_HERE, in each that is installed
    local n=0
    for SHELL_HERE in bash zsh fish; do
        command -v "$SHELL_HERE" >/dev/null || { echo "# $SHELL_HERE is not installed" >&3; continue; }
        "$@" || { echo "in $SHELL_HERE"; return 1; }
        n=$((n + 1))
    done
    [ "$n" -gt 0 ]
}
offers() { # EXPECTED WORD...
    diff <(grep . <<<"$1") <("in_$SHELL_HERE" "${@:2}")
}

@test "verbs" {
    [ "$(verbs | wc -l)" -gt 15 ]
    each_shell offers "$(verbs)" ""
    each_shell offers findings fin
}

@test "the options of each verb, and no other" {
    for verb in $(verbs); do
        [ "$(options "$verb" | wc -l)" -ge 6 ]
        each_shell offers "$(options "$verb")" "$verb" --
    done
    each_shell offers --severity= findings --sev
    # fish offers what has these letters somewhere, too.
    no_other() { ! in_"$SHELL_HERE" explain --sev | grep -q -- --severity; }
    each_shell no_other
}

@test "values" {
    words() { in_"$SHELL_HERE" explain chain-d | grep -qx chain-deep; }
    each_shell words
    values() {
        if [ "$SHELL_HERE" = bash ]; then offers critical findings --severity = cr
        elif [ "$SHELL_HERE" = fish ]; then offers --severity=critical findings --severity=cr
        else offers critical findings --severity=cr; fi
    }
    each_shell values
}

@test "known images, by path and by name, and the numbers of findings" {
    need qemu-img qemu-io python3 jq
    qcaudit_setup
    make_image "$STORE/web.qcow2"
    make_image "$STORE/leaked.qcow2"
    leak_image "$STORE/leaked.qcow2" 24
    start_daemon
    scan
    export QCAUDIT_SOCKET=$RUN/control
    id=$(ctl findings --json=short --name=clusters-leaked | jq '.[0].id')
    ctl mute --path=/nowhere --forever --reason=x
    known() {
        in_"$SHELL_HERE" show we | grep -qx web.qcow2 && in_"$SHELL_HERE" unmute "" | grep -qx 1 && in_"$SHELL_HERE" show "$STORE/we" | grep -qx "$STORE/web.qcow2" &&
            in_"$SHELL_HERE" ack "" | grep -qx "$id"
    }
    each_shell known
}
