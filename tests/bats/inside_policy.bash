# shellcheck shell=bash
# What the tests of the policy use inside their sandbox, beside inside.bash.

# The flat lab without its services: the policy, the wires, NAT. An answer is an answer, also a refusal.
policed_network() {
  security/policy.sh up >/dev/null
  scripts/network.sh up >/dev/null
  scripts/nat.sh up >/dev/null
}

address_of() { scripts/topology.sh dump | awk -F'\t' -v name="$1" '$2 == name { sub("/.*", "", $4); print $4 }'; } # NODE
namespace_of() { scripts/topology.sh dump | awk -F'\t' -v name="$1" '$2 == name { print $3 }'; }                   # NODE
in_node() { nsenter --net="/run/netns/$(namespace_of "$1")" -- "${@:2}"; }                                         # NODE COMMAND...

# A server on a port of a node; it ends with the sandbox.
listen() { # NODE PORT
  in_node "$1" python3 lab/echo_address.py "$(address_of "$1")" "$2" &
  retry 5 in_node "$1" bash -c "</dev/tcp/$(address_of "$1")/$2" 2>/dev/null
}

reaches() { in_node "$1" timeout 0.5 bash -c "</dev/tcp/$(address_of "$2")/$3" 2>/dev/null; } # NODE NODE PORT

dropped() { # ID: how many packets the drop chains of an id have dropped, of all tools
  { iptables-save -c && ip6tables-save -c && ebtables-save -c; } | awk -v chain="CNET-DROP-$1" '
    $3 == chain && / -j DROP/ { split(substr($1, 2), count, ":"); sum += count[1] } END { print sum + 0 }'
}

# told KIND ID EXPLAIN_ARGUMENT...: both ways of explaining end so.
told() {
  local live static wanted="$1|$2"
  live=$(security/explain.sh "${@:3}" --json) || [[ $? == 1 ]]
  static=$(security/explain.sh "${@:3}" --static --json) || [[ $? == 1 ]]
  [[ $(jq -r '"\(.observed.kind)|\(.observed.policy_id // "")"' <<<"$live") == "$wanted" ]] || { jq -c '{observed, predicted, kernel_trace}' <<<"$live" && echo "live is not $wanted: ${*:3}" && return 1; }
  [[ $(jq -r '"\(.predicted.kind)|\(.predicted.policy_id // "")"' <<<"$static") == "$wanted" ]] || { jq -c .predicted <<<"$static" && echo "static is not $wanted: ${*:3}" && return 1; }
  [[ $(jq -r .as_predicted <<<"$live") == true ]] || { jq -c '{observed, predicted}' <<<"$live" && return 1; }
  echo "ok $wanted: ${*:3}"
}

story() { security/explain.sh "$@" || [[ $? == 1 ]]; } # 1: it is not allowed

# Begins to note each drop that is told by NFLOG.
watch_drops() {
  .venv/bin/python -m tests.lab.drops >/run/drops &
  retry 5 grep -q listening /run/drops
}

# stopped ID COMMAND...: the command fails, the id's rule counts that, and NFLOG tells it with the id.
stopped() {
  local before told id=$1
  before=$(dropped "$id")
  told=$(grep -cx "DROPPED: $id" /run/drops) || :
  refute "${@:2}"
  (($(dropped "$id") > before)) || { echo "no rule of $id counted: ${*:2}" && return 1; }
  retry 2 more_told "$id" "$told" || { echo "NFLOG did not tell of $id: ${*:2}" && return 1; }
}
more_told() { (($(grep -cx "DROPPED: $1" /run/drops) > $2)); }

begin_flood() { # NAMESPACE ADDRESS PORT: denied connections, all the time
  mkfifo /run/flood.end
  .venv/bin/python -m tests.lab.flood "$@" </run/flood.end >/run/flood &
  FLOOD=$!
  exec 7>/run/flood.end
}
end_flood() { # prints how many were tried, and got through
  exec 7>&-
  wait "$FLOOD"
  rm /run/flood.end
  cat /run/flood
}
