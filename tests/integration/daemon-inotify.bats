#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Changes in a datastore are noticed without a walk.
load lib

setup() { need qemu-img qemu-io python3; qcaudit_setup; make_image "$DIR/bad.qcow2"; break_image "$DIR/bad.qcow2"; make_image "$DIR/good.qcow2"; start_daemon; scan; }
teardown() { qcaudit_teardown; }

@test "a new image" {
    cp "$DIR/bad.qcow2" "$STORE/new.qcow2"
    wait_for 20 has_finding "metadata-corrupt critical new.qcow2"
}

@test "an image that is moved in, renamed, and moved out" {
    mv "$DIR/bad.qcow2" "$STORE/in.qcow2"
    wait_for 20 has_finding "metadata-corrupt critical in.qcow2"
    mv "$STORE/in.qcow2" "$STORE/renamed.qcow2"
    wait_for 20 has_finding "metadata-corrupt critical renamed.qcow2"
    wait_for 20 has_no_finding " in.qcow2"
    mv "$STORE/renamed.qcow2" "$DIR/out.qcow2"
    wait_for 20 has_no_finding metadata-corrupt
}

@test "an image that changes, and is deleted" {
    cp "$DIR/good.qcow2" "$STORE/a.qcow2"
    scan
    same "" "$(findings)"
    cat "$DIR/bad.qcow2" >"$STORE/a.qcow2"
    wait_for 20 has_finding "metadata-corrupt critical a.qcow2"
    rm "$STORE/a.qcow2"
    wait_for 20 has_no_finding metadata-corrupt
}

@test "a new folder with images, made deep at once, and a folder that is deleted" {
    mkdir -p "$STORE/one/two/three"
    cp "$DIR/bad.qcow2" "$STORE/one/two/three/deep.qcow2"
    wait_for 20 has_finding one/two/three/deep.qcow2
    mkdir "$STORE/late"
    fence           # the folder is watched by then
    cp "$DIR/bad.qcow2" "$STORE/late/late.qcow2"
    wait_for 20 has_finding late/late.qcow2
    rm -r "$STORE/one"
    wait_for 20 has_no_finding one/two
    mv "$STORE/late" "$DIR/away"
    wait_for 20 has_no_finding late
}

@test "a parent that is lost and found" {
    cp "$DIR/good.qcow2" "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$STORE/child.qcow2"
    scan
    same "" "$(findings)"
    mv "$STORE/base.qcow2" "$STORE/elsewhere.qcow2"
    wait_for 20 has_finding "parent-missing critical child.qcow2"
    mv "$STORE/elsewhere.qcow2" "$STORE/base.qcow2"
    wait_for 20 has_no_finding parent-missing
}

@test "a datastore that goes away is one finding, not thousands of vanished images" {
    cp "$DIR/bad.qcow2" "$STORE/a.qcow2"
    wait_for 20 has_finding "metadata-corrupt critical a.qcow2"
    mv "$STORE" "$DIR/unmounted"
    wait_for 30 has_finding "datastore-offline"
    has_finding metadata-corrupt
    mv "$DIR/unmounted" "$STORE"
    wait_for 60 has_no_finding datastore-offline
    has_finding metadata-corrupt
}

@test "pause and release: nothing is open there, and it goes on afterwards" {
    name=$(ctl status --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)["datastores"][0]["name"])')
    ctl release "$name"
    none_open() { ! ls -l /proc/*/fd 2>/dev/null | grep -F " $STORE"; }
    none_open               # at once: it is answered when the helpers are gone
    ctl resume "$name"
    cp "$DIR/bad.qcow2" "$STORE/a.qcow2"
    wait_for 20 has_finding "metadata-corrupt critical a.qcow2"
}
