#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2314 # the text between single quotes runs inside the sandbox; `!` ends a test
# The programs: what they are allowed, what they say, and what happens when one of them dies.

load helpers

setup_file() { share_lab 'scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up'; }

# Functions for a sandbox.
EVEN='even() { # 60 requests, round-robin. Each of the two workers goes round by itself, so they are at most one apart, each
  for _ in {1..60}; do curl -fsS http://10.0.0.20:3000/api/products | jq -r .instance; done | sort | uniq -c | tee /run/turns
  [[ $(wc -l </run/turns) == 3 ]] && awk "\$1 < 18 || \$1 > 22 { exit 1 }" /run/turns
}
'
FUNCTIONS=$EVEN'order() { curl -s -m 8 -w "%{http_code}\n" -H "Content-Type: application/json" "$@" http://localhost:8080/api/orders; }
good="{\"customer_id\":\"bats\",\"product_id\":\"1\",\"quantity\":2,\"total_price\":9.5}"
'

@test "a process of somebody'\''s own in a namespace of the lab outlives up and down; what the supervisor left is ended" {
  in_lab "$FUNCTIONS"'
    ip netns exec redis-cache sleep 1000 & mine=$!
    in_there() { [[ $(ip netns identify "$mine") == redis-cache ]]; }; retry 5 in_there
    CNET_LOCKED=1 ip netns exec redis-cache sleep 2000 & proof=$! # as the server of a proof that was killed
    of_services() { ip netns pids "$1" | grep -vx -e "$mine" -e "$proof"; }
    for way in up down; do
      left=$(of_services redis-cache; of_services postgres-db)
      kill -STOP $left; kill -9 "$(cat /run/cnet/supervisord.pid)" # else they end with it
      scripts/services.sh $way &>/run/way || { cat /run/way; exit 1; }
      for pid in $left; do refute kill -0 "$pid"; done
      kill -0 "$mine"; refute kill -0 "$proof"
    done
    [[ -z $(of_services redis-cache) ]]
    rm -r /var/opt/cnet/nodes # as before the first service
    CNET_LOCKED=1 ip netns exec redis-cache sleep 2000 & proof=$!
    in_there() { [[ $(ip netns identify "$proof") == redis-cache ]]; }; retry 5 in_there
    scripts/services.sh down >/dev/null; refute kill -0 "$proof"
    scripts/network.sh down 2>&1 >/dev/null | grep "process $mine (sleep) is not the lab.s and keeps running"
    kill "$mine"
  '
  succeeds
}

@test "up goes on when /run/cnet is gone, and ends the supervisor that nothing in it names" {
  in_lab "$FUNCTIONS"'
    rm -rf /run/cnet
    scripts/services.sh up >/run/up 2>&1 || { cat /run/up; exit 1; }
    [[ $(pgrep -fc "bin/supervisord -c /run/cnet/supervisord.conf$") == 1 ]]
    scripts/services.sh status
    rm -rf /run/cnet
    scripts/services.sh down >/dev/null
    [[ -z $(pgrep -f "bin/supervisord -c /run/cnet/supervisord.conf$"; ip netns pids redis-cache; ip netns pids postgres-db) ]]
  '
  succeeds
}

@test "each service runs as a user of its own, without new privileges and without capabilities" {
  in_lab "$FUNCTIONS"'
    for node in api-gateway product-1 order-service redis-cache postgres-db service-registry nginx-lb; do
      pid=$(scripts/services.sh status | awk -v node="$node" "\$2 == node { print \$NF }")
      awk -v node="$node" "/^Uid|^NoNewPrivs|^CapEff|^CapBnd/ { print node, \$1, \$2 }" "/proc/$pid/status"
    done >/run/privileges
    cat /run/privileges
    refute grep -E "Uid: 0$|NoNewPrivs: 0" /run/privileges
    [[ $(grep -E "Cap(Eff|Bnd): 0000000000000000" -c /run/privileges) == 10 ]] # all but those with a port below 1024
    for node in nginx-lb service-registry; do grep "$node CapEff: 0000000000000400" /run/privileges; done # CAP_NET_BIND_SERVICE
    [[ $(awk "/Uid/ { print \$3 }" /run/privileges | sort -u | wc -l) == 7 ]]
  '
  succeeds
}

