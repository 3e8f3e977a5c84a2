#!/usr/bin/env bash
# Phase 1, the way in and out: masquerading, port forwarding, and what the host needs for both.
#
#   out:  node -> bridge -> FORWARD -> POSTROUTING: source becomes the host's address
#   in:   client -> host:8080 -> PREROUTING: destination becomes the node's -> FORWARD -> bridge
#   localhost: OUTPUT (a locally made packet never passes PREROUTING), source 127.0.0.1 becomes the bridge's
#
# The host forwards what enters by the lab's bridges and by its own default routes' interfaces, and nothing else that it
# did not forward before: net.ipv4.ip_forward, which switches every interface, stays as it is.
#
#   scripts/nat.sh up       load the rules that are missing or differ, switch forwarding on
#   scripts/nat.sh down     take them all away, restore each interface's forwarding
#   scripts/nat.sh status   name each difference; 1 if any
#   scripts/nat.sh check    look for what would be in the way (a taken port), change nothing
#   scripts/nat.sh help
#
# What is forwarded is the column `publishes` of the topology table. DRY_RUN=1 shows, does nothing.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/topology.sh"
# shellcheck source=scripts/lib/rules.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/rules.sh"

CHAINS='PUBLISH|POSTROUTING|FORWARD|INPUT|NODES'
TABLES=(ip/mangle ip/nat ip/filter)
CLIENT_CONNECTIONS=256 # that one address outside may hold to a published port

rule() { # TABLE CHAIN WHY MATCH...
  printf '%s -A %s -m comment --comment "cnet: %s" %s\n' "$1" "$2" "$3" "${*:4}"
}

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

