#!/usr/bin/env bash
# Whether rules of table filter let the host ask a node and be answered: tried, in two network namespaces that end at once.
#
#   a copy of the rules, and the bridges' addresses  ===veth pairs===  the nodes' addresses, where nobody listens
#
#   unshare --net scripts/lib/answers.sh nodes BRIDGE GATEWAY/LENGTH NODE/LENGTH... <RULES
#
# Prints "answered", or of the first bridge without an answer: CHAIN, the one of INPUT and OUTPUT that the packet did not
# pass, BRIDGE, and what counted it there: a rule, "policy", or nothing when that cannot be told.

set -euo pipefail

in_nodes() { nsenter --net="/proc/$PPID/ns/net" -- "$@"; }

connect() { # BRIDGE GATEWAY/LENGTH NODE/LENGTH. Loopback stays down: what a REJECT makes would count as well.
  ip link add "$1" type veth peer name "$1" netns "$PPID"
  ip addr add "$2" dev "$1"
  ip link set "$1" up
  in_nodes ip addr add "$3" dev "$1"
  in_nodes ip link set "$1" up
}

segments() { in_nodes cat /proc/net/snmp | awk '$1 == "Tcp:" { seen = $11 } END { print seen }'; } # that came in

ask() { # BRIDGE GATEWAY/LENGTH NODE/LENGTH: a refusal is an answer, and passes as any other does
  local before status=0
  before=$(segments)
  timeout 2 "$BASH" -c "</dev/tcp/${3%/*}/9" 2>/dev/null || status=$?
  if (($(segments) == before)); then
    echo "OUTPUT $1 $(dropped_by OUTPUT)"
  elif ((status == 124)); then
    echo "INPUT $1 $(dropped_by INPUT)"
  fi
}

dropped_by() { # CHAIN; no other packets pass here
  iptables-save -c | awk -v chain=":$1" '
    $1 == chain && $2 != "ACCEPT" && $3 !~ /^\[0:/ { policy = "policy" }
    !rule && /^\[[1-9]/ && / -j (DROP|REJECT)/ { rule = substr($0, index($0, " ") + 1) }
    END { print rule ? rule : policy }'
}

host() { # BRIDGE GATEWAY/LENGTH NODE/LENGTH...
  local at said
  iptables-restore
  for ((at = 1; at < $#; at += 3)); do
    connect "${@:at:3}"
    said=$(ask "${@:at:3}")
    [[ -z $said ]] || { echo "$said" && return; }
  done
  echo answered
}

case $1 in
  nodes) unshare --net -- "$BASH" "$0" host "${@:2}" ;;
  host) host "${@:2}" ;; # only for itself
esac
