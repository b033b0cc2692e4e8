#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl --host: the daemon of another host, by a real ssh and sshd. The connection is a pipe, and the other host is
# this one; where paths would be resolved differently there, the tests stand in another folder.
load lib

setup() {
    need qemu-img ssh ssh-keygen /usr/sbin/sshd systemd-stdio-bridge jq python3
    need_root
    qcaudit_setup
    REMOTE=$(mktemp -d "$DIR/ssh.XXXXXX")
    ssh-keygen -q -t ed25519 -N '' -f "$REMOTE/host"
    ssh-keygen -q -t ed25519 -N '' -f "$REMOTE/me"
    cp "$REMOTE/me.pub" "$REMOTE/authorized"
    mkdir -p /run/sshd
    cat >"$REMOTE/sshd" <<END
HostKey $REMOTE/host
AuthorizedKeysFile $REMOTE/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
LogLevel ERROR
END
    cat >"$REMOTE/client" <<END
Host far
    ProxyCommand /usr/sbin/sshd -i -e -f $REMOTE/sshd
    User root
Host *
    ProxyCommand false
Host *
    IdentityFile $REMOTE/me
    IdentitiesOnly yes
    BatchMode yes
    StrictHostKeyChecking no
    UserKnownHostsFile $REMOTE/known
    LogLevel ERROR
END
    mkdir "$REMOTE/bin"
    printf '#!/bin/sh\nprintf "%%s\\n" "$@" >>%s/arguments\nexec %s -F %s/client "$@"\n' "$REMOTE" "$(command -v ssh)" "$REMOTE" >"$REMOTE/bin/ssh"
    chmod 755 "$REMOTE/bin/ssh"
    PATH=$REMOTE/bin:$PATH
}
teardown() {
    stop_daemon || :
    qcaudit_teardown
}

far() { ctl -H far "$@"; }

@test "status, show, findings, history and scan of another host are as they are there" {
    make_image "$STORE/good.qcow2"
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    write_config
    start_daemon
    ctl scan --wait || [ $? = 2 ]
    cd "$REMOTE"
    local verb
    for verb in "findings --json=short" "images --json=short" "show $STORE/bad.qcow2 --json=short" "show bad.qcow2 --json=short" \
        "chain good.qcow2 --json=short" "history $STORE/bad.qcow2 --json=short" "policy $STORE/good.qcow2" "baseline --json=short" "mutes"; do
        # shellcheck disable=SC2086     # words on purpose
        run far $verb
        local there=$output of_there=$status
        # shellcheck disable=SC2086
        run ctl $verb
        [ "$of_there" = "$status" ] && [ "$there" = "$output" ] ||
            { echo "$verb: $of_there there, $status here"; diff <(echo "$there") <(echo "$output"); return 1; }
    done
    run -3 qcauditctl -H far --socket="$RUN/control" status --brief
    [[ $output == *metadata-corrupt* ]]
    # What is printed to be pasted asks that host; commands that repair are for there, and say so.
    for verb in status findings "show bad.qcow2" "findings --muted" "mute --path=$STORE/x* --forever --reason=x" mutes \
        "images none.qcow2" "show 99" "unmute 99" "chain good.qcow2" scan "pause store"; do
        # shellcheck disable=SC2086
        run far $verb
        [ -z "$(grep -F 'qcauditctl ' <<<"$output" | grep -vF 'qcauditctl -H far ' | grep -vE 'qcauditctl (explain|evidence) ')" ] ||
            { echo "$verb: $output"; return 1; }
    done
    run far resume store
    run -0 far show bad.qcow2
    [[ $output == *"On far, and NOT on this host:"* ]]
    # A change there, and what comes back over time.
    make_image "$STORE/new.qcow2"
    run -0 far scan --wait new.qcow2 "$STORE/new.qcow2"
    run -0 far show new.qcow2
    # A relative path is never of a folder of this host.
    cd "$STORE"
    run -0 --separate-stderr far images --json=short --path good.qcow2
    [ "$output" = '[]' ]
}

@test "a name and a socket are what they are: no options of ssh, no words of a shell" {
    run -10 qcauditctl -H -oProxyCommand="touch $REMOTE/made" status
    [[ $output == *"a name for ssh is needed"* ]]
    # shellcheck disable=SC2016     # for nobody
    run -10 qcauditctl -H far --socket='/run/$(touch '"$REMOTE"'/made);a b%*' status
    grep -qxF -- "--bus-path=unix:path=/run/%24%28touch%20${REMOTE//\//\/}/made%29%3ba%20b%25%2a" "$REMOTE/arguments" ||
        { cat "$REMOTE/arguments"; return 1; }
    [ ! -e "$REMOTE/made" ]
}

@test "a host that cannot be reached, and verbs that are of this host, say so" {
    run -10 qcauditctl -H nowhere status
    [[ $output == *"qcauditd of nowhere cannot be asked."* ]]
    run -10 qcauditctl -H far --socket="$RUN/control" status
    [[ $output == *"qcauditd of far cannot be asked. Is it running? See: ssh far systemctl status qcauditd"* ]]
    run -1 qcauditctl -H far check /x
    [[ $output == *"--host means nothing to 'check'."* ]]
    run -10 qcauditctl -H far --offline findings
    [[ $output == "--offline reads a database of this host: leave out --host." ]]
}
