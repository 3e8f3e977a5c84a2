#!/usr/bin/env bash
# Test in two temporary network namespaces whether a copy of table filter lets the host connect to a node.
#
#   a copy of the rules, and the bridges' addresses  ===veth pairs===  the nodes' addresses, with closed ports
#
#   unshare --net scripts/lib/answers.sh nodes BRIDGE GATEWAY/LENGTH NODE/LENGTH... <RULES
#
# Print "answered", or for the first bridge without an answer: the CHAIN (INPUT or OUTPUT) that dropped the packet,
# the BRIDGE, and what counted the packet there: a rule, "policy", or nothing if that is unknown.

set -euo pipefail

in_nodes() { nsenter --net="/proc/$PPID/ns/net" -- "$@"; }

connect() { # BRIDGE GATEWAY/LENGTH NODE/LENGTH. Loopback stays down, or the packets of a REJECT would be counted too.
  ip link add "$1" type veth peer name "$1" netns "$PPID"
  ip addr add "$2" dev "$1"
  ip link set "$1" up
  in_nodes ip addr add "$3" dev "$1"
  in_nodes ip link set "$1" up
}

segments_received() { in_nodes cat /proc/net/snmp | awk '$1 == "Tcp:" { received = $11 } END { print received }'; }

try_connection() { # BRIDGE GATEWAY/LENGTH NODE/LENGTH: "connection refused" is an answer too
  local before status=0
  before=$(segments_received)
  timeout 2 "$BASH" -c "</dev/tcp/${3%/*}/9" 2>/dev/null || status=$?
  if (($(segments_received) == before)); then
    echo "OUTPUT $1 $(dropped_by OUTPUT)"
  elif ((status == 124)); then
    echo "INPUT $1 $(dropped_by INPUT)"
  fi
}

dropped_by() { # CHAIN; only the test packet passes this chain
  iptables-save -c | awk -v chain=":$1" '
    $1 == chain && $2 != "ACCEPT" && $3 !~ /^\[0:/ { policy = "policy" }
    !rule && /^\[[1-9]/ && / -j (DROP|REJECT)/ { rule = substr($0, index($0, " ") + 1) }
    END { print rule ? rule : policy }'
}

host() { # BRIDGE GATEWAY/LENGTH NODE/LENGTH...
  local at output
  iptables-restore
  for ((at = 1; at < $#; at += 3)); do
    connect "${@:at:3}"
    output=$(try_connection "${@:at:3}")
    [[ -z $output ]] || { echo "$output" && return; }
  done
  echo answered
}

case $1 in
  nodes) unshare --net -- "$BASH" "$0" host "${@:2}" ;;
  host) host "${@:2}" ;; # internal
esac
