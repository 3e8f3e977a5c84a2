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
# shellcheck source=scripts/lib/facts.sh
source "$ROOT/scripts/lib/facts.sh"
# shellcheck source=scripts/lib/plan.sh
source "$ROOT/scripts/lib/plan.sh"

network_of() { # sets NETWORK (first address as a number), NETWORK_END, and REPLY to the address itself
  local mask=$((0xffffffff >> ${1#*/})) IFS=.
  # shellcheck disable=SC2086 # split at dots
  set -- ${1%/*}
  REPLY=$((($1 << 24) + ($2 << 16) + ($3 << 8) + $4))
  FIRST=$((REPLY & ~mask)) LAST=$((REPLY | mask))
}

# --- what would be in the way --------------------------------------------------------------------

foreign_links() { # a line for each interface of the host that has a name of ours and is not ours, or not in our group
  local link wanted=" ${BRIDGES[*]} ${PORT[*]} "
  for link in "${LEFT_LINKS[@]}"; do
    [[ $wanted != *" $link "* ]] ||
      echo "interface $link of the lab is no more in its group, by which the lab knows it; sudo ip link set dev $link group $LINK_GROUP"
  done
  for link in "${FOREIGN_LINKS[@]}"; do
    [[ $wanted != *" $link "* ]] ||
      echo "the host has an interface $link that is not the lab's; rename it, or take another name in $TABLE"
  done
  for link in "${FOREIGN_ALTNAMES[@]}"; do
    [[ $wanted != *" ${link% *} "* ]] ||
      echo "${link% *} is an alternative name of interface ${link#* }, which is not the lab's; ip link property del dev ${link#* } altname ${link% *}, or take another name in $TABLE"
  done
}

MOST_PORTS=1023 # of one bridge (BR_MAX_PORTS of the kernel)
check_ports_of_bridges() {
  local node
  local -A seen=() ports=()
  for node in "${NODES[@]}"; do
    [[ -n ${seen[${PORT[$node]}]:-} ]] || ports[${BRIDGE[$node]}]=$((${ports[${BRIDGE[$node]}]:-0} + 1))
    seen[${PORT[$node]}]=1
  done
  for node in "${!ports[@]}"; do
    ((ports[$node] <= MOST_PORTS)) || die "$TABLE:${LINE_OF[$node]}: bridge $node would have ${ports[$node]} ports, the kernel takes $MOST_PORTS; spread the nodes over several bridges"
  done
}

# "DESTINATION DEVICE ROUTE" of each route of the host that overlaps with a network. A default route, also one in two halves
# as VPNs have it, is in nobody's way.
routes_over() { # ADDRESS/LENGTH
  local line kind destination device words first last
  network_of "$1"
  first=$FIRST last=$LAST
  for line in "${HOST_ROUTING[@]}"; do
    read -r kind destination device words <<<"$line"
    [[ $kind == route && $destination != 0.0.0.0/1 && $destination != 128.0.0.0/1 ]] || continue
    [[ $destination == */* ]] || destination+=/32
    network_of "$destination"
    ((last < FIRST || first > LAST)) || echo "$destination $device $words"
  done
}

foreign_routes() { # a line for each that overlaps with a network of the lab: what, and what to do
  local name destination device words
  for name in "${BRIDGES[@]}"; do
    while read -r destination device words; do
      echo "$TABLE:${LINE_OF[$name]}: address: ${ADDRESS[$name]} of $name overlaps with the host's route $destination by $device; take another network: \
$(other_network "${ADDRESS[$name]}")${words:+, or remove the route: sudo ip route del $words}"
    done < <(routes_over "${ADDRESS[$name]}")
  done
}

other_network() { # ADDRESS/LENGTH: how to take one that is free
  local octets=2 from to
  case ${1#*/} in
    16) ;;
    24) octets=3 ;;
    *) echo "change it in a copy of $TABLE" && return ;;
  esac
  from=$(cut -d. -f "1-$octets" <<<"$1")
  for to in 10.200.0 10.222.0 172.30.0 192.168.0; do
    to=$(cut -d. -f "1-$octets" <<<"$to")
    [[ -n $(routes_over "$to.${1#"$from."}") ]] || { with_own_table "s/\t${from//./\\.}\./\t$to./" && return; }
  done
  echo "change it in a copy of $TABLE"
}

