#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The sound store of many managers' layouts, with domains: nothing of it is called wrong, and what is made wrong in it is.
load lib
load domains
load sound

setup_file() {
    need qemu-img qemu-io python3
    qcaudit_setup
    domains_begin
    "$IMAGES/make-sound-store" "$STORE" "$([ "$(id -u)" != 0 ] || id -u nobody)"
    own "$STORE/$POOL" "$STORE/srv/terraform/pool" "$STORE/srv/terraform/pool/"* "$STORE/srv/vagrant/images/lab_default.img"
    sound_domains
    export DIR STORE STATE RUN LOG CONFIG URI
}

teardown_file() {
    domains_end
    [ -z "${DIR-}" ] || rm -rf --one-file-system -- "$DIR"
}

setup() {
    LIBVIRT="{uris: [\"$URI\"], poll: 1s}"
    rm -rf "$STATE" "$RUN"
    mkdir -m 700 "$STATE" "$RUN"
    : >"$LOG"
}

teardown() {
    [ "${BATS_TEST_COMPLETED-}" = 1 ] || tail -n 60 "$LOG" | cat -v
    stop_daemon
}

# All that waits for a time waits for a second, and for nobody else's reading. That a store has data files is the site's
# own decision.
QUICK=('thresholds:' '  orphan: {after: 1s}' '  definition-differs: {after: 1s}' '  block-job-stalled: {after: 1s}'
    '  backup-leftover: {after: 1s}' '  snapshot-delete-stuck: {after: 1s}' '  deleted-in-use: {after: 1s}' '  chain-forked: {after: 1s}'
    '  foreign-writer: {after: 1s}' '  snapshot-unmanaged: {after: 1s}' '  data-file: {severity: info}'
    'scrub: {pressure: off}')

# nothing_false: several passes, libvirt's word and the waiting times are over, and there is no alarm.
nothing_false() {
    scan
    wait_for 60 domains_known
    for _ in 1 2 3; do
        sleep 1.5       # more than the waiting times: the subject
        scan
    done
    wait_for 60 settled
    same "" "$(alarms)"
}

domains_known() { [ "$(ctl domains --json=short | jq length)" -ge 19 ]; }

@test "a sound store is sound, by default times" {
    write_config 'thresholds: {data-file: {severity: info}}'
    start_daemon
    nothing_false
}

@test "a sound store is sound when nothing is waited for, as one datastore for each manager" {
    write_config "${QUICK[@]}"
    local folder
    {
        printf 'libvirt: %s\ndatastores:\n' "$LIBVIRT"
        for folder in "$POOL" var/lib/libvirt/boot var/lib/vz opt/unetlab opt/gns3 var/lib/nova/instances rhev/data-center \
            mnt home/ada srv/vagrant/images srv/terraform/pool srv/packer srv/kvm srv/import srv/backup srv/downloads var/snap; do
            echo "  - path: '$STORE/$folder'"
        done
        sed -n '/^intervals:/,$p' "$CONFIG"
    } >"$CONFIG.new"
    mv "$CONFIG.new" "$CONFIG"
    start_daemon
    nothing_false
    "$IMAGES/seed-faults" "$STORE" orphaned >"$DIR/expected"
    wait_for 60 rescanned all_told
    same "$(cat "$DIR/expected")" "$(alarms)"
    rm "$STORE/$POOL/old-test.qcow2"
}

@test "a sound store is sound as one datastore, and what is made wrong in it is told, and nothing else" {
    write_config "${QUICK[@]}"
    start_daemon
    nothing_false
    "$IMAGES/seed-faults" "$STORE" corrupt leaked truncated parent_deleted parent_renamed parent_written template_replaced cron_job \
        fork loop escaping overwritten raw_with_header writable >"$DIR/expected"
    # two domains on one image, by two names of it, by one; one that takes raw for qcow2
    ln "$STORE/$POOL/app02.qcow2" "$STORE/$POOL/app02-link.qcow2"
    define app02-link "$(disk_xml "$STORE/$POOL/app02-link.qcow2")"
    define app03-too "$(disk_xml "$STORE/$POOL/app03.qcow2")"
    truncate -s 8M "$STORE/$POOL/wrong.img"
    own "$STORE/$POOL/wrong.img"
    define wrong "$(disk_xml "$STORE/$POOL/wrong.img")"
    printf '%s\n' "shared-writable warning $POOL/app02.qcow2" "shared-writable warning $POOL/app03.qcow2" \
        "format-mismatch critical $POOL/wrong.img" >>"$DIR/expected"
    wait_for 60 rescanned all_told || :
    same "$(sort "$DIR/expected")" "$(alarms | sort)"
}

all_told() { [ -z "$(LC_ALL=C comm -23 <(LC_ALL=C sort "$DIR/expected") <(alarms | LC_ALL=C sort))" ]; }

rescanned() { scan && "$@"; }
