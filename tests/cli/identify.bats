#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# qcauditctl identify: names, folders, what is ambiguous or unknown, a site's own families, mistakes, and exit statuses.
bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    unset COLUMNS
}

# identify ARGUMENT...: by the families of the source.
identify() { qcauditctl identify --families="$top_srcdir/conf/families.yaml" "$@"; }

# is NAME SENTENCE: what is said of it.
is() {
    run -0 identify "$1"
    [[ $(tr -s ' \n' ' ' <<<"$output") == *" is: $2 family: "* ]] || { echo "$output"; return 1; }
}

@test "a name says vendor, product, version and its parts" {
    is csr1000v-ucmk9.16.12.1b-serial.qcow2 "Cisco CSR1000v (IOS XE), 16.12.1b: release 16.12, rebuild 1b"
    is nxosv9k-7.0.3.I7.4.qcow2 "Cisco NX-OSv 9000, 7.0(3)I7(4): release 7.0(3), train I7, rebuild 4"
    is /srv/x/vEOS-lab-4.28.1.1F.vmdk "Arista vEOS-lab, 4.28.1.1F: release 4.28, maintenance 1, rebuild 1, kind feature"
    is junos-vsrx3-x86-64-21.2R3-S4.9.qcow2 "Juniper vSRX / vSRX3, 21.2R3-S4.9: release 21.2, maintenance R3, service S4, spin 9"
    is asav9-22-1-1.qcow2 "Cisco ASAv, 9.22(1)1: release 9.22, maintenance 1, interim 1"
    is asav-9182/virtioa.qcow2 "Cisco ASAv, version not known"
    run -0 identify nxosv9k-7.0.3.I7.4.qcow2
    [ "${lines[0]}" = nxosv9k-7.0.3.I7.4.qcow2 ]
    [[ $output == *"family: cisco-nxosv9k"*"memory: 8G"* ]]
}

@test "a file is known by its name, a disk of EVE-NG by its folder, and neither is opened" {
    mkdir -p qemu/nxosv9k-7.0.3.I7.4
    : >qemu/nxosv9k-7.0.3.I7.4/sataa.qcow2
    chmod 0 qemu/nxosv9k-7.0.3.I7.4/sataa.qcow2
    for path in qemu/nxosv9k-7.0.3.I7.4/sataa.qcow2 qemu/nxosv9k-7.0.3.I7.4 qemu/nxosv9k-7.0.3.I7.4/ "$PWD/qemu/nxosv9k-7.0.3.I7.4/sataa.qcow2"; do
        run -0 identify "$path"
        [ "${lines[0]}" = "$path" ]
        [[ $output == *"NX-OSv 9000, 7.0(3)I7(4)"*"cisco-nxosv9k, by the folder's name"* ]]
    done
    # by the folder that it is called in
    cd qemu/nxosv9k-7.0.3.I7.4
    for path in sataa.qcow2 ./sataa.qcow2; do
        run -0 identify "$path"
        [[ $output == *"7.0(3)I7(4)"* ]]
    done
    mkfifo vEOS-lab-4.28.1.1F.qcow2
    run -0 timeout 5 qcauditctl identify --families="$top_srcdir/conf/families.yaml" vEOS-lab-4.28.1.1F.qcow2
}

@test "what is not known, or ambiguous, is said, and ends with 1" {
    run -1 identify web.qcow2
    [[ $output == *"unknown: no family has such a name"* ]]
    run -1 identify fortinet-7.2.1/virtioa.qcow2
    [[ $output == *"ambiguous; the name may be of Fortinet FortiGate (fortinet-fortigate),"*"(fortinet-fortimail)"* ]]
    run -1 identify nxosv9k-7.0.3.I7.4.qcow2 web.qcow2
    [[ $output == *"NX-OSv 9000"*"unknown"* ]]
    run -1 identify ''
    run -1 identify "$(printf 'a%.0s' {1..5000})"
}