is_of_lab() { # INTERFACE|PREFIX
  local name first last
  [[ $1 != - ]] || return 1
  [[ " ${BRIDGES[*]} ${PORT[*]} " != *" $1 "* ]] || return 0
  [[ $1 == [0-9]* && $1 != 0/* ]] || return 1
  network_of "$1"
  first=$FIRST last=$LAST
  for name in "${BRIDGES[@]}"; do
    network_of "${ADDRESS[$name]}"
    ((last < FIRST || first > LAST)) || return 0
  done
  return 1
}

foreign_routing_rules() { # a line for each of `ip rule` on the host that names a lab address or interface
  local line kind from to interface words
  for line in "${HOST_ROUTING[@]}"; do
    read -r kind from to interface words <<<"$line"
    [[ $kind == rule ]] || continue
    ! is_of_lab "$from" && ! is_of_lab "$to" && ! is_of_lab "$interface" ||
      echo "a routing rule of the host that is not the lab's: $words; remove it: sudo ip rule del $words"
  done
}

foreign_namespaces() { # a line for each name of the table that something else has
  local fact
  for fact in "${SURPLUS[@]}"; do
    case $fact in
      'foreign '*) echo "there is a namespace ${fact#* } that is not the lab's: \`ip netns del ${fact#* }\`, or take another name in $TABLE" ;;
      'linked '*) echo "/run/netns/${fact#* } is a symbolic link that is not the lab's: \`rm /run/netns/${fact#* }\`, or take another name in $TABLE" ;;
    esac
  done
}

# What is the host's and stands in the way, a line each, with what to do.
foreign_things() { foreign_links && foreign_namespaces && foreign_routes && foreign_routing_rules; }

check_foreign() {
  local found
  found=$(foreign_things)
  [[ -z $found ]] || die "$(sed -n 1p <<<"$found")"
}

check_network() {
  check_ports_of_bridges
  check_foreign
}

check() {
  need_tools ip bridge jq python3
  load_topology
  compare_facts
  check_network
}

# --- commands ------------------------------------------------------------------------------------

up() {
  [[ -n ${DRY_RUN:-} ]] || need_root
  need_tools ip bridge jq python3
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
  local HOST=() FORWARDING=() SYSCTLS=() ORDER=() OTHERS=() names
  names=$(our_namespaces)
  [[ -z $names ]] || mapfile -t HOST <<<"$names"
  tell_of_processes "${HOST[@]}"
  HOST=("${HOST[@]/#/netns del }")
  [[ -z $(ip link show group "$LINK_GROUP" 2>/dev/null) ]] || host "link del group $LINK_GROUP"
  carry_out removing
  [[ -z $COMPLAINTS || -z $(our_namespaces)$(ip link show group "$LINK_GROUP" 2>/dev/null) ]] || die "not all of it could be removed: $COMPLAINTS"
}

down() {
  [[ -n ${DRY_RUN:-} ]] || need_root
  need_tools ip bridge jq python3
  take_lock
  remove_network
}

# The outside of a proof that runs meanwhile is no drift.
leave_out_proof() {
  local fact kept=()
  [[ " ${SURPLUS[*]} " == *" $OUTSIDE_NAMESPACE "* && -e $RUN_DIR/lock ]] && ! flock --nonblock --shared "$RUN_DIR/lock" true || return 0
  for fact in "${SURPLUS[@]}"; do [[ " $fact " == *" $OUTSIDE_NAMESPACE "* ]] || kept+=("$fact"); done
  SURPLUS=("${kept[@]}")
}

status() {
  local fact found
  need_root
  need_tools ip bridge jq python3
  load_topology
  compare_facts
  leave_out_proof
  for fact in "${MISSING[@]}"; do echo "${RED}missing${PLAIN}  $(in_words "$fact")"; done
  for fact in "${SURPLUS[@]}"; do
    case $fact in
      'foreign '* | 'linked '*) ;; # see foreign_things
      'no-rule '*) echo "${RED}missing${PLAIN}  $(in_words "$fact")" ;;
      *) echo "${YELLOW}surplus${PLAIN}  $(in_words "$fact")" ;;
    esac
  done
  found=$(foreign_things)
  [[ -z $found ]] || echo "${YELLOW}foreign${PLAIN}  ${found//$'\n'/$'\n'${YELLOW}foreign$PLAIN  }"
  [[ -z $found ]] && ((${#MISSING[@]} + ${#SURPLUS[@]} == 0)) || return 1
  echo "${GREEN}network${PLAIN}  ${#NODES[@]} nodes as $TABLE says"
}

case ${1:-help} in
  up | down | status | check) "$1" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
