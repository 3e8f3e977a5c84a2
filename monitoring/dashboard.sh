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

DASHBOARD_PORT=${DASHBOARD_PORT:-8050}
PID_FILE=$RUN_DIR/dashboard.pid LOG=$STATE_DIR/log/dashboard.log

serve() { # OPTION...: gunicorn with one worker, because the counts are in its memory
  cd "$ROOT"
  exec "$VENV/bin/gunicorn" --bind "127.0.0.1:$DASHBOARD_PORT" --workers 1 --worker-class gthread --threads 8 \
    --timeout 60 --graceful-timeout 2 --no-control-socket --pid "$PID_FILE" "$@" 'monitoring.dashboard.app:serve()' 9>&-
}

prepare() {
  need_root
  need_tools tcpdump conntrack ss
  need_environment
  load_topology
  need_lab # do not export TOPOLOGY: when the lab changes its table, the page restarts with the new one
  install -d -m 711 "$RUN_DIR" "$STATE_DIR"
  install -d -m 700 "$STATE_DIR/log"
  [[ -z $(pid) ]] || die "the dashboard is already running (process $(pid)): http://localhost:$DASHBOARD_PORT"
  local holder
  holder=$(ss -Hltnp "sport = :$DASHBOARD_PORT" | sed -n 's/.*users:((\("[^"]*",pid=[0-9]*\).*/\1/p; q')
  [[ -z $holder ]] ||
    die "port $DASHBOARD_PORT is taken by $holder; end it, or use another port: DASHBOARD_PORT=8051"
}

pid() { # of the running dashboard
  local number
  number=$(cat "$PID_FILE" 2>/dev/null) || return 0
  ! grep -qa dashboard "/proc/$number/cmdline" 2>/dev/null || echo "$number"
}

answers() { curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$DASHBOARD_PORT/" 2>/dev/null; }

run_page() {
  prepare
  trap - EXIT
  say "http://localhost:$DASHBOARD_PORT   (Ctrl+C ends it)"
  serve --log-level warning
}

up() {
  prepare
  (serve --log-file "$LOG" --capture-output) &>/dev/null &
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