publishing_rules() { # NODE HOST_PORT PORT PROTOCOL
  local node=$1 bridge=${BRIDGE[$1]} address=${ADDRESS[$1]%/*} to
  to="-d $address/32 -o $bridge -p $4 -m $4 --dport $3"
  rule nat CNET-PUBLISH "$node: port $2 of the host is port $3 of the node" \
    "-p $4 -m $4 --dport $2 -j DNAT --to-destination $address:$3"
  rule nat CNET-POSTROUTING "$node: a node that came by the host is answered by the host, not past it" \
    "-s $(network_cidr "${ADDRESS[$bridge]}") $to -m conntrack --ctstate DNAT -j MASQUERADE"
  rule nat CNET-POSTROUTING "$node: 127.0.0.1 has no meaning outside the host, so localhost leaves as the bridge" \
    "-s 127.0.0.0/8 $to -j MASQUERADE"
}

# Half-open requests count too, which nginx does not see before their header is whole. The host itself does not pass here,
# nodes are accepted before.
client_limits() { # BRIDGE
  local node host_port port protocol
  while read -r node host_port port protocol; do
    [[ -n $node && ${BRIDGE[$node]} == "$1" && $protocol == tcp ]] || continue
    rule filter CNET-FORWARD "$node: an address may hold $CLIENT_CONNECTIONS connections to port $host_port of the host" \
      "-d ${ADDRESS[$node]%/*}/32 -o $1 -p tcp -m tcp --dport $port -m connlimit" \
      "--connlimit-above $CLIENT_CONNECTIONS --connlimit-mask 32 --connlimit-saddr -j REJECT --reject-with tcp-reset"
  done < <(publications)
}

outgoing_rules() { # BRIDGE
  local network
  network=$(network_cidr "${ADDRESS[$1]}")
  rule nat CNET-POSTROUTING "$1: nodes leave with the address of the host: nobody outside knows theirs" \
    "-s $network ! -o $1 -j MASQUERADE"
  rule filter CNET-FORWARD "$1: nodes may open connections" "-i $1 -j ACCEPT"
}

incoming_rules() { # BRIDGE
  rule filter CNET-FORWARD "$1: answers come back" "-o $1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
  client_limits "$1"
  rule filter CNET-FORWARD "$1: published ports may be reached" "-o $1 -m conntrack --ctstate DNAT -j ACCEPT"
  rule filter CNET-INPUT "$1: route_localnet must not open loopback services of the host to nodes" \
    "-d 127.0.0.0/8 -i $1 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
}

# What one node sends to another ends here, in each table that it meets, so that no rule of somebody else translates,
# marks or drops it. Frames between two ports of a bridge pass here as well, by br_netfilter.
rules_between_nodes() {
  local bridge table
  for bridge in "${BRIDGES[@]}"; do
    rule nat CNET-POSTROUTING "$bridge: packets to nodes keep their source, whichever rules follow" "-o $bridge -j ACCEPT"
  done
  for table in mangle nat; do
    for bridge in "${BRIDGES[@]}"; do
      rule "$table" CNET-NODES "$bridge: packets between nodes meet no other rule of this table" \
        "-d $(network_cidr "${ADDRESS[$bridge]}") -m addrtype ! --dst-type LOCAL -j ACCEPT"
      rule "$table" PREROUTING "$bridge: from nodes" "-i $bridge -j CNET-NODES"
    done
  done
  for bridge in "${BRIDGES[@]}"; do
    rule mangle FORWARD "$bridge: from nodes" "-i $bridge -j CNET-NODES"
    rule mangle POSTROUTING "$bridge: from nodes" "-s $(network_cidr "${ADDRESS[$bridge]}") -j CNET-NODES"
  done
}

hooks() {
  rule nat PREROUTING "to an address of the host, from outside or a node" "-m addrtype --dst-type LOCAL -j CNET-PUBLISH"
  rule nat OUTPUT "to an address of the host, made by the host" "-m addrtype --dst-type LOCAL -j CNET-PUBLISH"
  rule nat POSTROUTING "what leaves" "-j CNET-POSTROUTING"
  rule filter INPUT "what is for the host" "-j CNET-INPUT"
  rule filter FORWARD "what passes through" "-j CNET-FORWARD"
  # Docker sets FORWARD to DROP and puts its own chains first; DOCKER-USER is the place it keeps for others.
  ! iptables-save -t filter | grep '^:DOCKER-USER ' >/dev/null || rule filter DOCKER-USER "what passes through, before Docker" "-j CNET-FORWARD"
}

# An interface that forwards for the lab's sake. Connections that somebody began by another interface, or publishes (as
# Docker does, when it starts later), pass: that one forwards for its owner's sake.
guard_rules() { # INTERFACE
  local bridge
  for bridge in "${BRIDGES[@]}"; do
    rule filter CNET-FORWARD "$1 did not forward before up: traffic to $bridge may pass" "-i $1 -o $bridge -j RETURN"
  done
  rule filter CNET-FORWARD "$1 did not forward before up: it opens no connection to other interfaces" \
    "-i $1 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
}

memory_rules() { # MEMORY: one for each interface, for a comment has at most 255 characters
  local words
  words=$(saved_words "$1" boot)
  rule filter CNET-FORWARD "before up: boot=$words chains=$(saved_words "$1" chains)" ""
  for words in $(saved_words "$1" not-forwarding); do rule filter CNET-FORWARD "before up: not-forwarding=$words" ""; done
  for words in $(saved_words "$1" forwarding); do rule filter CNET-FORWARD "before up: forwarding=$words" ""; done
}

wanted_rules() { # MEMORY
  local bridge publication interface
  {
    memory_rules "$1"
    while read -r publication; do
      # shellcheck disable=SC2086 # four words
      [[ -z $publication ]] || publishing_rules $publication
    done < <(publications)
    rules_between_nodes
    for bridge in "${BRIDGES[@]}"; do outgoing_rules "$bridge"; done
    for bridge in "${BRIDGES[@]}"; do incoming_rules "$bridge"; done
    [[ -n $(who_needs_forwarding "$1") ]] || for interface in $(saved_words "$1" not-forwarding); do guard_rules "$interface"; done
    hooks
  } | spell "$CHAINS"
}

wanted_sysctls() { # KEY VALUE
  local interface
  for interface in "${BRIDGES[@]}" "${WAYS_OUT[@]}"; do echo "net/ipv4/conf/$interface/forwarding 1"; done
  for interface in $(publications | while read -r node _; do echo "${BRIDGE[$node]}"; done | sort -u); do
    echo "net/ipv4/conf/$interface/route_localnet 1"
  done
}

differing_sysctls() {
  local key value
  while read -r key value; do
    [[ $(cat "/proc/sys/$key" 2>/dev/null) == "$value" ]] || echo "$key $value"
  done < <(wanted_sysctls)
}

# --- whose forwarding is whose --------------------------------------------------------------------

others_forwarding() { # interfaces that forward, without the lab's own
  local ours
  ours=$(ip -j link show group "$LINK_GROUP" 2>/dev/null | jq -r '.[].ifname // empty')
  { grep -lsx 1 /proc/sys/net/ipv4/conf/*/forwarding || :; } | awk -F/ -v ours="$ours" '
    BEGIN { split(ours, list, "\n"); for (i in list) skip[list[i]]; skip["all"]; skip["default"]; skip["lo"] }
    !($7 in skip) { print $7 }'
}

