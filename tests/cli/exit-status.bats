#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What scripts have of status and findings: an exit status by the worst that is open, and one line.
bats_require_minimum_version 1.5.0
load ../integration/lib

setup() {
    need qemu-img qemu-io jq python3
    qcaudit_setup
    export LC_ALL=C.UTF-8
}
teardown() { qcaudit_teardown; }

ask() { timeout 60 qcauditctl --socket "$RUN/control" --no-pager "$@" </dev/null; }
offline() { timeout 60 qcauditctl --offline --state-directory "$STATE" --no-pager "$@" </dev/null; }

# worst STATUS: both verbs end so, on every way to ask.
worst() {
    run "-$1" ask status
    run "-$1" ask status --brief
    run "-$1" ask status --json=short
    jq -e .images <<<"$output" >/dev/null
    run "-$1" ask findings
    run "-$1" ask findings --json=short
    run "-$1" ask findings --lines=1
    run "-$1" ask                       # that of status
    run -0 ask status --exit-zero
    run -0 ask status --brief --exit-zero
    run -0 ask findings --exit-zero
}

@test "0 nothing, 1 a warning, 2 an error, 3 critical; acknowledged is not open" {
    make_image "$STORE/good.qcow2"
    chmod 644 "$STORE/good.qcow2"
    start_daemon
    scan
    worst 0
    run -0 ask status --brief
    [[ $output == "all is well: 1 image, last looked for "* ]]
    [ "${#lines[@]}" = 1 ]

    make_image "$STORE/leaked.qcow2"
    leak_image "$STORE/leaked.qcow2" 24
    chmod 644 "$STORE/leaked.qcow2"
    scan
    wait_for 20 has_finding "clusters-leaked warning leaked.qcow2"
    worst 1
    run -1 ask status --brief
    [[ $output == "warning: clusters-leaked: $STORE/leaked.qcow2 has "*" leaked clusters "*"(qcauditctl show "*")" ]]

    # A snapshot that nobody consolidated, by thresholds of the test's own.
    echo 'thresholds: {chain-deep: {warning: 1, error: 2}}' >"$DIR/conf.d/50-depth.yaml"
    kill -HUP "$DAEMON"
    qemu-img create -q -f qcow2 -F qcow2 -b good.qcow2 "$STORE/good.snap1" 4M
    qemu-img create -q -f qcow2 -F qcow2 -b good.snap1 "$STORE/good.snap2" 4M
    chmod 644 "$STORE"/good.snap*
    scan
    wait_for 20 has_finding "chain-deep error"
    worst 2
    run -1 ask findings --name=clusters-leaked          # of what is listed
    run -0 ask findings --name=parent-missing

    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    scan
    wait_for 20 has_finding "metadata-corrupt critical bad.qcow2"
    worst 3
    run -3 ask status --brief
    echo "$output"
    [[ $output == "critical: metadata-corrupt: $STORE/bad.qcow2 "*"; in all: 1 critical, 1 error, 1 warning"* ]]
    [ "${#lines[@]}" = 1 ]

    for id in $(ask findings --json=short --severity=error | jq '.[].id'); do
        ask ack "$id" --reason=known >/dev/null
    done
    worst 1
    run -1 ask findings --all
    stop_daemon
    run -1 offline status
    run -1 offline findings
    run -1 offline status --brief
    [[ $output == "qcauditd is not running; its database says: warning: clusters-leaked: "* ]]
    run -0 offline status --exit-zero
}

@test "what cannot be found out is 10, and no finding" {
    for verb in status findings "status --brief" "status --exit-zero" "findings --exit-zero" "" --no-such-option \
        "status --no-such-option" "--socket $RUN/none status --wait" "findings --severity=fatal" no-such-verb; do
        # shellcheck disable=SC2086
        run -10 ask $verb
    done
    run -10 offline findings
    run -1 ask images           # other verbs have their own
}

@test "--brief: what is not audited is not called well" {
    printf 'libvirt: {uris: []}\ndatastores: []\n' >"$CONFIG"
    start_daemon
    run -0 ask status --brief
    [ "$output" = "nothing is audited: there is no datastore" ]
}
