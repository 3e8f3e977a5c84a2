#!/usr/bin/env bash
# Phase 3.7: a live map of the lab at http://localhost:8050, for this machine alone.
#
#   monitoring/dashboard.sh run      in the foreground, until Ctrl+C
#   monitoring/dashboard.sh up       in the background
#   monitoring/dashboard.sh down     stop it
#   monitoring/dashboard.sh status   whether it answers; 1 if not
#   monitoring/dashboard.sh help
#
# DASHBOARD_PORT=8051 uses another port. The page shows what tcpdump sees on the bridges, the drops that NFLOG reports,
# and each service's health, checked once a second.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"
# shellcheck source=monitoring/page.sh
source "$ROOT/monitoring/page.sh"

DASHBOARD_PORT=${DASHBOARD_PORT:-8050}
PID_FILE=$RUN_DIR/dashboard.pid LOG=$STATE_DIR/log/dashboard.log

prepare() {
  need_page tcpdump conntrack # do not export TOPOLOGY: the page restarts when the lab gets another table
  install -d -m 711 "$RUN_DIR" "$STATE_DIR"
  install -d -m 700 "$STATE_DIR/log"
  [[ -z $(pid) ]] || die "the dashboard is already running (process $(pid)): http://localhost:$DASHBOARD_PORT"
  check_port "$DASHBOARD_PORT" ", or use another port: DASHBOARD_PORT=8051"
}

serve_page() { serve "$DASHBOARD_PORT" monitoring.dashboard.app --pid "$PID_FILE" "$@"; } # OPTION...

pid() { # print the dashboard's pid
  local number
  number=$(cat "$PID_FILE" 2>/dev/null) || return 0
  ! grep -qa dashboard "/proc/$number/cmdline" 2>/dev/null || echo "$number"
}

answers() { curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$DASHBOARD_PORT/" 2>/dev/null; }

run_page() {
  prepare
  trap - EXIT
  say "http://localhost:$DASHBOARD_PORT   (Ctrl+C ends it)"
  serve_page --log-level warning
}

up() {
  prepare
  (serve_page --log-file "$LOG" --capture-output) &>/dev/null &
  retry_until 20 answers || die "the dashboard does not answer; its log: $LOG"
  say "http://localhost:$DASHBOARD_PORT"
}

down() {
  need_root
  local number
  number=$(pid)
  [[ -n $number ]] || { say "the dashboard is not running" && return 0; }
  run kill -TERM "$number"
  retry_until 10 process_ended "$number" || die "process $number does not end; kill -9 $number"
}

status() {
  if answers; then echo "answers: http://localhost:$DASHBOARD_PORT"; else
    say "the dashboard is not running"
    return 1
  fi
}

mark_watcher
case ${1:-help} in
  run) run_page ;;
  up | down | status) "$1" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
