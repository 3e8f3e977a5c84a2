#!/usr/bin/env bash
# Phase 1, the wires: namespaces, veth pairs and the bridge, as the topology table says.
#
#        host                          namespace redis-cache
#   +-----------------+               +----------------------+
#   |  br-app 10.x/16 |  veth pair    |  veth-redis  10.x/16 |
#   |   `-veth-redis-br ============== default via br-app    |
#   +-----------------+               +----------------------+
#
#   scripts/network.sh up       make what is missing, repair what differs, remove what is not in the table
#   scripts/network.sh down     remove all of it, whichever table it came from
#   scripts/network.sh status   name each difference between the table and the kernel; 1 if any
#   scripts/network.sh check    look for what would be in the way, change nothing
#   scripts/network.sh help
#
# lab/network compares the table with the kernel and prints commands; this script shows and runs them.
# TOPOLOGY=NAME|PATH takes another table, DRY_RUN=1 shows the commands without running them.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/live.sh
source "$ROOT/scripts/lib/live.sh"
# shellcheck source=scripts/lib/batches.sh
source "$ROOT/scripts/lib/batches.sh"

NEW='' REMOVALS=() COMMANDS=()

read_plan() { # plan|removal; sets NEW (nothing is up), REMOVALS, COMMANDS
  local lines line
  lines=$(run_python -m lab.network "$1") || exit 1
  NEW='' REMOVALS=() COMMANDS=()
  while IFS= read -r line; do
    case $line in
      new) NEW=1 ;;
      'remove '*) REMOVALS+=("${line#remove }") ;;
      'make '*) COMMANDS+=("${line#make }") ;;
    esac
  done <<<"$lines"
}

# Report the processes in namespaces that REMOVALS deletes: they are not the lab's to end.
report_processes() {
  local pid namespace removals=("${REMOVALS[@]}") deleted=()
  for namespace in "${removals[@]}"; do
    [[ $namespace != 'ip netns del '* ]] || deleted+=("${namespace#ip netns del }")
  done
  while read -r pid namespace; do
    say "process $pid ($(cat "/proc/$pid/comm" 2>/dev/null || :)) is not the lab's and keeps running;" \
      "its namespace $namespace has lost its name and its network"
  done < <(processes_in "${deleted[@]}")
}

# What is removed takes other facts with it, and may have hidden some; only the kernel knows which.
converge() {
  local round
  report_processes
  for ((round = 1; ${#REMOVALS[@]} > 0; round++)); do
    ((round < 4)) || die "what is surplus cannot be removed (scripts/network.sh status names it): $COMPLAINTS"
    run_commands remove "${REMOVALS[@]}"
    if [[ -n ${DRY_RUN:-} ]]; then say "# what goes with these is made again, too" && break; fi
    read_plan plan
  done
  run_commands make "${COMMANDS[@]}"
}

up() {
  [[ -n ${DRY_RUN:-} ]] || need_root
  need_tools ip bridge python3
  take_lock
  read_plan plan
  [[ -z $NEW ]] || defer remove_network
  trap 'exit 129' HUP # a trap waits for the batch that runs, so that undoing does not race with it
  trap 'exit 143' TERM
  converge
  forget_undo
}

remove_network() {
  read_plan removal
  report_processes
  run_commands remove "${REMOVALS[@]}"
  [[ -n $COMPLAINTS ]] || return 0
  read_plan removal
  ((${#REMOVALS[@]} == 0)) || die "not all of it could be removed: $COMPLAINTS"
}

down() {
  [[ -n ${DRY_RUN:-} ]] || need_root
  need_tools ip bridge python3
  take_lock
  remove_network
}

status() {
  need_root
  need_tools ip bridge python3
  run_python -m lab.network status
}

check() {
  need_tools ip bridge python3
  run_python -m lab.network check
}

case ${1:-help} in
  up | down | status | check) "$1" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
