#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is shipped for Prometheus and Grafana: rules that hold, a dashboard of metrics that exist.
bats_require_minimum_version 1.5.0

need() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

# The names that metrics.c writes, as a reader of the file sees them.
names() {
    sed -nE 's/.*(head|number|seconds|histogram_write)\(stream, "([a-z_]+)".*/qcaudit_\2/p' "$top_srcdir/daemon/tell/metrics.c" | sort -u
}

# used FILE: the metrics a file names, parts of a histogram as the histogram.
used() { grep -oE 'qcaudit_[a-z_]+' "$1" | sed -E 's/_(bucket|sum|count)$//' | sort -u; }

@test "the rules hold" {
    need promtool
    run -0 promtool check rules "$top_srcdir/conf/prometheus-rules.yml"
    cp "$top_srcdir/conf/prometheus-rules.yml" "$top_srcdir/tests/cli/prometheus-rules-test.yml" "$BATS_TEST_TMPDIR"
    cd "$BATS_TEST_TMPDIR"
    promtool test rules prometheus-rules-test.yml
}

@test "every rule is tested" {
    sed -n 's/ *- alert: //p' "$top_srcdir/conf/prometheus-rules.yml" >"$BATS_TEST_TMPDIR/rules"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/rules")" -ge 10 ]
    while read -r rule; do
        grep -qw "$rule" "$top_srcdir/tests/cli/prometheus-rules-test.yml" || { echo "$rule"; return 1; }
    done <"$BATS_TEST_TMPDIR/rules"
}

@test "rules and dashboard name metrics that exist" {
    [ "$(names | wc -l)" -ge 30 ]
    comm -13 <(names) <(used "$top_srcdir/conf/prometheus-rules.yml") | tee "$BATS_TEST_TMPDIR/unknown"
    [ ! -s "$BATS_TEST_TMPDIR/unknown" ]
    comm -13 <(names) <(used "$top_srcdir/conf/grafana-dashboard.json" | grep -vx qcaudit_) | tee "$BATS_TEST_TMPDIR/unknown"
    [ ! -s "$BATS_TEST_TMPDIR/unknown" ]
}

@test "the dashboard is JSON, and every panel asks for something" {
    need jq
    [ "$(jq '.panels | length' "$top_srcdir/conf/grafana-dashboard.json")" -ge 10 ]
    [ "$(jq '[.panels[] | select(.type != "text") | select((.targets | length) == 0 or any(.targets[]; .expr == ""))] | length' \
        "$top_srcdir/conf/grafana-dashboard.json")" = 0 ]
    [ "$(jq '[.panels[].id] | length == (unique | length)' "$top_srcdir/conf/grafana-dashboard.json")" = true ]
}

@test "the dashboard has limits where rules have some, and says how to explain a finding" {
    need jq
    dashboard=$top_srcdir/conf/grafana-dashboard.json
    [ "$(jq '[.panels[] | select(.type == "stat" and (.title | test("findings|Errors|Warnings|Corruptions|layers"))) |
        select(.fieldConfig.defaults.thresholds.steps | length < 2)] | length' "$dashboard")" = 0 ]
    [ "$(jq '[.panels[] | select(.fieldConfig.defaults.thresholds)] | length' "$dashboard")" -ge 8 ]
    # each finding that the text names can be explained
    jq -r '.panels[] | select(.type == "text") | .options.content' "$dashboard" | sed -n 's/^ *qcauditctl explain \([a-z-]*\)$/\1/p' \
        >"$BATS_TEST_TMPDIR/named"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/named")" -ge 3 ]
    # shellcheck disable=SC2046
    qcauditctl explain $(cat "$BATS_TEST_TMPDIR/named") >/dev/null
}

@test "the dashboard's queries are PromQL" {
    need promtool
    need jq
    {
        echo 'groups: [{name: dashboard, rules: ['
        jq -r '.panels[].targets[]?.expr' "$top_srcdir/conf/grafana-dashboard.json" |
            sed -e 's/\$instance/.*/g' -e 's/\$__rate_interval/5m/g' | jq -R '{record: "x", expr: ., labels: {n: (input_line_number | tostring)}}' |
            jq -s -c '.[]' | sed 's/$/,/'
        echo ']}]'
    } >"$BATS_TEST_TMPDIR/dashboard.yml"
    run -0 promtool check rules "$BATS_TEST_TMPDIR/dashboard.yml"
    grep -q 'SUCCESS: [1-9]' <<<"$output"
}
