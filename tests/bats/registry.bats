#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The registry under attack: slow and endless peers, names of others, damaged files, a full disk, too many connections.

load helpers

setup_file() { share_lab 'scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up'; }

FUNCTIONS='registry=http://10.0.0.70:8500
state=/var/opt/cnet/nodes/service-registry
log=/var/opt/cnet/log/service-registry.log
from() { nsenter --net="/run/netns/$1" -- "${@:2}"; }
passing() { curl -fsS -m 2 "$registry/discover/$1?all=1" | jq "map(select(.health == \"passing\")) | length"; }
passing_is() { [[ $(passing "$1") == "$2" ]]; }
control() { .venv/bin/supervisorctl -c /run/cnet/supervisord.conf "$@"; }
gunicorns() { pgrep -f "[g]unicorn -c" -u "$(stat -c %u "/var/opt/cnet/nodes/$1")"; }
memory() { for pid in $(gunicorns service-registry); do awk "/VmRSS/ { print \$2 }" "/proc/$pid/status"; done | sort -n | tail -1; }
claim() { # NAMESPACE ADDRESS PORT NAME ID: the status of a registration
  from "$1" curl -s -m 5 -o /run/answer -w "%{http_code}" --interface "$2" -H "Content-Type: application/json" $registry/register \
    -d "{\"name\":\"$4\",\"instance_id\":\"$5\",\"ip\":\"$2\",\"port\":$3,\"ttl\":3}"
}
retry 10 passing_is product-service 3
'

@test "a peer that drips or never ends its answer delays the checks of nobody else, and takes no memory" {
  in_lab "$FUNCTIONS"'
    cat >/run/peer.py <<END
import socket, sys, threading, time
def serve(connection, kind):
    try:
        connection.recv(1000)
        if kind == "body":
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True: connection.sendall(bytes(1000000))
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 100000: connection.sendall(bytes([byte])); time.sleep(0.3)
    except OSError: pass
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
while True: threading.Thread(target=serve, args=(server.accept()[0], sys.argv[3]), daemon=True).start()
END
    control stop product-2 order-service
    from product2 python3 /run/peer.py 10.0.0.31 5000 body & from order-service python3 /run/peer.py 10.0.0.40 5000 drip &
    beat() { while :; do claim product2 10.0.0.31 5000 product-service product-2; claim order-service 10.0.0.40 5000 order-service order-service; sleep 1; done; }
    retry 5 eval "[[ \$(claim product2 10.0.0.31 5000 product-service product-2) == 200 ]]"
    beat &>/dev/null &
    before=$(memory)
    sleep 5
    passing_is product-service 3 # its status is 200: the body is nobody else'\''s business
    curl -fsS "$registry/discover/order-service?all=1" | jq -e ".[0].health == \"critical\""
    kill -STOP $(gunicorns product-3)
    begin=${EPOCHREALTIME/./}
    retry 3 passing_is product-service 2
    took=$(((${EPOCHREALTIME/./} - begin) / 1000)); echo "critical after $took ms"; ((took < 2000))
    kill -CONT $(gunicorns product-3); retry 5 passing_is product-service 3
    after=$(memory); echo "$before kB, then $after kB"; ((after - before < 8000))
  '
  succeeds
}

