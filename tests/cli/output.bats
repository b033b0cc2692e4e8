#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What qcauditctl's screens look like: 80 columns, colours, JSON, hostile names, no daemon, --offline.
bats_require_minimum_version 1.5.0
load ../integration/lib

setup() {
    need qemu-img qemu-io jq python3 script
    qcaudit_setup
    export LC_ALL=C.UTF-8
    cd "$DIR" || return 1
}
teardown() { qcaudit_teardown; }

# on_terminal COMMAND...: its output on a terminal of $WIDTH columns (80), without carriage returns.
on_terminal() {
    local line
    printf -v line '%q ' "$@"
    TERM=xterm script -qec "stty cols ${WIDTH:-80} rows 24; $line" /dev/null </dev/null | tr -d '\r'
}
screen() { on_terminal timeout 60 qcauditctl --socket "$RUN/control" --no-pager "$@"; }

fill() {
    mkdir "$STORE/a-folder-with-a-long-name" "$STORE/other"
    local folder=$STORE/a-folder-with-a-long-name i
    make_image "$folder/disk.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b disk.qcow2 "$folder/disk.snap-01.qcow2"
    for ((i = 2; i <= 40; i++)); do
        qemu-img create -q -f qcow2 -F qcow2 -b "$(printf 'disk.snap-%02d.qcow2' $((i - 1)))" \
            "$folder/$(printf 'disk.snap-%02d.qcow2' "$i")"
    done
    make_image "$STORE/other/bad.qcow2"
    break_image "$STORE/other/bad.qcow2"
    HOSTILE=$STORE/other/$'evil\e[2J\n\xff.qcow2'
    make_image "$STORE/other/leak.qcow2"
    leak_image "$STORE/other/leak.qcow2"
    mv "$STORE/other/leak.qcow2" "$HOSTILE"
}

@test "every screen fits 80 columns, and no control character of a name gets there" {
    fill
    start_daemon
    scan
    export NO_COLOR=1
    for verb in status findings images history "chain disk.snap-40.qcow2" "chain disk.qcow2" explain; do
        # shellcheck disable=SC2086
        screen $verb >screen
        [ -s screen ]
        python3 -B -c '
import sys
for line in open("screen", encoding="utf-8"):
    text = line.rstrip("\n")
    assert len(text) <= 80, (len(text), text)
    assert all(c >= " " for c in text), text' || { echo "$verb"; cat -v screen; return 1; }
    done
    screen findings | grep -F 'evil\x1b[2J\n\xff.qcow2'
    # the signs that are there are explained, and no others
    screen images >screen
    grep -E '^warning\+ ' screen
    grep -xF '"+": the worst of several findings.' screen
    grep -xF '43 images; "(+N)": layers that snapshots left behind.' screen
    screen images "$STORE/a-folder-with-a-long-name/disk.qcow2" | grep -xF '1 image.'
    # a long chain: one line each
    [ "$(screen chain disk.snap-40.qcow2 | grep -cE '^ *[0-9]+ .* disk(.snap-[0-9]+)?.qcow2')" = 41 ]
}

@test "what is wrong can be read to its end at any width, and beside the name where there is room" {
    fill
    start_daemon
    scan
    export NO_COLOR=1
    ctl findings --json=short >findings.json
    for WIDTH in 80 120 250; do
        for verb in findings status; do
            screen "$verb" >screen
            python3 -B -c '
import json, sys
width, beside = int(sys.argv[1]), 0
lines = open("screen", encoding="utf-8").read().split("\n")
whole = " ".join(" ".join(lines).split())
for finding in json.load(open("findings.json")):
    assert finding["summary"] in whole, finding["summary"]
    beside += any(finding["name"] in line and finding["summary"] in line for line in lines)
assert all(len(line) <= width for line in lines)
assert beside == 0 if width == 80 else beside >= 3 if width == 250 else True, beside' "$WIDTH" || { echo "$WIDTH"; cat -v screen; return 1; }
        done
    done
}

