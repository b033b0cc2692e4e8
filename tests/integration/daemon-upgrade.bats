#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Databases that earlier versions left open and go on; one of a later version is refused and left as it is.
load lib

FIXTURES=$top_srcdir/tests/fixtures
VERSION=$(sed -n 's/^#define CONTROL_DATABASE_VERSION \([0-9]*\).*/\1/p' "$top_srcdir/include/qcaudit/control.h")

setup() { qcaudit_setup; }
teardown() { qcaudit_teardown; }

hex() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }

# old_state FIXTURE: the state folder as that version left it, of the store as it lies here.
old_state() {
    make_image "$STORE/good.qcow2"
    cp "$STORE/good.qcow2" "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    mkdir "$STORE/sub"
    cp "$STORE/good.qcow2" "$STORE/sub/leaky.qcow2"
    leak_image "$STORE/sub/leaky.qcow2" 3
    qemu-img create -q -f qcow2 -b good.qcow2 -F qcow2 "$STORE/overlay.qcow2"
    sed -e "s,/srv/qcaudit-fixture,$STORE,g" -e "s/$(hex /srv/qcaudit-fixture)/$(hex "$STORE")/Ig" "$1" |
        sqlite3 "$STATE/qcaudit.db"
}

version() { sqlite3 "$STATE/qcaudit.db" 'PRAGMA user_version'; }

@test "there is a database of every earlier version" {
    [ "$VERSION" -ge 1 ]
    for ((i = 1; i < VERSION; i++)); do [ -s "$FIXTURES/database-$i.sql" ] || { echo "database-$i.sql is missing"; return 1; }; done
}

@test "each is opened, brought up to date, and keeps what was known" {
    need sqlite3 qemu-img qemu-io
    local fixture events id
    for fixture in "$FIXTURES"/database-*.sql; do
        old_state "$fixture"
        [ "database-$(version).sql" = "${fixture##*/}" ]
        events=$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM event')
        [ "$events" -gt 0 ]
        id=$(sqlite3 "$STATE/qcaudit.db" "SELECT id FROM finding WHERE type = 'metadata-corrupt'")
        start_daemon
        scan
        [ "$(version)" = "$VERSION" ]
        # Found again, not new: the same number, acknowledged by the same.
        same "metadata-corrupt acknowledged root known since the fixture" \
            "$(ctl findings --json=short --name metadata-corrupt |
                jq -r '.[] | [.name, .state, ."acknowledged-by", ."acknowledged-reason"] | join(" ")')"
        [ "$(ctl findings --json=short --name metadata-corrupt | jq '.[0].id')" = "$id" ]
        has_finding "clusters-leaked warning sub/leaky.qcow2"
        [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM event')" -ge "$events" ]
        ctl history "$STORE/bad.qcow2" | grep -q metadata-corrupt
        sqlite3 "$STATE/qcaudit.db" 'PRAGMA integrity_check' | grep -qx ok
        stop_daemon
        ! grep -E 'damaged|put aside|Cannot' "$LOG" || return 1
        rm -rf "${STATE:?}"/* "${STORE:?}"/*
    done
}

@test "a newer one is refused with a clear word, and left as it is" {
    need sqlite3
    sqlite3 "$STATE/qcaudit.db" "PRAGMA user_version = $((VERSION + 1)); CREATE TABLE later (x); INSERT INTO later VALUES (7)"
    sha256sum "$STATE/qcaudit.db" >"$DIR/sum"
    run -1 qcauditd --config "$CONFIG" --state-directory "$STATE" --runtime-directory "$RUN" --log-target console
    grep -q 'was made by a newer qcauditd: run that one, or start with an empty state folder' <<<"$output"
    sha256sum -c "$DIR/sum"
    [ "$(find "$STATE" -name '*.db*' | wc -l)" = 1 ]
}
