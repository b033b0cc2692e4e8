#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Contents that must not change: bit rot below the page cache, golden images that were written, parents that changed,
# commits that are meant, baselines that outlive the database.

load lib
load domains

setup() {
    need qemu-img qemu-io qcauditd python3 jq
    qcaudit_setup
    GOLDEN=$STORE/golden
    mkdir "$GOLDEN"
    integrity_config
}
teardown() {
    status=$?
    stop_daemon || :
    domains_end
    if [ -n "${MOUNTED-}" ]; then umount "$MOUNTED"; fi
    if [ -n "${LOOP-}" ]; then losetup -d "$LOOP"; fi
    (exit "$status")
    qcaudit_teardown
}

integrity_config() { # [LINE...]
    write_config 'golden:' "  patterns: [\"$GOLDEN/*\"]" 'scrub: {parents-after: 0s, pressure: off}' "$@"
}

# until_true COMMAND...: waits until it succeeds, for a minute.
until_true() {
    local i
    for ((i = 0; i < 300; i++)); do
        if "$@"; then return 0; fi
        sleep 0.2
    done
    echo "not within a minute: $*"
    return 1
}

reading() { # PATH JQ: of all its readings, newest first
    ctl baseline show "$1" --json=short 2>/dev/null | jq -r "$2"
}
last_verdict_is() { [ "$(reading "$1" '.readings[0].verdict')" = "$2" ]; }
is_verified() { [ "$(reading "$1" .baseline.state)" = verified ]; }
n_readings() { reading "$1" '.readings | length'; }
has_readings() { [ "$(n_readings "$1")" -ge "$2" ]; }
evidence() { # NAME JQ: of the one open finding of that name
    ctl findings --name="$1" --json=short | jq -r '.[0].id' | xargs -I{} timeout 60 qcauditctl --socket "$RUN/control" \
        --no-pager show {} --json=short | jq -r "$2"
}

make_golden() { # PATH [SIZE]: data here and there
    qemu-img create -q -f qcow2 "$1" "${2:-64M}"
    qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 2 5M 192k' -c 'write -q -z 8M 1M' "$1"
    chmod 444 "$1"
    touch -d '2 days ago' "$1"
}

@test "a golden image is read at once, and a byte that is written into it is found" {
    make_golden "$GOLDEN/base.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b "$GOLDEN/base.qcow2" "$STORE/clone.qcow2"
    start_daemon
    until_true is_verified "$GOLDEN/base.qcow2"
    [ "$(reading "$GOLDEN/base.qcow2" .baseline.source)" = policy ]
    digest=$(reading "$GOLDEN/base.qcow2" .baseline.digest)
    [ "$digest" = "$(qcauditctl hash --content "$GOLDEN/base.qcow2" | sed 's/.* = //')" ]
    # metadata only is information
    qemu-img bitmap --add "$GOLDEN/base.qcow2" backup
    until_true last_verdict_is "$GOLDEN/base.qcow2" metadata
    [ "$(reading "$GOLDEN/base.qcow2" '.readings[0].explanation')" = \
        "only the image's metadata changed: the content is as it was" ]
    has_no_finding golden-modified
    qemu-io -c 'write -q -P 9 5300000 1' "$GOLDEN/base.qcow2"
    until_true has_finding "golden-modified critical golden/base.qcow2"
    [ "$(evidence golden-modified '.evidence.ranges | tojson')" = \
        '[{"block":80,"guest-offset":5242880,"guest-length":65536}]' ]
    [ "$(evidence golden-modified '.evidence.children[0].path')" = "$STORE/clone.qcow2" ]
    [ "$(evidence golden-modified '.evidence["baseline-digest"]')" = "$digest" ]
    run -0 ctl baseline
    [[ $output == *"modified policy"* ]]
    run -0 ctl status
    [[ $output == *"changed since"* ]]
    # written again, as it was: that ends it
    qemu-io -c 'write -q -P 2 5300000 1' "$GOLDEN/base.qcow2"
    until_true has_no_finding golden-modified
    [ "$(reading "$GOLDEN/base.qcow2" .baseline.digest)" = "$digest" ]
    # a disk of another size is another disk, and no block of it is called changed
    qemu-img bitmap --remove "$GOLDEN/base.qcow2" backup
    qemu-img resize -q "$GOLDEN/base.qcow2" 128M
    until_true has_finding "golden-modified critical golden/base.qcow2"
    [ "$(evidence golden-modified '[.evidence.summary, .evidence.blocks] | tojson')" = \
        '["must not change and is a disk of 128M now, which was one of 64M",0]' ]
}

@test "what was accepted is what counts, with who and why" {
    make_golden "$GOLDEN/base.qcow2"
    start_daemon
    until_true is_verified "$GOLDEN/base.qcow2"
    run -1 ctl baseline accept "$GOLDEN/base.qcow2" --reason=why
    [[ $output == *"nothing to accept"* ]]
    qemu-io -c 'write -q -P 9 1M 64k' "$GOLDEN/base.qcow2"
    until_true has_finding "golden-modified critical golden/base.qcow2"
    run -1 ctl baseline accept "$GOLDEN/base.qcow2"
    [[ $output == *--reason* ]]
    # the command that the finding prints
    ctl findings --name=golden-modified --json=short | jq -r '.[0].id' >"$BATS_TEST_TMPDIR/id"
    command=$(ctl show "$(cat "$BATS_TEST_TMPDIR/id")" --json=short | jq -r '.remedy[] | select(.command) | .command')
    [[ $command == "qcauditctl baseline accept "* ]]
    QCAUDIT_SOCKET=$RUN/control bash -c "$command"
    has_no_finding golden-modified
    is_verified "$GOLDEN/base.qcow2"
    [ "$(reading "$GOLDEN/base.qcow2" '.baseline | [.source, ."accepted-by"] | tojson')" = '["accepted","root"]' ]
    run -0 ctl history "$GOLDEN/base.qcow2"
    [[ $output == *"accepted"*"by root: "* ]]
    # what comes after it is compared with that
    n=$(n_readings "$GOLDEN/base.qcow2")
    qemu-io -c 'write -q -P 8 1M 64k' "$GOLDEN/base.qcow2"
    until_true has_finding "golden-modified critical golden/base.qcow2"
    [ "$(evidence golden-modified '.evidence.ranges | length')" = 1 ]
    # what nobody may write to a terminal is escaped, once
    ctl baseline accept "$GOLDEN/base.qcow2" --reason=$'a\x1b[31mb'
    run -0 ctl history "$GOLDEN/base.qcow2"
    [[ $output == *"by root: a"'\x1b'"[31mb"* && $output != *$'\x1b'* ]]
    run -0 ctl baseline list
    [[ $output == *"1 image." ]]
}