# MEMORY for what is a way out now: those that do not forward yet, and with the first of them who does for somebody else.
with_forwarding() { # MEMORY
  local interface words others
  words="$(this_boot) chains=$(saved_words "$1" chains)" others=$(saved_words "$1" forwarding)
  for interface in "${WAYS_OUT[@]}"; do
    [[ " $1 " != *" not-forwarding=$interface "* ]] && forwards "$interface" || words+=" not-forwarding=$interface"
  done
  if [[ $words == *not-forwarding=* ]]; then
    [[ $1 == *not-forwarding=* ]] || others=$(if forwards all; then echo all; else others_forwarding; fi)
    for interface in $others; do words+=" forwarding=$interface"; done
  fi
  echo "$words"
}

who_needs_forwarding() { # MEMORY: somebody else who has switched it on since `up`
  local interface
  [[ " $1 " != *" forwarding=all "* ]] || return 0 # it was on, so nobody had to
  if forwards all; then echo "net.ipv4.ip_forward is 1 now" && return; fi
  for interface in $(others_forwarding); do
    [[ " $1 " == *" not-forwarding=$interface "* || " $1 " == *" forwarding=$interface "* ]] ||
      { echo "$interface forwards now, and did not before up" && return; }
  done
}

# The kernel shows no rule whether forwarding was switched on, so a guard stays until the next `up`.
tell_cut_off() { # MEMORY LIVE: a line for each interface that is guarded though somebody else needs it
  local interface needed
  needed=$(who_needs_forwarding "$1")
  [[ -n $needed ]] || return 0
  for interface in $(saved_words "$1" not-forwarding); do
    [[ $2 != *"\"cnet: $interface did not forward before up: it opens"* ]] ||
      echo "${YELLOW}surplus${PLAIN}  $interface drops what others route by it, since it did not forward before up: $needed; sudo make network"
  done
}

restore_interfaces() { # MEMORY INTERFACE...
  local interface needed
  needed=$(who_needs_forwarding "$1")
  for interface in "${@:2}"; do
    if forwards "$interface" && [[ -n $needed ]]; then
      say "$SCRIPT: $interface keeps forwarding, although it did not before up: $needed"
    elif forwards "$interface"; then run sysctl -qw "net/ipv4/conf/$interface/forwarding=0"; fi
  done
}

