#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvirt: its pools as datastores, a daemon of its that hangs, dies, comes back or is slow, and what of it is not audited.
load lib
load domains

setup() {
    need qemu-img virsh jq python3
    qcaudit_setup
    chmod 755 "$STORE"
    PROXY=
    LOOPS=()
}
teardown() {
    stop_daemon || :
    [ -z "${PROXY-}" ] || kill "$PROXY"
    if [ -n "${URI-}" ]; then
        kill -CONT "$(cat "$DIR/lv/pid")" 2>/dev/null || :
        domains_end
    fi
    [ -z "${MOUNTED-}" ] || umount -l "$STORE" 2>/dev/null || :
    ! mountpoint -q "$DIR/bound" || umount "$DIR/bound"
    [ -z "${DEVICES-}" ] || rm -rf "$DEVICES"
    [ "${#LOOPS[@]}" = 0 ] || losetup --detach "${LOOPS[@]}"
    qcaudit_teardown
}

# libvirtd_start [MODE]: a private one, which the daemon asks every second.
libvirtd_start() {
    domains_begin "$@"
    LIBVIRT="{uris: [\"$URI\"], poll: 1s}"
}

status() { ctl status --json=short | jq -r "$1"; }
# is EXPRESSION VALUE: of the status; for wait_for.
is() { same "$2" "$(status "$1")"; }
connection() { is '.libvirt[0].state' "$1"; }
datastore() { is ".datastores[] | select(.name == \"$1\") | .state" "$2"; }
datastores() { is '[.datastores[].name] | join(" ")' "$1"; }
images() { ctl images --json=short | jq -r '.[].path'; }
pool() { v pool-define-as "$1" dir --target "$2" && v pool-start "$1"; }
# What the daemon's processes have open below a folder.
open_below() {
    local pid
    for pid in "$DAEMON" $(pgrep -P "$DAEMON") $(pgrep -P "$(pgrep -d , -P "$DAEMON")"); do
        find "/proc/$pid/fd" -lname "$1/*" 2>/dev/null
    done
}

@test "a pool comes, stops, starts, is refreshed and goes: its images are never lost without reason" {
    libvirtd_start
    mkdir "$DIR/pool"
    make_image "$DIR/pool/a.qcow2"
    own "$DIR/pool"
    write_config
    start_daemon
    wait_for 20 connection connected
    datastores store
    pool lab "$DIR/pool"
    wait_for 20 datastore lab online
    wait_for 20 is '.["images-audited"]' 1

    v pool-destroy lab
    wait_for 20 has_finding "datastore-offline error lab"
    datastore lab offline
    same "$DIR/pool/a.qcow2" "$(images)"
    same "" "$(open_below "$DIR/pool")"
    # What happens meanwhile is nobody's business.
    make_image "$DIR/pool/b.qcow2"
    v pool-start lab
    wait_for 20 has_no_finding datastore-offline
    wait_for 20 is '.["images-audited"]' 2

    walked=$(status '.datastores[] | select(.name == "lab") | .["walk-finished"]')
    v pool-refresh lab
    walked_again() { [ "$(status '.datastores[] | select(.name == "lab") | .["walk-finished"]')" -gt "$walked" ]; }
    wait_for 20 walked_again

    # The next daemon knows it as a pool, also while libvirt says nothing.
    stop_daemon
    kill -STOP "$(cat "$DIR/lv/pid")"
    start_daemon
    datastores "lab store"
    same "$DIR/pool/a.qcow2
$DIR/pool/b.qcow2" "$(images)"
    kill -CONT "$(cat "$DIR/lv/pid")"
    wait_for 40 datastore lab online
    # Stopped while it was released, it is offline when that is over.
    ctl release lab
    v pool-destroy lab
    wait_for 20 is '.pools[] | select(.name == "lab") | .active' false
    datastore lab paused
    ctl resume lab
    wait_for 20 datastore lab offline
    wait_for 20 has_finding "datastore-offline error lab"
    v pool-undefine lab
    wait_for 20 datastores store
    same "" "$(images)"
    has_no_finding datastore-offline
}

