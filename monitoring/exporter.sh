#!/usr/bin/env bash
# Phase 3.8: figures of the lab for Prometheus at http://localhost:9105/metrics, for this machine alone.
#
#   monitoring/exporter.sh run      in the foreground, until Ctrl+C
#   monitoring/exporter.sh help
#
# Then: prometheus --config.file=monitoring/prometheus/prometheus.yml
# and, in Grafana, import monitoring/prometheus/grafana-dashboard.json.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"
# shellcheck source=monitoring/page.sh
source "$ROOT/monitoring/page.sh"

run_exporter() {
  need_page conntrack ip iptables-save ebtables-save
  check_port 9105
  export TOPOLOGY=$TABLE
  mark_watcher
  trap - EXIT
  say "http://localhost:9105/metrics   (Ctrl+C ends it)"
  serve 9105 monitoring.exporter --log-level warning
}

case ${1:-help} in
  run) run_exporter ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
