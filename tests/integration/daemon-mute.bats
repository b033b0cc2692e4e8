#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl mute, mutes and unmute: what is muted is found, kept and shown, and nobody is told of it.
load lib

setup() { need qemu-img qemu-io python3 jq; qcaudit_setup; mkdir "$STORE/lab"; }
teardown() { qcaudit_teardown; }

told() { grep -c -- "$1" "$LOG" || :; }     # how many lines of the log match

open_to_all() { # NAME...: images with a finding, a warning
    local name
    for name in "$@"; do make_image "$STORE/$name"; chmod 666 "$STORE/$name"; done
}

status_of() { # VERB...: its exit status
    qcauditctl --socket "$RUN/control" --no-pager "$@" >/dev/null </dev/null && echo 0 || echo $?
}

id_of() { ctl findings --all --json=short | jq ".[] | select(.path == \"$STORE/$1\") | .id"; }

@test "by path: what is there and what comes is kept and shown apart, and not told; unmute tells it" {
    open_to_all prod.qcow2 lab/a.qcow2
    start_daemon
    scan
    [ "$(status_of findings)" = 1 ]
    run -0 ctl mute --path="$STORE/lab/*" --for=2h --reason='rebuilt every night'
    [[ ${lines[0]} == 'Mute 1 holds until '*'. It mutes 1 finding now.' ]]
    chmod 644 "$STORE/prod.qcow2"
    open_to_all lab/new.qcow2
    wait_for 20 eval '[ "$(ctl mutes --json=short | jq ".[0].findings")" = 2 ]'
    wait_for 20 eval '[ -z "$(findings)" ]'
    # Nothing is open any more, and nothing is hidden.
    [ "$(status_of findings)" = 0 ]
    [ "$(status_of status)" = 0 ]
    [ "$(status_of status --brief)" = 0 ]
    [ "$(status_of findings --muted)" = 0 ]
    run -0 ctl findings
    [ "${lines[0]}" = 'Nothing found that is not muted.' ]
    [ "${lines[1]}" = '2 more are muted: qcauditctl findings --muted' ]
    same "permissions warning lab/a.qcow2
permissions warning lab/new.qcow2" "$(findings --muted)"
    run -0 ctl findings --muted
    [[ $output == *' STATE '* && $output == *' muted '* && $output == *'2 findings. '* ]]
    run -0 ctl status
    [[ $output == *'Findings: none; 2 muted: 2 warnings'* ]]
    [[ $output == *'Muted: everything that was found. See: qcauditctl findings --muted'* ]]
    run -0 ctl status --brief
    [[ $output == 'nothing is open: '*'; 2 muted: 2 warnings (qcauditctl findings --muted)' ]]
    run -0 ctl show "$(id_of lab/new.qcow2)"
    [[ $output == *'Muted: by root, mute 1: it is not told'* && $output == *'Reason: rebuilt every night'* ]]
    [[ $output == *'Until: '*', or worse than warning'* ]]
    [ "$(ctl findings --muted --json=short | jq -c '[.[] | ."muted-by", ."muted-user", .state] | unique')" = '[1,"open","root"]' ]
    [ "$(ctl --json=short status | jq -c '[.open.warning, .muted.warning, .mutes]')" = '[0,2,1]' ]
    run -0 ctl history "$STORE/lab/new.qcow2"
    [[ $output == *' opened '* ]]
    [ "$(ctl history --json=short "$STORE/lab/new.qcow2" | jq -c '[.events[] | select(.event == "opened") | ."muted-by"]')" = '[1]' ]
    [ "$(told "permissions: $STORE/lab/new.qcow2")" = 0 ]
    [ "$(told 'Mute 1 by root, for 2h: rebuilt every night')" = 1 ]
    run -0 ctl unmute 1
    wait_for 20 grep -q "permissions: $STORE/lab/new.qcow2 .*(mute 1 was removed by root)" "$LOG"
    wait_for 20 has_finding "permissions warning lab/new.qcow2"
    [ "$(status_of findings)" = 1 ]
    [[ "$(ctl mutes)" == *"  1  removed "*": path $STORE/lab/*"*'     by root '*', removed by root: rebuilt every night'* ]]
    run -1 ctl unmute 1
    [[ $output == *'no mute 1 that holds'* ]]
}