@test "show says what is wrong, since when, and what to do" {
    fill
    start_daemon
    scan
    id=$(ctl findings --name=metadata-corrupt --json=short | jq '.[0].id')
    run -0 ctl show "$id"
    [[ $output == *"metadata-corrupt (finding $id)"* ]]
    [[ $output == *"What to do"*"Evidence"*"What it means"* ]]
    [[ $output == *"out-of-file"* ]]
    run -0 ctl show other/bad.qcow2
    [[ $output == *"qcow2 version 3"*"metadata-corrupt"* ]]
    run -1 ctl show 999999
    [[ $output == *"no finding 999999"* ]]
    run -1 ctl show nowhere.qcow2
    [[ $output == *"Neither an image nor a domain nowhere.qcow2 is known"* ]]
}

@test "colours only where they are wanted" {
    fill
    start_daemon
    scan
    screen findings | grep -q $'\e\['
    run ! grep -q $'\e' <(NO_COLOR=1 screen findings)
    run ! grep -q $'\e' <(ctl findings)
    SYSTEMD_COLORS=1 ctl findings | grep -q $'\e\['
    run ! grep -q $'\e' <(TERM=dumb script -qec "qcauditctl --socket $RUN/control --no-pager findings" /dev/null </dev/null)
}

@test "JSON is valid, whatever the names are" {
    fill
    start_daemon
    scan
    for mode in short pretty; do
        for verb in status findings images history "chain disk.snap-40.qcow2" "show other/bad.qcow2" explain; do
            # shellcheck disable=SC2086
            ctl --json="$mode" $verb >out.json
            jq -e . out.json >/dev/null
            run ! grep -qP '[\x00-\x09\x0b-\x1f\x7f]' out.json
        done
    done
    # a path that is no UTF-8 is an array of its bytes
    ctl --json=short images >out.json
    [ "$(jq -r '[.[] | .path | select(type == "array")] | length' out.json)" = 1 ]
    printf '%s' "$HOSTILE" | od -An -v -tu1 | tr -s ' \n' '\n' | grep . | jq -cs . >expected
    jq -c '.[] | .path | select(type == "array")' out.json | diff - expected
    [ "$(ctl --json=short findings --severity=critical | jq -r '.[].name' | sort -u)" = metadata-corrupt ]
}

@test "filters" {
    fill
    start_daemon
    scan
    [ "$(ctl --no-legend findings --path "$STORE/other" --severity=critical | wc -l)" = 1 ]
    [ "$(ctl --no-legend findings --name=chain-deep | wc -l)" = 1 ]
    [ "$(ctl --json=short findings --state=acknowledged)" = '[]' ]
    id=$(ctl findings --name=chain-deep --json=short | jq '.[0].id')
    ctl ack "$id" --reason="kept for the auditors" --for=7d
    [ "$(ctl --json=short findings --state=acknowledged | jq -r '.[0]."acknowledged-reason"')" = "kept for the auditors" ]
    run -10 ctl findings --name=no-such-finding
    run -0 ctl findings --path /nowhere
    [ "$output" = "Nothing found." ]
}

@test "scan --wait tells by its status whether something bad was found" {
    start_daemon
    scan
    make_image "$STORE/good.qcow2"
    run -0 ctl scan --wait "$STORE/good.qcow2"
    [[ $output == "Scan complete: "* ]]
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    run -2 ctl scan --wait
    [[ $output == *"New findings: "*critical* ]]
}

@test "no daemon: what is missing, and what to do" {
    run -10 ctl status
    [[ $output == *"qcauditd is not running (socket $RUN/control: "*"systemctl start qcauditd"*"--offline"* ]]
}

