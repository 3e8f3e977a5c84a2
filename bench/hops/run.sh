#!/usr/bin/env bash
# What each element of a packet's way costs: one more at a time, from loopback to the whole chain of services.
#
#   bench/hops/run.sh [run]    ROUNDS=12 rounds over all hops in shuffled order (SEED=1); QUICK=1 for 3 short ones
#   bench/hops/run.sh help
#
#   client ---- server                   loopback, veth          one namespace; two, joined by a veth pair
#   client --+-- br --+-- server         bridge, br_netfilter, conntrack     the host's bridge between them
#   client ---- host --- br --- server   routed, dnat, rules-10, -100, -1000   the client is beyond the bridge
#   client ---- host --- br --- nginx --- [gateway ---] server    nginx, gateway; last the real product service
#
# Each hop has all the elements of the one before it and one more. For each turn it is made from nothing and then
# taken away, so no hop inherits anything; each takes REQUESTS requests that open a connection and as many on one
# that is kept, one at a time, after a warm-up. Client and servers share one CPU (CPU=0): the cost of the way, not
# of waking another CPU. The server is nginx with one worker and a constant answer.
# Result: a table, reports/bench_hops.csv, reports/bench_hops_raw.csv (every latency) and reports/bench_hops.png.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"

ROUNDS=${ROUNDS:-${QUICK:+3}} ROUNDS=${ROUNDS:-12}
REQUESTS=${REQUESTS:-${QUICK:+300}} REQUESTS=${REQUESTS:-1000}
SEED=${SEED:-1} CPU=${CPU:-0} REPORTS=${REPORTS:-$ROOT/reports}
WORK=$RUN_DIR/bench-hops BRIDGE=br-hops
HOPS=(loopback veth bridge br_netfilter conntrack routed dnat rules-10 rules-100 rules-1000 nginx gateway product)
PROGRAMS=(nginx gateway product) # hops with programs in the way: slower, so they get a quarter of the requests

# A network that is neither the lab's nor the sandbox's (RFC 2544, for benchmarks).
NETWORK=198.18.0 OUTSIDE=198.19.0
HOST=$NETWORK.1 CLIENT=$NETWORK.2 SERVER=$NETWORK.3 PROXY=$NETWORK.4 GATEWAY=$NETWORK.5 PRODUCT=$NETWORK.6 REDIS=$NETWORK.7
SERVER_PORT=80 PUBLISHED=8080 GATEWAY_PORT=3000 PRODUCT_PORT=5000 REDIS_PORT=6379
FIRST_USER=64900 # of the programs; nobody's (Debian keeps 60000-64999 for use on demand)

reached() { # ELEMENT: it is part of HOP
  local hops=" ${HOPS[*]} "
  [[ $1 == "$HOP" || " ${hops#* "$1" }" == *" $HOP "* ]]
}
in_namespace() { nsenter --net="/run/netns/$1" -- "${@:2}"; }

# --- the network of one hop -------------------------------------------------------------------------

new_namespace() { # NAME
  ip netns add "$1"
  # Not a packet that was not asked for: IPv6 announces itself. No rules for bridges but where they are asked for.
  in_namespace "$1" sysctl -qw net.ipv6.conf.{all,default}.disable_ipv6=1 net.bridge.bridge-nf-call-{ip,ip6,arp}tables=0
  ip -n "$1" link set lo up
}

wire() { # NAMESPACE ADDRESS OTHER_NAMESPACE [OTHER_ADDRESS]: a veth pair; its other end has the namespace's name
  ip -n "$3" link add "$1" type veth peer name wire netns "$1"
  ip -n "$1" addr add "$2/24" dev wire
  ip -n "$1" link set wire up
  [[ -z ${4:-} ]] || ip -n "$3" addr add "$4/24" dev "$1"
  ip -n "$3" link set "$1" up
}

new_host() {
  new_namespace host
  in_namespace host sysctl -qw net.ipv4.ip_forward=1
  ip -n host link add "$BRIDGE" type bridge
  in_namespace host sysctl -qw net.bridge.bridge-nf-call-{ip,ip6,arp}tables=0 # the first bridge switches it on
  ip -n host addr add "$HOST/24" dev "$BRIDGE"
  ip -n host link set "$BRIDGE" up
  ! reached br_netfilter || ip -n host link set "$BRIDGE" type bridge nf_call_iptables 1
}

