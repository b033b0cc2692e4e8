#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Some eighty hostile states of a store (remedy-states): what the daemon prints for any of them, executed to the letter
# by root, changes no other disk, no file outside of the store, and shows nobody what he could not read.
load lib
load domains

setup() {
    need qemu-img qemu-io python3
    need_root
    STATES_PROGRAM=$top_srcdir/tests/integration/remedy-states
}

teardown() {
    [ -z "${DIR-}" ] || "$STATES_PROGRAM" end "$DIR"
    domains_end
    [ -z "${SMALL-}" ] || umount "$SMALL"
    qcaudit_teardown
}

settings() {
    printf '%s\n' "thresholds:" "  orphan: {after: 1s}" "  definition-differs: {after: 1s}" "  backup-leftover: {after: 0s}" \
        "  foreign-writer: {after: 1s}" "  chain-forked: {after: 1s}" "  snapshot-unmanaged: {after: 1s}"
}

# prepare: a store, a small one that will be full, and libvirt where it can be had.
prepare() {
    qcaudit_setup
    mkdir "$DIR/small"
    if mount -t tmpfs -o size=24m tmpfs "$DIR/small" 2>/dev/null; then SMALL=$DIR/small; else rmdir "$DIR/small"; fi
    if [ "${1-}" = domains ]; then
        domains_begin
        export URI
        LIBVIRT="{uris: [\"$URI\"], poll: 1s}"
    fi
    write_config "$(settings)"
    [ -z "${SMALL-}" ] || sed -i "s|^  - path: .*|&\n  - path: $SMALL|" "$CONFIG"
    chown nobody "$STORE"
}

# all_findings: with their remedies, as they are now.
all_findings() { ctl findings --json=short >"$DIR/findings.json"; }

# settled: until two passes a second apart say the same. Never before the third second: the thresholds are 1 s, and
# libvirt is asked each second.
settled() {
    local before="" now i
    for ((i = 0; i < 20; i++)); do
        scan
        now=$(findings)
        [ "$i" -lt 3 ] || [ "$now" != "$before" ] || return 0
        before=$now
        sleep 1     # of age: the subject
    done
}

look_and_follow() {
    "$STATES_PROGRAM" build "$DIR" 3>&- 4>&-
    start_daemon
    settled
    "$STATES_PROGRAM" change "$DIR" 3>&- 4>&-
    settled
    "$STATES_PROGRAM" late "$DIR" 3>&- 4>&-
    all_findings
    stop_daemon
    "$STATES_PROGRAM" follow "$DIR" >"$DIR/followed" 3>&- 4>&- || { cat "$DIR/followed"; return 1; }
    tail -n 1 "$DIR/followed"
}

@test "no printed command harms another disk, in any of the states" {
    [ "$("$STATES_PROGRAM" list | wc -l)" -ge 40 ]
    prepare domains
    look_and_follow
    # They were looked at, and commands were run at all.
    [[ $(tail -n 1 "$DIR/followed") =~ ^([0-9]+)\ states,\ ([0-9]+)\ findings\ with\ commands,\ run\ ([0-9]+)\ times,\ 0\  ]]
    [ "${BASH_REMATCH[1]}" -ge 40 ]
    [ "${BASH_REMATCH[2]}" -ge 10 ]
    # Each with links, folders and files that strangers put where the commands could write.
    [ "${BASH_REMATCH[3]}" -ge 150 ]
    # What is damaged was kept as evidence first, whatever strangers had put where the archive could be.
    [[ $(tail -n 1 "$DIR/followed") =~ \ ([0-9]+)\ archives\ of\ evidence$ ]]
    [ "${BASH_REMATCH[1]}" -ge 50 ]
}

@test "where no reference leaves a doubt, leftovers are told and put aside as a whole, and no other disk is harmed" {
    export STATES="orphan* deep-chain deep-chain-of-a* deep-chain-with-a-* deep-chain-into* fork-of-snap* template* leaks leaks-older*"
    prepare domains
    [ -n "${URI-}" ]
    look_and_follow || { cat "$DIR/followed"; false; }
    grep -q '^ok orphan-alone: .*orphan (command)' "$DIR/followed"
    grep -q '^ok orphaned-chain: .*orphan (command)' "$DIR/followed"
    # A domain's definition may be older than its disk: what stands on what it names is not put aside.
    grep '^ok deep-chain-with-a-hostile-domain-elsewhere: ' "$DIR/followed" >"$DIR/line"
    run -1 grep -q orphan "$DIR/line"
}

@test "the renamed disk of a domain that is shut off is not put aside" {
    export STATES="disk-of-a-shut-off*"
    prepare domains
    look_and_follow || { cat "$DIR/followed"; false; }
    grep -qE '^ok disk-of-a-shut-off-domain-renamed: .*orphan(,|$)' "$DIR/followed"
}

