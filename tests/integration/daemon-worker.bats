#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Workers that do what none may: each is a finding about its image, never a failure of the daemon.
load lib

setup() {
    need qemu-img qemu-io python3
    BAD=$top_builddir/tests/unit/misbehaving-worker
    [ -x "$BAD" ] || skip "built without cmocka"
    qcaudit_setup
    make_image "$STORE/a.qcow2"
    mkdir "$DIR/libexec"
    ln -s "$BAD" "$DIR/libexec/qcaudit-worker"
    ln -s "$QCAUDIT_LIBEXECDIR/qcaudit-files" "$DIR/libexec/qcaudit-files"
}
teardown() { qcaudit_teardown; }

# misbehave NAME: the daemon with a worker that does this; it reads what to do from the request's limit of issues.
misbehave() {
    local number
    number=$(sed -n 's/^    X(\([A-Z_]*\),.*/\1/p' "$top_srcdir/tests/unit/misbehaviour.h" | grep -nx "$1" | cut -d : -f 1)
    write_config "workers: { issues: $number, deadline: 1s }"
    QCAUDIT_LIBEXECDIR=$DIR/libexec start_daemon
}

evidence() {
    ctl findings --name audit-failed --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["evidence"])'
}

@test "it opens a file: killed by its filter, and that is audit-failed, with the signal" {
    misbehave OPEN
    wait_for 20 has_finding "audit-failed error a.qcow2"
    [[ $(evidence) == *31* || $(evidence) == *SIGSYS* ]]
    run -0 ctl show "$STORE/a.qcow2"
    [[ $output == *audit-failed* ]]
    stop_daemon
}

@test "it crashes, hangs, lies, floods: audit-failed each time, and the daemon goes on" {
    for what in CRASH HANG SHORT FLOOD FD LAYERS; do
        misbehave "$what"
        wait_for 30 has_finding "audit-failed error a.qcow2"
        run -0 ctl status
        stop_daemon
        rm -rf "$STATE"
        mkdir -m 700 "$STATE"
    done
}

@test "an image that keeps killing workers is left out until it changes; with a sound worker it is audited again" {
    misbehave CRASH
    wait_for 20 has_finding "audit-failed error a.qcow2"
    stop_daemon
    leak_image "$STORE/a.qcow2"
    write_config
    start_daemon
    wait_for 20 has_finding clusters-leaked
    has_no_finding audit-failed
    stop_daemon
}

@test "three deaths, and it is left alone, after a restart too" {
    has_audits() { # NAME COUNT
        same "$2" "$(sqlite3 "$STATE/qcaudit.db" "SELECT count(*) FROM audit JOIN image ON image.id = image WHERE CAST(path AS TEXT) = '$STORE/$1.qcow2'")"
    }
    need sqlite3
    misbehave OPEN
    wait_for 30 has_audits a 3
    scan
    # Another attempt would come before the third at an image that is newer.
    make_image "$STORE/b.qcow2"
    wait_for 30 has_audits b 3
    has_audits a 3
    stop_daemon
    misbehave OPEN
    scan
    make_image "$STORE/c.qcow2"
    wait_for 30 has_audits c 3
    has_audits a 3
    has_finding "audit-failed error a.qcow2"
    stop_daemon
}

@test "no worker can be started: said once, and the audits come when there is one" {
    rm "$DIR/libexec/qcaudit-worker"
    write_config
    QCAUDIT_LIBEXECDIR=$DIR/libexec start_daemon
    scan
    sleep 3     # of attempts, which come every second: the subject
    same "" "$(findings)"
    [ "$(grep -c 'Cannot start .*qcaudit-worker: No such file or directory' "$LOG")" = 1 ]
    ln -s "$top_builddir/helpers/qcaudit-worker" "$DIR/libexec/qcaudit-worker"
    audited() { [[ $(ctl status) == *"1 of 1"* ]]; }
    wait_for 20 audited
    stop_daemon
}