@test "JSON says the same" {
    command -v jq >/dev/null || skip "jq is not installed"
    run -1 --separate-stderr identify --json=short nxosv9k-7.0.3.I7.4.qcow2 qemu/veos-4.28.1.1F/ fortinet-7.2.1/virtioa.qcow2 x
    [ "$(jq -r '[.[].verdict] | join(" ")' <<<"$output")" = "known known ambiguous unknown" ]
    [ "$(jq -c '.[0] | del(.note)' <<<"$output")" = '{"filename":"nxosv9k-7.0.3.I7.4.qcow2","verdict":"known","family":"cisco-nxosv9k","vendor":"Cisco","product":"NX-OSv 9000","minimum-memory":8589934592,"by":"name","version":"7.0(3)I7(4)","scheme":"release","parts":[{"name":"release","text":"7.0(3)"},{"name":"train","text":"I7"},{"name":"rebuild","text":"4"}]}' ]
    [ "$(jq -r '.[1].by' <<<"$output")" = folder ]
    [ "$(jq '.[2].candidates | length' <<<"$output")" -ge 10 ]
    [ "$(jq -c '.[3]' <<<"$output")" = '{"filename":"x","verdict":"unknown"}' ]
}

@test "hostile names are escaped" {
    run -1 identify $'evil\e[31m\nname\xff'
    [ "${lines[0]}" = 'evil\x1b[31m\nname\xff' ]
    cat >families.yaml <<'END'
families:
- {family: a, vendor: A, product: A, names: [{match: '^a-(.*)$', version: '\1'}]}
END
    run -0 qcauditctl identify --families=families.yaml $'a-\e[31m'
    [[ $output == *'A A, \x1b[31m'* && $output != *$'\e'* ]]
}

@test "a site's own family is beside the file's, or in its place; a minimum is held against the version" {
    mkdir families.d
    cat >families.yaml <<'END'
families:
- {family: router, vendor: Old, product: Router, names: [{match: '^r-(.*)$', version: '\1'}]}
- {family: switch, vendor: Old, product: Switch, names: [{match: '^s-(.*)$', version: '\1'}]}
END
    cat >families.d/own.yaml <<'END'
families:
- family: router
  vendor: New
  product: Router
  minimum: {any: '4.2', '3': '3.9.1'}
  names: [{match: '^r-(.*)$', version: '\1'}]
END
    run -0 qcauditctl identify --families=families.yaml r-4.1 r-4.2rc1 r-4.2 r-3.9 r-3.10 s-1
    [ "$(grep -c 'is: New Router' <<<"$output")" = 5 ]
    [ "$(sed -n 's/^ *minimum: //p' <<<"$output" | tr '\n' ,)" = "4.2: it is older,4.2: it is older,4.2,3.9.1: it is older,3.9.1," ]
    [[ $output == *"is: Old Switch, 1"* ]]
}

@test "every mistake in a file is said with its place, and ends with 2" {
    run -2 qcauditctl identify --families=nowhere.yaml x
    [ "$output" = "nowhere.yaml: cannot read it: No such file or directory" ]
    printf 'families:\n- {family: a, vendor: A, product: A, names: [{match: "(a)\\\\1"}]}\n- {famly: b}\n' >families.yaml
    run -2 qcauditctl identify --families=families.yaml x
    [[ $output == *"families.yaml:2:54: names[].match: "*"back-references"*"families.yaml:3:4: unknown key \"famly\" in families[]; did you mean \"family\"?"* ]]
    run -2 qcauditctl identify --families="$top_srcdir/conf/families.yaml"
    run -2 qcauditctl identify --output=csv x
    run -2 qcauditctl identify -H other x
    # one that others may write is not read
    printf 'families: []\n' >families.yaml
    chmod 0666 families.yaml
    run -2 qcauditctl identify --families=families.yaml x
    [[ $output == *"families.yaml: not read: "* ]]
}

