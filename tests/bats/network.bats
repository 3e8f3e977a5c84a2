#!/usr/bin/env bats
# The wires: namespaces, veth pairs and the bridge, for real, each test on a host of its own.
# shellcheck disable=SC2016 # what stands in single quotes is for the sandbox's bash

load helpers

on_a_host() { sandboxed "source tests/bats/inside_network.bash; $1"; }

# --- up, and up again ------------------------------------------------------------------------------

@test "up gives each node its address, and every one reaches every other and the gateway" {
  on_a_host '
    network up
    network status
    [[ $(ip -n redis-cache -o -4 addr show veth-redis) == *" 10.0.0.50/16 brd 10.0.255.255 "* ]]
    [[ -z $(ip -n redis-cache -6 addr show dev veth-redis) ]] # only the addresses of the table
    for namespace in nginx-lb product3 service-registry; do
      for address in 10.0.0.1 10.0.0.10 10.0.0.32 10.0.0.70 127.0.0.1; do
        ip netns exec $namespace ping -qc1 -W1 $address >/dev/null || echo "$namespace does not reach $address"
      done
    done
  '
  succeeds
  says "network  9 nodes match $ROOT/topology/flat.tsv"
  [[ $output != *"does not reach"* ]]
}

@test "on a kernel without IPv6 nothing of it is asked for, and all is as the table says" {
  on_a_host '
    mount -t tmpfs none /proc/sys/net/ipv6 # as it looks there
    network up >/run/said
    refute grep -E "addrgenmode|ipv6" /run/said # such a kernel refuses the words
    network status
    silent network up
    ip netns exec redis-cache ping -qc1 -W1 10.0.0.30
  '
  succeeds
}

@test "a second up changes nothing, byte for byte, and runs no command" {
  on_a_host '
    network up >/dev/null
    network_state >/run/before
    silent network up
    unchanged /run/before
  '
  succeeds
}

@test "down leaves nothing, and leaves alone what is not of the lab" {
  on_a_host '
    ip netns add mine
    ip link add veth-mine type veth peer name veth-mine2 netns mine
    ip link add name br-mine type bridge
    network_state >/run/before
    network up >/dev/null
    network down
    retry 5 unchanged /run/before
    silent network down
  '
  succeeds
}

@test "the scripts work from any directory, with a relative path to a table" {
  on_a_host '
    many_nodes 2 >/run/two.tsv
    cd /run
    TOPOLOGY=./two.tsv "$ROOT/scripts/network.sh" up >/dev/null
    cd /
    "$ROOT/scripts/network.sh" status
  '
  succeeds
  says "network  2 nodes match /run/two.tsv"
}

@test "500 nodes come up, a second up is silent, and down takes them all away" {
  on_a_host '
    many_nodes 500 >/run/many.tsv
    export TOPOLOGY=/run/many.tsv
    network_state >/run/before
    network up >/run/commands
    [[ $(grep -c "netns add" /run/commands) == 500 ]]
    network status
    silent network up
    ip netns exec node1 ping -qc1 -W2 10.99.2.2 >/dev/null
    network down >/dev/null
    retry 10 unchanged /run/before
  '
  succeeds
  says "network  500 nodes match /run/many.tsv"
}

@test "names that are words of ip, or have dots in them, are names" {
  on_a_host '
    printf "%s\n" "up 10.98.0.1/24" "a dev 10.98.0.2/24 master br up" "b type 10.98.0.3/24 eth0.7 veth.b.1 up" | table >/run/odd.tsv
    export TOPOLOGY=/run/odd.tsv
    network_state >/run/before
    network up >/dev/null
    network status
    ip netns exec dev ping -qc1 -W1 10.98.0.3 >/dev/null
    network down >/dev/null
    retry 5 unchanged /run/before
  '
  succeeds
  says "network  2 nodes"
}

# --- DRY_RUN ---------------------------------------------------------------------------------------

@test "DRY_RUN=1 prints the commands in the order of the table, changes nothing, takes no lock, needs no root" {
  on_a_host '
    network_state >/run/before
    DRY_RUN=1 setpriv --reuid 65534 --clear-groups "$ROOT/scripts/network.sh" up >/run/commands
    unchanged /run/before
    [[ ! -e /run/cnet ]]
    diff <(sed -n "s/^+ ip -n \([^ ]*\) route .*/\1/p" /run/commands) <(scripts/topology.sh dump | awk "\$1 == \"node\" { print \$3 }")
  '
  succeeds
}

