#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Why a packet was dropped: each situation is really made, and told by a probe and from the state alone, alike.

load helpers

POLICED='source tests/bats/inside_policy.bash; policed_network
'

@test "what the policy allows and drops is told, with its line" {
  sandboxed "$POLICED"'
    listen postgres-db 5432
    told allowed database order-service postgres-db 5432
    told "dropped by the policy" database-closed redis-cache postgres-db 5432
    told "dropped by the policy" default nginx-lb product-1 22
    told "dropped by the policy" default nginx-lb product-1 53 --udp
    told "no listener" "" order-service product-1 5000
    told allowed ping nginx-lb postgres-db --icmp
    told allowed operator host postgres-db 5432
    told "no listener" "" host postgres-db 22
  '
  succeeds
}

@test "the host and the world are told of, and published ports" {
  sandboxed "$POLICED"'
    listen nginx-lb 80
    told allowed way-in world host 8080
    told allowed operator host host 8080
    told allowed way-in redis-cache host 8080
    told "dropped by the policy" direct world nginx-lb 80
    told "dropped by the policy" direct world postgres-db 5432
    told "dropped by the policy" default redis-cache host 22
    told "dropped by the policy" default redis-cache world 25
    told allowed web-out redis-cache world 80
    told allowed names-out redis-cache world 53 --udp
    ip -n nginx-lb route del default
    told "no reply" "" world host 8080
  '
  succeeds
}

@test "a rate that is used up is told, and how long to wait" {
  sandboxed "$POLICED"'
    sed "s,100/minute:20,2/hour:3," security/flat.tsv >/run/slow.tsv
    POLICY=/run/slow.tsv security/policy.sh up >/dev/null
    listen api-gateway 3000
    told allowed gateway product-1 api-gateway 3000
    for i in 1 2 3; do reaches product-1 api-gateway 3000 || :; done
    told "over its limit" gateway product-1 api-gateway 3000
    story product-1 api-gateway 3000 | grep "wait 1800.0 s"
    told allowed front nginx-lb api-gateway 3000
  '
  succeeds
}

@test "rules of somebody else are told: in the host, in a namespace, dropping and refusing" {
  sandboxed "$POLICED"'
    listen postgres-db 5432
    foreign() { told "dropped by a rule that is not the lab'\''s" "" order-service postgres-db 5432; }
    iptables -I FORWARD -d 10.0.0.60 -j DROP; foreign; iptables -D FORWARD -d 10.0.0.60 -j DROP
    iptables -I FORWARD -d 10.0.0.60 -p tcp -j REJECT --reject-with tcp-reset; foreign
    iptables -D FORWARD -d 10.0.0.60 -p tcp -j REJECT --reject-with tcp-reset
    iptables -t mangle -I PREROUTING -s 10.0.0.40 -j DROP; foreign; iptables -t mangle -D PREROUTING -s 10.0.0.40 -j DROP
    in_node postgres-db iptables -I INPUT -p tcp --dport 5432 -j DROP; foreign; in_node postgres-db iptables -F INPUT
    iptables -D FORWARD -m comment --comment "cnet: forwarded packets" -j CNET-FORWARD; iptables -P FORWARD DROP; foreign
    iptables -P FORWARD ACCEPT
    told allowed database order-service postgres-db 5432
    nft "add table inet others; add chain inet others forward { type filter hook forward priority 10; }; add rule inet others forward ip daddr 10.0.0.60 drop"
    security/explain.sh order-service postgres-db 5432 --json >/run/told || [[ $? == 1 ]]
    jq -e ".observed.kind == \"dropped by a rule that is not the lab'\''s\" and (.not_simulated | any(test(\"inet others forward\")))" /run/told
    nft delete table inet others
  '
  succeeds
}

