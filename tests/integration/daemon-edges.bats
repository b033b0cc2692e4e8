#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The edges of what the daemon trusts and touches: folders that others may write, access times.
load lib

setup() { need qemu-img qemu-io python3; qcaudit_setup; }
teardown() { qcaudit_teardown; }

# refused TEXT: the daemon does not start, and says so in one line.
refused() {
    run start_daemon
    [ "$status" != 0 ]
    DAEMON=
    grep -qF -- "$1" "$LOG" || { cat "$LOG"; return 1; }
    [ "$(grep -c . "$LOG")" -le 2 ] || { cat "$LOG"; return 1; }
    [ ! -e "$RUN/control" ]
    : >"$LOG"
}

@test "a configuration that others may write is not read, with the path and the mode" {
    chmod 666 "$CONFIG"
    run -78 qcauditd --config "$CONFIG" --check-config
    [ "$output" = "$CONFIG: not read: $CONFIG may be written by everybody (mode 0666)" ]
    refused "$CONFIG may be written by everybody (mode 0666)"
    chmod 644 "$CONFIG"

    chmod 777 "$DIR/conf.d"
    run -78 qcauditd --config "$CONFIG" --check-config
    [ "$output" = "$DIR/conf.d: not read: $DIR/conf.d may be written by everybody (mode 0777)" ]
    refused "$DIR/conf.d may be written by everybody (mode 0777)"
    chmod 755 "$DIR/conf.d"

    echo 'control: {public: yes}' >"$DIR/conf.d/zz.yaml"
    chmod 646 "$DIR/conf.d/zz.yaml"
    run -78 qcauditd --config "$CONFIG" --check-config
    [ "$output" = "$DIR/conf.d/zz.yaml: not read: $DIR/conf.d/zz.yaml may be written by everybody (mode 0646)" ]
    rm "$DIR/conf.d/zz.yaml"

    chmod 757 "$DIR"
    refused "$DIR may be written by everybody (mode 0757)"
    # as /tmp is: nobody can take another's file away there
    chmod 1777 "$DIR"
    run -0 qcauditd --config "$CONFIG" --check-config
}

@test "a configuration of somebody else is not read" {
    need_root
    chown nobody "$CONFIG"
    run -78 qcauditd --config "$CONFIG" --check-config
    [ "$output" = "$CONFIG: not read: $CONFIG belongs to the user $(id -u nobody), who is neither root nor the daemon's (mode 0644)" ]
    chown root "$CONFIG"
    echo 'control: {public: yes}' >"$DIR/conf.d/zz.yaml"
    chown nobody "$DIR/conf.d/zz.yaml"
    run -78 qcauditd --config "$CONFIG" --check-config
    [[ $output == *"zz.yaml belongs to the user "* ]]
}

@test "whoever may change the program itself is trusted with what it reads, as where it was built in a folder of theirs" {
    need_root
    mkdir "$DIR/theirs"
    cp "$CONFIG" "$DIR/theirs/qcauditd.yaml"
    cp "$(type -P qcauditd)" "$DIR/theirs/qcauditd"
    chown -R nobody:nogroup "$DIR/theirs"
    chmod 775 "$DIR/theirs"
    run -78 qcauditd --config "$DIR/theirs/qcauditd.yaml" --check-config
    [[ $output == *"belongs to the user "* ]]
    run -0 "$DIR/theirs/qcauditd" --config "$DIR/theirs/qcauditd.yaml" --check-config
    chown root "$DIR/theirs/qcauditd.yaml"
    run -0 "$DIR/theirs/qcauditd" --config "$DIR/theirs/qcauditd.yaml" --check-config
    chmod 777 "$DIR/theirs/qcauditd.yaml"
    run -78 "$DIR/theirs/qcauditd" --config "$DIR/theirs/qcauditd.yaml" --check-config
}

