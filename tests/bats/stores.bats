#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# nginx and the stores: damaged state files, a full disk, hostile clients and requests.

load helpers

setup_file() { share_lab 'scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up'; }

FUNCTIONS='STATE=/var/opt/cnet SECRETS=/var/opt/cnet/secrets ORDERS=/var/opt/cnet/nodes/postgres-db
control() { .venv/bin/supervisorctl -c /run/cnet/supervisord.conf "$@" || [[ $1 == status ]]; }
order() { curl -s -m 8 -w "%{http_code}\n" -H "Content-Type: application/json" -d "{\"customer_id\":\"$1\",\"product_id\":\"1\",\"quantity\":2,\"total_price\":9.5}" http://localhost:8080/api/orders; }
taken() { [[ $(order "$1") == *201 ]]; }
password() { sed -n "s/^$1=//p" "$SECRETS"; }
has_order() { [[ $(curl -fs "http://localhost:8080/api/orders/$1" | jq -r .customer_id) == "$2" ]]; }
'

@test "a lost or damaged password is made anew, and the order service logs in again without losing an order" {
  in_own_lab "$FUNCTIONS"'
    taken first; whole=$(cat "$SECRETS")
    damage() { # COMMAND...: after it, up says what it found, and everything works again
      "$@"
      refute scripts/services.sh status >/run/status
      grep "^old-password" /run/status
      scripts/services.sh up &>/run/up || { cat /run/up; exit 1; }
      grep "is missing or damaged; made a new one" /run/up
      refute grep -iE "clean|rm -rf" /run/up
      [[ $(grep -cE "^[A-Z_]+_PASSWORD=[0-9a-f]{48}$" "$SECRETS") == 3 && $(stat -c %a "$SECRETS") == 600 && ! -e $SECRETS.new ]]
      scripts/services.sh status
      retry 10 taken again
      has_order 1 first
      curl -fsS -o /dev/null http://10.0.0.30:5000/products/2
      grep -c "user default" <(REDISCLI_AUTH=$(password REDIS_OPERATOR_PASSWORD) redis-cli --user operator -h 10.0.0.50 acl list)
      [[ $(REDISCLI_AUTH=$(password REDIS_PASSWORD) redis-cli -h 10.0.0.50 get product_2) == *Mouse* ]]
    }
    for _ in {1..200}; do curl -fsS -m 5 -o /dev/null http://localhost:8080/api/products || echo failed; sleep 0.1; done &>/run/gets & gets=$!
    damage truncate -s 40 "$SECRETS" # cut in the first password, as after a power loss
    damage dd if=/dev/zero of="$SECRETS" bs=1 count=200 conv=notrunc status=none # zeroed blocks
    wait "$gets"; refute grep . /run/gets # the products took turns

    # One that is whole stays: nothing is restarted, nothing is written.
    before=$(cat "$SECRETS"; stat -c %i "$SECRETS"; control pid all)
    scripts/services.sh up &>/run/up
    [[ $(cat "$SECRETS"; stat -c %i "$SECRETS"; control pid all) == "$before" ]]
    [[ $(head -1 <<<"$before") != "$(head -1 <<<"$whole")" ]]

    # Damaged while all is down, and a store that starts before `up` repaired it keeps the password that it has.
    scripts/services.sh down &>/run/down; : >"$SECRETS"; scripts/services.sh up &>/run/up
    retry 10 taken down; has_order 1 first
    kept=$(cat "$SECRETS"); : >"$SECRETS"
    control restart postgres-db
    retry 10 taken kept
    grep "no DB_PASSWORD, so the old password stays" "$STATE/log/postgres-db.log"
    printf "%s\n" "$kept" >"$SECRETS"
    refute grep -rhF -e "$(password DB_PASSWORD)" -e "$(password REDIS_PASSWORD)" "$STATE/log"
  '
  succeeds
}

@test "PostgreSQL starts again whatever a crash left of its files, and never twice" {
  in_own_lab "$FUNCTIONS"'
    taken first
    data=$(echo "$ORDERS"/[0-9]*)
    starts() { # with what COMMAND... did while it was down
      control stop postgres-db >/dev/null
      "$@"
      control start postgres-db >/dev/null || :
      retry 15 has_order 1 first
      retry 5 taken "$1"
    }
    own() { chown --reference "$ORDERS" "$@"; }
    stale() { printf "%s\n" "$1" "$data" 1 5432 "$ORDERS" 10.0.0.60 "  1 1" starting >"$data/postmaster.pid"; own "$data/postmaster.pid"; }
    starts true
    starts eval ": >$data/postmaster.pid; own $data/postmaster.pid"
    starts stale "$(pgrep -o -f "[g]unicorn -c")"       # alive, and no PostgreSQL
    starts stale 1
    starts eval "echo $$ >$ORDERS/.s.PGSQL.5432.lock; own $ORDERS/.s.PGSQL.5432.lock; : >$ORDERS/.s.PGSQL.5432"
    starts eval "mkdir -p $data.new/base; echo 15 >$data.new/PG_VERSION" # a half-made cluster beside it
    starts rm "$data/pg_hba.conf" "$data/pg_ident.conf" "$data/postgresql.conf"
    starts eval "head -c 500 /dev/urandom >$data/postgresql.auto.conf; own $data/postgresql.auto.conf"
    starts chmod 755 "$data"
    starts chown -R root "$data"
    refute grep -iE "clean|rm -rf" "$STATE/log/postgres-db.log"

    # Killed as a whole or in part.
    pkill -9 -o -x postgres; retry 15 taken killed
    pkill -9 -x postgres; retry 15 taken killed-all; has_order 1 first

    # A second server on the same files waits for the lock, and gives up; the first one is not disturbed.
    pid=$(pgrep -o -x postgres)
    refute setpriv --reuid "$(stat -c %u "$ORDERS")" --clear-groups env STATE_DIR="$ORDERS" SERVICE_IP=127.0.0.1 SERVICE_PORT=5433 \
      DB_NAME=orders DB_USER=orders DB_PASSWORD=x DB_CLIENTS=127.0.0.0/8 bash -c "cd services/postgres && ./start.sh" &>/run/second
    grep "another PostgreSQL still uses" /run/second
    [[ $(pgrep -o -x postgres) == "$pid" ]]; taken undisturbed

    # A first start that is interrupted is made anew.
    control stop postgres-db; mkdir /run/kept; mv "$data" /run/kept
    mkdir "$data"; mkdir -p "$data.new/base"; chown -R --reference "$ORDERS" "$data" "$data.new"
    control start postgres-db || :
    retry 30 taken anew
  '
  succeeds
}

@test "the cache lets its client read and write the catalogue with a lifetime, and nothing else" {
  in_lab "$FUNCTIONS"'
    export REDISCLI_AUTH=$(password REDIS_PASSWORD)
    cache() { redis-cli -h 10.0.0.50 "$@"; }
    allowed() { said=$(cache "${@:2}"); [[ $said == "$1" ]] || { echo "${*:2}: $said"; exit 1; }; }
    denied() { said=$(cache "$@"); [[ $said == NOPERM* ]] || { echo "$*: $said"; exit 1; }; }
    allowed PONG ping
    allowed OK setex product_9 300 x
    allowed x get product_9
    allowed OK setex all_products 300 "[]"
    denied set product_9 x
    denied set product_9 x ex 300
    denied setex orders 300 x
    denied get orders
    denied getex product_9 persist
    denied persist product_9
    denied append product_9 x
    denied del product_9
    denied lpush all_products x
    denied config get "*"
    denied config set dir /tmp
    denied eval "return 1" 0
    denied function list
    denied replicaof 127.0.0.1 1
    denied flushall
    denied keys "*"
    denied scan 0
    said=$(cache debug sleep 0); [[ $said == ERR*"not allowed"* ]]
    denied module list
    denied acl list
    denied client kill type normal
    denied client list
    denied monitor
    denied info
    denied shutdown nosave
    denied save
    denied publish channel x
    denied subscribe channel
    denied select 1
    denied multi
    REDISCLI_AUTH="" cache get all_products | grep NOAUTH
    REDISCLI_AUTH="" cache --user operator get all_products | grep NOAUTH
    REDISCLI_AUTH=wrong cache ping 2>&1 | grep -E "WRONGPASS|NOAUTH"

    # The product service works within that, and a value of another type is replaced.
    export OPERATOR=$(password REDIS_OPERATOR_PASSWORD)
    operator() { REDISCLI_AUTH=$OPERATOR redis-cli --user operator -h 10.0.0.50 "$@"; }
    [[ $(operator flushall) == OK ]]
    curl -fsS -o /dev/null http://10.0.0.30:5000/products; curl -fsS -o /dev/null http://10.0.0.30:5000/products/2
    [[ $(operator keys "*" | sort | xargs) == "all_products product_2" ]]
    (($(operator ttl all_products) > 290 && $(operator ttl product_2) > 290))
    operator acl log >/run/acl; grep . /run/acl; refute grep product-service /run/acl
    # One client cannot take all of its memory: what it does not read is cut off.
    [[ $(operator config get maxmemory-clients | tail -1) == 16777216 ]]
    [[ $(operator config get client-output-buffer-limit) == *"normal 1048576 262144 10"* ]]
    for pid in $(pgrep redis-server); do
      refute grep -aF -e "$REDISCLI_AUTH" -e "$OPERATOR" "/proc/$pid/cmdline"
      [[ $(stat -c %a "/proc/$pid/environ") == 400 ]]
    done
    refute grep -rF -e "$REDISCLI_AUTH" -e "$OPERATOR" /run/cnet "$STATE/log" "$STATE/nodes"
  '
  succeeds
}

@test "no request makes nginx answer with HTML or without a reason" {
  in_lab "$FUNCTIONS"'
    .venv/bin/python -m tests.lab.hostile_requests localhost 8080
    for path in /health "/health?x=1"; do
      [[ $(curl -s -w "%{http_code} %{content_type}" "http://localhost:8080$path" | xargs) == "OK 200 text/plain" ]]
    done
    control stop api-gateway
    curl -s -D /run/head -o /run/body http://localhost:8080/api/products; cat /run/head
    grep "^HTTP/1.1 503" /run/head; grep -i "^retry-after: 1" /run/head; jq -e .error /run/body
  '
  succeeds
}

@test "one address cannot shut the way in: half-open requests and slow bodies are limited, others are served" {
  in_lab "$FUNCTIONS"'
    ip -n world addr add 203.0.113.3/24 dev uplink
    hold() { # COUNT [slow-post]: from one address of the world, until /run/go is removed
      : >/run/go
      while [[ -e /run/go ]]; do sleep 0.1; done | .venv/bin/python -m tests.lab.half_open world 203.0.113.2 203.0.113.1 8080 "$@" >/run/held &
      HOLDER=$!
      : >/run/held; retry 30 test -s /run/held; cat /run/held
    }
    release() { rm -f /run/go; wait "$HOLDER"; }
    asks() { nsenter --net=/run/netns/world curl -fsS -m 2 --interface "$1" -o /dev/null "http://203.0.113.1:8080/api/products"; }
    others_are_served() {
      for _ in {1..10}; do asks 203.0.113.3; curl -fsS -m 2 -o /dev/null http://localhost:8080/api/products; done
      nsenter --net=/run/netns/api-gateway curl -fsS -m 2 -o /dev/null http://10.0.0.10/health
    }
    # Under the limit everything is held, and the same address is served, too.
    hold 200; grep "^held=200$" /run/held
    asks 203.0.113.2; others_are_served; release

    # Thousands of half-open requests: the limit, and no more; that address has had its share.
    hold 5000; grep "^held=256 refused=4744$" /run/held
    refute asks 203.0.113.2
    others_are_served
    retry 10 asks 203.0.113.2 # a header that is not whole after five seconds is given up
    release

    # Bodies that do not come: requests beyond the limit are told so.
    hold 200 slow-post; grep "^429=72 held=128$" /run/held
    others_are_served
    nsenter --net=/run/netns/world curl -s -m 2 -D /run/head -o /run/body http://203.0.113.1:8080/api/products --interface 203.0.113.2
    grep "^HTTP/1.1 429" /run/head; grep -i "^retry-after: 1" /run/head; jq -e .error /run/body
    release

    # The lab itself is not limited.
    ab -l -q -n 2000 -c 300 http://localhost:8080/health >/run/ab; grep -E "^Failed requests: +0" /run/ab; refute grep Non-2xx /run/ab
    control status nginx-lb | grep RUNNING
  '
  succeeds
}

@test "a full disk refuses orders with 503 and Retry-After, answers everything else, and is over when there is room" {
  sandboxed 'mkdir -p /var/opt/cnet; mount -t tmpfs -o size=200m,mode=755 tmpfs /var/opt/cnet
    bring_up
    '"$FUNCTIONS"'
    taken first
    states() { control status | awk "{ print \$1, \$2, \$4 }"; }
    before=$(states)
    cat /dev/zero >"$STATE/ballast" 2>/dev/null || :
    (($(df --output=avail "$STATE" | tail -1) == 0))
    for number in {1..400}; do # what is there is used up first
      echo "$(order "full-$number" | tail -n 1) full-$number"
    done >/run/answers
    cut -d" " -f1 /run/answers | sort | uniq -c
    [[ $(tail -1 /run/answers) == 503* ]]; refute grep -vE "^(201|503) " /run/answers
    curl -s -D /run/head -o /run/body -H "Content-Type: application/json" \
      -d "{\"customer_id\":\"x\",\"product_id\":\"1\",\"quantity\":2,\"total_price\":9.5}" http://localhost:8080/api/orders
    grep "^HTTP/1.1 503" /run/head; grep -i "^retry-after: 1" /run/head; jq -e .error /run/body
    for _ in {1..20}; do curl -fsS http://localhost:8080/api/products | jq -e ".products | length == 3" >/dev/null; done
    has_order 1 first
    [[ $(states) == "$before" ]] # nothing died
    refute grep PANIC "$STATE/log/postgres-db.log"

    # What is killed meanwhile comes back, too.
    pkill -9 -o -x postgres; pkill -9 -x redis-server
    retry 15 has_order 1 first

    rm "$STATE/ballast"
    retry 10 taken room
    retry 5 scripts/services.sh status # the supervisor calls a program running after a second
    # The ledger: each 201 is stored once, and nothing that was refused.
    grep ^201 /run/answers | cut -d" " -f2 | sort >/run/acknowledged
    PGPASSWORD=$(password DB_PASSWORD) psql -XAt -h 10.0.0.60 -U orders -d orders \
      -c "SELECT customer_id FROM orders WHERE customer_id LIKE '"'full-%'"'" | sort >/run/stored
    diff /run/acknowledged /run/stored
  '
  succeeds
}

@test "one client cannot keep PostgreSQL'\''s connections" {
  in_lab "$FUNCTIONS"'
    as_orders() { PGPASSWORD=$(password DB_PASSWORD) psql -XAt -h 10.0.0.60 -U orders -d orders "$@"; }
    # Connections that never log in are closed after five seconds.
    (for _ in {1..250}; do exec {fd}<>/dev/tcp/10.0.0.60/5432; done; sleep 60) & crowd=$!
    refused() { ! as_orders -c "SELECT 1" &>/run/refused; }
    retry 4 refused; grep "too many clients" /run/refused
    retry 15 taken crowd
    kill "$crowd"
    retry 15 as_orders -c "SELECT 1" >/dev/null # those that waited in the queue have their five seconds, too
    [[ $(as_orders -c "SHOW authentication_timeout; SHOW statement_timeout; SHOW idle_in_transaction_session_timeout; SHOW client_connection_check_interval" | xargs) == "5s 5s 5s 1s" ]]
    [[ $(as_orders -c "SELECT rolconnlimit, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = '"'orders'"'") == "40|f|f" ]]
    refute as_orders -c "SELECT pg_sleep(30)"
    # Its own limit leaves connections to whoever looks after the database.
    for _ in {1..70}; do as_orders -c "SELECT pg_sleep(4)" & done &>/run/many
    retry 20 grep "too many connections for role" "$STATE/log/postgres-db.log"
    wait || :
    retry 10 taken after
  '
  succeeds
}