@test "names belong to the table: others are refused, the real instances and those that scaling adds are not" {
  in_lab "$FUNCTIONS"'
    (while :; do curl -s -o /dev/null -w "%{http_code}\n" http://localhost:8080/api/products; sleep 0.05; done) >/run/gets & load=$!
    order() { curl -fsS -m 5 -H "Content-Type: application/json" -d "{\"customer_id\":\"c\",\"product_id\":\"1\",\"quantity\":1,\"total_price\":999.99}" http://localhost:8080/api/orders; }
    for id in order-service product-1 product-2 product-3 mine; do
      [[ $(claim order-service 10.0.0.40 5000 product-service $id) == 403 ]]
      jq -e ".error | test(\"may register only what the topology table runs there: order-service as order-service at port 5000\")" /run/answer
    done
    for id in product-1 product-2 product-3; do [[ $(claim redis-cache 10.0.0.50 6379 product-service $id) == 403 ]]; done
    [[ $(claim product2 10.0.0.31 5000 order-service order-service) == 403 && $(claim product2 10.0.0.31 5000 product-service product-1) == 403 ]]
    [[ $(claim product2 10.0.0.31 5001 product-service product-2) == 403 && $(claim redis-cache 10.0.0.50 6379 new new) == 403 ]]
    ip -n redis-cache addr add 10.0.0.200/16 dev veth-redis
    [[ $(claim redis-cache 10.0.0.200 5000 product-service product-4) == 403 ]] # an address that is not in the table yet
    [[ $(from order-service curl -s -o /dev/null -w "%{http_code}" -X DELETE $registry/deregister/product-service) == 403 ]]
    [[ $(claim product2 10.0.0.31 5000 product-service product-2) == 200 ]]
    passing_is product-service 3; passing_is order-service 1
    for _ in {1..5}; do order | jq -e ".status == \"created\""; done
    ip -n redis-cache addr del 10.0.0.200/16 dev veth-redis

    mapfile -t pids < <(gunicorns service-registry)
    scripts/scale.sh product-service 4 &>/run/four || { cat /run/four; exit 1; }
    retry 5 passing_is product-service 4
    [[ $(gunicorns service-registry) == "$(printf "%s\n" "${pids[@]}")" ]] # the registry was not restarted for that
    [[ $(claim product2 10.0.0.31 5000 product-service product-4) == 403 ]]
    scripts/scale.sh product-service 3 &>/run/three
    retry 5 passing_is product-service 3
    kill "$load"; wait "$load" || :
    sort /run/gets | uniq -c | tee /dev/stderr
    refute grep -v "^200$" /run/gets

    rm $state/owners.tsv; control restart service-registry # without the table nobody registers, and the rest is answered
    retry 10 curl -fs -o /dev/null $registry/health
    [[ $(claim product2 10.0.0.31 5000 product-service product-2) == 503 ]]
    curl -fsS http://localhost:8080/api/products | jq -e ".products | length == 3"
    scripts/services.sh up &>/run/again || { cat /run/again; exit 1; }
    retry 5 eval "[[ \$(claim product2 10.0.0.31 5000 product-service product-2) == 200 ]]"
    # A link in the place of the file leads nowhere, for it is replaced as a whole.
    ln -sf /run/victim $state/owners.tsv; scripts/services.sh up &>/dev/null; [[ ! -e /run/victim && -f $state/owners.tsv && ! -L $state/owners.tsv ]]
  '
  succeeds
}

@test "a store that is no database is set aside, before the start and while it runs, and heartbeats bring all back" {
  in_lab "$FUNCTIONS"'
    comes_back() {
      retry 10 curl -fs -o /dev/null $registry/health
      retry 5 passing_is product-service 3; retry 5 passing_is redis-cache 1; retry 5 passing_is api-gateway 1
      .venv/bin/python -m dnslib.client --server 10.0.0.70 --short product-service.lab | wc -l | grep "^3$"
    }
    damage() {
      case $1 in
        zeroed) dd if=/dev/zero of="$2" bs=1 count="$(stat -c %s "$2")" conv=notrunc status=none ;;
        cut) truncate -s 100 "$2" ;;
        garbled) head -c 1000 /dev/urandom >"$2" ;;
      esac
    }
    for kind in zeroed cut garbled; do
      echo "== $kind, before the start"
      control stop service-registry >/dev/null; rm -f $state/*.damaged*; damage $kind $state/registrations.json
      control start service-registry >/dev/null; comes_back
      [[ -s $state/registrations.json.damaged ]]; grep "registrations.json is damaged" $log | tail -1
      echo "== $kind, while it runs"
      damage $kind $state/registrations.json
      curl -fsS -X DELETE $registry/deregister/product-service/product-2 | jq -e .status
      comes_back; jq -e "map(.instance_id) | contains([\"product-2\"])" $state/registrations.json
    done
    refute grep "\"status\": 500" $log
    for file in /dev/shm/metrics-api-gateway-*/ /proc/$(pgrep -o -f "[g]unicorn -c" -u "$(stat -c %u /var/opt/cnet/nodes/api-gateway)")/root/dev/shm/metrics-api-gateway-*/; do
      [[ ! -d $file ]] || { : >"$file/counter_99998.db"; echo garbled >"$file/histogram_99999.db"; }
    done
    for _ in 1 2; do curl -fsS http://10.0.0.20:3000/metrics | grep -c "^http_request_duration_seconds_count" >/dev/null; done
    retry 3 grep "counter_99998.db is damaged and left out" /var/opt/cnet/log/api-gateway.log
    retry 3 grep "histogram_99999.db is damaged and left out" /var/opt/cnet/log/api-gateway.log
  '
  succeeds
}

@test "a full disk: the registry answers, registers and renews from memory, and writes again when there is room" {
  sandboxed '
    mkdir -p /var/opt/cnet/nodes && mount -t tmpfs -o size=200m,mode=755 tmpfs /var/opt/cnet/nodes
    bring_up
    '"$FUNCTIONS"'
    pids=$(gunicorns service-registry)
    fill() { head -c 1G /dev/zero >/var/opt/cnet/nodes/filling 2>/dev/null || :; }
    fill
    for _ in 1 2 3; do
      curl -fsS -X DELETE $registry/deregister/product-service/product-2 | jq -e .status
      retry 5 passing_is product-service 3
      curl -fsS http://localhost:8080/api/products | jq -e ".products | length == 3"
    done
    curl -fsS $registry/metrics | grep "^http_request_duration_seconds_count" >/dev/null
    grep -c "cannot write .*registrations.json" $log | grep "^1$"
    kill -9 $(gunicorns api-gateway) $(gunicorns service-registry) # also a start needs no room
    retry 15 passing_is product-service 3; retry 10 curl -fsS -o /dev/null http://localhost:8080/api/products
    rm /var/opt/cnet/nodes/filling
    curl -fsS -X DELETE $registry/deregister/product-service/product-2 >/dev/null
    retry 10 eval "[[ \$(jq length $state/registrations.json) == 5 ]]"
  '
  succeeds
}