@test "one is said as one" {
    qemu-img create -q -f qcow2 "$STORE/a.qcow2" 1M
    qemu-img create -q -f qcow2 -F qcow2 -b a.qcow2 "$STORE/b.qcow2"
    leak_image "$STORE/a.qcow2" 1
    start_daemon
    scan
    run -0 ctl status
    [[ $output == *"; 1 chain"* && $output != *"1 chains"* ]]
    run -0 ctl show a.qcow2
    [[ $output == *"0 corruptions, 1 leaked cluster, 0 check errors"* ]]
    grep -q "Pass complete: 2 images audited" "$LOG"
    for verb in status findings images domains "chain b.qcow2" "show b.qcow2" "show 1"; do
        # shellcheck disable=SC2086
        ctl $verb >screen
        ! grep -nE '(^|[^0-9.])1 [a-z]*(clusters|layers|images|chains|findings|overlays|domains|volumes|errors|files|datastores|snapshots)([^a-z]|$)' screen || return 1
    done
}

@test "--offline reads the database, but not a running daemon's" {
    fill
    start_daemon
    scan
    ctl --json=short findings | jq -c '[.[] | [.id, .name, .severity, .state, .summary]] | sort' >online
    run -10 ctl --offline --state-directory "$STATE" findings
    [[ $output == *"qcauditd is running"* ]]
    stop_daemon
    ctl --offline --state-directory "$STATE" --json=short findings | jq -c '[.[] | [.id, .name, .severity, .state, .summary]] | sort' >offline
    diff online offline
    run -0 ctl --offline --state-directory "$STATE" status
    [[ $output == *"not running"*metadata* || $output == *"not running"*critical* ]]
    run -0 ctl --offline --state-directory "$STATE" images
    [[ $output == *disk.snap-40.qcow2* ]]
    run -0 ctl --offline --state-directory "$STATE" history
    [[ $output == *opened* ]]
    run -1 ctl --offline --state-directory "$STATE" chain disk.qcow2
    run -10 ctl --offline --state-directory "$DIR/none" findings
    # What is no file is said, not waited for.
    mkdir "$DIR/none"
    mkfifo "$DIR/none/qcaudit.db"
    run -10 ctl --offline --state-directory "$DIR/none" findings
    [[ $output == *"not a regular file"* ]]
}

# Hands on what is said on a socket, and writes down each question.
listen_in() { # LISTEN TARGET FILE
    python3 -c '
import re, socket, sys, threading

def carry(source, target, file):
    while data := source.recv(65536):
        for name in re.findall(rb"(?:Get|List|Find)[A-Z][a-z]+", data) if file else []:
            print(name.decode(), file=file, flush=True)
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(16)
file = open(sys.argv[3], "a")
while True:
    client = server.accept()[0]
    behind = socket.socket(socket.AF_UNIX)
    behind.connect(sys.argv[2])
    threading.Thread(target=carry, args=(client, behind, file), daemon=True).start()
    threading.Thread(target=carry, args=(behind, client, None), daemon=True).start()
' "$@" 3>&- 4>&- &
    LISTENER=$!
    wait_for 20 test -S "$1"
}

@test "show asks the daemon once, whatever the image is called" {
    local name
    make_image "$STORE/disk.qcow2"
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    start_daemon
    scan
    listen_in "$DIR/heard" "$RUN/control" "$DIR/questions"
    for name in "$STORE/disk.qcow2" disk.qcow2 "$STORE/./bad.qcow2"; do
        : >"$DIR/questions"
        run -0 qcauditctl --socket "$DIR/heard" show "$name"
        [[ $output == *"$STORE/${name##*/}"*"Format"* ]]
        [ "$(cat "$DIR/questions")" = FindImage ]
    done
    [[ $output == *"What to do"* ]]
    : >"$DIR/questions"
    run -1 qcauditctl --socket "$DIR/heard" show nothing
    [[ $output == *"Neither an image nor a domain nothing is known"* ]]
    [ "$(cat "$DIR/questions")" = FindImage ]
    # What a link leads to is asked for when its own path is not known.
    ln -s "$STORE/disk.qcow2" "$DIR/link"
    run -0 qcauditctl --socket "$DIR/heard" show "$DIR/link"
    [[ $output == *"$STORE/disk.qcow2"* ]]
    kill "$LISTENER"
}
