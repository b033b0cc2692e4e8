# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2119,SC2120
# lib.bash - what the integration tests share: a private qcauditd of the test's own, asked and stopped.
#
# `load lib` in a bats file; qcaudit_setup in setup(), qcaudit_teardown in teardown(). The test then has
# $DIR (its folder, short enough for sockets), $STORE (an empty datastore), $STATE, $RUN, $LOG.

bats_require_minimum_version 1.5.0

IMAGES=${top_srcdir:?set by make check}/tests/images

need() { # COMMAND...: skips the test unless all of them are there
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || skip "$command is not installed"
    done
}

need_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }

# release_tree DIR: the tree of a release, in DIR/qcaudit-VERSION.
release_tree() {
    local tree
    make -s -C "$top_builddir" distdir >"$BATS_FILE_TMPDIR/distdir.log" 2>&1 3>&- 4>&- ||
        { tail -n 30 "$BATS_FILE_TMPDIR/distdir.log"; return 1; }
    tree=$(echo "$top_builddir"/qcaudit-[0-9]*/)     # a tarball may lie beside it
    chmod -R u+w "$tree"
    mv "$tree" "$1/"
}

# install_tree DIR: what a guest gets.
install_tree() {
    make -s -C "$top_builddir" install DESTDIR="$1" >"$BATS_FILE_TMPDIR/install.log" 2>&1 3>&- 4>&- ||
        { cat "$BATS_FILE_TMPDIR/install.log"; return 1; }
}

# systemd and a PATH look below these prefixes alone; make distcheck takes another.
tree_is_usual() { [ -d "$1/usr/lib/systemd" ] || [ -d "$1/usr/local/lib/systemd" ]; }

qcaudit_setup() {
    DIR=$(mktemp -d "${TMPDIR:-/tmp}/qca.XXXXXX")
    STORE=$DIR/store STATE=$DIR/state RUN=$DIR/run LOG=$DIR/log CONFIG=$DIR/qcauditd.yaml
    DAEMON=
    chmod 755 "$DIR"
    mkdir "$STORE"
    mkdir -m 700 "$STATE" "$RUN"
    # How full this machine's disk is says nothing here; a test that asks for it removes the file.
    mkdir "$DIR/conf.d"
    echo 'thresholds: {datastore-full: off, datastore-overcommitted: off, time-to-full: off}' >"$DIR/conf.d/00-machine.yaml"
    write_config
}

# A failed test shows what the daemon said.
qcaudit_teardown() {
    local status=$?
    if [ "${BATS_TEST_COMPLETED-}" != 1 ] && [ -s "$LOG" ]; then
        echo "--- the daemon's log:"
        tail -n 60 "$LOG" | cat -v
    fi
    stop_daemon || :
    [ -z "${DIR-}" ] || rm -rf --one-file-system -- "$DIR"
    return "$status"
}

# write_config [LINE...]: one datastore, quick to react, and further lines (`intervals:` is the last key before them).
# This machine's libvirt is none of the tests' business: $LIBVIRT is that key's value where they have one of their own.
write_config() {
    {
        printf 'libvirt: %s\n' "${LIBVIRT:-{uris: []\}}"
        printf 'datastores:\n  - path: %s\n' "$STORE"
        printf 'intervals:\n  debounce: 100ms\n'
        [ $# = 0 ] || printf '%s\n' "$@"
    } >"$CONFIG"
}

# start_daemon [OPTION...]: starts it and waits until it answers.
start_daemon() {
    local i
    # bats keeps descriptors 3 and 4 for itself; a daemon that inherits them would hold it up.
    "${DAEMON_WRAPPER[@]}" qcauditd --config "$CONFIG" --state-directory "$STATE" --runtime-directory "$RUN" \
        --log-target console "$@" >>"$LOG" 2>&1 </dev/null 3>&- 4>&- &
    DAEMON=$!
    for ((i = 0; i < 300; i++)); do
        [ ! -S "$RUN/control" ] || ! ctl status --json=short >/dev/null 2>&1 || return 0
        if ! kill -0 "$DAEMON" 2>/dev/null; then
            echo "qcauditd ended"
            DAEMON=
            return 1
        fi
        sleep 0.1
    done
    echo "qcauditd does not answer"
    return 1
}
DAEMON_WRAPPER=()

stop_daemon() {
    [ -n "${DAEMON-}" ] || return 0
    kill "$DAEMON" 2>/dev/null || :
    local i
    for ((i = 0; i < 300; i++)); do
        kill -0 "$DAEMON" 2>/dev/null || break
        sleep 0.1
    done
    if kill -KILL "$DAEMON" 2>/dev/null; then echo "qcauditd did not end on SIGTERM"; DAEMON=; return 1; fi
    wait "$DAEMON" || { local status=$?; DAEMON=; echo "qcauditd ended with $status"; return 1; }
    DAEMON=
}

kill_daemon() { # SIGKILL, as a crash would
    kill -KILL "$DAEMON"
    wait "$DAEMON" 2>/dev/null || :
    DAEMON=
    rm -f "$RUN/control"
}

# What is found is no failure of a test: exit-status.bats alone looks at those statuses.
ctl() {
    case " $* " in
    *' findings '* | *' status '*) set -- "$@" --exit-zero ;;
    esac
    timeout 60 qcauditctl --socket "$RUN/control" --no-pager "$@" </dev/null
}

