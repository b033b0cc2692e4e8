#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Configurations: all mistakes said, nothing started; a reload that fails keeps what is in force.
load lib

setup() { need qemu-img qemu-io python3; qcaudit_setup; make_image "$STORE/a.qcow2"; leak_image "$STORE/a.qcow2"; }
teardown() { qcaudit_teardown; }

@test "a wrong configuration: every mistake with its place and the nearest key, exit 78, nothing started" {
    cat >"$CONFIG" <<END
datastores:
  - path: relative/path
workers:
  cuont: 2
  memory: many
  memory: 1GiB
END
    for option in --check-config ""; do
        run -78 timeout 20 qcauditd --config "$CONFIG" --state-directory "$STATE" --runtime-directory "$RUN" \
            --log-target console $option
        [[ $output == *"$CONFIG:2:"* ]]
        [[ $output == *"$CONFIG:4:"*cuont*count* ]]
        [[ $output == *"$CONFIG:5:"*memory* ]]
        [[ $output == *"$CONFIG:6:"* ]]
    done
    [ ! -e "$RUN/control" ]
    [ ! -e "$STATE/qcaudit.db" ]
}

@test "a good configuration is accepted, a missing one is not" {
    run -0 qcauditd --config "$CONFIG" --check-config
    run -78 qcauditd --config "$DIR/nothing.yaml" --check-config
    [[ $output == *nothing.yaml* ]]
}

@test "families beside the configuration: a mistake is one of it, also at a reload" {
    mkdir "$DIR/families.d"
    printf 'families:\n- {family: a, vendor: A, product: A, names: [{match: "(a)\\\\1"}]}\n' >"$DIR/families.d/own.yaml"
    run -78 qcauditd --config "$CONFIG" --check-config
    [[ $output == *"families.d/own.yaml:2:54: names[].match: "*back-references* ]]
    mv "$DIR/families.d/own.yaml" "$DIR/own.yaml"
    run -0 qcauditd --config "$CONFIG" --check-config
    start_daemon
    mv "$DIR/own.yaml" "$DIR/families.d/own.yaml"
    run -1 ctl reload
    [[ $output == *"families.d/own.yaml:2:54: "* ]]
    printf 'families:\n- {family: a, vendor: A, product: A, names: [{match: "^(a)"}]}\n' >"$DIR/families.d/own.yaml"
    run -0 ctl reload
}

@test "reload: a wrong one keeps the old, a right one is in force" {
    start_daemon
    scan
    has_finding "clusters-leaked warning a.qcow2" || has_finding "clusters-leaked info a.qcow2"
    write_config "nonsense: 1"
    kill -HUP "$DAEMON"
    wait_for 10 grep -q nonsense "$LOG"
    scan
    has_finding clusters-leaked
    mkdir "$DIR/second"
    make_image "$DIR/second/b.qcow2"
    break_image "$DIR/second/b.qcow2"
    {
        echo "datastores:"
        echo "  - path: $STORE"
        echo "  - path: $DIR/second"
        echo "thresholds:"
        echo "  clusters-leaked: off"
    } >"$CONFIG"
    kill -HUP "$DAEMON"
    wait_for 20 has_finding "metadata-corrupt critical $DIR/second/b.qcow2"
    wait_for 20 has_no_finding clusters-leaked
    # And the datastore goes again.
    write_config
    kill -HUP "$DAEMON"
    wait_for 20 has_no_finding metadata-corrupt
    ctl history --json=short "$DIR/second/b.qcow2" | grep -q 'no longer configured'
    [ "$(ctl images --json=short | jq length)" = 1 ]
}

