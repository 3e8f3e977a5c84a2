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
  name_foreign_addresses
  forward_foreign_ports
  add_foreign_rules iptables "$(for node in "${BRIDGES[@]}"; do network_cidr "${ADDRESS[$node]}"; done | paste -sd,)"
  ((${#BRIDGES6[@]} == 0)) ||
    add_foreign_rules ip6tables "$(for node in "${BRIDGES6[@]}"; do echo "${ADDRESS6[$node]}"; done | paste -sd,)"
  (cd "$ROOT" && "$VENV/bin/python" -m security.proof.mutation)
}

# Set FOREIGN4 and FOREIGN6 to the addresses of the sandbox's world, which is outside the lab, and of its host.
name_foreign_addresses() {
  local network6
  FOREIGN4="$(address_on_uplink world) $(address_on_uplink)" FOREIGN6=''
  if ((${#BRIDGES6[@]} > 0)); then
    network6=$(free_network6)
    FOREIGN6="${network6}2 ${network6}1"
    ip link set uplink addrgenmode none
    ip addr add "${FOREIGN6#* }/64" dev uplink nodad
    ip addr add fe80::1/64 dev uplink nodad # to ask for the MAC of the world
    ip -n world addr add "${FOREIGN6% *}/64" dev uplink nodad
  fi
  export FOREIGN4 FOREIGN6
}

address_on_uplink() { # [NAMESPACE]
  ip ${1:+-n "$1"} -j -4 addr show dev uplink | jq -r '.[0].addr_info[0].local'
}

# Forward ports of the host to nodes by rules that are not the lab's, as Docker does: to the published node, one port
# higher, and the same port by UDP; to the last node, its own port, and the published node's port.
forward_foreign_ports() {
  local node last=${NODES[-1]} port item from
  for node in "${NODES[@]}"; do [[ ${PUBLISHES[$node]} == - ]] || break; done
  port=${LISTENS[$node]%%/*}
  FOREIGN_PORTS="9001:$last:${LISTENS[$last]%%,*} 9002:$last:$port/tcp"
  FOREIGN_PORTS+=" 9003:$node:$((port + 1))/tcp 9004:$node:$port/udp"
  export FOREIGN_PORTS
  for item in $FOREIGN_PORTS; do
    IFS=: read -r from node port <<<"$item"
    forward_foreign iptables "$HOST_FOR_OUTSIDE" "$from" "${ADDRESS[$node]%/*}:${port%/*}"
    [[ -z $OUTSIDE6 || ${ADDRESS6[$node]} == - ]] ||
      forward_foreign ip6tables "$HOST_FOR_OUTSIDE6" "$from" "[${ADDRESS6[$node]%/*}]:${port%/*}"
  done
}

forward_foreign() { # iptables|ip6tables HOST_ADDRESS HOST_PORT DESTINATION
  "$1" -t nat -A PREROUTING -d "$2" -p "${port#*/}" --dport "$3" -j DNAT --to-destination "$4"
}

# Add foreign rules for packets between nodes to each table; the lab's chains must keep the packets from them.
add_foreign_rules() { # iptables|ip6tables NETWORK,...
  local between=(-s "$2" -d "$2")
  "$1" -t raw -A PREROUTING "${between[@]}" -m addrtype ! --dst-type LOCAL -j DROP
  "$1" -t mangle -A PREROUTING "${between[@]}" -m addrtype ! --dst-type LOCAL -j DROP
  "$1" -t nat -A PREROUTING "${between[@]}" -m addrtype ! --dst-type LOCAL -p tcp -j REDIRECT --to-ports 9
  "$1" -t mangle -A FORWARD "${between[@]}" -j DROP
  "$1" -t filter -A FORWARD "${between[@]}" -j DROP
  "$1" -t security -A FORWARD "${between[@]}" -j DROP
  "$1" -t mangle -A POSTROUTING "${between[@]}" -m addrtype ! --src-type LOCAL -j DROP
  "$1" -t nat -A POSTROUTING -j MASQUERADE
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