node() { # NAME ADDRESS: a namespace on the bridge
  new_namespace "$1"
  wire "$1" "$2" host
  ip -n host link set "$1" master "$BRIDGE"
  ip -n "$1" route add default via "$HOST"
}

outside_client() {
  new_namespace client
  wire client "$OUTSIDE.2" host "$OUTSIDE.1"
  ip -n client route add default via "$OUTSIDE.1"
}

build() {
  FROM=client TO=$SERVER:$SERVER_PORT DOOR=$SERVER:$SERVER_PORT
  if [[ $HOP == loopback ]]; then
    new_namespace server
    ip -n server addr add "$SERVER/24" dev lo
    FROM=server
  elif [[ $HOP == veth ]]; then
    new_namespace client
    new_namespace server
    wire server "$SERVER" client "$CLIENT"
  else
    new_host
    node server "$SERVER"
    if reached routed; then outside_client; else node client "$CLIENT"; fi
  fi
  start_nginx
  ! reached nginx || start_programs
  ! reached conntrack || rules | in_namespace host iptables-restore
  ! reached dnat || TO=$OUTSIDE.1:$PUBLISHED
}

rules() {
  local number count=0 element
  for element in "${HOPS[@]}"; do [[ $element != rules-* ]] || ! reached "$element" || count=${element#rules-}; done
  ! reached dnat || printf '%s\n' '*nat' "-A PREROUTING -d $OUTSIDE.1/32 -p tcp -m tcp --dport $PUBLISHED -j DNAT --to-destination $DOOR" COMMIT
  printf '%s\n' '*filter' '-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT'
  for ((number = 1; number <= count; number++)); do
    echo "-A FORWARD -d $SERVER/32 -p tcp -m tcp --dport $((10000 + number)) -j ACCEPT" # never this port
  done
  ((count == 0)) || echo "-A FORWARD -p tcp -m conntrack --ctstate NEW -j ACCEPT"
  echo COMMIT
}

# --- the programs -----------------------------------------------------------------------------------

# The catalogue's own length, so that all hops carry the same.
start_nginx() {
  in_namespace server nginx -c "$WORK/nginx.conf" -e /dev/null &>/dev/null 9>&- &
  answers server "$SERVER:$SERVER_PORT"
}

write_nginx_configuration() {
  cat >"$WORK/nginx.conf" <<CONF
daemon off; worker_processes 1; pid $WORK/nginx.pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log off; server_tokens off; keepalive_requests 1000000; default_type application/json;
  server { listen $SERVER:$SERVER_PORT; location / { return 200 '$(printf '{"products":"%0274d"}' 0)\n'; } }
}
CONF
}

# As the supervisor starts it (scripts/lib/supervise.sh), with scripts/contain.sh.
start_program() { # NAMESPACE ADDRESS PORT PROGRAM SETTING...
  node "$1" "$2"
  env SERVICE_IP="$2" SERVICE_PORT="$3" INSTANCE_ID="$1" SERVICE_NAME="$4" SERVICE_USER="$((FIRST_USER + ${2##*.}))" \
    LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 "${@:5}" "$ROOT/scripts/contain.sh" start "$1" "$4" &>>"$WORK/$1.log" 9>&- &
}

start_programs() {
  local upstream=$SERVER:$SERVER_PORT behind=$SERVER:$SERVER_PORT
  ! reached product || behind=$PRODUCT:$PRODUCT_PORT
  ! reached gateway || upstream=$GATEWAY:$GATEWAY_PORT
  if reached product; then
    start_program redis "$REDIS" "$REDIS_PORT" redis
    start_program product "$PRODUCT" "$PRODUCT_PORT" product-service WORKER_CLASS=gevent REDIS_HOST="$REDIS" REDIS_PORT="$REDIS_PORT"
  fi
  ! reached gateway || start_program gateway "$GATEWAY" "$GATEWAY_PORT" api-gateway WORKER_CLASS=gevent WEB_CONCURRENCY=2 \
    PRODUCT_SERVICE_URLS="http://$behind" ORDER_SERVICE="http://$behind"
  start_program proxy "$PROXY" 80 nginx GATEWAYS="$upstream"
  DOOR=$PROXY:80
  ! reached product || answers product "$PRODUCT:$PRODUCT_PORT" /products
  ! reached gateway || answers gateway "$GATEWAY:$GATEWAY_PORT"
  answers proxy "$DOOR"
}

