#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Lists for other programs: --output, --columns, --sort, --bytes, whatever the names are.
bats_require_minimum_version 1.5.0
load ../integration/lib

setup() {
    need qemu-img qemu-io jq python3 script
    qcaudit_setup
    export LC_ALL=C.UTF-8
    cd "$DIR" || return 1
}
teardown() { qcaudit_teardown; }

fill() {
    make_image "$STORE/small.qcow2" 1M
    make_image "$STORE/big.qcow2" 64M
    qemu-io -f qcow2 -c 'write -q -P 2 1M 8M' "$STORE/big.qcow2" >/dev/null
    qemu-img create -q -f qcow2 -F qcow2 -b big.qcow2 "$STORE/snap.qcow2"
    make_image "$STORE/leaked.qcow2" 4M
    leak_image "$STORE/leaked.qcow2" 24
    make_image "$STORE/bad.qcow2" 4M
    break_image "$STORE/bad.qcow2"
    chmod 644 "$STORE"/*
    start_daemon
    scan
    ctl mute --path=/nowhere --for=1h --reason='=cmd|" /C calc"!A0, and "more"' >/dev/null
}
rows() { ctl --output=csv "$@" | python3 -B "$top_srcdir/tests/cli/csv-rows.py"; }

# every list: VERB, and where its rows are in JSON.
LISTS=("findings|." "images|." "history|.events" "mutes|." "baseline list|." "diff 1970-01-02|." "explain|." "policy|.settings"
    "status|.datastores" "chain snap.qcow2|." "domains|.")

@test "CSV: a line for each row of JSON, by RFC 4180" {
    fill
    for list in "${LISTS[@]}"; do
        verb=${list%|*}
        # the record is younger than any time to compare with
        case $verb in diff*)
            begin=$(ctl status --at now --json=short | jq '."record-begins" / 1000000 | floor')
            wait_for 5 past "$begin"
            verb="diff @$((begin + 1))" ;;
        esac
        # shellcheck disable=SC2086
        rows $verb >csv || { echo "$verb"; return 1; }
        # shellcheck disable=SC2086
        [ "$(jq length csv)" = "$(ctl --json=short $verb | jq "${list#*|} | length")" ] || { echo "$verb"; cat csv; return 1; }
        # shellcheck disable=SC2086
        [ "$(ctl --output=csv --no-legend $verb | wc -l)" = "$(jq length csv)" ]
    done
    rows findings >csv
    ctl --json=short findings | jq -c '.[] | [.id, .severity, .name, .subject]' >expected
    jq -c '.[] | [.id, .severity, .finding, .image]' csv | diff expected -
    [ "$(jq '[.[] | select(.since | test("^20[0-9-]{8}T[0-9:]{8}Z$") | not)] | length' csv)" = 0 ]
    rows images >csv
    ctl --json=short images | jq -c '.[] | [.path, ."virtual-size", .allocated, .depth, .unconsolidated]' >expected
    jq -c '.[] | [.image, .virtual, ."on-disk", .layers, .unconsolidated]' csv | diff expected -
    rows mutes >csv
    [ "$(jq -r '.[0].reason' csv)" = '=cmd|" /C calc"!A0, and "more"' ]
    ctl --output=csv mutes | grep -F "\"'=cmd|\"\" /C calc\"\"!A0, and \"\"more\"\"\""
    rows status >csv
    [ "$(jq -r '.[0].images' csv)" = 5 ]
    # a list that is empty has its names all the same
    [ "$(ctl --output=csv findings --path=/nowhere)" = $'id,severity,since,finding,state,confidence,image,what\r' ]
    [ "$(ctl --output=csv --no-legend findings --path=/nowhere | wc -c)" = 0 ]
}

@test "JSON lines: the objects of JSON" {
    fill
    for list in "${LISTS[@]}"; do
        verb=${list%|*} where=${list#*|}
        case $verb in
        policy | status) where='[.]' ;;
        diff*) verb="diff @$(($(date +%s) - 1))" ;;
        esac
        # What changes from one second to the next is left out.
        # shellcheck disable=SC2086
        ctl --json=short $verb | jq -c "$where | .[] | del(.\"next-pass\"?)" >expected
        # shellcheck disable=SC2086
        ctl --output=jsonl $verb >lines
        jq -c 'del(."next-pass"?)' lines | diff expected - || { echo "$verb"; return 1; }
        [ "$(wc -l <lines)" = "$(wc -l <expected)" ]
    done
    ctl --output=json findings | jq -e 'type == "array"'
}

@test "--json without an argument, and -j: short here, pretty on a terminal" {
    run -0 ctl explain chain-deep --json
    [ "$output" = "$(ctl explain chain-deep --json=short)" ]
    run -0 ctl -j explain chain-deep
    [ "$output" = "$(ctl explain chain-deep --json=short)" ]
    TERM=xterm script -qec "qcauditctl --no-pager explain chain-deep --json" /dev/null </dev/null | tr -d '\r' >out
    diff out <(ctl explain chain-deep --json=pretty)
    run -0 ctl explain chain-deep --json --json=off
    [[ $output == "chain-deep: "* ]]
    run -0 ctl explain chain-deep --output=csv --json=short
    jq -e . <<<"$output"
}

@test "columns by name, in the order that is asked for; an unknown one names those there are" {
    fill
    [ "$(ctl --no-legend findings -o finding,severity --severity=critical)" = "metadata-corrupt critical" ]
    [ "$(ctl --no-legend findings --columns=severity,FINDING --severity=critical)" = "critical metadata-corrupt" ]
    [ "$(ctl --output=csv findings -o name --severity=critical)" = $'finding\r\nmetadata-corrupt\r' ]
    ctl images -o image,role | grep -E '^IMAGE +ROLE'
    # what a narrow screen has no room for is there when it is asked for
    TERM=xterm script -qec "stty cols 80; qcauditctl --socket $RUN/control --no-pager images -o role,unconsolidated" /dev/null \
        </dev/null | grep -E '^ROLE +UNCONSOLIDATED'
    # refused before anything is printed, with the names, by every list
    for list in "${LISTS[@]}"; do
        verb=${list%|*}
        case $verb in diff*) verb="diff @$(date +%s)" ;; esac
        for option in -onothing --columns=nothing --sort=nothing; do
            case $verb,$option in chain*,--sort*) continue ;; esac
            # shellcheck disable=SC2086
            run ! --separate-stderr ctl $verb "$option"
            [ -z "$output" ]
            # shellcheck disable=SC2154
            [[ $stderr == "There is no column 'nothing' here. There are: "*", "*"." ]] || { echo "$verb $option: $stderr"; return 1; }
        done
        # every column that is named can be had, and sorted by
        names=$(sed 's/.*There are: //; s/\.$//; s/ //g' <<<"$stderr")
        # shellcheck disable=SC2086
        [ "$(ctl --output=csv $verb -o "$names" | head -n 1 | tr -d '\r')" = "$names" ]
        case $verb in chain*) continue ;; esac
        # shellcheck disable=SC2086
        ctl --output=csv $verb --sort="$names" >/dev/null
    done
    run -10 ctl findings --json -o id
    run -1 ctl show bad.qcow2 --output=csv
    run -1 ctl show bad.qcow2 -o id
    run -10 ctl status --at=now --output=csv
}

@test "sorted by what is meant, not by what is printed" {
    fill
    sizes() { ctl --json=short images "$@" | jq -c '[.[].allocated]'; }
    [ "$(sizes --sort=on-disk | jq -c '. == sort')" = true ]
    [ "$(sizes --sort=-allocated | jq -c '. == (sort | reverse)')" = true ]
    [ "$(ctl --no-legend images --sort=-on-disk --lines=1 -o image)" = "$STORE/big.qcow2" ]
    [ "$(rows images --sort=layers,-image | jq -c '[.[] | [.layers, .image]] | . == sort_by(.[0], (.[1] | explode | map(-.)))')" = true ]
    [ "$(ctl findings --no-legend --sort=severity -o severity | uniq | tr -d '\n')" = warningcritical ]
    [ "$(ctl findings --no-legend --sort=-severity -o severity | uniq | tr -d '\n')" = criticalwarning ]
    [ "$(ctl --json=short findings --sort=-severity --lines=1 | jq -r '.[].name')" = metadata-corrupt ]
    # what has none is last, either way
    [ "$(ctl images --no-legend --sort=state -o state | tail -n 1 | tr -d ' ')" = ok ]
    [ "$(ctl images --no-legend --sort=-state -o state | tail -n 1 | tr -d ' ')" = ok ]
}

@test "--bytes: sizes as numbers" {
    fill
    ctl images --no-legend --bytes -o on-disk,virtual,image | tr -s ' ' >table
    ctl --json=short images | jq -r '.[] | " \(.allocated) \(."virtual-size") \(.path)"' | sort >expected
    sed 's/^ *\([0-9]\)/ \1/' table | sort | diff expected -
    ctl status --bytes | grep -E '^DATASTORE'
}

@test "names with every byte" {
    low= high=
    for i in {1..127}; do
        [ "$i" = 47 ] || printf -v low '%s\\x%02x' "$low" "$i"
    done
    for i in {128..255}; do printf -v high '%s\\x%02x' "$high" "$i"; done
    names=()
    for name in "$low" "$high" '=1+1' '+1' '-1' '@SUM(1)' '\t=1' '\r=1' ' "a",b\r\n' '12' "'=1" 'x\\x41'; do
        printf -v name '%b' "$name"
        names+=("$name")
        qemu-img create -q -f qcow2 "$DIR/new" 1M
        mv "$DIR/new" "$STORE/$name"
    done
    start_daemon
    scan
    printf '%s\0' "${names[@]}" | STORE=$STORE python3 -c 'import json, os, sys
print(json.dumps(sorted(os.environ["STORE"] + "/" + name.decode("latin-1") for name in sys.stdin.buffer.read().split(b"\0")[:-1])))' \
        >expected
    STORE=$STORE rows images -o image | jq -c '[.[].image] | sort' >found
    diff <(jq -c . expected) found
    # a path is never a number, and begins with a slash; a name that begins otherwise is that of a class or a reason
    for reason in =1+1 +1 -1 @SUM ordinary; do ctl mute --path=/nowhere --for=1h --reason="$reason" >/dev/null; done
    [ "$(ctl --output=csv mutes -o reason --sort=id | tr -d '\r' | tr '\n' ' ')" = "reason '=1+1 '+1 '-1 '@SUM ordinary " ]
}
