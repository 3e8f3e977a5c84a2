#!/usr/bin/env bash
# Phase 4.3, who proves the proof: each rule is deleted, weakened and moved in turn, and the proof must go red.
#
#   security/mutants.sh [run]   in a sandbox of its own; TOPOLOGY=tiers for another table; 1 when a mutant survives
#   security/mutants.sh help
#
# A survivor is a rule that could go, or a probe that is missing. Some minutes for the flat lab.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"

# The policy and the wires are enough: an answer is an answer, also from a port where nobody listens.
inside() {
  load_topology
  export TOPOLOGY=$TABLE
  "$ROOT/security/policy.sh" up >/dev/null
  "$ROOT/scripts/network.sh" up >/dev/null
  "$ROOT/scripts/nat.sh" up >/dev/null
  make_outside
  know_the_way_in
  STRANGER=$(ip -n world -j -4 addr show dev uplink | jq -r '.[0].addr_info[0].local') # whom the lab does not know
  export STRANGER
  forward_as_a_stranger
  meddle_between_nodes
  (cd "$ROOT" && "$VENV/bin/python" -m security.proof.mutation)
}

# As Docker would: rules of somebody else open ports of nodes. Of the published node one that is near to the
# published one, in number and in protocol; of the last node the published number, and what it listens on.
forward_as_a_stranger() {
  local node last=${NODES[-1]} port item
  for node in "${NODES[@]}"; do [[ ${PUBLISHES[$node]} == - ]] || break; done
  port=${LISTENS[$node]%%/*}
  STRANGE_PORTS="9001:$last:${LISTENS[$last]%%,*} 9002:$last:$port/tcp 9003:$node:$((port + 1))/tcp 9004:$node:$port/udp"
  export STRANGE_PORTS
  for item in $STRANGE_PORTS; do
    IFS=: read -r from node port <<<"$item"
    iptables -t nat -A PREROUTING -d "$HOST_FOR_OUTSIDE" -p "${port#*/}" --dport "$from" -j DNAT --to-destination "${ADDRESS[$node]%/*}:${port%/*}"
  done
}

# What others do to packets between nodes, in each table: the lab's own chains end before it.
meddle_between_nodes() {
  local networks between
  networks=$(for node in "${BRIDGES[@]}"; do network_cidr "${ADDRESS[$node]}"; done | paste -sd,)
  between=(-s "$networks" -d "$networks")
  iptables -t raw -A PREROUTING "${between[@]}" -m addrtype ! --dst-type LOCAL -j DROP
  iptables -t mangle -A PREROUTING "${between[@]}" -m addrtype ! --dst-type LOCAL -j DROP
  iptables -t nat -A PREROUTING "${between[@]}" -m addrtype ! --dst-type LOCAL -p tcp -j REDIRECT --to-ports 9
  iptables -t mangle -A FORWARD "${between[@]}" -j DROP
  iptables -t filter -A FORWARD "${between[@]}" -j DROP
  iptables -t security -A FORWARD "${between[@]}" -j DROP
  iptables -t mangle -A POSTROUTING "${between[@]}" -m addrtype ! --src-type LOCAL -j DROP
  iptables -t nat -A POSTROUTING -j MASQUERADE
}

case ${1:-run} in
  run)
    "$ROOT/scripts/install.sh" up
    trap - EXIT
    exec "$ROOT/scripts/sandbox.sh" run "$ROOT/security/mutants.sh" inside
    ;;
  inside) inside ;; # within its sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
