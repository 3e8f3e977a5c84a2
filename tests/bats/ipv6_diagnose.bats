#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# `make diagnose` of a table with both families: each fault in IPv6 is a finding, and its repair ends it.

load helpers

FUNCTIONS='
  export TOPOLOGY=dual
  scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
  no_findings() { scripts/diagnose.sh run --json >/run/found || { jq -r ".findings[].cause" /run/found && return 1; }; }
  # Break something; the first finding must be KIND OBJECT PLACE, and its repairs must end all.
  finds() { # KIND OBJECT PLACE COMMAND...
    local wanted="$1 $2 $3" repair
    "${@:4}"
    scripts/diagnose.sh run --json >/run/found || :
    [[ $(jq -r ".findings[0] | \"\(.kind) \(.object) \(.place)\"" /run/found) == "$wanted" ]] || {
      echo "wanted: $wanted, after: ${*:4}"; jq -c ".findings[] | [.kind, .object, .place]" /run/found; return 1; }
    jq -e ".findings[].evidence[].line | length > 0" /run/found >/dev/null
    jq -r ".findings[0].repair[] | select(startswith(\"or,\") | not)" /run/found >/run/repairs
    while read -r repair; do eval "${repair#sudo }" >/dev/null; done </run/repairs
    no_findings || { echo "after the repair of: ${*:4}"; cat /run/repairs; return 1; }
  }
  no_findings
'

@test "a missing, wrong or second IPv6 address and a wrong neighbour are found" {
  sandboxed "$FUNCTIONS"'
    finds address-missing fd00:cafe::31/64 product2 ip -n product2 addr del fd00:cafe::31/64 dev veth-prod2
    wrong_length() { ip -n product2 addr del fd00:cafe::31/64 dev veth-prod2
      ip -n product2 addr add fd00:cafe::31/128 dev veth-prod2 nodad; }
    finds address-missing fd00:cafe::31/64 product2 wrong_length
    finds address-missing fd00:cafe::50/64 redis-cache \
      ip netns exec redis-cache sysctl -qw net.ipv6.conf.veth-redis.disable_ipv6=1
    finds address-missing fd00:cafe::1/64 host ip addr del fd00:cafe::1/64 dev br-app
    finds address-missing fe80::1/64 host ip addr del fe80::1/64 dev br-app
    finds address-surplus fd00:cafe::51/64 redis-cache ip -n redis-cache addr add fd00:cafe::51/64 dev veth-redis nodad
    finds address-duplicate fd00:cafe::60 redis-cache ip -n redis-cache addr add fd00:cafe::60/64 dev veth-redis nodad
    finds address-duplicate fd00:cafe::1 redis-cache ip -n redis-cache addr add fd00:cafe::1/64 dev veth-redis nodad
    finds address-duplicate fd00:cafe::60 host ip addr add fd00:cafe::60/128 dev lo nodad
    finds neighbour fd00:cafe::60 redis-cache \
      ip -n redis-cache neigh replace fd00:cafe::60 lladdr 02:00:00:00:00:01 dev veth-redis nud permanent
  '
  succeeds
}

@test "a missing, wrong or surplus IPv6 route is found, on the host and in a namespace" {
  sandboxed "$FUNCTIONS"'
    finds route-missing default redis-cache ip -n redis-cache -6 route del default
    wrong_hop() { ip -n nginx-lb -6 route replace default via fd00:cafe::20; }
    finds route-missing default nginx-lb wrong_hop
    finds route-missing fd00:cafe::/64 postgres-db ip -n postgres-db -6 route del fd00:cafe::/64 dev veth-pg
    finds route-missing fd00:cafe::60 postgres-db \
      ip -n postgres-db -6 route del local fd00:cafe::60 table local dev veth-pg
    finds route-surplus fd01::/64 nginx-lb ip -n nginx-lb -6 route add fd01::/64 via fd00:cafe::20
    finds route-surplus fd00:cafe::20 nginx-lb ip -n nginx-lb -6 route add blackhole fd00:cafe::20/128
    finds route-surplus default redis-cache ip -n redis-cache -6 route add blackhole default table 99
    finds route-surplus fd00:cafe::60 host ip -6 route add fd00:cafe::60/128 dev uplink
  '
  succeeds
}

@test "forwarding by interface, router advertisements and rules of ip6tables that differ are found" {
  forwards_by_interface
  sandboxed "$FUNCTIONS"'
    sysctl_of() { sysctl -qw "net.ipv6.conf.$1"; }
    finds bridge-setting br-app host sysctl_of br-app.accept_ra=1
    finds sysctl net.ipv6.conf.br-app.force_forwarding host sysctl_of br-app.force_forwarding=0
    finds rule-missing "ip6tables nat CNET-PUBLISH" host ip6tables -t nat -F CNET-PUBLISH
    finds rule-missing "ip6tables nat CNET-POSTROUTING" host ip6tables -t nat -D CNET-POSTROUTING 3
    finds rule-surplus "ip6tables filter CNET-FORWARD" host ip6tables -A CNET-FORWARD -j DROP
    finds rule-missing "ip6tables filter FORWARD" host ip6tables -D FORWARD 1
    finds hook-behind "ip6tables filter FORWARD" host ip6tables -I FORWARD -i br-app -j ACCEPT
    ip6tables -I FORWARD -i docker9 -j ACCEPT; no_findings # the counterpart: no packet of the lab
    ip -6 addr add 2001:db8:1::1/64 dev uplink nodad; ip -6 route add default via 2001:db8:1::2
    scripts/nat.sh up >/dev/null; no_findings
    finds sysctl net.ipv6.conf.uplink.force_forwarding host sysctl_of uplink.force_forwarding=0
    ip6tables-save >/run/saved; sed -i "/uplink did not forward/d" /run/saved; ip6tables-restore </run/saved
    TOPOLOGY=dual no_findings # another program may need the interface: the guards are gone
  '
  succeeds
}