@test "one client cannot take all connections, and one that sends slowly is closed in time" {
  in_lab "$FUNCTIONS"'
    cat >/run/hold.py <<END
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
held = []
for number in range(2500): # half a head each
    try: held.append(socket.create_connection((sys.argv[1], int(sys.argv[2])), 2, (sys.argv[3], 0))); held[-1].sendall(b"GET / HTTP/1.1\r\nX: ")
    except OSError: break
print(len(held), flush=True)
end = time.monotonic() + float(sys.argv[4])
while time.monotonic() < end:
    for one in held:
        try: one.send(b"a", socket.MSG_DONTWAIT)
        except OSError: pass
    time.sleep(0.5)
closed = 0
for one in held:
    one.settimeout(0.01)
    try:
        while one.recv(1000): pass
        closed += 1
    except TimeoutError: pass
    except OSError: closed += 1
print("closed", closed, "of", len(held))
END
    for target in "10.0.0.70 8500" "10.0.0.20 3000" "10.0.0.40 5000"; do
      echo "== $target"
      from redis-cache python3 /run/hold.py $target 10.0.0.50 8 >/run/held & holder=$!
      retry 20 test -s /run/held
      for node in product2 nginx-lb; do # others are served meanwhile
        begin=${EPOCHREALTIME/./}
        for _ in {1..10}; do from $node curl -fsS -m 2 -o /dev/null "http://${target/ /:}/health"; done
        echo "$node: 10 answers in $(((${EPOCHREALTIME/./} - begin) / 1000)) ms"
      done
      wait "$holder"; cat /run/held
      grep -E "closed ([0-9]+) of \1$" /run/held
    done
    grep -h "10.0.0.50 has reached the limit of connections for one client" $log
    retry 5 curl -fsS -o /dev/null http://localhost:8080/api/products
  '
  succeeds
}

@test "a body that cannot be read is a 4xx in JSON, and a long one is never cut" {
  in_lab "$FUNCTIONS"'
    cat >/run/chunks.py <<END
import json, socket
good = b"{\"customer_id\":\"c\",\"product_id\":\"1\",\"quantity\":1,\"total_price\":999.99}"
def send(address, path, sent):
    with socket.create_connection(address, 3) as s:
        s.settimeout(8)
        s.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + sent)
        answer = b""
        try:
            while more := s.recv(65536): answer += more
        except OSError: pass
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)
def chunk(data): return b"%x\r\n%s\r\n" % (len(data), data)
end = b"0\r\n\r\n"
for place in ((("10.0.0.20", 3000), b"/api/orders"), (("10.0.0.40", 5000), b"/orders"), (("10.0.0.70", 8500), b"/register")):
    taken = 400 if place[1] == b"/register" else 201 # it is JSON, and no registration
    for wanted, sent in (
        (taken, chunk(good) + end), (taken, chunk(good) + b"0\r\nX-T: 1\r\n\r\n"), (taken, chunk(good.ljust(65536)) + end),
        (413, chunk(good.ljust(65536)) + chunk(b"x") + end), (413, chunk(good.ljust(65537)) + end), (413, chunk(bytes(200000)) + end),
        (400, b"xyz\r\n" + good), (400, b"5\r\nabcdefgh\r\n" + end), (400, b"-1\r\n\r\n"), (400, chunk(good) + b"0;\x00\r\n\r\n"),
        (400, chunk(good) + b"0\r\nbad trailer\r\n\r\n"), (408, chunk(good)), (408, b"ffffff\r\n" + good),
    ):
        status, answer = send(*place, sent)
        print(place[1].decode(), sent[:20], len(sent), status, answer, flush=True)
        assert status == wanted, wanted
        assert status == 201 or answer["error"]
END
    python3 /run/chunks.py
    for body in "{\"customer_id\":\"a\",\"customer_id\":\"b\"}" "{\"product_id\":{\"x\":1,\"x\":2}}"; do
      curl -s -H "Content-Type: application/json" -d "$body" http://localhost:8080/api/orders | jq -e ".field == \"customer_id\" or .field == \"x\""
    done
    refute grep -h "\"status\": 500" /var/opt/cnet/log/*.log
    refute grep -hE "Traceback.*(InvalidChunk|ChunkMissing|NoMoreData)" /var/opt/cnet/log/*.log
  '
  succeeds
}
