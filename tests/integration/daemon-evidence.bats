#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Evidence of a broken image: made with what the daemon knows, tampered with, and checked.
bats_require_minimum_version 1.5.0
load lib

setup() {
    need qemu-img qemu-io jq python3
    qcaudit_setup
    export LC_ALL=C.UTF-8 TZ=UTC
    cd "$DIR" || return 1
}
teardown() { qcaudit_teardown; }

member() { tar -xOf "$1" "qcaudit-evidence/$2"; }

@test "break an image, make evidence, repair the image, and check the evidence; then change a byte of it" {
    start_daemon
    make_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$STORE/bad.qcow2"
    qemu-io -c 'write -P 0x41 0 1M' "$STORE/bad.qcow2" >/dev/null
    scan
    break_image "$STORE/bad.qcow2"
    leak_image "$STORE/bad.qcow2"
    scan "$STORE/bad.qcow2"
    wait_for 30 has_finding "metadata-corrupt critical bad.qcow2"
    id=$(ctl findings --name=metadata-corrupt --json=short | jq '.[0].id')
    before=$(stat -c '%Y %Z %s' "$STORE/bad.qcow2") digest=$(sha256sum "$STORE/bad.qcow2")
    run -0 ctl evidence "$id" -o first.tar
    [[ $output == "Evidence of $STORE/bad.qcow2: 2 layers, "*"SHA-256 of its manifest"* ]]
    [ "$(stat -c '%Y %Z %s' "$STORE/bad.qcow2")" = "$before" ]
    [ "$(sha256sum "$STORE/bad.qcow2")" = "$digest" ]
    # what the daemon knows is in it
    [ "$(member first.tar finding.json | jq .id)" = "$id" ]
    member first.tar image.json | jq -e --arg path "$STORE/bad.qcow2" '.path == $path and
        ([."findings-list"[].name] | index("metadata-corrupt") != null)'
    member first.tar chain.json | jq -e --arg base "$STORE/base.qcow2" '[.[].path] | index($base) != null'
    [ "$(member first.tar audits.json | jq length)" -ge 2 ]
    member first.tar events.json | jq -e 'map(select(.finding == "metadata-corrupt" and .event == "opened" and
        (.digest | test("^[0-9a-f]{64}$")))) | length == 1'
    member first.tar record.json | jq -e '.check."problems-total" == 0 and (.check."head-digest" | length) == 64'
    member first.tar versions.json | jq -e '.qcauditd != null and .kernel != null and ."database-schema" > 0'
    member first.tar layout.json | jq -e '(.layers | length) == 2 and .layers[0].whole and (."not-answered" | length) == 0'
    member first.tar check.json | jq -e '.corruptions > 0'
    # the end of the record is among the events
    [ "$(member first.tar record.json | jq -r '.check."head-digest"')" = "$(ctl history --json=short --lines=1 | jq -r '(.events // .)[0].digest')" ]
    # repaired, the image has nothing of that any more; the evidence has
    run ctl check "$STORE/bad.qcow2" --json=pretty
    expected=$output
    qemu-img check -q -r all "$STORE/bad.qcow2" || :
    run -2 ctl check --evidence first.tar
    [[ $output == *"written at "*"The same as when the evidence was written."* ]]
    run -2 ctl check --evidence first.tar --json=short
    [ "$(jq -c '.found.issues' <<<"$output")" = "$(jq -c .issues <<<"$expected")" ]
    [ "$(jq -c '.again.issues' <<<"$output")" = "$(jq -c .issues <<<"$expected")" ]
    # one byte of one table
    offset=$(tar -tvRf first.tar | grep -F layer-0/ | head -1 | sed 's/^block \([0-9]*\):.*/\1/')
    printf '\377' | dd of=first.tar bs=1 seek=$(((offset + 1) * 512 + 77)) conv=notrunc status=none
    run -1 ctl check --evidence first.tar
    [[ $output == *"first.tar was changed since it was written"*"  layer-0/0000000000000000 is not what the manifest has"* ]]
}

@test "never into a datastore, by whatever name; outside, and below one that is not recursive, it may be" {
    start_daemon
    make_image "$STORE/a.qcow2"
    scan
    mkdir "$STORE/sub"
    ln -s "$STORE/sub" "$DIR/link"
    for file in "$STORE/x.tar" "$STORE/sub/x.tar" "$DIR/link/x.tar" "$STORE/../${STORE##*/}/x.tar"; do
        run -1 ctl evidence "$STORE/a.qcow2" -o "$file"
        [[ $output == *"lies in the datastore "* ]]
        [ ! -e "$file" ]
    done
    run -0 ctl evidence "$STORE/a.qcow2" -o "$DIR/x.tar"
    # by the end of its name, as in other verbs; and again, which finds the file
    run -0 ctl evidence a.qcow2 -o "$DIR/y.tar"
    run -1 ctl evidence a.qcow2 -o "$DIR/y.tar"
    [[ $output == *"Cannot create"*"File exists"* ]]
    run -1 ctl evidence 99999 -o "$DIR/z.tar"
    [[ $output == *"There is no finding 99999"* ]]
    run -1 ctl evidence none.qcow2 -o "$DIR/z.tar"
    [ ! -e "$DIR/z.tar" ]
}

@test "a file that only has the name of a known image is another one, and nothing of that gets in" {
    start_daemon
    make_image "$STORE/web.qcow2"
    scan
    mkdir "$DIR/here"
    cd "$DIR/here"
    cp "$STORE/web.qcow2" .
    run -0 ctl evidence web.qcow2 -o x.tar
    [[ $output == *"qcauditd does not know this file."* ]]
    run -0 tar -tf x.tar
    [[ $output != *image.json* && $output != *events.json* ]]
    # another name of the same file is the same file
    ln "$STORE/web.qcow2" web2.qcow2
    ln -s "$STORE/web.qcow2" link.qcow2
    run -0 ctl evidence link.qcow2 -o y.tar
    run -0 tar -tf y.tar
    [[ $output == *image.json* ]]
}

@test "an image that is gone: what is known of it is kept all the same" {
    start_daemon
    make_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$STORE/top.qcow2"
    scan
    rm "$STORE/base.qcow2"
    wait_for 30 has_finding "parent-missing"
    run -0 ctl evidence "$STORE/top.qcow2" -o x.tar
    [[ $output == *"Layer 1, $STORE/base.qcow2: No such file or directory."* ]]
    member x.tar image.json | jq -e '[."findings-list"[].name] | index("parent-missing") != null'
    run -0 ctl check --evidence x.tar
}