@test "the commands that DRY_RUN=1 prints, run by hand, make the very network" {
  on_a_host '
    sed "s/^+ //" <(DRY_RUN=1 network up) >/run/commands.sh
    bash -e /run/commands.sh
    network status
    silent network up
  '
  succeeds
}

@test "DRY_RUN=1 down prints what down would do, and does nothing" {
  on_a_host '
    network up >/dev/null
    network_state >/run/before
    DRY_RUN=1 network down >/run/said
    unchanged /run/before
    diff /run/said <(network down)
  '
  succeeds
}

# --- refusals: one line, exit 1, nothing changed -----------------------------------------------------

refuses() { # TEXT PREPARATION: up and check say so
  on_a_host "
    $2
    network_state >/run/before
    fails_with 1 '$1' scripts/network.sh up
    fails_with 1 '$1' scripts/network.sh check
    unchanged /run/before
  "
  succeeds
}

@test "an interface of somebody else with a name of ours is refused" {
  refuses "network.sh: the host has an interface veth-redis-br that is not the lab" '
    ip link add veth-redis-br type veth peer name elsewhere
  '
}

@test "a port or a bridge that left the group of the lab'\''s links is named with the command that puts it back" {
  on_a_host '
    network_state >/run/nothing
    network up >/dev/null
    for link in veth-api-br br-app; do
      network_state >/run/before
      ip link set dev $link group 0
      command="ip link set dev $link group 25955"
      fails network status >/run/said
      grep -qx "foreign  interface $link of the lab is not in the lab.s link group any more; sudo $command" /run/said
      fails grep "netns del" /run/said
      fails_with 1 "; sudo $command" network up
      $command
      unchanged /run/before
      network status
    done
    ip link set dev veth-api-br group 0
    network down
    retry 5 unchanged /run/nothing
  '
  succeeds
}

@test "a namespace of somebody else with a name of ours is refused, and down does not touch it" {
  refuses "network.sh: there is a namespace redis-cache that is not the lab" '
    ip netns add redis-cache
    ip link add outside type veth peer name inside netns redis-cache
    ip -n redis-cache link set inside up
    silent network down
  '
}

@test "a namespace of somebody else with a name of ours stays theirs, whatever they did in it" {
  on_a_host '
    many_nodes 1 >/run/one.tsv; export TOPOLOGY=/run/one.tsv
    theirs() { # COMMAND...: after it nothing takes the namespace for the lab'\''s
      ip netns add node1
      "$@"
      network_state >/run/before; nsenter --net=/run/netns/node1 nft list ruleset >/run/rules
      fails_with 1 "there is a namespace node1 that is not the lab'\''s: \`ip netns del node1\`" network check
      fails_with 1 "there is a namespace node1 that is not the lab'\''s" network up
      silent network down
      unchanged /run/before; diff /run/rules <(nsenter --net=/run/netns/node1 nft list ruleset)
      ip netns del node1
    }
    theirs ip -n node1 link set lo up
    theirs ip -n node1 addr add 127.0.0.53/8 dev lo
    theirs ip -n node1 rule add priority 7 from 10.0.0.50 blackhole
    theirs nsenter --net=/run/netns/node1 iptables -A INPUT -j DROP
    theirs ip -n node1 link add theirs type veth peer name other
    theirs ip -n node1 link set lo alias "cnet other"
    ip netns add node1 # just made: a run that was killed leaves it so
    network up >/dev/null
    network status
  '
  succeeds
}

@test "a namespace that lost its mark is named and marked; one made before there were marks stays ours without its wire" {
  on_a_host '
    network up >/dev/null
    [[ $(ip -n redis-cache -j link show lo | jq -r ".[].ifalias") == "cnet redis-cache" ]]
    ip -n redis-cache link set lo alias ""
    drifted "missing  alias \"cnet redis-cache\", the lab'\''s mark, on lo in namespace redis-cache"
    ip -n redis-cache link set lo alias ""
    ip -n redis-cache link set veth-redis address 02:00:00:00:00:01 # its wire is made anew
    network up >/dev/null
    network status
    ip link del veth-redis-br
    network down >/dev/null
    [[ ! -e /run/netns/redis-cache ]]
  '
  succeeds
}

