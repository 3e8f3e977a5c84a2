#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Chaos: what is done to the lab is undone, also when the run is ended.

load helpers

# What a fault may change. Process ids do change.
STATE='
state() {
  local node
  for node in "${NODES[@]}"; do
    ip -o link show "${PORT[$node]}" | grep -o "state [A-Z]*" | sed "s/^/$node /"
    nsenter --net="/run/netns/${NAMESPACE[$node]}" -- iptables-save | grep "^-" | sed "s/^/$node /" || :
    [[ $(ip netns pids "${NAMESPACE[$node]}" | xargs -r ps -o stat= -p) != *T* ]] || echo "$node is frozen"
  done
  df --output=size -k "$STATE_DIR" | tail -1
  ls "$STATE_DIR"
  query_database postgres-db "SHOW default_transaction_read_only"
  pgrep -f "faults[.]chaos[.]peers" || :
  supervisor status | sed -E "s/^([^ ]+) +([A-Z]+).*/\1 \2/"
}
as_before() { state >/run/now 2>&1; cmp -s /run/before /run/now; }
'

@test "each fault is undone, and an undo may run twice" {
  sandboxed "$STATE"'
    source scripts/lib/topology.sh; source faults/chaos/faults.sh; source faults/chaos/lab.sh
    broken() { echo "broken: $*"; }
    start_lab
    state >/run/before
    SEED=1
    while read -r fault node _; do
      [[ $fault != calm ]] || continue
      echo "$fault $node"
      begin "$fault" "$node" &>/run/begin || { cat /run/begin; exit 1; }
      case $fault in
        cut | blackholed | one_way | disk_full | read_only | slow | dripping | endless | all_stopped) refute as_before ;;
      esac
      end "$fault" "$node" &>/run/end || { cat /run/end; exit 1; }
      end "$fault" "$node" &>/run/end || { cat /run/end; exit 1; }
      retry 30 as_before || { diff /run/before /run/now; exit 1; }
    done < <(.venv/bin/python -m faults.chaos.promises --quick '"$(cut -f1 "$ROOT/faults/chaos/faults.tsv" | grep -v '^#' | sed 1d | sort -u | paste -sd' ')"')
    forget_undo
  '
  succeeds
  says "flapping product-2"
  says "one_way order-service"
}

@test "a run that is ended takes its fault and its load away" {
  sandboxed "$STATE"'
    export REPORTS=/run/reports QUICK=1 GETS=20
    faults/chaos/run.sh inside one_way >/run/out 2>&1 & run=$!
    retry 90 grep -qs "begin,one_way" /run/reports/chaos_events.csv
    dropped() { nsenter --net=/run/netns/api-gateway -- iptables-save | grep -e "-A INPUT.*DROP" >/dev/null; }
    retry 5 dropped
    pgrep -f "faults[.]chaos[.]load" >/dev/null
    kill -TERM "$run"
    wait "$run" || :
    refute dropped
    retry 5 refute pgrep -f "faults[.]chaos[.]load"
  '
  succeeds
}

@test "a soak takes from 1 to 60 minutes; an unknown command or fault is refused" {
  local -A refusal=([0]='must be at least 1' [61]='must be at most 60' [ten]='must be a whole number')
  for minutes in "${!refusal[@]}"; do
    run -1 env MINUTES="$minutes" "$ROOT/faults/chaos/soak.sh"
    says "MINUTES=$minutes: ${refusal[$minutes]}"
  done
  for script in run soak; do
    run -2 "$ROOT/faults/chaos/$script.sh" nonsense
    says "faults/chaos/$script.sh"
  done
  run -1 "$ROOT/faults/chaos/run.sh" run nonsense
  says "has no fault nonsense"
}
