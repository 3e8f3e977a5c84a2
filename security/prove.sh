#!/usr/bin/env bash
# Phase 4.3, proof by experiment: every flow is really tried, and compared with what the policy says.
#
#   nodes, host, world  --probe-->  who it is for: did it arrive? was it answered? under which policy id was it dropped?
#
#   security/prove.sh [OPTION...]   try all of it; 1 when anything differs
#       --json                      all probes as JSON
#       --csv FILE, --png FILE      also as files (in reports/ when called by make)
#   security/prove.sh documents DIRECTORY   the policy, isolation and routing as documents with this proof
#   security/prove.sh help
#
# Packets of its own, a few thousand in all; the services are not asked for anything. The world is a namespace
# cnet-outside on a wire to the host, that goes away with the script.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"
# shellcheck source=scripts/lib/rules.sh
source "$ROOT/scripts/lib/rules.sh"

prove() {
  need_root
  need_tools ip jq iptables-save iptables-restore ebtables-save conntrack
  need_environment
  load_topology
  need_lab
  policy_in_force || die "no policy is in force; sudo make policies"
  export TOPOLOGY=$TABLE
  take_lock
  make_outside
  know_the_way_in
  cd "$ROOT"
  defer forget_proof
  if [[ ${1:-} == documents ]]; then
    "$VENV/bin/python" -m lab.as_command security.documents "${2:?documents needs a directory}"
  else
    "$VENV/bin/python" -m lab.as_command security.proof "$@"
  fi
}

# What the proof leaves behind would be taken for the lab's own: counted drops, and connections that are over or were
# never answered.
forget_proof() {
  local chain bridge network
  iptables-save | awk '/^\*/ || /^COMMIT/ { print } /^:CNET-DROP-/ { print "-Z", substr($1, 2) }' | iptables-restore --noflush --wait
  for chain in $(ebtables-save | sed -n 's/^:\(CNET-DROP-[^ ]*\).*/\1/p'); do ebtables -t nat -Z "$chain"; done
  for bridge in "${BRIDGES[@]}"; do
    network=$(network_cidr "${ADDRESS[$bridge]}")
    forget_tracked -s "$network" -p icmp
    forget_tracked -s "$network" -p 254
    forget_tracked -s "$network" -p tcp --state CLOSE
    forget_tracked -s "$network" -p udp --status UNREPLIED
  done
}

if [[ ${1:-} == help ]]; then print_help; else prove "$@"; fi
