#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is not looked at is said, and what is not complete yet is no damage.
load lib

setup() { need qemu-img qemu-io python3 jq; qcaudit_setup; }
teardown() {
    stop_daemon || :
    local point
    for point in "${POINTS[@]}"; do umount -l "$point" 2>/dev/null || :; done
    [ -z "${LOOP-}" ] || losetup -d "$LOOP" || :
    qcaudit_teardown
}
POINTS=()

status() { ctl status --json=short | jq -c "$1"; }
coverage() { status ".datastores[0].coverage$1"; }

# cut_image PATH [KIB]: a qcow2 image of which only the first KiB are there.
cut_image() {
    make_image "$DIR/whole.qcow2"
    head -c "$((${2:-300} * 1024))" "$DIR/whole.qcow2" >"$1"
}

@test "a download by its name is not damaged while it is not complete, however often it is scanned; it is counted" {
    cut_image "$STORE/a.qcow2.part"
    cut_image "$STORE/.b.qcow2.Xy3Zk9"
    start_daemon
    scan
    scan
    same "" "$(findings)"
    same 2 "$(coverage '."left-out"."being-written"')"
    [[ $(ctl status) == *"2 files that are still being written"* ]]
    # It is complete, and gets its name.
    mv "$DIR/whole.qcow2" "$STORE/a.qcow2.part"
    mv "$STORE/a.qcow2.part" "$STORE/a.qcow2"
    scan
    same "" "$(findings)"
    same 1 "$(coverage .audited)"
    stop_daemon
}

@test "a download by its name that rests is told after all" {
    write_config '  rest: 1s'
    cut_image "$STORE/a.qcow2.part"
    start_daemon
    scan
    wait_for 60 has_finding "image-truncated warning a.qcow2.part"
    stop_daemon
}

@test "a file that grows is not damaged; when it stops, whole or not, it is judged" {
    make_image "$DIR/whole.qcow2"
    grow() {    # piece by piece, as a download does, until somebody says that it is enough
        local i=0
        while [ ! -e "$DIR/enough" ]; do
            dd if="$DIR/whole.qcow2" of="$1" bs=512 skip=$((520 + i)) seek=$((520 + i)) count=1 conv=notrunc status=none
            i=$((i + 1))
            sleep 0.2       # its pace: the subject
        done
    }
    for name in a b; do head -c 260K "$DIR/whole.qcow2" >"$STORE/$name.qcow2"; done
    grow "$STORE/a.qcow2" 3>&- 4>&- &
    grow "$STORE/b.qcow2" 3>&- 4>&- &
    start_daemon
    being_written() { same 2 "$(coverage '."left-out"."being-written"')"; }
    wait_for 30 being_written
    for _ in 1 2 3; do
        fence_judged
        same "" "$(findings | grep -v ' info ')"
    done
    being_written
    touch "$DIR/enough"
    cp "$DIR/whole.qcow2" "$STORE/a.qcow2"
    wait_for 120 has_finding "image-truncated critical b.qcow2"
    has_no_finding a.qcow2
    stop_daemon
}

@test "an image that is cut off is told, and a scan waits until that is sure" {
    cut_image "$STORE/a.qcow2"
    start_daemon
    scan
    has_finding "image-truncated critical a.qcow2"
    stop_daemon
}

# full_config NAME...: these folders of one small file system are datastores, and space matters.
full_config() {
    rm -f "$DIR/conf.d/00-machine.yaml"
    {
        echo "libvirt: {uris: []}"
        echo "datastores:"
        for name; do echo "  - {name: $name, path: $STORE/$name}"; done
        echo "intervals: {debounce: 100ms}"
        echo "thresholds: {time-to-full: off}"
    } >"$CONFIG"
}

@test "images on a file system that is mounted below take its room, and not their datastore's" {
    need_root
    mount -t tmpfs -o size=16M,mode=755 tmpfs "$STORE" || skip "cannot mount here"
    POINTS+=("$STORE/a/nested" "$STORE")
    mkdir -p "$STORE/a/nested"
    mount -t tmpfs -o size=64M,mode=755 tmpfs "$STORE/a/nested"
    full_config a
    qemu-img create -q -f qcow2 "$STORE/a/nested/disk.qcow2" 30M
    start_daemon
    scan
    scan
    same "" "$(findings)"
    qemu-img create -q -f qcow2 "$STORE/a/disk.qcow2" 30M
    wait_for 60 has_finding "datastore-overcommitted warning a"
}

