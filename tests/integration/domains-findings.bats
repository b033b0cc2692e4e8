#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What libvirt's word adds: each finding raised by the real thing, and resolved by the commands it prints.
load lib
load domains

setup() {
    domains_setup 'thresholds:' '  orphan: {after: 1s}' '  chain-deep: off' '  snapshot-unmanaged: off' '  snapshot-runaway: off' \
        '  definition-differs: {after: 1s}' '  block-job-stalled: {after: 1s}' '  backup-leftover: {after: 0s}' \
        '  snapshot-delete-stuck: {after: 1s}' '  deleted-in-use: {after: 1s}' '  foreign-writer: {after: 1s}' \
        '  snapshot-large: {least: 256KiB, warning: 512KiB, share: off, share-error: off}' \
        'classes:' '  - name: router' "    paths: ['*/router*']" '    memory: 64MiB'
}
teardown() {
    [ -z "${WRITER-}" ] || kill "$WRITER" 2>/dev/null || :
    domains_teardown
}

@test "two domains on one image" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define one "$(disk_xml "$STORE/a.qcow2")"
    define two "$(disk_xml "$STORE/a.qcow2")"
    start one
    start_daemon
    scan
    wait_for 20 has_finding "shared-writable warning a.qcow2"
    run -0 ctl show a.qcow2
    [[ $output == *"Used by: vda of one, running"*"vda of two"* ]]
    remedy shared-writable a.qcow2
    [[ $(cat "$DIR/remedy.sh") == *"detach-disk two vda --config"* ]]
    wait_for 20 resolved shared-writable
    same "" "$(findings)"
}

@test "an overlay deleted under a running domain" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    snapshot web s1
    guest_write web vda "write -P 99 1M 64k"
    start_daemon
    scan
    rm "$STORE/a.s1"
    wait_for 30 has_finding "deleted-in-use critical web on $URI"
    [ "$(evidence "$(finding deleted-in-use web)" how)" = gone ]
    remedy deleted-in-use web
    [ "$(v domblklist web | awk '/vda/ {print $2}')" = "$STORE/a.s1.rescued" ]
    wait_for 30 resolved deleted-in-use
    v destroy web
    holds 99 1M 64k "$STORE/a.s1.rescued"
}

@test "another file in the place of a running domain's image" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    start_daemon
    scan
    cp "$STORE/a.qcow2" "$DIR/copy" && own "$DIR/copy" && mv "$DIR/copy" "$STORE/a.qcow2"
    wait_for 30 has_finding "deleted-in-use critical web on $URI"
    [ "$(evidence "$(finding deleted-in-use web)" how)" = replaced ]
    remedy deleted-in-use web
    wait_for 30 resolved deleted-in-use
}

@test "a raw disk on which the guest writes a qcow2 header" {
    qemu-img create -q -f raw "$STORE/a.img" 4M
    qemu-img create -q -f qcow2 -b /etc/passwd -F raw "$DIR/evil.qcow2" 4M
    head -c 65536 "$DIR/evil.qcow2" >"$DIR/evil.bin"
    chmod 644 "$DIR/evil.bin"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.img" vda raw)"
    start web
    start_daemon
    scan
    same "" "$(findings)"
    guest_write web vda "write -s $DIR/evil.bin 0 64k"
    [ "$(head -c 3 "$STORE/a.img")" = QFI ]
    scan "$STORE/a.img"
    wait_for 30 has_finding "raw-became-image critical a.img"
    # What it names is not looked at.
    run -0 ctl show a.img
    [[ $output != *root:* ]]
    guest_write web vda "write -P 0 0 64k"
    scan "$STORE/a.img"
    wait_for 30 resolved raw-became-image
}

@test "a domain that opens an image as what it is not" {
    make_image "$STORE/a.qcow2"
    qemu-img create -q -f raw "$STORE/b.img" 4M
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2" vda raw)" "$(disk_xml "$STORE/b.img" vdb qcow2)"
    start_daemon
    scan
    wait_for 20 has_finding "raw-became-image critical a.qcow2"
    wait_for 20 has_finding "format-mismatch critical b.img"
    v undefine web
    define web "$(disk_xml "$STORE/a.qcow2")" "$(disk_xml "$STORE/b.img" vdb raw)"
    wait_for 20 resolved raw-became-image
    wait_for 20 resolved format-mismatch
}

@test "a writer that libvirt does not know" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start_daemon
    scan
    same "" "$(findings)"
    mkfifo "$DIR/wait"
    qemu-io -f qcow2 "$STORE/a.qcow2" <"$DIR/wait" >/dev/null 2>&1 3>&- 4>&- &
    WRITER=$!
    exec 9>"$DIR/wait"
    echo 'write -P 1 0 64k' >&9
    scan "$STORE/a.qcow2"
    scan "$STORE/a.qcow2"
    wait_for 30 has_finding "foreign-writer error a.qcow2"
    exec 9>&-
    kill "$WRITER" 2>/dev/null || :
    wait "$WRITER" || :
    scan "$STORE/a.qcow2"
    wait_for 30 resolved foreign-writer
}

