#!/usr/bin/env bash
# Explain what happens to one packet, hop by hop: where it is accepted or dropped, why, and how to change that.
#
#   make explain FROM=redis-cache TO=postgres-db PORT=5432 OPTIONS=--udp
#   security/explain.sh FROM TO PORT    nodes (by name, address, namespace or program), host or world; PORT a number
#                                       or a service; sends one TCP probe, and follows it
#       --udp, --icmp                   another protocol (icmp takes no PORT)
#       --6                             IPv6, also if FROM or TO is an IPv6 address: send a probe (TCP or --icmp), name
#                                       the route, the neighbour and the rule that dropped it; predict nothing
#       --static                        send nothing: predict the result from the state
#       --state FILE                    the same, from a saved state; needs no lab
#       --save FILE                     save the state of the whole lab
#       --json (or JSON=1)              print JSON
#   security/explain.sh help
#
# For a published port, TO is the host: FROM=world TO=host PORT=8080.
# Exit status: 0 allowed, as in the policy; 1 not allowed, or unknown; 2 bad usage; 3 the state cannot be read.
# The kernel removes the trace when the command ends, even if it is killed.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

explain() {
  need_environment
  load_topology
  export TOPOLOGY=$TABLE
  divert_text
  if [[ " $* " != *" --state "* ]]; then
    need_root
    need_tools ip iptables-save ebtables-save
    need_lab
  fi
  if [[ " $* " =~ \ world\  && ! " $* " =~ \ --(static|state|save)\  ]]; then
    take_lock
    make_outside
    # Only a packet straight to a node needs a route; a reply to an untranslated address must not find one.
    [[ ! " $* " =~ ^\ (--[a-z]+\ )*world\  || " $* " == *" host "* ]] || add_route_to_lab
  fi
  cd "$ROOT"
  "$VENV/bin/python" -m lab.as_command security.explain ${JSON:+--json} "$@" >&"$DOCUMENT"
}

read_json "$@"
case ${WORDS[0]-help} in
  help) print_help ;;
  *) explain "${WORDS[@]}" ;;
esac