@test "an overlap with a route of the host is refused by its name, whatever kind of route it is" {
  refuses "address: 10.0.0.1/16 of br-app overlaps with the host" 'ip route add 10.0.128.0/17 via 203.0.113.2'
  refuses "route 10.0.0.0/8 by uplink; take another network: sed" 'ip route add 10.0.0.0/8 via 203.0.113.2 table 100'
  refuses "route 10.0.4.5/32 by blackhole" 'ip route add blackhole 10.0.4.5'
  refuses "route 10.0.3.4/32 by uplink" 'ip addr add 10.0.3.4/32 dev uplink'
}

@test "a VPN that takes the default route in two halves is in the way of nobody" {
  on_a_host '
    ip route add 0.0.0.0/1 via 203.0.113.2
    ip route add 128.0.0.0/1 via 203.0.113.2
    network up >/dev/null
    network status
  '
  succeeds
}

@test "without root, up, down and status say so" {
  on_a_host '
    for command in up down status; do
      fails_with 1 "network.sh: needs root: sudo scripts/network.sh $command (or scripts/sandbox.sh run, which needs none)" setpriv --reuid 65534 --clear-groups scripts/network.sh $command
    done
  '
  succeeds
}

@test "a malformed table is refused by file, line and column" {
  refuses "network.sh: /run/bad.tsv:3: address:" '
    printf "%s\n" "br-x 10.98.0.1/24" "a a 10.98.0.999/24 eth0 port1 br-x" | table >/run/bad.tsv
    export TOPOLOGY=/run/bad.tsv
  '
}

@test "a missing tool is named" {
  refuses "network.sh: missing: python3; sudo scripts/install.sh up" '
    mkdir /run/bin
    for tool in /usr/bin/* /usr/sbin/ip; do [[ $tool == */python3* ]] || ln -s "$tool" /run/bin/ 2>/dev/null || :; done
    PATH=/run/bin
  '
}

@test "a command that is not known exits 2 with the usage; help exits 0" {
  run --separate-stderr "$ROOT/scripts/network.sh" sideways
  [[ $status == 2 && -z $output ]]
  # shellcheck disable=SC2154 # set by run
  [[ $stderr == 'network.sh: unknown command "sideways"'*'scripts/network.sh status'* ]]
  run "$ROOT/scripts/network.sh" help
  succeeds
  says "scripts/network.sh status   print each difference"
}

# --- drift: status names it, up mends it -------------------------------------------------------------

@test "one up heals what hides behind another fault, or goes with it" {
  on_a_host '
    network up >/dev/null
    ip -n redis-cache link set veth-redis address 02:00:00:00:00:01 # its wire is made anew; the rule is still there
    nsenter --net=/run/netns/redis-cache iptables -A INPUT -j DROP
    ip -n redis-cache rule add priority 7 from 10.0.0.50 blackhole
    ip -n product2 addr add 192.168.77.1/24 dev veth-prod2 # with the address goes the route
    ip -n product2 route add 10.99.0.0/16 dev veth-prod2 src 192.168.77.1
    network up >/dev/null
    network status
  '
  succeeds
}

@test "up and down go on when a link of a deleted namespace is gone the moment before its turn" {
  on_a_host '
    network_state >/run/before
    network up >/dev/null
    mkdir /run/first
    cat >/run/first/ip <<"END"
#!/bin/bash
[[ $* != *-force* || ! -e /run/goes ]] || { while read -r link; do /sbin/ip link del "$link"; done </run/goes 2>/dev/null; rm /run/goes; }
exec /sbin/ip "$@"
END
    chmod +x /run/first/ip
    ip link del veth-redis-br
    ip netns del redis-cache
    ip link add name veth-redis-br group "$(ip -j link show br-app | jq -r .[].group)" type veth peer name left # a port, about to go
    echo veth-redis-br >/run/goes
    PATH=/run/first:$PATH network up >/dev/null
    [[ ! -e /run/goes ]]; network status
    ip -j link | jq -r ".[].ifname" | grep -E "^(br-|veth-)" >/run/goes
    PATH=/run/first:$PATH network down >/dev/null
    [[ ! -e /run/goes ]]; retry 10 unchanged /run/before
  '
  succeeds
}

@test "the outside of a proof that runs is no drift; one that a killed proof left is" {
  on_a_host '
    network up >/dev/null
    ( source scripts/lib/topology.sh; source scripts/lib/outside.sh; take_lock; make_outside; touch /run/made; exec sleep 30 ) & proof=$!
    retry 10 test -e /run/made
    network status
    kill -9 "$proof"
    fails network status >/run/said
    grep "cnet-outside" /run/said
    network up >/dev/null
    network status
  '
  succeeds
}