@test "by a catalogue that was made of it, an image is the original, a repack, renamed or modified" {
    command -v qemu-img >/dev/null || skip "qemu-img is not installed"
    local name=csr1000v-ucmk9.16.12.1b-serial families=$top_srcdir/conf/families.yaml verdict
    verdict() { qcauditctl identify --families="$families" --json --catalogue "$1" "$2" | jq -r '.[0].content.verdict' || :; }
    mkdir vendor store
    qemu-img create -q -f qcow2 "vendor/$name.qcow2" 32M
    qemu-io -f qcow2 -c "write -q -P 1 1M 700k" -c "write -q -P 2 20M 70k" "vendor/$name.qcow2"
    qcauditctl catalogue make --families="$families" "vendor/$name.qcow2" >made.json
    jq -e '.records[0] | .family == "cisco-csr1000v" and .version == "16.12.1b" and (."content-sha256" | length) == 64' made.json
    (cd vendor && sha256sum ./*.qcow2 | sed 's,\./,,') >vendor.sums

    cp "vendor/$name.qcow2" store
    [ "$(verdict made.json "store/$name.qcow2")" = original ]
    [ "$(verdict vendor.sums "store/$name.qcow2")" = original ]
    run -0 qcauditctl identify --families="$families" --catalogue vendor.sums "store/$name.qcow2"
    [[ $output == *"content: original: the file is $name.qcow2, byte for"* ]]

    # each container of the same disk; a chain with nothing of its own
    qemu-img convert -O raw "vendor/$name.qcow2" raw.img
    qemu-img convert -c -O qcow2 "vendor/$name.qcow2" zlib.qcow2
    qemu-img convert -c -O qcow2 -o compression_type=zstd "vendor/$name.qcow2" zstd.qcow2
    qemu-img convert -O vmdk -o subformat=streamOptimized "vendor/$name.qcow2" stream.vmdk
    qemu-img convert -O vpc -o force_size=on "vendor/$name.qcow2" disk.vhd
    qemu-img create -q -f qcow2 -F qcow2 -b "$PWD/vendor/$name.qcow2" snapshot.qcow2
    for file in raw.img zlib.qcow2 zstd.qcow2 stream.vmdk disk.vhd snapshot.qcow2; do
        [ "$(verdict made.json $file)" = repacked ] || { echo "$file: $(verdict made.json $file)"; return 1; }
    done
    # a byte changed in each
    for file in zlib.qcow2 zstd.qcow2 snapshot.qcow2 disk.vhd; do
        case $file in *.vhd) qemu-io -f vpc -c "write -q -P 9 1M 1" $file ;; *) qemu-io -f qcow2 -c "write -q -P 9 1M 1" $file ;; esac
        mv $file "store/$name.qcow2"
        [ "$(verdict made.json "store/$name.qcow2")" = modified ] || { echo "$file"; return 1; }
        # a list of sums cannot tell it from a repack
        [ "$(verdict vendor.sums "store/$name.qcow2")" = different ] || { echo "$file"; return 1; }
        if [ $file = zlib.qcow2 ]; then
            run -1 qcauditctl identify --families="$families" --catalogue made.json "store/$name.qcow2"
            [[ $output == *"content: modified: it has the name of $name.qcow2, and"* ]]
            run -1 qcauditctl compare "vendor/$name.qcow2" "store/$name.qcow2"
            [[ $output == *0x100000* ]]
        fi
    done
    # the name says another version, or another appliance; any other name says nothing
    cp "vendor/$name.qcow2" csr1000v-universalk9.17.03.02-serial.qcow2
    cp "vendor/$name.qcow2" vios-adventerprisek9-m.vmdk.SPA.156-2.T
    cp "vendor/$name.qcow2" hda.qcow2
    [ "$(verdict made.json csr1000v-universalk9.17.03.02-serial.qcow2)" = renamed ]
    [ "$(verdict made.json vios-adventerprisek9-m.vmdk.SPA.156-2.T)" = renamed ]
    [ "$(verdict made.json hda.qcow2)" = original ]
    head -c 1M /dev/urandom >other.img
    [ "$(verdict made.json other.img)" = unknown ]
    # a folder of lists; one that is wrong is not passed over
    mkdir lists
    cp made.json vendor.sums lists
    [ "$(verdict lists "vendor/$name.qcow2")" = original ]
    echo "no list" >lists/wrong
    run -2 qcauditctl identify --families="$families" --catalogue lists "vendor/$name.qcow2"
    [[ $output == *"lists/wrong"*"refused"* ]]
    # of a name without a file, nothing is read
    run -0 qcauditctl identify --families="$families" --catalogue made.json "$name.qcow2"
    [[ $output != *content:* ]]
}
