#!/usr/bin/env bash
# Phase 1: masquerading, port forwarding, and the host's settings for both.
#
#   out:  node -> bridge -> FORWARD -> POSTROUTING: source becomes the host's address
#   in:   client -> host:8080 -> PREROUTING: destination becomes the node's -> FORWARD -> bridge
#   localhost: OUTPUT (a locally made packet never passes PREROUTING), source 127.0.0.1 becomes the bridge's
#
# The host forwards what enters by the lab's bridges and by the interfaces of its own default routes, and nothing else
# that it did not forward before: net.ipv4.ip_forward and net.ipv6.conf.all.forwarding, which switch every interface, do
# not change.
#
#   scripts/nat.sh up       load the rules that are missing or differ, switch forwarding on
#   scripts/nat.sh down     remove the rules, restore each interface's forwarding
#   scripts/nat.sh status   print each difference; exit 1 if there is any
#   scripts/nat.sh check    check that the published ports are free, change nothing
#   scripts/nat.sh help
#
# The column `publishes` of the topology table selects the ports; lab/nat.py has the rules. DRY_RUN=1 only prints the
# commands.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/rules.sh
source "$ROOT/scripts/lib/rules.sh"

# shellcheck source=scripts/lib/forwarding.sh
source "$ROOT/scripts/lib/forwarding.sh"

CHAINS='PUBLISH|POSTROUTING|FORWARD|INPUT|NODES' # keep the same list in lab/nat.py
TABLES=(ip/mangle ip/nat ip/filter ip6/mangle ip6/nat ip6/filter)

