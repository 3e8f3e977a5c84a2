#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The services of a table that has both families: where they listen, how they are found, and what a cut family costs.

load helpers

setup_file() {
  dual_table >"$BATS_FILE_TMPDIR/dual.tsv"
  export TOPOLOGY=$BATS_FILE_TMPDIR/dual.tsv
  share_lab 'scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up'
}

FUNCTIONS='shop=http://10.0.0.10 registry=http://10.0.0.70:8500
from() { nsenter --net="/run/netns/$1" -- "${@:2}"; }
dns() { # SERVER NAME TYPE [tcp]: the answer code, then the data of its records
  from redis-cache .venv/bin/python -c "
import sys; from dnslib import DNSRecord, RCODE
server, name, kind, *tcp = sys.argv[1:]
answer = DNSRecord.parse(DNSRecord.question(name, kind).send(server, timeout=3, tcp=bool(tcp), ipv6=\":\" in server))
print(RCODE[answer.header.rcode], *sorted(str(record.rdata) for record in answer.rr))" "$@"
}
passing() { curl -fsS "$registry/services" | jq "[.[][] | select(.health == \"passing\")] | length"; }
all_pass() { [[ $(passing) == 9 ]]; }
cut_off() { # ipv4|ipv6 NAMESPACE...: drop every packet of this family in and out of the namespaces
  local chain
  for namespace in "${@:2}"; do
    from "$namespace" nft add table inet cut
    for chain in input output; do
      from "$namespace" nft add chain inet cut $chain "{ type filter hook $chain priority 0; }"
      from "$namespace" nft add rule inet cut $chain iifname != lo oifname != lo meta nfproto "$1" drop
    done
  done
}
restore() { for namespace in "$@"; do from "$namespace" nft delete table inet cut; done; }
order() { # ID: order this product; print the status and the seconds
  local body="{\"customer_id\":\"c\",\"product_id\":\"$1\",\"quantity\":1,\"total_price\":10}"
  timed -H "Content-Type: application/json" -d "$body" $shop/api/orders
}
list_products() { timed $shop/api/products; }
timed() { curl -s -o /run/answer -w "%{http_code} %{time_total}\n" "$@"; }
quick() { # STATUS COMMAND...: it has this status, in less than a second
  local status seconds
  read -r status seconds < <("${@:2}")
  [[ $status == "$1" && $seconds == 0.* ]] || { echo "${*:2}: $status in $seconds s: $(</run/answer)" && return 1; }
}
products="product-service product2 product3"
retry 5 all_pass
'

@test "each service listens in both families and answers another node" {
  in_lab "$FUNCTIONS"'
    source scripts/lib/topology.sh; load_topology
    for node in "${NODES[@]}"; do
      for item in ${LISTENS[$node]//,/ }; do
        [[ $item == */tcp ]] || continue
        for address in "${ADDRESS[$node]%/*}" "${ADDRESS6[$node]%/*}"; do
          other=redis-cache; [[ $node != redis-cache ]] || other=nginx-lb
          from "$other" timeout 2 bash -c "</dev/tcp/$address/${item%/*}" ||
            echo "$node does not answer at $address ${item%/*}"
        done
      done
    done
    for place in 20]:3000/health 31]:5000/products 10]/api/products/1 70]:8500/ready; do
      from redis-cache curl -gfsS -m 2 "http://[fd00:cafe::$place" | jq -c . >/dev/null
    done
  '
  succeeds
  [[ $output != *"does not answer"* ]]
}

@test "names have A, AAAA and PTR records, over UDP and TCP of both families; no data is not NXDOMAIN" {
  in_lab "$FUNCTIONS"'
    for server in 10.0.0.70 fd00:cafe::70; do
      for tcp in "" tcp; do
        [[ $(dns $server product-service.lab AAAA $tcp) == "NOERROR fd00:cafe::30 fd00:cafe::31 fd00:cafe::32" ]]
        [[ $(dns $server product-2.product-service.lab A $tcp) == "NOERROR 10.0.0.31" ]]
        [[ $(dns $server postgres-db.lab AAAA $tcp) == "NOERROR fd00:cafe::60" ]]
        [[ $(dns $server nowhere.lab AAAA $tcp) == NXDOMAIN ]]
      done
      for name in 31.0.0.10.in-addr.arpa 1.3.$(printf "%.s0." {1..22})e.f.a.c.0.0.d.f.ip6.arpa; do
        [[ $(dns $server $name PTR) == "NOERROR product-2.product-service.lab." ]]
      done
    done
    scripts/contain.sh exec product-1 getent ahostsv6 redis-cache.lab | grep "^fd00:cafe::50 "
    cut_off ipv4 service-registry
    [[ $(ip netns exec nginx-lb getent hosts fd00:cafe::60) == *postgres-db.postgres-db.lab ]] # by the second resolver
    curl -gs -m 2 -H "Content-Type: application/json" -d "{\"name\":\"x\",\"ip\":\"fd00:cafe::30\",\"port\":1}" \
      "http://[fd00:cafe::70]:8500/register" | jq -e ".field == \"ip\"" # it is not the address of the sender
    restore service-registry
  '
  succeeds
}

