#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# status --nagios: what it prints, by the grammar of the Monitoring Plugins' guidelines, and its exit status.
bats_require_minimum_version 1.5.0
load ../integration/lib

setup() {
    need qemu-img qemu-io jq python3
    qcaudit_setup
}
teardown() { qcaudit_teardown; }

# plugin EXIT_STATUS [OPTION...]: $output is the line as it was read, in JSON.
plugin() {
    local status=0
    timeout 60 qcauditctl --socket "$RUN/control" status --nagios "${@:2}" >"$DIR/line" 2>"$DIR/stderr" </dev/null || status=$?
    cat "$DIR/line"
    [ "$status" = "$1" ] || { echo "exit status $status"; return 1; }
    [ ! -s "$DIR/stderr" ] || { cat "$DIR/stderr"; return 1; }
    output=$(python3 -B "$top_srcdir/tests/cli/nagios-line.py" "$status" <"$DIR/line")
}
is() { jq -e "$1" <<<"$output" >/dev/null || { echo "not: $1"; jq . <<<"$output"; return 1; }; }

@test "nothing, a warning, an error, something critical" {
    make_image "$STORE/good.qcow2"
    chmod 644 "$STORE/good.qcow2"
    start_daemon
    scan
    plugin 0
    is '.text | startswith("OK - nothing above info is open: 1 of 1 image audited, last looked for ")'
    is '.data.images.value == 1 and .data.audited.max == "1" and .data.warning.warn == "0" and .data.critical.crit == "0"'
    is '.data.size.unit == "B" and .data.size.value > 0 and .data["last pass"].unit == "s"'
    is '[.data | to_entries[] | select(.key | startswith("used "))][0].value | .unit == "B" and (.max | tonumber) >= .value'

    # Hours later nobody has looked again, although passes are an hour apart.
    if command -v gcc >/dev/null; then
        echo '#include <sys/syscall.h>
            #include <time.h>
            #include <unistd.h>
            int clock_gettime(clockid_t id, struct timespec *time) {
                int r = (int)syscall(SYS_clock_gettime, id, time);
                if (id == CLOCK_REALTIME) time->tv_sec += HOURS * 3600;
                return r;
            }' >"$DIR/later.c"
        for hours in 5 7; do
            gcc -shared -fPIC -DHOURS=$hours -o "$DIR/later.so" "$DIR/later.c"
            LD_PRELOAD=$DIR/later.so plugin $((hours > 6 ? 3 : 0))
        done
        is '.text | test("^UNKNOWN - nothing was looked for since the last pass, which ended 7h .*ago")'
        ctl pause store
        LD_PRELOAD=$DIR/later.so plugin 0
        ctl resume store
    fi

    make_image "$STORE/leaked.qcow2"
    leak_image "$STORE/leaked.qcow2" 24
    chmod 644 "$STORE/leaked.qcow2"
    scan
    wait_for 20 has_finding "clusters-leaked warning leaked.qcow2"
    plugin 1
    is '.text | test("^WARNING - warning: clusters-leaked: .*/leaked.qcow2 has .* leaked clusters.*qcauditctl show [0-9]")'
    is '.data.warning.value == 1 and .data.error.value == 0'

    echo 'thresholds: {chain-deep: {warning: 1, error: 2}}' >"$DIR/conf.d/50-depth.yaml"
    kill -HUP "$DAEMON"
    qemu-img create -q -f qcow2 -F qcow2 -b good.qcow2 "$STORE/good.snap1" 4M
    qemu-img create -q -f qcow2 -F qcow2 -b good.snap1 "$STORE/good.snap2" 4M
    chmod 644 "$STORE"/good.snap*
    scan
    wait_for 20 has_finding "chain-deep error"
    plugin 2
    is '.text | startswith("CRITICAL - error: chain-deep: ")'
    is '.data.error.value == 1 and .data.critical.value == 0 and .data.depth.value == 2'

    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    scan
    wait_for 20 has_finding "metadata-corrupt critical bad.qcow2"
    plugin 2
    is '.text | startswith("CRITICAL - critical: metadata-corrupt: ")'
    is '.text | test("in all: 1 critical, 1 error, 1 warning")'

    # what somebody knows of is no alarm, and is said
    for id in $(ctl findings --json=short | jq '.[].id'); do ctl ack "$id" --reason=known >/dev/null; done
    plugin 0
    is '.text | test("acknowledged: 1 critical, 1 error, 1 warning")'
    is '.data.acknowledged.value == 3'
}

