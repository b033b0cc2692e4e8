#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# How a chain, an overlay and a datastore grow, and when they reach their limits, by a record that is known.
bats_require_minimum_version 1.5.0
load lib

setup() {
    need qemu-img jq python3 sqlite3
    qcaudit_setup
    export LC_ALL=C.UTF-8 TZ=UTC
    cd "$DIR" || return 1
}
teardown() { qcaudit_teardown; }

offline() { timeout 60 qcauditctl --offline --state-directory "$STATE" --no-pager "$@" </dev/null; }
day_of() { date -u -d "@$1" +%Y-%m-%d; }

# The schema describes it all; without python3-jsonschema, tests/cli/schema.bats is skipped, too.
fits() {
    ! python3 -c 'import jsonschema; jsonschema.Draft202012Validator' 2>/dev/null ||
        python3 -B "$top_srcdir/tests/cli/schema.py" "$top_srcdir/conf/schema" history <<<"$output"
}

# record IMAGE DEPTH ALLOCATED N STEP: audits of the image before the last one, which is of NOW: N in all, STEP seconds
# apart. Both figures are expressions of i, the last one's i is N - 1.
record() {
    python3 -B - "$STATE/qcaudit.db" "$1" "$2" "$3" "$4" "$5" "$NOW" <<'PY'
import sqlite3, sys
file, path, depth, allocated, n, step, now = sys.argv[1:]
n, step, now = int(n), int(step), int(now)
database = sqlite3.connect(file)
names = [row[1] for row in database.execute("PRAGMA table_info(audit)") if row[1] != "id"]
(image, last), = database.execute("SELECT id, audit FROM image WHERE path = CAST(? AS BLOB)", (path,))
database.execute("DELETE FROM audit WHERE image = ? AND id <> ?", (image, last))
(newest,), = database.execute("SELECT max(id) FROM audit")
shown = ", ".join(f'"{name}"' for name in names)
for i in range(n):
    new = newest + 1 + i
    database.execute(f"INSERT INTO audit (id, {shown}) SELECT {new}, {shown} FROM audit WHERE id = {last}")
    at = (now - (n - 1 - i) * step) * 1000000
    database.execute("UPDATE audit SET started = ?, finished = ?, depth = ?, allocated = ? WHERE id = ?",
                     (at, at, eval(depth), eval(allocated), new))
database.execute("UPDATE report SET audit = ? WHERE audit = ?", (newest + n, last))
database.execute("UPDATE image SET audit = ?, audit_before = NULL WHERE id = ?", (newest + n, image))
database.execute("DELETE FROM audit WHERE id = ?", (last,))
database.commit()
PY
}

# space NAME SIZE AVAILABLE N STEP: likewise of a datastore.
space() {
    python3 -B - "$STATE/qcaudit.db" "$1" "$2" "$3" "$4" "$5" "$NOW" <<'PY'
import sqlite3, sys
file, name, size, available, n, step, now = sys.argv[1:]
n, step, now = int(n), int(step), int(now)
database = sqlite3.connect(file)
database.execute("DELETE FROM space")
for i in range(n):
    database.execute("INSERT INTO space (datastore, at, size, available) VALUES (?, ?, ?, ?)",
                     (name, (now - (n - 1 - i) * step) * 1000000, eval(size), eval(available)))
database.commit()
PY
}

