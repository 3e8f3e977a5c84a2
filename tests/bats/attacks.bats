#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Each way past the policy is really gone, and stopped; its allowed twin is not. Who stops it is named: by the rule
# that counts, and by what NFLOG tells.

load helpers

ATTACKED='source tests/bats/inside_policy.bash; policed_network; watch_drops
'

@test "only the order service reaches the database, only product instances reach Redis" {
  sandboxed "$ATTACKED"'
    listen postgres-db 5432; listen redis-cache 6379
    reaches order-service postgres-db 5432
    for node in nginx-lb api-gateway product-1 product-2 product-3 redis-cache service-registry; do stopped database-closed reaches "$node" postgres-db 5432; done
    for node in product-1 product-2 product-3; do reaches "$node" redis-cache 6379; done
    for node in nginx-lb api-gateway order-service postgres-db service-registry; do stopped cache-closed reaches "$node" redis-cache 6379; done
  '
  succeeds
}

@test "a stolen address, a stolen MAC and IPv6 are stopped on the wire" {
  sandboxed "$ATTACKED"'
    listen postgres-db 5432
    thief() { in_node redis-cache timeout 10 python3 -c "import os, socket; os.system(\"${1:-true}\"); socket.create_connection((\"10.0.0.60\", 5432), 0.5, source_address=(\"10.0.0.40\", 0))"; }
    ip -n redis-cache addr add 10.0.0.40/32 dev veth-redis
    in_node redis-cache fping -q -c 1 -t 500 10.0.0.60 # so that it knows the way
    stopped spoofed-address thief 2>/dev/null
    stopped spoofed-arp thief "ip neigh flush dev veth-redis" 2>/dev/null # and now has to ask, in the stolen name
    ip -n redis-cache addr del 10.0.0.40/32 dev veth-redis
    in_node redis-cache fping -q -c 1 -t 500 10.0.0.60

    ip -n redis-cache link set veth-redis address 02:42:0a:00:00:28 # the order service'\''s
    stopped spoofed-mac in_node redis-cache fping -q -c 1 -t 300 10.0.0.60
    reaches order-service postgres-db 5432 # the bridge did not learn it
    ip -n redis-cache link set veth-redis address 02:42:0a:00:00:32
    retry 3 in_node redis-cache fping -q -c 1 -t 500 10.0.0.60

    for node in redis-cache postgres-db; do
      in_node "$node" sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.all.accept_dad=0
    done
    ip -n redis-cache addr add fe80::50/64 dev veth-redis nodad; ip -n postgres-db addr add fe80::60/64 dev veth-pg nodad
    stopped ipv6 in_node redis-cache ping -6 -c 1 -W 1 fe80::60%veth-redis
    security/policy.sh down >/dev/null # the twin: the wire itself would carry it
    retry 5 in_node redis-cache ping -6 -c 1 -W 1 fe80::60%veth-redis
  '
  succeeds
}

@test "from the world straight to a node is stopped, through the published port not" {
  sandboxed "$ATTACKED"'
    listen nginx-lb 80; listen postgres-db 5432
    ip -n world route add 10.0.0.0/16 via 203.0.113.1
    outside() { nsenter --net=/run/netns/world -- timeout 1 bash -c "</dev/tcp/$1/$2" 2>/dev/null; }
    outside 203.0.113.1 8080
    stopped direct outside 10.0.0.60 5432
    stopped direct outside 10.0.0.10 80
    stopped spoofed-address nsenter --net=/run/netns/world -- ping -c 1 -W 1 -I 10.0.0.40 203.0.113.1 2>/dev/null || {
      ip -n world addr add 10.0.0.40/32 dev uplink
      stopped spoofed-address nsenter --net=/run/netns/world -- ping -c 1 -W 1 -I 10.0.0.40 203.0.113.1
    }
  '
  succeeds
}

@test "mail may not leave, HTTP may" {
  sandboxed "$ATTACKED"'
    ip netns exec world python3 lab/echo_address.py 203.0.113.2 25 & ip netns exec world python3 lab/echo_address.py 203.0.113.2 80 &
    way_out() { in_node redis-cache timeout 1 bash -c "</dev/tcp/203.0.113.2/$1" 2>/dev/null; }
    retry 5 way_out 80
    stopped default way_out 25
  '
  succeeds
}