@test "names that are none, pools that are not wanted, a target that vanishes" {
    libvirtd_start
    mkdir "$DIR/one" "$DIR/two" "$DIR/three"
    own "$DIR/one" "$DIR/two" "$DIR/three"
    pool 'a b;$(x)' "$DIR/one"
    pool 'store' "$DIR/two"
    pool 'not-wanted' "$DIR/three"
    LIBVIRT="{uris: [\"$URI\"], poll: 1s, pools: [\"a b;\$(x)\", store]}"
    write_config
    start_daemon
    wait_for 20 datastores "a_b___x_ store store-2"
    wait_for 20 datastore store-2 online
    make_image "$DIR/two/x.qcow2"
    wait_for 20 is '.["images-audited"]' 1
    mv "$DIR/two" "$DIR/two.gone"
    wait_for 20 has_finding "datastore-offline error store-2"
    same "$DIR/two/x.qcow2" "$(images)"
    LIBVIRT="{uris: [\"$URI\"], poll: 1s, pools: none}"
    write_config
    kill -HUP "$DAEMON"
    wait_for 20 datastores store
    LIBVIRT="{uris: []}"
    write_config
    kill -HUP "$DAEMON"
    wait_for 20 is '.libvirt | length' 0
}

@test "one directory in two pools and the configuration, by its name, a link and a mount: one datastore" {
    libvirtd_start
    mkdir "$DIR/real" "$DIR/bound"
    ln -s real "$DIR/link"
    make_image "$DIR/real/a.qcow2"
    own "$DIR/real"
    names=(real link)
    if [ "$(id -u)" = 0 ] && mount --bind "$DIR/real" "$DIR/bound"; then names+=(bound); fi
    for name in "${names[@]}"; do pool "pool-$name" "$DIR/$name"; done
    pool pool-store "$STORE"
    write_config
    start_daemon
    settled() { datastores "$1" && is '.["images-audited"]' 1 && is '[.datastores[].state] | unique | join(" ")' online; }
    # Which of the pools it is, is decided by their names.
    first=$(printf 'pool-%s\n' "${names[@]}" | LC_ALL=C sort | head -n 1)
    wait_for 20 settled "$first store"
    scan
    is '.images' 1
    same 1 "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM audit')"
    # When that one goes, another takes its place.
    v pool-destroy "$first"
    v pool-undefine "$first"
    second=$(printf 'pool-%s\n' "${names[@]}" | LC_ALL=C sort | sed -n 2p)
    wait_for 20 settled "$second store"
    # The configuration is stronger than any pool.
    printf 'datastores: [{path: %s/real, name: mine}]\n' "$DIR" >"$DIR/more.yaml"
    mkdir -p "$DIR/conf.d"
    mv "$DIR/more.yaml" "$DIR/conf.d/"
    kill -HUP "$DAEMON"
    wait_for 20 settled "mine store"
    stop_daemon
}

