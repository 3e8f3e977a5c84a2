#!/usr/bin/env bash
# Phase 3: capture while the lab is used, then reports of traffic, connections and health.
#
#   monitoring/monitor.sh run      DURATION=30 seconds; sends requests itself if the lab has no other traffic
#                                  FORMAT=json or parquet: also write the tables of traffic in that format
#   monitoring/monitor.sh help
#
# Leaves in reports/: CSV files, PNGs, traffic_analysis_report.pdf, connection_report.pdf, health_report.pdf, and the
# capture itself in reports/captures.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"

DURATION=${DURATION:-30}
export REPORTS=${REPORTS:-$ROOT/reports}
HELPERS=() REPORTED=() CAPTURE=
# Files of the connection and health reports; monitoring.traffic removes its own old files.
WRITTEN=(connections.csv established_by_service.csv nat_translations.csv tracking_table.csv connection_report.{md,pdf}
  health.csv health_latency.png health_report.{md,pdf})
IDLE_PACKETS=20 # packets a second at the published node: the registry's checks alone

page() { (start_page "$@"); }

# Replaces the shell that calls it, so that $! after `start_page ... &` is the program itself. It ends with this script,
# even if that is killed.
start_page() {
  cd "$ROOT"
  exec setpriv --pdeathsig TERM "$VENV/bin/python" -m lab.as_command "$@" 9>&-
}

find_entry() { # sets ENTRY to the node that serves the published HTTP port, and URL
  local node
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} != - && ${RUNS[$node]} == nginx ]] || continue
    ENTRY=$node URL=http://$(entry_host "$node"):${PUBLISHES[$node]%%:*}
    return
  done
  return 1
}

packets_in() { ip -s -j link show dev "${PORT[$ENTRY]}" | jq '.[0].stats64.tx.packets'; }

is_used() { # 0 if more packets pass in a second than in an idle lab
  local before
  before=$(packets_in)
  read -rt 1 <> <(:) || :
  (($(packets_in) - before > IDLE_PACKETS))
}

generate_traffic() {
  if ! find_entry; then
    say "no published port found, so no traffic is generated; send some requests yourself"
  elif is_used; then
    say "the lab is in use, so no traffic is generated"
  else
    say "the lab is idle: sending requests to $URL"
    start_page monitoring.visit "$URL" "$DURATION" &
    HELPERS+=("$!")
  fi
}

end_helpers() { ((${#HELPERS[@]} == 0)) || kill "${HELPERS[@]}" 2>/dev/null || :; } # called after an error or a signal

remove_earlier_reports() {
  local name
  for name in "${WRITTEN[@]}"; do rm -f "$REPORTS/$name" "$REPORTS/.$name"; done # .NAME: an unfinished file
}

# A module that ended with an error may have written its report (an alarm is exit status 1), so look for the file.
check_report() { # MODULE STATUS FILE: add MODULE to REPORTED, or print the failure
  if [[ -s $REPORTS/$3 ]]; then
    REPORTED+=("$REPORTS/$3")
  else
    say "$SCRIPT: $1 failed (exit status $2): no $3"
    return 1
  fi
}

# The capture ends with this script, even if that is killed.
start_capture() {
  setpriv --pdeathsig TERM "$ROOT/monitoring/capture.sh" run &
  CAPTURE=$!
  defer end_capture
  retry_until 20 capture_began || die "tcpdump did not begin"
  ! process_ended "$CAPTURE" || wait "$CAPTURE" || die "the capture ended at once; the lines above have the reason"
}
capture_began() { process_ended "$CAPTURE" || "$ROOT/monitoring/capture.sh" status &>/dev/null; }
end_capture() {
  kill -TERM "$CAPTURE" 2>/dev/null || : # tcpdump has already ended
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
  is_duration "$DURATION" || die "DURATION=$DURATION is not a number of seconds from 1 to 99999"
  [[ ${FORMAT:=csv} =~ ^(csv|json|parquet)$ ]] || die "FORMAT=$FORMAT is not csv, json or parquet"
  export FORMAT
  load_topology
  need_lab
  export TOPOLOGY=$TABLE
  local failed=0 status=0 health files health_log=$REPORTS/health.csv
  mkdir -p "$REPORTS"
  remove_earlier_reports
  mark_watcher
  defer end_helpers
  start_capture
  generate_traffic
  start_page monitoring.health --every 2 --rounds $((DURATION / 2 + 1)) --csv "$health_log" --report "$REPORTS" \
    >/dev/null &
  health=$!
  HELPERS+=("$health")
  progress
  forget_undo
  defer end_helpers
  end_capture || failed=1
  page monitoring.connections --reports "$REPORTS" >/dev/null || status=$?
  check_report monitoring.connections "$status" connection_report.pdf || failed=1
  status=0
  wait "$health" || status=$?
  check_report monitoring.health "$status" health_report.pdf || failed=1
  wait "${HELPERS[@]}" || : # monitoring.visit prints how many were answered
  forget_undo
  mapfile -t files < <("$ROOT/monitoring/capture.sh" files)
  page monitoring.traffic --reports "$REPORTS" "${files[@]}" || failed=$?
  ((${#REPORTED[@]} == 0)) || say "also: ${REPORTED[*]}"
  return "$failed"
}

case ${1:-help} in
  run) run_monitor ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
