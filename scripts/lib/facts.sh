# shellcheck shell=bash disable=SC2016,SC2034,SC2153 # jq's variables; those shared with topology.sh, network.sh
# The network as a list of facts, one a line: what the table wants, what the kernel has.
# `up` makes the difference go away, `status` names it. Sourced after topology.sh.
#
#   bridge BRIDGE MAC                 alias BRIDGE cnet TABLE    bridge-address BRIDGE CIDR
#   namespace NS                      veth NS INTERFACE PORT MAC
#   mark NS                           (its loopback's alias, by which it is the lab's also without a wire)
#   filtered BRIDGE                   (its frames meet the rules; wanted while a policy is in force)
#   no-learning BRIDGE                (not from link-local frames, and no multicast groups)
#   no-learning PORT BRIDGE           (no MAC of a frame; and a frame to an unknown MAC is not sent there)
#   deaf PORT                         (the host takes no packet that enters by PORT itself: link-local frames do)
#   forward PORT BRIDGE MAC           (the static entry that sends frames for MAC to PORT)
#   hairpin PORT                      (may send back what it received: a published port asked for from within)
#   port PORT BRIDGE                  up LINK                    (of the host)
#   inside-up NS INTERFACE            address NS INTERFACE CIDR
#   route NS via|dev HOP
#
# Never wanted, so that whatever somebody added is named and removed (NS is "-" for what is on the lab's own links on the host):
#   stale NS, foreign NS, linked NS   own-route NS ROUTE         own-rule NS RULE       neighbour NS INTERFACE ADDRESS MAC
#   mtu NS INTERFACE BYTES            no-arp NS INTERFACE        qdisc NS INTERFACE KIND root|ingress|clsact
#   rules NS FAMILY TABLE CHAIN       no-rule NS PRIORITY TABLE  (the kernel's own rule was deleted)
#   cut-off PORT OPTION VALUE         (its bridge's option of the port that keeps frames from it)
#   unconnected NS INTERFACE CIDR     (the kernel's own routes of an address were deleted)

MTU=1500 # of every wire, at both ends: what the kernel gives

