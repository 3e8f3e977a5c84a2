#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The registry over HTTP and DNS: who may say what, how soon the dead are gone, and what a restart loses.

load helpers

setup_file() { share_lab 'scripts/network.sh up && scripts/services.sh up'; }

FUNCTIONS='registry=http://10.0.0.70:8500
from() { nsenter --net="/run/netns/$1" -- "${@:2}"; }
say_register() { curl -s -w "%{http_code}" -H "Content-Type: application/json" -d "$1" $registry/register | tr -d "\n"; }
passing() { curl -fsS "$registry/discover/$1?all=1" | jq "map(select(.health == \"passing\")) | length"; }
passing_is() { [[ $(passing "$1") == "$2" ]]; }
gunicorns() { pgrep -f "[g]unicorn -c" -u "$(stat -c %u "/var/opt/cnet/nodes/$1")"; }
dns() { .venv/bin/python -m dnslib.client --server 10.0.0.70 --short "$@"; }
answer() { .venv/bin/python -m dnslib.client --server 10.0.0.70 "$@"; }
retry 5 passing_is product-service 3
'

@test "services register themselves, with instance and health; the stores are there by configuration" {
  in_lab "$FUNCTIONS"'
    curl -fsS $registry/services | tee /dev/stderr | jq -e "
      (.\"product-service\" | map(.instance_id) == [\"product-1\", \"product-2\", \"product-3\"] and all(.health == \"passing\"))
      and has(\"api-gateway\") and has(\"order-service\") and has(\"redis-cache\") and has(\"postgres-db\") and has(\"nginx-lb\")"
    for _ in {1..6}; do curl -fsS $registry/discover/product-service | jq -r .ip; done | sort | uniq -c | awk "{ print \$1 }" | tr "\n" " " | grep "2 2 2"
    curl -fsS $registry/discover/product-service | jq -e "keys == [\"health\", \"ip\", \"port\", \"registered_at\"]"
    curl -s $registry/discover/nobody | jq -e ".error == \"Service not found\""
  '
  succeeds
}

@test "an instance registers, renews and removes only itself; the host may remove" {
  in_lab "$FUNCTIONS"'
    [[ $(say_register "{\"name\":\"p\",\"ip\":\"10.0.0.30\",\"port\":5000}") == *\"ip\"*403 ]]
    [[ $(from product2 curl -s -w "%{http_code}" -X PUT $registry/heartbeat/product-service/product-1) == *403 ]]
    [[ $(from product2 curl -s -w "%{http_code}" -X DELETE $registry/deregister/product-service/product-1) == *403 ]]
    [[ $(from product2 curl -s -w "%{http_code}" -H "Content-Type: application/json" $registry/register \
      -d "{\"name\":\"postgres-db\",\"ip\":\"10.0.0.31\",\"port\":5000}") == *configured*409 ]]
    [[ $(curl -s -w "%{http_code}" -X DELETE $registry/deregister/postgres-db) == *404 ]]
    from product2 curl -fsS -H "Content-Type: application/json" $registry/register \
      -d "{\"name\":\"product-service\",\"instance_id\":\"product-2\",\"ip\":\"10.0.0.31\",\"port\":5000,\"ttl\":3}" |
      jq -e ".status == \"registered\" and .service == \"product-service\""
    curl -fsS -X DELETE $registry/deregister/product-service/product-2 | jq -e ".status == \"deregistered\""
    retry 5 passing_is product-service 3 # it registers again
    for body in "{\"name\":\"P!\"}:name" "{\"name\":\"p\",\"ip\":\"127.0.0.1\"}:ip" "{\"name\":\"p\",\"ip\":\"10.0.0.1\",\"port\":0}:port" \
      "{\"name\":\"p\",\"ip\":\"10.0.0.1\",\"port\":80,\"ttl\":0}:ttl" "{\"x\":1}:x" "[]:body"; do
      [[ $(say_register "${body%:*}") == *"\"field\": \"${body##*:}\""*400 ]] || { say_register "${body%:*}"; exit 1; }
    done
  '
  succeeds
}

@test "the stopped and the killed leave discovery within a second, the list within five, and come back" {
  in_lab "$FUNCTIONS"'
    mapfile -t pids < <(gunicorns product-2)
    kill -STOP "${pids[@]}"
    begin=${EPOCHREALTIME/./}
    retry 3 passing_is product-service 2
    took=$(((${EPOCHREALTIME/./} - begin) / 1000)); echo "critical after $took ms"; ((took < 1500))
    dns product-service.lab | sort | tr "\n" " " | grep "^10.0.0.30 10.0.0.32 $"
    retry 6 eval "[[ \$(curl -fsS \"$registry/discover/product-service?all=1\" | jq length) == 2 ]]"
    took=$(((${EPOCHREALTIME/./} - begin) / 1000)); echo "gone after $took ms"; ((took < 6500))
    answer product-2.product-service.lab | grep NXDOMAIN
    kill -CONT "${pids[@]}"; echo goes on
    retry 5 passing_is product-service 3; echo is back
    times() { grep -c "product-2 is critical" /var/opt/cnet/log/service-registry.log; }
    sleep 1; before=$(times)
    for _ in {1..8}; do # as often as the supervisor starts it: once alone may pass between two checks
      pids=$(gunicorns product-2) && kill -9 $pids || :
      sleep 0.2
    done
    retry 10 eval "(( \$(times) > before ))"; echo was out
    retry 10 passing_is product-service 3
  '
  succeeds
}

@test "a registration without heartbeats lives as long as it answers" {
  in_lab "$FUNCTIONS"'
    ip -n redis-cache addr add 10.0.0.200/16 dev veth-redis # an address that is not in the table: others may register only what runs there
    nsenter --net=/run/netns/redis-cache -- python3 -c "
import http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *a): pass
socketserver.TCPServer((\"10.0.0.200\", 9000), Handler).serve_forever()" & server=$!
    retry 5 curl -fs http://10.0.0.200:9000/health
    from redis-cache curl -fsS --interface 10.0.0.200 -H "Content-Type: application/json" $registry/register -d "{\"name\":\"p\",\"ip\":\"10.0.0.200\",\"port\":9000}"
    sleep 5
    curl -fsS $registry/discover/p | jq -e ".health == \"passing\""
    kill "$server"
    retry 2 eval "[[ \$(curl -s -o /dev/null -w \"%{http_code}\" $registry/discover/p) == 503 ]]"
    retry 6 eval "[[ \$(curl -s -o /dev/null -w \"%{http_code}\" $registry/discover/p) == 404 ]]"
  '
  succeeds
}

@test "kill -9 of the registry loses no registration" {
  in_lab "$FUNCTIONS"'
    curl -fsS "$registry/discover/product-service?all=1" | jq -c "map([.instance_id, .registered_at])" >/run/before
    kill -STOP $(gunicorns product-3) # so that it cannot register again
    kill -9 $(gunicorns service-registry)
    retry 10 curl -fs -o /dev/null $registry/health
    curl -fsS "$registry/discover/product-service?all=1" | jq -c "map([.instance_id, .registered_at])" | tee /dev/stderr | cmp - /run/before
    kill -CONT $(gunicorns product-3)
  '
  succeeds
}

@test "a change is told at once to who waits for it, and nobody waits for ever" {
  in_lab "$FUNCTIONS"'
    index=$(curl -fsS -D - -o /dev/null "$registry/discover/product-service?all=1" | tr -d "\r" | awk "tolower(\$1) == \"x-index:\" { print \$2 }")
    [[ $index =~ ^[0-9]+$ ]]
    begin=$SECONDS; curl -fsS -o /dev/null "$registry/discover/product-service?all=1&index=$index&wait=2"; ((SECONDS - begin >= 1 && SECONDS - begin <= 3))
    curl -fsS "$registry/discover/product-service?all=1&index=$index&wait=30" >/run/told & waiter=$!
    sleep 0.5; kill -0 "$waiter"
    curl -fsS -X DELETE $registry/deregister/product-service/product-1
    begin=${EPOCHREALTIME/./}; wait "$waiter"; (((${EPOCHREALTIME/./} - begin) < 500000))
    jq -e "map(.instance_id) == [\"product-2\", \"product-3\"]" /run/told
    for query in "index=x" "index=-1" "index=1&wait=61" "index=1&wait=nan"; do
      curl -s "$registry/discover/product-service?$query" | jq -e .field
    done
  '
  succeeds
}

@test "DNS: A and SRV, UDP and TCP, NXDOMAIN and no data, reverse, in every namespace" {
  in_lab "$FUNCTIONS"'
    for name in order-service redis-cache product3; do
      ip netns exec $name getent ahostsv4 product-service.lab | awk "/STREAM/ { print \$1 }" | sort | tr "\n" " " | grep "^10.0.0.30 10.0.0.31 10.0.0.32 $"
    done
    dns PRODUCT-service.LAB SRV | sort | tee /dev/stderr | sed -n 1p | grep "^0 1 5000 product-1.product-service.lab."
    dns --tcp _product-service._tcp.lab SRV | wc -l | grep "^3$"
    dns product-2.product-service.lab | grep "^10.0.0.31$"
    dns --tcp postgres-db.lab | grep "^10.0.0.60$"
    ip netns exec nginx-lb getent hosts 10.0.0.31 | grep product-2.product-service.lab
    answer nowhere.lab | tee /dev/stderr | grep -A9 NXDOMAIN | grep SOA
    answer product-service.lab AAAA | tee /dev/stderr | grep "NOERROR"
    answer product-service.lab AAAA | grep SOA
    answer product-service.lab | grep -E "^product-service.lab. +1 +IN"
    answer lab SOA | grep "service-registry.lab"
  '
  succeeds
}

@test "what is not the lab'\''s is forwarded, over UDP and TCP; when nobody answers, SERVFAIL" {
  in_lab "$FUNCTIONS"'
    scripts/nat.sh up >/dev/null
    answer example.com | grep SERVFAIL
    nsenter --net=/run/netns/world -- .venv/bin/python -c "
from dnslib.server import DNSServer, DNSLogger
from dnslib.fixedresolver import FixedResolver
resolver = FixedResolver(\". 60 IN A 192.0.2.7\")
for tcp in (False, True):
    server = DNSServer(resolver, address=\"203.0.113.2\", port=53, tcp=tcp, logger=DNSLogger(\"-request,-reply\"))
    server.start_thread()
import time; time.sleep(60)" & 
    retry 5 eval "dns example.com | grep \"^192.0.2.7$\""
    dns --tcp example.com | grep "^192.0.2.7$"
    ip netns exec redis-cache getent hosts www.example.com | grep 192.0.2.7
  '
  succeeds
}

@test "hostile packets do not stop the DNS server, nor get an answer that is larger than they are" {
  in_lab "$FUNCTIONS"'
    .venv/bin/python - <<EOF
import random, socket, struct
from dnslib import DNSRecord
random.seed(3)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.settimeout(0.3)
good = DNSRecord.question("product-service.lab").pack()
for number in range(400):
    packet = bytearray(good)
    for _ in range(random.randrange(1, 8)): packet[random.randrange(2, len(packet))] = random.randrange(256)
    udp.sendto(bytes(packet[:random.randrange(1, len(packet) + 1)]), ("10.0.0.70", 53))
udp.sendto(DNSRecord.question("product-service.lab").reply().pack(), ("10.0.0.70", 53))
tcp = [socket.create_connection(("10.0.0.70", 53)) for _ in range(50)]
for connection in tcp: connection.send(b"\xff\xff half")
EOF
    dns product-service.lab | wc -l | grep "^3$"
    dns --tcp product-service.lab | wc -l | grep "^3$"
    refute grep -l Traceback /var/opt/cnet/log/service-registry.log
  '
  succeeds
}

@test "a resolv.conf of somebody else'\''s is not overwritten, and the lab'\''s go with down" {
  sandboxed '
    scripts/network.sh up >/dev/null
    mkdir -p /etc/netns/redis-cache; echo "nameserver 192.0.2.53" >/etc/netns/redis-cache/resolv.conf
    fails_with 1 "/etc/netns/redis-cache/resolv.conf is not the lab" scripts/services.sh up
    grep 192.0.2.53 /etc/netns/redis-cache/resolv.conf
    rm -r /etc/netns/redis-cache
    scripts/services.sh up &>/dev/null
    rm /etc/netns/redis-cache/resolv.conf
    refute scripts/services.sh status >/run/status
    grep "namespace redis-cache uses 10.0.0.70 for DNS" /run/status
    scripts/services.sh down >/dev/null
    [[ ! -e /etc/netns ]]
  '
  succeeds
}

@test "verify asks for names as each program does: a program that reads another resolver is named" {
  in_lab "$FUNCTIONS"'
    scripts/nat.sh up >/dev/null
    scripts/verify.sh services >/run/proof || { cat /run/proof; exit 1; }
    echo nameserver 192.0.2.53 >/run/other
    pid=$(scripts/services.sh status | awk "\$2 == \"redis-cache\" { print \$NF }")
    nsenter --target "$pid" --mount bash -c "cat >/tmp/other && mount --bind /tmp/other /etc/netns/resolv.conf" </run/other
    refute scripts/verify.sh services >/run/proof 2>&1
    cat /run/proof
  '
  succeeds
  says "redis-cache: product-service.lab does not resolve"
  [[ $output =~ order-service\ +product-service.lab\ is\ 10.0.0.30\ 10.0.0.31\ 10.0.0.32 ]]
}
