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

BATCHES=$RUN_DIR/batches

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
  need_tools ip jq
  load_topology
  compare_facts
  check_network
}

# --- from facts to commands ----------------------------------------------------------------------

# Commands for the host go to HOST, those inside a namespace to INSIDE[it]; ORDER is the table's.
host() { HOST+=("$1"); }
inside() {
  [[ -n ${INSIDE[$1]:-} ]] || ORDER+=("$1")
  INSIDE[$1]+=$2$'\n'
}

# addrgenmode none: the lab speaks IPv4, and each IPv6 address that the kernel makes by itself would be
# announced to every port of the bridge (with 500 nodes that is half of the time) and pass by iptables.
plan_to_make() {
  local kind a b c
  while read -r kind a b c; do
    case $kind in
      bridge) host "link add name $a group $LINK_GROUP type bridge" && host "link set dev $a addrgenmode none" ;;
      alias) host "link set dev $a alias \"$b $c\"" ;;
      bridge-address) host "addr add $b brd + dev $a" ;;
      up) host "link set dev $a up" ;;
      namespace) host "netns add $a" ;;
      veth) host "link add name $c group $LINK_GROUP type veth peer name $b netns $a" ;;
      port) host "link set dev $a addrgenmode none master $b" ;;
      address) inside "$a" "link set dev $b addrgenmode none" && inside "$a" "addr add $c brd + dev $b" ;;
      inside-up) inside "$a" "link set dev $b up" ;;
      route) inside "$a" "route add default $b $c" ;;
    esac
  done < <(printf '%s\n' "${MISSING[@]}")
}

plan_to_remove() { # what is removed takes along what hangs on it
  local kind a b c
  local -A gone=()
  while read -r kind a b c; do
    case $kind in
      bridge) host "link del dev $a" && gone[$a]=1 ;;
      veth) host "link del dev $c" && gone[inside $a]=1 ;;
      namespace | stale) host "netns del $a" && gone[inside $a]=1 ;;
      bridge-address) [[ -n ${gone[$a]:-} ]] || host "addr del $b dev $a" ;;
      address) [[ -n ${gone[inside $a]:-} ]] || inside "$a" "addr del $c dev $b" ;;
      route) [[ -n ${gone[inside $a]:-} ]] || inside "$a" "route del default $b $c" ;;
    esac
  done < <(printf '%s\n' "${SURPLUS[@]}")
}

# --- from commands to the kernel -----------------------------------------------------------------

carry_out() { # shows what will be done, then does it
  local namespace lines
  ((${#HOST[@]} + ${#ORDER[@]} > 0)) || return 0
  ((${#HOST[@]} == 0)) || printf "$DIM+ ip %s$PLAIN\n" "${HOST[@]}"
  for namespace in "${ORDER[@]}"; do
    mapfile -t lines <<<"${INSIDE[$namespace]%$'\n'}"
    printf "$DIM+ ip -n $namespace %s$PLAIN\n" "${lines[@]}"
  done
  [[ -n ${DRY_RUN:-} ]] || run_batches
}

# One process for the host's side, then one for each namespace, as many at a time as there are processors.
run_batches() {
  local namespace
  rm -rf "$BATCHES"
  mkdir -p "$BATCHES/inside"
  printf '%s\n' "${HOST[@]}" >"$BATCHES/host"
  for namespace in "${ORDER[@]}"; do printf '%s' "${INSIDE[$namespace]}" >"$BATCHES/inside/$namespace"; done
  if ! ip -batch "$BATCHES/host" 2>"$BATCHES/complaints" ||
    ! printf '%s\n' "${ORDER[@]}" | xargs -rP "$(nproc)" -I{} ip -n {} -batch "$BATCHES/inside/{}" 2>"$BATCHES/complaints"; then
    die_of_complaints
  fi
  rm -r "$BATCHES"
}

die_of_complaints() { # ip's words, then "Command failed FILE:LINE"; that line is what people need
  local line words='' file=''
  while read -r line; do
    [[ ! $line =~ ^Command\ failed\ (.*):([0-9]+)$ ]] || { file=${BASH_REMATCH[1]} && break; }
    words+="$line; "
  done <"$BATCHES/complaints"
  [[ -n $file ]] || die "$words"
  line=$(sed -n "${BASH_REMATCH[2]}p" "$file")
  [[ $file == */host ]] || line="-n ${file##*/} $line"
  rm -r "$BATCHES"
  die "${words}it was: ip $line"
}

converge() {
  local -A INSIDE=()
  local HOST=() ORDER=()
  if ((${#SURPLUS[@]} > 0)); then
    plan_to_remove
    carry_out
    HOST=() INSIDE=() ORDER=()
    [[ -n ${DRY_RUN:-} ]] || compare_facts # what was removed took other facts with it
  fi
  plan_to_make
  carry_out
}

# --- commands ------------------------------------------------------------------------------------

up() {
  [[ -n ${DRY_RUN:-} ]] || need_root up
  need_tools ip jq
  load_topology
  take_lock
  compare_facts
  check_network
  [[ -n $LIVE ]] || defer remove_network
  converge
  forget_undo
}

# Namespaces before links: a `down` cut short leaves links, by which the next one knows which are ours.
remove_network() {
  local HOST=() ORDER=() names
  names=$(our_namespaces)
  [[ -z $names ]] || mapfile -t HOST <<<"$names"
  HOST=("${HOST[@]/#/netns del }")
  [[ -z $(ip link show group "$LINK_GROUP") ]] || host "link del group $LINK_GROUP"
  carry_out
}

down() {
  [[ -n ${DRY_RUN:-} ]] || need_root down
  need_tools ip jq
  take_lock
  remove_network
}

status() {
  local fact
  need_root status
  need_tools ip jq
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