@test "a fragment, port 53 as the source and a large ping are no way round" {
  sandboxed "$ATTACKED"'
    listen postgres-db 5432
    from_53() { in_node "$1" timeout 10 python3 -c "import socket, sys; socket.create_connection((\"10.0.0.60\", 5432), 0.5, source_address=(\"\", 53))"; }
    from_53 order-service
    stopped database-closed from_53 api-gateway 2>/dev/null
    fragmented() { in_node "$1" timeout 10 .venv/bin/python -c "
import socket, time
from security.proof import packets, recognise
own, to = \"$(address_of "$1")\", \"10.0.0.60\"
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); tap.settimeout(1)
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for is_last in (False, True):
    out.sendto(packets.fragment(own, to, 5432, 77, is_last=is_last), (to, 0))
end = time.monotonic() + 1
while time.monotonic() < end:
    data, where = tap.recvfrom(2048)
    seen = recognise.recognise(data[14:])
    if seen and seen.answer and where[2] != socket.PACKET_OUTGOING: raise SystemExit(0)
raise SystemExit(1)"; }
    fragmented order-service
    stopped database-closed fragmented api-gateway 2>/dev/null
    in_node order-service ping -c 1 -W 1 -s 100 10.0.0.60
    stopped icmp-size in_node order-service ping -c 1 -W 1 -s 101 10.0.0.60
  '
  succeeds
}