@test "status names a link that was cut" {
  on_a_host '
    network up >/dev/null
    ip link del veth-redis-br
    drifted "missing  veth pair veth-redis-br (host) = veth-redis (namespace redis-cache), MAC 02:42:0a:00:00:32
missing  veth-redis-br is a port of bridge br-app
missing  the host accepts no packet from port veth-redis-br itself
missing  veth-redis-br learns no MAC, gets no frame for an unknown MAC
missing  br-app forwards frames for 02:42:0a:00:00:32 to veth-redis-br
missing  veth-redis-br is up
missing  address 10.0.0.50/16 on veth-redis in namespace redis-cache
missing  veth-redis is up in namespace redis-cache
missing  default route via 10.0.0.1 in namespace redis-cache"
  '
  succeeds
}

@test "status names an address that was changed, and one that was added" {
  on_a_host '
    network up >/dev/null
    ip -n product2 addr add 10.0.9.9/16 dev veth-prod2
    drifted "surplus  address 10.0.9.9/16 on veth-prod2 in namespace product2"
    ip -n product2 addr flush dev veth-prod2
    ip -n product2 addr add 10.0.9.9/16 dev veth-prod2
    drifted "missing  address 10.0.0.31/16 on veth-prod2 in namespace product2
missing  default route via 10.0.0.1 in namespace product2
surplus  address 10.0.9.9/16 on veth-prod2 in namespace product2"
  '
  succeeds
}

@test "status names a link that is down, at either end, and a loopback that is down" {
  on_a_host '
    network up >/dev/null
    ip link set veth-pg-br down
    drifted "missing  veth-pg-br is up"
    ip -n postgres-db link set veth-pg down
    drifted "missing  veth-pg is up in namespace postgres-db
missing  default route via 10.0.0.1 in namespace postgres-db"
    ip -n postgres-db link set lo down
    drifted "missing  lo is up in namespace postgres-db"
  '
  succeeds
}

@test "status names a bridge that is down, that lost its address, a port, or itself" {
  on_a_host '
    network up >/dev/null
    ip link set br-app down
    drifted "missing  br-app is up"
    ip addr del 10.0.0.1/16 dev br-app
    drifted "missing  address 10.0.0.1/16 on bridge br-app"
    ip link set veth-sr-br nomaster
    drifted "missing  veth-sr-br is a port of bridge br-app
missing  veth-sr-br learns no MAC, gets no frame for an unknown MAC
missing  br-app forwards frames for 02:42:0a:00:00:46 to veth-sr-br"
    ip link del br-app
    fails network status >/run/said
    grep -qx "missing  bridge br-app, MAC 02:42:0a:00:00:01" /run/said
    network up >/dev/null
    network status
  '
  succeeds
}

@test "status names a default route that goes elsewhere" {
  on_a_host '
    network up >/dev/null
    ip -n nginx-lb route replace default via 10.0.0.20
    drifted "missing  default route via 10.0.0.1 in namespace nginx-lb
surplus  default route via 10.0.0.20 in namespace nginx-lb"
    ip -n nginx-lb route replace default dev veth-nginx
    drifted "missing  default route via 10.0.0.1 in namespace nginx-lb
surplus  default route dev veth-nginx in namespace nginx-lb"
  '
  succeeds
}

@test "status names a bridge or a port that learns or is not deaf, and an entry that is missing, moved or added" {
  on_a_host '
    network up >/dev/null
    ip link set br-app type bridge no_linklocal_learn 0 mcast_snooping 1
    drifted "missing  br-app learns nothing from link-local frames and IGMP"
    ip link set veth-redis-br type bridge_slave learning on
    drifted "missing  veth-redis-br learns no MAC, gets no frame for an unknown MAC"
    sysctl -qw net.ipv4.conf.veth-redis-br.arp_ignore=0
    drifted "missing  the host accepts no packet from port veth-redis-br itself"
    bridge fdb del 02:42:0a:00:00:3c dev veth-pg-br master
    drifted "missing  br-app forwards frames for 02:42:0a:00:00:3c to veth-pg-br"
    bridge fdb replace 02:42:0a:00:00:3c dev veth-redis-br master static sticky
    drifted "missing  br-app forwards frames for 02:42:0a:00:00:3c to veth-pg-br
surplus  br-app forwards frames for 02:42:0a:00:00:3c to veth-redis-br"
    bridge fdb add 02:42:0a:00:00:99 dev veth-redis-br master static sticky
    drifted "surplus  br-app forwards frames for 02:42:0a:00:00:99 to veth-redis-br"
    ip link set veth-redis-br nomaster; ip link set veth-redis-br master br-app # as if it was new
    drifted "missing  veth-redis-br learns no MAC, gets no frame for an unknown MAC
missing  br-app forwards frames for 02:42:0a:00:00:32 to veth-redis-br"
  '
  succeeds
}

