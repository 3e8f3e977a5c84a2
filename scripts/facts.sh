# shellcheck shell=bash disable=SC2016,SC2034,SC2153 # jq's variables; those shared with topology.sh, network.sh
# The network as a list of facts, one a line: what the table wants, what the kernel has.
# `up` makes the difference go away, `status` names it. Sourced after topology.sh.
#
#   bridge BRIDGE MAC                 alias BRIDGE cnet TABLE    bridge-address BRIDGE CIDR
#   namespace NS                      veth NS INTERFACE PORT MAC
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
#   stale NS, foreign NS              own-route NS ROUTE         own-rule NS RULE       neighbour NS INTERFACE ADDRESS MAC
#   mtu NS INTERFACE BYTES            no-arp NS INTERFACE        qdisc NS INTERFACE KIND root|ingress|clsact
#   rules NS FAMILY TABLE CHAIN       no-rule NS PRIORITY TABLE  (the kernel's own rule was deleted)
#   unconnected NS INTERFACE CIDR     (the kernel's own routes of an address were deleted)

MTU=1500 # of every wire, at both ends: what the kernel gives

wanted_facts() {
  local bridge node namespace interface port gateway filtered=''
  local -A wired=() hairpins=()
  ! policy_in_force || filtered=1
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
      "inside-up $namespace lo" "address $namespace $interface ${ADDRESS[$node]}" \
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

# jq: a route and a rule in the words that `ip route del` and `ip rule del` take.
WORDS='
  def hop: (select(.gateway) | "via", .gateway), (select(.via) | "via", .via.family, .via.host), (select(.dev) | "dev", .dev);
  def route_words: [(.type // empty | select(. != "unicast")), .dst, hop, (.nexthops // [] | .[] | "nexthop", hop),
    (select(.table and .table != "main") | "table", .table), (select(.metric) | "metric", .metric)] | map(tostring) | join(" ");
  def rule_words: ["priority", .priority, (select(has("not")) | "not"), "from", .src + (if .srclen then "/\(.srclen)" else "" end),
    (select(.dst) | "to", .dst + (if .dstlen then "/\(.dstlen)" else "" end)),
    (select(.fwmark) | "fwmark", .fwmark + (if .fwmask then "/\(.fwmask)" else "" end)),
    (to_entries[] | select(.key | IN("tos", "iif", "oif", "ipproto", "sport", "dport")) | .key, .value),
    (select(.action) | .action), (select(.table) | "table", .table)] | map(tostring) | join(" ");
  def is_kernels: "\(.priority) \(.table) \(keys - ["protocol"] | length)" | IN("0 local 3", "32766 main 3", "32767 default 3");
'

# What look() sorts out of it. A namespace is a holder when the host gives it the number (netnsid) that
# a port of ours names as its other end's.
HOST_SIGHTS='
  INDEX(.links[] | select(.group == $group); .ifname) as $ours |
  INDEX($ours[] | select(.link_netnsid); .link_netnsid) as $held |
  (.links[] | select(.group != $group) | "link \(.ifname)"),
  ($ours[] | select(.ifalias) | "table \(.ifalias | ltrimstr("cnet "))"),
  (.routes[] | select((.dst | test("^(default$|.*:)") | not) and (.protocol != "kernel" or ($ours[.dev // ""] | not))) |
    "route \(.dst) \(.dev // .type) \(if .protocol == "kernel" then "" else route_words end)"),
  (.rules[] | select(is_kernels | not) | "rule \(.src)/\(.srclen // 32) \(.dst // "all")/\(.dstlen // 32) \(.iif // .oif // "-") \(rule_words)"),
  (.names[] | if $held["\(.id)"] then "holder \(.name)" else "other \(.name)" end)'

# Fills HOST_STATE and, from it: FOREIGN_LINKS, FOREIGN_ROUTES ("DESTINATION DEVICE ROUTE", without the last where the kernel
# made it), FOREIGN_RULES ("SOURCE DESTINATION INTERFACE RULE", those of `ip rule`), HOLDERS (namespaces
# that hold an end of ours), NAMED (others that a table names), STALE (files that never became a namespace:
# `ip netns add` makes the file first, and was killed).
look() {
  local sights kind rest others=() tables=() known
  FOREIGN_LINKS=() FOREIGN_ROUTES=() FOREIGN_RULES=() HOLDERS=() NAMED=() STALE=()
  HOST_STATE=$(host_state) || die "ip does not show the host's addresses, namespaces and routes"
  sights=$(jq -r --arg group "$LINK_GROUP" "$WORDS$HOST_SIGHTS" <<<"$HOST_STATE")
  while read -r kind rest; do
    case $kind in
      link) FOREIGN_LINKS+=("$rest") ;;
      route) FOREIGN_ROUTES+=("$rest") ;;
      rule) FOREIGN_RULES+=("$rest") ;;
      table) tables+=("$rest") ;;
      holder) HOLDERS+=("$rest") ;;
      other) others+=("$rest") ;;
    esac
  done <<<"$sights"
  known=" ${NAMESPACE[*]} $(names_of_tables "${tables[@]}") $OUTSIDE_NAMESPACE "
  for rest in "${others[@]}"; do
    [[ $known == *" $rest "* ]] || continue
    if [[ $(stat -fc %T "/run/netns/$rest") == nsfs ]]; then NAMED+=("$rest"); else STALE+=("$rest"); fi
  done
}