answers() { # NAMESPACE ADDRESS:PORT [PATH]
  retry_until 15 in_namespace "$1" curl -fs -m 1 -o /dev/null "http://$2${3:-/api/products}" ||
    die "$HOP: $1 does not answer at $2: $(tail -n 1 "$WORK/$1.log" 2>/dev/null)"
}

# --- a turn -------------------------------------------------------------------------------------------

measure() { # ROUND
  local requests=$REQUESTS
  [[ " ${PROGRAMS[*]} " != *" $HOP "* ]] || requests=$((REQUESTS / 4))
  (cd "$ROOT" && in_namespace "$FROM" "$VENV/bin/python" -m bench.hops.client "$1" "$HOP" "$TO" "$requests") >>"$WORK/raw.csv" ||
    die "$HOP: the measurement failed"
  ! reached conntrack || rules_bite || die "$HOP: a rule on the path has met no packet"
}

# Whatever is meant to match has matched: counters tell.
rules_bite() { ! in_namespace host iptables-save -c | grep -E 'ctstate|DNAT' | grep '^\[0:' >/dev/null; }

remove() {
  local namespace
  mapfile -t NAMESPACES < <(ip netns list | awk '$1 != "world" { print $1 }')
  for namespace in "${NAMESPACES[@]}"; do ip netns pids "$namespace" | xargs -r kill -TERM 2>/dev/null || :; done
  retry_until 15 nobody_runs || die "$HOP: a program does not end"
  for namespace in "${NAMESPACES[@]}"; do # its links first, for they go at once
    ip -n "$namespace" link del wire 2>/dev/null || :
    ip netns del "$namespace"
  done
}
nobody_runs() {
  local namespace
  for namespace in "${NAMESPACES[@]}"; do [[ -z $(ip netns pids "$namespace") ]] || return 1; done
}

shuffled_hops() { # RANDOM goes on from SEED
  local left=("${HOPS[@]}") at
  SHUFFLED=()
  while ((${#left[@]} > 0)); do
    at=$((RANDOM % ${#left[@]}))
    SHUFFLED+=("${left[at]}")
    left=("${left[@]:0:at}" "${left[@]:at+1}")
  done
}

turn() { # ROUND
  build
  measure "$1"
  remove
}

inside() {
  local round
  need_tools ip iptables-restore nginx curl redis-server taskset setpriv
  [[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]] || die "br_netfilter is not loaded; sudo modprobe br_netfilter"
  mkdir -p "$WORK" "$STATE_DIR"
  chmod 755 "$STATE_DIR"
  echo "REDIS_PASSWORD=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >"$STATE_DIR/secrets"
  write_nginx_configuration
  taskset -pc "$CPU" "$$" >/dev/null
  RANDOM=$SEED
  say "seed $SEED, $ROUNDS rounds, $REQUESTS requests a turn, all on CPU $CPU"
  for ((round = 1; round <= ROUNDS; round++)); do
    shuffled_hops
    say "round $round of $ROUNDS: ${SHUFFLED[*]}"
    for HOP in "${SHUFFLED[@]}"; do turn "$round"; done
  done
  cd "$ROOT"
  "$VENV/bin/python" -m bench.hops.report "$WORK/raw.csv" "$REPORTS" "${HOPS[@]}"
}

case ${1:-run} in
  run)
    need_number ROUNDS 2
    need_number REQUESTS 8
    need_number SEED 0
    taskset -c "$CPU" true 2>/dev/null || die "CPU=$CPU: it takes a CPU of this machine, as taskset does"
    need_folder REPORTS
    "$ROOT/scripts/install.sh" dev
    trap - EXIT
    ROUNDS=$ROUNDS REQUESTS=$REQUESTS SEED=$SEED CPU=$CPU REPORTS=$REPORTS exec "$ROOT/scripts/sandbox.sh" run "$ROOT/bench/hops/run.sh" inside
    ;;
  inside) inside ;; # within its sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