wanted_facts() {
  local bridge node namespace interface port gateway filtered=''
  local -A wired=() hairpins=()
  ! policy_is_wanted || filtered=1
  for bridge in "${BRIDGES[@]}"; do
    mac_of "${ADDRESS[$bridge]}"
    printf '%s\n' "bridge $bridge $REPLY" "no-learning $bridge" ${filtered:+"filtered $bridge"} "alias $bridge cnet $TABLE" "bridge-address $bridge ${ADDRESS[$bridge]}" "up $bridge"
  done
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} == - ]] || hairpins[${PORT[$node]}]=1
  done
  for node in "${NODES[@]}"; do
    namespace=${NAMESPACE[$node]} interface=${INTERFACE[$node]} port=${PORT[$node]}
    if [[ -n ${wired[$namespace]:-} ]]; then
      echo "address $namespace $interface ${ADDRESS[$node]}"
      continue
    fi
    wired[$namespace]=1
    gateway=${ADDRESS[${BRIDGE[$node]}]%/*}
    mac_of "${ADDRESS[$node]}"
    printf '%s\n' "namespace $namespace" "veth $namespace $interface $port $REPLY" "port $port ${BRIDGE[$node]}" \
      "deaf $port" "no-learning $port ${BRIDGE[$node]}" "forward $port ${BRIDGE[$node]} $REPLY" ${hairpins[$port]:+"hairpin $port"} "up $port" \
      "mark $namespace" "inside-up $namespace lo" "address $namespace $interface ${ADDRESS[$node]}" \
      "inside-up $namespace $interface" "route $namespace via $gateway"
  done
}

# A node has the same MAC each time it is made, as its address says: no neighbour's ARP cache is ever wrong,
# and a bridge with a MAC of its own does not take another with each port (02: locally administered).
mac_of() {
  local IFS=.
  # shellcheck disable=SC2086 # four numbers
  printf -v REPLY '02:42:%02x:%02x:%02x:%02x' ${1%/*}
}

# --- the host ------------------------------------------------------------------------------------

host_state() {
  local dumps
  exec 2>/dev/null # ip complains of each STALE one
  mapfile -t dumps < <(ip -j -d -batch - <<<$'addr show\nroute show table all\nrule show\nneigh show nud permanent nud noarp\nnetns list')
  ((${#dumps[@]} >= 4)) || return
  dumps+=("$(bridge -j fdb show state static)") || return
  ((${#dumps[@]} > 5)) || dumps=("${dumps[@]::4}" '[]' "${dumps[4]}") # without namespaces ip prints nothing
  printf '{"links":%s,"routes":%s,"rules":%s,"neighbours":%s,"names":%s,"entries":%s}\n' "${dumps[@]}"
}

# What look() sorts out of it. A name is a holder when the host gives it the number (netnsid) that a port of ours names
# as its other end's, and the port's alias is that name: the same namespace may have other names, which are not ours.
HOST_SIGHTS='
  INDEX(.links[] | select(.group == $group); .ifname) as $ours |
  ([$ours[] | select(.link_netnsid)] | group_by(.link_netnsid) |
    map({key: "\(.[0].link_netnsid)", value: map(.ifalias)}) | from_entries) as $held |
  (.links[] | select(.group != $group) | "\(if .ifalias // "" | startswith("cnet ") then "left" else "link" end) \(.ifname)", "altname \(.altnames[]?) \(.ifname)"),
  ($ours[] | select(.linkinfo.info_kind == "bridge" and (.ifalias // "" | startswith("cnet /"))) | "table \(.ifalias | ltrimstr("cnet "))"),
  (.names[] | .name as $name | ($held["\(.id)"] // []) |
    if index("cnet \($name)") then "holder \($name)" elif . == [] then "other \($name)" else "end \($name)" end)'

# Fills HOST_STATE and, from it: FOREIGN_LINKS, LEFT_LINKS (with an alias of ours, but no more in the group),
# FOREIGN_ALTNAMES ("NAME INTERFACE"), HOLDERS (namespaces that hold an end of ours), NAMED (others that a table names),
# STALE (files that never became a namespace: `ip netns add` makes the file first, and was killed), LINKED (symbolic
# links with a name of a table: `ip netns del` would follow them).
look() {
  local sights kind rest ends=() others=() tables=() known
  FOREIGN_LINKS=() LEFT_LINKS=() FOREIGN_ALTNAMES=() HOLDERS=() NAMED=() STALE=() LINKED=()
  HOST_STATE=$(host_state) || die "ip does not show the host's addresses, namespaces and routes"
  sights=$(jq -r --arg group "$LINK_GROUP" "$HOST_SIGHTS" <<<"$HOST_STATE")
  while read -r kind rest; do
    case $kind in
      link) FOREIGN_LINKS+=("$rest") ;;
      left) LEFT_LINKS+=("$rest") ;;
      altname) FOREIGN_ALTNAMES+=("$rest") ;;
      table) tables+=("$rest") ;;
      holder) [[ -L /run/netns/$rest ]] || HOLDERS+=("$rest") ;;
      end) ends+=("$rest") ;;
      other) others+=("$rest") ;;
    esac
  done <<<"$sights"
  known=" ${NAMESPACE[*]} $(names_of_tables "${tables[@]}") $OUTSIDE_NAMESPACE "
  for rest in "${ends[@]}"; do # made before its port had an alias
    [[ $known != *" $rest "* || -L /run/netns/$rest ]] || HOLDERS+=("$rest")
  done
  for rest in "${others[@]}" "${ends[@]}"; do
    [[ $known == *" $rest "* && " ${HOLDERS[*]} " != *" $rest "* ]] || continue
    if [[ -L /run/netns/$rest ]]; then LINKED+=("$rest"); elif [[ $(stat -fc %T "/run/netns/$rest") == nsfs ]]; then NAMED+=("$rest"); else STALE+=("$rest"); fi
  done
}

names_of_tables() { # the namespaces of tables that are up, other than the loaded one; none of a broken table
  local table
  for table; do
    [[ $table == "${TABLE:-}" ]] || (load_table "$table" 2>/dev/null && echo "${NAMESPACE[*]}") || :
  done
}

# --- the namespaces ------------------------------------------------------------------------------

inside_state() { # name, links, routes, rules, neighbours of each
  local namespace
  (($# == 0)) || need_root
  for namespace; do
    printf '"%s"\n' "$namespace"
    ip -n "$namespace" -j -d -batch - <<<$'addr show\nroute show table all\nrule show\nneigh show nud permanent nud noarp'
  done
}

# What makes a port deaf. Frames to 01:80:c2:00:00:0x do not enter by the bridge but by the port itself, so that no rule
# for the bridge sees them: the host must not answer ARP there, nor take IP from there.
PORT_SYSCTLS=(net/ipv4/conf/PORT/arp_ignore=8 net/ipv4/conf/PORT/drop_unicast_in_l2_multicast=1)
[[ ! -d /proc/sys/net/ipv6/conf ]] || PORT_SYSCTLS+=(net/ipv6/conf/PORT/disable_ipv6=1)

deaf_ports() { # those of the table that are
  local port setting value
  for port in "${PORT[@]}"; do
    for setting in "${PORT_SYSCTLS[@]/PORT/$port}"; do
      { read -r value <"/proc/sys/${setting%=*}"; } 2>/dev/null || continue 2
      [[ $value == "${setting#*=}" ]] || continue 2
    done
    echo "deaf $port"
  done
}

# Of the host and the namespaces given; then the host's own routes and routing rules, as "host ...".
live_facts() {
  deaf_ports
  ((${#STALE[@]} == 0)) || printf 'stale %s\n' "${STALE[@]}"
  ((${#LINKED[@]} == 0)) || printf 'linked %s\n' "${LINKED[@]}"
  local half=$((($# + 1) / 2)) # the namespaces are read by two at a time
  # This is a subshell of compare_facts'.
  cd "$ROOT" || exit
  "$PYTHON" -EsS -m lab.live_facts "$LINK_GROUP" "$MTU" \
    <(printf '%s\n' "$HOST_STATE" && inside_state "${@:1:half}") <(inside_state "${@:half+1}") "$@"
}

# Sets LIVE, MISSING and SURPLUS, in the order in which things are made; HOST_ROUTING holds "route DESTINATION DEVICE
# ROUTE" (no ROUTE where the kernel made it for an address) and "rule SOURCE DESTINATION INTERFACE RULE".
compare_facts() {
  local wanted live
  look
  wanted=$(wanted_facts)
  LIVE=$(live_facts "${HOLDERS[@]}" "${NAMED[@]}" 2>/dev/null) || {
    look # a proof that ran has just taken its outside away
    LIVE=$(live_facts "${HOLDERS[@]}" "${NAMED[@]}") || die "the state of the lab's namespaces cannot be read"
  }
  mapfile -t live <<<"$LIVE"
  HOST_ROUTING=() LIVE=''
  while ((${#live[@]} > 0)) && [[ ${live[-1]} == "host "* ]]; do
    HOST_ROUTING=("${live[-1]#host }" "${HOST_ROUTING[@]}")
    unset 'live[-1]'
  done
  ((${#live[@]} == 0)) || printf -v LIVE '%s\n' "${live[@]}"
  mapfile -t MISSING < <(without "$LIVE" "$wanted")
  mapfile -t SURPLUS < <(without "$wanted" "$LIVE")
}

without() { awk 'NR == FNR { known[$0]; next } NF && !($0 in known)' <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }

our_namespaces() { # by name, and files that never became one; whichever table they came from
  look
  ((${#HOLDERS[@]} == 0)) || printf '%s\n' "${HOLDERS[@]}"
  live_facts "${NAMED[@]}" | awk '/^(namespace|stale) / { print $2 }'
}

processes_in() { # NAMESPACE...: a line "PID NAMESPACE" for each process there
  (($# == 0)) || stat -Lc '%i %n' "${@/#//run/netns/}" /proc/[0-9]*/ns/net 2>/dev/null | awk '
    { split($2, part, "/") }
    part[2] == "run" { names[$1] = part[4] }
    part[2] == "proc" && $1 in names { print part[3], names[$1] }' || : # some ended meanwhile
}