@test "an image that nothing refers to, and one that another host may have" {
    make_image "$STORE/a.qcow2"
    make_image "$STORE/old.qcow2"
    make_image "$STORE/install.iso"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start_daemon
    scan
    wait_for 20 has_finding "orphan warning old.qcow2"
    run -0 ctl images --orphan --no-legend
    [[ $output == *old.qcow2* && $output != *a.qcow2* ]]
    run -0 ctl show old.qcow2
    [[ $output == *"Role: leftover"* ]]
    remedy orphan old.qcow2
    wait_for 20 resolved orphan
    [ -e "$STORE/old.qcow2.orphan" ]
    scan
    same "" "$(findings)"
    run -0 ctl images --json=short
    [[ $output == *'"role":"backup"'* && $output == *'"role":"install-medium"'* && $output == *'"role":"leaf"'* ]]
}

@test "domains whose definitions name the images by links from elsewhere" {
    ln -s store "$DIR/link"
    for image in running stopped; do
        make_image "$STORE/$image.qcow2"
        own "$STORE/$image.qcow2"
        define "$image" "$(disk_xml "$DIR/link/$image.qcow2")"
    done
    define gone "$(disk_xml "$DIR/link/gone.qcow2")"
    make_image "$STORE/old.qcow2"
    start running
    snapshot running s1
    start_daemon
    scan
    wait_for 20 has_finding "orphan warning old.qcow2"
    scan
    same "orphan warning old.qcow2" "$(findings --name=orphan)"
    has_no_finding foreign-writer
    run -0 ctl images --domain running --no-legend
    [[ $output == *"$STORE/running.qcow2"* ]]
    # The overlay names its parent by the link, too.
    has_no_finding reference-escapes
    run -0 ctl chain running
    [[ $output == *"2 layers, 1 of them unconsolidated"* ]]
    wait_for 20 has_finding "definition-differs error gone on $URI"

    # The next daemon does not take back what it has not looked at yet.
    stop_daemon
    : >"$LOG"
    start_daemon
    scan
    wait_for 20 has_finding "definition-differs error gone on $URI"
    [[ $(cat "$LOG") != *"resolved after"* ]]
    qemu-img create -q -f qcow2 "$STORE/gone.qcow2" 4M
    wait_for 20 resolved definition-differs
}

