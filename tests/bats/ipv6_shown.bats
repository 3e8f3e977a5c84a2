#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# What the lab shows of a table with both families: status, connections, topology, captures, rules.

load helpers

setup_file() {
  export TOPOLOGY=dual
  share_lab 'scripts/network.sh up && scripts/nat.sh up'
}

# A web server in nginx-lb; the world has IPv6.
WEB='
  ip -n world addr replace 2001:db8:1::2/64 dev uplink nodad
  ip addr replace 2001:db8:1::1/64 dev uplink nodad
  ip -6 route replace default via 2001:db8:1::2
  scripts/nat.sh up >/dev/null
  nsenter --net=/run/netns/nginx-lb python3 lab/echo_address.py :: 80 & retry 10 listens 80 nginx-lb
  from() { ip netns exec "$1" curl -gfsS -m 3 "http://$2/" >/dev/null; } # NAMESPACE URL
'

@test "status shows both addresses of a node, and the rules of both tools with their counters" {
  forwards_by_interface
  in_lab "$WEB"'
    from world "[2001:db8:1::1]:8080"
    refute scripts/lab.sh status >/run/status # no service runs
    grep -E "^redis-cache +redis-cache +10\.0\.0\.50/16 fd00:cafe::50/64 +veth-redis " /run/status
    grep -E "^ +1 +80  ip6tables nat +CNET-PUBLISH +nginx-lb: forward port 8080" /run/status
    refute scripts/lab.sh status --json >/run/json
    jq -e ".nodes | any(.address6 == \"fd00:cafe::50/64\")" /run/json
    jq -e ".rules | any(.table == \"ip6tables nat\" and .packets == 1 and .chain == \"CNET-PUBLISH\")" /run/json
    .venv/bin/python tests/lab/validate_json.py status </run/json
  '
  succeeds
}

@test "a table without IPv6 shows no rule of ip6tables and no IPv6 address" {
  sandboxed '
    export TOPOLOGY=flat
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    refute scripts/lab.sh status >/run/status
    grep -E "^redis-cache +redis-cache +10\.0\.0\.50/16       veth-redis " /run/status
    refute grep -E "ip6tables|::" /run/status
    refute scripts/lab.sh status --json >/run/json
    jq -e ".nodes | all(.address6 == null)" /run/json
  '
  succeeds
}

@test "connections of IPv6 are shown by the names of the services" {
  forwards_by_interface
  in_lab "$WEB"'
    from world "[2001:db8:1::1]:8080"
    curl -gfsS -m 3 "http://[fd00:cafe::1]:8080/" >/dev/null
    scripts/report.sh connections --json >/run/json
    jq -e "[.pairs[] | select(.destination == \"nginx-lb\") | .source] - [\"2001:db8:1::2\", \"host\"] == []" /run/json
    jq -e ".translations | any(.sent | startswith(\"[2001:db8:1::2]:\"))" /run/json
    jq -e ".translations | any(.sent | startswith(\"host:\"))" /run/json
    jq -e ".unread == {}" /run/json
  '
  succeeds
}

@test "the topology shows both addresses, what each family misses, and the published port of each" {
  in_lab '
    scripts/report.sh topology >/run/shown
    grep -E "^redis-cache .* 10\.0\.0\.50/16 fd00:cafe::50/64 .* up$" /run/shown
    grep -E "^bridge +br-app 10\.0\.0\.1/16 fd00:cafe::1/64$" /run/shown
    grep -F "8080/tcp → nginx-lb:80" /run/shown | grep -c "(IPv6)"
    ip -n redis-cache addr del fd00:cafe::50/64 dev veth-redis
    ip netns del product2
    ip6tables -t nat -F CNET-PUBLISH
    scripts/report.sh topology >/run/shown
    grep -E "^redis-cache .* fd00:cafe::50/64 is missing$" /run/shown
    grep -E "^product-2 .* 10\.0\.0\.31/16 fd00:cafe::31/64 .* missing" /run/shown
    refute grep "(IPv6)" /run/shown
    REPORTS=/run/drawn scripts/report.sh topology >/dev/null; grep -c "fd00:cafe::50/64" /run/drawn/topology.svg
  '
  succeeds
}

