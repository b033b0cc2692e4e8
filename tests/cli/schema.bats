#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The JSON schemas that are installed: each verb's real output fits its own, and holds nothing that it does not describe.
bats_require_minimum_version 1.5.0
load ../integration/lib

setup() {
    need qemu-img qemu-io jq python3
    python3 -c 'import jsonschema; jsonschema.Draft202012Validator' 2>/dev/null || skip "python3-jsonschema is not installed"
    qcaudit_setup
    SCHEMAS=$top_srcdir/conf/schema
    cd "$DIR" || return 1
    : >"$DIR/looked-at"
}
teardown() { qcaudit_teardown; }

# fits VERB [ARGUMENT...]: what it prints, whatever its exit status is.
fits() {
    ctl "$@" --json=short >"$DIR/json" 2>"$DIR/stderr" || :
    fits_file "$1" "$DIR/json"
}
fits_file() { # VERB FILE
    python3 -B "$top_srcdir/tests/cli/schema.py" "$SCHEMAS" "$1" <"$2" || { echo "$1"; head -c 2000 "$2"; cat "$DIR/stderr"; return 1; }
    echo "$1" >>"$DIR/looked-at"
}

has_space() { [ "$(ctl history --datastore=store --json=short 2>/dev/null | jq '.samples | length')" -ge 1 ]; }

@test "they are schemas, each with its name and version, and each verb that prints JSON has one" {
    python3 -B "$top_srcdir/tests/cli/schema.py" "$SCHEMAS" >have
    # these print nothing, or a sentence
    qcauditctl --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' |
        grep -vxE 'ack|unmute|pause|release|resume|reload' | sort | diff - have
    # all of them are installed
    make -s -C "$top_builddir/conf" install DESTDIR="$DIR/root" >"$DIR/install.log" 2>&1 3>&- 4>&- || { cat "$DIR/install.log"; return 1; }
    installed=$(dirname "$(find "$DIR/root" -path '*/qcaudit/schema/common.json')")
    diff -r "$installed" "$SCHEMAS"
}

@test "a member that is not described, or of another type, is seen" {
    check() { python3 -B "$top_srcdir/tests/cli/schema.py" "$SCHEMAS" "$1"; }
    mute='{"id": 1, "holds": true, "made": 5'
    check mute <<<"$mute}"
    run ! check mute <<<"$mute, \"new\": 1}"
    run ! check mute <<<"$mute, \"until\": \"now\"}"
    run ! check mute <<<"$mute, \"until\": -1}"
    run ! check mute <<<'{"id": 1}'
    check mute <<<"$mute, \"path\": [47, 255]}"
    run ! check mute <<<"$mute, \"path\": [47, 256]}"
    run ! check findings <<<'[{"name": "x"}]'
    run ! check findings <<<''
}