restore_old_ways() { # MEMORY: by which the host does not reach the outside any more
  local interface old=()
  for interface in $(saved_words "$1" not-forwarding); do
    [[ " ${WAYS_OUT[*]} " == *" $interface "* ]] || old+=("$interface")
  done
  ((${#old[@]} == 0)) || restore_interfaces "$1" "${old[@]}"
}

restore_forwarding() { # MEMORY; bridges get what a new interface gets
  local bridge
  for bridge in $(bridges_up); do
    ! forwards "$bridge" || forwards default || run sysctl -qw "net/ipv4/conf/$bridge/forwarding=0"
  done
  # shellcheck disable=SC2046 # words
  restore_interfaces "$1" $(saved_words "$1" not-forwarding)
}

check_host_port() { # HOST_PORT PROTOCOL NODE
  local holder
  holder=$(ss -Hnlp "--$2" "sport = :$1" | sed -nE 's/.*users:\(\("([^"]+)",pid=([0-9]+).*/\1 (pid \2)/p' | sed -n 1p)
  [[ -z $(ss -Hnl "--$2" "sport = :$1") ]] ||
    die "port $1 of the host is held by ${holder:-another program}; stop it, or take another port: $(other_port "$1" "$2")"
}

# "PORT/PROTOCOL<tab>RULE<tab>COMMAND" of the first port that a rule of others forwards, whichever tool made it.
forwarded_by_others() {
  local ports
  ports=$(publications | awk '{ print $2 "/" $4 }')
  # shellcheck disable=SC2086 # words
  [[ -z $ports ]] || (cd "$ROOT" && python3 -S -m lab.ruleset.taken_ports $ports)
}

other_port() { # HOST_PORT PROTOCOL: how to take one that is free
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
  [[ -z $taken ]] || die "port ${taken%/*} of the host is already forwarded by a rule that is not the lab's: $rule; \`$command\`, or publish another port in $TABLE"
}

check_bridges() {
  local bridge
  [[ -z ${DRY_RUN:-} ]] || return 0 # it would be there by now
  for bridge in "${BRIDGES[@]}"; do
    ip link show "$bridge" &>/dev/null || die "there is no bridge $bridge yet; scripts/network.sh up"
  done
}

prepare() {
  need_tools ip jq iptables-save iptables-restore conntrack sysctl unshare ss
  load_topology
  mapfile -t WAYS_OUT < <(ways_out)
}

# A translation is chosen when a connection begins; one that began under other rules would live on.
forget_connections() {
  local bridge host_port protocol
  for bridge in "${BRIDGES[@]}"; do forget_tracked -s "$(network_cidr "${ADDRESS[$bridge]}")"; done
  while read -r _ host_port _ protocol; do
    [[ -z $host_port ]] || forget_tracked -p "$protocol" --dport "$host_port"
  done < <(publications)
}

up() {
  need_root
  prepare
  take_lock
  check_host_ports
  check_bridges
  local live wanted memory key value
  live=$(live_rules "$CHAINS")
  memory=$(chains_before nat "$live" "${TABLES[@]}")
  restore_old_ways "$memory"
  memory=$(with_forwarding "$memory")
  wanted=$(wanted_rules "$memory")
  keep_memory nat "$memory"
  if rules_differ "$wanted" "$live"; then
    [[ -n $live ]] || defer remove_rules
    apply_rules "$wanted" "$live"
    forget_connections
  fi
  while read -r key value; do run sysctl -qw "$key=$value"; done < <(differing_sysctls)
  forget_undo
}

remove_rules() {
  local live memory
  live=$(live_rules "$CHAINS")
  [[ -n $live || -e $BEFORE_UP.nat ]] || return 0
  memory=$(chains_before nat "$live" "${TABLES[@]}")
  keep_memory nat "$memory"
  restore_forwarding "$memory" # while the rules still guard
  [[ -z $live ]] || apply_rules '' "$live"
  give_back_chains "$memory" "${TABLES[@]}"
  forget_memory nat
}

down() {
  need_root
  need_tools ip jq iptables-save iptables-restore sysctl
  if (load_topology) 2>/dev/null; then load_topology; fi
  take_lock
  remove_rules
  forget_connections
}

status() {
  prepare
  local live wanted memory differing drift=0 line
  live=$(live_rules "$CHAINS")
  memory=$(chains_before nat "$live" "${TABLES[@]}")
  wanted=$(wanted_rules "$memory")
  differing=$(rule_differences "$wanted" "$live")
  [[ $differing != *' did not forward before up: '* ]] || tell_cut_off "$memory" "$live"
  [[ -z $differing ]] || { echo "$differing" && drift=1; }
  while read -r line; do echo "${RED}missing${PLAIN}  sysctl ${line/ / = }" && drift=1; done < <(differing_sysctls)
  ((drift == 0)) || return 1
  echo "${GREEN}nat${PLAIN}      $(grep -c -- ' -A ' <<<"$live") rules as $TABLE says"
}

case ${1:-help} in
  up | down | status) "$1" ;;
  check) prepare && check_host_ports ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
