#!/usr/bin/env bash
# Check by experiment that the lab works: try each connection and endpoint.
#
#   scripts/verify.sh all        both of the following (the default)
#   scripts/verify.sh network    ping matrix; the source address seen outside; published ports
#   scripts/verify.sh services   every endpoint through the published port; an order read back from PostgreSQL
#   scripts/verify.sh help
#
# It creates a namespace cnet-outside (198.51.100.2, TEST-NET-2 of RFC 5737), which has a veth pair to the host and no
# route to the nodes, and deletes it at the end. Exit 1 if anything failed. --json (or JSON=1) prints JSON.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"
# shellcheck source=scripts/lib/checks.sh
source "$ROOT/scripts/lib/checks.sh"
# shellcheck source=scripts/lib/ping_matrix.sh
source "$ROOT/scripts/lib/ping_matrix.sh"

OUTSIDE_PORT=80 # the policy allows this port to the outside

read_order() { # ID: print the row from PostgreSQL, through its Unix socket
  local node
  node=$(nodes_running postgres | sed -n 1p)
  timeout 10 "$ROOT/scripts/contain.sh" exec "$node" psql -XAt -h /state -p "${LISTENS[$node]%%/*}" -d orders \
    -c "SELECT customer_id, product_id, quantity, total_price FROM orders WHERE id = $1"
}

# in_namespace NS COMMAND... (nsenter, not `ip netns exec`: that one remounts /sys)
in_namespace() { nsenter --net="/run/netns/$1" -- "${@:2}"; }

connects() { "${@:3}" timeout 3 "$BASH" -c "</dev/tcp/$1/$2" &>/dev/null; } # ADDRESS PORT [in_namespace NS]

# Query the name "lab" over UDP, with "cn" as the query's number: a DNS server answers with that number (RFC 1035,
# 4.1.1), and so does a test server, which sends each datagram back.
answers_udp() { # ADDRESS PORT [in_namespace NS]
  local query='cn\1\0\0\1\0\0\0\0\0\0\3lab\0\0\1\0\1'
  [[ $("${@:3}" timeout 3 "$BASH" -c "exec 3<>/dev/udp/$1/$2; printf '$query' >&3; head -c 2 <&3" 2>/dev/null) == cn ]]
}

is_reachable() { # PROTOCOL ADDRESS PORT [in_namespace NS]
  if [[ $1 == udp ]]; then answers_udp "${@:2}"; else connects "${@:2}"; fi
}

# Start a test server and set SERVER to its pid: serve NAMESPACE ADDRESS PORT PROTOCOL
serve() {
  nsenter --net="/run/netns/$1" -- python3 "$ROOT/lab/echo_address.py" "$2" "$3" "$4" 9>&- &
  SERVER=$!
  defer kill "$SERVER"
  retry_until 10 is_reachable "$4" "$2" "$3" in_namespace "$1" || die "could not listen on $2:$3 in namespace $1"
}

# --- phase 1 --------------------------------------------------------------------------------------

