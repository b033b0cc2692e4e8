#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A file system that stops answering stops only its own audits.
load lib

setup() {
    need qemu-img qemu-io python3 fusermount3
    need_root
    [ -c /dev/fuse ] || skip "no /dev/fuse"
    [ -x "$top_builddir/tests/integration/stall-fs" ] || skip "built without libfuse3"
    qcaudit_setup
    mkdir "$DIR/behind" "$DIR/mount"
    "$top_builddir/tests/integration/stall-fs" "$DIR/behind" "$DIR/trigger" "$DIR/mount" >"$DIR/fuse.log" 2>&1 3>&- 4>&- &
    FUSE=$!
    mounted() { grep -q " $DIR/mount fuse" /proc/self/mounts; }
    wait_for 10 mounted
}
teardown() {
    rm -f "$DIR/trigger"
    stop_daemon || :
    umount -l "$DIR/mount" 2>/dev/null || :
    kill "$FUSE" 2>/dev/null || :
    wait "$FUSE" 2>/dev/null || :
    qcaudit_teardown
}

both() {
    {
        echo "datastores:"
        echo "  - { name: local, path: $STORE }"
        echo "  - { name: stale, path: $DIR/mount }"
        echo "intervals: { debounce: 100ms }"
        echo "reading: { deadline: 2s }"
    } >"$CONFIG"
}

@test "it hangs at the start: the other datastore's pass is complete, the loop answers, the finding says which" {
    both
    make_image "$DIR/behind/remote.qcow2"
    make_image "$STORE/local.qcow2"
    leak_image "$STORE/local.qcow2"
    touch "$DIR/trigger"
    start_daemon
    wait_for 20 has_finding local.qcow2
    wait_for 30 has_finding "datastore-offline error stale"
    run -0 ctl status
    # It answers again.
    rm "$DIR/trigger"
    wait_for 60 has_no_finding datastore-offline
    stop_daemon
}

@test "it hangs in the middle, with audits under way" {
    both
    for ((i = 0; i < 20; i++)); do make_image "$DIR/behind/remote-$i.qcow2"; done
    start_daemon
    touch "$DIR/trigger"
    make_image "$STORE/local.qcow2"
    break_image "$STORE/local.qcow2"
    ctl scan >/dev/null     # whatever was done already: now something is asked of it
    wait_for 20 has_finding "metadata-corrupt critical local.qcow2"
    wait_for 30 has_finding "datastore-offline error stale"
    run -0 ctl findings
    rm "$DIR/trigger"
    wait_for 60 has_no_finding datastore-offline
    scan
    same "metadata-corrupt critical local.qcow2" "$(findings | grep -v watch-degraded)"
    stop_daemon
}

@test "a name on what hangs is looked up for a moment, and the command ends by itself" {
    both
    make_image "$DIR/behind/remote.qcow2"
    start_daemon
    scan
    touch "$DIR/trigger"
    local verb
    for verb in show chain scan; do
        run timeout -k 1 30 qcauditctl --socket "$RUN/control" "$verb" "$DIR/mount/new.qcow2" </dev/null
        [ "$status" = 1 ] || { echo "$verb: $status: $output"; return 1; }
        [[ "$output" == *"The file system of $DIR/mount/new.qcow2 does not answer."* ]]
    done
    # What the daemon knows is not looked up.
    run -0 timeout -k 1 30 qcauditctl --socket "$RUN/control" show "$DIR/mount/remote.qcow2" </dev/null
    rm "$DIR/trigger"
}

@test "released while it hangs: it is said that a process has files open there still" {
    both
    make_image "$DIR/behind/remote.qcow2"
    start_daemon
    scan
    touch "$DIR/trigger"
    ctl scan >/dev/null
    run ! ctl release stale
    [[ $output == *"Datastore stale is released, but process "*" of qcauditd does not end and has files open there"* ]]
    rm "$DIR/trigger"
    ctl release stale       # it answered meanwhile, and the process is gone
    umount "$DIR/mount"
    stop_daemon
}

helpers_of() { # how many qcaudit-files the daemon has, those that are killed and not gone with them
    { pgrep -P "$DAEMON" -x qcaudit-files || :; pgrep -P "$(pgrep -P "$DAEMON" -x qcaudit-launch)" -x qcaudit-files || :; } | wc -l
}

@test "while the helper of a datastore that hangs is not gone, no other one is started" {
    both
    make_image "$DIR/behind/remote.qcow2"
    start_daemon
    scan
    [ "$(helpers_of)" = 2 ]
    touch "$DIR/trigger"
    ctl scan >/dev/null
    wait_for 30 has_finding "datastore-offline error stale"
    sleep 8         # three attempts, after 1, 2 and 4 seconds: the subject
    [ "$(helpers_of)" = 2 ]
    rm "$DIR/trigger"
    wait_for 60 has_no_finding datastore-offline
    [ "$(helpers_of)" = 2 ]
    stop_daemon
}

@test "a reference to what hangs costs that image, and no other of its datastore" {
    local behind
    for behind in datastore nested; do
        [ "$behind" = datastore ] || {
            umount "$DIR/mount"; wait "$FUSE" || :
            mkdir "$STORE/nested"
            "$top_builddir/tests/integration/stall-fs" "$DIR/behind" "$DIR/trigger" "$STORE/nested" >"$DIR/fuse.log" 2>&1 3>&- 4>&- &
            FUSE=$!
            nested() { grep -q " $STORE/nested fuse" /proc/self/mounts; }
            wait_for 10 nested
            write_config "reading: { deadline: 2s }"
        }
        [ "$behind" = nested ] || both
        base=$DIR/mount/base.qcow2
        [ "$behind" = datastore ] || base=$STORE/nested/base.qcow2
        make_image "$DIR/behind/base.qcow2"
        qemu-img create -q -f qcow2 -u -b "$base" -F qcow2 "$STORE/over.qcow2" 4M
        make_image "$STORE/local.qcow2"
        touch "$DIR/trigger"
        start_daemon
        ctl scan >/dev/null
        break_image "$STORE/local.qcow2"
        wait_for 30 has_finding "metadata-corrupt critical local.qcow2"
        sleep 6
        run ! has_finding "datastore-offline error store"
        run ! has_finding "datastore-offline error local"
        # which says nothing of it, as long as it hangs
        has_no_finding parent-missing
        has_no_finding reference-escapes
        rm "$DIR/trigger"
        stop_daemon
        rm -rf "$STORE"/*.qcow2 "$STATE"
        mkdir -m 700 "$STATE"
    done
    umount "$STORE/nested"
}