@test "of the connections of one minute to the gateway the 121st is dropped; nginx has no limit" {
  sandboxed "$ATTACKED"'
    listen api-gateway 3000
    attempts() { in_node "$1" python3 -c "
import socket, time
end, through, tried = time.monotonic() + float($2), 0, 0
while time.monotonic() < end and tried < int($3):
    tried += 1
    with socket.socket() as attempt:
        attempt.setblocking(False); attempt.connect_ex((\"10.0.0.20\", 3000)); time.sleep(0.03)
        through += attempt.connect_ex((\"10.0.0.20\", 3000)) in (0, 106)
print(through)"; }
    unlimited=$(attempts nginx-lb 20 150)
    before=$(dropped gateway)
    limited=$(attempts product-2 59.5 100000)
    echo "nginx-lb $unlimited of 150, product-2 $limited in a minute"
    ((unlimited == 150 && limited <= 120 && limited >= 100))
    (($(dropped gateway) > before))
  '
  succeeds
}

# Frames that a bridge learns from, or hands to the host, before any rule sees them (tests/lab/frames.py).
LINK_LOCAL='claim() { in_node redis-cache .venv/bin/python -m tests.lab.frames claim veth-redis "$1"; } # MAC
while_claiming() { # MAC COMMAND...: the owner of the MAC takes it back with whatever it sends, so once is not enough
  local status=0
  rm -f /run/claiming
  exec 7> >(in_node redis-cache .venv/bin/python -m tests.lab.frames keep-claiming veth-redis "$1" >/run/claiming)
  local claiming=$!
  retry 20 grep -q claiming /run/claiming 2>/dev/null
  "${@:2}" || status=$?
  exec 7>&-
  wait "$claiming"
  return "$status"
}
heard() { # ADDRESS COMMAND...: how many packets to ADDRESS come to redis-cache meanwhile
  rm -f /run/heard
  exec 8> >(in_node redis-cache .venv/bin/python -m tests.lab.frames hear veth-redis "$1" >/run/heard)
  local hearing=$!
  retry 20 grep -q listening /run/heard 2>/dev/null
  "${@:2}" || :
  exec 8>&-
  wait "$hearing"
  tail -1 /run/heard
}
learning() { # off|on: of all that protects, but for what the policy drops
  ip link set br-app type bridge no_linklocal_learn "$([[ $1 == on ]] && echo 0 || echo 1)"
  local port
  for port in $(scripts/topology.sh dump | awk "\$1 == \"node\" { print \$6 }"); do ip link set "$port" type bridge_slave learning "$1"; done
}
'

@test "a link-local frame from another'\''s MAC moves nothing: its traffic goes to it, and to nobody else" {
  sandboxed "$ATTACKED$LINK_LOCAL"'
    listen postgres-db 5432; listen api-gateway 3000
    asks() { in_node "$1" timeout 1 bash -c "</dev/tcp/$2/$3" 2>/dev/null; }
    for victim in "order-service 10.0.0.60 5432 02:42:0a:00:00:3c" "nginx-lb 10.0.0.20 3000 02:42:0a:00:00:14" "product-1 10.0.0.1 9 02:42:0a:00:00:01"; do
      read -r from address port mac <<<"$victim"
      claim "$mac"
      [[ $port == 9 ]] || asks "$from" "$address" "$port"
      [[ $(heard "$address" asks "$from" "$address" "$port") == 0 ]]
    done
    scripts/network.sh status; security/prove.sh | tail -1 | grep "differences: 0"

    learning on # the twin: without what protects, the attack is seen to work
    bridge fdb replace 02:42:0a:00:00:3c dev veth-pg-br master dynamic
    refute while_claiming 02:42:0a:00:00:3c asks order-service 10.0.0.60 5432
    (($(heard 10.0.0.60 while_claiming 02:42:0a:00:00:3c asks order-service 10.0.0.60 5432) > 0))
    refute security/prove.sh >/run/proof
    grep "br-app forwards frames for 02:42:0a:00:00:3c to veth-pg-br: missing" /run/proof >/dev/null
    scripts/network.sh up >/dev/null; scripts/network.sh status
    claim 02:42:0a:00:00:3c
    retry 5 asks order-service 10.0.0.60 5432
  '
  succeeds
}

@test "a bridge learns no MAC and no group from a node, and no link-local frame reaches the host past the rules" {
  sandboxed "$ATTACKED$LINK_LOCAL"'
    claim 02:42:de:ad:be:ef
    refute grep -i "de:ad:be:ef" <(bridge fdb show)
    ip -n redis-cache addr add 224.1.2.3/32 dev veth-redis autojoin
    in_node redis-cache .venv/bin/python -m tests.lab.frames query veth-redis
    sleep 0.2
    [[ -z $(bridge mdb show) ]]
    to_host() { timeout 20 python3 -c "
import socket, subprocess
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind((\"0.0.0.0\", 5353)); server.settimeout(0.5)
subprocess.run([\"nsenter\", \"--net=/run/netns/redis-cache\", \"--\", \".venv/bin/python\", \"-m\", \"tests.lab.frames\", \"datagram\", \"veth-redis\", \"10.0.0.1\", \"5353\"], check=True)
server.recvfrom(100)" 2>/dev/null; }
    neighbours() { in_node redis-cache .venv/bin/python -m tests.lab.frames neighbours veth-redis 10.0.0.1; ip neigh show dev veth-redis-br | wc -l; }
    refute to_host
    [[ $(neighbours) == 0 ]]
    # the twins
    ip link set br-app type bridge mcast_snooping 1
    ip -n redis-cache addr del 224.1.2.3/32 dev veth-redis; ip -n redis-cache addr add 224.1.2.3/32 dev veth-redis autojoin
    retry 3 grep 224.1.2.3 <(bridge mdb show) || { sleep 1; bridge mdb show | grep 224.1.2.3; }
    sysctl -qw net.ipv4.conf.veth-redis-br.drop_unicast_in_l2_multicast=0 net.ipv4.conf.veth-redis-br.arp_ignore=0
    to_host
    (($(neighbours) > 0))
  '
  succeeds
}

@test "a node has no more than its connections, others open theirs meanwhile" {
  sandboxed "$ATTACKED"'
    listen postgres-db 5432
    flood() { in_node redis-cache .venv/bin/python -m tests.lab.frames flood 203.0.113.2 53 3000; }
    open() { conntrack -L -s 10.0.0.50 2>/dev/null | wc -l; }
    before=$(dropped connections)
    flood
    (($(dropped connections) - before >= 900)) # NFLOG and the log tell of it too: the proof looks at that
    (($(open) >= 1900 && $(open) <= 2000))
    refute in_node redis-cache timeout 0.5 bash -c "</dev/tcp/10.0.0.70/8500" 2>/dev/null # nor anywhere else
    reaches order-service postgres-db 5432
    told "over its limit" connections redis-cache world 53 --udp
    conntrack -D -s 10.0.0.50 >/dev/null 2>&1
    told allowed names-out redis-cache world 53 --udp
    # the twin
    grep -v "^connections" security/flat.tsv >/run/unlimited.tsv
    POLICY=/run/unlimited.tsv security/policy.sh up >/dev/null
    flood
    (($(open) > 2900))
  '
  succeeds
}
