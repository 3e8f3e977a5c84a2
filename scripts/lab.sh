#!/usr/bin/env bash
# The whole lab: runs each phase's script in order.
#
#   scripts/lab.sh up         install what is missing, check the machine, then policy, network, NAT, services, proof
#   scripts/lab.sh down       remove the lab; data stays
#   scripts/lab.sh clean      remove the lab and its data
#   scripts/lab.sh network    phase 1: namespaces, bridge, NAT, port forwarding, and their proof
#   scripts/lab.sh services   phase 2: the programs, and their proof
#   scripts/lab.sh policies   phase 4.3: load the policy, and prove it
#   scripts/lab.sh isolation [back]   phase 4.4: move to three tiers, or back to one bridge (also BACK=1); data stays
#   scripts/lab.sh status     one screen: nodes, services, rules, counters; exits 1 if anything differs from the
#                             tables (--json or JSON=1)
#   scripts/lab.sh shell NAMESPACE   a shell in a namespace
#   scripts/lab.sh help
#
# TOPOLOGY=NAME|PATH selects another table.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/rules.sh
source "$ROOT/scripts/lib/rules.sh"
# shellcheck source=scripts/lib/preconditions.sh
source "$ROOT/scripts/lib/preconditions.sh"
# shellcheck source=scripts/lib/foreign.sh
source "$ROOT/scripts/lib/foreign.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"
# shellcheck source=scripts/lib/summary.sh
source "$ROOT/scripts/lib/summary.sh"
# shellcheck source=scripts/lib/status.sh
source "$ROOT/scripts/lib/status.sh"

call() { "$ROOT/scripts/$1.sh" "${@:2}"; }
policy() { "$ROOT/security/policy.sh" "$@"; }

step() { say "$BOLD== $1$PLAIN"; }

prepare() { # COMMAND: all checks, before the first change
  need_root
  load_topology
  step "install what is missing"
  call install up
  export TOPOLOGY=$TABLE
  take_lock
  step "check the machine"
  require_preconditions "$1"
  list_foreign_rules >&2 || : # foreign rules may be harmless; the proof checks that
  call network check
  call nat check
  POLICY_TABLE=$(policy path)
}

# Load the policy before the network exists, so that no packet passes without it. A table may have no policy.
make_policy() {
  if [[ -n $POLICY_TABLE ]]; then
    step "policy: which connections are allowed"
    policy up
  else
    say "${YELLOW}no policy for $TABLE: all traffic between nodes is allowed${PLAIN}"
    ! policy_is_wanted || policy down # remove the policy of another table
  fi
}

make_network() {
  step "network: namespaces, veth pairs, bridge"
  call network up
  step "NAT: masquerading and published ports"
  call nat up
}

network() {
  prepare network
  ! policy_is_wanted || make_policy
  make_network
  [[ -n ${DRY_RUN:-} ]] || call verify network
}

services() {
  prepare services
  [[ -n ${DRY_RUN:-} ]] || need_lab
  call services check
  step "services"
  call services up
  [[ -n ${DRY_RUN:-} ]] || call verify services
}

up() {
  [[ -n $SHOW$DRY_RUN ]] || export BRIEF=1
  prepare up
  [[ -z $POLICY_TABLE ]] || policy check
  call services check
  remove_other_lab
  make_policy
  make_network
  step "services"
  call services up
  [[ -z ${DRY_RUN:-} ]] || return 0
  step "proof"
  export PROOF_COUNTS=$RUN_DIR/proof-counts
  : >"$PROOF_COUNTS"
  prove_all || {
    list_foreign_rules >&2
    return 1
  }
  print_next_steps
}

prove_all() {
  call verify all || return
  ! policy_in_force || "$ROOT/security/prove.sh"
}

# Remove the lab of another table first; a mixture of both would have no policy.
remove_other_lab() {
  local running
  running=$(running_table)
  [[ $running != "$SCALED" ]] || running=$(TABLE=$SCALED base_table)
  [[ -n $running && $running != "$(base_table)" ]] || return 0
  step "remove the lab of $running"
  remove_lab
}

isolation() { # [back]
  case ${1:-} in
    '') TOPOLOGY=tiers up ;;
    back) TOPOLOGY=flat up ;;
    *) bad_usage "isolation takes nothing, or back" ;;
  esac
}

policies() {
  prepare policies
  need_lab
  policy check
  make_policy
  [[ -n ${DRY_RUN:-} ]] || "$ROOT/security/prove.sh"
}

remove_lab() {
  call services down
  call nat down
  call network down
  policy down
}

down() {
  need_root
  refuse_in_page down
  take_lock
  end_processes watchers
  remove_lab
  run rm -rf --one-file-system "$RUN_DIR" # removes incomplete files of a killed run too
}

clean() {
  down
  call services clean
}

shell() { # NAMESPACE
  need_root
  [[ -n ${1:-} && -e /run/netns/$1 ]] ||
    bad_usage "shell needs one of the namespaces: $(ip netns list | awk '{ print $1 }' | tr '\n' ' ')"
  trap - EXIT
  PS1="[$1] \w # " exec ip netns exec "$1" "$BASH" --norc
}

case ${1:-help} in
  up | down | clean | network | services | policies) "$1" ;;
  status) read_json "${@:2}" && status ;;
  shell | isolation) "$1" "${2:-}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