@test "status names a port that its bridge keeps frames from" {
  on_a_host '
    network up >/dev/null
    bridge link set dev veth-redis-br isolated on
    drifted "surplus  veth-redis-br is isolated from the other ports of its bridge"
    bridge link set dev veth-redis-br bcast_flood off
    drifted "surplus  veth-redis-br gets no broadcast frame (ARP) from its bridge"
    bridge link set dev veth-pg-br state 1
    drifted "surplus  veth-pg-br is switched off as a port of its bridge (state listening)"
    bridge link set dev veth-pg-br state 0
    drifted "surplus  veth-pg-br is switched off as a port of its bridge (state disabled)"
    ip netns exec redis-cache ping -qc1 -W1 10.0.0.60
  '
  succeeds
}

@test "status names routes, rules, neighbours and addresses that somebody added inside a namespace" {
  on_a_host '
    network up >/dev/null
    inside() { ip -n redis-cache "$@"; }
    inside route add 10.0.0.60/32 via 10.0.0.99
    drifted "surplus  route that is not in the table, in namespace redis-cache: 10.0.0.60 via 10.0.0.99 dev veth-redis"
    inside route add blackhole 10.0.0.60/32
    drifted "surplus  route that is not in the table, in namespace redis-cache: blackhole 10.0.0.60"
    inside route add default via 10.0.0.99 table 100 metric 7
    drifted "surplus  route that is not in the table, in namespace redis-cache: default via 10.0.0.99 dev veth-redis table 100 metric 7"
    inside route add 10.9.0.0/16 nexthop via 10.0.0.20 nexthop via 10.0.0.30
    drifted "surplus  route that is not in the table, in namespace redis-cache: 10.9.0.0/16 nexthop via 10.0.0.20 dev veth-redis nexthop via 10.0.0.30 dev veth-redis"
    inside rule add from 10.0.0.50 to 10.0.0.0/24 fwmark 5 lookup 100
    drifted "surplus  rule that is not in the table, in namespace redis-cache: priority 32765 from 10.0.0.50 to 10.0.0.0/24 fwmark 0x5 table 100"
    inside rule add priority 32766 from 10.0.0.50 unreachable
    drifted "surplus  rule that is not in the table, in namespace redis-cache: priority 32766 from 10.0.0.50 unreachable"
    inside rule del priority 32766
    drifted "missing  routing rule 32766 (table main) in namespace redis-cache"
    inside neigh replace 10.0.0.30 lladdr 02:42:0a:00:00:99 dev veth-redis nud permanent
    drifted "surplus  permanent neighbour on veth-redis in namespace redis-cache: 10.0.0.30 at 02:42:0a:00:00:99"
    inside addr add 10.0.0.60/32 dev lo
    drifted "surplus  address 10.0.0.60/32 on lo in namespace redis-cache"
    inside route del 10.0.0.0/16
    drifted "surplus  veth-redis in namespace redis-cache has an address 10.0.0.50/16 without its routes"
    inside route del table local local 10.0.0.50 dev veth-redis
    drifted "surplus  veth-redis in namespace redis-cache has an address 10.0.0.50/16 without its routes"
  '
  succeeds
}