@test "a file system that is full is told once, however many datastores lie on it, and in sum" {
    need_root
    mount -t tmpfs -o size=16M,mode=755 tmpfs "$STORE" || skip "cannot mount here"
    POINTS+=("$STORE")
    mkdir "$STORE"/{a,b,c}
    full_config b c a
    # 3 disks of 10 MiB: none is too much for 16 MiB, all of them are.
    for name in a b c; do
        qemu-img create -q -f qcow2 "$STORE/$name/disk.qcow2" 10M
    done
    start_daemon
    scan
    wait_for 20 has_finding "datastore-overcommitted warning a"
    same "" "$(findings | grep -vF "datastore-overcommitted warning a")"
    same '"b and c"' "$(ctl findings --name datastore-overcommitted --json=short | jq -c '.[0].id' | xargs qcauditctl --socket "$RUN/control" show --json=short | jq -c .evidence.datastores)"
    head -c 14M /dev/zero >"$STORE/c/file"
    scan
    full() { ctl findings --name datastore-full --json=short | jq -c '[.[] | [.name, .severity, .subject]]'; }
    is_full() { [ "$(full)" = '[["datastore-full","critical","a"]]' ]; }
    wait_for 30 is_full
    # It is told by another one when the first is none any more.
    full_config b c
    kill -HUP "$DAEMON"
    is_full_b() { [ "$(full)" = '[["datastore-full","critical","b"]]' ]; }
    wait_for 30 is_full_b
    rm "$STORE/c/file"
    scan
    none() { [ "$(full)" = '[]' ]; }
    wait_for 30 none
    stop_daemon
}

@test "alerts to syslog where there is none: told as failed though the console took them, until it listens" {
    need_root
    [ ! -e /dev/log ] || skip "this machine has a syslog"
    write_config 'alerts: {syslog: yes}'
    make_image "$STORE/a.qcow2"
    chmod 666 "$STORE/a.qcow2"
    start_daemon
    scan
    wait_for 30 has_finding "alert-channel-failed error"
    grep -q "permissions: $STORE/a.qcow2\|First pass" "$LOG"
    python3 - "$DIR/got" <<'END' 3>&- 4>&- &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/dev/log")
while True:
    open(sys.argv[1], "ab").write(s.recv(65536) + b"\n")
END
    SYSLOG=$!
    wait_for 60 has_no_finding alert-channel-failed
    kill "$SYSLOG"
    rm -f /dev/log
    stop_daemon
}

@test "file systems mounted below: looked into, kept while they are gone, let go by resume" {
    need_root
    mkdir "$STORE/nested" "$STORE/twice" "$STORE/loop"
    mount -t tmpfs none "$STORE/nested" || skip "cannot mount here"
    POINTS+=("$STORE/nested" "$STORE/twice" "$STORE/loop")
    mount --bind "$STORE/nested" "$STORE/twice"
    mount --bind "$STORE" "$STORE/loop"
    make_image "$STORE/nested/base.qcow2"
    chmod 666 "$STORE/nested/base.qcow2"
    make_image "$STORE/a.qcow2"
    (cd "$STORE" && qemu-img create -q -f qcow2 -b nested/base.qcow2 -F qcow2 over.qcow2)
    start_daemon
    scan
    same "permissions warning nested/base.qcow2" "$(findings)"
    same '[3,1,2]' "$(coverage ' | [.images, .mounts, ."left-out"."mount-seen-elsewhere"]')"
    # What changes there is seen at once.
    make_image "$STORE/nested/new.qcow2"
    four() { [ "$(ctl images -a --json=short | jq length)" = 4 ]; }
    wait_for 20 four
    rm "$STORE/nested/new.qcow2"
    three() { [ "$(ctl images -a --json=short | jq length)" = 3 ]; }
    wait_for 20 three
    # Gone: nothing vanished, and the overlay's parent is not missing.
    umount "$STORE/twice" "$STORE/nested"
    wait_for 20 has_finding "coverage-gap warning store"
    scan
    scan
    three
    same "coverage-gap warning store
permissions warning nested/base.qcow2" "$(findings)"
    [[ $(ctl status) == *"1 file system that is not mounted"*"$STORE/nested"* ]]
    # Nor does a new daemon, which never saw it, take it for deleted.
    stop_daemon
    start_daemon
    scan
    three
    same "coverage-gap warning store
permissions warning nested/base.qcow2" "$(findings)"
    # It will not come back.
    ctl resume store
    scan
    wait_for 20 has_no_finding coverage-gap
    wait_for 20 has_finding "parent-missing critical over.qcow2"
    has_no_finding permissions
    stop_daemon
}

