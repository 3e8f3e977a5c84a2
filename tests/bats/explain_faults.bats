#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# One healthy lab, each fault made by hand, explain asked, the fault undone: it names the cause, and the command
# that takes it away.

load helpers

# told_cause KIND CAUSE FIX FROM TO PORT: a probe and the state alone end with KIND; the probe's story names cause and
# fix. Each fault is asked about before the next one is made.
LAB_FOR_FAULTS='
  source tests/bats/inside_policy.bash
  policed_network
  listen postgres-db 5432; listen product-1 5000; listen nginx-lb 80
  mends() { scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null; }
  told_cause() {
    local live static
    live=$(security/explain.sh "${@:4}" --json) && [[ $1 != allowed ]] && echo "exit status 0: ${*:4}" && return 1
    static=$(security/explain.sh "${@:4}" --static --json) || [[ $? == 1 ]]
    jq -e --arg kind "$1" --arg cause "$2" --arg fix "$3" --argjson static "$static" "
      .outcome.kind == \$kind and \$static.predicted.kind == \$kind and ([.outcome, .warnings[]] | any(
        (.why // .what | contains(\$cause)) and (.fix | contains(\$fix))))" <<<"$live" >/dev/null || {
      echo "wanted: $*"; jq -c "[.outcome, .warnings, .kernel_trace]" <<<"$live"; jq -c .predicted <<<"$static"; return 1; }
  }
'

@test "links, namespaces and bridges that are broken by hand" {
  sandboxed "$LAB_FOR_FAULTS"'
    ip -n postgres-db link set veth-pg down
    told_cause "link down" "veth-pg in namespace postgres-db is down" "sudo ip -n postgres-db link set veth-pg up" order-service postgres-db 5432; mends
    ip link set veth-prd-svc-br down
    told_cause "link down" "veth-prd-svc-br on the host is down" "sudo ip link set veth-prd-svc-br up" api-gateway product-1 5000; mends
    ip link add br-other type bridge; ip link set veth-pg-br master br-other
    told_cause "not a port of its bridge" "veth-pg-br is a port of br-other" "sudo ip link set veth-pg-br master br-app" order-service postgres-db 5432; ip link del br-other; mends
    ip link set br-app down
    told_cause "link down" "br-app on the host is down" "sudo ip link set br-app up" api-gateway product-1 5000
    told_cause "link down" "br-app on the host is down" "sudo ip link set br-app up" world host 8080; mends
    ip netns del redis-cache
    told_cause "namespace missing" "there is no namespace redis-cache" "sudo make up" redis-cache postgres-db 5432
    told_cause "namespace missing" "there is no namespace redis-cache" "sudo make up" product-1 redis-cache 6379; mends
    ip -n order-service link set lo down
    told_cause allowed "lo is down in namespace order-service" "sudo ip -n order-service link set lo up" order-service postgres-db 5432; mends
    ip link set veth-api-br mtu 400
    told_cause allowed "lost at veth-api-br: its MTU is 400" "sudo ip link set veth-api-br mtu 1500" api-gateway product-1 5000; ip link set veth-api-br mtu 1500
    ip -n api-gateway link set veth-api mtu 400
    told_cause allowed "lost at veth-api: its MTU is 400" "sudo ip -n api-gateway link set veth-api mtu 1500" api-gateway product-1 5000
  '
  succeeds
}

@test "addresses and ARP that are broken by hand" {
  sandboxed "$LAB_FOR_FAULTS"'
    ip -n product2 addr add 10.0.0.60/16 dev veth-prod2
    told_cause allowed "10.0.0.60 is also an address of namespace product2" "sudo ip -n product2 addr del 10.0.0.60/16 dev veth-prod2" order-service postgres-db 5432; ip -n product2 addr del 10.0.0.60/16 dev veth-prod2
    ip addr add 10.0.0.60/32 dev br-app; ip -n postgres-db neigh flush all; ip -n order-service neigh flush all
    told_cause "wrong address" "10.0.0.60 is an address of namespace postgres-db and of the host (br-app)" "sudo ip addr del 10.0.0.60/32 dev br-app" order-service postgres-db 5432; mends
    ip -n api-gateway neigh replace 10.0.0.30 lladdr 02:42:0a:00:00:99 dev veth-api nud permanent
    told_cause "wrong address" "its real one is 02:42:0a:00:00:1e" "sudo ip -n api-gateway neigh del 10.0.0.30 dev veth-api" api-gateway product-1 5000
    ip -n api-gateway neigh del 10.0.0.30 dev veth-api
    ip -n product-service link set veth-prd-svc address 02:42:0a:00:00:77
    told_cause "wrong address" "has MAC 02:42:0a:00:00:77, the table" "address 02:42:0a:00:00:1e" api-gateway product-1 5000
    told_cause "wrong address" "has MAC 02:42:0a:00:00:77, the table" "address 02:42:0a:00:00:1e" product-1 redis-cache 6379; mends
    ip -n product2 addr del 10.0.0.31/16 dev veth-prod2
    told_cause "wrong address" "10.0.0.31 is not an address of namespace product2" "sudo ip -n product2 addr add 10.0.0.31/16" api-gateway product-2 5000; mends
    ip -n order-service addr del 10.0.0.40/16 dev veth-order-s
    told_cause "wrong address" "10.0.0.40 is not an address of namespace order-service" \
      "sudo ip -n order-service addr add 10.0.0.40/16" order-service postgres-db 5432; mends
    ip -n order-service addr add 10.0.0.60/32 dev lo
    told_cause "dropped by the policy" "10.0.0.60 is also an address of namespace order-service" "sudo ip -n order-service addr del 10.0.0.60/32 dev lo" api-gateway postgres-db 5432; ip -n order-service addr del 10.0.0.60/32 dev lo
    ip addr del 10.0.0.1/16 dev br-app
    told_cause "wrong address" "bridge br-app has no address 10.0.0.1/16" "sudo ip addr add 10.0.0.1/16 dev br-app" world host 8080
    told_cause "wrong address" "bridge br-app has no address 10.0.0.1/16" "sudo ip addr add 10.0.0.1/16 dev br-app" api-gateway world 80
    told_cause "wrong address" "bridge br-app has no address 10.0.0.1/16" "sudo ip addr add 10.0.0.1/16 dev br-app" host postgres-db 5432
  '
  succeeds
}

@test "routes, translation and switches that are broken by hand" {
  sandboxed "$LAB_FOR_FAULTS"'
    ip -n order-service route add 10.0.0.60/32 via 10.0.0.99
    told_cause "wrong route" "has a route to 10.0.0.60 that is not in the table: via 10.0.0.99" "sudo ip -n order-service route del 10.0.0.60 via 10.0.0.99" order-service postgres-db 5432
    { security/explain.sh order-service postgres-db 5432 || [[ $? == 1 ]]; } | grep "it never left namespace order-service: no reply to its ARP request for 10.0.0.99" >/dev/null
    ip -n order-service route del 10.0.0.60/32
    ip -n order-service route add 10.0.0.60/32 via 10.0.0.1
    told_cause allowed "has a route to 10.0.0.60 that is not in the table: via 10.0.0.1" "sudo ip -n order-service route del 10.0.0.60 via 10.0.0.1" order-service postgres-db 5432; ip -n order-service route del 10.0.0.60/32
    ip -n order-service route add blackhole 10.0.0.60/32
    told_cause "wrong route" "blackhole 10.0.0.60" "sudo ip -n order-service route del blackhole 10.0.0.60" order-service postgres-db 5432; ip -n order-service route del blackhole 10.0.0.60/32
    ip -n order-service rule add from 10.0.0.40 blackhole
    told_cause "wrong route" "routing rule that is not in the table: priority 32765 from 10.0.0.40 blackhole" "sudo ip -n order-service rule del priority 32765" order-service postgres-db 5432; ip -n order-service rule del pref 32765
    ip -n api-gateway route del default
    told_cause "no route" "namespace api-gateway has no route" "sudo ip -n api-gateway route add default via 10.0.0.1" api-gateway world 80; mends
    iptables-save -t nat >/run/nat; iptables -t nat -F CNET-POSTROUTING
    told_cause "no reply" "no host outside can reply" "sudo make up" redis-cache world 80
    told_cause "no reply" "no rule translates the source" "sudo make up" host host 8080
    ip neigh flush dev br-app # whoever asks as 127.0.0.1 learns no MAC
    told_cause "no reply" "no reply to its ARP request for 10.0.0.10; nat POSTROUTING: no rule translates the source" "sudo make up" host host 8080; iptables-restore </run/nat
    ip neigh flush dev br-app
    for interface in br-app uplink; do
      sysctl -qw "net.ipv4.conf.$interface.forwarding=0"
      told_cause "not forwarded by the host" "$interface.forwarding is 0" "$interface.forwarding=1 (or sudo make network)" world host 8080; mends
    done
    sysctl -qw net.ipv4.conf.br-app.route_localnet=0
    told_cause "no route" "route_localnet of br-app is 0" "net.ipv4.conf.br-app.route_localnet=1" host host 8080; mends
    ip link set br-app type bridge nf_call_iptables 0
    told_cause "allowed, AGAINST the policy" "line database-closed" "sudo make up" redis-cache postgres-db 5432; mends
    iptables-save -t security >/run/security; iptables -t security -F CNET-TO-10.0.0.60
    told_cause "allowed, AGAINST the policy" "line database-closed" "sudo make policies" redis-cache postgres-db 5432; iptables-restore </run/security
    iptables -t security -I CNET-TO-10.0.0.60 -j CNET-DROP-default
    told_cause "dropped by the policy" "though line database" "sudo make policies" order-service postgres-db 5432
  '
  succeeds
}

@test "rules of somebody else, and programs that do not answer" {
  sandboxed "$LAB_FOR_FAULTS"'
    iptables -I FORWARD 1 -s 10.0.0.20 -d 10.0.0.30 -j DROP
    told_cause "dropped by a rule that is not the lab'\''s" "-A FORWARD -s 10.0.0.20/32 -d 10.0.0.30/32 -j DROP" "sudo iptables -t filter -D FORWARD -s 10.0.0.20/32" api-gateway product-1 5000; iptables -D FORWARD 1
    in_node postgres-db iptables -A INPUT -p tcp --dport 5432 -j DROP
    told_cause "dropped by a rule that is not the lab'\''s" "in namespace postgres-db" "sudo ip netns exec postgres-db iptables -t filter -D INPUT" order-service postgres-db 5432; in_node postgres-db iptables -F
    nft "add table inet hold; add chain inet hold f { type filter hook forward priority 0; }; add rule inet hold f ip daddr 10.0.0.30 drop"
    security/explain.sh api-gateway product-1 5000 >/run/told || [[ $? == 1 ]]
    grep "inet hold f: ip daddr 10.0.0.30 drop" /run/told >/dev/null; grep "sudo nft delete rule inet hold f handle" /run/told >/dev/null
    refute grep "the chain.s policy" /run/told
    [[ $(security/explain.sh api-gateway product-1 5000 --static --json | jq -r .predicted.kind) == "unknown" ]]; nft delete table inet hold
    nft "add table inet hold; add chain inet hold f { type filter hook forward priority 0; policy drop; }"
    security/explain.sh api-gateway product-1 5000 >/run/told || [[ $? == 1 ]]
    grep "the policy of chain f drops: nft list chain inet hold f shows it" /run/told >/dev/null; nft list chain inet hold f >/dev/null; nft delete table inet hold
    iptables -t nat -I PREROUTING -p tcp --dport 8080 -j REDIRECT --to-ports 9999
    told_cause "redirected by a rule that is not the lab'\''s" "REDIRECT --to-ports 9999" "sudo iptables -t nat -D PREROUTING" world host 8080; iptables -t nat -D PREROUTING 1
    iptables -t mangle -I FORWARD -p tcp -m tcp --sport 5432 -j DROP
    told_cause "no reply" "--sport 5432 -j DROP" "sudo iptables -t mangle -D FORWARD" order-service postgres-db 5432; iptables -t mangle -D FORWARD 1
    iptables -I FORWARD -p tcp --dport 5432 -m hashlimit --hashlimit-above 100/sec --hashlimit-mode srcip --hashlimit-name many -j DROP
    [[ $(security/explain.sh order-service postgres-db 5432 --static --json | jq -r .predicted.kind) == "unknown" ]]
    security/explain.sh order-service postgres-db 5432 >/run/told; grep "not simulated: iptables -t filter -A FORWARD .*--hashlimit-above" /run/told >/dev/null; iptables -D FORWARD 1
    kill -STOP "$(in_node product-1 ss -Hltnp sport = :5000 | sed -E "s/.*pid=([0-9]+).*/\1/")"
    told_cause allowed "is stopped (SIGSTOP)" "sudo kill -CONT" api-gateway product-1 5000
    kill -KILL "$(in_node nginx-lb ss -Hltnp sport = :80 | sed -E "s/.*pid=([0-9]+).*/\1/")"
    told_cause "no listener" "on port 80" "NODE=nginx-lb" world host 8080
  '
  succeeds
}

@test "what cannot be asked is refused in the words of make, names are taken for what they are" {
  sandboxed "$LAB_FOR_FAULTS"'
    story() { security/explain.sh "$@" || [[ $? == 1 ]]; }
    story 10.0.0.40 postgres postgres | grep "^order-service -> postgres-db tcp/5432: allowed" >/dev/null
    story order-service postgres-db postgresql | grep "tcp/5432: allowed" >/dev/null
    story world nginx-lb 8080 | grep "sudo make explain FROM=world TO=host PORT=8080" >/dev/null
    story world nginx-lb 80 | grep "sudo make explain FROM=world TO=host PORT=8080" >/dev/null
    fails_with 2 "FROM=nowhere is not a node" security/explain.sh nowhere postgres-db 5432
    fails_with 2 "PORT=mail-of-old is neither a port" security/explain.sh order-service postgres-db mail-of-old
    fails_with 2 "PORT=70000 is not a port" security/explain.sh order-service postgres-db 70000
    fails_with 2 "PORT is not given" security/explain.sh order-service postgres-db
    refute make explain FROM=world PORT=80 2>/run/said; grep "explain: TO is not given; for example: sudo make explain FROM=" /run/said >/dev/null
    security/explain.sh redis-cache postgres-db 5432 --json 2>/run/said | { read -rn 1 _; } || :
    scripts/report.sh health --json 2>>/run/said | { read -rn 1 _; } || :
    [[ ! -s /run/said ]] || { cat /run/said; exit 1; }
  '
  succeeds
}
