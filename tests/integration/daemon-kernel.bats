#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the kernel does to the daemon's processes: AppArmor's profile in enforce mode, a memory cgroup's OOM killer.
# A sandbox's kernel has neither: see kernel-guest.
load lib

setup() {
    need qemu-img qemu-io qcauditd
    need_root
    qcaudit_setup
    PROFILE='' GROUP=''
}
teardown() {
    local status=$?
    [ "${BATS_TEST_COMPLETED-}" = 1 ] || denied
    stop_daemon || :
    [ -z "$PROFILE" ] || apparmor_parser -R "$PROFILE" || :
    [ -z "$GROUP" ] || rmdir "$GROUP" || :
    (exit "$status")
    qcaudit_teardown
}

# as_the_service: its user, its capabilities, no new privileges. nobody stands for the user qcaudit.
as_the_service() {
    chown nobody "$STATE" "$RUN"
    DAEMON_WRAPPER=(setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs
        --inh-caps=-all,+dac_read_search,+setpcap --ambient-caps=-all,+dac_read_search,+setpcap
        --bounding-set=-all,+dac_read_search,+setpcap)
}

# confined: the programs at a place of their own, the shipped profile for that place enforced, under a name of its own.
confined() {
    local name=qcauditd-test-$$
    need apparmor_parser
    [ -d /sys/kernel/security/apparmor ] || skip "the kernel has no AppArmor, or securityfs is not mounted"
    mkdir -p "$DIR/sbin" "$DIR/libexec/qcaudit"
    cp "$top_builddir/daemon/qcauditd" "$DIR/sbin/"
    cp "$top_builddir/helpers/qcaudit-files" "$top_builddir/helpers/qcaudit-worker" "$DIR/libexec/qcaudit/"
    sed -e "s|@sbindir@|$DIR/sbin|; s|@libexecdir@|$DIR/libexec|; s|@sysconfdir@|/etc|" \
        -e "s|/var/lib/qcaudit/|$STATE/|; s|@{run}/qcaudit/|$RUN/|; s|@{run}/libvirt/|$DIR/lv/sock/|" \
        -e "s/profile qcauditd /profile $name /; s/peer=qcauditd/peer=$name/; s/&qcauditd/\\&$name/" \
        "$top_srcdir/conf/apparmor/usr.sbin.qcauditd.in" >"$DIR/profile"
    [ ! -e /etc/apparmor.d/local/usr.sbin.qcauditd ] || skip "this machine has rules of its own for the profile"
    apparmor_parser -r -K "$DIR/profile"
    PROFILE=$DIR/profile
    PATH=$DIR/sbin:$PATH QCAUDIT_LIBEXECDIR=$DIR/libexec/qcaudit
    export QCAUDIT_LIBEXECDIR
}
denied() { dmesg | grep "apparmor=\"DENIED\".*profile=\"qcauditd-test-$$" || :; }

# bats test_tags=kernel
@test "AppArmor's profile, enforced: a store is audited, read, watched and told of, and nothing is denied" {
    confined
    as_the_service
    mkdir "$STORE/golden" "$STORE/private"
    make_image "$STORE/golden/base.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b "$STORE/golden/base.qcow2" "$STORE/private/leaf.qcow2"
    chmod 400 "$STORE"/*/*.qcow2
    chmod 700 "$STORE/private"
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    write_config 'golden:' "  patterns: [\"$STORE/golden/*\"]" 'metrics: {file: '"$RUN"'/qcauditd.prom}'
    start_daemon --log-target journal
    for pid in "$DAEMON" $(pgrep -P "$DAEMON") $(pgrep -P "$(pgrep -d , -P "$DAEMON")"); do
        cat "/proc/$pid/attr/current"
    done >"$DIR/labels"
    grep "^qcauditd-test-$$ (enforce)" "$DIR/labels"
    grep "^qcauditd-test-$$//&qcauditd-test-$$//files (enforce)" "$DIR/labels"
    scan
    # Nobody listens there in the guest.
    same "metadata-corrupt critical bad.qcow2" "$(findings | grep -v '^alert-channel-failed ')"
    same 2 "$(ctl images --json=short "$STORE/private/leaf.qcow2" | jq '.[0].depth')"
    verified() { [ "$(ctl baseline show "$STORE/golden/base.qcow2" --json=short | jq -r .baseline.state)" = verified ]; }
    wait_for 60 verified
    make_image "$STORE/new.qcow2"
    new() { ctl images "$STORE/new.qcow2" | grep -q new; }
    wait_for 30 new
    [ -s "$RUN/qcauditd.prom" ]
    # A worker that is killed is another's parent's business; SIGHUP; a datastore let go; the end.
    kill -HUP "$DAEMON"
    ctl release store
    ctl resume store
    scan
    stop_daemon
    same "" "$(denied)"
    start_daemon --log-target syslog
    ctl status
    stop_daemon
    same "" "$(denied)"
}

# bats test_tags=kernel
@test "AppArmor's profile, enforced: what it does not have is denied, whatever the owner of files lets pass" {
    confined
    as_the_service
    make_image "$STORE/good.qcow2"
    mkdir -m 777 "$DIR/elsewhere"
    write_config "metrics: {file: $DIR/elsewhere/qcauditd.prom}"
    start_daemon
    scan
    refused() { grep -q "$DIR/elsewhere.*Permission denied" "$LOG"; }
    wait_for 60 refused
    same "" "$(ls -A "$DIR/elsewhere")"
    denied | grep "name=\"$DIR/elsewhere/"
    # It goes on all the same.
    ctl images --json=short | grep -q good.qcow2
    stop_daemon
    # Without the profile the same is written: it was that alone.
    apparmor_parser -R "$PROFILE"
    PROFILE=
    start_daemon
    written() { [ -s "$DIR/elsewhere/qcauditd.prom" ]; }
    wait_for 60 written
}

# bats test_tags=kernel
@test "a worker that the kernel ends for want of memory is one failed audit, and says so" {
    grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null || skip "no memory cgroup"
    echo +memory >/sys/fs/cgroup/cgroup.subtree_control
    GROUP=/sys/fs/cgroup/qca$$
    mkdir "$GROUP"
    # 5 MiB of tables, read slowly
    qemu-img create -q -f qcow2 -o preallocation=metadata,refcount_bits=64 "$STORE/slow.qcow2" 20G
    sync "$STORE/slow.qcow2"
    write_config 'reading: {budget: 64KiB/s}' 'workers: {count: 1}'
    start_daemon
    busy() { worker=$(pgrep -x qcaudit-worker -P "$DAEMON,$(pgrep -d , -P "$DAEMON")") && [ "$(ctl status --json=short | jq '."workers-running"')" = 1 ]; }
    wait_for 60 busy
    busy
    echo "$worker" >"$GROUP/cgroup.procs"
    # Whatever it asks for now, also for what it reads of the file, is too much.
    dd if="$STORE/slow.qcow2" iflag=nocache count=0 status=none
    echo 0 >"$GROUP/memory.max"
    wait_for 120 has_finding "audit-failed error slow.qcow2"
    grep -E '^oom_kill [1-9]' "$GROUP/memory.events"
    ctl show "$(ctl findings --name=audit-failed --json=short | jq -r '.[0].id')" | tee "$DIR/show"
    grep -q SIGKILL "$DIR/show"
    # The next one has memory.
    make_image "$STORE/small.qcow2"
    break_image "$STORE/small.qcow2"
    wait_for 120 has_finding "metadata-corrupt critical small.qcow2"
}
