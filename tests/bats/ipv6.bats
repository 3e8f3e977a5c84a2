#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# IPv6 of a table that has both families: addresses, routes, the way out and the ways in.

load helpers

setup() { dual_table >"$BATS_TEST_TMPDIR/dual.tsv"; }

on_a_host() { TOPOLOGY=$BATS_TEST_TMPDIR/dual.tsv sandboxed "source tests/bats/inside_network.bash; $1"; }

# The world has IPv6, too; a web server in nginx-lb tells each client its address.
NAT_UP='
ip -n world addr add 2001:db8:1::2/64 dev uplink nodad
ip addr add 2001:db8:1::1/64 dev uplink nodad
ip -6 route add default via 2001:db8:1::2
both_up() { scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null; }
both_up
nsenter --net=/run/netns/nginx-lb python3 lab/echo_address.py :: 80 & retry 10 listens 80 nginx-lb
from() { ip netns exec "$1" curl -gfsS -m 3 "http://$2/"; } # NAMESPACE URL: the client address that the server saw
'

@test "a table with IPv6 addresses gives both families, without the wait for duplicate addresses" {
  on_a_host '
    network up
    network status
    for address in fd00:cafe::1 fd00:cafe::10 fd00:cafe::32 10.0.0.32; do
      ip netns exec redis-cache ping -qc1 -W1 $address >/dev/null || echo "redis-cache does not reach $address"
    done
    ping -qc1 -W1 fd00:cafe::50 >/dev/null || echo "the host does not reach redis-cache"
    silent network up
    TOPOLOGY=flat network up >/run/said
    [[ $(grep -c "fd00:cafe" /run/said) == 19 ]] # the addresses of nine nodes and a bridge, nine default routes
    TOPOLOGY=flat network status
    [[ -z $(ip -n redis-cache -6 addr show dev veth-redis) ]]
  '
  succeeds
  says "network  9 nodes match $BATS_TEST_TMPDIR/dual.tsv"
  [[ $output != *"does not reach"* ]]
}

@test "status names what differs in IPv6, and up repairs it" {
  on_a_host '
    network up >/dev/null
    ip -n redis-cache -6 route del default
    ip -n redis-cache addr add fd00:cafe::51/64 dev veth-redis nodad
    ip -n product2 addr del fd00:cafe::31/64 dev veth-prod2
    ip -n postgres-db -6 route del fd00:cafe::/64 dev veth-pg
    ip -n nginx-lb -6 route add fd01::/64 via fd00:cafe::20
    ip addr del fd00:cafe::1/64 dev br-app
    refute network status
    network up >/dev/null
    network status
  '
  succeeds
  says "missing  default route via fd00:cafe::1 in namespace redis-cache"
  says "surplus  address fd00:cafe::51/64 on veth-redis in namespace redis-cache"
  says "missing  address fd00:cafe::31/64 on veth-prod2 in namespace product2"
  says "surplus  veth-pg in namespace postgres-db has an address fd00:cafe::60/64 without its routes"
  says "surplus  route that is not in the table, in namespace nginx-lb: fd01::/64 via fd00:cafe::20"
  says "missing  address fd00:cafe::1/64 on bridge br-app"
  says "network  9 nodes match"
}

@test "an IPv6 network that the host routes elsewhere, or a host without IPv6, is refused in one line" {
  on_a_host '
    ip -6 route add fd00:cafe::/48 dev uplink
    refute network up
    ip -6 route del fd00:cafe::/48
    sysctl -qw net.ipv6.conf.default.disable_ipv6=1
    refute network up
    sysctl -qw net.ipv6.conf.default.disable_ipv6=0
    ip -6 route add ::/1 dev uplink; ip -6 route add 8000::/1 dev uplink # the default route of a VPN, in two halves
    network check
    mount -t tmpfs none /proc/sys/net/ipv6
    refute network up
    [[ ! -e /sys/class/net/br-app ]]
  '
  succeeds
  says "dual.tsv:2: address6: fd00:cafe::1/64 of br-app overlaps with the host's route fd00:cafe::/48 by uplink"
  says "sudo ip -6 route del fd00:cafe::/48"
  says "dual.tsv:2: address6: IPv6 is switched off: \`sudo sysctl"
  says "dual.tsv:2: address6: this kernel has no IPv6"
}