@test "status names an MTU, a qdisc, a neighbour and ARP switched off at either end of a wire" {
  on_a_host '
    network up >/dev/null
    ip link set veth-api-br mtu 400 # so small that the kernel takes IPv6 and its settings away
    drifted "missing  the host ignores router advertisements on br-app
missing  the host accepts no packet from port veth-api-br itself
surplus  MTU 400 on br-app of the host
surplus  MTU 400 on veth-api-br of the host"
    ip -n api-gateway link set veth-api mtu 9000
    drifted "surplus  MTU 9000 on veth-api in namespace api-gateway"
    tc -n api-gateway qdisc add dev veth-api root tbf rate 1mbit burst 10k latency 50ms
    drifted "surplus  qdisc root on veth-api in namespace api-gateway (tbf)"
    tc qdisc add dev veth-api-br clsact
    drifted "surplus  qdisc ingress on veth-api-br of the host (clsact)"
    tc qdisc add dev br-app ingress
    drifted "surplus  qdisc ingress on br-app of the host (ingress)"
    ip neigh replace 10.0.0.30 lladdr 02:42:0a:00:00:99 dev br-app nud permanent
    drifted "surplus  permanent neighbour on br-app of the host: 10.0.0.30 at 02:42:0a:00:00:99"
    ip -n api-gateway link set veth-api arp off
    drifted "surplus  veth-api in namespace api-gateway has ARP switched off"
  '
  succeeds
}

@test "the table sets the MTU of both ends of a wire; status names another one at either end" {
  on_a_host '
    awk "/^#/ { next } { print \$0 \"\t\" (/^kind/ ? \"mtu\" : /redis-cache/ ? 1400 : \"-\") }" topology/flat.tsv >/run/mtu.tsv
    export TOPOLOGY=/run/mtu.tsv
    network up >/dev/null
    network status
    silent network up
    for link in veth-redis-br br-app; do ip -o link show $link | grep " mtu 1400 "; done
    ip -n redis-cache -o link show veth-redis | grep " mtu 1400 "
    ip link set veth-redis-br mtu 1500
    drifted "missing  MTU 1400 on veth-redis-br of the host"
    ip -n redis-cache link set veth-redis mtu 1300
    drifted "missing  MTU 1400 on veth-redis in namespace redis-cache
surplus  MTU 1300 on veth-redis in namespace redis-cache"
    unset TOPOLOGY; TOPOLOGY=flat network up >/dev/null
    network status
  '
  succeeds
}

@test "status names rules inside a namespace, of iptables, its old backend and nft" {
  on_a_host '
    network up >/dev/null
    inside() { nsenter --net=/run/netns/redis-cache "$@"; }
    inside iptables -A INPUT -p tcp --dport 6379 -j DROP
    drifted "surplus  firewall rules in namespace redis-cache: ip filter INPUT: type filter hook input priority filter; policy accept;; tcp dport 6379 drop"
    inside iptables -P FORWARD DROP
    fails network status | grep "^surplus .*redis-cache: ip filter FORWARD: type filter hook forward priority filter; policy drop;"
    network up >/dev/null
    inside nft "add table inet x; add chain inet x y; add rule inet x y ip daddr 10.0.0.30 drop"
    drifted "surplus  firewall rules in namespace redis-cache: inet x y: ip daddr 10.0.0.30 drop"
    inside iptables -L >/dev/null # it makes empty tables, which are nothing
    network status
    if inside iptables-legacy -A INPUT -p udp -j DROP 2>/dev/null; then
      drifted "surplus  firewall rules in namespace redis-cache: legacy filter: -A INPUT -p udp -j DROP"
    fi
  '
  succeeds
}

@test "a route or a routing rule of the host that leads a lab address away is named with what removes it" {
  on_a_host '
    network up >/dev/null
    ip route add blackhole 10.0.0.60
    ip route add 10.0.0.61 via 10.0.0.99
    ip rule add from 10.0.0.20 lookup 77
    ip rule add not fwmark 0xca6c lookup 51820 # of a VPN: of nobody in particular
    fails network status >/run/said
    cat /run/said
    (($(grep -c ^foreign /run/said) == 3))
    grep "sudo ip route del blackhole 10.0.0.60$" /run/said
    fails_with 1 "remove the route: sudo ip route del blackhole 10.0.0.60" network up
    sed -n "s/.*sudo //p" /run/said | bash -e
    network status
    network up
  '
  succeeds
}

@test "an alias of a bridge that names no table is named, whatever asks goes on, and up puts the table there" {
  on_a_host '
    network up >/dev/null
    for alias in garbage "cnet garbage" "my own bridge"; do
      ip link set br-app alias "$alias"
      diff <(scripts/topology.sh dump) <(scripts/topology.sh dump flat)
      drifted "missing  $ROOT/topology/flat.tsv as the table of bridge br-app
surplus  alias \"$alias\" of bridge br-app"
    done
    ip link set br-app alias ""
    drifted "missing  $ROOT/topology/flat.tsv as the table of bridge br-app"
  '
  succeeds
}

