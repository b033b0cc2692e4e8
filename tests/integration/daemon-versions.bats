#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The policy on versions: images whose names say a version that is too old, and those that say nothing of the kind.
load lib

setup() {
    need qemu-img qemu-io jq
    qcaudit_setup
    mkdir "$DIR/families.d"
    cp "$top_srcdir/conf/families.yaml" "$DIR/families.d/"
}
teardown() { qcaudit_teardown; }

# versions LINE...: the configuration with entries of the policy.
versions() { write_config 'versions:' "$@"; }
only() { findings --name=version-below-minimum; }

@test "old ones are found, by family and train; new ones, moving ones and other schemes are silent" {
    for name in csr1000v-ucmk9.16.12.1b-serial csr1000v-universalk9.17.03.08a-serial csr1000v-universalk9.03.17.03.S.156-1.S3-std \
        nxosv9k-7.0.3.I7.4 nxosv9k-7.0.3.I7.10 nxosv9k-9.2.3 nexus9300v64.10.4.3.M debian-12-genericcloud-amd64 \
        debian-11.8 vios_l2-adventerprisek9-m.ssa.high_iron_20190423 FGT_VM64_KVM-v6-build0272-FORTINET.out.kvm web; do
        make_image "$STORE/$name.qcow2"
    done
    # EVE-NG's folder, a clone on a base, and an overlay that has the version in its own name, too.
    mkdir -p "$STORE/addons/qemu/csr1000v-universalk9.16.6.1"
    make_image "$STORE/addons/qemu/csr1000v-universalk9.16.6.1/virtioa.qcow2"
    for clone in r1.qcow2 csr1000v-universalk9.16.6.6.qcow2; do
        qemu-img create -q -f qcow2 -F qcow2 -b "$STORE/csr1000v-ucmk9.16.12.1b-serial.qcow2" "$STORE/$clone"
    done
    # Whatever is on a medium runs nowhere.
    qemu-img create -q -f raw "$STORE/csr1000v-universalk9.16.9.1.iso" 4M
    versions '  - {family: cisco-csr1000v, minimum: 17.3.4}' '  - {family: cisco-nxosv9k, minimum: 9.3(10)}' \
        '  - {family: cisco-nxosv9k, train: 7.0(3)I7, minimum: 7.0(3)I7(10)}' '  - {family: debian-cloud, minimum: 13}' \
        '  - {family: cisco-iosvl2, minimum: 15.2(4)}' '  - {family: fortinet-fortigate, minimum: 7.4.0}'
    run qcauditd --config "$CONFIG" --check-config
    echo "$output"
    [ "$status" = 0 ]
    start_daemon
    scan
    same "version-below-minimum error addons/qemu/csr1000v-universalk9.16.6.1/virtioa.qcow2
version-below-minimum error csr1000v-ucmk9.16.12.1b-serial.qcow2
version-below-minimum error csr1000v-universalk9.03.17.03.S.156-1.S3-std.qcow2
version-below-minimum error debian-11.8.qcow2
version-below-minimum error nxosv9k-7.0.3.I7.4.qcow2
version-below-minimum error nxosv9k-9.2.3.qcow2" "$(only)"
    run -0 ctl show "$(ctl findings --json=short --name=version-below-minimum |
        jq -r '.[] | select(.path | endswith("I7.4.qcow2")) | .id')"
    [[ $output == *'is Cisco NX-OSv 9000 7.0(3)I7(4) by its name, older than the minimum 7.0(3)I7(10)'* ]]
    [[ $output == *"$CONFIG:9"* ]]
    run -0 ctl policy nxosv9k-7.0.3.I7.4.qcow2
    same "versions[cisco-nxosv9k, any].minimum 9.3(10) $CONFIG:8
versions[cisco-nxosv9k, 7.0(3)I7].minimum 7.0(3)I7(10) $CONFIG:9" "$(grep '^versions' <<<"$output" | tr -s ' ')"
    run -0 ctl policy web.qcow2
    [[ $output != *'versions['* ]]
    [ "$(ctl policy | grep -c '^versions')" = 6 ]
    run -0 ctl explain version-below-minimum
    [[ $output == *'too old'* ]]
}

@test "an end of life is a warning from its day on; reload and renaming end findings" {
    make_image "$STORE/csr1000v-universalk9.17.03.06-serial.qcow2"
    make_image "$STORE/csr1000v-universalk9.16.06.06-serial.qcow2"
    versions '  - {family: cisco-csr1000v, end-of-life: 2262-01-01}'
    start_daemon
    scan
    same "" "$(only)"
    versions '  - {family: cisco-csr1000v, end-of-life: 2020-02-29}' '  - {family: cisco-csr1000v, train: 16, minimum: 16.12}'
    ctl reload
    both() {
        same "version-below-minimum error csr1000v-universalk9.16.06.06-serial.qcow2
version-below-minimum warning csr1000v-universalk9.17.03.06-serial.qcow2" "$(only)"
    }
    wait_for 20 both
    run -0 ctl show "$(ctl findings --json=short --name=version-below-minimum | jq -r '.[] | select(.severity == "warning") | .id')"
    [[ $output == *'its end of life was on 2020-02-29'* ]]
    # Upgraded, and called so.
    mv "$STORE/csr1000v-universalk9.16.06.06-serial.qcow2" "$STORE/csr1000v-universalk9.16.12.04-serial.qcow2"
    renamed() {
        same "version-below-minimum warning csr1000v-universalk9.16.12.04-serial.qcow2
version-below-minimum warning csr1000v-universalk9.17.03.06-serial.qcow2" "$(only)"
    }
    wait_for 20 renamed
    write_config
    ctl reload
    wait_for 20 has_no_finding version-below-minimum
}

@test "a site's own family says its minimum; a family that nobody knows is a mistake, also at a reload" {
    cat >"$DIR/families.d/own.yaml" <<'END'
families:
- family: lab-router
  vendor: Example
  product: Lab router
  minimum: {any: '4.2'}
  names: [{match: '^labrouter-([0-9.]+)$', version: '\1'}]
END
    make_image "$STORE/labrouter-4.1.qcow2"
    make_image "$STORE/labrouter-4.2.qcow2"
    start_daemon
    scan
    same "version-below-minimum error labrouter-4.1.qcow2" "$(only)"
    run -0 ctl show "$(ctl findings --json=short --name=version-below-minimum | jq -r '.[0].id')"
    [[ $output == *"families.d/own.yaml:2"* ]]
    versions '  - {family: lab-ruoter, minimum: 4.0}'
    run -78 qcauditd --config "$CONFIG" --check-config
    same "$CONFIG:7:14: versions[].family: unknown family \"lab-ruoter\"; did you mean \"lab-router\"?" "${lines[0]}"
    run -1 ctl reload
    [[ $output == *"$CONFIG:7:14: versions[].family"* ]]
    same "version-below-minimum error labrouter-4.1.qcow2" "$(only)"
    # The configuration's word counts more.
    versions '  - {family: lab-router, minimum: 4.0}'
    ctl reload
    wait_for 20 has_no_finding version-below-minimum
}
