#!/usr/bin/env bash
# Phase 4.3, mutation test: break each rule, and check that the proof fails.
#
#   security/mutants.sh [run]   in its own sandbox; TOPOLOGY=tiers for another table; exit 1 if a mutant survives
#   security/mutants.sh help
#
# Rules are deleted, weakened and moved, one at a time. A survivor shows a redundant rule or a missing probe.
# The flat lab takes some minutes; PART=2/3 tries every third mutant from the second on.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"

# Services are not needed: the RST of a closed port is a reply, too.
inside() {
  load_topology
  export TOPOLOGY=$TABLE
  "$ROOT/security/policy.sh" up >/dev/null
  "$ROOT/scripts/network.sh" up >/dev/null
  "$ROOT/scripts/nat.sh" up >/dev/null
  make_outside
  add_route_to_lab
  FOREIGN_ADDRESS=$(ip -n world -j -4 addr show dev uplink | jq -r '.[0].addr_info[0].local') # outside the lab
  export FOREIGN_ADDRESS
  forward_foreign_ports
  add_foreign_rules
  (cd "$ROOT" && "$VENV/bin/python" -m security.proof.mutation)
}

# Forward ports of the host to nodes by rules that are not the lab's, as Docker does: to the published node, one port
# higher, and the same port by UDP; to the last node, its own port, and the published node's port.
forward_foreign_ports() {
  local node last=${NODES[-1]} port item
  for node in "${NODES[@]}"; do [[ ${PUBLISHES[$node]} == - ]] || break; done
  port=${LISTENS[$node]%%/*}
  FOREIGN_PORTS="9001:$last:${LISTENS[$last]%%,*} 9002:$last:$port/tcp"
  FOREIGN_PORTS+=" 9003:$node:$((port + 1))/tcp 9004:$node:$port/udp"
  export FOREIGN_PORTS
  for item in $FOREIGN_PORTS; do
    IFS=: read -r from node port <<<"$item"
    iptables -t nat -A PREROUTING -d "$HOST_FOR_OUTSIDE" -p "${port#*/}" --dport "$from" \
      -j DNAT --to-destination "${ADDRESS[$node]%/*}:${port%/*}"
  done
}

# Add foreign rules for packets between nodes to each table; the lab's chains must keep the packets from them.
add_foreign_rules() {
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
  inside) inside ;; # internal: runs in the sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
