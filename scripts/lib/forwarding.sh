# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# Find the interfaces that forward for the lab, and for other programs. Sourced after rules.sh.
# BRIDGES4 and BRIDGES6 are the bridges that have an address of the family; UPLINKS and UPLINKS6 the interfaces of the
# host's default routes, if there is such a bridge.
#
# For IPv6 a host forwards on all interfaces or, from Linux 6.17, also on single ones (force_forwarding). A host that
# forwards on all ignores router advertisements, and may lose its own default route: the lab never switches that on.

interfaces_of_others() { # print other interfaces that forward
  local ours file interface
  ours=" all default lo $(ip -j link show group "$LINK_GROUP" 2>/dev/null | jq -r '[.[].ifname // empty] | join(" ")') "
  while read -r file; do
    interface=${file%/forwarding} interface=${interface##*/}
    [[ $ours == *" $interface "* ]] || echo "$interface"
  done < <(grep -lsx 1 /proc/sys/net/ipv4/conf/*/forwarding)
}

read_interfaces() {
  local bridge
  BRIDGES4=() BRIDGES6=() UPLINKS=() UPLINKS6=()
  for bridge in "${BRIDGES[@]}"; do
    [[ ${ADDRESS[$bridge]} == *:* ]] || BRIDGES4+=("$bridge")
    [[ ${ADDRESS6[$bridge]:--} == - ]] || BRIDGES6+=("$bridge")
  done
  ((${#BRIDGES4[@]} == 0)) || mapfile -t UPLINKS < <(uplinks)
  ((${#BRIDGES6[@]} == 0)) || mapfile -t UPLINKS6 < <(uplinks 6)
}

can_forward_one6() { [[ -e /proc/sys/net/ipv6/conf/all/force_forwarding ]]; }

forwards6() { # INTERFACE|all
  local setting=force_forwarding
  [[ $1 != all ]] || setting=forwarding
  [[ $(cat "/proc/sys/net/ipv6/conf/$1/$setting" 2>/dev/null) == 1 ]]
}

print_ipv6_note() {
  ((${#BRIDGES6[@]} == 0)) || can_forward_one6 || forwards6 all ||
    say "${YELLOW}note${PLAIN}     no IPv6 packet leaves or enters the lab: this kernel (before 6.17) forwards IPv6" \
      "on all interfaces or none. To switch it on: sudo sysctl -w net.ipv6.conf.all.forwarding=1" \
      "(first accept_ra=2 on an interface that gets its addresses from router advertisements)"
}

# Print the state with the uplinks that do not forward yet; if there are any, also the interfaces that forward already.
state_with_forwarding() { # STATE
  local interface words others
  words="$(this_boot) chains=$(state_words "$1" chains)" others=$(state_words "$1" forwarding)
  for interface in "${UPLINKS[@]}"; do
    [[ " $1 " != *" not-forwarding=$interface "* ]] && forwards "$interface" || words+=" not-forwarding=$interface"
  done
  if [[ $words == *not-forwarding=* ]]; then
    [[ $1 == *not-forwarding=* ]] || others=$(if forwards all; then echo all; else interfaces_of_others; fi)
    for interface in $others; do words+=" forwarding=$interface"; done
  fi
  for interface in "${UPLINKS6[@]}"; do
    [[ " $1 " != *" not-forwarding6=$interface "* ]] && forwards6 "$interface" || words+=" not-forwarding6=$interface"
  done
  echo "$words"
}

# Print which forwarding others have switched on since `up`; nothing if none.
others_need_forwarding() { # STATE
  local interface
  [[ " $1 " != *" forwarding=all "* ]] || return 0 # forwarding was on before `up`
  if forwards all; then echo "net.ipv4.ip_forward is 1 now" && return; fi
  for interface in $(interfaces_of_others); do
    [[ " $1 " == *" not-forwarding=$interface "* || " $1 " == *" forwarding=$interface "* ]] ||
      { echo "$interface forwards now, and did not before up" && return; }
  done
}

guarded_interfaces() { # STATE: print interfaces that forward only for the lab
  [[ -n $(others_need_forwarding "$1") ]] || state_words "$1" not-forwarding
}

guarded_interfaces6() { forwards6 all || state_words "$1" not-forwarding6; } # STATE

# Print a line for each guarded interface that others need now: forwarding may be switched on at any time, but the guard
# stays until the next `up`.
guards_in_the_way() { # STATE
  local interface needed
  needed=$(others_need_forwarding "$1")
  [[ -n $needed ]] || return 0
  for interface in $(state_words "$1" not-forwarding); do
    [[ $DIFFERENCES != *"surplus  "*"\"cnet: $interface did not forward before up: drop"* ]] ||
      echo "${YELLOW}surplus${PLAIN}  $interface drops packets that others route through it: it did not forward" \
        "before up: $needed; sudo make network"
  done
}

restore_interfaces() { # STATE INTERFACE...
  local interface needed
  needed=$(others_need_forwarding "$1")
  for interface in "${@:2}"; do
    if forwards "$interface" && [[ -n $needed ]]; then
      say "$SCRIPT: $interface keeps forwarding, although it did not before up: $needed"
    elif forwards "$interface"; then run sysctl -qw "net/ipv4/conf/$interface/forwarding=0"; fi
  done
}

restore_old_uplinks() { # STATE: of interfaces that have no default route any more
  local interface old=()
  for interface in $(state_words "$1" not-forwarding); do
    [[ " ${UPLINKS[*]} " == *" $interface "* ]] || old+=("$interface")
  done
  ((${#old[@]} == 0)) || restore_interfaces "$1" "${old[@]}"
  for interface in $(state_words "$1" not-forwarding6); do
    [[ " ${UPLINKS6[*]} " == *" $interface "* ]] || stop_forwarding6 "$interface"
  done
}

stop_forwarding6() { # INTERFACE
  ! forwards6 "$1" || run sysctl -qw "net/ipv6/conf/$1/force_forwarding=0"
}

restore_forwarding() { # STATE; a bridge gets the setting of a new interface
  local bridge interface
  for bridge in $(bridges_up); do
    ! forwards "$bridge" || forwards default || run sysctl -qw "net/ipv4/conf/$bridge/forwarding=0"
  done
  for interface in $(bridges_up) $(state_words "$1" not-forwarding6); do stop_forwarding6 "$interface"; done
  # shellcheck disable=SC2046 # words
  restore_interfaces "$1" $(state_words "$1" not-forwarding)
}
