#!/usr/bin/env bash
# Show why a packet is dropped or passes: each hop, the rule or fault that decides, and how to fix it.
#
#   make explain FROM=redis-cache TO=postgres-db PORT=5432 OPTIONS=--udp
#   security/explain.sh FROM TO PORT    nodes (by name, address, namespace or program), host or world; PORT a number
#                                       or a service; sends one TCP probe and follows it
#       --udp, --icmp                   another protocol (icmp takes no PORT)
#       --static                        send nothing: predict from the state alone
#       --state FILE                    the same, from a saved state; needs no lab
#       --save FILE                     save the state of the whole lab
#       --json                          for programs
#   security/explain.sh help
#
# A published port belongs to the host: FROM=world TO=host PORT=8080.
# Exit status: 0 allowed, as the policy says; 1 not, or unknown; 2 bad usage; 3 the state cannot be read.
# The kernel removes the trace when this process ends, however it ends.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"

explain() {
  need_environment
  load_topology
  export TOPOLOGY=$TABLE
  if [[ " $* " != *" --state "* ]]; then
    need_root
    need_tools ip iptables-save ebtables-save
    need_lab
  fi
  if [[ " $* " =~ \ world\  && ! " $* " =~ \ --(static|state|save)\  ]]; then
    take_lock
    make_outside
    # Only a packet straight to a node needs a route; a reply to an untranslated address must not find one.
    [[ ! " $* " =~ ^\ (--[a-z]+\ )*world\  || " $* " == *" host "* ]] || know_the_way_in
  fi
  cd "$ROOT"
  "$VENV/bin/python" -m lab.as_command security.explain "$@"
}

case ${1-help} in
  help) print_help ;;
  *) explain "$@" ;;
esac
