#!/usr/bin/env bash
# Proof that the lab works, by trying it: nothing is read from a configuration and believed.
#
#   scripts/verify.sh all        both of the following (the default)
#   scripts/verify.sh network    ping matrix; the way out with the address seen there; published ports
#   scripts/verify.sh services   every endpoint through the published port; an order read back from PostgreSQL
#   scripts/verify.sh help
#
# It brings its own outside: a namespace cnet-outside (198.51.100.2, TEST-NET-2 of RFC 5737) on a wire to the
# host, that knows no way to the nodes. It goes away with the script. Exit 1 when anything failed.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"
# shellcheck source=scripts/lib/checks.sh
source "$ROOT/scripts/lib/checks.sh"
# shellcheck source=scripts/lib/names.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/names.sh"

OUTSIDE_PORT=80 # one that the policy lets out

# in_namespace NS COMMAND... (nsenter, not `ip netns exec`: that one remounts /sys)
in_namespace() { nsenter --net="/run/netns/$1" -- "${@:2}"; }

connects() { "${@:3}" timeout 3 "$BASH" -c "</dev/tcp/$1/$2" &>/dev/null; } # ADDRESS PORT [in_namespace NS]

# Ask over UDP for the name "lab", with "cn" as the query's number: a DNS server answers with that number (RFC 1035,
# 4.1.1), and so does a server of the proof, which sends all back.
answers_udp() { # ADDRESS PORT [in_namespace NS]
  local query='cn\1\0\0\1\0\0\0\0\0\0\3lab\0\0\1\0\1'
  [[ $("${@:3}" timeout 3 "$BASH" -c "exec 3<>/dev/udp/$1/$2; printf '$query' >&3; head -c 2 <&3" 2>/dev/null) == cn ]]
}

is_reachable() { if [[ $1 == udp ]]; then answers_udp "${@:2}"; else connects "${@:2}"; fi; } # PROTOCOL ADDRESS PORT [in_namespace NS]

# A server for the time of the proof, whose pid is SERVER: serve NAMESPACE ADDRESS PORT PROTOCOL
serve() {
  nsenter --net="/run/netns/$1" -- python3 "$ROOT/lab/echo_address.py" "$2" "$3" "$4" 9>&- &
  SERVER=$!
  defer kill "$SERVER"
  retry_until 10 is_reachable "$4" "$2" "$3" in_namespace "$1" || die "could not listen on $2:$3 in namespace $1"
}

# --- phase 1 --------------------------------------------------------------------------------------