@test "two overlays on one disk's image" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    snapshot web s1
    qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 "$STORE/restored.qcow2"
    qemu-io -f qcow2 -c 'write -q -P 7 1M 64k' "$STORE/restored.qcow2" >/dev/null
    own "$STORE"/*
    content=$(qcauditctl hash --content "$STORE/restored.qcow2")
    start_daemon
    scan
    wait_for 20 has_finding "chain-forked error a.qcow2"
    remedy chain-forked a.qcow2
    [[ $(cat "$DIR/remedy.sh") == *restored.qcow2* ]]       # not the one in use
    [ "$(qcauditctl hash --content "$STORE/restored.qcow2")" = "$content" ]
    scan
    wait_for 20 resolved chain-forked
}

@test "a definition that names another image than the domain runs on" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    snapshot web s1
    start_daemon
    scan
    same "" "$(findings)"
    # Somebody restores the definition from a copy.
    v dumpxml --inactive web >"$DIR/now.xml"
    sed "s|a\.s1'|a.qcow2'|; /<backingStore type/,/<\/backingStore>/d" "$DIR/now.xml" >"$DIR/old.xml"
    v define "$DIR/old.xml"
    wait_for 20 has_finding "definition-differs error web on $URI"
    remedy definition-differs web
    wait_for 20 resolved definition-differs
    [ "$(v domblklist --inactive web | awk '/vda/ {print $2}')" = "$STORE/a.s1" ]
}

@test "a definition whose image is gone" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start_daemon
    scan
    mv "$STORE/a.qcow2" "$DIR/a.qcow2"
    wait_for 30 has_finding "definition-differs error web on $URI"
    mv "$DIR/a.qcow2" "$STORE/a.qcow2"
    wait_for 30 resolved definition-differs
}

@test "a copy that is ready, and nobody ends it" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    start_daemon
    v blockcopy web vda "$STORE/b.qcow2" --transient-job
    wait_for 30 has_finding "block-job-stalled warning web on $URI"
    run -0 ctl show web
    [[ $output == *"job copy"* ]]
    remedy block-job-stalled web
    wait_for 30 resolved block-job-stalled
    [ "$(v domblklist web | awk '/vda/ {print $2}')" = "$STORE/b.qcow2" ]
}

@test "what a backup tool left behind" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    v snapshot-create-as web --no-metadata --disk-only --diskspec "vda,file=$STORE/a.bimg-20261120-020000" >/dev/null
    start_daemon
    scan
    wait_for 30 has_finding "backup-leftover warning a.bimg-20261120-020000"
    [ "$(evidence "$(finding backup-leftover a.bimg-20261120-020000)" tool)" = fi-backup ]
    remedy backup-leftover a.bimg-20261120-020000
    [ "$(v domblklist web | awk '/vda/ {print $2}')" = "$STORE/a.qcow2" ]
    wait_for 30 has_finding "backup-leftover"       # still there, and no longer in use
    remedy backup-leftover a.bimg-20261120-020000
    wait_for 30 resolved backup-leftover
}

@test "checkpoints without bitmaps, and bitmaps without checkpoints" {
    make_image "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    qemu-img bitmap --add "$STORE/b.qcow2" lost
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    define db "$(disk_xml "$STORE/b.qcow2")"
    start web
    v checkpoint-create-as web cp1 >/dev/null
    v destroy web
    start_daemon
    scan
    wait_for 20 has_finding "checkpoint-mismatch warning db on $URI"
    remedy checkpoint-mismatch db
    scan "$STORE/b.qcow2"
    wait_for 20 has_no_finding "db on"
    has_no_finding "web on"
    qemu-img bitmap --remove "$STORE/a.qcow2" cp1
    scan "$STORE/a.qcow2"
    wait_for 20 has_finding "checkpoint-mismatch warning web on $URI"
    remedy checkpoint-mismatch web
    wait_for 20 resolved checkpoint-mismatch
}

@test "snapshots that one side only knows" {
    make_image "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    define db "$(disk_xml "$STORE/b.qcow2")"
    v snapshot-create-as web s1 >/dev/null
    start_daemon
    sleep 3         # what is older than the snapshot says nothing about it
    scan "$STORE"
    same "" "$(findings)"
    qemu-img snapshot -d s1 "$STORE/a.qcow2"
    qemu-img snapshot -c mine "$STORE/b.qcow2"
    scan "$STORE/a.qcow2" "$STORE/b.qcow2"
    wait_for 30 has_finding "snapshot-delete-stuck error web on $URI"
    wait_for 30 has_finding "snapshot-delete-stuck warning db on $URI"
    remedy snapshot-delete-stuck web
    remedy snapshot-delete-stuck db
    scan "$STORE/a.qcow2" "$STORE/b.qcow2"
    wait_for 30 resolved snapshot-delete-stuck
}

@test "a domain with less memory than its image needs" {
    make_image "$STORE/router.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/router.qcow2")"
    start_daemon
    scan
    wait_for 20 has_finding "memory-below-minimum warning web on $URI"
    remedy memory-below-minimum web
    wait_for 20 resolved memory-below-minimum
    # A domain that is gone has no findings.
    MEMORY=32 define two "$(disk_xml "$STORE/router.qcow2")"
    wait_for 20 has_finding "memory-below-minimum warning two on $URI"
    v undefine two
    wait_for 20 resolved memory-below-minimum
}

@test "what is acknowledged of a domain stays so, and outlives the database" {
    make_image "$STORE/router.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/router.qcow2")"
    start_daemon
    scan
    wait_for 20 has_finding "memory-below-minimum warning web on $URI"
    ctl ack "$(ctl findings --name=memory-below-minimum --json=short | jq '.[0].id')" --reason='it is small'
    stop_daemon
    grep -q '"kind":"domain"' "$STATE/baselines.journal"
    rm "$STATE"/qcaudit.db*
    start_daemon
    acknowledged() { [ "$(ctl findings --name=memory-below-minimum --json=short | jq -r '.[0] | [.state, ."acknowledged-reason"] | tojson')" = '["acknowledged","it is small"]' ]; }
    wait_for 30 acknowledged
}

@test "a layer that has become large, and how it grew" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    snapshot web s1
    start_daemon
    scan
    guest_write web vda "write -P 5 0 1M"
    scan "$STORE"
    wait_for 20 has_finding "snapshot-large warning a.s1"
    [[ $(evidence "$(finding snapshot-large a.s1)" series) == *bytes* ]]
    remedy snapshot-large a.s1
    rm -f "$STORE/a.s1"
    wait_for 30 resolved snapshot-large
}

@test "libvirt goes and comes" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    start_daemon
    scan
    pid=$(cat "$DIR/lv/pid")
    kill -KILL "$pid"
    wait_for 30 has_finding "libvirt-unreachable info"
    # What it said last holds: nothing is left over because nobody can say whose it is.
    has_no_finding orphan
    run -0 ctl images --orphan --no-legend
    [[ $output != *a.qcow2* ]]
}
