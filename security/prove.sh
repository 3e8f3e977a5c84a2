#!/usr/bin/env bash
# Phase 4.3, proof by experiment: try every flow, and compare the result with the policy.
#
#   nodes, host, world  --probe-->  destination: did it arrive? was there a reply? under which policy id was it dropped?
#
#   security/prove.sh [OPTION...]   try everything; exit 1 if anything differs
#       --json (or JSON=1)          all probes as JSON
#       --csv FILE, --png FILE      also as files (make prove writes them to reports/)
#       --documents DIRECTORY       documents of the policy, isolation and routing, instead of text
#   security/prove.sh help
#
# It sends a few thousand packets of its own and no requests to the services. The world is a namespace cnet-outside,
# connected to the host by a veth pair and deleted at the end.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"
# shellcheck source=scripts/lib/rules.sh
source "$ROOT/scripts/lib/rules.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

prove() {
  need_root
  need_tools ip jq iptables-save iptables-restore ebtables-save conntrack
  need_environment
  load_topology
  need_lab
  policy_in_force || die "no policy is in force; load one with sudo make policies"
  export TOPOLOGY=$TABLE
  take_lock
  divert_text
  make_outside
  add_route_to_lab
  cd "$ROOT"
  defer remove_proof_traces
  "$VENV/bin/python" -m lab.as_command security.proof ${JSON:+--json} "$@" >&"$DOCUMENT"
}

# Remove the proof's traces in the lab's statistics: counters of drops, and closed or unreplied connections.
remove_proof_traces() {
  local chain bridge
  reset_drop_counters iptables
  ((${#BRIDGES6[@]} == 0)) || reset_drop_counters ip6tables
  for chain in $(ebtables-save | sed -n 's/^:\(CNET-DROP-[^ ]*\).*/\1/p'); do ebtables -t nat -Z "$chain"; done
  for bridge in "${BRIDGES[@]}"; do forget_probes icmp -s "$(network_cidr "${ADDRESS[$bridge]}")"; done
  for bridge in "${BRIDGES6[@]}"; do forget_probes icmpv6 -f ipv6 -s "${ADDRESS6[$bridge]}"; done
}

reset_drop_counters() { # iptables|ip6tables
  "$1-save" | awk '/^\*/ || /^COMMIT/ { print } /^:CNET-DROP-/ { print "-Z", substr($1, 2) }' |
    "$1-restore" --noflush --wait
}

forget_probes() { # ICMP_PROTOCOL CONNTRACK_OPTION...
  forget_tracked "${@:2}" -p "$1"
  forget_tracked "${@:2}" -p 254
  forget_tracked "${@:2}" -p tcp --state CLOSE
  forget_tracked "${@:2}" -p udp --status UNREPLIED
}

read_json "$@"
if [[ ${WORDS[0]:-} == help ]]; then print_help; else prove "${WORDS[@]}"; fi