@test "a parent that changed, with all its children" {
    qemu-img create -q -f qcow2 "$STORE/parent.qcow2" 64M
    qemu-io -c 'write -q -P 1 0 1M' "$STORE/parent.qcow2"
    touch -d '2 days ago' "$STORE/parent.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b parent.qcow2 "$STORE/one.qcow2"
    write_config 'golden: {infer: no}' 'scrub: {parents-after: 0s, pressure: off}'
    qemu-img create -q -f qcow2 -F qcow2 -b parent.qcow2 "$STORE/two.qcow2"
    start_daemon
    until_true is_verified "$STORE/parent.qcow2"
    [ "$(reading "$STORE/parent.qcow2" .baseline.source)" = parent ]
    qemu-io -c 'write -q -P 5 128k 64k' -c 'write -q -P 5 640k 64k' "$STORE/parent.qcow2"
    until_true has_finding "parent-changed critical parent.qcow2"
    [ "$(evidence parent-changed '[.evidence.children[].path] | sort | tojson')" = \
        "[\"$STORE/one.qcow2\",\"$STORE/two.qcow2\"]" ]
    [ "$(evidence parent-changed '[.evidence.ranges[].block] | tojson')" = '[2,10]' ]
}

@test "a commit is no finding: of an overlay that is still there, of one that was emptied or deleted after it was read" {
    write_config 'golden: {infer: no}' 'scrub: {parents-after: 0s, pressure: off}'
    for name in kept emptied deleted; do
        qemu-img create -q -f qcow2 "$STORE/$name.qcow2" 64M
        qemu-io -c 'write -q -P 1 0 1M' "$STORE/$name.qcow2"
        touch -d '2 days ago' "$STORE/$name.qcow2"
        qemu-img create -q -f qcow2 -F qcow2 -b "$name.qcow2" "$STORE/$name-1.qcow2"
        qemu-io -c 'write -q -P 5 128k 64k' -c 'write -q -z 256k 128k' -c 'write -q -P 7 4M 100k' "$STORE/$name-1.qcow2"
        qemu-img create -q -f qcow2 -F qcow2 -b "$name-1.qcow2" "$STORE/$name-2.qcow2"
    done
    start_daemon
    for name in kept emptied deleted; do
        until_true is_verified "$STORE/$name.qcow2"
        until_true is_verified "$STORE/$name-1.qcow2"
    done
    qemu-img commit -q -b kept.qcow2 "$STORE/kept-1.qcow2"
    qemu-img commit -q "$STORE/emptied-1.qcow2"
    qemu-img commit -q -d "$STORE/deleted-1.qcow2"
    qemu-img rebase -u -F qcow2 -b deleted.qcow2 "$STORE/deleted-2.qcow2"
    rm "$STORE/deleted-1.qcow2"
    for name in kept emptied deleted; do
        until_true last_verdict_is "$STORE/$name.qcow2" commit
        [[ "$(reading "$STORE/$name.qcow2" '.readings[0].explanation')" == "a commit of $STORE/$name-1.qcow2"*" explains it: "* ]]
    done
    # the emptied layer has an overlay, which sees what it saw
    until_true last_verdict_is "$STORE/emptied-1.qcow2" commit
    [[ "$(reading "$STORE/emptied-1.qcow2" '.readings[0].explanation')" == "it was committed into its parent"* ]]
    has_no_finding parent-changed
    # anything beside it is one
    qemu-io -c 'write -q -P 6 8M 64k' "$STORE/kept.qcow2"
    until_true has_finding "parent-changed critical kept.qcow2"
}

@test "a commit of layers with subclusters (extended L2): of whole blocks no finding, of parts a warning" {
    write_config 'golden: {infer: no}' 'scrub: {parents-after: 0s, pressure: off}'
    for name in whole partly; do
        qemu-img create -q -f qcow2 -o extended_l2=on "$STORE/$name.qcow2" 64M
        qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 2 5M 100k' "$STORE/$name.qcow2"
        touch -d '2 days ago' "$STORE/$name.qcow2"
        qemu-img create -q -f qcow2 -F qcow2 -b "$name.qcow2" -o extended_l2=on "$STORE/$name-1.qcow2"
    done
    # whole blocks of 64 KiB, of data, of zeros, and where the parent has nothing; and a few subclusters
    qemu-io -c 'write -q -P 5 128k 64k' -c 'write -q -z 256k 128k' -c 'write -q -P 7 8M 128k' "$STORE/whole-1.qcow2"
    qemu-io -c 'write -q -P 5 130k 8k' -c 'write -q -P 7 8M 6k' "$STORE/partly-1.qcow2"
    start_daemon
    for name in whole partly; do
        until_true is_verified "$STORE/$name.qcow2"
        until_true is_verified "$STORE/$name-1.qcow2"
    done
    qemu-img commit -q "$STORE/whole-1.qcow2"
    until_true last_verdict_is "$STORE/whole.qcow2" commit
    has_no_finding parent-changed
    # of a block that the overlay held a part of, no digest tells; that it may be a commit is said
    qemu-img commit -q "$STORE/partly-1.qcow2"
    until_true has_finding "parent-changed warning partly.qcow2"
    [[ "$(evidence parent-changed .evidence.summary)" == *"perhaps by a commit"* ]]
}