@test "verify tries both families of each service, and names the one that does not answer" {
  in_lab "$FUNCTIONS"'
    scripts/verify.sh services >/run/verify
    [[ $(grep -c "product-service.lab is fd00:cafe::30 fd00:cafe::31 fd00:cafe::32" /run/verify) == 9 ]]
    cut_off ipv6 redis-cache product2
    refute scripts/verify.sh services >/run/verify
    .venv/bin/python -m monitoring.health --once >/run/health || :
    restore redis-cache product2
    grep FAIL /run/verify
    grep IPv6 /run/health
  '
  succeeds
  says "redis-cache accepts connections: [fd00:cafe::50]:6379 accepts no connection"
  says "product-2 GET /health: expected 200"
  says "DEGRADED  redis-cache"
}

@test "an instance that scaling adds is found in both families, and one that it removes leaves no entry of IPv6" {
  in_lab "$FUNCTIONS"'
    unset TOPOLOGY # scale then continues with the table of the running lab
    scripts/scale.sh product-service 4 &>/dev/null
    retry 5 eval "dns 10.0.0.70 product-4.product-service.lab AAAA | grep -x \"NOERROR fd00:cafe::33\""
    curl -fsS "$registry/discover/product-service?all=1" | jq -e "map(.ip6) | index(\"fd00:cafe::33\") == 3"
    curl -gfsS -o /dev/null "http://[fd00:cafe::33]:5000/health"
    conntrack -L -f ipv6 2>/dev/null | grep -F fd00:cafe::33 >/dev/null
    scripts/scale.sh product-service 3 &>/dev/null
    [[ $(dns 10.0.0.70 product-4.product-service.lab AAAA) == NXDOMAIN ]]
    refute grep -F fd00:cafe::33 <(conntrack -L -f ipv6 2>/dev/null)
  '
  succeeds
}

@test "without IPv4 the services find each other and take an order over IPv6" {
  in_lab "$FUNCTIONS"'
    cut_off ipv4 $products postgres-db redis-cache order-service
    sleep 4 # longer than a lease
    all_pass
    for id in 1 2 3; do quick 400 order "missing-$RANDOM"; quick 201 order "$id"; quick 200 list_products; done
    restore $products postgres-db redis-cache order-service
  '
  succeeds
}

@test "when IPv6 is cut under open connections no request fails or takes a second, and afterwards IPv6 is first again" {
  in_lab "$FUNCTIONS"'
    open() { from "$1" ss -Htn state established dst "[$2]" | grep -c . || :; }
    for n in {1..12}; do list_products; order 1; done >/dev/null
    (($(open api-gateway fd00:cafe::40) > 0 && $(open order-service fd00:cafe::60) > 0))
    cut_off ipv6 $products postgres-db redis-cache order-service
    for n in {1..12}; do quick 200 list_products; quick 201 order 1; quick 400 order "missing-$RANDOM"; done
    sleep 4
    all_pass
    for n in {1..12}; do quick 200 list_products; quick 201 order 2; done
    restore $products postgres-db redis-cache order-service
    sleep 11 # IPv6 comes second for ten seconds
    for node in product-service product2 product3; do from $node ss -HKtn sport = :5000 >/dev/null; done
    for n in {1..12}; do quick 200 list_products; done
    (($(open api-gateway fd00:cafe::30) > 0))
  '
  succeeds
}

@test "a registry that is cut off in one family loses no lease" {
  in_lab "$FUNCTIONS"'
    for family in ipv4 ipv6; do
      [[ $family == ipv6 ]] || registry="http://[fd00:cafe::70]:8500"
      cut_off $family service-registry
      sleep 5
      curl -gfsS "$registry/services" >/run/services
      [[ $(jq "[.[][] | select(.health == \"passing\")] | length" /run/services) == 9 ]]
      restore service-registry
      registry=http://10.0.0.70:8500
    done
  '
  succeeds
}
