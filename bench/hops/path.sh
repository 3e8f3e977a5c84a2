# shellcheck shell=bash disable=SC2153,SC2154,SC2034 # variables of run.sh
# The path of one hop: namespaces, links, rules and programs; build_path and remove_path. Sourced by run.sh.

BRIDGE=br-hops
# A network that is neither the lab's nor the sandbox's (RFC 2544, for benchmarks); in IPv6 that of RFC 5180.
NETWORK=198.18.0 OUTSIDE=198.19.0 NETWORK6=2001:2:0
HOST=$NETWORK.1 CLIENT=$NETWORK.2 SERVER=$NETWORK.3
PROXY=$NETWORK.4 GATEWAY=$NETWORK.5 PRODUCT=$NETWORK.6 REDIS=$NETWORK.7
SERVER_PORT=80 PUBLISHED=8080 GATEWAY_PORT=3000 PRODUCT_PORT=5000 REDIS_PORT=6379
FIRST_USER=64900 # the programs' first user id; Debian reserves 60000-64999 for use on demand

has_element() { # ELEMENT: true if HOP contains ELEMENT
  local hops=" ${HOPS[*]} "
  [[ $1 == "$HOP" || " ${hops#* "$1" }" == *" $HOP "* ]]
}
in_namespace() { nsenter --net="/run/netns/$1" -- "${@:2}"; }
is_in_both_families() { [[ -e /proc/net/if_inet6 ]] && ! has_element nginx; }
in_ipv6() { # ADDRESS: 198.18.0.3 -> 2001:2:0:18::3
  local part
  IFS=. read -ra part <<<"$1"
  echo "$NETWORK6:${part[1]}::${part[3]}"
}

# --- links --------------------------------------------------------------------------------------

add_namespace() { # NAME
  ip netns add "$1"
  # Links have no automatic IPv6 addresses and ask for no router. Bridges do not pass frames to iptables yet.
  in_namespace "$1" sysctl -qew net.ipv6.conf.default.{addr_gen_mode=1,router_solicitations=0,accept_ra=0} \
    net.bridge.bridge-nf-call-{ip,ip6,arp}tables=0
  ip -n "$1" link set lo up
}

add_addresses() { # NAMESPACE LINK ADDRESS: in both families
  ip -n "$1" addr add "$3/24" dev "$2"
  ! is_in_both_families || ip -n "$1" addr add "$(in_ipv6 "$3")/64" dev "$2" nodad
}

add_default_route() { # NAMESPACE ADDRESS
  ip -n "$1" route add default via "$2"
  ! is_in_both_families || ip -n "$1" route add default via "$(in_ipv6 "$2")"
}

# Without a link-local address the kernel sends no neighbour solicitation for a packet that it forwards.
add_router_address() { ! is_in_both_families || ip -n "$1" addr add fe80::1/64 dev "$2" nodad; } # NAMESPACE LINK

add_veth() { # NAMESPACE ADDRESS OTHER_NAMESPACE [OTHER_ADDRESS]: the other end has the namespace's name
  ip -n "$3" link add "$1" type veth peer name wire netns "$1"
  add_addresses "$1" wire "$2"
  ip -n "$1" link set wire up
  [[ -z ${4:-} ]] || add_addresses "$3" "$1" "$4"
  ip -n "$3" link set "$1" up
}

add_host() {
  add_namespace host
  in_namespace host sysctl -qew net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  ip -n host link add "$BRIDGE" type bridge
  in_namespace host sysctl -qw net.bridge.bridge-nf-call-{ip,ip6,arp}tables=0 # the first bridge sets them to 1
  add_addresses host "$BRIDGE" "$HOST"
  add_router_address host "$BRIDGE"
  ip -n host link set "$BRIDGE" up
  ! has_element br_netfilter || ip -n host link set "$BRIDGE" type bridge nf_call_iptables 1 nf_call_ip6tables 1
}

add_node() { # NAME ADDRESS: a namespace on the bridge
  add_namespace "$1"
  add_veth "$1" "$2" host
  ip -n host link set "$1" master "$BRIDGE"
  add_default_route "$1" "$HOST"
}

add_outside_client() {
  add_namespace client
  add_veth client "$OUTSIDE.2" host "$OUTSIDE.1"
  add_default_route client "$OUTSIDE.1"
  add_router_address host client
}

add_links() {
  case $HOP in
    loopback)
      add_namespace server
      add_addresses server lo "$SERVER"
      FROM=server
      ;;
    veth)
      add_namespace client
      add_namespace server
      add_veth server "$SERVER" client "$CLIENT"
      ;;
    *)
      add_host
      add_node server "$SERVER"
      if has_element routed; then add_outside_client; else add_node client "$CLIENT"; fi
      ;;
  esac
}