seen() { [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM space')" -ge 1 ]; }

# A disk, audited once, and a daemon that does not run.
prepare() {
    write_config 'thresholds: {chain-limit: {layers: 30}}'
    make_image "$STORE/disk.qcow2"
    start_daemon
    scan
    wait_for 20 seen
    NAME=$(ctl status --json=short | jq -r '.datastores[0].name')
    stop_daemon
    NOW=$(date +%s)
}

@test "an overlay's growth, and what is none" {
    prepare
    record "$STORE/disk.qcow2" 1 '(7 << 30) + i * (9 << 30) // 20' 34 $((9 * 3600))
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated
    [ "${lines[-1]}" = "Grew by 1.2G per day (95 %: 1.2G to 1.2G), from 34 points in 12 days." ]
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated --json=short
    fits
    jq -e --argjson now "$NOW" '.forecast | .trend == "grows" and (."per-day" / 1073741824 * 1000 | round) == 1200
        and .points == 34 and .to == $now * 1000000 and .from == ($now - 33 * 9 * 3600) * 1000000
        and (has("limit") or has("when") | not)' <<<"$output"
    # a part of it
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated --since="@$((NOW - 10 * 9 * 3600))" --json=short
    [ "$(jq .forecast.points <<<"$output")" = 11 ]
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated --until="@$((NOW - 10 * 9 * 3600))" --json=short
    [ "$(jq .forecast.points <<<"$output")" = 24 ]
    # lists, sentences and other figures have none
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated --output=csv
    [ "${#lines[@]}" = 35 ]
    run -0 offline history "$STORE/disk.qcow2" --crossed=allocated=8G
    [ "${#lines[@]}" = 1 ]
    run -0 offline history "$STORE/disk.qcow2" --metric=leaks --json=short
    jq -e 'has("forecast") | not' <<<"$output"
    # it shrinks, stays, stopped
    record "$STORE/disk.qcow2" 1 '(100 << 30) - (i << 30)' 20 86400
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated
    [ "${lines[-1]}" = "Shrank by 1G per day (95 %: 1G to 1G), from 20 points in 19 days." ]
    record "$STORE/disk.qcow2" 1 '5 << 30' 20 86400
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated
    [ "${lines[-1]}" = "Neither grew nor shrank steadily, from 20 points in 19 days." ]
    record "$STORE/disk.qcow2" 1 'min(i, 10) << 30' 20 86400
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated
    [[ ${lines[-1]} == "Grew by "*" per day (95 %: "*"), now faster, now slower, from 20 points in 19 days: no forecast." ]]
    # it was committed
    record "$STORE/disk.qcow2" 1 '((i + 10 if i < 10 else i - 9) << 30)' 20 86400
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated
    [ "${lines[-1]}" = "Grew by 1G per day (95 %: 1G to 1G), from 10 points in 9 days, since it last fell." ]
    # too few
    record "$STORE/disk.qcow2" 1 'i << 30' 4 86400
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated
    [[ $output != *"per day"* && $output != *Neither* ]]
    run -0 offline history "$STORE/disk.qcow2" --metric=allocated --json=short
    jq -e 'has("forecast") | not' <<<"$output"
}

@test "the day a chain reaches its limit" {
    prepare
    # a layer each day, 20 now; the limit of the configuration is 30
    record "$STORE/disk.qcow2" 'i + 1' '1 << 20' 20 86400
    # without a daemon, the limit is not known
    run -0 offline history "$STORE/disk.qcow2" --metric=depth
    [ "${lines[-1]}" = "Grew by 1 layer per day (95 %: 1 to 1), from 20 points in 19 days." ]
    start_daemon
    run -0 ctl history "$STORE/disk.qcow2" --metric=depth --until="@$NOW" --json=short
    [ "$(jq -c '[.samples[].value]' <<<"$output")" = "[$(seq -s, 20)]" ]
    jq -e '.forecast | .trend == "grows" and (has("when") or has("limit") | not)' <<<"$output"
    run -0 ctl history "$STORE/disk.qcow2" --metric=depth --json=short
    fits
    [ "$(jq '.last' <<<"$output")" = 20 ]       # it was not audited again
    jq -e --argjson now "$NOW" '.forecast | .limit == 30 and ."per-day" == 1 and .when == ($now + 10 * 86400) * 1000000
        and .earliest == .when and .latest == .when and .horizon == ($now + 4 * 19 * 86400) * 1000000' <<<"$output"
    run -0 ctl history "$STORE/disk.qcow2" --metric=depth
    [ "${lines[-1]}" = "At this rate the chain reaches its limit of 30 layers around $(day_of $((NOW + 10 * 86400)))." ]
    stop_daemon
    # the default limit is beyond what nineteen days tell of
    write_config
    start_daemon
    run -0 ctl history "$STORE/disk.qcow2" --metric=depth
    [ "${lines[-1]}" = "At this rate the chain does not reach its limit of 200 layers before $(day_of $((NOW + 4 * 19 * 86400)))." ]
    stop_daemon
    # not as regular
    write_config 'thresholds: {chain-limit: {layers: 30}}'
    record "$STORE/disk.qcow2" '[1, 3, 3, 3, 5, 7, 7, 8, 8, 8, 9, 12, 12, 13, 13, 16, 18, 18, 18, 18][i]' '1 << 20' 20 86400
    start_daemon
    run -0 ctl history "$STORE/disk.qcow2" --metric=depth --json=short
    # 0.941 a day (0.8333 to 1), computed elsewhere; it is 18 since three days
    jq -e --argjson now "$NOW" '.forecast | def days: . / 1000000 - $now | . / 86400 * 1000 | round;
        [."per-day", ."per-day-low", ."per-day-high"] == [0.940972, 0.833333, 1] and (.when | days) == 9753
        and (.earliest | days) == 9000 and (.latest | days) == 11400' <<<"$output" || { jq .forecast <<<"$output"; return 1; }
    run -0 ctl history "$STORE/disk.qcow2" --metric=depth
    [ "${lines[-2]}" = "Grew by 0.94 layers per day (95 %: 0.83 to 1), from 20 points in 19 days." ]
    [ "${lines[-1]}" = "At this rate the chain reaches its limit of 30 layers around $(day_of $((NOW + 9753 * 86400 / 1000))) (between $(day_of $((NOW + 9 * 86400))) and $(day_of $((NOW + 11400 * 86400 / 1000))))." ]
    stop_daemon
    # the limit is reached, or was it lately consolidated: nothing is said of a day
    record "$STORE/disk.qcow2" 'i + 11' '1 << 20' 20 86400
    start_daemon
    run -0 ctl history "$STORE/disk.qcow2" --metric=depth
    [[ $output != *"At this rate"* && $output == *"Grew by 1 layer per day"* ]]
    stop_daemon
    record "$STORE/disk.qcow2" 'i + 1 if i < 17 else i - 15' '1 << 20' 20 86400
    run -0 offline history "$STORE/disk.qcow2" --metric=depth
    [[ $output != *"per day"* && $output != *Neither* ]]
    # not audited for longer than it was seen to grow
    write_config '  audit: 1000d' 'thresholds: {chain-limit: {layers: 30}}'
    NOW=$((NOW - 20 * 86400))
    record "$STORE/disk.qcow2" 'i + 1' '1 << 20' 20 86400
    start_daemon
    run -0 ctl history "$STORE/disk.qcow2" --metric=depth
    [[ $output != *"At this rate"* && $output == *"Grew by 1 layer per day"* ]]
}

@test "the day the space of a datastore ends" {
    prepare
    # what the daemon saw of it, once an hour
    [ "$(sqlite3 "$STATE/qcaudit.db" 'SELECT count(*) FROM space')" -le 2 ]
    [ "$(sqlite3 "$STATE/qcaudit.db" "SELECT count(*) FROM space WHERE datastore = '$NAME' AND size > 0 AND available <= size")" -ge 1 ]
    # 100 GiB, of which 10 are in use, and 2 more each day: 58 after 24 days, full after 21 more
    space "$NAME" '100 << 30' '(90 << 30) - (i << 30) // 12' $((24 * 24 + 1)) 3600
    run -0 offline history --datastore="$NAME"
    [[ ${lines[0]} == "used of $NAME, 577 values" && $output == *"last    58G, at "* ]]
    [[ $output == *"The record of this datastore begins at "* ]]
    [[ ${lines[-2]} == "Grew by 2G per day (95 %: "*"), from 200 points in 2"[34]" days." ]]
    [[ ${lines[-1]} == "At this rate the space ends around $(day_of $((NOW + 21 * 86400)))"* ]]
    run -0 offline history --datastore="$NAME" --metric=used --json=pretty
    fits
    jq -e --arg name "$NAME" --argjson now "$NOW" '.datastore == $name and .metric == "used" and .first == 10737418240
        and (.samples | length) == 577 and (.samples[0] | has("path") | not)
        and (.forecast | .limit == 107374182400 and (.when / 1000000 - $now - 21 * 86400 | fabs) < 3600)' <<<"$output"
    run -0 offline history --datastore="$NAME" --output=csv
    [ "${#lines[@]}" = 578 ]
    [[ ${lines[0],,} == *,value* ]]
    run -0 offline history --datastore="$NAME" --crossed=used=20G
    [[ $output == "The datastore first reached 20G in use at "*"; the last look, at "*", found 58G." ]]
    # somebody cleared half of it, and it went on: what is known since then is asked for by --since
    space "$NAME" '100 << 30' '(10 << 30) + ((20 - i if i < 20 else 80 - i) << 30)' 40 86400
    run -0 offline history --datastore="$NAME" --since="@$((NOW - 19 * 86400))"
    [ "${lines[-2]}" = "Grew by 1G per day (95 %: 1G to 1G), from 20 points in 19 days." ]
    [ "${lines[-1]}" = "At this rate the space ends around $(day_of $((NOW + 51 * 86400)))." ]
    # it fills and is cleared each day: no trend
    space "$NAME" '100 << 30' '(50 << 30) - ((i % 24) << 30)' $((24 * 10)) 3600
    run -0 offline history --datastore="$NAME"
    [[ ${lines[-1]} == "Neither grew nor shrank steadily, from "*" points in 9 days." ]]
    # of another datastore, and what does not go together
    run -1 offline history --datastore=nowhere
    [[ $output == *"Nothing is known of the space of a datastore nowhere."* ]]
    run -1 offline history --datastore="$NAME" --metric=depth
    run -1 offline history --datastore="$NAME" disk.qcow2
    run -1 offline history --metric=used disk.qcow2
    # the same from the daemon, which goes on with it
    space "$NAME" '100 << 30' '(90 << 30) - (i << 30) // 12' $((24 * 24 + 1)) 3600
    sqlite3 "$STATE/qcaudit.db" "UPDATE space SET at = at - 7200000000"
    start_daemon
    scan
    added() { [ "$(ctl history --datastore="$NAME" --json=short | jq '.samples | length')" = 578 ]; }
    wait_for 30 added
    run -0 ctl history --datastore="$NAME" --until="@$((NOW - 3600))" --json=short
    [ "$(jq '.samples | length' <<<"$output")" = 577 ]
    jq -e '.forecast | .trend == "grows" and (has("when") | not)' <<<"$output"
}