@test "a capture has each packet of IPv6 once, and its tables name the services" {
  forwards_by_interface
  in_lab "$WEB"'
    export REPORTS=/run/reports
    ip neigh flush dev br-app
    monitoring/capture.sh up 2>/dev/null
    for _ in 1 2 3; do from world "[2001:db8:1::1]:8080"; done
    ip netns exec redis-cache ping -qc1 -W1 fd00:cafe::60 >/dev/null
    monitoring/capture.sh down 2>/dev/null
    .venv/bin/python -m monitoring.traffic --only-csv --reports /run/reports "$(monitoring/capture.sh files)" >/dev/null
    cd /run/reports
    grep -E "^2001:db8:1::2,nginx-lb,([0-9]+,){2}3,0,3,0,0," conversations.csv # three SYN, three FIN
    grep -E "^nginx-lb,2001:db8:1::2,([0-9]+,){2}0,3,3,0,0," conversations.csv
    grep "^redis-cache,postgres-db,1," conversations.csv
    grep "^host,ff02::1:ff00:10,1," conversations.csv # asked from the link-local address of the bridge
  '
  succeeds
}

@test "make rules explains the rules of ip6tables, by the names of the services" {
  in_lab '
    scripts/report.sh rules >/run/rules
    awk -F "\t" "\$1 == \"ip6tables nat\" && \$2 == \"CNET-PUBLISH\"" /run/rules
    scripts/report.sh rules --json >/run/json
    .venv/bin/python tests/lab/validate_json.py rules </run/json
    jq -e "[.rows[] | select(.table | startswith(\"ip6tables \"))] | length >= 20" /run/json
    jq -e ".unread == []" /run/json
    TOPOLOGY=flat scripts/report.sh rules >/run/rules
    refute grep ip6tables /run/rules
  '
  succeeds
  says "are forwarded to nginx-lb (fd00:cafe::10) port 80."
}

@test "status names a rule of ip6tables and one of nft that drop IPv6 of the lab, each with its removal" {
  sandboxed '
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    ip6tables -t mangle -A FORWARD -d fd00:cafe::10/128 -p tcp -j DROP
    nft "add table inet t; add chain inet t f { type filter hook forward priority 10; }"
    nft "add rule inet t f ip6 saddr fd00:cafe::50 drop; add rule inet t f ip6 saddr fd00:beef::50 drop"
    refute scripts/lab.sh status >/run/status
    grep ^foreign /run/status >/run/foreign
    cat /run/foreign
    [[ $(wc -l </run/foreign) == 2 ]]
    sed -n "s/.*remove it: //p" /run/foreign | while read -r command; do eval "${command#sudo }"; done
    refute scripts/lab.sh status >/run/status
    refute grep ^foreign /run/status
    TOPOLOGY=flat scripts/network.sh up >/dev/null; ip6tables -A FORWARD -d fd00:cafe::10/128 -j DROP
    TOPOLOGY=flat scripts/lab.sh status >/run/status || :
    refute grep ^foreign /run/status # a table without IPv6
  '
  succeeds
  says "rule ip6tables mangle -A FORWARD -d fd00:cafe::10/128 -p tcp -j DROP; it is not"
  says "remove it: sudo ip6tables -t mangle -D FORWARD -d fd00:cafe::10/128 -p tcp -j DROP"
  says "ip6 saddr fd00:cafe::50 drop"
}

# Two bridges, a node on each, columns as in topology/dual.tsv.
TWO_BRIDGES='
  { sed -n "/^kind/p" topology/dual.tsv
    for side in 1 2; do
      printf "%s\t" bridge "br-$side" - "10.9.$side.1/24" "fd00:$side::1/64" - - - - -; echo -
      printf "%s\t" node "n$side" "n$side" "10.9.$side.9/24" "fd00:$side::9/64" eth0 "port$side" "br-$side" - -; echo -
    done; } >/run/two.tsv
  export TOPOLOGY=/run/two.tsv
'

@test "a packet that the host routes from one bridge to another is captured once" {
  forwards_by_interface
  sandboxed "$TWO_BRIDGES"'
    export REPORTS=/run/reports
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    monitoring/capture.sh up 2>/dev/null
    ip netns exec n1 ping -qc1 -W1 fd00:2::9 >/dev/null
    ip netns exec n1 ping -qc1 -W1 10.9.2.9 >/dev/null
    monitoring/capture.sh down 2>/dev/null
    .venv/bin/python -m monitoring.traffic --only-csv --reports /run/reports "$(monitoring/capture.sh files)" >/dev/null
    grep "^n1,n2,2," /run/reports/conversations.csv # one of each family
  '
  succeeds
}
