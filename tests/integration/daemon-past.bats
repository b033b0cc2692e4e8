#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The past is asked: what was open then, what differs between two times, when a chain passed a depth.
bats_require_minimum_version 1.5.0
load lib

setup() {
    need qemu-img qemu-io jq python3 script sqlite3
    qcaudit_setup
    export LC_ALL=C.UTF-8 TZ=UTC
    cd "$DIR" || return 1
}
teardown() { qcaudit_teardown; }

now() { date -u "+%Y-%m-%d %H:%M:%S"; }
# mark VARIABLE: the time, in whole seconds; what went before is earlier, what comes next is later.
mark() { next_second; printf -v "$1" '%s' "$(now)"; }
offline() {
    case " $* " in *' findings '* | *' status '*) set -- "$@" --exit-zero ;; esac
    timeout 60 qcauditctl --offline --state-directory "$STATE" --no-pager "$@" </dev/null
}

@test "what was open at a time, and what differs between two" {
    start_daemon
    scan
    mark empty
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    make_image "$STORE/leak.qcow2"
    leak_image "$STORE/leak.qcow2"
    scan
    mark both
    id=$(ctl findings --name=clusters-leaked --json=short | jq '.[0].id')
    ctl ack "$id" --reason="known"
    rm "$STORE/bad.qcow2"
    scan
    mark after
    # now: nothing is open
    run -0 ctl findings --json=short
    [ "$(jq -r '.[].name' <<<"$output")" = clusters-leaked ]
    # as it was
    run -0 ctl findings --at "$empty"
    [[ $output == "No finding was open at "*"$empty"* ]]
    run -0 ctl findings --at "$both" --json=short
    [ "$(jq -r '.[] | "\(.name) \(.state) \(.severity) \(.path)"' <<<"$output")" = "metadata-corrupt open critical $STORE/bad.qcow2
clusters-leaked open warning $STORE/leak.qcow2" ]
    [ "$(jq 'map(select(.inferred)) | length' <<<"$output")" = 0 ]
    run -0 ctl findings --at "$both" --severity=critical
    [[ $output == *"1 finding at "* && $output == *metadata-corrupt* && $output != *clusters-leaked* ]]
    run -0 ctl findings --at "$both" --path "$STORE/leak.qcow2" --json=short
    [ "$(jq -r '.[].name' <<<"$output")" = clusters-leaked ]
    run -0 ctl findings --at "$after" --json=short
    [ "$(jq -r '.[] | "\(.name) \(.state)"' <<<"$output")" = "clusters-leaked acknowledged" ]
    # the exit status is that of then
    run -3 timeout 60 qcauditctl --socket "$RUN/control" findings --at "$both"
    run -3 timeout 60 qcauditctl --socket "$RUN/control" status --at "$both"
    [[ $output == *"Findings: 1 critical, 1 warning"* && $output == *"Record: begins at "* ]]
    run -0 timeout 60 qcauditctl --socket "$RUN/control" status --at "$after"
    [[ $output == *"acknowledged: 1 warning"* ]]
    run -0 ctl status --at "$both" --json=short
    [ "$(jq -c '[.open.critical, .open.warning, (.worst | length)]' <<<"$output")" = '[1,1,2]' ]
    # the differences
    run -0 ctl diff "$empty" "$both"
    [[ $output == *"2 opened."* ]]
    [ "$(grep -n metadata-corrupt <<<"$output" | cut -d: -f1)" -lt "$(grep -n clusters-leaked <<<"$output" | cut -d: -f1)" ]
    run -0 ctl diff "$both" "$after" --json=short
    [ "$(jq -r '.[] | "\(.name) \(.change)"' <<<"$output")" = "metadata-corrupt resolved" ]
    run -0 ctl diff "$empty"
    [[ $output == *"1 opened, 1 opened and resolved in between."* ]]
    run -0 ctl diff "$after"
    [[ $output == *"no finding changed."* ]]
    run -1 ctl diff "$after" "$both"
    run -1 ctl diff nonsense
    # beyond the record
    run -10 ctl findings --at 2001-01-01
    [[ $output == "The record begins at "*"; before that nothing is known." ]]
    run -10 ctl status --at 2001-01-01
    run -1 ctl diff 2001-01-01
    run -10 ctl findings --at +1d
    [[ $output == *"is still to come."* ]]
    # the same without a daemon
    for asked in "findings --at" "status --at" "diff"; do
        # shellcheck disable=SC2086
        ctl $asked "$both" --json=pretty >online
        cp online "online-${asked// /}"
    done
    stop_daemon
    for asked in "findings --at" "status --at" "diff"; do
        # shellcheck disable=SC2086
        offline $asked "$both" --json=pretty | diff "online-${asked// /}" -
    done
}

# grow FROM TO: overlays on disk.qcow2, each audited before the next.
grow() {
    local i
    for ((i = $1; i <= $2; i++)); do
        qemu-img create -q -f qcow2 -F qcow2 -b "disk.$((i - 1)).qcow2" "$STORE/disk.$i.qcow2"
        scan
    done
}

@test "when a chain passed a depth, over the layers that it consisted of" {
    start_daemon
    make_image "$STORE/disk.0.qcow2"
    scan
    next_second
    grow 1 2
    next_second         # --since and --until are given in seconds
    grow 3 3
    run -0 ctl history "$STORE/disk.3.qcow2" --metric=depth --json=short
    [ "$(jq -c '[.samples[].value] | unique' <<<"$output")" = '[1,2,3,4]' ]
    [ "$(jq -c '[.samples[].at] == ([.samples[].at] | sort)' <<<"$output")" = true ]
    [ "$(jq -c '[.first, .last, .least, .most]' <<<"$output")" = '[1,4,1,4]' ]
    [ "$(jq -r '[.samples[] | select(.value == 3) | .path] | unique[]' <<<"$output")" = "$STORE/disk.2.qcow2" ]
    # the newest of them, in any order
    [ "$(ctl --no-legend history disk.3.qcow2 --metric=depth -n 1 -o value | tr -d ' ')" = 4 ]
    [ "$(ctl --no-legend history disk.3.qcow2 --metric=depth -n 2 -o value --sort=value | tr -d ' ' | tail -n 1)" = 4 ]
    [[ $(ctl --no-legend history disk.3.qcow2 --metric=size -n 1 -o value) =~ [0-9]K$ ]]
    [[ $(ctl --no-legend history disk.3.qcow2 --metric=size -n 1 -o value --bytes) =~ ^[0-9]{5,}$ ]]
    run -0 ctl history disk.3.qcow2 --metric=size --bytes
    [[ $output =~ \ [0-9]{5,}\  ]]
    run -0 ctl history disk.3.qcow2 --metric=depth
    [[ $output == *"▁"*"█"* && $output == *"first   1, at "* && $output == *"most    4"* ]]
    LC_ALL=C run -0 ctl history disk.3.qcow2 --metric=depth
    [[ $output == *"0"*"9"* && $output != *"█"* ]]
    run -0 ctl history disk.3.qcow2 --crossed depth=3
    [[ $output == "The chain first reached 3 layers at "*" (3; at "*" it was 2); the last audit, at "*", found 4." ]]
    run -0 ctl history disk.3.qcow2 --crossed depth=10
    [[ $output == "The chain never reached 10 layers within the record, which begins at "*"; the most was 4." ]]
    run -0 ctl history disk.3.qcow2 --crossed depth=1
    [[ $output == "The record of this disk begins at "*", and the chain had 1 layer then already; the last audit, at "*", found 4." ]]
    # of a part of the record: nothing is said of what is not looked at
    run -0 ctl history disk.3.qcow2 --metric=depth --json=short
    local third
    third=$(jq '[.samples[] | select(.value == 3) | .at] | min' <<<"$output")
    run -0 ctl history disk.3.qcow2 --crossed depth=10 --since="@$((third / 1000000 + 1))"
    [[ $output == "The chain never reached 10 layers since "*"; the most was 4." ]]
    run -0 ctl history disk.3.qcow2 --crossed depth=3 --since="@$((third / 1000000 + 1))" --json=short
    jq -e '.cut and ."reached-before-since" and (has("record-begins") or has("reached-before-record") | not)' <<<"$output"
    run -0 ctl history disk.3.qcow2 --crossed depth=1 --until="@$((third / 1000000 + 1))"
    [[ $output == *"; the last audit of that time, at "*", found 3." ]]
    run -0 ctl history disk.3.qcow2 --crossed depth=10 --until="@$((third / 1000000 + 1))"
    [[ $output == *" within the record, which begins at "*", until "*"; the most was 3." ]]
    # it is flattened, and falls below
    qemu-img rebase -q -f qcow2 -F qcow2 -b "" "$STORE/disk.3.qcow2"
    scan
    run -0 ctl history disk.3.qcow2 --crossed depth=3
    [[ $output == *"first reached 3 layers at "*", and fell below that at "*"; the last audit, at "*", found 1." ]]
    run -0 ctl history disk.3.qcow2 --crossed depth=3 --json=short
    jq -e '.reached < ."fell-below" and (has("reached-again") | not)' <<<"$output"
    # sizes
    run -0 ctl history disk.3.qcow2 --crossed size=1K
    [[ $output == "The record of this disk begins at "*" then already; the last audit, at "*", found "* ]]
    run -1 ctl history disk.3.qcow2 --crossed depth=x
    run -1 ctl history disk.3.qcow2 --crossed width=1
    run -1 ctl history disk.3.qcow2 --metric=width
    run -1 ctl history --metric=depth
    # the same without a daemon
    ctl history "$STORE/disk.3.qcow2" --metric=allocated --json=pretty >online
    ctl history "$STORE/disk.3.qcow2" --crossed depth=3 >online-crossed
    stop_daemon
    offline history "$STORE/disk.3.qcow2" --metric=allocated --json=pretty | diff online -
    offline history "$STORE/disk.3.qcow2" --crossed depth=3 | diff online-crossed -
}

@test "the history of a disk has the findings of what it stands on" {
    start_daemon
    make_image "$STORE/base.qcow2"
    break_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 "$STORE/leaf.qcow2"
    scan
    run -0 ctl history "$STORE/leaf.qcow2"
    [[ $output == *"opened"*"metadata-corrupt"*"$STORE/base.qcow2"* ]]
}

@test "at 80 columns" {
    start_daemon
    make_image "$STORE/disk.0.qcow2"
    scan
    next_second
    grow 1 3
    make_image "$STORE/bad-image-with-a-rather-long-name-that-does-not-fit-a-line.qcow2"
    break_image "$STORE/bad-image-with-a-rather-long-name-that-does-not-fit-a-line.qcow2"
    begin=$(ctl status --at now --json=short | jq '(."record-begins" / 1000000 | floor) + 1')
    scan
    export NO_COLOR=1
    for verb in "findings --at now" "status --at now" "diff @$begin" "history disk.3.qcow2 --metric=depth" \
        "history disk.3.qcow2 --metric=allocated" "history disk.3.qcow2"; do
        printf -v line '%q ' timeout 60 qcauditctl --socket "$RUN/control" --no-pager
        TERM=xterm script -qec "stty cols 80 rows 24; $line $verb" /dev/null </dev/null | tr -d '\r' >screen
        [ -s screen ]
        [ -z "${PAST_SHOW-}" ] || sed 's/^/# /' screen >&3
        python3 -B -c '
for line in open("screen", encoding="utf-8"):
    assert len(line.rstrip("\n")) <= 80, line' || { echo "$verb"; cat -v screen; return 1; }
    done
}