@test "every verb's output fits" {
    # libvirt's own test driver: one domain, one pool
    LIBVIRT='{uris: ["test:///default"]}' write_config
    cat >"$DIR/conf.d/50-class.yaml" <<'YAML'
golden: {patterns: ['*/leaked.qcow2']}
classes:
  - name: lab
    paths: ['*/bad*']
    thresholds: {chain-deep: {warning: 3}}
YAML
    make_image "$STORE/base.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 "$STORE/snap1.qcow2"
    qemu-img create -q -f qcow2 -F qcow2 -b snap1.qcow2 "$STORE/snap2.qcow2"
    qemu-img snapshot -c one "$STORE/snap2.qcow2"
    qemu-img bitmap --add "$STORE/snap2.qcow2" b0
    qemu-img create -q -f qcow2 -F qcow2 -b gone.qcow2 -u "$STORE/orphan.qcow2" 4M
    qemu-img create -q -f vmdk "$STORE/foreign.vmdk" 4M
    make_image "$STORE/leaked.qcow2"
    leak_image "$STORE/leaked.qcow2" 24
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    make_image "$STORE/"$'evil\e\xff.qcow2'
    printf 'x%.0s' {1..70000} >"$STORE/plain.raw"
    start_daemon
    timeout 600 qcauditctl --socket "$RUN/control" monitor --json=short >"$DIR/monitor" 2>/dev/null </dev/null 3>&- 4>&- &
    monitor=$!
    scan
    fits scan --wait --scrub "$STORE/base.qcow2"
    id=$(ctl findings --json=short --name=metadata-corrupt | jq '.[0].id')
    ctl ack "$(ctl findings --json=short --name=clusters-leaked | jq '.[0].id')" --reason=$'be\nause' --for=1h
    fits mute --finding=parent-missing --path="$STORE/*" --for=1h --reason=x
    fits mute --id="$id" --forever --reason=y
    fits mutes
    fits status
    next_second
    fits status --at="@$(date +%s)"
    fits findings --all
    fits findings --at="@$(date +%s)"
    before=$(date +%s)
    next_second
    make_image "$STORE/new.qcow2"
    leak_image "$STORE/new.qcow2" 24
    rm "$STORE/bad.qcow2"
    scan
    fits diff "@$before"
    [ "$(ctl diff "@$before" --json=short | jq length)" -ge 1 ]
    for image in base.qcow2 snap2.qcow2 leaked.qcow2 foreign.vmdk orphan.qcow2 test; do fits show "$image"; done
    for finding in $(ctl findings --all --json=short | jq '.[].id'); do fits show "$finding"; done
    fits chain snap2.qcow2
    fits chain orphan.qcow2
    fits domains
    fits domains test
    [ "$(ctl domains --json=short | jq length)" = 1 ]
    fits images --all
    fits history
    fits history base.qcow2
    fits history base.qcow2 --metric=depth
    fits history snap2.qcow2 --crossed=depth=2
    wait_for 20 has_space
    fits history --datastore=store
    fits history --datastore=store --crossed=used=1
    fits baseline
    fits baseline show base.qcow2
    [ "$(ctl baseline --json=short | jq length)" -ge 1 ]
    # what a golden image or a parent must hold, and does not any more
    qemu-io -f qcow2 -c 'write -q -P 7 1M 64k' "$STORE/base.qcow2" >/dev/null
    scan
    ctl scan --wait --scrub "$STORE/base.qcow2" >/dev/null || [ $? = 2 ]
    fits baseline
    fits show base.qcow2
    fits findings --all
    fits explain
    fits policy
    fits policy "$STORE/bad.qcow2"
    fits test-alert
    fits verify-log
    fits check "$STORE/leaked.qcow2"
    fits check --chain "$STORE/snap2.qcow2" "$STORE/foreign.vmdk" "$STORE/nowhere" "$STORE/orphan.qcow2"
    make_image "$DIR/broken.qcow2"
    break_image "$DIR/broken.qcow2"
    fits check --deep "$DIR/broken.qcow2"
    fits evidence "$STORE/leaked.qcow2" --out="$DIR/leaked.tar"
    fits evidence "$STORE/orphan.qcow2" --out="$DIR/orphan.tar"
    fits check --evidence "$DIR/leaked.tar"
    fits check --evidence "$DIR/leaked.tar" "$DIR/orphan.tar"
    sed 's/corruptions/CORRUPTIONS/' "$DIR/leaked.tar" >"$DIR/changed.tar"
    fits check --evidence "$DIR/changed.tar"
    [ "$(jq .intact "$DIR/json")" = false ]
    fits check --evidence "$STORE/leaked.qcow2"
    [ "$(jq .intact "$DIR/json")" = false ]
    fits hash --content --file "$DIR/broken.qcow2" "$STORE/base.qcow2" "$STORE/nowhere"
    fits hash --algorithm=md5,sha1,sha512 "$STORE/base.qcow2"
    qcauditctl hash "$STORE/base.qcow2" "$STORE/leaked.qcow2" >"$DIR/list"
    echo "0000000000000000000000000000000000000000000000000000000000000000  $STORE/snap1.qcow2" >>"$DIR/list"
    echo "0000000000000000000000000000000000000000000000000000000000000000  $STORE/nowhere" >>"$DIR/list"
    fits verify "$DIR/list"
    printf '%064x  x.qcow2\n# y: 7 bytes\nMD5 (y) = %032x\n' 1 2 >"$DIR/catalogue"
    fits catalogue check "$DIR/catalogue"
    [ "$(jq -c '[."files-weak", .records[1].size]' "$DIR/json")" = "[1,7]" ]
    if command -v openssl >/dev/null; then
        openssl genpkey -algorithm ed25519 -out "$DIR/key"
        openssl pkey -in "$DIR/key" -pubout -out "$DIR/key.pub"
        openssl pkeyutl -sign -rawin -inkey "$DIR/key" -in "$DIR/catalogue" -out "$DIR/catalogue.sig"
        fits catalogue check "$DIR/catalogue" --signature "$DIR/catalogue.sig" --key "$DIR/key.pub"
        [ "$(jq -r .signature.method "$DIR/json")" = pem ]
    fi
    fits compare "$STORE/leaked.qcow2" "$STORE/base.qcow2"
    cat >"$DIR/families.yaml" <<'YAML'
families:
- {family: a, vendor: A, product: A, minimum: {any: 2}, eve-prefix: [q], names: [{match: '^a-(.*)$', version: '\1'}]}
- {family: b, vendor: B, product: B, note: c, minimum-memory: 1GiB, decoding: d, eve-prefix: [q], names: [{match: '^[ab]-3(.)$', version: '\1'}]}
decodings: {d: [{match: '(.)', parts: {p: '\1'}}]}
YAML
    fits identify --families="$DIR/families.yaml" a-1.qcow2 a-34 b-35 nothing q-1/hda.qcow2 $'b-3\xff'
    [ "$(jq '[.[].verdict] | unique | length' "$DIR/json")" = 3 ]
    # of an image that is known
    sed -i 's/\^a-/^(base)/' "$DIR/families.yaml"
    fits show --families="$DIR/families.yaml" "$STORE/base.qcow2"
    [ "$(jq -r '.identity.version' "$DIR/json")" = base ]
    [[ $(ctl show --families="$DIR/families.yaml" "$STORE/base.qcow2") == *"By name: A A, base"* ]]
    fits show --families="$DIR/families.yaml" "$STORE/leaked.qcow2"
    [ "$(jq 'has("identity")' "$DIR/json")" = false ]
    fits compare "$STORE/base.qcow2" "$STORE/snap1.qcow2"
    fits compare "$STORE/base.qcow2" "$STORE/nowhere" || [ ! -s "$DIR/json" ]
    fits audit "$STORE"
    kill "$monitor"
    wait "$monitor" || :
    fits_file monitor "$DIR/monitor"
    # a record that somebody changed has more to say
    stop_daemon
    sqlite3 "$STATE/qcaudit.db" "UPDATE event SET message = 'x' WHERE seq = 2; DELETE FROM event WHERE seq = 3"
    qcauditctl --offline --state-directory "$STATE" verify-log --json=short >"$DIR/json" 2>"$DIR/stderr" || :
    [ "$(jq '.sound' "$DIR/json")" = false ]
    fits_file verify-log "$DIR/json"
    # and no schema is left out
    python3 -B "$top_srcdir/tests/cli/schema.py" "$SCHEMAS" | diff - <(sort -u "$DIR/looked-at")
}