names_of_tables() { # the namespaces of tables that are up, other than the loaded one; none of a broken table
  local table
  for table; do
    [[ $table == "${TABLE:-}" ]] || (load_topology "$table" 2>/dev/null && echo "${NAMESPACE[*]}") || :
  done
}

# --- the namespaces ------------------------------------------------------------------------------

PYTHON=/usr/bin/python3 # the distribution's own, which starts at once
[[ -x $PYTHON ]] || PYTHON=python3

inside_state() { # what scripts/inside.py says of the host and each namespace; then name, links, routes, rules, neighbours of each
  local namespace more
  (($# == 0)) || need_root
  exec {more}< <("$PYTHON" -IS "$ROOT/scripts/inside.py" - "$@") # meanwhile
  for namespace; do
    printf '"%s"\n' "$namespace"
    ip -n "$namespace" -j -batch - <<<$'addr show\nroute show table all\nrule show\nneigh show nud permanent nud noarp'
  done
  cat <&"$more"
}

# A pair's two ends name each other by index; the host's end also by the namespace's number. A namespace
# with a name of ours that holds no such end is ours too (a link was cut, a run was killed), unless it
# is in use for something else. Links that someone added inside a namespace are theirs.
FACTS='
  def is_up: .flags | index("UP");
  def cidrs: .addr_info[] | select(.family == "inet") | "\(.local)/\(.prefixlen)";
  # What somebody added, of the host ("-") or of a namespace; the links that count are in $mine.
  def added($where; $mine): . as $place | INDEX($mine[]; .ifname) as $named | INDEX($mine[]; .ifindex) as $numbered |
    ($mine[] | select(.link_type != "loopback") |
      (select(.mtu != $mtu) | "mtu \($where) \(.ifname) \(.mtu)"), (select(.flags | index("NOARP")) | "no-arp \($where) \(.ifname)")),
    (.neighbours[] | select($named[.dev] and .dev != "lo" and (.dst | test("^(2(2[4-9]|3.)\\.|ff)") | not)) |
      "neighbour \($where) \(.dev) \(.dst) \(.lladdr)"),
    (.more.qdiscs[] | select($numbered["\(.[0])"]) | "qdisc \($where) \($numbered["\(.[0])"].ifname) \(.[1]) \(.[2])"),
    ($mine[] | select(is_up) | . as $link | .addr_info[] | select(.family == "inet" and (.secondary | not)) | . as $address |
      select($place.routes | (any(.type == "local" and .dst == $address.local) and
        (any(.protocol == "kernel" and .dev == $link.ifname and .prefsrc == $address.local and (.type // "unicast") == "unicast") or
          $address.prefixlen == 32 or $link.link_type == "loopback")) | not) |
      "unconnected \($where) \($link.ifname) \($address.local)/\($address.prefixlen)");
  def is_default: .dst == "default" and .dev and (.type // "unicast") == "unicast" and (.table // "main") == "main" and (.metric | not);
  input as $host | [inputs] as $all | [$all[] | select(type != "object")] as $dumps |
  INDEX($all[] | objects; .namespace) as $more |
  if ($more | length) * 5 != ($dumps | length) + 5 then error("the state of a namespace cannot be read") else . end |
  INDEX($host.names[]; .name) as $names |
  [$host.links[] | select(.group == $group) | .pair = "\(.link_netnsid) \(.link_index) \(.ifindex)"] as $ours |
  [range(0; $dumps | length; 5) as $at | $names[$dumps[$at]].id as $id | {
    namespace: $dumps[$at], routes: $dumps[$at + 2], rules: $dumps[$at + 3], neighbours: $dumps[$at + 4], more: $more[$dumps[$at]],
    links: [$dumps[$at + 1][] | .pair = "\($id) \(.ifindex) \(.link_index)"]}] as $inside |
  INDEX($ours[]; .pair) as $ports |
  INDEX($inside[] | .namespace as $namespace | .links[] | select($ports[.pair]) |
    {pair, end: "\($namespace) \(.ifname)", mac: .address}; .pair) as $ends |
  ($ours[] | .ifname as $name |
    if .linkinfo.info_kind == "bridge"
    then "bridge \($name) \(.address)", "alias \($name) \(.ifalias)", "bridge-address \($name) \(cidrs)",
      (.linkinfo.info_data | select(.no_linklocal_learn == 1 and .mcast_snooping == 0) | "no-learning \($name)"),
      (.linkinfo.info_data | select(.nf_call_iptables == 1 and .nf_call_ip6tables == 1 and .nf_call_arptables == 1) | "filtered \($name)")
    else "veth \($ends[.pair].end // "- -") \($name) \($ends[.pair].mac // "-")", (select(.master) | "port \($name) \(.master)"),
      (select(.linkinfo.info_slave_data | .learning == false and .flood == false) | "no-learning \($name) \(.master)"),
      (select(.linkinfo.info_slave_data.hairpin) | "hairpin \($name)") end,
    (select(is_up) | "up \($name)")),
  ($inside[] | .namespace as $namespace | [.links[] | select($ends[.pair])] as $mine |
    if $mine == [] and (.links | any(.link_type != "loopback" and is_up)) then "foreign \($namespace)"
    else
      "namespace \($namespace)",
      ((.links[] | select(.link_type == "loopback")), $mine[] | select(is_up) | "inside-up \($namespace) \(.ifname)"),
      ($mine[] | "address \($namespace) \(.ifname) \(cidrs)"),
      (.links[] | select(.link_type == "loopback") | "address \($namespace) \(.ifname) \(cidrs | select(. != "127.0.0.1/8"))"),
      (.routes[] | select(.protocol != "kernel") |
        if is_default then "route \($namespace) \(if .gateway then "via \(.gateway)" else "dev \(.dev)" end)"
        else "own-route \($namespace) \(route_words)" end),
      (.rules[] | select(is_kernels | not) | "own-rule \($namespace) \(rule_words)"),
      ([.rules[] | select(is_kernels) | .table] as $there | ["0 local", "32766 main", "32767 default"][] |
        select(split(" ")[1] | IN($there[]) | not) | "no-rule \($namespace) \(.)"),
      (.more.rules[] | "rules \($namespace) \(.)"),
      added($namespace; [.links[] | select(.link_type == "loopback" or $ends[.pair])])
    end),
  ({routes: $host.routes, neighbours: $host.neighbours, more: $more["-"]} | added("-"; $ours)),
  (INDEX($ours[]; .ifname) as $links | $host.entries[] | select($links[.ifname] and .master and (.flags | index("sticky"))) |
    "forward \(.ifname) \(.master) \(.mac)")'

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

live_facts() { # of the host and the namespaces given
  { printf '%s\n' "$HOST_STATE" && inside_state "$@"; } | jq -rn --arg group "$LINK_GROUP" --argjson mtu "$MTU" "$WORDS$FACTS"
  deaf_ports
  ((${#STALE[@]} == 0)) || printf 'stale %s\n' "${STALE[@]}"
}

# Sets LIVE, MISSING and SURPLUS, in the order in which things are made.
compare_facts() {
  local wanted
  look
  wanted=$(wanted_facts)
  LIVE=$(live_facts "${HOLDERS[@]}" "${NAMED[@]}")
  mapfile -t MISSING < <(without "$LIVE" "$wanted")
  mapfile -t SURPLUS < <(without "$wanted" "$LIVE")
}

without() { awk 'NR == FNR { known[$0]; next } NF && !($0 in known)' <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }

our_namespaces() { # by name, and files that never became one; whichever table they came from
  look
  ((${#HOLDERS[@]} == 0)) || printf '%s\n' "${HOLDERS[@]}"
  live_facts "${NAMED[@]}" | awk '/^(namespace|stale) / { print $2 }'
}

in_words() {
  local kind a b c d
  read -r kind a b c d <<<"$1"
  case $kind in
    bridge) echo "bridge $a, MAC $b" ;;
    alias) echo "$c${d:+ $d} as the table of bridge $a" ;;
    bridge-address) echo "address $b on bridge $a" ;;
    filtered) echo "$a hands its frames to the rules" ;;
    no-learning) if [[ -n $b ]]; then echo "$a learns no MAC, gets no frame for an unknown MAC"; else echo "$a learns nothing from link-local frames and IGMP"; fi ;;
    deaf) echo "the host takes no packet that enters by $a itself" ;;
    forward) echo "$b forwards frames for $c to $a" ;;
    up) echo "$a is up" ;;
    namespace) echo "namespace $a" ;;
    veth) echo "veth pair $c (host) = $b (namespace $a), MAC $d" ;;
    hairpin) echo "$a sends back what it received, when that is asked for" ;;
    port) echo "$a is a port of bridge $b" ;;
    inside-up) echo "$b is up in namespace $a" ;;
    address) echo "address $c on $b in namespace $a" ;;
    route) echo "default route $b $c in namespace $a" ;;
    own-route | own-rule) echo "${kind#own-} of its own in namespace $a: $b${c:+ $c}${d:+ $d}" ;;
    no-rule) echo "namespace $a is without the kernel's rule $b, table $c" ;;
    unconnected) echo "$(interface_in_words "$a" "$b") is without the routes of its address $c" ;;
    neighbour) echo "permanent neighbour on $(interface_in_words "$a" "$b"): $c at $d" ;;
    mtu) echo "MTU $c on $(interface_in_words "$a" "$b"), wanted $MTU" ;;
    no-arp) echo "$(interface_in_words "$a" "$b") does not use ARP" ;;
    qdisc) echo "qdisc ${d% *} on $(interface_in_words "$a" "$b") ($c)" ;;
    rules) echo "rules of its own in namespace $a: $(rules_in_words "$a" "$b" "$c" "$d")" ;;
    stale) echo "/run/netns/$a is a file and no namespace" ;;
    foreign) echo "namespace $a is in use for something else" ;;
  esac
}

interface_in_words() { # NAMESPACE INTERFACE
  if [[ $1 == - ]]; then echo "$2 of the host"; else echo "$2 in namespace $1"; fi
}

rules_in_words() { # NAMESPACE FAMILY TABLE CHAIN
  local enter=(nsenter --net="/run/netns/$1" --) rules
  if [[ $2 == legacy ]]; then rules=$("${enter[@]}" iptables-legacy-save -t "$3" | grep ^-A); else
    rules=$("${enter[@]}" nft list chain "$2" "$3" "$4" | sed -E '/^(table|\t(chain|type|\})|\})/d; s/^\t*//; s/counter packets [0-9]+ bytes [0-9]+ //')
  fi
  echo "$2 $3${4:+ $4}: ${rules//$'\n'/; }"
}
