#!/usr/bin/env bash
# Measure the cost of each element of a packet's path: add one at a time, from loopback to the whole chain of services.
#
#   bench/hops/run.sh [run]    ROUNDS=12 rounds over all hops in shuffled order (SEED=1); QUICK=1: 3 short ones
#   bench/hops/run.sh help
#
#   client ---- server                   loopback, veth          one namespace; two, joined by a veth pair
#   client --+-- br --+-- server         bridge, br_netfilter, conntrack     the host's bridge between them
#   client ---- host --- br --- server   routed, dnat, rules-10, -100, -1000   the client is beyond the bridge
#   client ---- host --- br --- nginx --- [gateway ---] server    nginx, gateway; last the real product service
#
# Each hop has all the elements of the one before it and one more. For each turn it is created anew and then
# removed, so no hop inherits state. Each turn sends REQUESTS requests that open a connection and as many on a kept
# one, one at a time, after a warm-up. Client and servers share one CPU (CPU=0), so that the cost of waking
# another CPU is not measured. The server is nginx with one worker and a constant answer. The network's hops are
# measured in both families, in turn; the programs in IPv4.
# Result: a table, or JSON with --json (or JSON=1); reports/bench_hops.csv, reports/bench_hops.png (the median of a new
# connection), reports/bench_hops_all.png (all figures), reports/bench_hops_families.csv and .png (IPv6 against IPv4),
# and every latency in reports/bench_hops_raw.csv.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
# shellcheck source=bench/hops/path.sh
source "$ROOT/bench/hops/path.sh"
# shellcheck source=faults/chaos/lab.sh
source "$ROOT/faults/chaos/lab.sh"
# shellcheck source=bench/common/bench.sh
source "$ROOT/bench/common/bench.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

ROUNDS=${ROUNDS:-${QUICK:+3}} ROUNDS=${ROUNDS:-12}
REQUESTS=${REQUESTS:-${QUICK:+300}} REQUESTS=${REQUESTS:-1000}
SEED=${SEED:-1} CPU=${CPU:-0} REPORTS=${REPORTS:-$ROOT/reports}
WORK=$RUN_DIR/bench-hops
HOPS=(loopback veth bridge br_netfilter conntrack routed dnat rules-10 rules-100 rules-1000 nginx gateway product)
PROGRAMS=(nginx gateway product) # hops with programs in the path: slower, so they get a quarter of the requests

measure_hop() { # HOP ROUND
  local requests=$REQUESTS to
  HOP=$1
  [[ " ${PROGRAMS[*]} " != *" $HOP "* ]] || requests=$((REQUESTS / 4))
  build_path
  (($2 % 2)) || [[ -z ${TO[1]:-} ]] || TO=("${TO[1]}" "${TO[0]}") # the families take turns
  for to in "${TO[@]}"; do
    in_namespace "$FROM" "$VENV/bin/python" -m bench.hops.client "$2" "$HOP" "$to" "$requests" >>"$WORK/raw.csv" ||
      die "$HOP: the measurement failed"
  done
  ! has_element conntrack || rules_have_matched || die "$HOP: a rule on the path has matched no packet"
  remove_path
}

inside() {
  divert_text
  need_tools ip iptables-restore nginx curl redis-server taskset setpriv
  [[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]] || die "br_netfilter is not loaded; sudo modprobe br_netfilter"
  mkdir -p "$WORK" "$STATE_DIR"
  chmod 755 "$STATE_DIR"
  echo "REDIS_PASSWORD=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >"$STATE_DIR/secrets"
  echo round,hop,family,connection,requests,cpu_us_per_request,machine_us_per_request,latencies_us >"$WORK/raw.csv"
  taskset -pc "$CPU" "$$" >/dev/null
  cd "$ROOT"
  say "seed $SEED, $ROUNDS rounds, $REQUESTS requests a turn, all on CPU $CPU"
  in_turn "$ROUNDS" measure_hop "${HOPS[@]}"
  cp "$WORK/raw.csv" "$REPORTS/bench_hops_raw.csv"
  "$VENV/bin/python" -m lab.as_command bench.hops.report ${JSON:+--json} "$WORK/raw.csv" "$REPORTS" \
    "${HOPS[@]}" >&"$DOCUMENT"
}

check_settings() {
  need_number ROUNDS 2
  need_number REQUESTS 8
  need_number SEED 0
  taskset -c "$CPU" true 2>/dev/null || die "CPU=$CPU is neither a CPU of this machine nor a valid list for taskset"
  need_folder REPORTS
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-run} in
  run)
    check_settings
    export ROUNDS REQUESTS SEED CPU REPORTS
    run_in_sandbox dev "$ROOT/bench/hops/run.sh" inside ${JSON:+--json}
    ;;
  inside) inside ;; # internal: runs in the sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
