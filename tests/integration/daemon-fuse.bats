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
