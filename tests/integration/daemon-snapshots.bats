#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A job takes snapshots and nobody consolidates them: one finding with one life, told when it opens and worsens.
load lib

setup() { need qemu-img qemu-io python3 sqlite3; qcaudit_setup; }
teardown() { qcaudit_teardown; }

OLD='30 days ago'   # when the base was last written: its snapshots are old from the first one on

# snapshot N: the next overlay, seen and audited by the daemon; the layer below froze six hours after the one before.
snapshot() {
    local parent=orders.qcow2
    [ "$1" = 1 ] || parent=orders.snap-$(($1 - 1)).qcow2
    touch -d "$OLD + $(($1 * 6)) hours" "$STORE/$parent"
    qemu-img create -q -f qcow2 -b "$parent" -F qcow2 "$DIR/new.qcow2" -u 4M
    mv "$DIR/new.qcow2" "$STORE/orders.snap-$1.qcow2"
    wait_for 20 knows "$1"
}

knows() { # N: the daemon does, with all layers below
    [ "$(ctl show --json=short "$STORE/orders.snap-$1.qcow2" | jq .unconsolidated)" = "$1" ]
}

# Without "eased", which is not told, and depends on how many files are seen to vanish at once.
events() { sqlite3 "$STATE/qcaudit.db" "SELECT type || ' ' || finding FROM event WHERE type != 'eased' ORDER BY seq"; }

@test "snapshots one by one: opened once, worsened once, resolved once" {
    make_image "$STORE/orders.qcow2"
    write_config 'thresholds: { chain-deep: { warning: 3, error: 8 }, snapshot-old: off, snapshot-runaway: off }'
    start_daemon
    wait_for 20 grep -q 'Pass complete' "$LOG"
    for ((i = 1; i <= 12; i++)); do snapshot "$i"; done
    same "chain-deep error orders.qcow2" "$(findings)"
    wait_for 20 grep -q "chain-deep: $STORE/orders.qcow2 has 8 unconsolidated" "$LOG"
    [ "$(grep -c 'chain-deep: ' "$LOG")" = 2 ]
    id=$(ctl findings --json=short | jq '.[0].id')
    ctl ack "$id" --reason="kept until Monday"
    snapshot 13
    [ "$(ctl findings --json=short --state acknowledged | jq '.[0].id')" = "$id" ]

    # Consolidated: the layers are gone.
    for ((i = 13; i >= 1; i--)); do rm "$STORE/orders.snap-$i.qcow2"; done
    wait_for 20 has_no_finding chain-deep
    stop_daemon
    same "opened chain-deep
worsened chain-deep
acknowledged chain-deep
resolved chain-deep" "$(events)"
    [ "$(grep -c 'chain-deep: ' "$LOG")" = 3 ]
}