# NODE HOST_PORT PORT PROTOCOL for each published port.
publications() {
  local node item
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} != - ]] || continue
    for item in ${PUBLISHES[$node]//,/ }; do
      local inside=${item#*:}
      echo "$node ${item%%:*} ${inside%/*} ${item#*/}"
    done
  done
}

wanted_sysctls() { # KEY VALUE
  local interface
  for interface in "${BRIDGES4[@]}" "${UPLINKS[@]}"; do echo "net/ipv4/conf/$interface/forwarding 1"; done
  forwards6 all || ! can_forward_one6 ||
    for interface in "${BRIDGES6[@]}" "${UPLINKS6[@]}"; do echo "net/ipv6/conf/$interface/force_forwarding 1"; done
  for interface in $(publications | while read -r node _; do echo "${BRIDGE[$node]}"; done | sort -u); do
    [[ " ${BRIDGES4[*]} " != *" $interface "* ]] || echo "net/ipv4/conf/$interface/route_localnet 1"
  done
}

differing_sysctls() {
  local key value
  while read -r key value; do
    [[ $(cat "/proc/sys/$key" 2>/dev/null) == "$value" ]] || echo "$key $value"
  done < <(wanted_sysctls)
}

check_host_port() { # HOST_PORT PROTOCOL NODE
  local holder
  holder=$(ss -Hnlp "--$2" "sport = :$1" | sed -nE 's/.*users:\(\("([^"]+)",pid=([0-9]+).*/\1 (pid \2)/p' | sed -n 1p)
  [[ -z $(ss -Hnl "--$2" "sport = :$1") ]] ||
    die "port $1 of the host is in use by ${holder:-another program}; stop it, or use another port:" \
      "$(other_port "$1" "$2")"
}

# Print the first port that a foreign rule forwards: PORT/PROTOCOL, RULE and COMMAND, with tabs between.
forwarded_by_others() {
  local ports
  ports=$(publications | awk '{ print $2 "/" $4 }')
  # shellcheck disable=SC2086 # words
  [[ -z $ports ]] || run_python -m lab.ruleset.taken_ports $ports
}

other_port() { # HOST_PORT PROTOCOL: print how to publish another, free port
  local port
  for port in $(seq "$(($1 + 10))" 10 "$(($1 + 200))"); do
    [[ -n $(ss -Hnl "--$2" "sport = :$port") ]] || { with_own_table "s/\([[:blank:],]\)$1:/\1$port:/" && return; }
  done
  echo "change it in a copy of $TABLE"
}

check_host_ports() {
  local node host_port protocol taken rule command
  need_tools python3
  while read -r node host_port _ protocol; do check_host_port "$host_port" "$protocol" "$node"; done < <(publications)
  taken=$(forwarded_by_others)
  IFS=$'\t' read -r taken rule command <<<"$taken"
  [[ -z $taken ]] ||
    die "port ${taken%/*} of the host is already forwarded by a rule that is not the lab's:" \
      "$rule; \`$command\`, or publish another port in $TABLE"
}

check_bridges() {
  local bridge
  [[ -z ${DRY_RUN:-} ]] || return 0 # a dry run creates no bridges
  for bridge in "${BRIDGES[@]}"; do
    ip link show "$bridge" &>/dev/null || die "there is no bridge $bridge yet; scripts/network.sh up"
  done
}

prepare() {
  need_tools ip jq iptables-save iptables-restore conntrack sysctl unshare ss python3
  load_topology
  read_interfaces
}

compare_with_table() { # STATE
  # shellcheck disable=SC2046 # words
  TOPOLOGY=$TABLE compare_rules lab.nat "$1" $(guarded_interfaces "$1") -- $(guarded_interfaces6 "$1")
}

# The kernel chooses a translation when a connection begins: delete the connections that began under other rules.
forget_connections() {
  local bridge host_port protocol
  for bridge in "${BRIDGES4[@]}"; do forget_tracked -s "$(network_cidr "${ADDRESS[$bridge]}")"; done
  for bridge in "${BRIDGES6[@]}"; do forget_tracked -f ipv6 -s "${ADDRESS6[$bridge]}"; done
  while read -r _ host_port _ protocol; do
    [[ -z $host_port || ${#BRIDGES4[@]} == 0 ]] || forget_tracked -p "$protocol" --dport "$host_port"
    [[ -z $host_port || ${#BRIDGES6[@]} == 0 ]] || forget_tracked -f ipv6 -p "$protocol" --dport "$host_port"
  done < <(publications)
}

up() {
  need_root
  prepare
  take_lock
  check_host_ports
  check_bridges
  local state key value settings=()
  state=$(state_before_up nat "${TABLES[@]}")
  restore_old_uplinks "$state"
  state=$(state_with_forwarding "$state")
  compare_with_table "$state"
  write_state nat "$state"
  if [[ -n ${CHANGE[iptables]}${CHANGE[ip6tables]} ]]; then
    ((LIVE_RULES > 0)) || defer remove_rules
    apply_rules iptables
    apply_rules ip6tables
    forget_connections
  fi
  while read -r key value; do settings+=("$key=$value"); done < <(differing_sysctls)
  ((${#settings[@]} == 0)) || run sysctl -qw "${settings[@]}"
  forget_undo
  print_ipv6_note
}

remove_rules() {
  local state
  compare_rules lab.ruleset iptables,ip6tables "$CHAINS" </dev/null
  [[ -n ${CHANGE[iptables]}${CHANGE[ip6tables]} || -e $BEFORE_UP.nat ]] || return 0
  state=$(state_before_up nat "${TABLES[@]}")
  write_state nat "$state"
  restore_forwarding "$state" # stop forwarding before the guards are removed
  apply_rules iptables
  apply_rules ip6tables
  remove_empty_builtin_chains "$state" "${TABLES[@]}"
  remove_state nat
}

down() {
  need_root
  need_tools ip jq iptables-save iptables-restore sysctl python3
  if (load_topology) 2>/dev/null; then load_topology && read_interfaces; fi
  take_lock
  remove_rules
  forget_connections
}

status() {
  prepare
  local state drift=0 line
  state=$(state_before_up nat "${TABLES[@]}")
  compare_with_table "$state"
  [[ -z $DIFFERENCES ]] || { guards_in_the_way "$state" && print_differences && drift=1; }
  while read -r line; do echo "${RED}missing${PLAIN}  sysctl ${line/ / = }" && drift=1; done < <(differing_sysctls)
  ((drift == 0)) || return 1
  print_ipv6_note
  echo "${GREEN}nat${PLAIN}      $LIVE_RULES rules match $TABLE"
}

case ${1:-help} in
  up | down | status) "$1" ;;
  check) prepare && check_host_ports ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