@test "a file system that hangs, mounted below: left out and said, its datastore stays online" {
    need_root
    need fusermount3
    [ -c /dev/fuse ] || skip "no /dev/fuse"
    [ -x "$top_builddir/tests/integration/stall-fs" ] || skip "built without libfuse3"
    mkdir "$DIR/behind" "$STORE/remote"
    make_image "$DIR/behind/far.qcow2"
    make_image "$STORE/a.qcow2"
    "$top_builddir/tests/integration/stall-fs" "$DIR/behind" "$DIR/trigger" "$STORE/remote" >/dev/null 2>&1 3>&- 4>&- &
    FUSE=$!
    POINTS+=("$STORE/remote")
    mounted() { grep -q " $STORE/remote fuse" /proc/self/mounts; }
    wait_for 10 mounted
    touch "$DIR/trigger"
    start_daemon
    scan
    same "coverage-gap warning store" "$(findings)"
    [[ $(ctl show "$(ctl findings --json=short | jq '.[0].id')") == *"1 network file system mounted below it: $STORE/remote"* ]]
    same '"online"' "$(status '.datastores[0].state')"
    rm "$DIR/trigger"
    umount -l "$STORE/remote"
    kill "$FUSE" || :
    scan
    wait_for 20 has_no_finding coverage-gap
    stop_daemon
}

@test "mounts: no leaves them out as it was told, which is information; a pattern is silent" {
    need_root
    mkdir "$STORE/nested"
    mount -t tmpfs none "$STORE/nested" || skip "cannot mount here"
    POINTS+=("$STORE/nested")
    make_image "$STORE/nested/a.qcow2"
    printf '%s\n' 'libvirt: {uris: []}' "datastores: [{path: '$STORE', mounts: no}]" >"$CONFIG"
    start_daemon
    scan
    same "coverage-gap info store" "$(findings)"
    same '[0,1]' "$(coverage ' | [.images, ."left-out"."mount-forbidden"]')"
    printf '%s\n' 'libvirt: {uris: []}' "datastores: [{path: '$STORE', mounts: no, exclude: [nested]}]" >"$CONFIG"
    kill -HUP "$DAEMON"
    wait_for 20 has_no_finding coverage-gap
    same '[0,1]' "$(coverage ' | [.images, ."left-out".excluded]')"
    stop_daemon
}

@test "links to devices: only those that are named are followed, whoever made the others" {
    need_root
    truncate -s 8M "$DIR/disk"
    LOOP=$(losetup --find --show "$DIR/disk" 2>/dev/null) || skip "no loop devices here"
    qemu-img create -q -f qcow2 "$LOOP" 4M
    ln -s "$LOOP" "$STORE/disk1"
    ln -s disk1 "$STORE/disk2"
    ln -s /dev/null "$STORE/null"
    ln -s self "$STORE/self"
    ln -s /dev/vg-not-here/lv "$STORE/unseen"
    make_image "$STORE/a.qcow2"
    ln -s a.qcow2 "$STORE/b.qcow2"
    start_daemon
    scan
    same "coverage-gap warning store" "$(findings)"
    same "[1,3,3]" "$(coverage ' | [.images, ."left-out"."link-to-device", ."left-out".link]')"
    [[ $(ctl status) == *"3 links to block devices"*"$STORE/disk1 ($LOOP)"* ]]
    printf '%s\n' 'libvirt: {uris: []}' 'intervals: {debounce: 100ms}' \
        "datastores: [{path: '$STORE', devices: ['$LOOP'], exclude: [disk2, unseen]}]" >"$CONFIG"
    kill -HUP "$DAEMON"
    is_image() { ctl images -a --json=short | jq -e --arg path "$STORE/disk1" '.[] | select(.path == $path) | .format == "qcow2" and .["virtual-size"] == 4194304' >/dev/null; }
    wait_for 20 is_image
    wait_for 20 has_no_finding coverage-gap
    # Somebody lets it lead elsewhere: it is not followed there.
    truncate -s 8M "$DIR/other"
    OTHER=$(losetup --find --show "$DIR/other")
    ln -sfn "$OTHER" "$STORE/disk1"
    wait_for 20 has_finding "coverage-gap warning store"
    is_none() { ! is_image; }
    wait_for 20 is_none
    losetup -d "$OTHER"
    stop_daemon
}