@test "libvirtd stopped, killed, replaced: the daemon goes on, says so, and finds it again" {
    libvirtd_start
    mkdir "$DIR/pool"
    make_image "$DIR/pool/a.qcow2"
    own "$DIR/pool"
    pool lab "$DIR/pool"
    write_config
    start_daemon
    wait_for 20 datastore lab online
    kill -KILL "$(cat "$DIR/lv/pid")"
    wait_for 20 connection unreachable
    datastore lab online
    make_image "$DIR/pool/b.qcow2"
    wait_for 20 is '.["images-audited"]' 2
    rm -f "$DIR"/lv/sock/*
    libvirtd_start
    wait_for 60 connection connected
    v pool-start lab || :
    wait_for 20 datastore lab online

    # It hangs. Our answers come all the while, and so does the end.
    kill -STOP "$(cat "$DIR/lv/pid")"
    wait_for 60 connection unreachable
    stop_daemon
    start_daemon
    status .version
    connection unreachable || is '.libvirt | length' 0
    stop_daemon
    kill -CONT "$(cat "$DIR/lv/pid")"
}

@test "libvirt comes after the daemon: it is found at once, and nobody is told every second that it is not there" {
    need nsenter
    need_root
    libvirtd_start system
    # In the place where one is looked for by default, which is the private libvirtd's own there.
    LIBVIRT='{poll: 1h}'
    write_config
    DAEMON_WRAPPER=(nsenter --mount --target "$(cat "$DIR/lv/pid")" --)
    start_daemon
    wait_for 10 connection absent
    sleep 5     # two looks for a socket, which come every two seconds and leave no trace: the subject
    connection absent
    mkdir -p "$DIR/pool"
    pool lab "$DIR/pool"
    for socket in libvirt-sock libvirt-sock-ro; do
        [ ! -S "$DIR/lv/sock/$socket" ] || ln -s "$DIR/lv/sock/$socket" "$DIR/lv/run/$socket"
    done
    wait_for 10 connection connected
    wait_for 10 datastore lab online
    same 1 "$(grep -c 'No libvirt on this host' "$LOG")"
    stop_daemon
}

# with_library FILE: the daemon, started next, finds FILE in the place of libvirt's library.
with_library() {
    # shellcheck disable=SC2016     # for the shell inside
    DAEMON_WRAPPER=(unshare --mount --propagation private sh -c
        'mount --bind "$1" "$(readlink -f "$2")" && shift 2 && exec "$@"' sh "$1" "$LIBRARY")
}

@test "libvirt's library is loaded where it is: without it, or with one too old, the folders are audited and it is said" {
    need_root
    need gcc unshare
    LIBRARY=$(ldconfig -p | sed -n 's/^\tlibvirt\.so\.0 .*=> //p' | head -n 1)
    [ -n "$LIBRARY" ] || skip "libvirt.so.0 is not where ldconfig looks"
    libvirtd_start
    make_image "$STORE/a.qcow2"
    write_config
    : >"$DIR/empty"
    with_library "$DIR/empty"
    start_daemon
    wait_for 20 connection unreachable
    [ "$(images)" = "$STORE/a.qcow2" ]
    run -0 ctl status
    [[ $output == *"cannot load "*"libvirt.so.0: file too short"* ]]
    stop_daemon
    echo 'int virInitialize(void) { return 0; }' | gcc -shared -fPIC -Wl,-soname,libvirt.so.0 -x c -o "$DIR/old" -
    with_library "$DIR/old"
    start_daemon
    wait_for 20 connection unreachable
    run -0 ctl status
    [[ $output == *"libvirt.so.0 is too old: it lacks vir"*"()"* ]]
    stop_daemon
    DAEMON_WRAPPER=()
    start_daemon
    wait_for 20 connection connected
    # Where nobody asks for libvirt, nothing of it is in memory.
    stop_daemon
    LIBVIRT='{uris: []}'
    write_config
    start_daemon
    run ! grep -E 'libvirt|libxml' "/proc/$DAEMON/maps"
}

@test "an answer of libvirt's takes 30 s: nobody but its own thread waits" {
    libvirtd_start
    "$top_srcdir/tests/integration/slow-socket" "$DIR/slow" "$DIR/lv/sock/libvirt-sock" 30 3>&- 4>&- &
    PROXY=$!
    LIBVIRT="{uris: [\"qemu:///session?socket=$DIR/slow\"], poll: 1s}"
    make_image "$STORE/a.qcow2"
    local parent=a.qcow2 i
    for i in 1 2 3 4 5 6; do
        qemu-img create -q -f qcow2 -b "$parent" -F qcow2 "$STORE/a.s$i"
        parent=a.s$i
    done
    write_config
    wait_for 10 test -S "$DIR/slow"
    start_daemon
    wait_for 10 is '.["images-audited"]' 7
    # What is a disk is libvirt's to say, as long as it may.
    run -1 grep chain-deep "$LOG"
    for _ in {1..20}; do status .version; done
    # QCAUDIT_LATENCY=1, on a quiet machine: how long the loop was ever busy with something else.
    [ -z "${QCAUDIT_LATENCY-}" ] || "$top_srcdir/tests/integration/loop-latency" "$RUN/control" 45 2>&1 | sed 's/^/# slow by 30 s: /' >&3
    wait_for 40 connection unreachable
    wait_for 10 grep -q "chain-deep" "$LOG"
    [ -z "${QCAUDIT_LATENCY-}" ] || "$top_srcdir/tests/integration/loop-latency" "$RUN/control" 10 2>&1 | sed 's/^/# does not answer: /' >&3
    stop_daemon
}

# disks_pool: a pool "disks" with a file system of 32 MiB of its own, in the mount namespace of its libvirtd.
disks_pool() {
    need losetup mkfs.ext4 nsenter
    need_root
    truncate -s 32M "$DIR/disk"
    mkfs.ext4 -q "$DIR/disk"
    LOOP=$(losetup --find --show "$DIR/disk" 2>/dev/null) || skip "no loop device"
    LOOPS+=("$LOOP")
    libvirtd_start system
    mkdir "$DIR/mnt"
    v pool-define-as disks fs --source-dev "$LOOP" --target "$DIR/mnt"
    v pool-start disks
    DAEMON_WRAPPER=(nsenter --mount --target "$(cat "$DIR/lv/pid")" --)
}

@test "a pool with a file system of its own can be stopped while it is a datastore" {
    disks_pool
    "${DAEMON_WRAPPER[@]}" qemu-img create -q -f qcow2 "$DIR/mnt/a.qcow2" 1M
    write_config
    start_daemon
    wait_for 20 datastore disks online
    scan
    is '.["images-audited"]' 1
    v pool-destroy disks
    wait_for 20 datastore disks offline
    v pool-start disks
    wait_for 20 datastore disks online
    ctl release disks
    datastore disks paused
    v pool-destroy disks
    v pool-start disks
    ctl resume disks
    wait_for 20 datastore disks online
    v pool-destroy disks
}

# In the middle of an audit: all of its data is being read, which takes half a minute.
slow_audit() { # PATH
    wait_for 20 is '.["images-audited"]' 1
    ctl scan --scrub "$1" >/dev/null
    half_way() { is '.scrubs | length' 1 && [ "$(status '.scrubs[0].done')" -ge 2097152 ]; }
    wait_for 30 half_way
}
given_up() { is '.scrubs | length' 0; }
# And whatever was read of it is no finding; `offline` alone tells where it went.
verdicts() { findings | grep -v '^datastore-offline ' || :; }
large_image() { # PATH: 24 MiB that are not zeros
    "${DAEMON_WRAPPER[@]}" qemu-img create -q -f qcow2 "$1" 28M
    "${DAEMON_WRAPPER[@]}" qemu-io -f qcow2 -c 'write -q -P 5 0 24M' "$1" >/dev/null
}
audited_anew() { [ "$(ctl images "$1" --json=short | jq '.[0].audited')" -gt "$2" ]; }

@test "a pool is stopped in the middle of an audit: at once, without a finding, and audited anew later" {
    need qemu-io
    libvirtd_start
    mkdir "$DIR/pool"
    large_image "$DIR/pool/a.qcow2"
    own "$DIR/pool"
    pool lab "$DIR/pool"
    write_config 'scrub: {pressure: off, budget: 1MiB/s}'
    start_daemon
    slow_audit "$DIR/pool/a.qcow2"
    [ -n "$(open_below "$DIR/pool")" ]
    v pool-destroy lab
    wait_for 5 datastore lab offline
    wait_for 5 given_up
    same "" "$(open_below "$DIR/pool")"
    same "" "$(verdicts)"
    before=$(ctl images "$DIR/pool/a.qcow2" --json=short | jq '.[0].audited')
    write_config 'scrub: {pressure: off}'
    ctl reload
    v pool-start lab
    wait_for 20 datastore lab online
    ctl scan --scrub --wait "$DIR/pool/a.qcow2" >/dev/null
    audited_anew "$DIR/pool/a.qcow2" "$before"
    same "" "$(findings)"
}

@test "a pool with a file system of its own is stopped in the middle of an audit" {
    need qemu-io
    disks_pool
    large_image "$DIR/mnt/a.qcow2"
    write_config 'scrub: {pressure: off, budget: 1MiB/s}'
    start_daemon
    wait_for 20 datastore disks online
    slow_audit "$DIR/mnt/a.qcow2"
    # libvirt unmounts it before it tells anybody: that is refused, nothing is lost, and the audit goes on.
    run v pool-destroy disks
    if [ "$status" != 0 ]; then
        [[ $output == *"is busy"* ]]
        datastore disks online
        half_way
    fi
    # As the manual says: first
    ctl release disks
    # and that is done when it returns.
    v pool-destroy disks
    given_up
    same "" "$(verdicts)"
    before=$(ctl images "$DIR/mnt/a.qcow2" --json=short | jq '.[0].audited')
    # Nothing holds the device either.
    "${DAEMON_WRAPPER[@]}" e2fsck -fn "$LOOP"
    write_config 'scrub: {pressure: off}'
    ctl reload
    v pool-start disks
    ctl resume disks
    wait_for 20 datastore disks online
    ctl scan --scrub --wait "$DIR/mnt/a.qcow2" >/dev/null
    audited_anew "$DIR/mnt/a.qcow2" "$before"
    same "" "$(findings)"
    v pool-destroy disks
}

@test "a file system is unmounted in the middle of an audit, released before" {
    need qemu-io
    need_root
    truncate -s 32M "$DIR/disk"
    mkfs.ext4 -q "$DIR/disk"
    mount -o loop "$DIR/disk" "$STORE" 2>/dev/null || skip "cannot mount"
    MOUNTED=yes
    large_image "$STORE/a.qcow2"
    write_config 'scrub: {pressure: off, budget: 1MiB/s}'
    start_daemon
    slow_audit "$STORE/a.qcow2"
    run ! umount "$STORE"
    ctl release store --for=1h && umount "$STORE"
    given_up
    same "" "$(verdicts)"
    before=$(ctl images "$STORE/a.qcow2" --json=short | jq '.[0].audited')
    mount -o loop "$DIR/disk" "$STORE"
    write_config 'scrub: {pressure: off}'
    ctl reload
    ctl resume store
    wait_for 20 datastore store online
    ctl scan --scrub --wait "$STORE/a.qcow2" >/dev/null
    audited_anew "$STORE/a.qcow2" "$before"
    same "" "$(findings)"
    stop_daemon
}

# device NAME: $DIR/NAME on a device $DEVICES/NAME of 8 MiB.
device() {
    local loop major minor
    truncate -s 8M "$DIR/$1"
    loop=$(losetup --find --show "$DIR/$1" 2>/dev/null) || skip "no loop device"
    LOOPS+=("$loop")
    read -r major minor < <(stat -c '%Hr %Lr' "$loop")
    mknod "$DEVICES/$1" b "$major" "$minor" || skip "no device nodes"
}

@test "a pool of block devices: its devices are images, a parent among them is followed, others are not" {
    need losetup
    need_root
    DEVICES=$(mktemp -d /dev/qcaXXXXXX)
    chmod 755 "$DEVICES"
    qemu-img create -q -f qcow2 "$DIR/parent" 4M
    qemu-img create -q -f qcow2 -u -b "$DEVICES/parent" -F qcow2 "$DIR/leaf" 4M
    qemu-img create -q -f qcow2 -u -b parent -F qcow2 "$DIR/beside" 4M
    qemu-img create -q -f qcow2 -u -b /dev/null -F raw "$DIR/stray" 4M
    device parent
    device leaf
    device beside
    device stray
    ln -s /dev/null "$DEVICES/null"
    cat >"$DIR/node.xml" <<END
<node><pool type='logical'><name>vg</name><source><name>${DEVICES#/dev/}</name></source>
<target><path>$DEVICES</path></target>
<volume type='block'><name>leaf</name><capacity>8388608</capacity></volume>
<volume type='block'><name>beside</name><capacity>8388608</capacity></volume>
<volume type='block'><name>stray</name><capacity>8388608</capacity></volume>
<volume type='block'><name>parent</name><capacity>8388608</capacity></volume>
<volume type='block'><name>null</name><capacity>1</capacity></volume>
<volume type='block'><name>gone</name><capacity>1</capacity></volume></pool></node>
END
    chmod 644 "$DIR/node.xml"
    LIBVIRT="{uris: [\"test://$DIR/node.xml\"], poll: 1s}"
    write_config
    start_daemon
    wait_for 20 datastore vg online
    scan
    same "beside 8388608 qcow2 found
leaf 8388608 qcow2 found
parent 8388608 qcow2 none
stray 8388608 qcow2 escapes" "$(ctl images --json=short |
        jq -r '.[] | "\(.path | split("/") | last) \(.size) \(.format) \(.["parent-state"] // "none")"')"
    same 2 "$(ctl images --json=short "$DEVICES/leaf" | jq '.[0].depth')"
    same "" "$(open_below "$DEVICES")"
    is '.datastores[] | select(.name == "vg") | .images' 4
}

@test "what cannot be audited is said: pools behind a protocol, disks in no datastore" {
    cat >"$DIR/node.xml" <<END
<node><domain type='test'><name>d</name><memory>65536</memory><os><type>hvm</type></os><devices>
<disk type='file'><driver type='qcow2'/><source file='/nowhere/x&apos;&lt;y.qcow2'/><target dev='vda'/></disk>
<disk type='file'><driver type='qcow2'/><source file='$STORE/in.qcow2'/><target dev='vdb'/></disk>
<disk type='network'><source protocol='rbd' name='rbd/v1'><host name='mon'/></source><target dev='vdc'/></disk>
</devices></domain>
<pool type='rbd'><name>ceph</name><source><host name='mon'/><name>rbd</name></source>
<volume type='network'><name>v1</name><capacity>1</capacity></volume></pool></node>
END
    chmod 644 "$DIR/node.xml"
    LIBVIRT="{uris: [\"test://$DIR/node.xml\"], poll: 1s}"
    write_config
    start_daemon
    wait_for 20 connection connected
    is '.["disks-outside-total"]' 1
    is '.["disks-outside"][0] | "\(.domain) \(.target) \(.path)"' "d vda /nowhere/x'<y.qcow2"
    is '.pools[0] | "\(.name) \(.type) \(.auditable) \(.volumes)"' "ceph rbd false 1"
    run -0 ctl status
    [[ $output == *"Unaudited: pool ceph (rbd), 1 volume: its volumes are reached by a network protocol"* ]]
    [[ $output == *"Unaudited: 1 disk of domains in no datastore"* ]]
    [[ $output == *"Libvirt: test://$DIR/node.xml, 1 domain, 1 of them active, 1 pool"* && $output != *"with errors"* ]]
}

@test "5,000 domains with three disks each" {
    python3 - >"$DIR/node.xml" <<END
print("<node>")
for i in range(5000):
    print(f"<domain type='test'><name>g{i}</name><memory>65536</memory><os><type>hvm</type></os><devices>" + "".join(
        f"<disk type='file'><driver type='qcow2'/><source file='$STORE/g{i}-{d}.qcow2'/><target dev='vd{d}'/></disk>"
        for d in "abc") + "</devices></domain>")
print("</node>")
END
    chmod 644 "$DIR/node.xml"
    LIBVIRT="{uris: [\"test://$DIR/node.xml\"]}"
    write_config
    start_daemon
    wait_for 120 connection connected
    is '.libvirt[0].domains' 5000
    is '.libvirt[0]["left-out"]' 0
    is '.["disks-outside-total"]' 0
}
