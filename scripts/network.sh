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
source "$(dirname "${BASH_SOURCE[0]}")/facts.sh"

conflicting_links() { # interfaces of the host that have a name of ours and are not ours
  ip -j link show | jq -r --argjson group "$LINK_GROUP" '.[] | select(.ifname and .group != ($group | tostring)) | .ifname' |
    grep -Fxf <(printf '%s\n' "${BRIDGES[@]}" "${PORT[@]}") || [[ $? == 1 ]]
}

foreign_routes() { # destinations the host reaches by something that is not ours
  local ours
  ours=$(ip -j link show group "$LINK_GROUP" | jq -c '[.[].ifname // empty]')
  ip -j route show table all type unicast |
    jq -r --argjson ours "$ours" '.[] | select(.dst != "default" and (.dev as $dev | $ours | index($dev) | not)) | "\(.dst) \(.dev)"'
}

check_routes() {
  local destination device name first last
  while read -r destination device; do
    [[ $destination =~ ^[0-9.]+(/[0-9]+)?$ ]] || continue
    [[ $destination == */* ]] || destination+=/32
    network_of "$destination"
    first=$NETWORK last=$NETWORK_END
    for name in "${BRIDGES[@]}"; do
      network_of "${ADDRESS[$name]}"
      ((last < NETWORK || first > NETWORK_END)) ||
        die "$TABLE:${LINE_OF[$name]}: address: ${ADDRESS[$name]} of $name overlaps with the host's route $destination by $device; take another network in your own table"
    done
  done < <(foreign_routes)
}

check_network() {
  local links
  links=$(conflicting_links)
  [[ -z $links ]] || die "the host has an interface ${links//$'\n'/, } that is not the lab's; rename it, or take another name in $TABLE"
  check_routes
  check_foreign_namespaces
}

# One command for one missing fact. Those of the host go to HOST, those inside a namespace to INSIDE[it].
plan_to_make() {
  local fact kind a b c
  for fact; do
    read -r kind a b c <<<"$fact"
    case $kind in
      bridge) HOST+="link add $a group $LINK_GROUP type bridge"$'\n'"link set $a alias \"cnet $TABLE\""$'\n' ;;
      bridge-address) HOST+="addr add $b brd + dev $a"$'\n' ;;
      up) HOST+="link set $a up"$'\n' ;;
      namespace) HOST+="netns add $a"$'\n' ;;
      veth) HOST+="link add $c group $LINK_GROUP type veth peer name $b netns $a"$'\n' ;;
      port) HOST+="link set $a master $b"$'\n' ;;
      inside-up) INSIDE[$a]+="link set $b up"$'\n' ;;
      address) INSIDE[$a]+="addr add $c brd + dev $b"$'\n' ;;
      route) INSIDE[$a]+="route add default via $b"$'\n' ;;
    esac
  done
}

plan_to_remove() {
  local fact kind a b c
  for fact; do
    read -r kind a b c <<<"$fact"
    case $kind in
      bridge) HOST+="link del $a"$'\n' ;;
      bridge-address) HOST+="addr del $b dev $a"$'\n' ;;
      namespace) HOST+="netns del $a"$'\n' ;;
      veth) HOST+="link del $c"$'\n' ;;
      address) INSIDE[$a]+="addr del $c dev $b"$'\n' ;;
      route) INSIDE[$a]+="route del default via $b"$'\n' ;;
    esac
  done
}

carry_out() { # HOST first, then each namespace; two at a time, for most of it is waiting
  local namespace
  [[ -z $HOST ]] || run_batch <<<"${HOST%$'\n'}"
  for namespace in "${!INSIDE[@]}"; do
    run_batch -n "$namespace" <<<"${INSIDE[$namespace]%$'\n'}"
  done
}

converge() {
  local -A INSIDE=()
  local HOST=''
  compare_facts
  if ((${#SURPLUS[@]} > 0)); then
    plan_to_remove "${SURPLUS[@]}"
    carry_out
    HOST='' INSIDE=()
    [[ -n ${DRY_RUN:-} ]] || compare_facts # what was removed took other facts with it
  fi
  plan_to_make "${MISSING[@]}"
  carry_out
}

up() {
  need_root up
  need_tools ip jq
  load_topology
  take_lock
  check_network
  [[ -n $(ours_among_links) ]] || defer remove_network
  converge
  forget_undo
}

remove_network() {
  local namespace batch=''
  for namespace in $(our_namespaces); do batch+="netns del $namespace"$'\n'; done
  [[ -z $(ours_among_links) ]] || run ip link del group "$LINK_GROUP"
  run_batch <<<"${batch%$'\n'}"
}

down() {
  need_root down
  need_tools ip jq
  if (load_topology) 2>/dev/null; then load_topology; fi # a table that is gone or broken is no hindrance
  take_lock
  remove_network
}

status() {
  need_tools ip jq
  load_topology
  compare_facts
  local fact
  for fact in "${MISSING[@]}"; do echo "${RED}missing${PLAIN}  $(in_words "$fact")"; done
  for fact in "${SURPLUS[@]}"; do echo "${YELLOW}surplus${PLAIN}  $(in_words "$fact")"; done
  ((${#MISSING[@]} + ${#SURPLUS[@]} == 0)) || return 1
  echo "${GREEN}network${PLAIN}  ${#NODES[@]} nodes as $TABLE says"
}

case ${1:-help} in
  up | down | status) "$1" ;;
  check) need_tools ip jq && load_topology && check_network ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
