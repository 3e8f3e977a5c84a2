#!/usr/bin/env bash
# Chaos: a constant load while parts of the lab are killed, frozen, cut off, replaced by hostile peers or left
# without disk space, one at a time, finally at random. The report has the failures that clients saw, the time until the
# lab noticed, and whether each order is stored exactly once. faults.tsv lists the faults and their promises.
#
#   faults/chaos/run.sh [run]           in a sandbox of its own; 200 GETs and 10 orders a second; about eight minutes
#                                QUICK=1: one instance for each fault, under three minutes; SEED=2: other random kills
#   faults/chaos/run.sh run FAULT...    only these faults, each on one node
#   faults/chaos/run.sh help
#
# Results: the table on the terminal, reports/chaos.csv, chaos_samples.csv, chaos_timeline.png,
# chaos_report.pdf. Exit 1 when a promise was broken.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/topology.sh"
# shellcheck source=faults/chaos/faults.sh
source "$ROOT/faults/chaos/faults.sh"
# shellcheck source=faults/chaos/lab.sh
source "$ROOT/faults/chaos/lab.sh"

GETS=${GETS:-200} ORDERS=${ORDERS:-10}
SETTLE_SECONDS=${QUICK:+4} SETTLE_SECONDS=${SETTLE_SECONDS:-8}
LAST_SECONDS=8
SEED=${SEED:-1}
REPORTS=${REPORTS:-$ROOT/reports}
EVENTS=$REPORTS/chaos_events.csv SAMPLES=$REPORTS/chaos_samples.csv STORED=$REPORTS/chaos_orders.csv

event() { # begin|end|broken FAULT NODE [TEXT]
  local text=${4:-}
  printf '%s,%s,%s,%s,"%s"\n' "$EPOCHREALTIME" "$1" "$2" "$3" "${text//\"/\"\"}" >>"$EVENTS"
  say "$(printf '%4d s  %-6s %-21s %s %s' "$SECONDS" "$1" "$2" "$3" "$text")"
}
broken() { event broken "$FAULT" "$NODE" "$1"; } # a promise that the samples cannot show

run_fault() { # FAULT NODE SECONDS: begin the fault, wait, end it, wait until the lab settles
  local FAULT=$1 NODE=$2 before
  before=$(processes_beside "$2")
  prepare "$1" "$2"
  event begin "$1" "$2"
  defer end "$1" "$2"
  begin "$1" "$2" >/dev/null
  pause "$3"
  end "$1" "$2" >/dev/null
  unset 'UNDO[-1]'
  event end "$1" "$2"
  pause "$SETTLE_SECONDS"
  [[ $1 == random ]] || report_ended_processes "$before"
}

# NODE PID of each process of other nodes. PostgreSQL's server processes for connections come and go; one that is new
# does not have its own title yet.
processes_beside() { # NODE|PROGRAM|-
  local node
  for node in "${NODES[@]}"; do
    [[ ${RUNS[$node]} != - && ${RUNS[$node]} != "$1" && ${NAMESPACE[$node]} != "${NAMESPACE[$1]:-}" ]] || continue
    { pids_of "$node" | xargs -r ps -o pid=,etimes=,args= -p || :; } |
      awk -v node="$node" '$2 >= 2 && $3 != "postgres:" { print node, $1 }'
  done
}

report_ended_processes() { # BEFORE
  local node pid count
  while read -r count node; do
    [[ -z $node ]] || broken "$count processes of $node ended"
  done < <(while read -r node pid; do [[ -z $pid ]] || ! process_ended "$pid" || echo "$node"; done <<<"$1" | uniq -c)
}

plan() { (cd "$ROOT" && python3 -m faults.chaos.promises ${QUICK:+--quick} "$@"); } # [FAULT...]

all_faults() { # [FAULT...]
  local lines fault node seconds
  lines=$(plan "$@")
  while read -r fault node seconds <&3; do run_fault "$fault" "$node" "$seconds"; done 3<<<"$lines"
}

stored_orders() {
  echo id,customer_id
  query_database "$(first_running postgres)" 'SELECT id, customer_id FROM orders ORDER BY id'
}

start_load() {
  local registry
  registry=$(first_running service-registry)
  "$VENV/bin/python" -m faults.chaos.load --url "$(published)" --resolver "${ADDRESS[${registry:-none}]%/*}" \
    --gets "$GETS" --orders "$ORDERS" --reads 5 --mistakes 5 --names 5 --seconds 900 --out "$SAMPLES" &
  LOAD=$!
  defer kill "$LOAD"
}

# The whole log of the gateway: of its own file, the supervisor keeps the last 30 MB only.
keep_log() {
  GATEWAY_LOG=$(mktemp)
  defer rm "$GATEWAY_LOG"
  tail -n +1 -F "$STATE_DIR/log/$(first_running api-gateway).log" >"$GATEWAY_LOG" 2>/dev/null &
  defer kill $!
}

inside() { # [FAULT...]
  local offset
  start_lab
  mkdir -p "$REPORTS"
  echo 'time,event,fault,node,text' >"$EVENTS"
  cd "$ROOT"
  keep_log
  offset=$(clock_offset)
  start_load
  pause 2 # wait until the load runs
  SECONDS=0
  all_faults "$@"
  pause $((LAST_SECONDS - SETTLE_SECONDS))
  kill "$LOAD"
  wait "$LOAD" || :
  unset 'UNDO[-1]'
  stored_orders >"$STORED"
  need_same_clock "$offset" # the load uses the monotonic clock, faults and logs the time of day
  "$VENV/bin/python" -m faults.chaos.report --events "$EVENTS" --samples "$SAMPLES" --orders "$STORED" \
    --log "$GATEWAY_LOG" --reports "$REPORTS"
}

case ${1:-run} in
  run)
    plan "${@:2}" >/dev/null # an unknown fault is refused before the lab comes up
    run_in_sandbox up "$ROOT/faults/chaos/run.sh" inside "${@:2}"
    ;;
  inside) inside "${@:2}" ;; # internal: runs in the sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