# What the policy says of all that is tried: the keys of MAY, which are of use while one is in force.
POLICED=''
declare -A MAY=()
read_policy() {
  local questions=(icmp "world:tcp/$OUTSIDE_PORT") node item said
  policy_in_force || return 0
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} != - ]] || continue
    for item in ${PUBLISHES[$node]//,/ }; do
      item=${item#*:}
      questions+=("$node:${item#*/}/${item%/*}")
    done
  done
  said=$("$ROOT/security/policy.sh" allowed "${questions[@]}") # which says why, when it cannot
  POLICED=1
  while read -r item; do MAY[$item]=1; done <<<"$said"
}
allowed() { [[ -z $POLICED || -n ${MAY["$*"]:-} ]]; } # FROM TO PROTOCOL[/PORT]

# One fping for each namespace asks all others at once; its lines: "ADDRESS : MS" or "ADDRESS : -".
# Who did not answer within half a second is asked once more and waited for: a busy machine is no broken wire.
ping_from() { # NODE
  local answers silent
  ((${#TARGETS[@]} > 0)) || return 0
  answers=$(ask_by_ping "$1" 500 "${TARGETS[@]}")
  mapfile -t silent < <(awk '$3 == "-" { print $1 }' <<<"$answers")
  awk '$3 != "-"' <<<"$answers"
  ((${#silent[@]} == 0)) || ask_by_ping "$1" 2000 "${silent[@]}"
}
ask_by_ping() { # NODE MILLISECONDS ADDRESS...
  in_namespace "${NAMESPACE[$1]}" fping -q -C 1 -t "$2" -i 1 -S "${ADDRESS[$1]%/*}" "${@:3}" 2>&1 || [[ $? == 1 ]]
}

show_matrix() {
  local from to word row answers=0 number=0 closed=0 pings=() lost=()
  local -A answer
  [[ -n ${BRIEF:-} ]] || ((${#NODES[@]} > 20)) || matrix_head
  for from in "${NODES[@]}"; do
    answer=() TARGETS=()
    for to in "${NODES[@]}"; do
      if allowed "$from" "$to" icmp; then TARGETS+=("${ADDRESS[$to]%/*}"); else answer[${ADDRESS[$to]%/*}]=closed; fi
    done
    while read -r to _ word; do answer[$to]=$word; done < <(ping_from "$from")
    row=''
    for to in "${NODES[@]}"; do
      word=${answer[${ADDRESS[$to]%/*}]:--}
      if [[ $word == closed ]]; then closed=$((closed + 1)) word=.; elif [[ $word =~ ^[0-9.]+$ ]]; then answers=$((answers + 1)); else lost+=("$from $to") word=--; fi
      [[ $word == . ]] || pings+=("$from $to")
      row+=$(printf '%8.7s' "$word")
    done
    if [[ -n ${BRIEF:-} ]]; then :; elif ((${#NODES[@]} > 20)); then printf '\r  %s pings so far' "${#pings[@]}" >&2; else printf '  %2s %-18s%s\n' "$((++number))" "$from" "$row"; fi
  done
  echo "$answers ping" >>"${PROOF_COUNTS:-/dev/null}"
  if ((${#lost[@]} == 0)); then passed "$answers of $answers pings answered$( ((closed == 0)) || echo "; the policy closes $closed pairs (.), make prove tries them")"; else
    failed "${#lost[@]} pings of ${#pings[@]} got no answer"
    tell_lost
  fi
}

why() { echo "        why: sudo make explain $*"; } # ARGUMENTS of make

# In words, which of the array `pings` are in the array `lost`: nodes that are cut off by one line, other pairs by one each.
tell_lost() {
  local pair node
  local -A asked=() missed=() cut=()
  for pair in "${pings[@]}"; do [[ ${pair% *} == "${pair#* }" ]] || { asked[${pair% *}]+=. && asked[${pair#* }]+=.; }; done
  for pair in "${lost[@]}"; do [[ ${pair% *} == "${pair#* }" ]] || { missed[${pair% *}]+=. && missed[${pair#* }]+=.; }; done
  for node in "${NODES[@]}"; do
    [[ -n ${missed[$node]:-} && ${missed[$node]} == "${asked[$node]}" ]] || continue
    cut[$node]=1
    echo "        $node: all pings to it and from it were lost"
    for pair in "${lost[@]}"; do [[ ${pair#* } != "$node" || ${pair% *} == "$node" ]] || break; done
    why "FROM=${pair% *} TO=${pair#* } OPTIONS=--icmp"
  done
  for pair in "${lost[@]}"; do
    [[ -z ${cut[${pair% *}]:-}${cut[${pair#* }]:-} ]] || continue
    echo "        ${pair% *} does not reach ${pair#* }"
    why "FROM=${pair% *} TO=${pair#* } OPTIONS=--icmp"
  done
}

matrix_head() { # columns bear the rows' numbers
  printf '  %-21s' 'from \ to'
  printf '%8s' $(seq "${#NODES[@]}")
  echo
}

verify_way_out() {
  local node seen
  serve "$OUTSIDE_NAMESPACE" "$OUTSIDE" "$OUTSIDE_PORT" tcp
  for node in "${NODES[@]}"; do
    allowed "$node" world "tcp/$OUTSIDE_PORT" || { passed "$(printf '%-18s has no way out: the policy closes it' "$node")" && continue; }
    seen=$(in_namespace "${NAMESPACE[$node]}" curl -s --interface "${ADDRESS[$node]%/*}" -m 3 "http://$OUTSIDE:$OUTSIDE_PORT/" | head -c 1000) || seen='no answer'
    if [[ $seen == "$HOST_FOR_OUTSIDE" ]]; then
      passed "$(printf '%-18s %-15s is seen outside as %s' "$node" "${ADDRESS[$node]%/*}" "$seen")"
    else
      failed "$node (${ADDRESS[$node]%/*}) is seen outside as: $seen"
      why "FROM=$node TO=world PORT=$OUTSIDE_PORT"
    fi
  done
}

services_are_meant_to_run() { [[ -e $RUN_DIR/supervisord.conf ]]; }

# Before any service runs, a server stands in for the node's: the way in is of phase 1.
verify_published() { # NODE HOST_PORT PORT PROTOCOL
  if is_reachable "$4" "${ADDRESS[$1]%/*}" "$3" in_namespace "${NAMESPACE[$1]}"; then
    verify_ways_in "$@"
  elif services_are_meant_to_run && [[ ${RUNS[$1]} != - ]]; then
    failed "nobody listens on port $3 of $1; see: sudo make logs NODE=$1"
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
    passed "from outside:        $OUTSIDE -> host:$2 -> $1:$3"
  else failed "from outside: host:$2 does not lead to $1:$3" && why "FROM=world TO=host PORT=$2"; fi
  [[ -z ${inside:-} ]] || if is_reachable "$4" "$HOST_FOR_OUTSIDE" "$2" in_namespace "${NAMESPACE[$inside]}"; then
    passed "from a namespace:    $inside -> host:$2 -> $1:$3"
  else failed "from namespace ${NAMESPACE[$inside]}: host:$2 does not lead to $1:$3" && why "FROM=$inside TO=host PORT=$2"; fi
  if is_reachable "$4" 127.0.0.1 "$2"; then
    passed "from the host:       localhost:$2 -> $1:$3"
  else failed "from the host: localhost:$2 does not lead to $1:$3" && why "FROM=host TO=host PORT=$2"; fi
}

# Without its bridge no node reaches anything, and each check would wait for its deadline.
check_bridges() {
  local bridge
  for bridge in "${BRIDGES[@]}"; do
    [[ $(ip -o -4 addr show dev "$bridge" up 2>/dev/null) == *" ${ADDRESS[$bridge]} "* ]] ||
      die "bridge $bridge is down, or without its address ${ADDRESS[$bridge]}: its nodes cannot be reached; sudo make status names what differs, sudo make up repairs it"
  done
}

verify_network() {
  local node item
  read_policy
  title "Ping matrix (ms)"
  show_matrix
  make_outside
  title "The way out: masquerading"
  verify_way_out
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} != - ]] || continue
    title "The way in: published ports of $node"
    for item in ${PUBLISHES[$node]//,/ }; do
      local inside=${item#*:}
      verify_published "$node" "${item%%:*}" "${inside%/*}" "${item#*/}"
    done
  done
}

# --- phase 2 --------------------------------------------------------------------------------------

read_order() { # ID; asked of PostgreSQL itself, by its own socket
  local node
  node=$(nodes_running postgres | sed -n 1p)
  timeout 10 "$ROOT/scripts/contain.sh" exec "$node" psql -XAt -h /state -p "${LISTENS[$node]%%/*}" -d orders \
    -c "SELECT customer_id, product_id, quantity, total_price FROM orders WHERE id = $1"
}

tell_why_silent() { # URL
  local address=${1#http://} node from=host to=host
  address=${address%%/*}
  for node in "${NODES[@]}"; do
    [[ ${ADDRESS[$node]%/*} != "${address%:*}" ]] || to=$node
    [[ ${NAMESPACE[$node]} != "${FROM[1]:-}" ]] || from=$node
  done
  why "FROM=$from TO=$to PORT=${address##*:}"
}

verify_own_endpoints() {
  local node base
  for node in "${NODES[@]}"; do
    base=http://${ADDRESS[$node]%/*}:${LISTENS[$node]%%/*}
    case ${RUNS[$node]} in
      api-gateway | product-service | order-service | service-registry) verify_own_endpoints_of "$node" "$base" ;;
    esac
  done
}

registered_name() { # of a node: what it registers as, or is configured as
  case ${RUNS[$1]} in nginx | redis | postgres | service-registry) label "$1" ;; *) echo "${RUNS[$1]}" ;; esac
}

running_nodes() { # how many nodes run a program
  local node count=0
  for node in "${NODES[@]}"; do [[ ${RUNS[$node]} == - ]] || count=$((count + 1)); done
  echo "$count"
}
all_pass() { [[ $(ask -m 2 "$1/services" | jq '[.[][] | select(.health == "passing")] | length') -ge $2 ]]; } # BASE COUNT

verify_discovery() { # BASE
  local node product body
  retry_until 5 all_pass "$1" "$(running_nodes)" || : # a service that has just started registers within a second
  for node in "${NODES[@]}"; do
    [[ ${RUNS[$node]} == - ]] || expect "$node is registered and passing" 200 \
      "any(.[]; .instance_id == \"$(label "$node")\" and .health == \"passing\" and .ip == \"${ADDRESS[$node]%/*}\")" \
      "$1/discover/$(registered_name "$node")?all=1"
  done
  product=$(nodes_running product-service | sed -n 1p)
  [[ -n $product ]] || return 0
  body="{\"name\":\"verify\",\"ip\":\"${ADDRESS[$product]%/*}\",\"port\":${LISTENS[$product]%%/*}}"
  expect 'POST /register of somebody else is refused' 403 '.field == "ip"' -H 'Content-Type: application/json' -d "$body" "$1/register"
  verify_registration "$1" "$product" "$body"
  retry_until 5 all_pass "$1" "$(running_nodes)" || : # with its next heartbeat
  expect "$product registered again by itself" 200 "any(.[]; .instance_id == \"$(label "$product")\")" \
    "$1/discover/product-service?all=1"
  expect 'GET /discover of a name that nobody has' 404 '.error == "Service not found"' "$1/discover/nobody"
}

verify_registration() { # BASE PRODUCT BODY_WITH_ANOTHER_NAME: what an instance may say of itself
  local FROM=(in_namespace "${NAMESPACE[$2]}") OWN=(--interface "${ADDRESS[$2]%/*}") body json='Content-Type: application/json'
  expect 'POST /register under another name is refused' 403 .error -H "$json" -d "$3" "$1/register"
  body=$(jq -c --arg id "$(label "$2")" '. + {name: "product-service", instance_id: $id, ttl: 3}' <<<"$3")
  expect 'POST /register' 200 '.status == "registered" and .service == "product-service"' -H "$json" -d "$body" "$1/register"
  expect 'GET /services' 200 'has("product-service")' "$1/services"
  expect 'GET /discover/product-service' 200 '.health == "passing"' "$1/discover/product-service"
  expect 'DELETE /deregister' 200 '.status == "deregistered"' -X DELETE "$1/deregister/product-service/$(label "$2")"
}

# As the node's program asks: in its own root, as its user. Where none runs, as a command typed in the namespace:
# `ip netns exec` here and only here, for it puts the namespace's own resolv.conf in place.
resolve() { # NODE NAME
  local ask=(ip netns exec "${NAMESPACE[$1]}")
  ! services_are_meant_to_run || [[ ${RUNS[$1]} == - ]] || ask=("$ROOT/scripts/contain.sh" exec "$1")
  "${ask[@]}" getent ahostsv4 "$2" | awk '$2 == "STREAM" { print $1 }' | sort | paste -sd' '
}

verify_names() {
  local asked node wanted seen
  asked=$(nodes_running product-service | sed -n 1p) # several of one name, where there are products
  asked=$(registered_name "${asked:-$(nodes_running service-registry | sed -n 1p)}")
  wanted=$(for node in "${NODES[@]}"; do
    [[ ${RUNS[$node]} == - || $(registered_name "$node") != "$asked" ]] || echo "${ADDRESS[$node]%/*}"
  done | sort | paste -sd' ')
  for node in "${NODES[@]}"; do
    seen=$(resolve "$node" "$asked.lab") || seen=nothing
    if [[ $seen == "$wanted" ]]; then passed "$(printf '%-18s %s is %s' "$node" "$asked.lab" "$seen")"; else
      failed "$node: $asked.lab is ${seen:-nothing}, wanted $wanted"
    fi
  done
  if resolve "$node" nowhere.lab >/dev/null; then failed "nowhere.lab is something"; else passed "nowhere.lab is nothing"; fi
}

verify_services() {
  local way_in port node
  title "Each service's own endpoints"
  verify_own_endpoints
  for node in $(nodes_running service-registry); do
    title "Discovery: $node"
    verify_discovery "http://${ADDRESS[$node]%/*}:${LISTENS[$node]%%/*}"
  done
  [[ -z $(dns_address) ]] || { title "Names: each namespace asks $(dns_address)" && verify_names; }
  way_in=$(nodes_running nginx | sed -n 1p)
  [[ -n $way_in && ${PUBLISHES[$way_in]} != - ]] || return 0
  port=${PUBLISHES[$way_in]%%:*}
  title "The platform at http://localhost:$port"
  verify_way_in "http://localhost:$port"
  [[ -z $(nodes_running product-service) ]] || verify_products "http://localhost:$port"
  [[ -z $(nodes_running postgres) ]] || verify_orders "http://localhost:$port"
}

main() {
  need_root
  need_tools ip jq fping curl nsenter python3
  load_topology
  need_lab
  check_bridges
  take_lock
  [[ $1 == services ]] || verify_network
  [[ $1 == network ]] || verify_services
  end_section
  [[ -n ${BRIEF:-} ]] || echo
  ((FAILED == 0)) || die "not everything worked; the lines marked FAIL say what"
  [[ -n ${BRIEF:-} ]] || say "${GREEN}all of it works${PLAIN}"
}

case ${1:-all} in
  all | network | services) main "${1:-all}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
