#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The proof of a table that has both families: each flow in both, what it looks at afterwards, and what it leaves.

load helpers

setup() { dual_table >"$BATS_TEST_TMPDIR/dual.tsv"; }

policed() {
  TOPOLOGY=$BATS_TEST_TMPDIR/dual.tsv POLICY=flat sandboxed "source tests/bats/inside_policy.bash; policed_network; $1"
}

# proved JQ_FILTER: the proof fails, and prints a document for which the filter is true.
FAILS='proved() {
  security/prove.sh --json >/run/proof 2>/run/errors && { echo "the proof passed"; return 1; }
  jq -e "$1" /run/proof >/dev/null || { jq -c .differences /run/proof; cat /run/errors; return 1; }
}
'

@test "each flow is tried in both families, nothing differs, and the proof leaves nothing" {
  forwards_by_interface
  policed '
    ip addr add 2001:db8:c1::1/126 dev uplink nodad # of somebody else: the proof chooses the next network
    ip -6 addr >/run/addresses; ip -6 route >/run/routes
    security/prove.sh --json >/run/proof
    jq -e ".differences == []" /run/proof >/dev/null
    jq -e "[.probes[] | select(.attack == null) | {source, destination, protocol, port, family}] |
      group_by(.family) | map(map(del(.family)) | sort) | length == 2 and .[0] == .[1]" /run/proof >/dev/null
    jq -r "[.probes[] | .attack // empty] | unique[]" /run/proof
    ip -6 addr | diff /run/addresses -; ip -6 route | diff /run/routes -
    refute grep -E "^\[[1-9].* -A CNET-DROP-.* -j DROP" <(ip6tables-save -c)
    refute grep -E "^icmpv6|CLOSE|UNREPLIED" <(conntrack -L -f ipv6 2>/dev/null)
  '
  succeeds
  for attack in "another node's address" "from ::ffff:10.0.0.10" "advertisement of another node's address" redirect \
    "router advertisement to all from the router's address" "after hop-by-hop options" "after a routing header" \
    "a first fragment without a TCP header" "IPv6 inside IPv4" "datagram to all nodes" "in fragments" \
    "by the host's port"; do
    grep -Fx "$attack" <<<"$output" >/dev/null || { echo "not tried: $attack" && return 1; }
  done
}

@test "a broken rule of IPv6 is found in IPv6 alone" {
  policed "$FAILS"'
    ip6tables -t security -I CNET-TO-10.0.0.60 1 -p tcp -s fd00:cafe::50 --dport 5432 -j RETURN
    proved "[.differences[].flow] | length == 3 and all(startswith(\"redis-cache -> postgres-db tcp/5432 over IPv6\"))"
    security/policy.sh up >/dev/null
    ebtables -t nat -I CNET-WIRE-veth-redis-br 3 -p IPv6 -j RETURN
    proved "[.differences[].flow] | length > 0 and all(test(\"^redis-cache .*( over IPv6|IPv6, link-local)\"))"
  '
  succeeds
}

@test "a neighbour table that a forged advertisement changed is named" {
  policed "$FAILS"'
    ip6tables -t raw -I CNET-ORIGIN-ND 1 -j ACCEPT
    proved ".differences | map(select(.flow == \"neighbours of nginx-lb\") | .why) | any(test(\"not 02:42:\"))"
  '
  succeeds
}

@test "a kernel that does not forward IPv6 has each flow on a link tried, and no other" {
  policed '
    mount -t tmpfs none /proc/sys/net/ipv6/conf/all
    security/prove.sh --json >/run/proof
    jq -e "[.probes[] | select(.family == 6) | .source, .destination] | length > 2000 and all(. != \"world\")" \
      /run/proof >/dev/null
  '
  succeeds
}