@test "what is excluded is neither listed nor judged, and nothing is said of it" {
    mkdir -p "$STORE/tmp/deep"
    make_image "$STORE/tmp/deep/a.qcow2"
    make_image "$STORE/b.qcow2"
    chmod 666 "$STORE/tmp/deep/a.qcow2" "$STORE/b.qcow2"
    start_daemon
    scan
    same "permissions warning b.qcow2
permissions warning tmp/deep/a.qcow2" "$(findings)"
    printf '%s\n' 'libvirt: {uris: []}' 'intervals: {debounce: 100ms}' \
        "datastores: [{path: '$STORE', exclude: [tmp, 'b.*']}]" >"$CONFIG"
    kill -HUP "$DAEMON"
    none() { [ -z "$(findings)" ] && [ "$(ctl images -a --json=short | jq length)" = 0 ]; }
    wait_for 20 none
    make_image "$STORE/tmp/new.qcow2"
    chmod 666 "$STORE/tmp/new.qcow2"
    scan
    none
    same 2 "$(coverage '."left-out".excluded')"
    stop_daemon
}

@test "--offline says of a datastore what the daemon said" {
    need_root
    mkdir "$STORE/nested"
    mount -t tmpfs none "$STORE/nested" || skip "cannot mount here"
    POINTS+=("$STORE/nested")
    make_image "$STORE/nested/a.qcow2"
    make_image "$STORE/b.qcow2"
    printf '# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 8 ZERO\n' >"$STORE/c.vmdk"
    cp "$STORE/b.qcow2" "$STORE/left-out.qcow2"
    ln -s /dev/vg-not-here/lv "$STORE/"$'unseen\xff'
    printf '%s\n' 'libvirt: {uris: []}' "datastores: [{path: '$STORE', exclude: ['left-*']}]" >"$CONFIG"
    start_daemon
    scan
    online=$(coverage '')
    same '[3,2,1]' "$(coverage ' | [.images, .audited, .mounts]')"
    ctl status | grep -A 1 "Left out" >"$DIR/online"
    grep -qF "1 link to a block device" "$DIR/online"
    stop_daemon
    ctl --offline --state-directory "$STATE" status | grep -A 1 "Left out" >"$DIR/offline"
    diff "$DIR/online" "$DIR/offline"
    same "$(jq -cS . <<<"$online")" "$(ctl --offline --state-directory "$STATE" status --json=short | jq -cS '.datastores[0].coverage')"
}

@test "in the first minute, none is not the whole truth" {
    write_config '  debounce: 1h'
    sed -i '/debounce: 100ms/d' "$CONFIG"
    make_image "$STORE/a.qcow2"
    start_daemon
    not_yet() { [[ $(ctl status) == *"none so far; 1 image is not audited yet"* ]]; }
    wait_for 20 not_yet
    stop_daemon
}

# in_namespace DIRECTORY COMMAND...: with an empty /opt, /var/lib/nova and the like, but for what DIRECTORY has of them
in_namespace() {
    local top=$1
    shift
    exec unshare -m bash -c '
        for folder in /opt /var/lib; do
            mkdir -p "$0$folder"
            mount --bind "$0$folder" "$folder" || exit
        done
        exec "$@"' "$top" "$@"
}

@test "datastores: auto is the usual folders that exist; none at all is one sentence, and no error" {
    need_root
    need unshare
    (in_namespace "$DIR/probe" true) 2>/dev/null || skip "no mount namespaces here"
    printf '%s\n' 'libvirt: {uris: []}' 'datastores: auto' 'intervals: {debounce: 100ms}' >"$CONFIG"
    DAEMON_WRAPPER=(in_namespace "$DIR/host")
    start_daemon
    grep -q "There is no datastore: libvirt has no storage pool here, and none of the usual folders exists" "$LOG"
    [[ $(ctl status) == *"There is no datastore, so nothing is audited"* ]]
    same "" "$(findings)"
    mkdir -p "$DIR/host/opt/unetlab/tmp/1" "$DIR/host/var/lib/nova/instances/_base"
    make_image "$DIR/host/opt/unetlab/tmp/1/virtioa.qcow2"
    kill -HUP "$DAEMON"
    two() { [ "$(status '[.datastores[] | [.name, .path, .images, .state]]')" = '[["eve-ng-labs","/opt/unetlab/tmp",1,"online"],["nova","/var/lib/nova/instances",0,"online"]]' ]; }
    wait_for 20 two
    same "" "$(findings)"
    stop_daemon
}

# first_minute: a daemon with the packaged configuration, in which nothing is said, on the host of that folder: its status
# once all is audited, which takes less than a minute.
first_minute() {
    local began=$SECONDS
    cp "$top_builddir/conf/qcauditd.yaml" "$CONFIG"
    rm -rf "$STATE"
    DAEMON_WRAPPER=(in_namespace "$1")
    start_daemon
    audited() { [ "$(status '[.images, ."images-audited", (.datastores | length > 0)]')" = "[$1,$1,true]" ]; }
    wait_for 60 audited "$2"
    [ $((SECONDS - began)) -lt 60 ]
    run -0 ctl status
    stop_daemon
}

