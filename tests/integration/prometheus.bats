#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The metrics on their way: written by the daemon, read by a real node_exporter, scraped by a real Prometheus.
load lib

setup() {
    qcaudit_setup
    mkdir "$DIR/metrics" "$DIR/data"
    PROM=$DIR/metrics/qcauditd.prom
    write_config 'metrics:' "  file: $PROM"
    PIDS=()
}

teardown() {
    [ ${#PIDS[@]} = 0 ] || kill "${PIDS[@]}" 2>/dev/null || :
    [ ${#PIDS[@]} = 0 ] || wait "${PIDS[@]}" 2>/dev/null || :
    qcaudit_teardown
}

# free_port: one that nobody listens on, on this machine's own address.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
get() { python3 -c 'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())' "$1"; }
# value QUERY: the one value that Prometheus has for it.
value() {
    get "http://127.0.0.1:$PROMETHEUS/api/v1/query?query=$(jq -rn --arg q "$1" '$q | @uri')" |
        jq -re '.data.result | if length == 1 then .[0].value[1] else empty end'
}
value_is() { [ "$(value "$1")" = "$2" ]; }
in_file() { grep -qxF "$1" "$PROM"; }

@test "the file passes promtool, has no path in it, and ends with the daemon" {
    need promtool
    make_image "$STORE/good.qcow2"
    qemu-img create -q -f qcow2 -b good.qcow2 -F qcow2 "$STORE/overlay.qcow2"
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    leak_image "$STORE/good.qcow2" 3
    start_daemon
    scan
    wait_for 30 in_file 'qcaudit_images{datastore="store"} 3'
    wait_for 30 in_file 'qcaudit_findings{name="metadata-corrupt",severity="critical",state="open"} 1'
    run -0 promtool check metrics <"$PROM"
    [ -z "$output" ]
    in_file 'qcaudit_leaked_bytes 196608'
    in_file 'qcaudit_chain_depth_max_layers 2'
    in_file 'qcaudit_datastore_online{datastore="store"} 1'
    grep -qE '^qcaudit_last_pass_timestamp_seconds 1[0-9]{9}\.[0-9]{6}$' "$PROM"
    grep -qE '^qcaudit_read_bytes_total [1-9]' "$PROM"
    ! grep -F "$DIR" "$PROM" || return 1
    [ "$(ls -A "$DIR/metrics")" = qcauditd.prom ]
    stop_daemon
    [ -z "$(ls -A "$DIR/metrics")" ]
}

@test "without a word about them they are in the runtime folder, for those who may ask; off: nowhere" {
    need promtool
    make_image "$STORE/good.qcow2"
    PROM=$RUN/qcauditd.prom
    write_config
    start_daemon
    scan
    wait_for 30 in_file 'qcaudit_images{datastore="store"} 1'
    run -0 promtool check metrics <"$PROM"
    [ -z "$output" ]
    [ "$(stat -c %a "$PROM")" = 640 ]
    in_file 'qcaudit_coverage_ratio{datastore="store"} 1.000000'
    in_file 'qcaudit_findings_by_severity{severity="critical",state="muted"} 0'
    in_file 'qcaudit_alerts_failed_total{channel="exec"} 0'
    # what is paused is said to be
    ctl pause store --for=1h
    scan
    wait_for 90 in_file 'qcaudit_datastore_paused{datastore="store"} 1'
    in_file 'qcaudit_datastore_online{datastore="store"} 0'
    write_config 'metrics: {file: off}'
    kill -HUP "$DAEMON"
    wait_for 30 test ! -e "$PROM"
    ctl policy | grep -E '^metrics.file +off '
    write_config 'control: {public: yes}'
    kill -HUP "$DAEMON"
    wait_for 30 test -e "$PROM"
    [ "$(stat -c %a "$PROM")" = 644 ]
    # a file that is named is there for a collector
    write_config 'metrics:' "  file: $DIR/metrics/named.prom"
    kill -HUP "$DAEMON"
    wait_for 30 test -e "$DIR/metrics/named.prom"
    [ "$(stat -c %a "$DIR/metrics/named.prom")" = 644 ]
    [ ! -e "$PROM" ]
    stop_daemon
    [ -z "$(ls -A "$DIR/metrics")" ]
}

@test "bytes that a scrub read, and an alert that was sent, are counted" {
    make_image "$STORE/good.qcow2"
    start_daemon
    scan
    ctl scan --wait --scrub "$STORE/good.qcow2" >/dev/null || [ $? = 2 ]
    wait_for 90 in_file 'qcaudit_scrubs_total 1'
    grep -qE '^qcaudit_scrub_read_bytes_total [1-9]' "$PROM"
    in_file 'qcaudit_scrubs_running 0'
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    scan
    sent() { grep -qE '^qcaudit_alerts_sent_total\{channel="console"\} [1-9]' "$PROM"; }
    wait_for 90 sent
}

@test "a file that cannot be written is said once, and costs nothing else" {
    make_image "$STORE/good.qcow2"
    write_config 'metrics:' "  file: $DIR/none/qcauditd.prom"
    start_daemon
    scan
    scan
    [ "$(grep -c 'Cannot write the metrics' "$LOG")" = 1 ]
    # Configured elsewhere, it is written there at once.
    write_config 'metrics:' "  file: $PROM"
    kill -HUP "$DAEMON"
    wait_for 30 in_file 'qcaudit_images{datastore="store"} 1'
}

@test "Prometheus has them, through node_exporter" {
    need prometheus prometheus-node-exporter promtool jq python3
    make_image "$STORE/bad.qcow2"
    break_image "$STORE/bad.qcow2"
    start_daemon
    scan
    wait_for 30 in_file 'qcaudit_findings{name="metadata-corrupt",severity="critical",state="open"} 1'
    EXPORTER=$(free_port)
    prometheus-node-exporter --collector.disable-defaults --collector.textfile \
        --collector.textfile.directory="$DIR/metrics" --web.listen-address="127.0.0.1:$EXPORTER" \
        >"$DIR/exporter.log" 2>&1 3>&- 4>&- &
    PIDS+=($!)
    PROMETHEUS=$(free_port)
    cat >"$DIR/prometheus.yml" <<YAML
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [$top_srcdir/conf/prometheus-rules.yml]
scrape_configs: [{ job_name: node, static_configs: [{ targets: ['127.0.0.1:$EXPORTER'] }] }]
YAML
    promtool check config "$DIR/prometheus.yml"
    prometheus --config.file="$DIR/prometheus.yml" --storage.tsdb.path="$DIR/data" \
        --web.listen-address="127.0.0.1:$PROMETHEUS" >"$DIR/prometheus.log" 2>&1 3>&- 4>&- &
    PIDS+=($!)
    wait_for 60 value_is 'qcaudit_findings{name="metadata-corrupt", severity="critical", state="open"}' 1
    value_is 'sum(qcaudit_images)' 1
    value_is 'qcaudit_corruptions > 0' "$(sed -n 's/^qcaudit_corruptions //p' "$PROM")"
    value_is 'node_textfile_scrape_error' 0
    # The rules that are shipped work on it: the damage is an alert.
    wait_for 60 value_is 'count(ALERTS{alertname="QcauditFindingCritical", alertstate="firing"})' 1
    echo "scraped: $(value 'count({__name__=~"qcaudit_.*"})') series"
}
