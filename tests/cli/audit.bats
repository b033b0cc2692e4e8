#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl audit: one run of everything, without the service and its settings, of which nothing is left.
bats_require_minimum_version 1.5.0
load ../integration/lib

setup() {
    need qemu-img qemu-io jq python3
    qcaudit_setup
    export LC_ALL=C.UTF-8 TMPDIR=$DIR/tmp
    mkdir "$TMPDIR"
}
teardown() { qcaudit_teardown; }

audit() { timeout 120 qcauditctl --no-pager audit "$@" </dev/null; }

# Of this run nothing is there any more: neither its folder, nor a process of it.
nothing_left() {
    [ -z "$(ls -A "$TMPDIR")" ]
    ! pgrep -f "$TMPDIR/qcaudit-once" || return 1
}

fill() {
    make_image "$STORE/good.qcow2"
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    mkdir "$STORE/deeper"
    qemu-img create -q -u -f qcow2 -F qcow2 -b gone.qcow2 "$STORE/deeper/orphan.qcow2" 4M
    make_image "$STORE/deeper/leaked.qcow2"
    leak_image "$STORE/deeper/leaked.qcow2" 24
    chmod 644 "$STORE"/*.qcow2 "$STORE"/*/*.qcow2
}

names() { jq -r '[.[] | select(.name != "datastore-full") | "\(.name) \(.path)"] | sort[]' | sed "s#$STORE/##"; }

@test "a folder: every finding with its evidence and what to do, the worst is the exit status" {
    fill
    run -3 audit "$STORE"
    for word in "metadata-corrupt (finding" "parent-missing (finding" "clusters-leaked (finding" "What to do" "Evidence" \
        "4 images, 4 audited."; do
        [[ $(tr -s ' \n' ' ' <<<"$output") == *"$word"* ]] || { echo "$output"; echo "not said: $word"; return 1; }
    done
    [[ $output != *good.qcow2* ]]
    [[ $output == *"numbers are of this run alone"* ]]
    # The command, unless this machine has a libvirt that cannot say whose image it is.
    [[ $output == *"qemu-img check -r leaks $STORE/deeper/leaked.qcow2"* || $output == *"libvirt does not report everything"* ]]
    nothing_left
    run -0 audit --exit-zero "$STORE"
    run -3 audit "$STORE/deeper"
    [[ $output == *"2 images, 2 audited."* ]]
    [[ $output != *bad.qcow2* ]]
    nothing_left
}

@test "JSON: the findings, with evidence and remedies" {
    fill
    run -3 --separate-stderr audit --json=short "$STORE"
    [ "$(names <<<"$output")" = "$(printf '%s\n' 'clusters-leaked deeper/leaked.qcow2' 'metadata-corrupt bad.qcow2' 'parent-missing deeper/orphan.qcow2')" ]
    jq -e 'all(.[]; .evidence and (.remedy | length > 0))' <<<"$output"
}

@test "a file: what concerns it alone, with the chain that it stands on" {
    fill
    qemu-img create -q -f qcow2 -F qcow2 -b bad.qcow2 "$STORE/top.qcow2"
    chmod 644 "$STORE/top.qcow2"
    run -0 audit "$STORE/good.qcow2"
    [[ $output == "Nothing found: "*", with those beside."* ]]
    # Damage below it is damage of its disk; what stands on it is another's.
    run -3 audit "$STORE/top.qcow2"
    [[ $output == *"metadata-corrupt (finding"*bad.qcow2* ]]
    qemu-img create -q -f qcow2 -F qcow2 -b good.qcow2 "$STORE/broken.qcow2"
    break_image "$STORE/broken.qcow2"
    run -0 audit "$STORE/good.qcow2"
    rm "$STORE/broken.qcow2"
    run -1 audit "$STORE/deeper/leaked.qcow2"
    [[ $output == *"clusters-leaked (finding"* && $output != *orphan.qcow2* ]]
    # Two that overlap are one run.
    run -3 --separate-stderr audit --json=short "$STORE/bad.qcow2" "$STORE/deeper" "$STORE/deeper/leaked.qcow2"
    [ "$(names <<<"$output")" = "$(printf '%s\n' 'clusters-leaked deeper/leaked.qcow2' 'metadata-corrupt bad.qcow2' 'parent-missing deeper/orphan.qcow2')" ]
    nothing_left
}

@test "nothing wrong, names of any kind, and what cannot be audited" {
    mkdir "$STORE/it's \"so\" \\ # : é"
    make_image "$STORE/it's \"so\" \\ # : é/good.qcow2"
    chmod 644 "$STORE"/*/good.qcow2
    run -0 audit "$STORE/it's \"so\" \\ # : é"
    [ "${lines[0]}" = "Nothing found: 1 image, 1 audited." ]
    run -10 audit "$STORE/none"
    [[ $output == "$STORE/none: No such file"* ]]
    run -10 audit /dev/null
    run -10 audit
    mkdir "$DIR/empty"
    QCAUDIT_LIBEXECDIR=$DIR/empty run -10 audit "$STORE"
    [[ $output == *"could not begin"*"qcaudit-once: No such file"* ]]
    nothing_left
}

@test "a file is found by each of its names, and one that was not audited is not called sound" {
    fill
    mkdir "$STORE/links"
    mv "$STORE/bad.qcow2" "$STORE/links/a.qcow2"
    ln "$STORE/links/a.qcow2" "$STORE/links/b.qcow2"
    for name in a b; do
        run -3 audit "$STORE/links/$name.qcow2"
        [[ $output == *"metadata-corrupt (finding"* ]]
    done
    head -c 1000 /dev/zero >"$STORE/links/notes.txt"
    run -10 audit "$STORE/links/notes.txt"
    [[ $output == *"notes.txt was not audited: "*"no disk image"* ]]
    [[ $output != *"Nothing found"* ]]
    run -10 audit "$STORE/links/notes.txt" "$STORE/links/a.qcow2"
    [[ $output == *"metadata-corrupt (finding"* ]]
    nothing_left
}

@test "a folder whose name no configuration can hold is refused, not taken for another" {
    local name
    for name in $'caf\xe9' $'a\xc2\x85b' $'a\xe2\x80\xa8b'; do
        mkdir -p "$STORE/$name" "$STORE/a b"
        run -10 audit "$STORE/$name"
        [[ $output == *"name a folder above it."* ]]
    done
    nothing_left
}

@test "nobody is told of the state of the daemon of one run" {
    fill
    python3 -B - "$DIR/notify" <<'END' 3>&- &
import socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(sys.argv[1])
told = server.recv(4096)
open(sys.argv[1] + ".got", "wb").write(told)
END
    told=$!
    wait_for 10 test -S "$DIR/notify"
    NOTIFY_SOCKET=$DIR/notify run -0 audit "$STORE/good.qcow2"
    kill "$told"
    [ ! -e "$DIR/notify.got" ]
}

@test "interrupted, it leaves nothing" {
    local pid
    fill
    qcauditctl --no-pager audit "$STORE" >"$DIR/out" 2>&1 </dev/null 3>&- &
    pid=$!
    wait_for 20 eval '[ -S "$TMPDIR"/qcaudit-once.*/run/control ]'
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    [ "$status" = 143 ]         # by that signal, after it cleaned up
    nothing_left
}

@test "a neighbour's service is not asked and not touched" {
    fill
    start_daemon
    scan
    before=$(ctl findings --json=short | jq -c '[.[].id]')
    run -3 audit "$STORE"
    [ "$before" = "$(ctl findings --json=short | jq -c '[.[].id]')" ]
}