@test "a datastore taken out of the configuration while no daemon ran: its findings are closed, nothing of it is shown" {
    mkdir "$DIR/second"
    make_image "$DIR/second/b.qcow2"
    break_image "$DIR/second/b.qcow2"
    sed "s|^intervals:|  - path: $DIR/second\n&|" "$CONFIG" >"$CONFIG.both"
    cp "$CONFIG" "$CONFIG.one"
    cp "$CONFIG.both" "$CONFIG"
    start_daemon
    scan
    has_finding "metadata-corrupt critical $DIR/second/b.qcow2"
    stop_daemon
    cp "$CONFIG.one" "$CONFIG"
    start_daemon
    wait_for 20 has_no_finding metadata-corrupt
    ctl history --json=short "$DIR/second/b.qcow2" | grep -q 'no longer configured'
    [ "$(ctl status --json=short | jq '.datastores | length')" = 1 ]
    stop_daemon
    if [ "$(id -u)" = 0 ]; then
        [ "$(qcauditctl --offline --state-directory "$STATE" --json=short status | jq '.datastores | length')" = 1 ]
        [ "$(qcauditctl --offline --state-directory "$STATE" --json=short images | jq length)" = 1 ]
    fi
    # And back again.
    cp "$CONFIG.both" "$CONFIG"
    start_daemon
    scan
    has_finding "metadata-corrupt critical $DIR/second/b.qcow2"
}

@test "a restart on an unchanged store sees nothing anew" {
    local count
    break_image "$STORE/a.qcow2"
    start_daemon
    scan
    count=$(ctl findings --json=short | jq '.[0].count')
    for _ in 1 2; do
        stop_daemon
        start_daemon
        ctl scan --wait >/dev/null || [ $? = 2 ]
    done
    [ "$(ctl findings --json=short | jq '.[0].count')" = "$count" ]
}

@test "conf.d: later files win" {
    mkdir -p "$DIR/conf.d"
    printf 'thresholds: { clusters-leaked: on }\n' >"$DIR/conf.d/10-on.yaml"
    printf 'thresholds: { clusters-leaked: off }\n' >"$DIR/conf.d/20-off.yaml"
    start_daemon
    scan
    same "" "$(findings)"
}

@test "policy: what holds for an image, and by which line" {
    mkdir "$STORE/lab" "$DIR/conf.d" 2>/dev/null || :
    make_image "$STORE/lab/web.qcow2"
    write_config 'thresholds: { chain-deep: { error: 30 } }' 'classes:' '  - name: lab' "    paths: ['$STORE/lab/*']" \
        '    thresholds: { chain-deep: { warning: 2 } }'
    printf 'thresholds: { snapshot-old: { warning: 5d } }\n' >"$DIR/conf.d/20-site.yaml"
    start_daemon
    scan
    run -0 ctl policy web.qcow2
    [ "${lines[0]}" = "   Image: $STORE/lab/web.qcow2" ]
    [ "${lines[1]}" = "   Class: lab ($CONFIG:8)" ]
    [ "${lines[2]}" = " Pattern: $STORE/lab/* ($CONFIG:9)" ]
    line() { grep "^$1 " <<<"$output" | tr -s ' '; }
    same "chain-deep.warning 2 $CONFIG:10, class lab" "$(line chain-deep.warning)"
    same "chain-deep.error 30 $CONFIG:6" "$(line chain-deep.error)"
    same "chain-deep.critical 160 default" "$(line chain-deep.critical)"
    same "snapshot-old.warning 5d $DIR/conf.d/20-site.yaml:1" "$(line snapshot-old.warning)"
    # One that nobody knows, by its path alone; and what holds without a class.
    run -0 ctl policy "$STORE/lab/none.qcow2"
    [ "${lines[1]}" = '    Note: no such image is known: this is by its path alone' ]
    [ "${lines[2]}" = "   Class: lab ($CONFIG:8)" ]
    run -0 ctl policy
    same "chain-deep.warning 5 default" "$(line chain-deep.warning)"
    same "intervals.debounce 100ms $CONFIG:5" "$(line intervals.debounce)"
    [ "$(ctl --json=short policy web.qcow2 | jq -c '[.class, ."class-line", .known]')" = '["lab",8,true]' ]
    # After a reload as the files are now; nobody reads them before.
    write_config
    [ "$(ctl --json=short policy web.qcow2 | jq -c .class)" = '"lab"' ]
    ctl reload
    [ "$(ctl --json=short policy web.qcow2 | jq -c .class)" = null ]
    run -1 ctl policy none.qcow2
    [[ $output == 'No image none.qcow2 is known.'* ]]
    run -1 ctl policy --offline "$STORE/lab/web.qcow2"
    [[ $output == "--offline means nothing to 'policy'."* ]]
}