@test "a namespace that was deleted is named and made again" {
  on_a_host '
    network up >/dev/null
    ip netns del product3
    retry 5 test ! -e /proc/sys/net/ipv4/conf/veth-prod3-br
    fails network status >/run/said
    grep -qx "missing  namespace product3" /run/said
    network up >/dev/null
    network status
  '
  succeeds
}

@test "a pair whose end was moved to another namespace is made anew" {
  on_a_host '
    network up >/dev/null
    ip -n product3 link set veth-prod3 netns product2
    fails network status >/run/said
    grep -q "^surplus .*veth-prod3-br (host) = veth-prod3 (namespace product2)" /run/said
    network up >/dev/null
    network status
  '
  succeeds
}

@test "what somebody adds inside a namespace is theirs: no drift, and up leaves it" {
  on_a_host '
    network up >/dev/null
    ip -n product2 link add theirs type veth peer name other netns product3
    ip -n product2 link set theirs up
    network status
    network_state >/run/before
    silent network up
    unchanged /run/before
  '
  succeeds
}

# --- another table -----------------------------------------------------------------------------------

@test "up with a changed table removes, adds, renumbers and rewires what differs, and nothing else" {
  on_a_host '
    network up >/dev/null
    before=$(ip -n redis-cache -o link show veth-redis)
    mkdir "/run/a b"
    export TOPOLOGY="/run/a b/changed.tsv"
    sed "/^node.product-3/d; s/10\.0\.0\.31/10.0.0.99/; s/br-app/br-new/g" topology/flat.tsv >"$TOPOLOGY"
    printf "node\tnewcomer\tnewcomer\t10.0.5.5/16\tveth-new\tveth-new-br\tbr-new\t-\t-\t-\n" >>"$TOPOLOGY"
    network up >/dev/null
    network status
    [[ ! -e /run/netns/product3 && ! -e /proc/sys/net/ipv4/conf/br-app ]]
    [[ $(ip -n redis-cache -o link show veth-redis) == "$before" ]] # no need to touch it
    ip netns exec newcomer ping -qc1 -W1 10.0.0.99 >/dev/null
    unset TOPOLOGY # the bridge remembers which table it was made from
    network status
    silent network up
  '
  succeeds
  says "network  9 nodes match /run/a b/changed.tsv"
}

@test "down needs no table: it may be gone, or broken by now" {
  on_a_host '
    many_nodes 3 >/run/gone.tsv
    network_state >/run/before
    for ruin in "rm /run/gone.tsv" "echo rubbish >/run/gone.tsv"; do
      many_nodes 3 >/run/gone.tsv
      TOPOLOGY=/run/gone.tsv network up >/dev/null
      $ruin
      TOPOLOGY=/run/gone.tsv network down >/dev/null
      retry 5 unchanged /run/before
    done
  '
  succeeds
}

# --- cut short -----------------------------------------------------------------------------------------

@test "kill -9 of up at 25 points: up converges, and down leaves nothing" {
  on_a_host '
    network_state >/run/before
    commands=$(DRY_RUN=1 network up | grep -vc "^+ sysctl")
    for ((point = 0; point < 25; point++)); do
      kill_at $((1 + point * (commands - 1) / 24))
      fails network status >/dev/null
      network up >/dev/null
      network status >/dev/null
      network down >/dev/null
      retry 5 unchanged /run/before
    done
    [[ $(stat -c %s /run/deadly/count) == "$commands" ]] # the last one died at the last command
  '
  succeeds
}

@test "kill -9 of up at 13 points: down alone leaves nothing, even when asked with another table" {
  on_a_host '
    network_state >/run/before
    many_nodes 2 >/run/two.tsv
    commands=$(DRY_RUN=1 network up | grep -vc "^+ sysctl")
    for ((point = 0; point < 13; point++)); do
      kill_at $((1 + point * (commands - 1) / 12))
      TOPOLOGY=/run/two.tsv network down >/dev/null
      retry 5 unchanged /run/before
    done
  '
  succeeds
}

@test "a down that was cut short is finished by the next one" {
  on_a_host '
    network_state >/run/before
    network up >/dev/null
    ip netns del nginx-lb
    ip netns del redis-cache
    network down >/dev/null
    retry 5 unchanged /run/before
  '
  succeeds
}

