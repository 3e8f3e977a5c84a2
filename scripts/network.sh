#!/usr/bin/env bash
# Phase 1, the wires: namespaces, veth pairs and the bridge, as the topology table says.
#
#        host                          namespace redis-cache
#   +-----------------+               +----------------------+
#   |  br-app 10.x/16 |  veth pair    |  veth-redis  10.x/16 |
#   |   `-veth-redis-br ============== default via br-app    |
#   +-----------------+               +----------------------+
#
#   scripts/network.sh up       make what is missing, mend what differs, remove what is surplus
#   scripts/network.sh down     remove all of it, whichever table it came from
#   scripts/network.sh status   name each difference between the table and the kernel; 1 if any
#   scripts/network.sh check    look for what would be in the way, change nothing
#   scripts/network.sh help
#
# TOPOLOGY=NAME|PATH takes another table, DRY_RUN=1 shows the commands without running them.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/topology.sh"
# shellcheck source=scripts/facts.sh
source "$ROOT/scripts/facts.sh"
# shellcheck source=scripts/plan.sh
source "$ROOT/scripts/plan.sh"

# --- what would be in the way --------------------------------------------------------------------

check_links() { # interfaces of the host that have a name of ours and are not ours
  local link wanted=" ${BRIDGES[*]} ${PORT[*]} "
  for link in "${FOREIGN_LINKS[@]}"; do
    [[ $wanted != *" $link "* ]] ||
      die "the host has an interface $link that is not the lab's; rename it, or take another name in $TABLE"
  done
}

check_routes() { # a default route, also one in two halves as VPNs have it, is in nobody's way
  local route destination name first last
  for route in "${FOREIGN_ROUTES[@]}"; do
    destination=${route% *}
    [[ $destination != 0.0.0.0/1 && $destination != 128.0.0.0/1 ]] || continue
    [[ $destination == */* ]] || destination+=/32
    network_of "$destination"
    first=$NETWORK last=$NETWORK_END
    for name in "${BRIDGES[@]}"; do
      network_of "${ADDRESS[$name]}"
      ((last < NETWORK || first > NETWORK_END)) ||
        die "$TABLE:${LINE_OF[$name]}: address: ${ADDRESS[$name]} of $name overlaps with the host's route $destination by ${route##* }; take another network in your own table"
    done
  done
}

check_namespaces() {
  local fact
  for fact in "${SURPLUS[@]}"; do
    [[ $fact != "foreign "* ]] ||
      die "there is a namespace ${fact#* } that is not the lab's; \`ip netns del ${fact#* }\`, or take another name in $TABLE"
  done
}

check_network() {
  check_links
  check_routes
  check_namespaces
}

check() {
  need_tools ip bridge jq
  load_topology
  compare_facts
  check_network
}

# --- commands ------------------------------------------------------------------------------------

up() {
  [[ -n ${DRY_RUN:-} ]] || need_root
  need_tools ip bridge jq
  load_topology
  take_lock
  compare_facts
  check_network
  [[ -n $LIVE ]] || defer remove_network
  trap 'exit 129' HUP # a trap waits for the batch that runs, so that undoing does not race with it
  trap 'exit 143' TERM
  converge
  forget_undo
}

# Namespaces before links: a `down` cut short leaves links, by which the next one knows which are ours.
remove_network() {
  local HOST=() FORWARDING=() SYSCTLS=() ORDER=() names
  names=$(our_namespaces)
  [[ -z $names ]] || mapfile -t HOST <<<"$names"
  HOST=("${HOST[@]/#/netns del }")
  [[ -z $(ip link show group "$LINK_GROUP" 2>/dev/null) ]] || host "link del group $LINK_GROUP"
  carry_out removing
}

down() {
  [[ -n ${DRY_RUN:-} ]] || need_root
  need_tools ip bridge jq
  take_lock
  remove_network
}

status() {
  local fact
  need_root
  need_tools ip bridge jq
  load_topology
  compare_facts
  for fact in "${MISSING[@]}"; do echo "${RED}missing${PLAIN}  $(in_words "$fact")"; done
  for fact in "${SURPLUS[@]}"; do echo "${YELLOW}surplus${PLAIN}  $(in_words "$fact")"; done
  ((${#MISSING[@]} + ${#SURPLUS[@]} == 0)) || return 1
  echo "${GREEN}network${PLAIN}  ${#NODES[@]} nodes as $TABLE says"
}

case ${1:-help} in
  up | down | status | check) "$1" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
