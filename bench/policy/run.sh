#!/usr/bin/env bash
# Measure the cost of a policy: to apply, and on the path of each new connection. In one sandbox, in turns.
#
#   bench/policy/run.sh [run]    ROUNDS=5 rounds of REQUESTS=5000 connections, 10 at a time; QUICK=1 for 2 of 2000
#   bench/policy/run.sh help
#
# Apply: policies of 16 (the shipped one), 100 and 1,000 lines. `up` is the whole command, from nothing; `restore`
# the one transaction in it, iptables-restore of its table, into an empty namespace.
# Path: one nginx, each request a new connection (the policy's rules apply to its first packet only); no policy
# against 10, 100 and 1,000 lines before the one that allows it, all for the same destination: the worst case, one
# chain from end to end. Two remedies: `spread` has 1,000 lines for nine destinations, each with its own chain
# CNET-TO-*; `ports` the same 1,000 ports in one line, a multiport match for each seven (an ipset would be one).
# Result: a table, or JSON with --json (or JSON=1), and reports/bench_policy.csv.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/topology.sh"
# shellcheck source=faults/chaos/lab.sh
source "$ROOT/faults/chaos/lab.sh"
# shellcheck source=bench/common/bench.sh
source "$ROOT/bench/common/bench.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

ROUNDS=${ROUNDS:-${QUICK:+2}} ROUNDS=${ROUNDS:-5}
REQUESTS=${REQUESTS:-${QUICK:+2000}} REQUESTS=${REQUESTS:-5000}
export ROUNDS REQUESTS
WORK=$RUN_DIR/bench-policy FROM=api-gateway TO=nginx-lb FIRST_PORT=10000
CONTENDERS=(none 10 100 1000 spread ports)
HEAD=$'id\tfrom\tto\tprotocol\tport\trate\tverdict\treason'

line() { printf '%s\t%s\t%s\ttcp\t%s\t-\taccept\ta line of the benchmark\n' "$@"; } # ID FROM TO PORT

write_policies() {
  local count n
  mkdir -p "$WORK"
  cp "$ROOT/security/flat.tsv" "$WORK/16.tsv"
  for count in 10 100 1000; do
    {
      echo "$HEAD"
      for ((n = 1; n < count; n++)); do line "l$n" "$FROM" "$TO" "$((FIRST_PORT + n))"; done
      line last "$FROM" "$TO" 80
    } >"$WORK/$count.tsv"
  done
  {
    echo "$HEAD"
    for ((n = 0; n < 999; n++)); do
      line "l$n" "$FROM,service-registry" "${NODES[n % ${#NODES[@]}]}" "$((FIRST_PORT + n))"
    done
    line last "$FROM" "$TO" 80
  } >"$WORK/spread.tsv"
  {
    echo "$HEAD"
    line ports "$FROM" "$TO" "$(seq -s, "$FIRST_PORT" 2 "$((FIRST_PORT + 1996))"),80"
  } >"$WORK/ports.tsv"
}

milliseconds() { # COMMAND...
  local begin=${EPOCHREALTIME/./}
  "$@" >/dev/null
  echo $(((${EPOCHREALTIME/./} - begin) / 1000))
}

policy() { "$ROOT/security/policy.sh" "$@" >/dev/null; }
with_policy() { POLICY=$1 policy up; } # TABLE

measure_apply() { # LINES ROUND
  local table=$WORK/$1.tsv
  policy down
  record apply "$1" "$2" up_ms "$(milliseconds with_policy "$table")"
  record apply "$1" "$2" again_ms "$(milliseconds with_policy "$table")"
  iptables-save -t security >"$WORK/rules"
  record apply "$1" "$2" restore_ms "$(milliseconds unshare --net -- iptables-restore --noflush "$WORK/rules")"
}

record() { printf '%s,%s,%s,%s,%s\n' "$@" >>"$WORK/results.csv"; } # WHAT CONTENDER ROUND UNIT VALUE

in_client() { nsenter --net="/run/netns/${NAMESPACE[$FROM]}" -- "$@"; }

measure_path() { # CONTENDER ROUND
  local result
  if [[ $1 == none ]]; then policy down; else with_policy "$WORK/$1.tsv"; fi
  result=$(in_client ab -l -q -n "$REQUESTS" -c 10 "http://$SERVER/" 2>&1)
  grep -q '^Failed requests: *0$' <<<"$result" || die "$1: $(grep -E 'Failed|apr_' <<<"$result")"
  record path "$1" "$2" per_second "$(awk '/^Requests per second/ { print $4 }' <<<"$result")"
  record path "$1" "$2" mean_ms "$(awk '/^Time per request.*\(mean\)/ { print $4 }' <<<"$result")"
  record path "$1" "$2" p99_ms "$(awk '$1 == "99%" { print $2 }' <<<"$result")"
}

inside() {
  divert_text
  local offset report=$ROOT/reports/bench_policy.csv
  offset=$(clock_offset)
  load_topology
  SERVER=${ADDRESS[$TO]%/*}:80
  write_policies
  : >"$WORK/results.csv"
  "$ROOT/scripts/network.sh" up >/dev/null
  "$ROOT/scripts/nat.sh" up >/dev/null
  in_turn "$ROUNDS" measure_apply 16 100 1000
  start_constant_server "${NAMESPACE[$TO]}" ok "$SERVER"
  defer kill "$!"
  retry_until 10 in_client curl -fsS -m 1 -o /dev/null "http://$SERVER/" || die "nginx does not answer"
  in_turn "$ROUNDS" measure_path "${CONTENDERS[@]}"
  need_same_clock "$offset"
  { echo "what,contender,round,unit,value" && cat "$WORK/results.csv"; } >"$report"
  cd "$ROOT"
  "$VENV/bin/python" -m lab.as_command bench.policy.report "$report" ${JSON:+--json} >&"$DOCUMENT"
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-run} in
  run) run_in_sandbox dev "$ROOT/bench/policy/run.sh" inside ${JSON:+--json} ;;
  inside) inside ;; # internal: runs in the sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