@test "by name, by class and by number; all that is given must hold" {
    open_to_all a.qcow2 lab/a.qcow2 lab/b.qcow2
    leak_image "$STORE/lab/a.qcow2"
    write_config "classes: [{ name: lab, paths: ['$STORE/lab/*'] }]" 'thresholds: { clusters-leaked: { share: 100% } }'
    start_daemon
    scan
    [ "$(findings | wc -l)" = 4 ]
    ctl mute --finding=permissions --class=lab --forever --reason=x
    same "clusters-leaked info lab/a.qcow2
permissions warning a.qcow2" "$(findings)"
    ctl mute --id="$(id_of a.qcow2)" --until=+1h --reason=y
    same "clusters-leaked info lab/a.qcow2" "$(findings)"
    ctl mute --finding=clusters-leaked --forever --reason=z
    same "" "$(findings)"
    same '[1,2]
[2,1]
[3,1]' "$(ctl mutes --json=short | jq -c '.[] | [.id, .findings]')"
    # A class that the configuration does not have any more has no images.
    write_config 'thresholds: { clusters-leaked: { share: 100% } }'
    ctl reload
    wait_for 20 has_finding "permissions warning lab/b.qcow2"
    same "permissions warning lab/a.qcow2
permissions warning lab/b.qcow2" "$(findings)"
    [ "$(told '(mute 1 no longer covers it)')" = 2 ]
}

@test "it breaks for the finding that gets worse, and for no other" {
    open_to_all lab/b.qcow2
    make_image "$STORE/lab/a.qcow2"
    leak_image "$STORE/lab/a.qcow2"
    write_config 'thresholds: { clusters-leaked: { share: 100% } }'
    start_daemon
    scan
    wait_for 20 has_finding "clusters-leaked info lab/a.qcow2"
    ctl mute --path="$STORE/lab/*" --forever --reason=lab
    same "" "$(findings)"
    write_config 'thresholds: { clusters-leaked: { share: 1% } }'
    ctl reload
    scan "$STORE/lab/a.qcow2"
    wait_for 20 has_finding "clusters-leaked warning lab/a.qcow2"
    same "permissions warning lab/b.qcow2" "$(findings --muted)"
    wait_for 20 grep -q "clusters-leaked: $STORE/lab/a.qcow2 .*(warning, was info: it is no longer muted)" "$LOG"
    # The mute is over for it also after a restart; a new one covers it.
    stop_daemon
    start_daemon
    scan
    same "clusters-leaked warning lab/a.qcow2" "$(findings)"
    ctl mute --id="$(id_of lab/a.qcow2)" --for=1d --reason=known
    same "" "$(findings)"
    # What is found now was never less: it is muted, whatever it is.
    break_image "$STORE/lab/b.qcow2"
    wait_for 20 eval '[ -n "$(findings --muted --name=metadata-corrupt)" ]'
    same "" "$(findings)"
}

@test "it ends when its time is over: what is open is told then, once; a restart changes nothing" {
    open_to_all lab/a.qcow2 lab/b.qcow2
    start_daemon
    scan
    ctl mute --path="$STORE/lab/a*" --for=12s --reason=short
    ctl mute --path="$STORE/lab/b*" --forever --reason=long
    stop_daemon
    same '[1,1]
[2,1]' "$(qcauditctl --offline --state-directory "$STATE" mutes --json=short | jq -c '.[] | [.id, .findings]')"
    start_daemon
    same "" "$(findings)"
    wait_for 30 has_finding "permissions warning lab/a.qcow2"
    same "permissions warning lab/a.qcow2" "$(findings)"
    wait_for 20 grep -q "permissions: $STORE/lab/a.qcow2 .*(mute 1 has ended)" "$LOG"
    [ "$(told 'Mute 1 has ended, its time is over')" = 1 ]
    stop_daemon
    start_daemon
    scan
    [ "$(told '(mute 1 has ended)')" = 1 ]
    [ "$(told "permissions: $STORE/lab/b.qcow2 .*unmuted")" = 0 ]
    same "permissions warning lab/a.qcow2" "$(findings)"
    [ "$(ctl mutes --json=short | jq -c '[.[] | [.id, .holds]]')" = '[[1,false],[2,true]]' ]
    ctl mute --finding=permissions --forever --reason=third
    [ "$(ctl mutes --json=short | jq -c '[.[].id]')" = '[1,2,3]' ]
}

@test "--offline hides nothing by a mute, or an acknowledgement, that is over" {
    open_to_all lab/a.qcow2 lab/b.qcow2 lab/c.qcow2
    start_daemon
    scan
    ctl mute --path="$STORE/lab/a*" --for=5s --reason=short
    ctl mute --path="$STORE/lab/b*" --forever --reason=long
    ctl ack "$(id_of lab/c.qcow2)" --until=+5s --reason=short
    over=$(($(date +%s) + 5))
    stop_daemon
    wait_for 20 past "$over"
    offline() { timeout 60 qcauditctl --offline --state-directory "$STATE" --no-pager "$@" </dev/null; }
    run -1 offline status --brief
    [[ $output == *'1 muted: 1 warning'* ]]
    run -1 offline findings --json=short
    same "[\"$STORE/lab/a.qcow2\",\"$STORE/lab/c.qcow2\"]" "$(jq -c '[.[].path] | sort' <<<"$output")"
    run -0 offline findings --muted --json=short
    same "[\"$STORE/lab/b.qcow2\"]" "$(jq -c '[.[].path]' <<<"$output")"
}