# The flows that the policy allows, among those tried, as keys of MAY; used only if HAS_POLICY.
HAS_POLICY=''
declare -A MAY=()
read_policy() {
  local flows=(icmp "world:tcp/$OUTSIDE_PORT") node item output
  policy_in_force || return 0
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} != - ]] || continue
    for item in ${PUBLISHES[$node]//,/ }; do
      item=${item#*:}
      flows+=("$node:${item#*/}/${item%/*}")
    done
  done
  output=$("$ROOT/security/policy.sh" allowed "${flows[@]}")
  HAS_POLICY=1
  while read -r item; do MAY[$item]=1; done <<<"$output"
}
allowed() { [[ -z $HAS_POLICY || -n ${MAY["$*"]:-} ]]; } # FROM TO PROTOCOL[/PORT]

verify_outside_access() {
  local node seen
  serve "$OUTSIDE_NAMESPACE" "$OUTSIDE" "$OUTSIDE_PORT" tcp
  for node in "${NODES[@]}"; do
    if ! allowed "$node" world "tcp/$OUTSIDE_PORT"; then
      passed "$node" 'has no access to the outside: the policy denies it'
      continue
    fi
    seen=$(in_namespace "${NAMESPACE[$node]}" curl -s --interface "${ADDRESS[$node]%/*}" -m 3 \
      "http://$OUTSIDE:$OUTSIDE_PORT/" | head -c 1000) || seen='no answer'
    if [[ $seen == "$HOST_FOR_OUTSIDE" ]]; then
      passed "$node" "${ADDRESS[$node]%/*} is seen outside as $seen"
    else
      failed "$node" "${ADDRESS[$node]%/*} is seen outside as: $seen"
      suggest_explain "FROM=$node TO=world PORT=$OUTSIDE_PORT"
    fi
  done
}

services_are_meant_to_run() { [[ -e $RUN_DIR/supervisord.conf ]]; }

# If no service runs yet, start a test server in the node: published ports belong to phase 1.
verify_published() { # NODE HOST_PORT PORT PROTOCOL
  if is_reachable "$4" "${ADDRESS[$1]%/*}" "$3" in_namespace "${NAMESPACE[$1]}"; then
    verify_ways_in "$@"
  elif services_are_meant_to_run && [[ ${RUNS[$1]} != - ]]; then
    failed "host:$2 -> $1:$3" "no process listens on port $3 of $1"
  else
    serve "${NAMESPACE[$1]}" "${ADDRESS[$1]%/*}" "$3" "$4"
    verify_ways_in "$@"
    kill "$SERVER"
    unset 'UNDO[-1]'
  fi
}

verify_ways_in() { # NODE HOST_PORT PORT PROTOCOL
  local inside other
  for other in "${NODES[@]}"; do
    [[ ${NAMESPACE[$other]} == "${NAMESPACE[$1]}" ]] || ! allowed "$other" "$1" "$4/$3" || inside=$other
  done
  if is_reachable "$4" "$HOST_FOR_OUTSIDE" "$2" in_namespace "$OUTSIDE_NAMESPACE"; then
    passed "from outside: host:$2 -> $1:$3" "from $OUTSIDE"
  else
    failed "from outside: host:$2 -> $1:$3" "host:$2 does not reach $1:$3"
    suggest_explain "FROM=world TO=host PORT=$2"
  fi
  [[ -z ${inside:-} ]] || if is_reachable "$4" "$HOST_FOR_OUTSIDE" "$2" in_namespace "${NAMESPACE[$inside]}"; then
    passed "from a namespace: host:$2 -> $1:$3" "from $inside"
  else
    failed "from a namespace: host:$2 -> $1:$3" "${NAMESPACE[$inside]} does not reach it"
    suggest_explain "FROM=$inside TO=host PORT=$2"
  fi
  if is_reachable "$4" 127.0.0.1 "$2"; then
    passed "from the host: localhost:$2 -> $1:$3"
  else failed "from the host: localhost:$2 -> $1:$3" 'no connection' && suggest_explain "FROM=host TO=host PORT=$2"; fi
}

verify_services() {
  need_environment
  try_endpoints env PYTHONPATH="$ROOT" TOPOLOGY="$TABLE" "$VENV/bin/python" -m lab.verify lab
}

# Without the bridge, each check would wait for its timeout.
check_bridges() {
  local bridge
  for bridge in "${BRIDGES[@]}"; do
    [[ $(ip -o -4 addr show dev "$bridge" up 2>/dev/null) == *" ${ADDRESS[$bridge]} "* ]] ||
      die "bridge $bridge is down, or without its address ${ADDRESS[$bridge]}: its nodes cannot be reached;" \
        "$DIAGNOSE"
  done
}

verify_network() {
  local node item
  read_policy
  title "Ping matrix (ms)"
  show_matrix
  make_outside
  title "The way out: masquerading"
  verify_outside_access
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} != - ]] || continue
    title "The way in: published ports of $node"
    for item in ${PUBLISHES[$node]//,/ }; do
      local inside=${item#*:}
      verify_published "$node" "${item%%:*}" "${inside%/*}" "${item#*/}"
    done
  done
}

main() {
  need_root
  need_tools ip jq fping curl nsenter python3
  load_topology
  need_lab
  check_bridges
  take_lock
  divert_text
  [[ $1 == services ]] || verify_network
  [[ $1 == network ]] || verify_services
  end_section
  [[ -n ${BRIEF:-} ]] || echo
  [[ -z $JSON ]] || checks_as_json >&"$DOCUMENT"
  ((FAILED == 0)) || die "some checks failed: see the lines marked FAIL; $DIAGNOSE"
  [[ -n ${BRIEF:-} ]] || say "${GREEN}all checks passed${PLAIN}"
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-all} in
  all | network | services) main "${1:-all}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