@test "a node reaches the outside, and is seen there with the address of the host" {
  forwards_by_interface
  on_a_host "$NAT_UP"'
    ip netns exec world python3 lab/echo_address.py 2001:db8:1::2 80 & retry 10 listens 80 world
    [[ $(from redis-cache "[2001:db8:1::2]") == 2001:db8:1::1 ]]
    scripts/nat.sh down >/dev/null
    refute from redis-cache "[2001:db8:1::2]"
  '
  succeeds
}

@test "a published port leads to the node from outside, from a node and from the host, in IPv6 as in IPv4" {
  forwards_by_interface
  on_a_host "$NAT_UP"'
    [[ $(from world "[2001:db8:1::1]:8080") == 2001:db8:1::2 ]] # the address of the client is kept
    [[ $(from redis-cache "[2001:db8:1::1]:8080") == fd00:cafe::1 ]]
    [[ $(from nginx-lb "[fd00:cafe::1]:8080") == fd00:cafe::1 ]] # hairpin
    [[ $(curl -gfsS -m 3 "http://[fd00:cafe::1]:8080/") == fd00:cafe::1 ]]
    [[ $(curl -fsS -m 3 http://127.0.0.1:8080/) == *10.0.0.1 ]]
    fails_with 7 "Failed to connect to ::1 port 8080" curl -gsS "http://[::1]:8080/" # at once, so that clients go on
    [[ $(curl -fsS -m 3 http://localhost:8080/) == *10.0.0.1 ]]
    conntrack -L -f ipv6 2>/dev/null | grep fd00:cafe >/dev/null
    scripts/nat.sh down >/dev/null
    refute grep fd00:cafe <(conntrack -L -f ipv6 2>/dev/null)
  '
  succeeds
}

@test "the bridge resolves neighbours for packets that it forwards" {
  forwards_by_interface
  on_a_host "$NAT_UP"'
    ip neigh flush dev br-app
    [[ $(from world "[2001:db8:1::1]:8080") == 2001:db8:1::2 ]]
    ip neigh flush dev br-app
    ip addr del fe80::1/64 dev br-app # the counterpart: it has no address to ask from
    refute from world "[2001:db8:1::1]:8080"
  '
  succeeds
}

@test "the host takes no default route that a node announces" {
  on_a_host '
    network up >/dev/null
    cat >/run/announce.py <<"CODE"
from scapy.all import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, Ether, IPv6, get_if_hwaddr, sendp
mac = get_if_hwaddr("veth-redis")
packet = Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src="fe80::bad", dst="ff02::1", hlim=255)
packet /= ICMPv6ND_RA(routerlifetime=1800) / ICMPv6NDOptSrcLLAddr(lladdr=mac)
sendp(packet / ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64), iface="veth-redis", verbose=False)
CODE
    announce() { ip netns exec redis-cache .venv/bin/python /run/announce.py; }
    announced() { ip -6 route show default dev br-app proto ra | grep fe80::bad; }
    announce; sleep 0.5
    refute announced
    sysctl -qw net.ipv6.conf.br-app.accept_ra=1 # the counterpart, which status names and up repairs
    announce; retry 5 announced
    refute network status
    ip -6 route del default via fe80::bad dev br-app
    network up >/dev/null
    [[ $(sysctl -n net.ipv6.conf.br-app.accept_ra) == 0 ]]
  '
  succeeds
  says "missing  the host ignores router advertisements on br-app"
}

@test "a second up of NAT changes nothing, status is content, and down leaves nothing of IPv6" {
  forwards_by_interface
  on_a_host '
    state() { nft list ruleset; sysctl -a 2>/dev/null | grep forward; ip -6 route show table all; }
    ip -6 route add default dev uplink
    state >/run/before
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    silent scripts/nat.sh up
    scripts/nat.sh status
    ip6tables-save | grep -c CNET >/run/count; (($(</run/count) > 20))
    sysctl -qw net.ipv6.conf.uplink.force_forwarding=0; ip6tables -F CNET-FORWARD
    refute scripts/nat.sh status
    TOPOLOGY=flat scripts/nat.sh up >/dev/null # a table without IPv6
    refute grep CNET <(ip6tables-save)
    [[ $(sysctl -n net.ipv6.conf.uplink.force_forwarding) == 0 ]]
    scripts/nat.sh up >/dev/null
    scripts/nat.sh down >/dev/null; scripts/network.sh down >/dev/null
    state >/run/after; diff /run/before /run/after
  '
  succeeds
  says "missing  sysctl net/ipv6/conf/uplink/force_forwarding = 1"
  says 'missing  rule ip6tables filter -A CNET-FORWARD -i br-app'
}

@test "a table with IPv6 alone gives no IPv4, and down leaves nothing" {
  forwards_by_interface
  ipv6_table >"$BATS_TEST_TMPDIR/six.tsv"
  TOPOLOGY=$BATS_TEST_TMPDIR/six.tsv sandboxed '
    source tests/bats/inside_network.bash
    state() { nft list ruleset; sysctl -a 2>/dev/null | grep -E "forward|localnet"; ip -6 route show table all; }
    state >/run/before
    '"$NAT_UP"'
    scripts/network.sh status; scripts/nat.sh status
    silent both_up
    [[ -z $(ip -4 addr show dev br-app) && $(sysctl -n net.ipv4.conf.br-app.forwarding) == 0 ]]
    [[ $(from world "[2001:db8:1::1]:8080") == 2001:db8:1::2 ]]
    [[ $(from redis-cache "[2001:db8:1::1]:8080") == fd00:cafe::1 ]]
    [[ $(curl -gfsS -m 3 "http://[fd00:cafe::1]:8080/") == fd00:cafe::1 ]]
    refute curl -gfsS -m 1 http://127.0.0.1:8080/
    kill %1; ip -6 route del default; ip addr del 2001:db8:1::1/64 dev uplink
    scripts/nat.sh down >/dev/null; scripts/network.sh down >/dev/null
    state >/run/after; diff /run/before /run/after
  '
  succeeds
}

@test "other interfaces do not forward IPv6 because the lab does" {
  forwards_by_interface
  on_a_host "$NAT_UP"'
    ip netns add far; ip link add eth1 type veth peer name eth0 netns far
    ip addr add 2001:db8:2::1/64 dev eth1 nodad; ip link set eth1 up
    ip -n far addr add 2001:db8:2::2/64 dev eth0 nodad; ip -n far link set eth0 up
    ip -n far -6 route add default via 2001:db8:2::1
    ip -n world -6 route add 2001:db8:2::/64 via 2001:db8:1::1
    refute ip netns exec world ping -6 -c1 -W1 2001:db8:2::2
    refute ip netns exec far ping -6 -c1 -W1 2001:db8:1::2
    [[ $(sysctl -n net.ipv6.conf.all.forwarding) == 0 ]]
    sysctl -qw net.ipv6.conf.all.forwarding=1 # another program switches it on: up drops none of its packets
    scripts/nat.sh up >/dev/null
    ip netns exec world ping -6 -c1 -W1 2001:db8:2::2
    [[ $(from world "[2001:db8:1::1]:8080") == 2001:db8:1::2 ]]
  '
  succeeds
}

@test "a kernel that forwards IPv6 on all interfaces or none is left as it is, with the command that changes it" {
  on_a_host '
    source scripts/lib/topology.sh; source scripts/lib/rules.sh; source scripts/lib/forwarding.sh
    load_topology; read_interfaces
    can_forward_one6() { false; } # Linux before 6.17
    print_ipv6_note
    sysctl -qw net.ipv6.conf.all.forwarding=1
    [[ -z $(print_ipv6_note 2>&1) ]]
  '
  succeeds
  says "sudo sysctl -w net.ipv6.conf.all.forwarding=1"
}