@test "what is not known is UNKNOWN, and why is on stdout" {
    plugin 3
    is '(.text | startswith("UNKNOWN - qcauditd is not running (socket ")) and .data == {}'
    for options in --no-such-option --brief --exit-zero --json "--at=yesterday" "--lines=3" "too many" "--offline"; do
        # shellcheck disable=SC2086
        plugin 3 $options
        is '.text | length > 20'
    done
    # an option that is shortened, before the verb
    run -3 qcauditctl --socket "$RUN/none" --nag status
    [[ $output == "UNKNOWN - "* ]]

    printf 'libvirt: {uris: []}\ndatastores: []\n' >"$CONFIG"
    start_daemon
    plugin 3
    is '.text == "UNKNOWN - nothing is audited: there is no datastore"'
    stop_daemon

    # a daemon that accepts, and does not answer
    python3 -c '
import socket, sys, time
with socket.socket(socket.AF_UNIX) as s:
    s.bind(sys.argv[1]); s.listen(); print(flush=True); time.sleep(600)' "$RUN/control" 3>&- 4>&- >"$DIR/ready" &
    wait_for 20 test -s "$DIR/ready"
    begun=$SECONDS
    plugin 3
    [ $((SECONDS - begun)) -lt 30 ]
    is '.text | startswith("UNKNOWN - qcauditd does not answer")'
    kill $!
    rm -f "$RUN/control"
}

@test "a datastore that is gone, and one that is paused" {
    mkdir "$DIR/other"
    make_image "$STORE/good.qcow2"
    chmod 644 "$STORE/good.qcow2"
    printf 'libvirt: {uris: []}\ndatastores:\n  - {path: %s, name: lab}\n  - {path: %s, name: other}\nintervals: {debounce: 100ms}\n' \
        "$STORE" "$DIR/other" >"$CONFIG"
    start_daemon
    scan
    plugin 0
    is '.data["used lab"].unit == "B" and .data["used other"].unit == "B"'
    ctl pause other --for=1h
    plugin 0
    is '.text | endswith("; paused: other")'
    ctl resume other
    rmdir "$DIR/other"
    ctl scan
    wait_for 20 has_finding "datastore-offline error other"
    plugin 2
    is '.text | startswith("CRITICAL - error: datastore-offline: other ")'
    is '.text | contains("not there: datastore other")'
    # known, but still nobody knows what is in it
    ctl ack "$(ctl findings --json=short --name=datastore-offline | jq '.[0].id')" --reason=moved >/dev/null
    plugin 3
    is '.text | startswith("UNKNOWN - not there: datastore other; nothing above info is open: 1 of 1 image audited")'
}

@test "before the first pass is complete, nothing found means nothing" {
    make_image "$DIR/image"
    for ((i = 0; i < 600; i++)); do cp "$DIR/image" "$STORE/$i.qcow2"; done
    chmod 644 "$STORE"/*
    start_daemon
    # its helpers stand still, so that the pass cannot end
    pkill -STOP -P "$DAEMON"
    [ "$(ctl status --json=short | jq '."last-pass"')" = 0 ] || skip "the first pass was too quick"
    plugin 3
    is '.text | test("^UNKNOWN - the first pass is not complete: nothing found so far, with [0-9]+ of [0-9]+ images? audited$")'
    ctl status | grep -E '^ *Findings: none so far'
    pkill -CONT -P "$DAEMON"
    # what is found is told before the end
    scan
    plugin 0
    is '.data.audited.value == 600'
    ctl status | grep -E '^ *Findings: none$'
}

@test "hostile names end neither text nor label" {
    STORE=$DIR/$'st|o\'re"=`$(x);'
    mkdir "$STORE"
    printf 'libvirt: {uris: []}\ndatastores:\n  - path: "%s"\nintervals: {debounce: 100ms}\n' \
        "$DIR/st|o're\\\"=\`\$(x);" >"$CONFIG"
    name=$(printf 'n|%.0s' {1..60})
    make_image "$STORE/plain.qcow2"
    leak_image "$STORE/plain.qcow2" 24
    mv "$STORE/plain.qcow2" "$STORE/"$'evil|\'"`$&<>\n\xff;=1B;0 '"$name"
    start_daemon
    scan
    found() { ctl status --json=short | jq -e '.open.warning >= 1' >/dev/null; }
    wait_for 20 found
    plugin 1
    is '.text | contains("evil\\x7c\\x27\\x22\\x60\\x24\\x26\\x3c\\x3e\\n\\xff;=1B;0")'
    is '[.data | keys[] | select(startswith("used "))] | length == 1'
}

@test "a runner of plugins understands it" {
    negate=/usr/lib/nagios/plugins/negate
    [ -x "$negate" ] || skip "monitoring-plugins-basic is not installed"
    make_image "$STORE/good.qcow2"
    chmod 644 "$STORE/good.qcow2"
    start_daemon
    scan
    plugin=$(command -v qcauditctl)
    run -2 "$negate" "$plugin" --socket "$RUN/control" status --nagios
    run -2 "$negate" -s "$plugin" --socket "$RUN/control" status --nagios
    [[ $output == "CRITICAL - nothing above info is open: 1 of 1 image audited"*" | "* ]]
    stop_daemon
    run -1 "$negate" -s -u WARNING "$plugin" --socket "$RUN/control" status --nagios
    [[ $output == "WARNING - qcauditd is not running"* ]]
}