@test "state and runtime folders that others may write are not used" {
    chmod 777 "$STATE"
    refused "The state folder is not used: $STATE may be written by everybody (mode 0777)"
    [ -z "$(ls -A "$STATE")" ]
    chmod 700 "$STATE"
    chmod 1777 "$RUN"
    refused "The runtime folder is not used: $RUN may be written by everybody (mode 1777)"
    chmod 755 "$RUN"
    # where a link leads is what counts
    mkdir -m 777 "$DIR/open"
    mv "$STATE" "$DIR/open/state"
    ln -s open/state "$STATE"
    chmod 777 "$DIR/open"
    refused "The state folder is not used: $DIR/open may be written by everybody (mode 0777)"
    chmod 755 "$DIR/open"
    start_daemon
    stop_daemon
    # and what is in it
    : >"$LOG"
    STATE=$DIR/open/state
    chmod 666 "$STATE/qcaudit.db"
    refused "What is kept is not used: $STATE/qcaudit.db may be written by everybody (mode 0666)"
    chmod 600 "$STATE/qcaudit.db"
    touch "$STATE/baselines.journal"
    chown nobody "$STATE/baselines.journal"
    refused "What is kept is not used: $STATE/baselines.journal belongs to the user 65534"
    chown root "$STATE/baselines.journal"
    start_daemon
    stop_daemon
}

@test "a reload refuses what others may write by then, and goes on with what it has" {
    make_image "$STORE/a.qcow2"
    start_daemon
    scan
    write_config 'workers: {count: 1}'
    chmod 666 "$CONFIG"
    kill -HUP "$DAEMON"
    wait_for 20 grep -qF "$CONFIG may be written by everybody (mode 0666)" "$LOG"
    ctl status >/dev/null
    same 1 "$(ctl status --json=short | jq .images)"
}

field() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; } # PID NAME

@test "daemon, launcher and helpers have no new privileges, and a filter each" {
    need_root
    make_image "$STORE/a.qcow2"
    start_daemon
    scan
    launcher=$(pgrep -P "$DAEMON" -x qcaudit-launch)
    files=$(pgrep -P "$launcher" -x qcaudit-files)
    worker=$(pgrep -P "$DAEMON" -x qcaudit-worker)
    for pid in "$DAEMON" "$launcher" "$files" "$worker"; do
        [ "$(field "$pid" NoNewPrivs)" = 1 ] || { field "$pid" Name; return 1; }
        [ "$(field "$pid" Seccomp)" = 2 ] || { field "$pid" Name; return 1; }
    done
    # CAP_DAC_READ_SEARCH, and where it ends
    [ "$(field "$launcher" CapEff) $(field "$files" CapEff)" = "0000000000000004 0000000000000004" ]
    [ "$(field "$DAEMON" CapPrm) $(field "$worker" CapPrm)" = "0000000000000000 0000000000000000" ]
    [ "$(field "$files" CapInh) $(field "$files" CapAmb)" = "0000000000000000 0000000000000000" ]
}

# times FILE...: of the last access.
times() { stat -c '%x %n' "$@"; }

@test "reading leaves no trace in the access times of files of the daemon's user, or the caller's" {
    mkdir "$STORE/sub" "$DIR/control"
    make_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -b ../base.qcow2 -F qcow2 "$STORE/sub/overlay.qcow2"
    truncate -s 8M "$STORE/raw.img"
    echo x >"$DIR/control/file"
    # Patterns of the shell read folders, so they come before.
    files=("$STORE"/*.* "$STORE"/sub/*) folders=("$STORE" "$STORE/sub")
    touch -a -d '3 days ago' "${files[@]}" "${folders[@]}" "$DIR/control/file"
    before=$(times "$DIR/control/file")
    cat "$DIR/control/file" >/dev/null
    [ "$before" != "$(times "$DIR/control/file")" ] || skip "this file system keeps no access times"
    before=$(times "${files[@]}" "${folders[@]}")
    start_daemon
    scan
    scan "${files[@]}"
    same "$before" "$(times "${files[@]}" "${folders[@]}")"
    stop_daemon
    ctl check --chain "$STORE/sub/overlay.qcow2" >/dev/null
    ctl hash --content "$STORE/sub/overlay.qcow2" >/dev/null
    ctl hash "$STORE/raw.img" >/dev/null
    same "$before" "$(times "${files[@]}" "${folders[@]}")"
}
