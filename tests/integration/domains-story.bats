#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A running domain, snapshots by a loop, never consolidated: what is found, and how all of it resolves by the commands that
# are printed.
load lib
load domains

setup() {
    # A loop of a test takes them faster than any cron job: seconds are a rhythm here.
    domains_setup 'thresholds:' '  snapshot-runaway: {least: 1s, tolerance: 100%}' '  snapshot-unmanaged: {after: 1s}' \
        '  chain-deep: {warning: 5, error: 25}' '  orphan: {after: 1h}'
}
teardown() {
    [ -z "${SLOW-}" ] || kill "$SLOW"
    domains_teardown
}

LAYERS=${QCAUDIT_STORY_LAYERS:-12}      # 60 for the whole story, which takes two minutes

# With QCAUDIT_STORY_SHOW=1 the story is told as an administrator reads it.
told() { # COMMAND...
    [ -z "${QCAUDIT_STORY_SHOW-}" ] || { echo; echo "\$ qcauditctl $*"; ctl "$@" | cut -c 1-200; } | sed 's/^/# /' >&3
}

@test "the story: snapshots in a loop, nobody consolidates; the commands printed end all of it" {
    make_image "$STORE/web.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/web.qcow2")"
    start web
    start_daemon
    for ((i = 1; i <= LAYERS; i++)); do
        snapshot web "s$i"
        guest_write web vda "write -P $((i % 250)) $((i % 32 * 64))k 64k"
        next_second     # times of snapshots are in seconds
        [ "$i" != $((LAYERS * 3 / 4)) ] || told findings
    done
    # It is taken to have ended ten layers later.
    wait_for 60 has_finding "snapshot-runaway error web.qcow2"
    id=$(finding snapshot-runaway web.qcow2)
    wait_for 60 has_finding "chain-deep"
    [ "$(evidence "$id" dates-from)" = libvirt ]
    [ "$(evidence "$id" interval-seconds)" -ge 1 ]
    [ "$(evidence "$id" limit-reached-at)" -gt 0 ]
    told findings
    told show "$id"
    # As long as libvirt knows the snapshots, they are explained.
    has_no_finding snapshot-unmanaged
    run -0 ctl domains
    [[ $output == *"paused"*"$((LAYERS + 1)) (+$LAYERS)"*"web"* ]]
    run -0 ctl chain web:vda
    [[ $output == *"vda of web, in use"* ]]
    [[ $output == *"snapshot s1"* ]]
    run -0 ctl show web
    [[ $output == *"Snapshots: s1, external"* ]]
    run -0 ctl images --domain web --json=short
    [ "$(python3 -c 'import json, sys; print(len(json.loads(sys.argv[1])))' "$output")" = $((LAYERS + 1)) ]

    # The script that made them deletes its traces: the layers stay.
    for ((i = 1; i <= LAYERS; i++)); do v snapshot-delete web "s$i" --metadata >/dev/null; done
    wait_for 60 has_finding "snapshot-unmanaged warning web.qcow2"
    id=$(finding snapshot-unmanaged web.qcow2)
    # It is found while the script is at it still.
    wait_for 60 eval '[ "$(evidence "$id" unmanaged)" = "$LAYERS" ]'
    [ "$(evidence "$id" domain)" = web ]
    [ "$(evidence "$id" disk)" = vda ]
    told findings
    told show "$(finding chain-deep web.qcow2)"

    # To the letter.
    remedy chain-deep web.qcow2
    [[ $(cat "$DIR/remedy.sh") == *"blockcommit web vda --base $STORE/web.qcow2 --active --pivot"* ]]
    [ "$(v domblklist web | awk '/vda/ {print $2}')" = "$STORE/web.qcow2" ]
    wait_for 60 resolved chain-deep
    wait_for 60 resolved snapshot-runaway
    wait_for 60 resolved snapshot-unmanaged
    scan
    rm -f "$STORE"/web.s*
    scan
    told findings
    told chain web
    same "" "$(findings)"
    # And everything the guest wrote is there.
    v destroy web
    wait_for 30 image_is_offline web.qcow2
    same "" "$(findings)"
    holds $((LAYERS % 250)) $((LAYERS % 32 * 64))k 64k "$STORE/web.qcow2"
}

image_is_offline() { # the audit that a domain's end asks for was made
    [ "$(ctl images "$STORE/$1" --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["confidence"])')" = offline ]
}

@test "a layer that no snapshot explains, by its own remedy" {
    make_image "$STORE/web.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/web.qcow2")"
    start web
    start_daemon
    scan
    snapshot web s1
    guest_write web vda "write -P 8 1M 64k"
    scan
    nothing_left
    v snapshot-delete web s1 --metadata >/dev/null
    wait_for 60 has_finding "snapshot-unmanaged warning web.qcow2"
    remedy snapshot-unmanaged web.qcow2
    rm "$STORE/web.s1"          # "... delete it once the domain has run well."
    wait_for 60 resolved snapshot-unmanaged
    nothing_left
    v destroy web
    holds 8 1M 64k "$STORE/web.qcow2"
}