# Set FROM, the client's namespace, and TO, the addresses and ports of its requests: in IPv4 and, without programs in
# the path, in IPv6.
build_path() {
  local listens=("$SERVER:$SERVER_PORT")
  FROM=client ENTRY=$SERVER:$SERVER_PORT
  add_links
  ! is_in_both_families || listens+=("[$(in_ipv6 "$SERVER")]:$SERVER_PORT")
  # The answer is as long as the catalogue, so that all hops transfer the same amount.
  start_constant_server server "$(printf '{"products":"%0274d"}' 0)" "${listens[@]}"
  wait_for_answer server "$SERVER:$SERVER_PORT"
  ! has_element nginx || start_programs
  TO=("$ENTRY" "${listens[@]:1}")
  ! has_element conntrack || load_rules
  ! has_element dnat || TO=("$OUTSIDE.1:$PUBLISHED")
  ! has_element dnat || ! is_in_both_families || TO+=("[$(in_ipv6 "$OUTSIDE.1")]:$PUBLISHED")
}

load_rules() {
  print_rules "$OUTSIDE.1/32" "$SERVER/32" "${TO[0]}" | in_namespace host iptables-restore
  ! is_in_both_families || print_rules "$(in_ipv6 "$OUTSIDE.1")/128" "$(in_ipv6 "$SERVER")/128" "${TO[1]}" |
    in_namespace host ip6tables-restore
}

print_rules() { # PUBLISHING SERVER ENTRY
  local number count=0 element
  for element in "${HOPS[@]}"; do [[ $element != rules-* ]] || ! has_element "$element" || count=${element#rules-}; done
  ! has_element dnat || printf '%s\n' '*nat' \
    "-A PREROUTING -d $1 -p tcp -m tcp --dport $PUBLISHED -j DNAT --to-destination $3" COMMIT
  printf '%s\n' '*filter' '-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT'
  for ((number = 1; number <= count; number++)); do
    echo "-A FORWARD -d $2 -p tcp -m tcp --dport $((10000 + number)) -j ACCEPT" # a rule that never matches
  done
  ((count == 0)) || echo "-A FORWARD -p tcp -m conntrack --ctstate NEW -j ACCEPT"
  echo COMMIT
}

# The counters show whether each rule that must match has matched.
rules_have_matched() {
  { in_namespace host iptables-save -c && { ! is_in_both_families || in_namespace host ip6tables-save -c; }; } |
    awk '/ctstate|DNAT/ && /^\[0:/ { unmatched = 1 } END { exit unmatched }'
}

remove_path() {
  local namespace
  mapfile -t NAMESPACES < <(ip netns list | awk '$1 != "world" { print $1 }')
  for namespace in "${NAMESPACES[@]}"; do ip netns pids "$namespace" | xargs -r kill -TERM 2>/dev/null || :; done
  retry_until 15 programs_ended || die "$HOP: a program does not end"
  for namespace in "${NAMESPACES[@]}"; do # a link is removed at once, a namespace later
    ip -n "$namespace" link del wire 2>/dev/null || :
    ip netns del "$namespace"
  done
}
programs_ended() {
  local namespace
  for namespace in "${NAMESPACES[@]}"; do [[ -z $(ip netns pids "$namespace") ]] || return 1; done
}

# --- programs -----------------------------------------------------------------------------------

# As the supervisor starts it, with scripts/contain.sh.
start_program() { # NAMESPACE ADDRESS PORT PROGRAM SETTING...
  add_node "$1" "$2"
  env SERVICE_IP="$2" SERVICE_PORT="$3" INSTANCE_ID="$1" SERVICE_NAME="$4" SERVICE_USER="$((FIRST_USER + ${2##*.}))" \
    LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 "${@:5}" \
    "$ROOT/scripts/contain.sh" start "$1" "$4" &>>"$WORK/$1.log" 9>&- &
}

start_programs() {
  local upstream=$SERVER:$SERVER_PORT behind=$SERVER:$SERVER_PORT
  ! has_element product || behind=$PRODUCT:$PRODUCT_PORT
  ! has_element gateway || upstream=$GATEWAY:$GATEWAY_PORT
  if has_element product; then
    start_program redis "$REDIS" "$REDIS_PORT" redis SECRETS=REDIS_PASSWORD
    start_program product "$PRODUCT" "$PRODUCT_PORT" product-service SECRETS=REDIS_PASSWORD \
      REDIS_HOST="$REDIS" REDIS_PORT="$REDIS_PORT"
  fi
  ! has_element gateway || start_program gateway "$GATEWAY" "$GATEWAY_PORT" api-gateway \
    PRODUCT_SERVICE_URLS="http://$behind" ORDER_SERVICE="http://$behind"
  start_program proxy "$PROXY" 80 nginx GATEWAYS="$upstream"
  ENTRY=$PROXY:80
  ! has_element product || wait_for_answer product "$PRODUCT:$PRODUCT_PORT" /products
  ! has_element gateway || wait_for_answer gateway "$GATEWAY:$GATEWAY_PORT"
  wait_for_answer proxy "$ENTRY"
}

wait_for_answer() { # NAMESPACE ADDRESS:PORT [PATH]
  retry_until 15 in_namespace "$1" curl -fs -m 1 -o /dev/null "http://$2${3:-/api/products}" ||
    die "$HOP: $1 does not answer at $2: $(tail -n 1 "$WORK/$1.log" 2>/dev/null)"
}