in_words() {
  local kind a b c d
  read -r kind a b c d <<<"$1"
  case $kind in
    bridge) echo "bridge $a, MAC $b" ;;
    alias) if [[ $b == cnet && $c == /* ]]; then echo "$c${d:+ $d} as the table of bridge $a"; else echo "alias \"$b${c:+ $c}${d:+ $d}\" of bridge $a"; fi ;;
    bridge-address) echo "address $b on bridge $a" ;;
    filtered) echo "$a hands its frames to the rules" ;;
    no-learning) if [[ -n $b ]]; then echo "$a learns no MAC, gets no frame for an unknown MAC"; else echo "$a learns nothing from link-local frames and IGMP"; fi ;;
    deaf) echo "the host takes no packet that enters by $a itself" ;;
    forward) echo "$b forwards frames for $c to $a" ;;
    up) echo "$a is up" ;;
    namespace) echo "namespace $a" ;;
    mark) echo "alias \"cnet $a\", the lab's mark, on lo in namespace $a" ;;
    veth) echo "veth pair $c (host) = $b (namespace $a), MAC $d" ;;
    hairpin) echo "$a sends back what it received, when that is asked for" ;;
    port) echo "$a is a port of bridge $b" ;;
    inside-up) echo "$b is up in namespace $a" ;;
    address) echo "address $c on $b in namespace $a" ;;
    route) echo "default route $b $c in namespace $a" ;;
    own-route | own-rule) echo "${kind#own-} that is not in the table, in namespace $a: $b${c:+ $c}${d:+ $d}" ;;
    no-rule) echo "routing rule $b (table $c) in namespace $a" ;;
    unconnected) echo "$(interface_in_words "$a" "$b") has an address $c without its routes" ;;
    cut-off)
      case $b in
        isolated) echo "$a is isolated from the other ports of its bridge" ;;
        bcast_flood) echo "$a gets no broadcast frame (ARP) from its bridge" ;;
        state) echo "$a is switched off as a port of its bridge (state $c)" ;;
      esac
      ;;
    neighbour) echo "permanent neighbour on $(interface_in_words "$a" "$b"): $c at $d" ;;
    mtu) echo "MTU $c on $(interface_in_words "$a" "$b"), wanted $MTU" ;;
    no-arp) echo "$(interface_in_words "$a" "$b") has ARP switched off" ;;
    qdisc) echo "qdisc ${d% *} on $(interface_in_words "$a" "$b") ($c)" ;;
    rules) echo "firewall rules in namespace $a: $(rules_in_words "$a" "$b" "$c" "$d")" ;;
    stale) echo "/run/netns/$a is a file and no namespace" ;;
  esac
}

interface_in_words() { # NAMESPACE INTERFACE
  if [[ $1 == - ]]; then echo "$2 of the host"; else echo "$2 in namespace $1"; fi
}

rules_in_words() { # NAMESPACE FAMILY TABLE CHAIN
  local enter=(nsenter --net="/run/netns/$1" --) rules
  if [[ $2 == legacy ]]; then rules=$("${enter[@]}" iptables-legacy-save -t "$3" | sed '/^-[AN]/!d') || :; else
    rules=$("${enter[@]}" nft list chain "$2" "$3" "$4" | sed -E '/^(table|\t(chain|type|\})|\})/d; s/^\t*//; s/counter packets [0-9]+ bytes [0-9]+ //') || :
  fi
  rules=${rules//$'\n'/; }
  echo "$2 $3${4:+ $4}: ${rules:-no rule in words, for want of the tool that shows them}"
}
