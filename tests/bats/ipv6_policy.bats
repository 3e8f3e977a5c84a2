#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The policy in IPv6: one line of its table means both families, and what only IPv6 has is closed.

load helpers

setup() { dual_table >"$BATS_TEST_TMPDIR/dual.tsv"; }

on_a_host() {
  TOPOLOGY=$BATS_TEST_TMPDIR/dual.tsv POLICY=${POLICY:-flat} sandboxed "
    source tests/bats/inside_policy.bash; source tests/bats/inside_network.bash; $1"
}
on_a_policed_host() { on_a_host "$IPV6 policed_network; watch_drops; $1"; }

IPV6='
address6_of() { scripts/topology.sh dump | awk -F"\t" -v name="$1" "\$2 == name { print \$5 }" | cut -d/ -f1; }
listen6() { # NODE PORT
  in_node "$1" python3 lab/echo_address.py "$(address6_of "$1")" "$2" &
  retry 5 in_node "$1" bash -c "</dev/tcp/$(address6_of "$1")/$2" 2>/dev/null
}
reaches6() { in_node "$1" timeout 0.5 bash -c "</dev/tcp/$(address6_of "$2")/$3" 2>/dev/null; } # NODE NODE PORT
pings() { in_node "$1" ping -6 -qc1 -W1 -s "$3" "$2" >/dev/null; }                              # NODE ADDRESS BYTES
sent() { [[ $(.venv/bin/python -m tests.lab.ipv6_frames "$2") == "$1 $2" ]]; } # VERDICT KIND
'

@test "an allowed flow passes in IPv6 as in IPv4, and another is dropped under the id of the same line" {
  on_a_policed_host '
    listen6 api-gateway 3000; listen6 postgres-db 5432; listen6 redis-cache 6379; listen6 nginx-lb 80
    reaches6 nginx-lb api-gateway 3000; reaches6 order-service postgres-db 5432; reaches6 product-2 redis-cache 6379
    for node in nginx-lb product-1 service-registry; do stopped database-closed reaches6 "$node" postgres-db 5432; done
    stopped cache-closed reaches6 order-service redis-cache 6379
    stopped default reaches6 redis-cache nginx-lb 8080
    reaches_often() {
      local tries=()
      for _ in {1..40}; do reaches6 product-1 api-gateway 3000 & tries+=($!); done
      for try in "${tries[@]}"; do wait "$try" || return; done
    }
    stopped gateway reaches_often
    reaches6 product-2 api-gateway 3000 # a rate is for one node, not for all that share a prefix

    ip addr add 2001:db8:1::1/64 dev uplink nodad; ip -n world addr add 2001:db8:1::2/64 dev uplink nodad
    ip -n world -6 route add fd00:cafe::/64 via 2001:db8:1::1
    outside() { nsenter --net=/run/netns/world -- timeout 1 bash -c "</dev/tcp/$1/$2" 2>/dev/null; }
    if [[ -e /proc/sys/net/ipv6/conf/all/force_forwarding ]]; then
      ip -6 route add default via 2001:db8:1::2; scripts/nat.sh up >/dev/null
      outside 2001:db8:1::1 8080
      stopped direct outside fd00:cafe::60 5432
      ip -n world addr add fd00:cafe::40/128 dev uplink nodad
      stopped spoofed-address nsenter --net=/run/netns/world -- ping -6 -qc1 -W1 -I fd00:cafe::40 2001:db8:1::1
    fi
  '
  succeeds
}