# One complete pass over everything, or over the paths named. 2: it opened findings.
scan() { ctl scan --wait "$@" >/dev/null || [ $? = 2 ]; }

# fence: until the daemon audited a file that was made after all that went before, and knows that it is gone again. What it
# had to see of all that, it saw: a datastore's changes come in their order, and each waits as long for the file to settle.
fence() {
    local file=$STORE/fence.qcow2
    knows_fence() { ctl images --json=short "$file" | jq -e '.[0].audited' >/dev/null; }
    knows_no_fence() { same '[]' "$(ctl images --json=short "$file")"; }
    qemu-img create -q -f qcow2 "$file" 1M
    wait_for 60 knows_fence
    rm "$file"
    wait_for 60 knows_no_fence
}

# fence_judged: as fence, and until a finding of such a file has been opened and resolved. Judgements follow one another, so
# whatever follows from what went before is among the findings by then.
fence_judged() {
    fence
    make_image "$STORE/fence.qcow2"
    chmod 666 "$STORE/fence.qcow2"
    wait_for 60 has_finding "permissions warning fence.qcow2"
    rm "$STORE/fence.qcow2"
    wait_for 60 has_no_finding " fence.qcow2"
}

# past SECOND: whether the clock (date +%s) is past it; for wait_for.
past() { [ "$(date +%s)" -gt "$1" ]; }

# next_second: until the clock shows another second: whoever goes by whole seconds knows then what came before from what
# follows.
next_second() { wait_for 5 past "$(date +%s)"; }

# is_locked PATH...: whether all of them are locked by a writer, as QEMU does it. Asked without taking a lock: one held by
# who looks would keep the writer out.
is_locked() {
    python3 -c '
import fcntl, os, struct, sys
for path in sys.argv[1:]:
    query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 101, 1, 0)
    answer = fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_GETLK, query)
    if struct.unpack("hhqqi4x", answer)[0] == fcntl.F_UNLCK:
        sys.exit(1)' "$@"
}

# findings [OPTION...]: "NAME SEVERITY SUBJECT" of each open finding, sorted, subjects below the store relative to it.
# How full the machine's own disk is, is no test's business that does not ask for it.
findings() {
    ctl findings --json=short "$@" | STORE="$STORE" ASKED="$*" python3 -c '
import json, os, sys
rows = [row for row in json.load(sys.stdin) if row["name"] != "datastore-full" or "datastore-full" in os.environ["ASKED"]]
store = os.environ["STORE"] + "/"
for line in sorted("{} {} {}".format(row["name"], row["severity"], (row.get("path") or row.get("subject") or "-").replace(store, "", 1)) for row in rows):
    print(line)'
}

# wait_for SECONDS COMMAND...: until it succeeds; shows its last output when it never does.
wait_for() {
    local limit=$((SECONDS + $1)) output
    shift
    until output=$("$@" 2>&1); do
        if [ "$SECONDS" -ge "$limit" ]; then
            echo "never true: $*"
            echo "$output"
            return 1
        fi
        sleep 0.1
    done
}

has_finding() { findings | grep -qF -- "$1"; }     # "NAME SEVERITY SUBJECT", or a part of it
has_no_finding() { ! findings | grep -F -- "$1"; }

# same EXPECTED ACTUAL: compares two texts, shows how they differ.
same() {
    [ "$1" = "$2" ] && return 0
    diff <(echo "$1") <(echo "$2") || :
    return 1
}

make_image() { # PATH [SIZE]: a small good image
    qemu-img create -q -f qcow2 "$1" "${2:-4M}"
    qemu-io -f qcow2 -c 'write -q -P 1 0 256k' "$1" >/dev/null
}

break_image() { # PATH: a bad L2 pointer
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1])
from imagekit import COPIED, Qcow2
with Qcow2(sys.argv[2]) as image: image.put_l2(40, COPIED | 0x7000_0000_0000)' "$IMAGES" "$1"
}

break_refcount() { # PATH: a cluster in use that is not counted
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1])
from imagekit import COPIED, Qcow2
with Qcow2(sys.argv[2]) as image: image.put_refcount(image.l2(0) & ~COPIED, 0)' "$IMAGES" "$1"
}

leak_image() { # PATH [CLUSTERS]
    python3 -B -c '
import sys; sys.path.insert(0, sys.argv[1])
from imagekit import Qcow2
with Qcow2(sys.argv[2]) as image: image.leak(int(sys.argv[3]))' "$IMAGES" "$1" "${2:-3}"
}
