#!/usr/bin/env bash
# The topology table's loader: checks a table and gives it to the other scripts.
#
#   scripts/topology.sh dump [TABLE]    the table, columns in standard order, one tab between them
#   scripts/topology.sh check [TABLE]   silent when good; else FILE:LINE: COLUMN: reason, exit 1
#   scripts/topology.sh help
#
# TABLE is a name in topology/ or a path; TOPOLOGY, else what is up, else flat, when not given.
# Its twin for Python is lab/topology.py: the same checks in the same order and words (a test holds them equal).

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

COLUMNS_IN_ORDER=(kind name namespace address interface bridge_interface bridge listens publishes runs)
declare -a BRIDGES=() NODES=()
declare -A ADDRESS=() NAMESPACE=() INTERFACE=() PORT=() BRIDGE=() LISTENS=() PUBLISHES=() RUNS=()
declare -A SEEN=() LINE_OF=() ROW=() WIRE=()
OCTET='@([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])'

# The table named by TOPOLOGY; else the one the running lab was made from; else flat.
table_path() {
  local table=${1:-${TOPOLOGY:-$(running_table)}}
  table=${table:-flat}
  [[ $table != */* && $table != *.tsv ]] && table=$ROOT/topology/$table.tsv
  realpath -m -- "$table"
}

# Each bridge of the lab carries its table's path as its alias. Another alias is somebody's own, and names no table.
running_tables() {
  ip -j link show group "$LINK_GROUP" type bridge 2>/dev/null |
    jq -r '.[].ifalias // empty | select(startswith("cnet /")) | ltrimstr("cnet ")' 2>/dev/null || true # no ip or jq yet: nothing is up
}
running_table() {
  local tables
  tables=$(running_tables)
  echo "${tables%%$'\n'*}"
}

# Whether a bridge hands its frames to the rules; without that a packet between two of its ports meets none of
# iptables (ip-link(8), bridge type). For our bridges alone: net.bridge.bridge-nf-call-iptables stays as it is.
filtering() { echo "nf_call_iptables $1 nf_call_ip6tables $1 nf_call_arptables $1"; } # 0|1

# The policy's rules are loaded: from then on no bridge of ours is without them for a moment.
policy_in_force() { iptables-save 2>/dev/null | grep '^:CNET-FROM-NODES ' >/dev/null; }

# A policy was loaded and not taken down since, even if somebody deleted its rules.
BEFORE_UP=$RUN_DIR/before-up # what was there before: see rules.sh
policy_is_wanted() { policy_in_force || [[ -e $BEFORE_UP.policy ]]; }

# Interfaces by which the host reaches the outside: those of its default routes, in any table; VPNs have one in two halves.
ways_out() {
  ip -j -4 route show table all | jq -r '[.[] | select((.type // "unicast") == "unicast") |
    select(.dst | IN("default", "0.0.0.0/1", "128.0.0.0/1")) | .dev, .nexthops[]?.dev | values] | unique[]'
}

bridges_up() { ip -j link show group "$LINK_GROUP" type bridge 2>/dev/null | jq -r '.[].ifname // empty'; } # of the lab

forwards() { [[ $(cat "/proc/sys/net/ipv4/conf/$1/forwarding" 2>/dev/null) == 1 ]]; } # INTERFACE|all

SCALED=$RUN_DIR/scaled.tsv
[[ ${POLICY:-/} == */* || $POLICY == *.tsv ]] || POLICY=$ROOT/security/$POLICY.tsv
[[ -z ${POLICY:-} ]] || POLICY=$(realpath -m -- "$POLICY") # tools that read it run in another directory
base_table() {                                             # what the loaded table was scaled from, or itself
  if [[ $TABLE == "$SCALED" ]]; then sed -n '2s/^# //p' "$TABLE"; else echo "$TABLE"; fi
}

# The commands that change a copy of the table, and bring it up with the same policy.
with_own_table() { # SED_SCRIPT
  local base policy own=my.tsv
  base=$(base_table)
  policy=${POLICY:-$ROOT/security/${base##*/}}
  [[ ${base##*/} != my.tsv ]] || own=my2.tsv
  [[ -e $policy ]] || policy=''
  echo "sed '$1' ${base#"$ROOT/"} >$own && sudo make up TOPOLOGY=$own${policy:+ POLICY=${policy#"$ROOT/"}}"
}

refuse() { die "$TABLE:$LINE_NUMBER: $1: $2"; }

ip_to_number() {
  local IFS=.
  # shellcheck disable=SC2086 # split at dots; `read` would take ten times as long
  set -- $1
  REPLY=$((($1 << 24) + ($2 << 16) + ($3 << 8) + $4))
}

check_address() { # A.B.C.D/LENGTH, no leading zeros, a host's address within its network
  # shellcheck disable=SC2053 # OCTET is a pattern
  [[ $1 == $OCTET.$OCTET.$OCTET.$OCTET/@([1-9]|[12][0-9]|30) ]] ||
    refuse address "\"$1\" is not an IPv4 address with a prefix length from 1 to 30"
  [[ ${1%%.*} != @(0|127|22[4-9]|2[3-5][0-9]) ]] || refuse address "$1 is in 0/8, 127/8 or 224/3, where no host's address can be"
  network_of "$1"
  ((REPLY != NETWORK && REPLY != NETWORK_END)) ||
    refuse address "$1 is the network's own or broadcast address, not a host's"
  local first=$NETWORK last=$NETWORK_END
  network_of "$OUTSIDE_NETWORK"
  ((last < NETWORK || first > NETWORK_END)) ||
    refuse address "$1 overlaps with $OUTSIDE_NETWORK, where the proofs put their outside (TEST-NET-2, RFC 5737)"
}

network_of() { # sets NETWORK (first address as a number), NETWORK_END, and REPLY to the address itself
  local mask=$((0xffffffff >> ${1#*/}))
  ip_to_number "${1%/*}"
  NETWORK=$((REPLY & ~mask)) NETWORK_END=$((REPLY | mask))
}

network_cidr() { # 10.1.2.3/16 -> 10.1.0.0/16
  network_of "$1"
  printf '%d.%d.%d.%d/%d\n' $((NETWORK >> 24)) $((NETWORK >> 16 & 255)) $((NETWORK >> 8 & 255)) $((NETWORK & 255)) "${1#*/}"
}

check_unique() { # COLUMN VALUE [SCOPE]
  local key="${3:-$1} $2"
  [[ -z ${SEEN[$key]:-} ]] || refuse "$1" "\"$2\" is already used in line ${SEEN[$key]}"
  SEEN[$key]=$LINE_NUMBER
}

check_name() {
  [[ $2 == [A-Za-z0-9]* && $2 != *[!A-Za-z0-9_-]* && ${#2} -le 63 ]] ||
    refuse "$1" "\"$2\" is not a name: letters, digits, - and _, at most 63 characters"
}

check_reserved() {
  [[ $2 != "$OUTSIDE_NAMESPACE" ]] || refuse "$1" "\"$2\" is kept for the outside that the proofs make"
}

check_interface() {
  ((${#2} <= 15)) || refuse "$1" "\"$2\" has ${#2} characters, the kernel takes at most 15"
  [[ $2 == [A-Za-z0-9]* && $2 != *[!A-Za-z0-9_.-]* ]] || refuse "$1" "\"$2\" is not an interface name: letters, digits, - _ and ."
  [[ $2 != all && $2 != default && $2 != lo ]] || refuse "$1" "\"$2\" is kept by the kernel"
  check_reserved "$1" "$2"
}

# A namespace has one wire; nodes that share a namespace are addresses on the same one.
check_wire() { # NAMESPACE INTERFACE BRIDGE_INTERFACE BRIDGE
  [[ -z ${WIRE[$1]:-} ]] || return 0
  check_unique namespace "${ROW[namespace]}"
  check_unique bridge_interface "${ROW[bridge_interface]}" "interface of the host"
  WIRE[$1]=$LINE_NUMBER
}

check_port() {
  [[ $2 == [1-9]* && $2 != *[!0-9]* && ${#2} -le 5 && $2 -le 65535 ]] || refuse "$1" "\"$2\" is not a port from 1 to 65535"
}

check_items() { [[ ,$2, != *,,* ]] || refuse "$1" "\"$2\" has an empty item"; }

check_listens() {
  local item IFS=,
  check_items listens "$1"
  for item in $1; do
    [[ $item == */tcp || $item == */udp ]] || refuse listens "\"$item\" is not PORT/tcp or PORT/udp"
    check_port listens "${item%/*}"
    check_unique listens "$item" "listens of ${ROW[name]}"
  done
}

check_publishes() { # of what the node listens on
  local item IFS=,
  check_items publishes "$1"
  for item in $1; do
    [[ $item == *:*/* ]] || refuse publishes "\"$item\" is not HOST_PORT:PORT/protocol"
    check_port publishes "${item%%:*}"
    [[ ,$2, == *,"${item#*:}",* ]] || refuse publishes "the node does not listen on ${item#*:}"
    check_unique publishes "${item%%:*}/${item#*/}" "host port"
  done
}

check_runs() {
  [[ $1 == - || $1 == nginx || $1 == redis || $1 == postgres ]] && return
  [[ $1 != *[!a-z0-9-]* && -f $ROOT/services/$1/app.py ]] ||
    refuse runs "\"$1\" is neither nginx, redis, postgres nor a folder of services/"
}

add_bridge() {
  local column other
  for column in namespace interface bridge_interface bridge listens publishes runs; do
    [[ ${ROW[$column]} == - ]] || refuse "$column" "a bridge has none, write -"
  done
  check_interface name "${ROW[name]}"
  check_unique name "${ROW[name]}" "interface of the host"
  check_address "${ROW[address]}"
  network_of "${ROW[address]}"
  local first=$NETWORK last=$NETWORK_END
  for other in "${BRIDGES[@]}"; do
    network_of "${ADDRESS[$other]}"
    ((last < NETWORK || first > NETWORK_END)) || refuse address "${ROW[address]} overlaps with ${ADDRESS[$other]} of $other"
  done
  BRIDGES+=("${ROW[name]}")
}

add_node() {
  check_name name "${ROW[name]}"
  [[ ${ROW[name]} != host && ${ROW[name]} != world && ${ROW[name]} != any ]] ||
    refuse name "\"${ROW[name]}\" is kept for what is outside the lab"
  check_name namespace "${ROW[namespace]}"
  check_reserved namespace "${ROW[namespace]}"
  check_interface interface "${ROW[interface]}"
  check_interface bridge_interface "${ROW[bridge_interface]}"
  check_interface bridge "${ROW[bridge]}"
  check_wire "${ROW[namespace]} ${ROW[interface]} ${ROW[bridge_interface]} ${ROW[bridge]}"
  check_address "${ROW[address]}"
  [[ ${ROW[listens]} == - ]] || check_listens "${ROW[listens]}"
  [[ ${ROW[publishes]} == - ]] || check_publishes "${ROW[publishes]}" "${ROW[listens]}"
  check_runs "${ROW[runs]}"
  NODES+=("${ROW[name]}")
}

add_row() {
  local name=${ROW[name]}
  check_unique name "$name"
  check_unique address "${ROW[address]%/*}"
  case ${ROW[kind]} in
    bridge) add_bridge ;;
    node) add_node ;;
    *) refuse kind "\"${ROW[kind]}\" is neither bridge nor node" ;;
  esac
  LINE_OF[$name]=$LINE_NUMBER
  ADDRESS[$name]=${ROW[address]} NAMESPACE[$name]=${ROW[namespace]} INTERFACE[$name]=${ROW[interface]}
  PORT[$name]=${ROW[bridge_interface]} BRIDGE[$name]=${ROW[bridge]} LISTENS[$name]=${ROW[listens]}
  PUBLISHES[$name]=${ROW[publishes]} RUNS[$name]=${ROW[runs]}
}

check_bridge_of() { # the node lies in its bridge's network
  local bridge=${BRIDGE[$1]}
  LINE_NUMBER=${LINE_OF[$1]}
  [[ -n ${ADDRESS[$bridge]:-} && ${NAMESPACE[$bridge]} == - ]] || refuse bridge "there is no bridge \"$bridge\" in the table"
  network_of "${ADDRESS[$bridge]}"
  ip_to_number "${ADDRESS[$1]%/*}"
  ((NETWORK <= REPLY && REPLY <= NETWORK_END)) || refuse address "${ADDRESS[$1]} is outside ${ADDRESS[$bridge]} of $bridge"
  [[ ${ADDRESS[$1]#*/} == "${ADDRESS[$bridge]#*/}" ]] || refuse address "${ADDRESS[$1]} has another prefix length than ${ADDRESS[$bridge]} of $bridge"
}

check_header() {
  local column
  for column; do
    [[ " ${COLUMNS_IN_ORDER[*]} " == *" $column "* ]] || refuse "$column" "unknown column; known are ${COLUMNS_IN_ORDER[*]}"
    check_unique "$column" "$column" header
  done
  for column in "${COLUMNS_IN_ORDER[@]}"; do
    [[ " $* " == *" $column "* ]] || refuse "$column" "the header line lacks this column"
  done
}

MOST_BYTES_OF_PATH=240 # a bridge's alias and a rule's comment end at 255, and say before it what it is

# The path is kept in the alias of a bridge and in the comment of a rule, so it must survive their languages.
check_path() {
  local before=${TABLE%%[[:cntrl:]\"\'\`\$\\#%]*} single=${TABLE%%  *} shown
  ((${#single} >= ${#before})) || before=$single
  if [[ $before != "$TABLE" ]]; then
    shown=${TABLE//[[:cntrl:]\"\'\`\$\\#%]/?} shown=${shown//  /?}
    die "$shown: byte $((${#before} + 1)) of the path: a quote, a control character, two spaces or one of \` \$ \\ # %; rename it"
  fi
  [[ $TABLE != *[$'\x80'-$'\xff']* ]] || iconv -f UTF-8 -t UTF-8 <<<"$TABLE" &>/dev/null || die "$TABLE: the path is not UTF-8; rename it"
  ((${#TABLE} <= MOST_BYTES_OF_PATH)) ||
    die "$TABLE: the path has ${#TABLE} bytes, a rule's comment takes $MOST_BYTES_OF_PATH; move it"
}

check_no_nul() { # which `read` drops without a word
  local before lines
  IFS= read -rd '' before <"$TABLE" || return 0
  mapfile -t lines <<<"$before"
  LINE_NUMBER=${#lines[@]}
  refuse "byte $((${#lines[-1]} + 1))" "a NUL byte; a table is plain text"
}

check_characters() {
  local before=${1%%[!$'\t'!-~]*} reason
  case ${1:${#before}} in
    '') ;;
    [$' \v\f']*) reason="a space or other white space; columns are separated by tabs alone" ;;
    $'\r'*) reason="a carriage return; end lines in a line feed alone" ;;
    $'\xef\xbb\xbf'*) reason="a byte order mark; save the file without it" ;;
    *) reason="neither a tab nor printable ASCII" ;;
  esac
  [[ -z ${reason:-} ]] || refuse "character $((${#before} + 1))" "$reason"
  [[ $1 != $'\t'* ]] || refuse "character 1" "a tab at the beginning of the line"
  [[ $1 != *$'\t' ]] || refuse "character ${#1}" "a tab at the end of the line"
}

read_rows() {
  local line header=() fields index
  while IFS= read -r line || [[ -n $line ]]; do
    LINE_NUMBER=$((LINE_NUMBER + 1))
    [[ -z $line || $line == '#'* ]] && continue
    check_characters "$line"
    # shellcheck disable=SC2206 # split at tabs is what is wanted; globbing is off
    fields=($line)
    if ((${#header[@]} == 0)); then
      IFS=' ' check_header "${fields[@]}"
      header=("${fields[@]}")
      continue
    fi
    ((${#fields[@]} == ${#header[@]})) || refuse "column ${#fields[@]}" "the line has ${#fields[@]} columns, the header ${#header[@]}"
    for index in "${!header[@]}"; do ROW[${header[index]}]=${fields[index]}; done
    add_row
  done <"$TABLE"
  ((LINE_NUMBER > 0)) || LINE_NUMBER=1
  ((${#header[@]} > 0)) || refuse kind "the table has no header line"
}

forget_topology() {
  BRIDGES=() NODES=() SEEN=() LINE_OF=() ROW=() WIRE=() LINE_NUMBER=0
  ADDRESS=() NAMESPACE=() INTERFACE=() PORT=() BRIDGE=() LISTENS=() PUBLISHES=() RUNS=()
}

# Fills BRIDGES, NODES and a map for each column, or refuses the table.
load_topology() {
  TABLE=$(table_path "${1:-}")
  local name IFS=$'\t' LC_ALL=C # bytes: invalid UTF-8 has no characters to count
  forget_topology
  [[ -f $TABLE && -r $TABLE ]] || die "$TABLE: no such table; topology/ has $(cd "$ROOT/topology" && echo *.tsv), or give a path: TOPOLOGY=my.tsv"
  check_path
  check_no_nul
  set -f
  read_rows
  set +f
  ((${#BRIDGES[@]} > 0)) || refuse kind "the table has no bridge"
  for name in "${NODES[@]}"; do check_bridge_of "$name"; done
}

# Nodes that run PROGRAM, one a line.
nodes_running() {
  local node
  for node in "${NODES[@]}"; do [[ ${RUNS[$node]} != "$1" ]] || echo "$node"; done
}

dump_topology() {
  local IFS=$'\t' name
  echo "${COLUMNS_IN_ORDER[*]}"
  for name in "${BRIDGES[@]}"; do
    printf 'bridge\t%s\t-\t%s\t-\t-\t-\t-\t-\t-\n' "$name" "${ADDRESS[$name]}"
  done
  for name in "${NODES[@]}"; do
    printf 'node\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "${NAMESPACE[$name]}" "${ADDRESS[$name]}" "${INTERFACE[$name]}" \
      "${PORT[$name]}" "${BRIDGE[$name]}" "${LISTENS[$name]}" "${PUBLISHES[$name]}" "${RUNS[$name]}"
  done
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  case ${1:-help} in
    dump)
      load_topology "${2:-}"
      dump_topology
      ;;
    check) load_topology "${2:-}" ;;
    help) print_help ;;
    *) bad_usage "unknown command \"$1\"" ;;
  esac
fi