@test "neighbours find each other, pings of one size and errors about connections pass" {
  on_a_policed_host '
    for node in redis-cache postgres-db; do
      in_node "$node" ip neigh flush all; ip neigh flush dev br-app
      pings "$node" fd00:cafe::10 56; pings "$node" fd00:cafe::1 56
      ping -6 -qc1 -W1 "$(address6_of "$node")" >/dev/null
    done
    pings redis-cache fd00:cafe::60 100
    stopped icmp-size pings redis-cache fd00:cafe::60 101
    stopped icmp-size pings redis-cache fd00:cafe::60 65500 # the sum with the header is more than 16 bits hold
    refused() { in_node redis-cache python3 -c "
import socket
client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
client.settimeout(1)
client.connect((\"fd00:cafe::70\", 53))
client.send(b\"x\")
try: client.recv(1)
except ConnectionRefusedError: print(\"refused\")"; }
    [[ $(refused) == refused ]] # by an ICMPv6 error of the registry
    ip6tables -t security -I CNET-FROM-NODES -p icmpv6 --icmpv6-type 1 -j DROP # the counterpart
    refute refused
  '
  succeeds
}

@test "a node learns the MTU of the way by Packet Too Big" {
  forwards_by_interface
  on_a_policed_host '
    ip addr add 2001:db8:1::1/64 dev uplink nodad; ip -n world addr add 2001:db8:1::2/64 dev uplink nodad
    ip -6 route add default via 2001:db8:1::2; scripts/nat.sh up >/dev/null; security/policy.sh status
    ip netns exec world .venv/bin/python -c "
import socket
server = socket.create_server((\"::\", 80), family=socket.AF_INET6)
while True:
    client, _ = server.accept()
    while client.recv(65536): pass
    client.send(b\"all\"); client.close()" & retry 5 listens 80 world
    upload() { in_node redis-cache timeout 3 python3 -c "
import socket
client = socket.create_connection((\"2001:db8:1::2\", 80))
client.sendall(bytes(100000)); client.shutdown(socket.SHUT_WR)
assert client.recv(3) == b\"all\"" 2>/dev/null; }
    ip link set uplink mtu 1300
    upload
    learns() { # from an error about the first datagram of a connection, which conntrack does not know yet
      ip -n redis-cache -6 route flush cache
      in_node redis-cache bash -c "head -c 1400 /dev/zero >/dev/udp/2001:db8:1::2/53"
      retry 1 grep "mtu 1300" <(ip -n redis-cache -6 route get 2001:db8:1::2) >/dev/null
    }
    learns
    unknown() { # an error about a connection that conntrack has forgotten
      .venv/bin/python -c "
import socket
from scapy.all import ICMPv6PacketTooBig, IPv6, UDP
lost = IPv6(src=\"fd00:cafe::50\", dst=\"2001:db8:1::2\") / UDP(sport=9, dport=53)
host = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
host.sendto(bytes(ICMPv6PacketTooBig(mtu=1280) / lost), (\"fd00:cafe::50\", 0))"
      retry 1 grep ICMP6 /run/errors
    }
    in_node redis-cache tcpdump -lni veth-redis "icmp6 and ip6[40] == 2" >/run/errors 2>/run/ready &
    retry 5 grep listening /run/ready
    unknown
    ip -n redis-cache -6 route flush cache
    ip6tables -t security -I CNET-FROM-HOST -p icmpv6 --icmpv6-type 2 -j DROP # the counterpart: a black hole
    refute upload; refute learns
  '
  succeeds
}

@test "what a node puts on its wire is dropped under its id before another node sees it, and what it needs is not" {
  on_a_policed_host '
    each() { awk "{ for (at = 2; at <= NF; ++at) print \$1, \$at }" | sort; }
    .venv/bin/python -m tests.lab.ipv6_frames | sort | diff - <(each <<<"
      arrives ping ping-in-fragments claim claim-without-mac ask
      spoofed-address address-of-another address-mapped address-compatible address-link-local address-none
      spoofed-mac mac-of-another
      spoofed-neighbour claim-of-another claim-of-the-host claim-without-mac-of-another claim-with-mac-of-another
      spoofed-neighbour claim-with-two-macs claim-in-fragments claim-forwarded
      spoofed-neighbour ask-with-mac-of-another ask-without-mac ask-forwarded
      router-message router-advertisement router-solicitation redirect
      icmp-type node-information
      ipv6-header group-report hop-by-hop routing
      ipv6-header destination-options destination-options-in-fragments destination-options-alone
      mld group-report-without-address
      ipv6-multicast multicast ping-to-all
      invalid too-big-unasked unreachable-unasked")
    retry 2 more_told ipv6-header 5
    refute more_told mld 0 # the kernel of each node reports its groups: only the proof sees that
  '
  succeeds
}

@test "between bridges, and for nodes that share a namespace, the policy is the same in IPv6" {
  dual_table tiers >"$BATS_TEST_TMPDIR/dual.tsv"
  POLICY=tiers on_a_policed_host '
    listen6 product-1 5000; listen6 postgres-db 5432
    reaches6 nginx-lb product-1 5000; reaches6 api-gateway product-1 5000; reaches6 order-service postgres-db 5432
    stopped tier-skipped reaches6 nginx-lb postgres-db 5432
    stopped tier-closed reaches6 order-service postgres-db 22
    pings api-gateway fd00:cafe:21::10 56
    for address in fd00:cafe:20::5 fd00:cafe:20::10; do ping -6 -qc1 -W1 "$address" >/dev/null; done
    solicits() { # the host routes this solicitation, as any packet: it is no way past the policy
      in_node nginx-lb python3 -c "
import socket
target = \"fd00:cafe:22::20\"
message = bytes([135] + [0] * 7) + socket.inet_pton(socket.AF_INET6, target) + bytes.fromhex(\"01010242ac140005\")
node = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
node.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
node.sendto(message, (target, 0))"
      false
    }
    stopped tier-skipped solicits
  '
  succeeds
}

@test "a node without an IPv6 address sends no IPv6" {
  sed -i 's|fd00:cafe::50/64|-|' "$BATS_TEST_TMPDIR/dual.tsv"
  on_a_policed_host '
    pings postgres-db fd00:cafe::32 56
    sent ipv6 ping; sent ipv6 address-link-local
    refute grep "fd00:cafe::50" <(ip6tables-save)
    ip -n postgres-db neigh add fd00:cafe::50 lladdr 02:42:0a:00:00:32 dev veth-pg
    stopped default pings postgres-db fd00:cafe::50 56
  '
  succeeds
}

@test "up twice is silent, status names a removed rule of ip6tables, and down leaves nothing" {
  on_a_host '
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    state() { nft list ruleset | sed -E "$COUNTERS"; ip -d link show br-app | grep -o "nf_call_[a-z0-9]* [01]"; }
    state >/run/before
    security/policy.sh up >/run/said
    [[ $(sed -nE "s/^\+ ([a-z0-9]+)-restore .*/\1/p" /run/said | paste -sd" ") == "ip6tables ebtables iptables" ]]
    silent security/policy.sh up
    security/policy.sh status
    ip6tables -t security -D CNET-TO-10.0.0.60 1; ip6tables -t raw -D CNET-ORIGIN-ND 2
    ip6tables -t security -I FORWARD -j ACCEPT
    refute security/policy.sh status
    ip6tables -t security -D FORWARD -j ACCEPT
    security/policy.sh up >/dev/null; security/policy.sh status
    security/policy.sh down >/dev/null
    state | diff /run/before -
  '
  succeeds
  says 'missing  rule ip6tables security -A CNET-TO-10.0.0.60 -s fd00:cafe::40/128 -p tcp'
  says 'missing  rule ip6tables raw -A CNET-ORIGIN-ND -s fd00:cafe::10/128'
  says "behind   the lab's hook in ip6tables security FORWARD comes after a rule that is not the lab's"
}

@test "a table without IPv6 addresses removes the rules of IPv6, after it has closed the ports" {
  on_a_host "$IPV6"'
    policed_network
    sent arrives ping
    TOPOLOGY=flat security/policy.sh up >/run/said
    [[ $(sed -nE "s/^\+ ([a-z0-9]+)-restore .*/\1/p" /run/said | paste -sd" ") == "ebtables iptables ip6tables" ]]
    sent ipv6 ping
    refute grep "^-A CNET-\(FROM-NODES\|ORIGIN\|TO\|DROP\)" <(ip6tables-save)
    TOPOLOGY=flat security/policy.sh status
    security/policy.sh up >/dev/null
    sent arrives ping
  '
  succeeds
  says "policy   224 rules match"
}

@test "a policy ends the IPv6 connections that it denies, and keeps others, also if they began while there was none" {
  on_a_host '
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    address=fd00:cafe::60
    in_node postgres-db .venv/bin/python -c "
import socket, threading
def echo(client):
    while data := client.recv(100): client.sendall(data)
server = socket.create_server((\"$address\", 5432), family=socket.AF_INET6)
while True: threading.Thread(target=echo, args=server.accept()[:1], daemon=True).start()" 2>/dev/null &
    retry 5 listens 5432 postgres-db
    talk() { # send a byte and wait for it, every 0.1 s, from the same port each time; until /run/end exists
      rm -f /run/end
      in_node order-service .venv/bin/python -c "
import os, socket, struct, time
client = socket.create_connection((\"$address\", 5432), 2, (\"::\", 40000))
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(\"ii\", 1, 0)) # no TIME_WAIT
while not os.path.exists(\"/run/end\"): client.send(b\"x\"); print(client.recv(1), flush=True); time.sleep(0.1)
" >/run/talk 2>/dev/null
    }
    grows() { local lines; lines=$(wc -l </run/talk); sleep 0.5; (($(wc -l </run/talk) > lines)); }
    : >/run/talk; security/policy.sh up >/dev/null
    talk & retry 5 grows
    conntrack -L -f ipv6 2>/dev/null | grep "dst=$address .*dport=5432" >/dev/null

    security/policy.sh down >/dev/null
    touch /run/end; retry 5 refute in_node order-service bash -c "ss -Htn sport = :40000 | grep . >/dev/null"
    talk & retry 5 grows # conntrack knows the numbers of the connection before
    security/policy.sh up >/dev/null
    grows

    grep -v "^database	" security/flat.tsv >/run/closed.tsv
    POLICY=/run/closed.tsv security/policy.sh up >/dev/null
    refute grows
    refute grep "dst=$address .*dport=5432" <(conntrack -L -f ipv6 2>/dev/null)
  '
  succeeds
}

@test "a host without ip6tables keeps its policy for IPv4, and refuses one for IPv6 in one line" {
  on_a_host '
    mkdir /run/tools
    cp -a /usr/sbin/. /run/tools; rm /run/tools/ip6tables*; mount --bind /run/tools /usr/sbin
    refute command -v ip6tables-save
    TOPOLOGY=flat policed_network
    TOPOLOGY=flat security/policy.sh status
    fails_with 1 ip6tables-save security/policy.sh up
    TOPOLOGY=flat security/policy.sh status
    security/policy.sh down >/dev/null
    refute grep CNET-FROM-NODES <(iptables-save)
  '
  succeeds
}