@test "only the table'\''s names are the lab'\''s: another name for its namespace stays, and so does a process in it" {
  on_a_host '
    cp topology/flat.tsv /run/mine.tsv; export TOPOLOGY=/run/mine.tsv
    network up >/dev/null
    ip netns exec redis-cache sleep 1000 & mine=$!
    in_there() { [[ $(ip netns identify "$mine") == redis-cache ]]; }
    retry 5 in_there
    ip netns attach other $mine; ln -s redis-cache /run/netns/link
    network status; silent network up
    # Also when the table has another name for it now: the old one is known by the alias of its port.
    sed -i "s/redis-cache\t*10/renamed\t10/" /run/mine.tsv; grep "renamed" /run/mine.tsv
    network up 2>&1 | grep "process $mine (sleep) is not the lab'\''s and keeps running; its namespace redis-cache"
    network status
    [[ -e /run/netns/renamed && ! -e /run/netns/redis-cache ]]
    ip -n renamed link show veth-redis; fails ip -n other link show veth-redis
    network down >/dev/null
    [[ $(ls /run/netns | paste -sd" ") == "link other world" ]]; kill $mine
  '
  succeeds
}

@test "a symbolic link with a name of the table is refused, and stays with what it leads to" {
  on_a_host '
    ip netns add vpn
    for target in vpn nothing; do
      ln -s $target /run/netns/redis-cache
      fails_with 1 "/run/netns/redis-cache is a symbolic link that is not the lab'\''s: \`rm /run/netns/redis-cache\`" network up
      network down
      [[ $(ls /run/netns | paste -sd" ") == "redis-cache vpn world" ]]; ip -n vpn link show lo
      rm /run/netns/redis-cache
    done
    network up >/dev/null
  '
  succeeds
}

@test "a file that ip netns add left behind when it was killed is named, and heals" {
  on_a_host '
    network_state >/run/before
    kill_at 30
    ip netns del product2
    install -m 0 /dev/null /run/netns/product2
    fails network status >/run/said 2>/run/complaints
    [[ ! -s /run/complaints ]]
    grep -qx "surplus  /run/netns/product2 is a file, not a namespace" /run/said
    network up >/dev/null
    network status
    network down >/dev/null
    kill_at 30
    ip netns del product2
    install -m 0 /dev/null /run/netns/product2
    network down >/dev/null
    retry 5 unchanged /run/before
  '
  succeeds
}

@test "up that gets a TERM takes back what it made" {
  on_a_host '
    many_nodes 100 >/run/many.tsv
    network_state >/run/before
    TOPOLOGY=/run/many.tsv scripts/network.sh up >/dev/null &
    retry 5 test -e /run/netns/node1
    kill $!
    status=0
    wait $! || status=$?
    [[ $status == 143 ]]
    retry 5 unchanged /run/before
  '
  succeeds
}

# An `ip` that spoils a line of the batch for redis-cache.
SPOILED='
  mkdir /run/bin
  printf "%s\n" "#!/bin/bash" "[[ \$* != *inside/redis-cache ]] || sed -i s/veth-redis/nowhere/ \${@: -1}" "exec $(command -v ip) \"\$@\"" >/run/bin/ip
  chmod +x /run/bin/ip
'

@test "a command that fails is named in one line, and a fresh up takes back what it made" {
  on_a_host "$SPOILED"'
    network_state >/run/before
    PATH=/run/bin:$PATH fails_with 1 "network.sh: Cannot find device \"nowhere\"; the command was: ip -n redis-cache link set dev nowhere addrgenmode none" scripts/network.sh up
    retry 5 unchanged /run/before
  '
  succeeds
}

@test "a command that fails while mending leaves what is up as it is" {
  on_a_host "$SPOILED"'
    network up >/dev/null
    ip -n redis-cache addr flush dev veth-redis
    PATH=/run/bin:$PATH fails network up &>/dev/null
    [[ $(network status | wc -l) == 2 ]]
    network up >/dev/null
    network status
  '
  succeeds
}

@test "two at once: the second waits, and finds nothing to do" {
  on_a_host '
    scripts/network.sh up >/run/first 2>&1 &
    first=$!
    scripts/network.sh up >/run/second 2>&1 &
    wait $first
    wait $!
    network status
    [[ $(cat /run/first /run/second | grep -c "^+ ip netns add redis-cache") == 1 ]]
  '
  succeeds
}
