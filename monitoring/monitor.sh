#!/usr/bin/env bash
# Phase 3: capture while the lab is used, then reports of traffic, connections and health.
#
#   monitoring/monitor.sh run      DURATION=30 seconds; visits the lab itself when nobody else does
#                                  FORMAT=json or parquet: the tables of traffic in that format, too
#   monitoring/monitor.sh help
#
# Leaves in reports/: CSV files, PNGs, traffic_analysis_report.pdf, connection_report.pdf, health_report.pdf, and the
# capture itself in reports/captures.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/topology.sh"
# shellcheck source=scripts/watchers.sh
source "$ROOT/scripts/watchers.sh"

DURATION=${DURATION:-30}
export REPORTS=${REPORTS:-$ROOT/reports}
HELPERS=() CAPTURE=
NOT_USED=20 # packets a second at the way in: the registry's checks alone

page() { (cd "$ROOT" && exec "$VENV/bin/python" -m scripts.as_command "$@" 9>&-); }

way_in() { # sets WAY_IN to the node that serves the published HTTP port, and URL
  local node
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} != - && ${RUNS[$node]} == nginx ]] || continue
    WAY_IN=$node URL=http://localhost:${PUBLISHES[$node]%%:*}
    return
  done
  return 1
}

packets_in() { ip -s -j link show dev "${PORT[$WAY_IN]}" | jq '.[0].stats64.tx.packets'; }

is_used() { # whether there are more packets than without customers, in a second
  local before
  before=$(packets_in)
  read -rt 1 <> <(:) || :
  (($(packets_in) - before > NOT_USED))
}

visit() {
  if ! way_in; then
    say "no nginx publishes a port: use the lab yourself meanwhile"
  elif is_used; then
    say "the lab is in use: no visits of our own"
  else
    say "nobody uses the lab: visiting $URL"
    page monitoring.visit "$URL" "$DURATION" &
    HELPERS+=("$!")
  fi
}

end_helpers() { kill "${HELPERS[@]}" 2>/dev/null || :; } # those that an interrupt leaves behind

# The capture ends with this script, even if that is killed.
start_capture() {
  setpriv --pdeathsig TERM "$ROOT/monitoring/capture.sh" run &
  CAPTURE=$!
  defer end_capture
  retry_until 20 capture_began || die "tcpdump did not begin"
  ! gone "$CAPTURE" || wait "$CAPTURE" || die "the capture ended at once; the lines above say why"
}
capture_began() { gone "$CAPTURE" || "$ROOT/monitoring/capture.sh" status &>/dev/null; }
end_capture() {
  kill -TERM "$CAPTURE" 2>/dev/null || : # it has ended by itself
  wait "$CAPTURE"
}

progress() {
  local second
  for ((second = 0; second < DURATION; second++)); do
    [[ ! -t 2 ]] || printf '\rcapturing: %d of %d s ' "$second" "$DURATION" >&2
    read -rt 1 <> <(:) || :
  done
  [[ ! -t 2 ]] || printf '\r\e[K' >&2
}

run_monitor() {
  need_root
  need_environment
  [[ $DURATION =~ ^[1-9][0-9]{0,4}$ ]] || die "DURATION=$DURATION is no number of seconds from 1 to 99999"
  [[ ${FORMAT:=csv} =~ ^(csv|json|parquet)$ ]] || die "FORMAT=$FORMAT is none of csv, json, parquet"
  export FORMAT
  load_topology
  need_lab
  export TOPOLOGY=$TABLE
  local dropped=0 health_log=$REPORTS/health.csv files
  mkdir -p "$REPORTS"
  rm -f "$health_log"
  mark_watcher
  start_capture
  defer end_helpers
  visit
  page monitoring.health --every 2 --rounds $((DURATION / 2 + 1)) --csv "$health_log" --report "$REPORTS" >/dev/null &
  HELPERS+=("$!")
  progress
  page monitoring.connections --reports "$REPORTS" >/dev/null || :
  wait "${HELPERS[@]}" || :
  forget_undo
  end_capture || dropped=1
  mapfile -t files < <("$ROOT/monitoring/capture.sh" files)
  page monitoring.traffic --reports "$REPORTS" "${files[@]}"
  say "also: $REPORTS/connection_report.pdf and $REPORTS/health_report.pdf"
  return "$dropped"
}

case ${1:-help} in
  run) run_monitor ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
