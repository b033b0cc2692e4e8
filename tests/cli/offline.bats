#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# --offline answers from the database what the daemon that made it answered.
bats_require_minimum_version 1.5.0
load ../integration/lib

setup() {
    need qemu-img qemu-io jq python3
    qcaudit_setup
    export LC_ALL=C.UTF-8
    cd "$DIR" || return 1
}
teardown() { qcaudit_teardown; }

offline() {
    case " $* " in
    *' findings '* | *' status '*) set -- "$@" --exit-zero ;;
    esac
    timeout 60 qcauditctl --offline --state-directory "$STATE" --no-pager "$@" </dev/null
}

# Each verb that answers both ways, and the documents that it prints.
documents() { # FOLDER COMMAND
    local folder=$1 ask=$2
    mkdir -p "$folder"
    # What the daemon knows of itself and of libvirt is in no database.
    $ask status --json=pretty | jq -S 'del(.started, ."last-pass", ."next-pass", ."workers-running", ."store-waiting")
        | with_entries(select(.key | test("^(pass|scrub|libvirt|pools|disks-outside)") | not))' >"$folder/status"
    # Commands depend on locks, users and room at the moment: what is kept tells where they are told.
    local kept='del(.[].remedy)'
    $ask findings --json=pretty | jq "$kept" >"$folder/findings"
    $ask findings --all --json=pretty | jq "$kept" >"$folder/findings-all"
    $ask findings --severity error --path "$STORE/damaged" --json=pretty | jq "$kept" >"$folder/findings-severe"
    $ask images --json=pretty >"$folder/images"
    $ask images --all --json=pretty >"$folder/images-all"
    $ask images --format raw "$STORE" --json=pretty >"$folder/images-raw"
    $ask images --lines 3 --json=pretty >"$folder/images-3"
    $ask history --json=pretty >"$folder/history"
    $ask history --name chain-deep --json=pretty >"$folder/history-name"
    $ask history "$STORE/golden/debian-12.qcow2" --json=pretty >"$folder/history-image"
    $ask history "$STORE/damaged/bad-pointer.qcow2" --json=pretty >"$folder/history-damaged"
    # An image by the end of its path, by a link to it, by a name that several have, by none.
    $ask history bad-pointer.qcow2 --json=pretty >"$folder/history-end"
    cmp "$folder/history-end" "$folder/history-damaged"
    ln -sfn "$STORE/damaged/bad-pointer.qcow2" "$DIR/link.qcow2"
    $ask history "$DIR/link.qcow2" --json=pretty >"$folder/history-link"
    cmp "$folder/history-link" "$folder/history-damaged"
    ! $ask history twice.qcow2 2>"$folder/twice" || return 1
    grep -q "2 images are called twice.qcow2" "$folder/twice"
    ! $ask history web-1 2>"$folder/none" || return 1
    grep -q "No image web-1 is known" "$folder/none"
}

@test "--offline answers what the daemon answered" {
    "$top_srcdir/tests/images/make-demo-store" "$STORE"
    truncate -s 1M "$STORE/notes.txt"
    qemu-img create -q -f qcow2 "$STORE/golden/twice.qcow2" 1M
    qemu-img create -q -f qcow2 "$STORE/damaged/twice.qcow2" 1M
    start_daemon
    scan
    scan --scrub "$STORE" || :
    qemu-img create -q -f qcow2 "$STORE/late.qcow2" 1M
    rm "$(find "$STORE" -name '*.qcow2' | sort | tail -n 1)"
    scan
    fence_judged
    wait_for 20 at_rest
    documents online ctl
    [ "$(jq length online/images-all)" -gt 5 ]
    [ "$(jq length online/findings)" -gt 2 ]
    stop_daemon
    documents offline offline
    diff -r online offline
}

# Nothing is said of images any more that is not in the database.
at_rest() { same '[0,0]' "$(ctl status --json=short | jq -c '[."workers-running", ."store-waiting"]')"; }

@test "--offline says why it cannot answer" {
    run -10 offline findings
    [[ $output == *"Cannot read the database $STATE/qcaudit.db: No such file"* ]]
    start_daemon
    run -10 offline findings
    [[ $output == *"qcauditd is running and has $STATE"* ]]
    stop_daemon
    run -0 offline findings
    run -1 offline images --format no-such-format
    run -1 offline chain disk.qcow2
    cp -r "$STATE" "$DIR/newer"
    python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version = 999")' "$DIR/newer/qcaudit.db"
    STATE=$DIR/newer run -10 offline findings
    [[ $output == *"version 999"* ]]
    head -c 65536 /dev/urandom >"$DIR/newer/qcaudit.db"
    rm -f "$DIR"/newer/qcaudit.db-*
    STATE=$DIR/newer run -10 offline findings
    [[ $output == *"damaged"* ]]
    # What is no file is said, not waited for.
    mkdir "$DIR/pipe"
    mkfifo "$DIR/pipe/qcaudit.db"
    STATE=$DIR/pipe run -10 offline findings
    [[ $output == *"not a regular file"* ]]
    QCAUDIT_LIBEXECDIR=$DIR/nothing run -10 offline findings
    [[ $output == *"qcaudit-offline: No such file"* ]]
}
