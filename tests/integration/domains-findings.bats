#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What libvirt's word adds: each finding raised by the real thing, and resolved by the commands it prints.
load lib
load domains

setup() {
    domains_setup 'thresholds:' '  orphan: {after: 1s}' '  chain-deep: off' '  snapshot-unmanaged: off' '  snapshot-runaway: off' \
        '  definition-differs: {after: 1s}' '  block-job-stalled: {after: 1s}' '  backup-leftover: {after: 0s}' \
        '  snapshot-delete-stuck: {after: 1s}' '  deleted-in-use: {after: 1s}' '  chain-forked: {after: 1s}' '  foreign-writer: {after: 1s}' \
        '  snapshot-large: {least: 256KiB, warning: 512KiB, share: off, share-error: off}' \
        'classes:' '  - name: router' "    paths: ['*/router*']" '    memory: 64MiB'
}
teardown() {
    [ -z "${WRITER-}" ] || kill "$WRITER" 2>/dev/null || :
    [ -z "${JOURNAL-}" ] || kill "$JOURNAL" 2>/dev/null || :
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
    wait_for 20 nothing_left
}

@test "two domains on one image by two names of its file, and a third name that nobody uses" {
    make_image "$STORE/a.qcow2"
    ln "$STORE/a.qcow2" "$STORE/b.qcow2"
    mkdir "$STORE/keep"
    ln "$STORE/a.qcow2" "$STORE/keep/a.qcow2"
    own "$STORE" "$STORE"/*
    define one "$(disk_xml "$STORE/a.qcow2")"
    start_daemon
    scan
    has_no_finding orphan
    has_no_finding shared-writable
    define two "$(disk_xml "$STORE/b.qcow2")"
    wait_for 20 has_finding "shared-writable "
    same "[\"one\",\"two\"]" "$(ctl findings --json=short --name shared-writable | jq -c '[.[0].evidence.domains[].domain] | sort')"
    v undefine two >/dev/null
    wait_for 20 resolved shared-writable
    # Whatever name the domain does not use: it is the domain's image.
    scan
    fence_judged
    has_no_finding orphan
}

@test "a raw disk that is not called as one is an image as soon as a domain has it" {
    make_image "$STORE/a.qcow2"
    head -c 4M /dev/urandom >"$STORE/payload"
    touch -d '1 hour ago' "$STORE/payload"
    own "$STORE"/*
    start_daemon
    scan
    run -0 ctl images --json=short
    [[ $output != *payload* ]]
    define one "$(disk_xml "$STORE/payload" vda raw)"
    wait_for 20 eval '[[ $(ctl images --json=short) == *payload* ]]'
    run -0 ctl show "$STORE/payload"
    [[ $output == *"Used by: vda of one"* ]]
    start one
    scan
    same "" "$(findings | grep -v "^orphan .* a.qcow2$")"
    # A second one of it is seen, also by a daemon that starts only then.
    define two "$(disk_xml "$STORE/payload" vda raw)"
    wait_for 20 has_finding "shared-writable "
    stop_daemon
    start_daemon
    scan
    has_finding "shared-writable "
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
    # libvirt's snapshot had the overlay that is gone: it goes by its own remedy, and so does the base.
    wait_for 30 has_finding "snapshot-inconsistent error web on $URI"
    remedy snapshot-inconsistent web
    wait_for 30 resolved snapshot-inconsistent
    wait_for 30 has_finding "orphan warning a.qcow2"
    remedy orphan a.qcow2
    wait_for 30 nothing_left
}

@test "another file in the place of a running domain's image" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    start_daemon
    scan
    fence           # which file the domain has is noted by then
    cp "$STORE/a.qcow2" "$DIR/copy" && own "$DIR/copy" && mv "$DIR/copy" "$STORE/a.qcow2"
    wait_for 30 has_finding "deleted-in-use critical web on $URI"
    [ "$(evidence "$(finding deleted-in-use web)" how)" = replaced ]
    remedy deleted-in-use web
    wait_for 30 resolved deleted-in-use
    # What lies in its place is nobody's.
    wait_for 30 has_finding "orphan warning a.qcow2"
    remedy orphan a.qcow2
    wait_for 30 nothing_left
}

@test "a raw disk on which the guest writes a qcow2 header" {
    qemu-img create -q -f raw "$STORE/a.img" 4M
    qemu-io -f raw -c 'write -q -P 6 1M 64k' "$STORE/a.img" >/dev/null
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
    # The precondition first; then to the letter.
    run -0 steps "$(finding raw-became-image a.img)"
    [[ $output == *"It was raw when it was audited before"*"No command is given"* ]]
    same "" "$(commands "$(finding raw-became-image a.img)")"
    v destroy web
    remedy raw-became-image a.img
    wait_for 30 resolved raw-became-image
    wait_for 30 nothing_left
    [ "$(base64 -d "$STORE/a.img.first-sector" | head -c 3)" = QFI ]
    qemu-io -f raw -r -c 'read -P 6 1M 64k' -c 'read -P 0 0 512' "$STORE/a.img" >"$DIR/said"
    ! grep -i 'fail\|error' "$DIR/said" || return 1
    # The guest goes on with its raw disk.
    start web
    guest_write web vda "write -P 9 2M 64k"
    scan
    nothing_left
}

# evil_raw_disk FORMAT: web runs with a.img, made as FORMAT, as its raw disk; evil.bin is what a guest could write to its
# first sectors to have /etc/passwd read.
evil_raw_disk() {
    qemu-img create -q -f "$1" "$STORE/a.img" 4M
    qemu-img create -q -f qcow2 -b /etc/passwd -F raw "$DIR/evil.qcow2"
    head -c 65536 "$DIR/evil.qcow2" >"$DIR/evil.bin"
    chmod 644 "$DIR/evil.bin"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.img" vda raw)"
    start web
}

@test "a guest that goes on writing its header: no command before it is shut off" {
    evil_raw_disk qcow2
    start_daemon
    scan
    wait_for 20 has_finding "raw-became-image critical a.img"
    run -0 steps "$(finding raw-became-image a.img)"
    [[ $output == *"Shut the domain off."* ]]
    same "" "$(commands "$(finding raw-became-image a.img)")"
    # It could name a file now, after the command was read.
    guest_write web vda "write -s $DIR/evil.bin 0 64k"
    v destroy web
    scan "$STORE/a.img"
    run -0 steps "$(finding raw-became-image a.img)"
    [[ $output == *"No command is given"* ]]
    same "" "$(commands "$(finding raw-became-image a.img)")"
    # It does not: at rest, what was made as qcow2 is corrected.
    qemu-img create -q -f qcow2 "$STORE/a.img" 4M
    own "$STORE/a.img"
    scan "$STORE/a.img"
    remedy raw-became-image a.img
    wait_for 30 resolved raw-became-image
}

@test "a domain that opens an image as what it is not" {
    make_image "$STORE/a.qcow2"
    qemu-img create -q -f raw "$STORE/b.img" 4M
    make_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$STORE/overlay.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2" vda raw)" "$(disk_xml "$STORE/b.img" vdb qcow2)" \
        "$(disk_xml "$STORE/overlay.qcow2" vdc raw)"
    v dumpxml --inactive web >"$DIR/before.xml"
    start_daemon
    scan
    wait_for 20 has_finding "raw-became-image critical a.qcow2"
    wait_for 20 has_finding "format-mismatch critical b.img"
    # One that names another file is not handed to a domain by a command.
    wait_for 20 has_finding "raw-became-image critical overlay.qcow2"
    run -0 steps "$(finding raw-became-image overlay.qcow2)"
    [[ $output == *"No command is given"*"virsh edit"* ]]
    same "" "$(commands "$(finding raw-became-image overlay.qcow2)")"

    remedy raw-became-image a.qcow2
    # No command declares an image raw.
    same "" "$(commands "$(finding format-mismatch b.img)")"
    # What the text says: the type is corrected with an editor.
    cat >"$DIR/editor" <<'END'
#!/bin/sh
sed -i "/<disk /,/<.disk>/{H;/<.disk>/{s/.*//;x;s/^\n//;/overlay/s/type='raw'/type='qcow2'/;/b.img/s/type='qcow2'/type='raw'/;p};d}" "$1"
END
    chmod 755 "$DIR/editor"
    EDITOR=$DIR/editor v edit web >/dev/null
    wait_for 20 resolved raw-became-image
    wait_for 20 resolved format-mismatch
    wait_for 20 nothing_left
    # Nothing else of the definition changed, and it works.
    v dumpxml --inactive web >"$DIR/after.xml"
    same "$(sed "s/type='qcow2' discard/type='X' discard/; s/type='raw' discard/type='X' discard/" "$DIR/before.xml")" \
        "$(sed "s/type='qcow2' discard/type='X' discard/; s/type='raw' discard/type='X' discard/" "$DIR/after.xml")"
    same "qcow2 raw qcow2" "$(sed -n "s/.*<driver name='qemu' type='\([a-z0-9]*\)'.*/\1/p" "$DIR/after.xml" | paste -sd ' ')"
    start web
}

