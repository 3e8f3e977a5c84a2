#!/usr/bin/env bash
# Phase 1: the namespaces, veth pairs and bridges of the topology table.
#
#        host                          namespace redis-cache
#   +-----------------+               +----------------------+
#   |  br-app 10.x/16 |  veth pair    |  veth-redis  10.x/16 |
#   |   `-veth-redis-br ============== default via br-app    |
#   +-----------------+               +----------------------+
#
#   scripts/network.sh up       make what is missing, repair what differs, remove what is not in the table
#   scripts/network.sh down     remove all of it, whichever table it came from
#   scripts/network.sh status   print each difference between the table and the kernel; exit 1 if any
#   scripts/network.sh check    look for conflicts with the host, change nothing
#   scripts/network.sh help
#
# lab/network compares the table with the kernel and prints commands; this script shows and runs them.
# TOPOLOGY=NAME|PATH selects another table, DRY_RUN=1 shows the commands without running them.

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

# Report the processes in namespaces that REMOVALS deletes. They are not the lab's, so do not end them.
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

# A removal may remove or reveal other facts, so read the kernel's state again after each one.
converge() {
  local round
  report_processes
  for ((round = 1; ${#REMOVALS[@]} > 0; round++)); do
    ((round < 4)) || die "surplus objects cannot be removed (scripts/network.sh status lists them): $COMPLAINTS"
    run_commands remove "${REMOVALS[@]}"
    if [[ -n ${DRY_RUN:-} ]]; then say "# objects that are removed with these are made again, too" && break; fi
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
  trap 'exit 129' HUP # a trap waits for the running batch, so that the undo commands run after the batch
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
  ((${#REMOVALS[@]} == 0)) || die "some objects could not be removed: $COMPLAINTS"
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