@test "--brief: what is muted was found, also while not all is audited" {
    open_to_all lab/a.qcow2 lab/b.qcow2
    start_daemon
    scan
    ctl mute --path='**/lab/*' --forever --reason=known
    stop_daemon
    python3 -c 'import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("UPDATE image SET audit = NULL WHERE CAST(path AS TEXT) LIKE ?", ("%/b.qcow2",))' "$STATE/qcaudit.db"
    run -0 qcauditctl --offline --state-directory "$STATE" --no-pager status --brief
    [[ $output == *'nothing is open so far, with '*' of '*' images audited; 2 muted: 2 warnings'* ]]
}

@test "it outlives the database, but for one by the number of a finding" {
    open_to_all lab/a.qcow2 lab/b.qcow2
    start_daemon
    scan
    ctl mute --path="$STORE/lab/a*" --forever --reason=kept
    ctl mute --id="$(id_of lab/b.qcow2)" --forever --reason=number
    stop_daemon
    rm "$STATE"/qcaudit.db*
    : >"$LOG"
    start_daemon
    scan
    [ "$(told '1 mute taken from the journal')" = 1 ]
    same "permissions warning lab/b.qcow2" "$(findings)"
    same "permissions warning lab/a.qcow2" "$(findings --muted)"
    [ "$(told "permissions: $STORE/lab/a.qcow2")" = 0 ]
    [ "$(ctl mutes --json=short | jq -c '[.[] | [.id, .reason, .findings]]')" = '[[1,"kept",1]]' ]
}

@test "a mute of everything is said" {
    open_to_all a.qcow2
    start_daemon
    scan
    run -1 ctl mute --path='**' --forever
    [[ $output == 'Say why: '* ]]
    run -0 ctl mute --path='**' --forever --reason='we move'
    [[ $output == *'It covers every image: nothing about any image is reported.'* ]]
    run -0 ctl status
    [[ $output == *'Muted: everything: mute 1 covers every image. See: qcauditctl mutes'* ]]
    run -0 ctl status --brief
    [[ $output == 'nothing is open: '*'; every image is muted (qcauditctl mutes); 1 muted: 1 warning'* ]]
    # Also while there is nothing that it could cover.
    chmod 644 "$STORE/a.qcow2"
    wait_for 20 eval '[ "$(ctl --json=short status | jq .muted.warning)" = 0 ]'
    run -0 ctl status --brief
    [[ $output == 'nothing is open: '*'; every image is muted (qcauditctl mutes)' ]]
}

@test "mistakes are said" {
    start_daemon
    local reason=--reason=x
    run -1 ctl mute --forever $reason
    [[ $output == 'Say what is to be muted: '* ]]
    run -1 ctl mute --path=/x $reason
    [[ $output == 'Say for how long: '* ]]
    run -1 ctl mute --path=/x --for=1h --forever $reason
    [[ $output == 'Say for how long: '* ]]
    run -1 ctl mute --path=web.qcow2 --forever $reason
    [[ $output == 'A pattern must begin with / or *'* ]]
    run -1 ctl mute --class=none --forever $reason
    [ "$output" = 'The configuration has no class "none".' ]
    run -1 ctl mute --id=99 --forever $reason
    [ "$output" = 'There is no finding 99 that is not resolved.' ]
    run -1 ctl mute --id=x --forever $reason
    [ "$output" = "'x' is no number of a finding: see 'qcauditctl findings'." ]
    run -1 ctl mute --finding=none --forever $reason
    [[ $output == "There is no finding called 'none'"* ]]
    run -1 ctl mute --path=/x --until=2020-01-01 $reason
    [ "$output" = '--until is over already.' ]
    run -1 ctl mute --path=/x --forever --reason="$(printf 'x%.0s' {1..1001})"
    [ "$output" = 'A mute needs a reason of at most 1000 bytes.' ]
    run -1 ctl unmute x
    [ "$output" = "'x' is no number of a mute: see 'qcauditctl mutes'." ]
    run -0 ctl mutes
    [ "$output" = 'Nothing is muted.' ]
}
