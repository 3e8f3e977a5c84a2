# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The checks of the network in one family at a time: the way out and the ways in. Sourced by verify.sh.

OUTSIDE_PORT=80 # the policy allows this port to the outside

# Set what the checks use of a family: HERE (nodes that have an address in it), OWN (that address), THERE and HOST_SEEN
# (the outside's address and the host's beside it), and IN_FAMILY, words for titles in IPv6.
declare -A OWN=()
choose_family() { # 4|6
  local node address
  OWN=() HERE=() IN_FAMILY=''
  for node in "${NODES[@]}"; do
    address=${ADDRESS[$node]}
    [[ $1 == 4 ]] || address=${ADDRESS6[$node]:--}
    [[ $address == - || $1$address == 4*:* ]] || { HERE+=("$node") && OWN[$node]=${address%/*}; }
  done
  if [[ $1 == 4 ]]; then THERE=$OUTSIDE HOST_SEEN=$HOST_FOR_OUTSIDE; else
    THERE=$OUTSIDE6 HOST_SEEN=$HOST_FOR_OUTSIDE6 IN_FAMILY=' in IPv6'
  fi
}
suggest_way() { # ARGUMENTS of `make explain`
  local words=$*
  [[ -z $IN_FAMILY ]] || case $words in
    *OPTIONS=--icmp) words=${words%=*}='"--icmp --6"' ;;
    *) words+=' OPTIONS=--6' ;;
  esac
  suggest_explain "$words"
}

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

verify_outside_access() {
  local node seen
  serve "$OUTSIDE_NAMESPACE" "$THERE" "$OUTSIDE_PORT" tcp
  for node in "${HERE[@]}"; do
    if ! allowed "$node" world "tcp/$OUTSIDE_PORT"; then
      passed "$node" 'has no access to the outside: the policy denies it'
      continue
    fi
    seen=$(in_namespace "${NAMESPACE[$node]}" curl -gs --interface "${OWN[$node]}" -m 3 \
      "http://$(in_url "$THERE"):$OUTSIDE_PORT/" | head -c 1000) || seen='no answer'
    if [[ $seen == "$HOST_SEEN" ]]; then
      passed "$node" "${OWN[$node]} is seen outside as $seen"
    else
      failed "$node" "${OWN[$node]} is seen outside as: $seen"
      suggest_way "FROM=$node TO=world PORT=$OUTSIDE_PORT"
    fi
  done
}

services_are_meant_to_run() { [[ -e $RUN_DIR/supervisord.conf ]]; }

# If no service runs yet, start a test server in the node: published ports belong to phase 1.
verify_published() { # NODE HOST_PORT PORT PROTOCOL
  if is_reachable "$4" "${OWN[$1]}" "$3" in_namespace "${NAMESPACE[$1]}"; then
    verify_ways_in "$@"
  elif services_are_meant_to_run && [[ ${RUNS[$1]} != - ]]; then
    failed "host:$2 -> $1:$3" "no process listens on port $3 of $1"
  else
    serve "${NAMESPACE[$1]}" "${OWN[$1]}" "$3" "$4"
    verify_ways_in "$@"
    kill "$SERVER"
    unset 'UNDO[-1]'
  fi
}

verify_ways_in() { # NODE HOST_PORT PORT PROTOCOL
  local inside other entry=127.0.0.1 name=localhost
  for other in "${HERE[@]}"; do
    [[ ${NAMESPACE[$other]} == "${NAMESPACE[$1]}" ]] || ! allowed "$other" "$1" "$4/$3" || inside=$other
  done
  if is_reachable "$4" "$HOST_SEEN" "$2" in_namespace "$OUTSIDE_NAMESPACE"; then
    passed "from outside: host:$2 -> $1:$3" "from $THERE"
  else
    failed "from outside: host:$2 -> $1:$3" "host:$2 does not reach $1:$3"
    suggest_way "FROM=world TO=host PORT=$2"
  fi
  [[ -z ${inside:-} ]] || if is_reachable "$4" "$HOST_SEEN" "$2" in_namespace "${NAMESPACE[$inside]}"; then
    passed "from a namespace: host:$2 -> $1:$3" "from $inside"
  else
    failed "from a namespace: host:$2 -> $1:$3" "${NAMESPACE[$inside]} does not reach it"
    suggest_way "FROM=$inside TO=host PORT=$2"
  fi
  [[ -z $IN_FAMILY ]] || entry=${ADDRESS6[${BRIDGE[$1]}]%/*} name=[$entry] # not ::1, see lab/nat.py
  if is_reachable "$4" "$entry" "$2"; then
    passed "from the host: $name:$2 -> $1:$3"
  else failed "from the host: $name:$2 -> $1:$3" 'no connection' && suggest_way "FROM=host TO=host PORT=$2"; fi
}