@test "a harm is seen: the same with commands that do one" {
    prepare
    export STATES="fork-written-later leaks"
    "$STATES_PROGRAM" build "$DIR"
    cp "$STORE/leaks/a.qcow2" "$STORE/leaks/z.qcow2"
    chmod 600 "$STORE/leaks/a.qcow2"
    python3 - "$DIR" <<'END'
import json, sys
store = sys.argv[1] + "/store"
json.dump([{"name": "chain-forked", "subject": store + "/fork-written-later/base.qcow2", "path": store + "/fork-written-later/base.qcow2",
            "remedy": [{"command": f"qemu-img commit -q {store}/fork-written-later/b.qcow2"}]},
           {"name": "clusters-leaked", "subject": store + "/leaks/a.qcow2", "path": store + "/leaks/a.qcow2",
            "remedy": [{"command": f"echo >{sys.argv[1]}/victim/passwd"}]},
           {"name": "metadata-corrupt", "subject": store + "/leaks/a.qcow2", "path": store + "/leaks/a.qcow2",
            "remedy": [{"command": f"cd {store}/leaks && echo >>z.q*"}]},
           {"name": "orphan", "subject": store + "/leaks/a.qcow2", "path": store + "/leaks/a.qcow2",
            "remedy": [{"command": f"head -c 99 {store}/leaks/a.qcow2 >{store}/leaks/a.qcow2.whole"}]}], open(sys.argv[1] + "/findings.json", "w"))
END
    run -1 "$STATES_PROGRAM" follow "$DIR"
    [[ $output == *"planted: nothing: $STORE/leaks/a.qcow2.whole can be read by all, the group, who could not before"* ]]
    [[ $output == *"planted: file: $STORE/leaks/a.qcow2.whole, a stranger's, was written"* ]]
    [[ $output == *"planted: fifo: $STORE/leaks/a.qcow2.whole, a stranger's, was written"* ]]
    [[ $output == *"planted: link: a file outside of the store was written"* ]]
    [[ $output == *"leaks/z.qcow2, which no command names, was changed"* ]]
    [[ $output == *"fork-written-later/a.qcow2 does not read as before"* ]]
    [[ $output == *"a file outside of the store was written"* ]]
    [[ $output == *"2 states harmed or wrong"* ]]
}

@test "what is kept and sent names no command that needs a look at locks" {
    prepare
    make_image "$STORE/a.qcow2"
    leak_image "$STORE/a.qcow2" 40
    start_daemon
    scan
    [[ $(ctl findings --json=short --name clusters-leaked) == *"check -r leaks"* ]]
    stop_daemon
    run -0 qcauditctl --offline --state-directory "$STATE" findings --exit-zero --json=short --name clusters-leaked
    [[ $output != *"check -r"* && $output == *"qcauditctl show"* ]]
}

@test "locks are looked at when a remedy is shown, not taken from the last audit" {
    prepare
    make_image "$STORE/a.qcow2"
    leak_image "$STORE/a.qcow2" 40
    start_daemon
    scan
    id=$(ctl findings --json=short --name clusters-leaked | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
    [[ $(ctl show "$id") == *"check -r leaks"* ]]
    mkfifo "$DIR/hold"
    qemu-io -f qcow2 "$STORE/a.qcow2" <"$DIR/hold" >"$DIR/held" 3>&- 4>&- &
    holder=$!
    exec 9>"$DIR/hold"
    echo length >&9
    wait_for 20 grep -q MiB "$DIR/held"
    run -0 ctl show "$id"
    [[ $output != *"check -r leaks"* && $output == *"open for writing"* ]]
    [[ $(ctl show "$STORE/a.qcow2") != *"check -r leaks"* ]]
    # The image was never changed, and yet it is shown as in use from then on.
    [[ $(ctl images --json=short) == *'"use":"writer"'* ]]
    exec 9>&-
    wait "$holder"
    wait_for 20 eval '[[ $(ctl show '"$id"') == *"check -r leaks"* ]]'
}

@test "a walk sees a lock on an image that does not change" {
    prepare
    make_image "$STORE/a.qcow2"
    start_daemon
    scan
    [[ $(ctl images --json=short) == *'"use":"unused"'* ]]
    mkfifo "$DIR/hold"
    qemu-io -r -f qcow2 "$STORE/a.qcow2" <"$DIR/hold" >"$DIR/held" 3>&- 4>&- &
    holder=$!
    exec 9>"$DIR/hold"
    echo length >&9
    wait_for 20 grep -q MiB "$DIR/held"
    scan
    [[ $(ctl images --json=short) == *'"use":"read-only"'* ]]
    exec 9>&-
    wait "$holder"
    scan
    [[ $(ctl images --json=short) == *'"use":"unused"'* ]]
}

@test "a reference that was changed moves no file: the image's header is its writer's word" {
    prepare
    make_image "$STORE/other.qcow2"
    mkdir "$STORE/mine"
    qemu-img create -q -f qcow2 -b ../other.qcow2 -F qcow2 "$STORE/mine/a.qcow2"
    start_daemon
    scan
    for name in x.qcow2 "$STORE/loot/other.qcow2"; do
        qemu-img rebase -u -b "$name" -F qcow2 "$STORE/mine/a.qcow2"
        scan
        wait_for 20 has_finding "parent-missing critical mine/a.qcow2"
        id=$(ctl findings --json=short --name parent-missing | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
        run -0 ctl show "$id"
        [[ $output != *"mv -"* && $output != *mkdir* && $output != *"rebase -u"* ]]
        [[ $output == *"lies where it was"* ]]
    done
}