@test "layers that appear at a rhythm, by their own remedy" {
    make_image "$STORE/web.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/web.qcow2")"
    start web
    start_daemon
    for i in 1 2 3 4; do
        snapshot web "s$i"
        next_second     # times of snapshots are in seconds
    done
    wait_for 60 has_finding "snapshot-runaway error web.qcow2"
    has_no_finding chain-deep
    # The job is found and stopped; the rest to the letter.
    run -0 steps "$(finding snapshot-runaway web.qcow2)"
    [[ ${lines[0]} == "First find the job that takes the snapshots, and stop it." ]]
    remedy snapshot-runaway web.qcow2
    wait_for 60 resolved snapshot-runaway
    same "" "$(v snapshot-list web --name)"
    rm "$STORE"/web.s*
    scan
    nothing_left
}

screen() { # COLUMNS VERB...: as on a terminal
    local columns=$1
    shift
    COLUMNS=$columns NO_COLOR=1 TERM=dumb LC_ALL=C.UTF-8 script -qec \
        "stty cols $columns; qcauditctl --socket '$RUN/control' --no-pager $*" /dev/null </dev/null | tr -d '\r'
}

@test "the screens fit 80 and 120 columns" {
    need script
    make_image "$STORE/web.qcow2"
    own "$STORE"/*
    define "a-domain-with-a-rather-long-name-as-they-are-made-by-machines-0001" "$(disk_xml "$STORE/web.qcow2")"
    start a-domain-with-a-rather-long-name-as-they-are-made-by-machines-0001
    for i in 1 2 3 4 5 6; do snapshot a-domain-with-a-rather-long-name-as-they-are-made-by-machines-0001 "s$i"; done
    start_daemon
    scan
    wait_for 30 has_finding "chain-deep"
    for columns in 80 120; do
        for verb in domains images "images --orphan" findings "chain a-domain-with-a-rather-long-name-as-they-are-made-by-machines-0001:vda"; do
            # shellcheck disable=SC2086
            screen "$columns" $verb >"$DIR/screen"
            [ -s "$DIR/screen" ]
            python3 -B -c '
import sys
for line in open(sys.argv[1], encoding="utf-8"):
    text = line.rstrip("\n")
    assert len(text) <= int(sys.argv[2]), (len(text), text)' "$DIR/screen" "$columns" || { echo "$verb"; cat "$DIR/screen"; return 1; }
        done
    done
    screen 120 images | grep -F ROLE
    screen 80 domains | grep -E '^paused .*(\+6).* a-domain'
}

@test "metadata of merged snapshots goes with them" {
    make_image "$STORE/web.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/web.qcow2")"
    start web
    for i in 1 2 3 4 5 6; do snapshot web "s $i"; done
    start_daemon
    scan
    wait_for 30 has_finding "chain-deep warning web.qcow2"
    remedy chain-deep web.qcow2
    same "" "$(v snapshot-list web --name)"
    wait_for 60 resolved chain-deep
    # The merged layers were left. The next start says nothing of them before libvirt had its word.
    stop_daemon
    : >"$LOG"
    "$top_srcdir/tests/integration/slow-socket" "$DIR/slow" "$DIR/lv/sock/libvirt-sock" 0.2 3>&- 4>&- &
    SLOW=$!
    wait_for 5 test -S "$DIR/slow"
    LIBVIRT="{uris: [\"qemu:///session?socket=$DIR/slow\"], poll: 1s}"
    write_config
    start_daemon
    wait_for 30 grep -q "Pass complete" "$LOG"
    grep -q "Connected to libvirt" "$LOG"
    run -1 grep chain-deep "$LOG"
}

@test "a chain of a domain that is shut off goes into its own layer, and the definition with it" {
    make_image "$STORE/web.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/web.qcow2")"
    start web
    for i in 1 2 3 4 5 6; do snapshot web "s$i"; done
    guest_write web vda "write -P 77 1M 64k"
    v destroy web
    start_daemon
    scan
    wait_for 30 has_finding "chain-deep warning web.qcow2"
    remedy chain-deep web.qcow2
    [ "$(v domblklist web | awk '/vda/ {print $2}')" = "$STORE/web.qcow2" ]
    same "" "$(v snapshot-list web --name)"
    holds 77 1M 64k "$STORE/web.qcow2"
    scan "$STORE"
    wait_for 60 resolved chain-deep
    start web
}

@test "a deep chain above a linked clone: the golden image and its other clones stay as they are" {
    make_image "$STORE/golden.qcow2"
    for i in 1 2; do qemu-img create -q -f qcow2 -b golden.qcow2 -F qcow2 "$STORE/clone$i.qcow2"; done
    own "$STORE"/*
    define web "$(disk_xml "$STORE/clone1.qcow2")"
    start web
    for i in 1 2 3 4 5; do snapshot web "s$i"; guest_write web vda "write -P $i ${i}00k 64k"; done
    before=$(sha256sum <"$STORE/golden.qcow2")
    other=$(qcauditctl hash --content "$STORE/clone2.qcow2")
    start_daemon
    scan
    wait_for 30 has_finding "chain-deep warning clone1.qcow2"
    remedy chain-deep clone1.qcow2
    [ "$(v domblklist web | awk '/vda/ {print $2}')" = "$STORE/clone1.qcow2" ]
    [ "$(sha256sum <"$STORE/golden.qcow2")" = "$before" ]
    [ "$(qcauditctl hash --content "$STORE/clone2.qcow2")" = "$other" ]
    wait_for 60 resolved chain-deep
    run -0 ctl show golden.qcow2
    [[ $output == *"Role: golden"* ]]
}
