#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The program of alerts.exec: what it gets, what becomes of programs that fail, and mails and web requests that really
# arrive. systemd-socket-activate stands for the socket unit here; service.bats has the real one.
load lib

setup() {
    need qemu-img systemd-socket-activate jq python3
    qcaudit_setup
    chmod 711 "$DIR"
    PROGRAM=$DIR/program GOT=$DIR/got SOCKET= SERVER=
    mkdir "$GOT"
}

teardown() {
    local status=$?
    [ "${BATS_TEST_COMPLETED-}" = 1 ] || { cat "$DIR/notify.log"; tail -n 40 "$GOT"/*; } 2>/dev/null
    [ -z "$SERVER" ] || kill "$SERVER" 2>/dev/null || :
    stop_notify
    qcaudit_teardown || return
    return "$status"
}

# program SCRIPT: what alerts.exec runs; each message of its standard input lies in $GOT/N.json, its environment beside.
program() {
    {
        printf '#!/bin/bash\nn=$(ls "%s" | grep -c json)\n' "$GOT"
        printf 'cat >"%s/$n.part"; env >"%s/$n.env"; mv "%s/$n.part" "%s/$n.json"\n' "$GOT" "$GOT" "$GOT" "$GOT"
        printf '%s\n' "$1"
    } >"$PROGRAM.new"
    chmod 755 "$PROGRAM.new"
    mv "$PROGRAM.new" "$PROGRAM"
}

# start_notify [VARIABLE=VALUE...]: the service's socket, for a configuration that names the program.
start_notify() {
    local setting settings=()
    for setting; do settings+=("--setenv=$setting"); done
    systemd-socket-activate -l "$RUN/notify" --accept --inetd "${settings[@]}" \
        "$top_builddir/daemon/qcaudit-notify" --config "$CONFIG" >>"$DIR/notify.log" 2>&1 </dev/null 3>&- 4>&- &
    SOCKET=$!
    wait_for 10 test -S "$RUN/notify"
}

stop_notify() {
    [ -z "$SOCKET" ] || kill "$SOCKET" 2>/dev/null || :
    [ -z "$SOCKET" ] || wait "$SOCKET" 2>/dev/null || :
    SOCKET=
    rm -f "$RUN/notify"
}

# say_to_notify BYTES: what it answers to these bytes.
say_to_notify() {
    timeout 10 python3 -c '
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(os.fsencode(sys.argv[2]))
s.shutdown(socket.SHUT_WR)
print(s.makefile().read())' "$RUN/notify" "$1"
}

exec_config() { write_config "alerts: { exec: $PROGRAM${1:+, }${1-} }"; }
open_to_all() { make_image "$1"; chmod 666 "$1"; }
got() { jq -r "$1" "$GOT"/*.json 2>/dev/null; }
# messages FILTER: how many messages are like that.
messages() { got "select($1) | .kind" | wc -l; }
has_messages() { [ "$(messages "$2")" = "$1" ]; }
no_sleep_is_left() { ! pgrep -f 'sleep 31415' >/dev/null; }
no_failed_channel() { ! has_finding "alert-channel-failed error -"; }

@test "each change is one message: JSON at standard input, and variables" {
    program 'echo took it'
    exec_config
    start_notify
    start_daemon
    scan
    open_to_all "$STORE/one.qcow2"
    wait_for 30 has_messages 1 '.event == "opened" and .finding == "permissions"'
    same "event warning $STORE/one.qcow2 store 1" \
        "$(got 'select(.event == "opened") | "\(.kind) \(.severity) \(.image) \(.datastore) \(.version)"')"
    grep -qx "QCAUDIT_IMAGE=$STORE/one.qcow2" "$GOT/0.env"
    grep -qx "QCAUDIT_FINDING=permissions" "$GOT/0.env"
    grep -qx "QCAUDIT_FINDING_ID=$(ctl findings --json=short --name permissions | jq '.[0].id')" "$GOT/0.env"
    # The same event as in the log, once.
    grep -q "event $(got '."event-id"')\]" "$LOG"
    # It is resolved within the hour: the program hears of that later.
    chmod 644 "$STORE/one.qcow2"
    wait_for 20 grep -q 'permissions: .*one.qcow2.*resolved' "$LOG"
    # What is told of another comes after all that was gathered before.
    open_to_all "$STORE/two.qcow2"
    wait_for 30 has_messages 1 ".image == \"$STORE/two.qcow2\""
    has_messages 0 '.event == "resolved"'
    same "exec" "$(sqlite3 "$STATE/qcaudit.db" \
        "SELECT channel FROM told JOIN event ON seq = event
         WHERE type = 'opened' AND channel <> 'console' ORDER BY seq LIMIT 1")"
}

@test "many at once, and the first pass, are one message each" {
    program ''
    exec_config
    local i
    for i in 1 2 3 4 5 6 7 8; do open_to_all "$STORE/first$i.qcow2"; done
    start_notify
    start_daemon
    wait_for 30 has_messages 1 '.kind == "summary"'
    [[ $(got .message) == "First pass over the store: 8 findings (8 warning): 8 permissions; "* ]]
    [ "$(got '.events | length')" = 8 ]
    mkdir "$DIR/later"
    for i in 1 2 3 4 5 6 7; do open_to_all "$DIR/later/later$i.qcow2"; done
    mv "$DIR"/later/* "$STORE/"
    wait_for 30 has_messages 2 '.kind == "summary"'
    [ "$(got 'select(.kind == "summary") | .count' | tail -n 1)" = 7 ]
}

@test "a program that fails: said with its words, tried again, and told nothing twice" {
    program 'echo "the server is down" >&2; exit 75'
    exec_config
    start_notify
    start_daemon
    scan
    open_to_all "$STORE/one.qcow2"
    wait_for 30 has_finding "alert-channel-failed error -"
    ctl show "$(ctl findings --json=short --name alert-channel-failed | jq '.[0].id')" >"$DIR/shown"
    cat "$DIR/shown"
    grep -q 'program of alerts.exec' "$DIR/shown"
    tr -d '\n' <"$DIR/shown" | tr -s ' ' | grep -q "$PROGRAM ended with status 75: the server is down"
    # The journal's stand-in had all of it at once: a channel that fails does not hold up another.
    grep -q 'permissions: .*one.qcow2' "$LOG"
    run -1 ctl test-alert
    [[ $output == *"exec "*"FAILED"*"ended with status 75: the server is down"* ]]
    # Mended, and tried by hand: what waits goes out at once.
    rm -f "$GOT"/*
    program ''
    run -0 ctl test-alert
    wait_for 30 has_messages 1 '.finding == "permissions"'
    wait_for 30 no_failed_channel
    # Nothing of it is told again by the next daemon.
    stop_daemon
    rm -f "$GOT"/*
    start_daemon
    scan
    open_to_all "$STORE/two.qcow2"
    wait_for 30 has_messages 1 ".image == \"$STORE/two.qcow2\""
    has_messages 1 '.finding == "permissions"'
}

@test "killed before the program was told: the next daemon tells it" {
    program ''
    exec_config
    start_daemon                # and nobody listens at the socket
    scan
    open_to_all "$STORE/one.qcow2"
    wait_for 30 grep -q 'Cannot connect to qcaudit-notify.socket' "$LOG"
    kill_daemon
    start_notify
    start_daemon
    wait_for 30 has_messages 1 '.finding == "permissions"'
}

@test "programs that hang, print a gigabyte, die by a signal, or leave others running" {
    exec_config 'exec-timeout: 1s'
    start_notify
    start_daemon
    program 'trap "" TERM; echo half; sleep 31415 & sleep 31415'
    run -1 ctl test-alert --channel exec
    [[ $output == *"was ended after 1s (alerts.exec-timeout): half"* ]]
    no_sleep_is_left
    program 'echo begin; head -c 1G /dev/zero; exit 3'
    exec_config 'exec-timeout: 60s'
    ctl reload
    run -1 ctl test-alert --channel exec
    [[ $output == *"ended with status 3: begin"*"..."* ]]
    [ ${#output} -lt 10000 ]
    program 'kill -SEGV $$'
    run -1 ctl test-alert --channel exec
    [[ $output == *"was ended by signal 11 (Segmentation fault)"* ]]
    program 'sleep 31415 & echo started it'
    run -0 ctl test-alert --channel exec
    [[ $output == *"the program ended with status 0: started it"* ]]
    no_sleep_is_left
    rm "$PROGRAM"
    run -1 ctl test-alert --channel exec
    [[ $output == *"No such file or directory"* ]]
    run ctl test-alert --channel pigeon
    [ "$status" != 0 ]
    [[ $output == *"The channels are journal, syslog, console and exec"* ]]
}

@test "a program that others may write is not run, and nobody at the socket can name one" {
    need_root
    program "touch '$DIR/ran'"
    exec_config
    chmod 777 "$PROGRAM"
    start_notify
    start_daemon
    run -1 ctl test-alert --channel exec
    [[ $output == *"it is not run"*"$PROGRAM"* ]]
    [ ! -e "$DIR/ran" ]
    chmod 755 "$PROGRAM"
    [ "$(say_to_notify '{"version":1,"kind":"test","exec":"/bin/true","sendmail":"/tmp/evil","webhook-url":"http://evil","mail-to":"evil","PATH":"/tmp"}')" = '{"output":""}' ]
    [ -e "$DIR/ran" ]
    # Nor a setting of it: no other variables are set than those of a message.
    grep -qx 'QCAUDIT_KIND=test' "$GOT/0.env"
    ! grep -Ei 'evil|^QCAUDIT_EXEC|^PATH=/tmp' "$GOT/0.env" || return 1
    # What is no message is refused, and runs nothing.
    stop_daemon
    rm -f "$DIR/ran"
    local bytes
    for bytes in '' '[1]' '{"version":' $'\377\376'; do
        say_to_notify "$bytes" >"$DIR/answer"
        grep -q 'not understood' "$DIR/answer"
    done
    [ ! -e "$DIR/ran" ]
}

@test "a mail arrives, whatever bytes are in a name" {
    need msmtp
    python3 -W ignore -c 'import smtpd' 2>/dev/null || skip "this python3 has no smtpd"
    python3 -W ignore -c '
import asyncore, os, smtpd, sys
class Server(smtpd.SMTPServer):
    def process_message(self, peer, mailfrom, rcpttos, data, **options):
        n = len(os.listdir(sys.argv[1]))
        with open("%s/.part" % sys.argv[1], "wb") as file:
            file.write(("FROM %s TO %s\n" % (mailfrom, rcpttos)).encode() + data)
        os.rename("%s/.part" % sys.argv[1], "%s/%d" % (sys.argv[1], n))
server = Server(("127.0.0.1", 0), None)
open(sys.argv[2], "w").write(str(server.socket.getsockname()[1]))
asyncore.loop()' "$GOT" "$DIR/port" 3>&- 4>&- &
    SERVER=$!
    wait_for 20 test -s "$DIR/port"
    PROGRAM=$DIR/alert-mail
    cp "$top_srcdir/conf/alerts/alert-mail" "$PROGRAM"
    chmod 755 "$PROGRAM"
    printf '#!/bin/sh\nexec msmtp --host=127.0.0.1 --port=%s --from=qcaudit@host.invalid "$@"\n' "$(cat "$DIR/port")" >"$DIR/sendmail"
    chmod 755 "$DIR/sendmail"
    exec_config
    start_notify "QCAUDIT_SENDMAIL=$DIR/sendmail" "QCAUDIT_MAIL_TO=one@host.invalid two@host.invalid"
    start_daemon
    scan
    run -0 ctl test-alert --channel exec
    grep -q "^Subject: \[qcaudit .*\] This is a test of qcaudit's alerts: nothing is wrong" "$GOT/0"
    grep -q "^FROM qcaudit@host.invalid TO \['one@host.invalid', 'two@host.invalid'\]" "$GOT/0"
    open_to_all "$STORE/"$'evil\nBcc: thief@host.invalid\n\n.\n$(touch ran)`touch ran`\xff\xe2\x80\xae.qcow2'
    wait_for 30 test -e "$GOT/1"
    cat "$GOT/1"
    grep -q '^Subject: \[qcaudit .*\] opened (warning): name-unsafe: ' "$GOT/1"
    ! grep -qi '^Bcc' "$GOT/1" || return 1
    grep -q "TO \['one@host.invalid', 'two@host.invalid'\]" "$GOT/1"
    grep -q 'qcauditctl show [0-9]' "$GOT/1"
    [ ! -e /ran ]
}

@test "a web request arrives, and no secret is seen in the arguments" {
    need curl
    python3 -c '
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        n = len([name for name in os.listdir(sys.argv[1]) if name.endswith("json")])
        with open("%s/%d.auth" % (sys.argv[1], n), "w") as file:
            file.write(str(self.headers["Authorization"]))
        with open("%s/%d.arguments" % (sys.argv[1], n), "w") as file:
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    if open("/proc/%s/comm" % pid).read() == "curl\n":
                        file.write(open("/proc/%s/cmdline" % pid).read())
                except OSError:
                    pass        # ended meanwhile
        with open("%s/%d.json" % (sys.argv[1], n), "wb") as file:
            file.write(body)
        self.send_response({"/broken": 500, "/moved": 302}.get(self.path, 204))
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
open(sys.argv[2], "w").write(str(server.server_port))
server.serve_forever()' "$GOT" "$DIR/port" 2>"$DIR/server.log" 3>&- 4>&- &
    SERVER=$!
    wait_for 20 test -s "$DIR/port"
    PROGRAM=$DIR/alert-webhook
    cp "$top_srcdir/conf/alerts/alert-webhook" "$PROGRAM"
    chmod 755 "$PROGRAM"
    exec_config
    start_notify "QCAUDIT_WEBHOOK_URL=http://127.0.0.1:$(cat "$DIR/port")/hook?key=s3cret" "QCAUDIT_WEBHOOK_HEADER=Authorization: Bearer t0ken"
    start_daemon
    scan
    open_to_all "$STORE/"$'evil\n"\\\xff.qcow2'
    wait_for 30 has_messages 1 '.finding == "name-unsafe"'
    same "Bearer t0ken" "$(cat "$GOT/0.auth")"
    same "$STORE/"'evil\n"\\\xff.qcow2' "$(got 'select(.finding == "name-unsafe") | .image')"
    grep -aq curl "$GOT/0.arguments"
    ! grep -aq 's3cret\|t0ken' "$GOT/0.arguments" || return 1
    stop_notify
    start_notify "QCAUDIT_WEBHOOK_URL=http://127.0.0.1:$(cat "$DIR/port")/broken"
    run -1 ctl test-alert --channel exec
    [[ $output == *"error: 500"* ]]
    stop_notify
    start_notify "QCAUDIT_WEBHOOK_URL=http://127.0.0.1:$(cat "$DIR/port")/moved"
    run -1 ctl test-alert --channel exec
    [[ $output == *"FAILED"*"status 302"* ]]
}

@test "what was muted while it waited is not told; a program that is taken out of the configuration fails no more" {
    program 'exit 1'
    exec_config
    start_notify
    start_daemon
    scan
    open_to_all "$STORE/one.qcow2"
    wait_for 30 has_finding "alert-channel-failed error -"
    ctl mute --finding permissions --for 1h --reason test >/dev/null
    rm -f "$GOT"/*
    program ''
    run -0 ctl test-alert --channel exec
    # The channel works again: said at once, and told; the muted one is not.
    wait_for 30 no_failed_channel
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    wait_for 30 has_messages 1 '.finding == "metadata-corrupt"'
    has_messages 0 '.finding == "permissions"'
    ctl unmute 1
    wait_for 30 has_messages 1 '.finding == "permissions" and .event == "unmuted"'
    program "until [ -e '$DIR/go' ]; do sleep 0.1; done; touch '$DIR/ended'; exit 1"
    make_image "$STORE/two.qcow2"
    chmod 666 "$STORE/two.qcow2"
    wait_for 30 has_messages 1 '.image == "'"$STORE/two.qcow2"'"'
    write_config
    ctl reload
    touch "$DIR/go"
    wait_for 20 test -e "$DIR/ended"
    fence_judged
    no_failed_channel
    [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM event WHERE outbox & 2')" = 0 ]
}

@test "quiet hours: warnings wait, an error does not" {
    need qemu-io
    program ''
    exec_config "quiet-hours: \"$(date -d '-1 hour' +%H:%M)-$(date -d '+1 hour' +%H:%M)\""
    start_notify
    start_daemon
    scan
    open_to_all "$STORE/warning.qcow2"
    wait_for 20 grep -q 'permissions: ' "$LOG"
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    wait_for 30 has_messages 1 '.finding == "metadata-corrupt"'
    has_messages 0 '.finding == "permissions"'
    exec_config
    ctl reload
    wait_for 30 has_messages 1 '.finding == "permissions"'
}
