#!/usr/bin/env bash
# Chaos: a constant load while parts of the lab are killed, stopped, cut and starved, one at a time, at last
# all at random; then a report of what clients felt, how soon the lab noticed, and whether each order is
# there exactly once.
#
#   chaos/run.sh [run]   in a sandbox of its own; 200 GETs and 10 orders a second; about six minutes
#                        QUICK=1: one instance for each fault, about two minutes; SEED=2: other random kills
#   chaos/run.sh help
#
# Results: the table on the terminal, reports/chaos.csv, chaos_samples.csv, chaos_timeline.png,
# chaos_report.pdf. Exit 1 when a promise was broken.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/topology.sh"
# shellcheck source=chaos/faults.sh
source "$(dirname "${BASH_SOURCE[0]}")/faults.sh"

GETS=${GETS:-200} ORDERS=${ORDERS:-10}
CALM_SECONDS=8 HOLD_SECONDS=${QUICK:+2} SETTLE_SECONDS=${QUICK:+4}
HOLD_SECONDS=${HOLD_SECONDS:-4} SETTLE_SECONDS=${SETTLE_SECONDS:-8}
RANDOM_SECONDS=${QUICK:+10} RANDOM_SECONDS=${RANDOM_SECONDS:-60} SEED=${SEED:-1}
REPORTS=${REPORTS:-$ROOT/reports}
EVENTS=$REPORTS/chaos_events.csv SAMPLES=$REPORTS/chaos_samples.csv STORED=$REPORTS/chaos_orders.csv

event() { # begin|end FAULT NODE
  printf '%s,%s,%s,%s\n' "$EPOCHREALTIME" "$@" >>"$EVENTS"
  say "$(printf '%4d s  %-5s %-12s %s' "$SECONDS" "$@")"
}

pause() { read -rt "$1" <> <(:) || :; }

strike() { # FAULT NODE: begins it, holds it, ends it, and lets the lab settle
  event begin "$1" "$2"
  "begin_$1" "$2" >/dev/null
  pause "$HOLD_SECONDS"
  event end "$1" "$2"
  "end_$1" "$2" >/dev/null
  pause "$SETTLE_SECONDS"
}

all_faults() {
  local products fault node
  mapfile -t products < <(nodes_running product-service)
  [[ -z ${QUICK:-} ]] || products=("${products[1]:-${products[0]}}")
  for fault in killed stopped cut blackholed; do
    for node in "${products[@]}"; do strike "$fault" "$node"; done
  done
  for node in $(nodes_running redis) $(nodes_running postgres) $(nodes_running order-service); do strike killed "$node"; done
  strike worker_killed "$(nodes_running api-gateway | head -1)"
  for node in $(nodes_running service-registry) $(nodes_running nginx); do strike killed "$node"; done
  strike_all product-service
  strike_at_random "$RANDOM_SECONDS"
}

# Everything at random, one kill a second: what counts then is the ledger of orders.
strike_at_random() { # SECONDS
  local nodes end=$((SECONDS + $1))
  mapfile -t nodes < <(for node in "${NODES[@]}"; do [[ ${RUNS[$node]} == - ]] || echo "$node"; done)
  RANDOM=$SEED
  event begin random -
  while ((SECONDS < end)); do
    signal_all KILL "${nodes[RANDOM % ${#nodes[@]}]}"
    pause 1
  done
  event end random -
  pause "$SETTLE_SECONDS"
}

strike_all() { # PROGRAM; its end is when the first instance answers
  event begin all_stopped "$1"
  begin_all_stopped "$1" >/dev/null
  pause "$HOLD_SECONDS"
  end_all_stopped "$1" >/dev/null
  event end all_stopped "$1"
  pause "$SETTLE_SECONDS"
}

stored_orders() {
  local node
  node=$(nodes_running postgres | head -1)
  echo id,customer_id
  (cd / && setpriv --reuid postgres --regid postgres --clear-groups psql -XAt -F, -h "$STATE_DIR/nodes/$node" -p "${LISTENS[$node]%%/*}" -d orders \
    -c 'SELECT id, customer_id FROM orders ORDER BY id')
}

published() {
  local node
  node=$(nodes_running nginx | head -1)
  echo "http://127.0.0.1:${PUBLISHES[$node]%%:*}"
}

inside() {
  local load
  say "the lab comes up"
  "$ROOT/security/policy.sh" up >/dev/null
  "$ROOT/scripts/network.sh" up >/dev/null
  "$ROOT/scripts/nat.sh" up >/dev/null
  "$ROOT/scripts/services.sh" up &>/dev/null
  load_topology
  mkdir -p "$REPORTS"
  echo 'time,event,fault,node' >"$EVENTS"
  pause 6 # the gateway's first seconds, in which all are new to it
  "$VENV/bin/python" "$ROOT/chaos/load.py" --url "$(published)" --gets "$GETS" --orders "$ORDERS" --seconds 900 --out "$SAMPLES" &
  load=$!
  defer kill "$load" 2>/dev/null
  pause 1 # until it runs
  SECONDS=0
  event begin calm -
  pause "$CALM_SECONDS"
  event end calm -
  all_faults
  kill "$load"
  wait "$load" || :
  forget_undo
  stored_orders >"$STORED"
  "$VENV/bin/python" -m chaos.report --events "$EVENTS" --samples "$SAMPLES" --orders "$STORED" \
    --log "$STATE_DIR/log/$(nodes_running api-gateway | head -1).log" --reports "$REPORTS"
}

case ${1:-run} in
  run)
    "$ROOT/scripts/install.sh" up
    trap - EXIT
    cd "$ROOT"
    exec "$ROOT/scripts/sandbox.sh" run "$ROOT/chaos/run.sh" inside
    ;;
  inside) inside ;; # within its sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