@test "passwords are asked for, and lie in a file for root alone" {
  in_lab "$FUNCTIONS"'
    [[ $(stat -c %a /var/opt/cnet/secrets) == 600 ]]
    redis-cli -h 10.0.0.50 get all_products | grep NOAUTH
    refute env PGPASSWORD=wrong psql -h 10.0.0.60 -U orders -d orders -c "SELECT 1"
    password=$(sed -n s/^DB_PASSWORD=//p /var/opt/cnet/secrets)
    PGPASSWORD=$password psql -XAtc "SELECT 1" -h 10.0.0.60 -U orders -d orders
    refute grep -r "$password" /var/opt/cnet/log /run/cnet
    refute grep -aF "$(sed -n s/^REDIS_PASSWORD=//p /var/opt/cnet/secrets)" /proc/$(pgrep -o redis-server)/cmdline
  '
  succeeds
}

@test "what dies comes back by itself" {
  in_lab "$FUNCTIONS"'
    for name in redis-server postgres nginx; do pkill -9 -o -x "$name"; done
    pkill -9 -f "[g]unicorn -c"
    retry 20 curl -fs -o /dev/null http://localhost:8080/api/products
    retry 20 scripts/services.sh status
    [[ $(order -d "$good") == *201 ]]
  '
  succeeds
}

@test "without Redis the catalogue is still answered, quickly, from the service'\''s own data" {
  in_lab "$FUNCTIONS"'
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop redis-cache
    for _ in {1..20}; do curl -fsS -m 2 http://localhost:8080/api/products | jq -e ".products | length == 3"; done
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf start redis-cache
    ip -n redis-cache link set veth-redis down # answers nothing at all, not even a refusal
    for _ in {1..20}; do curl -fsS -m 2 http://localhost:8080/api/products/2 | jq -e ".name == \"Mouse\""; done
  '
  succeeds
}

@test "Redis holds the catalogue for 300 s, and a garbled value is replaced, not served" {
  in_lab "$FUNCTIONS"'
    export REDISCLI_AUTH=$(sed -n s/^REDIS_OPERATOR_PASSWORD=//p /var/opt/cnet/secrets)
    curl -fsS -o /dev/null http://10.0.0.30:5000/products; curl -fsS -o /dev/null http://10.0.0.30:5000/products/2
    redis-cli --user operator -h 10.0.0.50 keys "*" | sort | tr "\n" " " | grep "all_products product_2"
    (($(redis-cli --user operator -h 10.0.0.50 ttl all_products) > 290))
    redis-cli --user operator -h 10.0.0.50 set all_products "{\"broken"
    curl -fsS http://10.0.0.30:5000/products | jq -e ".products | length == 3"
    redis-cli --user operator -h 10.0.0.50 get all_products | jq -e "length == 3"
  '
  succeeds
}

@test "without PostgreSQL an order gets 503 with Retry-After within 4 s, and the service heals" {
  in_lab "$FUNCTIONS"'
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop postgres-db
    order -D /run/head -d "$good" | tee /dev/stderr | grep 503
    grep -i "^retry-after: 1" /run/head
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf start postgres-db
    retry 10 bash -c "curl -fs http://10.0.0.40:5000/ready"
    [[ $(order -d "$good") == *201 ]]
    ip -n postgres-db link set veth-pg down # packets vanish
    begin=$SECONDS; order -d "$good" | grep 503; ((SECONDS - begin <= 4))
  '
  succeeds
}

@test "an instance that dies costs no failed GET" {
  in_lab "$FUNCTIONS"'
    ab -l -q -t 60 -n 100000 -c 10 http://localhost:8080/api/products >/run/ab & load=$!
    for last in 0 1 2; do
      sleep 1
      pkill -9 -f "[g]unicorn -c" -u "$(stat -c %u /var/opt/cnet/nodes/product-$((last + 1)))"
      retry 20 curl -fs -m 1 -o /dev/null "http://10.0.0.3$last:5000/ready"
    done
    kill -INT "$load"; wait "$load" || : # it reports when interrupted
    cat /run/ab
    (($(awk "/^Complete requests/ { print \$3 }" /run/ab) > 500))
    grep -E "^Failed requests: +0" /run/ab
    refute grep Non-2xx /run/ab
  '
  succeeds
}

@test "an Idempotency-Key makes a retry safe: same order, same answer; another order, 409" {
  in_lab "$FUNCTIONS"'
    first=$(order -H "Idempotency-Key: k1" -d "$good")
    [[ $first == *201 && $(order -H "Idempotency-Key: k1" -d "$good") == "$first" ]]
    [[ $(order -H "Idempotency-Key: k1" -d "${good/bats/other}") == *409 ]]
    for _ in {1..20}; do order -H "Idempotency-Key: k2" -d "$good" & done >/run/many; wait
    [[ $(grep -o "order_id[^,]*" /run/many | sort -u | wc -l) == 1 ]]
    [[ $(order -H "Idempotency-Key: with space" -d "$good") == *400 ]]
  '
  succeeds
}

@test "every 201 is in PostgreSQL exactly once, whatever is killed" {
  in_lab "$FUNCTIONS"'
    for worker in {1..4}; do
      for number in {1..60}; do
        answer=$(order -H "Idempotency-Key: w$worker-$number" -d "${good/bats/w$worker-$number}")
        [[ $answer != *201 ]] || echo "w$worker-$number"
      done >"/run/acknowledged.$worker" &
    done
    for name in "^postgres -D" "[g]unicorn -c" "^redis-server" "^postgres: orders" "[g]unicorn -c" "^nginx: master" "^postgres -D"; do
      sleep 0.7; pkill -9 -n -f "$name" || :
    done
    wait $(jobs -p)
    retry 20 curl -fs -o /dev/null http://10.0.0.40:5000/ready
    sort /run/acknowledged.* >/run/acknowledged
    scripts/contain.sh exec postgres-db psql -XAt -h /state -d orders \
      -c "SELECT customer_id FROM orders WHERE customer_id LIKE '"'w%-%'"' ORDER BY 1" | sort >/run/stored
    wc -l /run/acknowledged /run/stored
    (($(wc -l </run/acknowledged) > 50))
    [[ -z $(uniq -d /run/stored) ]]                       # none twice
    [[ -z $(comm -23 /run/acknowledged /run/stored) ]]    # none lost
  '
  succeeds
}

@test "bad orders are refused with 400 and the field'\''s name, never 500 and never HTML" {
  in_lab "$FUNCTIONS"'
    refused() { # FIELD BODY
      answer=$(order -d "$2")
      [[ $answer == *400 && $(head -1 <<<"$answer" | jq -r .field) == "$1" ]] || { echo "$2 -> $answer"; exit 1; }
    }
    refused quantity "${good/2,/0,}"
    refused quantity "${good/2,/true,}"
    refused quantity "${good/2,/1.5,}"
    refused quantity "${good/2,/\"2\",}"
    refused total_price "${good/9.5/-1}"
    refused total_price "${good/9.5/1.234}"
    refused total_price "${good/9.5/1e99}"
    refused body "${good/9.5/NaN}"
    refused customer_id "${good/bats/}"
    refused customer_id "${good/bats/$(printf "x%.0s" {1..101})}"
    refused customer_id "${good/\"bats\"/null}"
    refused customer_id "${good/bats/\\u0000}"
    refused customer_id "${good/bats/\\ud800}"
    refused extra "${good/\}/,\"extra\":1\}}"
    refused body "[1]"
    refused body "{"
    refused body "$(printf "[%.0s" {1..5000})"
    [[ $(order -H "Content-Type: text/plain" -d "$good") == *400 ]]
    [[ $(head -c 70000 /dev/zero | order --data-binary @-) == *413 ]]
    [[ $(order -d "${good/bats/Zoë \\\"; DROP TABLE orders; --}") == *201 ]]
    for path in /api/orders/0 /api/orders/-1 /api/orders/99999999999 /api/orders/abc /api/products/%2e%2e%2fmetrics /api; do
      curl -s -o /run/body -w "%{http_code} %{content_type} $path\n" "http://localhost:8080$path" | tee /dev/stderr | grep "^404 application/json"
      jq -e .error /run/body
    done
    long=$(printf "a%.0s" {1..5000})
    for case in "400 http://localhost:8080/api/products/a%00b" "414 http://localhost:8080/$long" "414 http://10.0.0.20:3000/$long$long" \
      "404 http://10.0.0.20:3000/api/products/a%00b" "404 http://10.0.0.20:3000/api/products/..%2fmetrics"; do
      curl -s -o /run/body -w "%{http_code} %{content_type}\n" "${case#* }" | tee /dev/stderr | grep "^${case%% *} application/json"
      jq -e .error /run/body
    done
    printf "NONSENSE\r\n\r\n" | timeout 3 curl -s telnet://10.0.0.20:3000 | tee /dev/stderr | grep "\"error\""
    curl -s -X BREW -o /dev/null -w "%{http_code} %{content_type}\n" http://localhost:8080/api/products | grep "^405 application/json"
  '
  succeeds
}

@test "an order for a product that does not exist is refused; one that is known is taken while no product service answers" {
  in_lab "$FUNCTIONS"'
    answer=$(order -d "${good/\"1\"/\"no such\"}")
    [[ $answer == *400 && $(head -1 <<<"$answer" | jq -r .field) == product_id ]]
    [[ $(order -d "${good/\"1\"/\"../../health\"}") == *400 ]]
    [[ $(order -d "$good") == *201 ]]
    for number in 1 2 3; do .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop product-$number & done; wait
    [[ $(order -d "$good") == *201 ]]
    order -D /run/head -d "${good/\"1\"/\"2\"}" | tee /dev/stderr | grep 503
    grep -i "^retry-after: 1" /run/head
  '
  succeeds
}

@test "without a registry in the table the gateway balances over the addresses it is given" {
  sandboxed "$EVEN"'
    grep -v "service-registry$" topology/flat.tsv >/run/plain.tsv
    export TOPOLOGY=/run/plain.tsv
    { scripts/network.sh up; scripts/nat.sh up; scripts/services.sh up; } &>/run/up || { cat /run/up; exit 1; }
    retry 30 even # a machine that stalls has one ejected for a while
    pkill -9 -f "[g]unicorn -c" -u "$(stat -c %u /var/opt/cnet/nodes/product-2)"
    for _ in {1..30}; do curl -fsS -o /dev/null http://10.0.0.20:3000/api/products; done
    curl -fsS -H "Content-Type: application/json" -d "{\"customer_id\":\"c\",\"product_id\":\"1\",\"quantity\":1,\"total_price\":1}" http://localhost:8080/api/orders
    [[ ! -e /etc/netns ]]
    scripts/verify.sh services >/run/proof || { cat /run/proof; exit 1; }
    retry 10 scripts/services.sh status # what was killed may still be starting
  '
  succeeds
}

@test "a service without a log is named by status, and its missing log ends nothing" {
  in_lab '
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop nginx-lb # a start would write a new log
    rm /var/opt/cnet/log/nginx-lb.log
    refute scripts/services.sh status >/run/status; cat /run/status
    grep -E "stopped +nginx-lb" /run/status
    source scripts/lib/topology.sh; source scripts/lib/service_state.sh
    reason=$(last_error nginx-lb)
    [[ -z $reason ]]
  '
  succeeds
}

@test "a program that ends with the same error each time is not waited for to the end, and the error is shown" {
  sandboxed '
    scripts/network.sh up >/dev/null
    sed "s/proxy_pass/proxy_pas/" services/nginx/nginx.conf.in >/run/broken; mount --bind /run/broken services/nginx/nginx.conf.in
    refute scripts/services.sh up &>/run/said; cat /run/said
    grep "emerg *nginx-lb .*unknown directive \"proxy_pas\"" /run/said
    ((9 == $(grep -cE "^  [a-z0-9-]+ +(not )?ready " /run/said))) # the others are waited for
    seconds=$(sed -nE "s/.*not ready after ([0-9]+) s.*/\1/p" /run/said); ((seconds < 60)) # which is the deadline
    tail -n 1 /run/said | grep -E "did not come up: nginx-lb \(.*unknown directive \"proxy_pas\".*\);"
  '
  succeeds
}

@test "up does not ask a ready service again: another of its workers may not be ready" {
  sandboxed '
    scripts/network.sh up >/dev/null
    cat >/run/second <<EOF
        import os
        if name == "order-service" and request.user_agent.string.startswith("curl"):
            if os.path.exists("/dev/shm/asked"): return error_response(503, "another worker")
            open("/dev/shm/asked", "w").close()
EOF
    common=$(.venv/bin/python -c "import cnet_service.app; print(cnet_service.app.__file__)")
    sed "/return error_response(503, text/r /run/second" "$common" >/run/app.py
    mount --bind /run/app.py "$common"
    scripts/services.sh up
    scripts/services.sh status >/run/state || :
    grep "not-ready  order-service .*another worker" /run/state
  '
  succeeds
}

@test "logs are one form for all programs, RAW=1 shows them as they were written" {
  in_lab "$FUNCTIONS"'
    scripts/services.sh logs >/run/logs
    refute grep -vE "^([0-9:.]{8,12}|-) +([a-z]+|-) +[a-z0-9-]+ +[^ {]" /run/logs
    grep -E "info +product-1 +GET /ready 200 [0-9.]+ ms$" /run/logs
    RAW=1 scripts/services.sh logs product-1 | tail -n 1 | jq -e .time
    fails_with 1 "no log of nowhere; there are: api-gateway nginx-lb" scripts/services.sh logs nowhere
  '
  succeeds
}

@test "verify says that nothing listens behind a published port, and tries everything else to the end" {
  in_lab "$FUNCTIONS"'
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop nginx-lb >/dev/null
    refute scripts/verify.sh all >/run/proof 2>&1
    grep "FAIL.* no process listens on port 80 of nginx-lb" /run/proof
    refute grep -E "ok .*(from outside|from the host)|parse error" /run/proof
    grep -A 1 "FAIL.* GET /api/products: .*, got no answer" /run/proof | grep "why: sudo make explain FROM=host TO=host PORT=8080"
    grep "FAIL.* POST /api/orders: created no order" /run/proof
    grep "^verify.sh: some checks failed: see the lines marked FAIL; to find the cause" <(tail -1 /run/proof)
    # Before the services are begun, a server stands in for nginx, for as long as the way in is tried.
    scripts/services.sh down >/dev/null
    scripts/verify.sh network >/run/proof 2>&1 || { tail -20 /run/proof; exit 1; }
    grep "ok .*from the host: .* -> nginx-lb:80" /run/proof
  '
  succeeds
}

@test "the gateway goes round-robin, says so in its log, and passes the request id along" {
  in_lab "$FUNCTIONS"'
    retry 30 even
    curl -fsS -D - -o /dev/null -H "X-Request-ID: bats-1" http://10.0.0.20:3000/api/products | grep -i "x-instance: product-"
    sleep 1
    grep -h "Routing request to: http://10.0.0.3[0-2]:5000" /var/opt/cnet/log/api-gateway.log | grep bats-1
    grep -h bats-1 /var/opt/cnet/log/product-*.log | jq -e ".path == \"/products\""
    curl -fsS http://10.0.0.20:3000/metrics | grep "route=\"/api/products\",service=\"api-gateway\",status=\"200\"" >/dev/null
  '
  succeeds
}

@test "a service that is told to stop finishes the request it has" {
  in_lab "$FUNCTIONS"'
    (ab -l -q -n 500 -c 5 http://10.0.0.30:5000/products >/run/ab 2>&1 || :) &
    sleep 0.2; scripts/services.sh restart product-1; wait
    refute grep -E "Non-2xx|Length: +[1-9]|Exceptions: +[1-9]" /run/ab
    refute grep -h "Exception ignored" /var/opt/cnet/log/*.log
  '
  succeeds
}