@test "broken wires, missing routes and a host that does not forward are told" {
  sandboxed "$POLICED"'
    listen postgres-db 5432
    ip -n redis-cache route del default; told "no route" "" redis-cache world 80; scripts/network.sh up >/dev/null
    ip -n order-service link set veth-order-s down; told "link down" "" order-service postgres-db 5432; scripts/network.sh up >/dev/null
    ip link set veth-order-s-br down; told "link down" "" order-service postgres-db 5432; scripts/network.sh up >/dev/null
    ip link set veth-pg-br down; told "link down" "" order-service postgres-db 5432; scripts/network.sh up >/dev/null
    in_node order-service sysctl -qw net.ipv4.neigh.veth-order-s.mcast_solicit=1 net.ipv4.neigh.veth-order-s.retrans_time_ms=50
    ip -n order-service neigh flush all
    ip link set veth-pg-br nomaster; told "not a port of its bridge" "" order-service postgres-db 5432; scripts/network.sh up >/dev/null
    sysctl -qw net.ipv4.conf.br-app.forwarding=0; told "not forwarded by the host" "" redis-cache world 80; scripts/nat.sh up >/dev/null
    sysctl -qw net.ipv4.conf.uplink.forwarding=0; story redis-cache world 80 --static | grep "net.ipv4.conf.uplink.forwarding is 0"; scripts/nat.sh up >/dev/null
    told allowed database order-service postgres-db 5432
  '
  succeeds
}

@test "without a policy, and in one namespace, it is told that no rule is asked" {
  sandboxed "$POLICED"'
    listen postgres-db 5432
    security/policy.sh down >/dev/null
    POLICY= told allowed "" redis-cache postgres-db 5432
    story redis-cache postgres-db 5432 | grep "passes no packets to iptables"
    scripts/nat.sh down >/dev/null; scripts/network.sh down >/dev/null
    export TOPOLOGY=tiers; policed_network; listen product-1 5000
    told allowed "" order-service product-1 5000
    told "dropped by the policy" tier-skipped api-gateway postgres-db 5432
    told allowed services api-gateway product-1 5000
  '
  succeeds
}

@test "no trace stays behind, also when it is killed" {
  sandboxed "$POLICED"'
    nft list ruleset >/run/before
    for delay in 0.1 0.15 0.2 0.25 0.3 0.35; do
      setsid security/explain.sh redis-cache postgres-db 5432 >/dev/null 2>&1 & pid=$!
      sleep "$delay"; kill -9 -- "-$pid" 2>/dev/null || :; wait "$pid" || :
    done
    retry 5 bash -c "! nft list tables | grep cnet-trace >/dev/null"
    security/explain.sh redis-cache postgres-db 5432 >/dev/null || [[ $? == 1 ]]
    diff <(sed -E "s/packets [0-9]+ bytes [0-9]+//" /run/before) <(nft list ruleset | sed -E "s/packets [0-9]+ bytes [0-9]+//")
  '
  succeeds
}

@test "a state that was saved is told of later, where no lab is; what is garbled is refused in one line" {
  sandboxed "$POLICED"'
    listen postgres-db 5432 # a connection that is open belongs to the state
    in_node order-service bash -c "exec 3<>/dev/tcp/$(address_of postgres-db)/5432; sleep 60" &
    retry 5 bash -c "conntrack -L 2>/dev/null | grep src=10.0.0.40 >/dev/null"
    security/explain.sh --save /run/state.json; jq -e ".host.open[\"10.0.0.40\"] == 1" /run/state.json
    security/policy.sh down >/dev/null; scripts/nat.sh down >/dev/null; scripts/network.sh down >/dev/null
    story redis-cache postgres-db 5432 --state /run/state.json | grep "dropped by the policy (database-closed)"
    echo "{" >/run/garbled.json; fails_with 3 "/run/garbled.json: not a state" security/explain.sh redis-cache postgres-db 5432 --state /run/garbled.json
    fails_with 1 "the lab is not up" security/explain.sh redis-cache postgres-db 5432
  '
  succeeds
}
