#!/usr/bin/env bash
# Why was this packet dropped (or not)? The story of one packet, hop by hop, and what to do about it.
#
#   security/explain.sh FROM TO PORT    nodes, host or world; sends one TCP probe, and follows it
#       --udp, --icmp                   another protocol (icmp takes no PORT)
#       --static                        nothing is sent: told from the state alone
#       --state FILE                    the same, from a state that was saved; needs no lab
#       --save FILE                     save the state of the whole lab
#       --json                          for programs
#   security/explain.sh help
#
# Exit status: 0 allowed, 1 not, 2 bad usage, 3 it cannot be told. The trace that it switches on in the kernel
# goes away with it, however it ends.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/topology.sh"
# shellcheck source=scripts/outside.sh
source "$ROOT/scripts/outside.sh"

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
    know_the_way_in
  fi
  cd "$ROOT"
  "$VENV/bin/python" -m security.explain "$@"
}

case ${1:-help} in
  help) print_help ;;
  *) explain "$@" ;;
esac