@test "a golden image whose data file is written is read at once" {
    qemu-img create -q -f qcow2 -o "data_file=$STORE/file.data,data_file_raw=on" "$GOLDEN/file.qcow2" 16M
    qemu-io -c 'write -q -P 1 0 1M' "$GOLDEN/file.qcow2"
    start_daemon
    until_true is_verified "$GOLDEN/file.qcow2"
    has_no_finding golden-modified
    printf x | dd of="$STORE/file.data" bs=1 seek=70000 conv=notrunc status=none
    until_true has_finding "golden-modified critical golden/file.qcow2"
}

@test "a commit of a long chain, of a disk that grew, of small clusters, into a data file" {
    write_config 'golden: {infer: no}' 'scrub: {parents-after: 0s, pressure: off}'
    for name in long grown small file; do
        options=()
        [ $name != small ] || options=(-o cluster_size=4k)
        [ $name != file ] || options=(-o "data_file=$STORE/file.data,data_file_raw=on")
        qemu-img create -q -f qcow2 "${options[@]}" "$STORE/$name.qcow2" 16M
        qemu-io -c 'write -q -P 1 0 1M' "$STORE/$name.qcow2"
        touch -d '2 days ago' "$STORE/$name.qcow2"
    done
    below=long
    for i in {1..20}; do
        qemu-img create -q -f qcow2 -F qcow2 -b "$below.qcow2" "$STORE/long-$i.qcow2"
        qemu-io -c "write -q -P $((i + 1)) $((i * 128))k 64k" "$STORE/long-$i.qcow2"
        below=long-$i
    done
    qemu-img create -q -f qcow2 -F qcow2 -b grown.qcow2 "$STORE/grown-1.qcow2" 64M
    qemu-io -c 'write -q -P 5 128k 64k' -c 'write -q -P 6 40M 64k' "$STORE/grown-1.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b small.qcow2 -o cluster_size=4k "$STORE/small-1.qcow2"
    qemu-io -c 'write -q -P 5 132k 8k' "$STORE/small-1.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b file.qcow2 "$STORE/file-1.qcow2"
    qemu-io -c 'write -q -P 5 128k 64k' "$STORE/file-1.qcow2"
    start_daemon
    for file in "$STORE"/*.qcow2; do until_true is_verified "$file"; done
    qemu-img commit -q -b long.qcow2 "$STORE/long-20.qcow2"
    qemu-img commit -q -d "$STORE/grown-1.qcow2"
    qemu-img commit -q -d "$STORE/small-1.qcow2"
    qemu-img commit -q -d "$STORE/file-1.qcow2"
    for name in long grown; do until_true last_verdict_is "$STORE/$name.qcow2" commit; done
    [[ "$(reading "$STORE/long.qcow2" '.readings[0].explanation')" == *"and 12 more explains it: 20 blocks are what it held" ]]
    # parts of a block: no digest tells, and that is no reason to cry
    until_true has_finding "parent-changed warning small.qcow2"
    [ "$(evidence parent-changed '.evidence["maybe-committed"]')" = "$STORE/small-1.qcow2" ]
    # what lies in another file is read when it is due; the times of the image's own say nothing of it
    scan --scrub "$STORE/file.qcow2"
    until_true last_verdict_is "$STORE/file.qcow2" commit
    has_no_finding bit-rot
    qemu-io -c 'write -q -P 9 512k 64k' "$STORE/file.qcow2"
    scan --scrub "$STORE/file.qcow2"
    until_true has_finding "parent-changed critical file.qcow2"
    has_no_finding bit-rot
    has_no_finding "parent-changed critical long.qcow2"
    has_no_finding "parent-changed critical grown.qcow2"
    # larger, and nothing else
    qemu-img resize -q "$STORE/long.qcow2" 64M
    until_true last_verdict_is "$STORE/long.qcow2" changed
    has_no_finding "parent-changed critical long.qcow2"
}

@test "virsh blockcommit of a running domain, of a layer in the middle and of the leaf, is no finding" {
    domains_begin
    write_config 'golden: {infer: no}' 'scrub: {parents-after: 0s, pressure: off}'
    qemu-img create -q -f qcow2 "$STORE/own.qcow2" 64M
    qemu-io -c 'write -q -P 1 0 1M' "$STORE/own.qcow2"
    touch -d '2 days ago' "$STORE/own.qcow2"
    below=own
    for name in s1 s2 leaf; do
        qemu-img create -q -f qcow2 -F qcow2 -b "$below.qcow2" "$STORE/$name.qcow2"
        qemu-io -c 'write -q -P 5 128k 64k' -c 'write -q -P 7 4M 100k' -c 'write -q -z 512k 64k' "$STORE/$name.qcow2"
        below=$name
    done
    own "$STORE" "$STORE"/*.qcow2
    define d1 "$(disk_xml "$STORE/leaf.qcow2")"
    start d1
    start_daemon
    until_true is_verified "$STORE/own.qcow2"
    until_true is_verified "$STORE/s1.qcow2"
    n=$(n_readings "$STORE/own.qcow2")
    v blockcommit d1 vda --base "$STORE/own.qcow2" --top "$STORE/s1.qcow2" --wait
    until_true has_readings "$STORE/own.qcow2" $((n + 1))
    [ "$(reading "$STORE/own.qcow2" '.readings[0].verdict')" = commit ]
    [[ "$(reading "$STORE/own.qcow2" '.readings[0].explanation')" == *"commit of "*"s1.qcow2"* ]]
    has_no_finding parent-changed
    v blockcommit d1 vda --base "$STORE/own.qcow2" --active --pivot --wait
    scan
    has_no_finding parent-changed
    has_no_finding bit-rot
    v destroy d1
    scan
    has_no_finding parent-changed
    has_no_finding bit-rot
}

@test "a commit of an overlay that was never read: its reading is asked for; emptied unread, it is a warning" {
    write_config 'golden: {infer: no}' 'scrub: {parents-after: 1s, pressure: off}'
    for name in kept emptied; do
        qemu-img create -q -f qcow2 "$STORE/$name.qcow2" 64M
        qemu-io -c 'write -q -P 1 0 1M' "$STORE/$name.qcow2"
        touch -d '2 days ago' "$STORE/$name.qcow2"
        qemu-img create -q -f qcow2 -F qcow2 -b "$name.qcow2" "$STORE/$name-1.qcow2"
    done
    start_daemon
    for name in kept emptied; do until_true is_verified "$STORE/$name.qcow2"; done
    stop_daemon
    # as if the overlays had been in use until now
    write_config 'golden: {infer: no}' 'scrub: {parents-after: 1d, pressure: off}'
    for name in kept emptied; do
        qemu-io -c 'write -q -P 5 128k 64k' -c 'write -q -P 7 4M 100k' "$STORE/$name-1.qcow2"
        [ $name = emptied ] || qemu-img commit -q -d "$STORE/$name-1.qcow2"
        [ $name = kept ] || qemu-img commit -q "$STORE/$name-1.qcow2"
    done
    start_daemon
    until_true last_verdict_is "$STORE/kept.qcow2" commit
    until_true has_finding "parent-changed warning emptied.qcow2"
    [ "$(evidence parent-changed '.evidence["maybe-committed"]')" = "$STORE/emptied-1.qcow2" ]
    has_no_finding "parent-changed critical"
}

@test "another file at its place, the same file at another" {
    make_golden "$GOLDEN/a.qcow2"
    make_golden "$GOLDEN/b.qcow2"
    start_daemon
    until_true is_verified "$GOLDEN/a.qcow2"
    until_true is_verified "$GOLDEN/b.qcow2"
    since=$(reading "$GOLDEN/a.qcow2" .baseline.since)
    # restored from a backup: another inode, the same content
    cp -p "$GOLDEN/a.qcow2" "$DIR/backup"
    mv "$DIR/backup" "$GOLDEN/a.qcow2"
    until_true has_readings "$GOLDEN/a.qcow2" 2
    [ "$(reading "$GOLDEN/a.qcow2" '.readings[0] | [.verdict, .explanation] | tojson')" = \
        '["verified","another file with the same content lies there now"]' ]
    [ "$(reading "$GOLDEN/a.qcow2" .baseline.since)" = "$since" ]
    # renamed
    mv "$GOLDEN/b.qcow2" "$GOLDEN/c.qcow2"
    until_true is_verified "$GOLDEN/c.qcow2"
    # its history came along, and it was not read anew
    [ "$(n_readings "$GOLDEN/c.qcow2")" = 1 ]
    # replaced by another
    make_golden "$DIR/other.qcow2"
    qemu-io -c 'write -q -P 9 0 64k' "$DIR/other.qcow2"
    mv "$DIR/other.qcow2" "$GOLDEN/a.qcow2"
    until_true has_finding "golden-modified critical golden/a.qcow2"
    [ "$(evidence golden-modified '.evidence.blocks')" = 1 ]
}

@test "a file that was read under another name does not become golden by taking a golden image's place" {
    for name in a b c d e; do make_golden "$GOLDEN/$name.qcow2"; done
    for name in b d e; do
        chmod u+w "$GOLDEN/$name.qcow2"
        qemu-io -c "write -q -P 9 2M 64k" "$GOLDEN/$name.qcow2"
        touch -d '2 days ago' "$GOLDEN/$name.qcow2"
        chmod 444 "$GOLDEN/$name.qcow2"
    done
    for name in a b c; do qemu-img create -q -f qcow2 -F qcow2 -b "$GOLDEN/$name.qcow2" "$STORE/$name.qcow2"; done
    start_daemon
    for name in a b c d e; do until_true is_verified "$GOLDEN/$name.qcow2"; done
    digest=$(reading "$GOLDEN/a.qcow2" .baseline.digest)
    # two changed places; one moved over another; and what lies there shows nothing of that but its ctime
    mv "$GOLDEN/a.qcow2" "$GOLDEN/t"
    mv "$GOLDEN/b.qcow2" "$GOLDEN/a.qcow2"
    mv "$GOLDEN/t" "$GOLDEN/b.qcow2"
    mv -f "$GOLDEN/d.qcow2" "$GOLDEN/c.qcow2"
    for name in a b c; do until_true has_finding "golden-modified critical golden/$name.qcow2"; done
    [ "$(reading "$GOLDEN/a.qcow2" .baseline.digest)" = "$digest" ]
    has_no_finding golden/e.qcow2
    has_no_finding baselines-damaged
    # it is still so after a restart
    stop_daemon
    start_daemon
    scan
    for name in a b c; do has_finding "golden-modified critical golden/$name.qcow2"; done
    # and over again ends it
    mv "$GOLDEN/a.qcow2" "$GOLDEN/t"
    mv "$GOLDEN/b.qcow2" "$GOLDEN/a.qcow2"
    mv "$GOLDEN/t" "$GOLDEN/b.qcow2"
    for name in a b; do until_true has_no_finding "golden-modified critical golden/$name.qcow2"; done
    has_finding "golden-modified critical golden/c.qcow2"
    # the golden image has another name, too, and its overlays see another file
    cp "$GOLDEN/e.qcow2" "$DIR/copy"
    qemu-io -c "write -q -P 7 2M 64k" "$DIR/copy"
    ln "$GOLDEN/b.qcow2" "$GOLDEN/old.qcow2"
    mv "$DIR/copy" "$GOLDEN/b.qcow2"
    until_true has_finding "golden-modified critical golden/b.qcow2"
    has_no_finding golden/old.qcow2
}

@test "a new database blesses nothing: the journal knows" {
    make_golden "$GOLDEN/base.qcow2"
    make_golden "$GOLDEN/well.qcow2"
    start_daemon
    until_true is_verified "$GOLDEN/base.qcow2"
    until_true is_verified "$GOLDEN/well.qcow2"
    digest=$(reading "$GOLDEN/base.qcow2" .baseline.digest)
    stop_daemon
    rm -f "$STATE"/qcaudit.db*
    qemu-io -c 'write -q -P 9 0 64k' "$GOLDEN/base.qcow2"
    # the power failed while its last line was written
    printf '0123abcd {"baseline":{"path":"/x' >>"$STATE/baselines.journal"
    start_daemon
    until_true has_finding "golden-modified critical golden/base.qcow2"
    [ "$(evidence golden-modified '.evidence["baseline-digest"]')" = "$digest" ]
    [ "$(evidence golden-modified '.evidence.ranges[0].block')" = 0 ]
    grep -q "2 baselines taken from the journal" "$LOG"
    has_no_finding baselines-damaged
    is_verified "$GOLDEN/well.qcow2"
    # an acknowledgement outlives it too
    ctl ack "$(ctl findings --name=golden-modified --json=short | jq -r '.[0].id')" --reason="known to all"
    stop_daemon
    rm -f "$STATE"/qcaudit.db*
    start_daemon
    acknowledged() { [ "$(ctl findings --name=golden-modified --json=short | jq -r '.[0] | [.state, ."acknowledged-reason"] | tojson')" = '["acknowledged","known to all"]' ]; }
    until_true acknowledged
}

@test "a clock that jumps ahead by weeks does not have it forgotten what deleted images held" {
    need sqlite3
    local name
    for name in base well third; do make_golden "$GOLDEN/$name.qcow2"; done
    start_daemon
    for name in base well third; do until_true is_verified "$GOLDEN/$name.qcow2"; done
    rm "$GOLDEN/base.qcow2"
    gone() { [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM baseline WHERE gone > 0')" = "$1" ]; }
    until_true gone 1
    stop_daemon
    # As after a jump by 40 days while nothing ran: both times are as far back.
    days=$((40 * 86400 * 1000000))
    sqlite3 "$STATE/qcaudit.db" "UPDATE baseline SET gone = gone - $days WHERE gone > 0;
        UPDATE state SET swept = CAST(strftime('%s') AS INTEGER) * 1000000 - $days"
    rm "$STATE/baselines.journal"
    start_daemon
    rm "$GOLDEN/well.qcow2"
    until_true gone 2
    stop_daemon
    gone 2
    # And when that much time has passed.
    sqlite3 "$STATE/qcaudit.db" "UPDATE state SET swept = CAST(strftime('%s') AS INTEGER) * 1000000"
    start_daemon
    rm "$GOLDEN/third.qcow2"
    forgotten() { gone 2 && [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM baseline')" = 2 ]; }
    until_true forgotten
    stop_daemon
}

@test "a damaged journal and damaged block digests are said, and not trusted" {
    make_golden "$GOLDEN/base.qcow2"
    start_daemon
    until_true is_verified "$GOLDEN/base.qcow2"
    stop_daemon
    [ "$(stat -c %a "$STATE/baselines.journal")" = 600 ]
    printf 'X' | dd of="$STATE/baselines.journal" bs=1 seek=60 conv=notrunc status=none
    printf 'X' | dd of="$(echo "$STATE"/blocks/*.blocks)" bs=1 seek=160 conv=notrunc status=none
    start_daemon
    until_true has_finding "baselines-damaged error"
    grep -q "damaged line" "$LOG"
    is_verified "$GOLDEN/base.qcow2"
    qemu-io -c 'write -q -P 9 0 64k' "$GOLDEN/base.qcow2"
    until_true has_finding "golden-modified critical golden/base.qcow2"
    [ "$(evidence golden-modified '.evidence | has("ranges")')" = false ]
    grep -q "what changed cannot be located" "$LOG"
    # the journal is whole again
    stop_daemon
    rm -f "$STATE"/qcaudit.db*
    start_daemon
    until_true has_finding "golden-modified critical golden/base.qcow2"
    has_no_finding baselines-damaged
}

@test "what is no file in the state directory holds nobody up" {
    make_golden "$GOLDEN/base.qcow2"
    start_daemon
    until_true is_verified "$GOLDEN/base.qcow2"
    stop_daemon
    blocks=$(echo "$STATE"/blocks/*.blocks)
    rm "$STATE/baselines.journal" "$blocks"
    mkfifo "$STATE/baselines.journal" "$STATE/baselines.journal.new" "$blocks" "$blocks.partial" "$blocks.new" \
        "$blocks.new.part"
    start_daemon
    until_true has_finding "baselines-damaged error"
    # the journal is written anew at once, from the database
    until_true [ -f "$STATE/baselines.journal" ]
    [ -p "$STATE/baselines.journal.damaged" ]
    chmod u+w "$GOLDEN/base.qcow2"
    qemu-io -c 'write -q -P 9 0 64k' "$GOLDEN/base.qcow2"
    until_true has_finding "golden-modified critical golden/base.qcow2"
    stop_daemon
    rm -rf "$STATE"/qcaudit.db* "$STATE/blocks"
    echo >"$STATE/blocks"
    start_daemon
    until_true has_finding "golden-modified critical golden/base.qcow2"
}

@test "bit rot: found below the page cache, while no time of the file moves, and after a chown" {
    need_root
    need mkfs.ext4 losetup filefrag
    truncate -s 300M "$DIR/disk"
    mkfs.ext4 -q -F "$DIR/disk"
    LOOP=$(losetup --find --show --direct-io=on "$DIR/disk" 2>/dev/null || losetup --find --show "$DIR/disk") ||
        skip "no loop device can be had"
    mount "$LOOP" "$STORE" || skip "nothing can be mounted here"
    MOUNTED=$STORE
    mkdir "$GOLDEN"
    qemu-img create -q -f qcow2 "$GOLDEN/base.qcow2" 2G
    qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 2 1G 1M' -c 'write -q -P 3 2047M 1M' "$GOLDEN/base.qcow2"
    sync -f "$GOLDEN"
    touch -d '2 days ago' "$GOLDEN/base.qcow2"
    sync -f "$GOLDEN"
    start_daemon
    until_true is_verified "$GOLDEN/base.qcow2"
    [ "$(reading "$GOLDEN/base.qcow2" '.readings[0].direct')" = true ]
    flip() { # GUEST: the byte there, on the disk below the file system
        local host block physical
        host=$(qemu-img map -U --output=json "$GOLDEN/base.qcow2" | jq ".[] | select(.data and .start <= $1 and .start + .length > $1) | .offset + $1 - .start")
        block=$((host / 1024))
        physical=$(filefrag -b1024 -v "$GOLDEN/base.qcow2" |
            awk -v b="$block" '/^ *[0-9]+:/ { gsub(/[:.]+/, " "); if (b >= $2 && b <= $3) print $4 + b - $2 }')
        echo "guest $1: host $host, block $block, on the disk $physical" >>"$LOG"
        printf 'Z' | dd of="$LOOP" bs=1 seek=$((physical * 1024 + host % 1024)) conv=notrunc,fsync status=none
        blockdev --flushbufs "$LOOP"
    }
    cat "$GOLDEN/base.qcow2" >/dev/null         # all of it is in the page cache
    before=$(stat -c '%s %Y %Z %y %z' "$GOLDEN/base.qcow2")
    flip $((1024 * 1024 * 1024 + 70000))
    # the cache has the old byte still
    [ "$(qemu-io -r -U -c 'read -q -P 2 1G 1M' "$GOLDEN/base.qcow2")" = "" ]
    ctl scan --scrub --wait "$GOLDEN/base.qcow2" >/dev/null || [ $? = 2 ]
    until_true has_finding "bit-rot critical golden/base.qcow2"
    [ "$(stat -c '%s %Y %Z %y %z' "$GOLDEN/base.qcow2")" = "$before" ]
    [ "$(qemu-io -r -U -c 'read -q -P 2 1G 1M' "$GOLDEN/base.qcow2")" = "" ]
    [ "$(evidence bit-rot '.evidence.ranges | tojson')" = '[{"block":16385,"guest-offset":1073807360,"guest-length":65536}]' ]
    [ "$(reading "$GOLDEN/base.qcow2" '.readings[0].verdict')" = bit-rot ]
    # libvirt gives the file to a domain, and takes it back
    chown 64055:64055 "$GOLDEN/base.qcow2"
    owner_is() { [ "$(ctl show "$GOLDEN/base.qcow2" --json=short | jq .uid)" = "$1" ]; }
    until_true owner_is 64055
    chown 0:0 "$GOLDEN/base.qcow2"
    until_true owner_is 0
    flip $((2047 * 1024 * 1024 + 5))
    ctl scan --scrub --wait "$GOLDEN/base.qcow2" >/dev/null || [ $? = 2 ]
    two_blocks() { [ "$(evidence bit-rot '.evidence.blocks')" = 2 ]; }
    until_true two_blocks
    has_no_finding golden-modified
    # restored in place from a copy
    qemu-io -c 'write -q -P 2 1G 1M' -c 'write -q -P 3 2047M 1M' "$GOLDEN/base.qcow2"
    until_true has_no_finding bit-rot
    is_verified "$GOLDEN/base.qcow2"
}

# secret_io PATH FORMAT COMMAND...: qemu-io on an encrypted image
secret_io() {
    local path=$1 driver=qcow2 key=encrypt.key-secret=s commands=() command
    if [ "$2" = raw-luks ]; then driver=luks key=key-secret=s; fi
    shift 2
    for command; do commands+=(-c "$command"); done
    qemu-io --object secret,id=s,data=0123456789abcdef "${commands[@]}" \
        --image-opts "driver=$driver,file.filename=$path,$key"
}
make_encrypted() { # PATH luks|aes|raw-luks [OPTION...]
    local path=$1 how=$2 format=(-f qcow2 -o "encrypt.format=$2,encrypt.key-secret=s")
    shift 2
    case $how in
    luks) format=(-f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10) ;;
    raw-luks) format=(-f luks -o key-secret=s,iter-time=10) ;;
    esac
    for ((i = 0; i < 20; i++)); do          # on a busy machine LUKS at times fails to measure its key derivation
        ! qemu-img create -q --object secret,id=s,data=0123456789abcdef "${format[@]}" "$@" "$path" 64M || break
    done
    secret_io "$path" "$how" 'write -q -P 1 0 1M' 'write -q -P 2 5M 192k'
    touch -d '2 days ago' "$path"
}
# rot FILE OFFSET: another byte there, and no time says so but for ctime, which a change of mode explains
rot() {
    touch -r "$1" "$DIR/times"
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2])); byte = f.read(1)[0]; f.seek(int(sys.argv[2])); f.write(bytes([byte ^ 4]))' "$1" "$2"
    touch -r "$DIR/times" "$1"
    chmod a-w "$1"
}
host_offset() { # PATH GUEST: of a qcow2 image without a key
    python3 -B -c 'import sys; sys.path.insert(0, sys.argv[1])
from imagekit import Qcow2, OFFSET_MASK
with Qcow2(sys.argv[2]) as q: print((q.l2(int(sys.argv[3]) // q.cluster) & OFFSET_MASK) + int(sys.argv[3]) % q.cluster)' \
        "$IMAGES" "$1" "$2"
}

@test "encrypted golden images are verified by what is stored: rot and writes are found, and their keys' rot" {
    make_encrypted "$GOLDEN/luks.qcow2" luks
    make_encrypted "$GOLDEN/keys.qcow2" luks
    make_encrypted "$GOLDEN/aes.qcow2" aes
    make_encrypted "$GOLDEN/container.img" raw-luks
    make_encrypted "$GOLDEN/sound.qcow2" luks
    start_daemon
    for name in luks.qcow2 keys.qcow2 aes.qcow2 container.img sound.qcow2; do
        until_true is_verified "$GOLDEN/$name"
    done
    # of what is stored, and it does not pass for a content digest
    for name in luks aes sound; do
        [ "$(reading "$GOLDEN/$name.qcow2" .baseline.encrypted)" = true ]
        run -1 qcauditctl hash --content "$GOLDEN/$name.qcow2"
        [[ $output == *"is encrypted"* ]]
    done
    [ "$(reading "$GOLDEN/container.img" .baseline.encrypted)" = false ]
    run -0 ctl show "$GOLDEN/luks.qcow2"
    [[ $output == *"Digest of encrypted data: "* ]]
    # nothing changed: nothing is said
    for name in luks.qcow2 keys.qcow2 aes.qcow2 container.img sound.qcow2; do
        ctl scan --scrub --wait "$GOLDEN/$name" >/dev/null || [ $? = 2 ]
        last_verdict_is "$GOLDEN/$name" verified
    done
    [ -z "$(findings | grep -E 'rot|modified|changed|overdue')" ]
    stop_daemon
    rot "$GOLDEN/luks.qcow2" "$(host_offset "$GOLDEN/luks.qcow2" 5300000)"
    rot "$GOLDEN/keys.qcow2" $((3 * 65536 + 100000))
    rot "$GOLDEN/container.img" $(($(stat -c %s "$GOLDEN/container.img") - 64 * 1048576 + 5300000))
    # the baselines are in the journal, too
    rm "$STATE/qcaudit.db"*
    start_daemon
    for name in luks.qcow2 keys.qcow2 container.img sound.qcow2; do
        ctl scan --scrub --wait "$GOLDEN/$name" >/dev/null || [ $? = 2 ]
    done
    for name in luks.qcow2 keys.qcow2 container.img; do
        until_true has_finding "bit-rot critical golden/$name"
    done
    ctl findings --name=bit-rot --json=short | jq -r '.[] | .path, .summary'
    ctl findings --name=bit-rot --json=short | jq -r '.[].id' | while read -r id; do
        ctl show "$id" --json=short | jq -c '[.path, .evidence.encrypted, .evidence.ranges, .evidence.summary]'
    done >"$DIR/shown"
    cat "$DIR/shown"
    grep -F 'luks.qcow2",true,[{"block":80,"guest-offset":5242880,"guest-length":65536}]' "$DIR/shown"
    grep -F 'keys.qcow2",true,[],' "$DIR/shown"
    grep 'keys.*has other headers or tables' "$DIR/shown"
    last_verdict_is "$GOLDEN/sound.qcow2" verified
    # a write is one
    chmod u+w "$GOLDEN/aes.qcow2"
    secret_io "$GOLDEN/aes.qcow2" aes 'write -q -P 3 640k 512'
    until_true has_finding "golden-modified critical golden/aes.qcow2"
    [ "$(evidence golden-modified '.evidence.ranges | tojson')" = \
        '[{"block":10,"guest-offset":655360,"guest-length":65536}]' ]
    run -0 ctl baseline accept "$GOLDEN/aes.qcow2" --reason="meant"
    until_true has_no_finding golden-modified
    [ "$(reading "$GOLDEN/aes.qcow2" .baseline.encrypted)" = true ]
    # what was encrypted and is not any more is no longer what it was, whatever its bytes are
    qemu-img create -q -f qcow2 "$DIR/plain.qcow2" 64M
    qemu-io -c 'write -q -P 1 0 1M' "$DIR/plain.qcow2"
    mv "$DIR/plain.qcow2" "$GOLDEN/sound.qcow2"
    until_true has_finding "golden-modified critical golden/sound.qcow2"
}

@test "a commit into an encrypted parent cannot be told from a change, and the finding says so" {
    write_config 'golden: {infer: no}' 'scrub: {parents-after: 0s, pressure: off}'
    make_encrypted "$STORE/parent.qcow2" luks
    qemu-img create -q -f qcow2 -u -F qcow2 -b parent.qcow2 "$STORE/child.qcow2" 64M
    qemu-io -c 'write -q -P 7 1M 64k' --image-opts "driver=qcow2,file.filename=$STORE/child.qcow2,backing=" 2>/dev/null ||
        skip "this qemu-io cannot leave the parent out"
    start_daemon
    until_true is_verified "$STORE/parent.qcow2"
    secret_io "$STORE/parent.qcow2" luks 'write -q -P 7 64k 64k'
    until_true has_finding "parent-changed critical parent.qcow2"
    [[ "$(evidence parent-changed .evidence.summary)" == *"encrypted: whether by a commit cannot be told"* ]]
}

@test "compressed data that rots: what inflated once does not any more" {
    for ((i = 0; i < 16; i++)); do      # text, so that it is compressed
        head -c 49152 /dev/urandom | base64 -w 0 | head -c 65536 >>"$DIR/text"
    done
    for kind in zlib zstd; do
        qemu-img convert -c -O qcow2 -o compression_type=$kind -f raw "$DIR/text" "$GOLDEN/$kind.qcow2"
        touch -d '2 days ago' "$GOLDEN/$kind.qcow2"
    done
    start_daemon
    for kind in zlib zstd; do until_true is_verified "$GOLDEN/$kind.qcow2"; done
    stop_daemon
    for kind in zlib zstd; do
        place=$(python3 -B -c 'import sys; sys.path.insert(0, sys.argv[1])
from imagekit import Qcow2
with Qcow2(sys.argv[2]) as q: print(q.l2(3) & ((1 << (62 - (q.cluster_bits - 8))) - 1))' "$IMAGES" "$GOLDEN/$kind.qcow2")
        # so that nothing inflates: the type of deflate's first block, zstd's magic
        rot "$GOLDEN/$kind.qcow2" "$place"
        run -1 qemu-io -r -f qcow2 -c 'read -q 192k 64k' "$GOLDEN/$kind.qcow2"
    done
    start_daemon
    for kind in zlib zstd; do
        ctl scan --scrub --wait "$GOLDEN/$kind.qcow2" >/dev/null || [ $? = 2 ]
        until_true has_finding "bit-rot critical golden/$kind.qcow2"
    done
    ctl findings --name=bit-rot --json=short | jq -r '.[].id' | while read -r id; do
        ctl show "$id" --json=short | jq -c '[.evidence.ranges, .evidence.summary]'
    done >"$DIR/shown"
    cat "$DIR/shown"
    [ "$(grep -cF '[{"block":3,"guest-offset":196608,"guest-length":65536}],"holds damaged data where it held sound' "$DIR/shown")" = 2 ]
    has_no_finding golden-modified
}

# One golden image with fs-verity, on a disk of its own.
verity_golden() {
    need_root
    need mkfs.ext4 losetup filefrag fsverity
    truncate -s 300M "$DIR/disk"
    mkfs.ext4 -q -F -b 4096 -O verity "$DIR/disk"
    LOOP=$(losetup --find --show "$DIR/disk") || skip "no loop device can be had"
    mount "$LOOP" "$STORE" 2>"$DIR/why" || skip "the kernel mounts no file system with verity: $(cat "$DIR/why")"
    MOUNTED=$STORE
    mkdir "$GOLDEN"
    make_golden "$GOLDEN/base.qcow2"
    sync -f "$GOLDEN"
    fsverity enable "$GOLDEN/base.qcow2" 2>"$DIR/why" || skip "the kernel has no fs-verity: $(cat "$DIR/why")"
}
measure() { fsverity measure "$1" | cut -d ' ' -f 1; }

# bats test_tags=kernel
@test "fs-verity: its measure is kept, and EIO there is bit rot" {
    verity_golden
    start_daemon
    until_true is_verified "$GOLDEN/base.qcow2"
    [ "$(reading "$GOLDEN/base.qcow2" '.baseline["fs-verity"]')" = "$(measure "$GOLDEN/base.qcow2")" ]
    ctl show "$GOLDEN/base.qcow2" | grep -E "^ *fs-verity: +$(measure "$GOLDEN/base.qcow2")\$"
    host=$(qemu-img map -U --output=json "$GOLDEN/base.qcow2" | jq '.[0].offset')
    physical=$(filefrag -b4096 -v "$GOLDEN/base.qcow2" |
        awk -v b=$((host / 4096)) '/^ *[0-9]+:/ { gsub(/[:.]+/, " "); if (b >= $2 && b <= $3) print $4 + b - $2 }')
    # such a file is not read past the page cache: it goes with the mount
    stop_daemon
    umount "$STORE"
    printf 'Z' | dd of="$LOOP" bs=1 seek=$((physical * 4096)) conv=notrunc,fsync status=none
    mount "$LOOP" "$STORE"
    start_daemon
    ctl scan --scrub --wait "$GOLDEN/base.qcow2" >/dev/null || [ $? = 2 ]
    until_true has_finding "bit-rot critical golden/base.qcow2"
    [[ "$(evidence bit-rot '.evidence.summary')" == *"cannot be read as fs-verity knows it"* ]]
}

# bats test_tags=kernel
@test "fs-verity: another file with another measure in its place is a golden image that was modified" {
    verity_golden
    start_daemon
    until_true is_verified "$GOLDEN/base.qcow2"
    make_golden "$STORE/other.qcow2"
    chmod 644 "$STORE/other.qcow2"
    qemu-io -c 'write -q -P 9 5M 64k' "$STORE/other.qcow2"
    fsverity enable "$STORE/other.qcow2"
    before=$(measure "$GOLDEN/base.qcow2") after=$(measure "$STORE/other.qcow2")
    [ "$before" != "$after" ]
    mv -f "$STORE/other.qcow2" "$GOLDEN/base.qcow2"
    until_true has_finding "golden-modified critical golden/base.qcow2"
    has_no_finding bit-rot
    [ "$(evidence golden-modified '.evidence.ranges | tojson')" = '[{"block":80,"guest-offset":5242880,"guest-length":65536}]' ]
    [ "$(evidence golden-modified '.evidence["fs-verity"]')" = "$before" ]
}