@test "a writer that libvirt does not know" {
    need fuser
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
    # The command shows the process, and once that is ended, the daemon looks of its own accord.
    remedy foreign-writer a.qcow2 >"$DIR/shown" 2>&1
    pid=$(sed -n 's/.*root *\([0-9][0-9]*\) F.* qemu-io$/\1/p; s/^ *[a-z]* *\([0-9][0-9]*\) F.* qemu-io$/\1/p' "$DIR/shown" | head -n 1)
    same "$WRITER" "$pid"
    exec 9>&-
    kill "$pid" 2>/dev/null || :
    wait "$WRITER" || :
    WRITER=
    wait_for 30 resolved foreign-writer
    wait_for 30 nothing_left
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
    nothing_left
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
    # It needs no parent, and nobody has said whose it is.
    wait_for 20 has_finding "orphan warning restored.qcow2"
    remedy orphan restored.qcow2
    wait_for 20 nothing_left
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
    wait_for 20 nothing_left
}

# rebased NAME: a domain on $STORE/NAME.s1, above which libvirt noted NAME.qcow2 and the file now names other.qcow2.
rebased() {
    make_image "$STORE/$1.qcow2"
    own "$STORE"/*
    define "$1" "$(disk_xml "$STORE/$1.qcow2")"
    start "$1"
    snapshot "$1" s1
    guest_write "$1" vda "write -P 5 1M 64k"
}

@test "a chain that was changed behind libvirt's back, with the domain shut off" {
    rebased web
    v destroy web
    v snapshot-delete web s1 --metadata >/dev/null
    start_daemon
    scan
    wait_for 20 nothing_left
    # Somebody merges a layer into another base, and libvirt goes on to look for the one that it noted.
    cp "$STORE/web.qcow2" "$STORE/other.qcow2"
    qemu-img rebase -u -b "$STORE/other.qcow2" -F qcow2 "$STORE/web.s1"
    own "$STORE"/*
    scan
    wait_for 20 has_finding "definition-differs error web on $URI"
    [ "$(evidence "$(finding definition-differs web)" what)" = chain ]
    remedy definition-differs web
    wait_for 20 resolved definition-differs
    wait_for 20 has_finding "orphan warning web.qcow2"
    remedy orphan web.qcow2
    wait_for 20 nothing_left
    start web
    [[ $(v dumpxml web) == *other.qcow2* ]]
}

@test "a chain that was changed behind libvirt's back, under a running domain" {
    rebased web
    v snapshot-delete web s1 --metadata >/dev/null
    start_daemon
    scan
    wait_for 20 nothing_left
    # No tool of QEMU's does it while it is locked; others do.
    cp "$STORE/web.qcow2" "$STORE/wob.qcow2"
    own "$STORE"/*
    at=$(grep -obUa -m 1 "$STORE/web.qcow2" "$STORE/web.s1" | head -n 1 | cut -d : -f 1)
    printf %s "$STORE/wob.qcow2" | dd of="$STORE/web.s1" bs=1 seek="$at" conv=notrunc status=none
    scan
    wait_for 20 has_finding "definition-differs error web on $URI"
    [ "$(evidence "$(finding definition-differs web)" what)" = chain ]
    remedy definition-differs web
    wait_for 30 resolved definition-differs
    [ "$(v domblklist web | awk '/vda/ {print $2}')" = "$STORE/web.s1.rescued" ]
    # What it left is nobody's: the old base, and the chain of wob.qcow2 and the layer above it, as one.
    for image in wob.qcow2 web.qcow2; do
        wait_for 20 has_finding "orphan warning $image"
        remedy orphan "$image"
        [ -e "$STORE/$image.orphan" ]
    done
    [ -e "$STORE/web.s1.orphan" ]
    rm "$STORE"/*.orphan                # "a month later"
    wait_for 20 nothing_left
    v destroy web
    holds 5 1M 64k "$STORE/web.s1.rescued"
}

@test "a definition whose image is gone" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start_daemon
    scan
    mv "$STORE/a.qcow2" "$DIR/a.qcow2"
    wait_for 30 has_finding "definition-differs error web on $URI"
    # "Bring the image back to where the definition looks for it, ..."
    run -0 steps "$(finding definition-differs web)"
    [[ $output == *"Bring the image back to where the definition looks for it, or name another one"* ]]
    mv "$DIR/a.qcow2" "$STORE/a.qcow2"
    wait_for 30 nothing_left
    # "... or name another one": by the editor that it names.
    mv "$STORE/a.qcow2" "$STORE/b.qcow2"
    wait_for 30 has_finding "definition-differs error web on $URI"
    edit=$(steps "$(finding definition-differs web)" | grep '^virsh ')
    printf '#!/bin/sh\nsed -i "s|/a.qcow2|/b.qcow2|" "$1"\n' >"$DIR/editor"
    chmod 755 "$DIR/editor"
    EDITOR=$DIR/editor sh -c "$edit" >/dev/null </dev/null 3>&- 4>&-
    wait_for 30 nothing_left
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
    # The image that it left is nobody's now.
    wait_for 30 has_finding "orphan warning a.qcow2"
    remedy orphan a.qcow2
    wait_for 30 nothing_left
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
    # still there, and no longer in use: that is known as soon as libvirt has told it
    not_in_use() { [[ "$(commands "$(finding backup-leftover a.bimg-20261120-020000)")" == *"mv -n"* ]]; }
    wait_for 30 not_in_use
    remedy backup-leftover a.bimg-20261120-020000
    wait_for 30 resolved backup-leftover
    wait_for 30 nothing_left
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
    wait_for 20 nothing_left
}

@test "snapshots that one side only knows" {
    make_image "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    define db "$(disk_xml "$STORE/b.qcow2")"
    v snapshot-create-as web s1 >/dev/null
    made=$(date +%s)
    start_daemon
    # An audit within two seconds of the snapshot, whose time is in seconds, says nothing of it.
    wait_for 10 past $((made + 2))
    scan "$STORE"
    same "" "$(findings)"
    qemu-img snapshot -d s1 "$STORE/a.qcow2"
    qemu-img snapshot -c mine "$STORE/b.qcow2"
    scan "$STORE/a.qcow2" "$STORE/b.qcow2"
    wait_for 30 has_finding "snapshot-inconsistent error web on $URI"
    wait_for 30 has_finding "snapshot-inconsistent info db on $URI"
    remedy snapshot-inconsistent web
    remedy snapshot-inconsistent db
    scan "$STORE/a.qcow2" "$STORE/b.qcow2"
    wait_for 30 resolved snapshot-inconsistent
    wait_for 30 nothing_left
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
    wait_for 20 nothing_left
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
    # "... delete it once the domain has run well."
    rm -f "$STORE/a.s1"
    wait_for 30 resolved snapshot-large
    wait_for 30 nothing_left
}

@test "layers merged into a raw image: the definition says raw, whatever the guest wrote to its first sector" {
    evil_raw_disk raw
    snapshot web s1
    guest_write web vda "write -P 5 1M 1M"
    guest_write web vda "write -s $DIR/evil.bin 0 64k"
    v destroy web
    start_daemon
    scan
    wait_for 20 has_finding "snapshot-large warning a.s1"
    remedy snapshot-large a.s1
    [ "$(head -c 3 "$STORE/a.img")" = QFI ]
    v dumpxml --inactive web >"$DIR/after.xml"
    grep -F "<source file='$STORE/a.img'" "$DIR/after.xml"
    grep -F "<driver name='qemu' type='raw'" "$DIR/after.xml"
    # Its guest goes on with the same bytes.
    start web
    guest_write web vda "write -P 9 2M 64k"
    v destroy web
    qemu-io -f raw -r -c 'read -P 5 1M 1M' -c 'read -P 9 2M 64k' "$STORE/a.img" >"$DIR/said"
    ! grep -i 'fail\|error' "$DIR/said" || return 1
}

@test "names are escaped once, and what is asked for and is not there is an error" {
    make_image "$STORE/router.qcow2"
    own "$STORE"/*
    define 'w\b' "$(disk_xml "$STORE/router.qcow2")"
    define other "$(disk_xml "$STORE/n\\o.qcow2")"
    pool_dir=$DIR/pool
    mkdir "$pool_dir"
    own "$pool_dir"
    v pool-define-as lab dir --target "$pool_dir" && v pool-start lab
    v snapshot-create-as 'w\b' 's\1' >/dev/null
    made=$(date +%s)
    start_daemon
    # An audit within two seconds of the snapshot, whose time is in seconds, says nothing of it.
    wait_for 10 past $((made + 2))
    scan "$STORE"
    qemu-img snapshot -d 's\1' "$STORE/router.qcow2"
    scan "$STORE/router.qcow2"
    wait_for 30 has_finding "snapshot-inconsistent error w\\b on $URI"
    wait_for 30 has_finding "definition-differs error other on $URI"
    # As a table, and in full: of a backslash there are two, and never four.
    run -0 ctl findings --full
    [[ $output == *'w\\b on '*"has 1 snapshot that only libvirt knows: s\\\\1"* && $output != *'\\\\\\'* ]]
    run -0 ctl show "$(finding snapshot-inconsistent 'w\b')"
    [[ $output == *"only libvirt knows: s\\\\1"*"domain: w\\\\b"* && $output != *'\\\\\\'* ]]
    # A command line is what it is.
    run -0 ctl show "$(finding memory-below-minimum 'w\b')"
    [[ $output == *"setmaxmem 'w\\b' "* ]]

    run -1 ctl chain NOSUCH
    same "Neither an image nor a domain NOSUCH is known. 'qcauditctl images' and 'qcauditctl domains' list those that are." "$output"
    run -1 ctl show NOSUCH
    [[ $output == *"Neither an image nor a domain NOSUCH is known."* ]]
    run -1 ctl chain ./NOSUCH
    [[ $output == *"No image ./NOSUCH is known."* ]]
    for what in domain pool; do
        run -1 ctl images "--$what" NOSUCH
        same "No such domain or storage pool is known." "$output"
    done
    run -0 ctl images --domain 'w\b' --no-legend
    [[ $output == *router.qcow2* ]]
    run -0 ctl images --pool lab
    [[ $output == *"No images found."* ]]
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
    # "Start libvirtd or virtqemud if this host has domains": it finds the domain, and so does the daemon.
    run -0 ctl show "$(ctl findings --name=libvirt-unreachable --json=short | jq '.[0].id')"
    [[ $output == *"Start libvirtd or virtqemud"* ]]
    rm -f "$DIR"/lv/sock/*
    "$top_srcdir/tests/integration/libvirt-host" start "$DIR/lv" session 3>&- 4>&- >/dev/null
    chmod 777 "$DIR"/lv/sock/*
    wait_for 60 nothing_left
    run -0 ctl domains
    [[ $output == *paused*web* ]]
}

# A journal of the daemon's own: $DIR/entries has the fields of what is told, "--" after each entry.
journal_begin() {
    mkdir "$DIR/journal"
    python3 -c '
import os, socket, sys
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
with open(sys.argv[2], "ab", buffering=0) as entries:
    while True: entries.write(journal.recv(1 << 20) + b"--\n")' "$DIR/journal/socket" "$DIR/entries" >"$DIR/journal.log" 2>&1 3>&- 4>&- &
    JOURNAL=$!
    wait_for 10 test -S "$DIR/journal/socket"
    DAEMON_WRAPPER=(with_journal "$DIR/journal")
}
with_journal() {
    exec unshare -m bash -c 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal &&
        mount --bind "$0" /run/systemd/journal && exec "$@"' "$@"
}

# told FINDING IMAGE: the domains that its alert in the journal names.
told() {
    python3 -c '
import sys
for entry in open(sys.argv[1], errors="replace").read().split("--\n"):
    lines = entry.split("\n")
    if {"QCAUDIT_FINDING=" + sys.argv[2], "QCAUDIT_IMAGE=" + sys.argv[3], "QCAUDIT_EVENT=opened"} <= set(lines):
        print(*[line[len("QCAUDIT_DOMAIN="):] for line in lines if line.startswith("QCAUDIT_DOMAIN=")])
        break
else: sys.exit("not told")' "$DIR/entries" "$1" "$STORE/$2"
}

@test "an alert in the journal names its domains" {
    need_root
    need unshare
    (with_journal "$DIR" true) 2>/dev/null || skip "no mount namespaces here"
    make_image "$STORE/a.qcow2"
    make_image "$STORE/b.qcow2"
    own "$STORE"/*
    define one "$(disk_xml "$STORE/a.qcow2")"
    define two "$(disk_xml "$STORE/a.qcow2")"
    journal_begin
    start_daemon --log-target journal
    scan
    wait_for 20 has_finding "shared-writable warning a.qcow2"
    break_image "$STORE/a.qcow2"
    break_image "$STORE/b.qcow2"
    wait_for 20 told metadata-corrupt a.qcow2
    wait_for 20 told metadata-corrupt b.qcow2
    # One field for each; what no domain uses names none.
    same "one two" "$(told metadata-corrupt a.qcow2)"
    same "" "$(told metadata-corrupt b.qcow2)"
    stop_daemon
}

@test "an image and a layer renamed under a running domain: the move back is printed, and no copy" {
    make_image "$STORE/a.qcow2"
    own "$STORE"/*
    define web "$(disk_xml "$STORE/a.qcow2")"
    start web
    snapshot web s1
    guest_write web vda "write -P 99 1M 64k"
    start_daemon
    scan
    fence           # which files the domain has is noted by then
    for name in a.qcow2 a.s1; do
        mv "$STORE/$name" "$STORE/$name-2024"
        wait_for 30 has_finding "deleted-in-use error web on $URI"
        [ "$(evidence "$(finding deleted-in-use web)" found)" = "$STORE/$name-2024" ]
        [[ $(advice deleted-in-use web) != *blockcopy* ]]
        remedy deleted-in-use web
        [ -e "$STORE/$name" ]
        wait_for 30 resolved deleted-in-use
        wait_for 30 has_no_finding parent-missing
    done
    v destroy web
    v start --paused web
    v destroy web
    holds 99 1M 64k "$STORE/a.s1"
}