@test "the first minute, with nothing configured: a host of Proxmox VE, and one of EVE-NG" {
    need_root
    need unshare
    (in_namespace "$DIR/probe" true) 2>/dev/null || skip "no mount namespaces here"
    [ ! -S /run/libvirt/libvirt-sock ] || skip "a libvirt runs here"
    local vz=$DIR/pve/var/lib/vz/images lab=$DIR/eve/opt/unetlab
    mkdir -p "$vz/100" "$vz/101" "$vz/9000" "$lab/addons/qemu/vios-15.6" "$lab/tmp/0/8d1f/1"
    make_image "$vz/9000/base-9000-disk-0.qcow2"
    make_image "$vz/100/vm-100-disk-0.qcow2"
    qemu-img create -q -f qcow2 -b ../9000/base-9000-disk-0.qcow2 -F qcow2 "$vz/101/vm-101-disk-0.qcow2"
    break_image "$vz/100/vm-100-disk-0.qcow2"
    first_minute "$DIR/pve" 3
    echo "$output"
    [[ $output == *"Libvirt: not on this host"* ]]
    [[ $output == *"Findings: 1 critical"* ]]
    [[ $output == *"metadata-corrupt"*"vm-100-disk-0.qcow2"* ]]
    [[ $output =~ proxmox\ +online\ +3\ .*/var/lib/vz ]]

    make_image "$lab/addons/qemu/vios-15.6/virtioa.qcow2"
    qemu-img create -q -f qcow2 -b "/opt/unetlab/addons/qemu/vios-15.6/virtioa.qcow2" -F qcow2 \
        -u "$lab/tmp/0/8d1f/1/virtioa.qcow2" 4M
    first_minute "$DIR/eve" 2
    echo "$output"
    [[ $output == *"Findings: none"* ]]
    [[ $output =~ eve-ng-images\ +online\ +1 ]]
    [[ $output =~ eve-ng-labs\ +online\ +1 ]]
}

@test "a datastore that the configuration names and that does not exist is an error" {
    printf '%s\n' 'libvirt: {uris: []}' "datastores: ['$DIR/none']" >"$CONFIG"
    start_daemon
    wait_for 20 has_finding "datastore-offline error none"
    stop_daemon
}

@test "more files than are kept in mind are counted and told; other datastores are looked at, and so are these when there are fewer" {
    mkdir "$DIR/other"
    chmod 755 "$DIR/other"
    make_image "$DIR/other/a.qcow2"
    leak_image "$DIR/other/a.qcow2" 3
    write_config 'limits: {files: 1000}'
    sed -i "s,^  - path: .*,&\n  - path: $DIR/other," "$CONFIG"
    python3 - "$STORE" <<'PY'
import os, sys
os.chdir(sys.argv[1])
for i in range(700):
    with open(f"text-{i}.img", "w") as file: file.write("x")
for i in range(700):
    os.link("text-0.img", f"name-{i}.img")
PY
    start_daemon
    scan
    has_finding "clusters-leaked warning $DIR/other/a.qcow2"
    has_finding "coverage-gap warning store"
    same '400' "$(status '.datastores[] | select(.name == "store") | .coverage."left-out"."too-many-files"')"
    [[ $(ctl status) == *"400 files more than limits.files allows"* ]]
    ctl findings --name coverage-gap --json=short | jq -r '.[0].summary' | grep -q "does not look at 400 files more than limits.files allows"
    ctl show "$(ctl findings --name coverage-gap --json=short | jq -r '.[0].id')" | grep -q "raise limits.files"
    # after a start, too
    stop_daemon
    start_daemon
    scan
    same '400' "$(status '.datastores[] | select(.name == "store") | .coverage."left-out"."too-many-files"')"
    # a reload that raises the limit has them looked at, and one that lowers it drops nothing
    sed -i 's/files: 1000/files: 2000/' "$CONFIG"
    ctl reload
    wait_for 30 has_no_finding coverage-gap
    sed -i 's/files: 2000/files: 1000/' "$CONFIG"
    ctl reload
    scan
    has_no_finding coverage-gap
    rm "$STORE"/name-*
    make_image "$STORE/b.qcow2"
    scan
    has_no_finding coverage-gap
    [ "$(ctl images --json=short | jq -r '.[].path' | grep -c b.qcow2)" = 1 ]
    stop_daemon
}
