#!/usr/bin/env bash
# Measure the time to create and remove the network: the lab against other tools for the same network.
#
#   bench/network/run.sh              10, 100 and 500 nodes; table here, CSV and chart in reports/
#   QUICK=1 bench/network/run.sh      10 and 100 nodes, two rounds; --json (or JSON=1) prints JSON
#   bench/network/run.sh help
#
#   lab       scripts/network.sh up, down: reads the table, looks for conflicts, compares, acts; IPv4 alone
#   dual      the same with a table of both families
#   ipv6      the same with IPv6 alone
#   batch     the commands that `DRY_RUN=1 scripts/network.sh up` prints, by one `ip -batch`, one
#             `bridge -batch` and one `sysctl` for the host and one `ip -n NAMESPACE -batch` for each namespace: the
#             minimum for this network
#   single    the same commands, an `ip` process each
#   cni       the CNI bridge plugin with host-local addresses, an ADD for each namespace; the namespaces
#             made by one `ip -batch`, and their loopback left down (its plugin would be N more processes)
#   mininet   mininet's Python interface with a Linux bridge and no controller
#
# The lab's links have only the addresses of the table (lab/network/facts.py has the reason), as have those of batch and
# single, which are the lab's with IPv4; cni and mininet keep the kernel's automatic IPv6 addresses, as they always do,
# which costs time for announcements.
#
# ROUNDS (5), SIZES ("10 100 500"), CONTENDERS and SLOW_ROUNDS (2: of `single` at 500 nodes) can be set.
# In each round the contenders take turns, in another order each time, each in a fresh sandbox and on
# a quiet kernel; after each `up` bench/network/check.py checks the network. A slow result is not a failure.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
# shellcheck source=bench/common/bench.sh
source "$ROOT/bench/common/bench.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"
# shellcheck source=bench/network/contenders.sh
source "$ROOT/bench/network/contenders.sh"
cd "$ROOT"

CNI_PLUGINS=/usr/lib/cni
CSV=$ROOT/reports/bench_network.csv
GATEWAY=10.99.0.1/16 GATEWAY6=fd00:99::1/64 BRIDGE=br-bench
export PATH=$PATH:/usr/sbin:/sbin

# --- one measurement, in its sandbox ---------------------------------------------------------------

seconds_of() {
  local start=${EPOCHREALTIME/./} micros
  "$@"
  micros=$((${EPOCHREALTIME/./} - start))
  printf '%d.%06d' $((micros / 1000000)) $((micros % 1000000))
}

# The kernel removes namespaces in the background, one after another: after the last in the queue, all are removed.
wait_for_quiet_kernel() {
  ip netns add last
  ip link add last type veth peer name last netns last
  ip netns del last
  retry_until 60 link_is_removed last || die "the kernel is still removing earlier namespaces"
}
link_is_removed() { [[ ! -e /proc/sys/net/ipv4/conf/$1 ]]; }

measure_mininet() { # in one process of the distribution's Python, which has the module; it warns a lot
  local started
  read -r started _ </proc/uptime
  /usr/bin/python3 -m bench.network.with_mininet "$NODES" "$GATEWAY" "$started" 2>"$WORK/warnings" || {
    cat "$WORK/warnings" >&2
    return 1
  }
}

measure() { # CONTENDER NODES: prints "UP DOWN" in seconds
  local contender=$1 up down offset
  offset=$(clock_offset)
  NODES=$2 WORK=$(mktemp -d /run/bench.XXXX)
  wait_for_quiet_kernel
  if [[ $contender == mininet ]]; then
    measure_mininet
    return
  fi
  "prepare_$contender"
  up=$(seconds_of "up_$contender")
  python3 -m bench.network.check "$NODES" "${GATEWAYS[@]}"
  down=$(seconds_of "down_$contender")
  need_same_clock "$offset"
  [[ $(ip netns list | wc -l) == 1 ]] || die "$contender left namespaces behind"
  echo "$up $down"
}

# --- all of them -----------------------------------------------------------------------------------

print_missing() { # CONTENDER: print the missing programs
  case $1 in
    cni) [[ -x $CNI_PLUGINS/bridge ]] || echo "no $CNI_PLUGINS/bridge; apt-get install containernetworking-plugins" ;;
    mininet)
      { /usr/bin/python3 -c 'import mininet' && command -v mnexec brctl ifconfig; } &>/dev/null ||
        echo "mininet, mnexec, brctl or ifconfig missing; apt-get install mininet bridge-utils net-tools"
      ;;
  esac
}

list_contenders() { # skip and report contenders without their programs
  local contender why
  for contender in ${CONTENDERS:-lab dual ipv6 batch single cni mininet}; do
    why=$(print_missing "$contender")
    if [[ -n $why ]]; then say "left out: $contender ($why)"; else echo "$contender"; fi
  done
}

measure_in_sandbox() { # CONTENDER ROUND
  local result
  ((NODES < 500 || $2 <= ${SLOW_ROUNDS:-2})) || [[ $1 != single ]] || return 0
  result=$("$ROOT/scripts/sandbox.sh" run "$ROOT/bench/network/run.sh" measure "$1" "$NODES") ||
    die "$1 failed at $NODES nodes"
  say "$NODES nodes, $1: up ${result% *} s, down ${result#* } s"
  echo "$NODES,$2,$1,${result/ /,}" >>"$CSV.part"
}

run_all() {
  local sizes=${SIZES:-${QUICK:+10 100}} rounds=${ROUNDS:-${QUICK:+2}} all
  mapfile -t all < <(list_contenders)
  echo nodes,round,contender,up_seconds,down_seconds >"$CSV.part"
  for NODES in ${sizes:-10 100 500}; do in_turn "${rounds:-5}" measure_in_sandbox "${all[@]}"; done
  mv "$CSV.part" "$CSV"
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-run} in
  run)
    divert_text
    "$ROOT/scripts/install.sh" dev
    need_tools ip jq awk ping python3
    run_all
    "$VENV/bin/python" -m lab.as_command bench.network.report "$CSV" "${CSV%.csv}.png" ${JSON:+--json} >&"$DOCUMENT"
    ;;
  measure) measure "$2" "$3" ;; # internal: runs in the sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
