#!/usr/bin/env bash
# Phase 4.3, the policy of allowed connections: load its table as rules, all at once or none.
#
#   node --[ebtables: own MAC and address?]--> bridge --[iptables, table security: does the policy allow it?]--> node
#
# For IPv6 addresses of the table, ip6tables has the same chains.
#
#   security/policy.sh up       load the rules if any differ; pass the bridges' frames to iptables and ip6tables
#   security/policy.sh down     remove both again
#   security/policy.sh status   print each difference; exit 1 if any
#   security/policy.sh check    check the table, change nothing: silent when good, else FILE:LINE: COLUMN: reason
#   security/policy.sh allowed [TO:]PROTOCOL[/PORT]...   what nodes may send there: FROM TO PROTOCOL[/PORT] a line each
#   security/policy.sh path     print the path of the lab's policy table; nothing if there is none
#   security/policy.sh help
#
# The table is security/NAME.tsv for topology/NAME.tsv; POLICY=NAME|PATH selects another. DRY_RUN=1 only shows.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/rules.sh
source "$ROOT/scripts/lib/rules.sh"

CHAINS='FRAMES|WIRE-.*|ORIGIN.*|FROM-.*|TO-.*|ALLOWED|DROP-.*' # names of all chains that a policy can have
TABLES=(ip/raw ip/security ip6/raw ip6/security bridge/nat)
TOOLS=iptables,ip6tables,ebtables

policy() { run_python -m security.policy "$@"; }

# Compare the wanted rules with the live ones; CHANGE, DIFFERENCES, LIVE_RULES and WANTED_RULES then hold the result.
compare() {
  local rules
  rules=$(policy compile "$(state_before_up policy "${TABLES[@]}")") || exit 1
  compare_rules lab.ruleset "$TOOLS" "$CHAINS" <<<"$rules"
}

is_changed() { [[ -n ${CHANGE[iptables]}${CHANGE[ip6tables]}${CHANGE[ebtables]} ]]; }

# Load the rules of each tool in one transaction. Frames of IPv6 pass only while ip6tables checks their packets.
load_rules() {
  ((${#ADDRESS6[@]} == 0)) || apply_rules ip6tables
  apply_rules ebtables
  apply_rules iptables
  ((${#ADDRESS6[@]} > 0)) || apply_rules ip6tables
}

# --- the bridges ----------------------------------------------------------------------------------

# Loading the module br_netfilter switches filtering on for every bridge of the host; switch it off again at once.
load_br_netfilter() {
  local family
  [[ ! -d /proc/sys/net/bridge && -z ${DRY_RUN:-} ]] || return 0
  run modprobe br_netfilter ||
    die "cannot load br_netfilter, so no policy can filter between nodes of one bridge;" \
      "use a kernel with CONFIG_BRIDGE_NETFILTER"
  for family in ip ip6 arp; do run sysctl -qw "net/bridge/bridge-nf-call-${family}tables=0"; done
}

differing_bridges() { # 0|1: list bridges whose br_netfilter settings differ
  ip -j -d link show group "$LINK_GROUP" type bridge 2>/dev/null | jq -r --argjson wanted "$1" '
    .[] | select(.ifname)
    | select(.linkinfo.info_data
      | [.nf_call_iptables, .nf_call_ip6tables, .nf_call_arptables] != [$wanted, $wanted, $wanted])
    | .ifname' || : # no bridge is up
}

filter_bridges() { # 0|1
  local bridge differing
  differing=$(differing_bridges "$1")
  [[ -z $differing || $1 == 0 ]] || forget_unseen "$differing"
  # shellcheck disable=SC2046 # words
  for bridge in $differing; do run ip link set dev "$bridge" type bridge $(filtering "$1"); done
}

# While filtering was off, conntrack did not see the connections between nodes: its entries have old sequence numbers,
# so packets would be INVALID and dropped. Delete these entries; conntrack then picks the connections up as new ones.
forget_unseen() { # BRIDGES
  local bridge family network
  for bridge in $1; do
    while read -r family network; do
      forget_tracked -f "$family" -s "$network" -d "$network"
    done < <(ip -j addr show dev "$bridge" | jq -r '.[].addr_info[] | select(.scope == "global") |
      "\(if .family == "inet6" then "ipv6" else "ipv4" end) \(.local)/\(.prefixlen)"')
  done
}

# --- commands -------------------------------------------------------------------------------------

prepare() {
  need_tools ip jq python3 iptables-save iptables-restore ebtables-save ebtables-restore unshare conntrack
  load_topology
  ((${#ADDRESS6[@]} == 0)) || need_tools ip6tables-save ip6tables-restore
  export TOPOLOGY=$TABLE
}

up() {
  need_root
  prepare
  take_lock
  load_br_netfilter
  compare
  ((LIVE_RULES > 0)) || defer remove_policy
  write_state policy "$(state_before_up policy "${TABLES[@]}")"
  ! is_changed || load_rules
  filter_bridges 1
  ! is_changed || forget_denied
  forget_undo
}

# Packets of established connections are not checked again: delete the conntrack entries that the policy now denies.
forget_denied() {
  local family families=ipv4 tracked denied connection failed=0
  [[ -z ${DRY_RUN:-} ]] || return 0
  ((${#ADDRESS6[@]} == 0)) || families+=" ipv6"
  tracked=$(for family in $families; do # conntrack prints its total on stderr
    conntrack -L -f "$family" 2> >(grep -v 'flow entries have been shown' >&2)
  done)
  denied=$(policy stale <<<"$tracked")
  while read -r connection; do
    # shellcheck disable=SC2086 # words
    [[ -z $connection ]] || forget_tracked $connection || failed=1
  done <<<"$denied"
  ((failed == 0)) ||
    die "connections that the policy denies still pass for the reasons above; fix them and run it again"
}

remove_policy() {
  local before
  compare_rules lab.ruleset "$TOOLS" "$CHAINS" </dev/null
  before=$(saved_state policy)
  [[ -z $before ]] || write_state policy "$before"
  filter_bridges 0
  load_rules
  [[ -z $before ]] || remove_empty_builtin_chains "$before" "${TABLES[@]}"
  remove_state policy
}

down() {
  need_root
  need_tools ip jq iptables-save iptables-restore ebtables-save ebtables-restore
  take_lock
  remove_policy
}

status() {
  need_root
  prepare
  compare
  local bridge drift=0
  ((LIVE_RULES > 0)) || { echo "${RED}missing${PLAIN}  the whole policy: $WANTED_RULES rules" && return 1; }
  [[ -z $DIFFERENCES ]] || { print_differences && drift=1; }
  for bridge in $(differing_bridges 1); do
    echo "${RED}missing${PLAIN}  $bridge passes its frames to iptables" && drift=1
  done
  ((drift == 0)) || return 1
  echo "${GREEN}policy${PLAIN}   $LIVE_RULES rules match $(policy path)"
}

case ${1:-help} in
  up | down | status) "$1" ;;
  check) prepare && policy check ;;
  allowed) prepare && policy "$@" ;;
  path) load_topology && TOPOLOGY=$TABLE policy path ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
