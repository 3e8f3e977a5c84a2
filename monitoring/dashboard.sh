#!/usr/bin/env bash
# Phase 3.7: a live map of the lab at http://localhost:8050, for this machine alone.
#
#   monitoring/dashboard.sh run      in the foreground, until Ctrl+C
#   monitoring/dashboard.sh up       in the background
#   monitoring/dashboard.sh down     stop it
#   monitoring/dashboard.sh status   whether it answers; 1 if not
#   monitoring/dashboard.sh help
#
# DASHBOARD_PORT=8051 uses another port. TERMINAL=1 adds a terminal: a root shell on the host or in a node, for anyone
# with the token of the printed URL. The page shows what tcpdump sees on the bridges, the drops that NFLOG reports,
# and each service's health, checked once a second.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"
# shellcheck source=monitoring/page.sh
source "$ROOT/monitoring/page.sh"

SWITCHES=(TERMINAL) && read_switches
DASHBOARD_PORT=${DASHBOARD_PORT:-8050}
PID_FILE=$RUN_DIR/dashboard.pid LOG=$STATE_DIR/log/dashboard.log
TOKEN_FILE=$RUN_DIR/dashboard.token # of this start; only root can read it
MAX_TERMINALS=4                     # as in monitoring/dashboard/terminal.py; each takes a thread

prepare() {
  need_page tcpdump conntrack # do not export TOPOLOGY: the page restarts when the lab gets another table
  install -d -m 711 "$RUN_DIR" "$STATE_DIR"
  install -d -m 700 "$STATE_DIR/log"
  [[ -z $(pid) ]] || die "the dashboard is already running (process $(pid)): $(url)"
  check_port "$DASHBOARD_PORT" ", or use another port: DASHBOARD_PORT=8051"
  rm -f "$TOKEN_FILE"
  [[ -z $TERMINAL ]] || make_token
}

make_token() {
  (umask 077 && "$VENV/bin/python" -c 'import secrets; print(secrets.token_urlsafe(32))' >"$TOKEN_FILE")
  export CNET_DASHBOARD_TOKEN=$TOKEN_FILE
}

# Print the page's URL. The token is in the fragment, which a browser does not send; other users cannot read the file.
# With it, the name is not localhost: a browser tries ::1 first, where any user may listen and would get the token.
url() {
  if [[ -r $TOKEN_FILE ]]; then
    echo "http://127.0.0.1:$DASHBOARD_PORT/#token=$(<"$TOKEN_FILE")"
  else echo "http://localhost:$DASHBOARD_PORT/"; fi
}

serve_page() { # OPTION...
  serve "$DASHBOARD_PORT" monitoring.dashboard.app --pid "$PID_FILE" ${TERMINAL:+--threads $((8 + MAX_TERMINALS))} "$@"
}

pid() { # print the dashboard's pid
  local number
  number=$(cat "$PID_FILE" 2>/dev/null) || return 0
  ! grep -qa dashboard "/proc/$number/cmdline" 2>/dev/null || echo "$number"
}

answers() { curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$DASHBOARD_PORT/" 2>/dev/null; }

run_page() {
  prepare
  trap - EXIT
  say "$(url)   (Ctrl+C ends it)"
  serve_page --log-level warning
}

up() {
  prepare
  (serve_page --log-file "$LOG" --capture-output) &>/dev/null &
  retry_until 20 answers || die "the dashboard does not answer; its log: $LOG"
  say "$(url)"
}

down() {
  need_root
  local number
  number=$(pid)
  [[ -n $number ]] || { say "the dashboard is not running" && return 0; }
  rm -f "$TOKEN_FILE"
  run kill -TERM "$number"
  retry_until 10 process_ended "$number" || die "process $number does not end; kill -9 $number"
}

status() {
  if answers; then echo "answers: $(url)"; else
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
