#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2314 # the text between single quotes runs inside the sandbox; `!` ends a test
# The whole lab: up, down, twice, killed at any moment; data that stays and data that goes.

load helpers

setup_file() { share_lab; }

@test "up serves the catalogue on localhost, and says how to go on" {
  sandboxed '
    scripts/lab.sh up
    curl -fsS http://localhost:8080/api/products | jq -e ".products | map(.name) == [\"Laptop\", \"Mouse\", \"Keyboard\"]"
    ip netns exec world curl -fsS http://203.0.113.1:8080/health
  '
  succeeds
  says "The lab is up: the shop is at http://localhost:8080/"
  says "81 of 81 pings answered"
  [[ $output =~ "9 namespaces, 1 bridge, "[0-9]+" rules, 9 programs; 81 pings, "[0-9]{4}" probes: all passed (" ]]
  ((${#lines[@]} <= 30))
  [[ $output =~ "+ iptables-restore --noflush --wait ("[0-9]+" rules; SHOW=1 prints them, sudo make rules explains them)" ]]
  [[ $output != *"-A CNET-"* ]]
}

@test "SHOW=1 shows each rule and each check" {
  sandboxed 'SHOW=1 scripts/lab.sh up'
  succeeds
  says "-A CNET-PUBLISH "
  says "ok    api-gateway GET /health"
  says "Flows that passed"
}

@test "the proof leaves no counted drops and no connections of its own behind" {
  sandboxed '
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    conntrack -L >/run/tracked 2>/dev/null; scripts/lab.sh status >/run/status
    dropped=$(sed -n "/^dropped by the policy since the last proof/,/^$/p" /run/status); echo "$dropped"
    awk "NR > 1 && \$1 > 20 { exit 1 }" <<<"$dropped" # services that were cut off by the new rules, at most
    cut -d" " -f1 /run/tracked | sort | uniq -c
    refute grep -E "^(icmp|unknown) .*src=10.0" /run/tracked
  '
  succeeds
}

@test "down leaves links, addresses, routes, rules, sysctls, namespaces, mounts and processes as they were" {
  sandboxed '
    host_state >/run/before
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    refute pristine /run/before >/dev/null # the comparison sees a running lab
    scripts/lab.sh down
    retry 5 pristine /run/before
  '
  succeeds
}

@test "down also gives back what was there before: forwarding that was on, rules of somebody else" {
  sandboxed '
    sysctl -qw net.ipv4.ip_forward=1
    iptables -P FORWARD DROP
    iptables -A INPUT -p tcp --dport 22 -j ACCEPT -m comment --comment "somebody else"
    iptables -t nat -A PREROUTING -p tcp --dport 9999 -j REDIRECT --to-ports 22
    host_state >/run/before
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    curl -fsS http://localhost:8080/health
    ip netns exec world curl -fsS http://203.0.113.1:8080/health
    scripts/lab.sh down
    retry 5 uncounted /run/before
  '
  succeeds
}

@test "up twice is one: not a link, rule, process or counter differs" {
  sandboxed '
    converge() { scripts/network.sh up; scripts/nat.sh up; scripts/services.sh up; }
    converge &>/run/first || { cat /run/first; exit 1; }
    host_state | sed -E "$COUNTERS" >/run/once
    counted=$(packets CNET-FORWARD)
    pids=$(ps -eo pid,args | grep -E "redis-server|postgres -D|nginx: master|gunicorn" | grep -v grep | awk "{print \$1}" | sed -n 1,4p)
    converge >/run/second
    cat /run/second
    refute grep -E "^\+ (ip|iptables|sysctl)" /run/second
    host_state | sed -E "$COUNTERS" >/run/twice
    diff /run/once /run/twice
    (($(packets CNET-FORWARD) >= counted)) # it went on counting, it did not begin again
    for pid in $pids; do [[ -e /proc/$pid ]]; done
  '
  succeeds
}

@test "orders outlive down and a crash of everything, and end with clean" {
  sandboxed '
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    id=$(curl -fsS -H "Content-Type: application/json" -d "{\"customer_id\":\"bats\",\"product_id\":\"1\",\"quantity\":1,\"total_price\":5}" http://localhost:8080/api/orders | jq .order_id)
    pkill -9 -x postgres; pkill -9 supervisord; pkill -9 redis-server || : # told to end by its parent'\''s death, it may be gone
    scripts/lab.sh down &>/run/down || { cat /run/down; exit 1; }
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    curl -fsS "http://localhost:8080/api/orders/$id" | jq -e ".customer_id == \"bats\""
    scripts/lab.sh clean
    [[ ! -e /var/opt/cnet ]]
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    [[ $(curl -s -o /dev/null -w "%{http_code}" "http://localhost:8080/api/orders/$((id + 5))") == 404 ]]
  '
  succeeds
}

@test "status names what was broken by hand, exits 1, and up mends it" {
  in_lab '
    scripts/lab.sh status >/dev/null
    ip -n redis-cache link set veth-redis down
    iptables -t nat -D CNET-PUBLISH 1
    sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.ip_forward=0 # the second switches every interface off
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop order-service
    refute scripts/lab.sh status >/run/drift
    cat /run/drift
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    scripts/lab.sh status
  '
  succeeds
  says "missing  veth-redis is up in namespace redis-cache"
  says "missing  rule nat -A CNET-PUBLISH"
  says "missing  sysctl net/ipv4/conf/br-app/forwarding = 1"
  says "missing  sysctl net/ipv4/conf/uplink/forwarding = 1"
  says "stopped    order-service"
}

@test "a namespace deleted under its running service is made anew, and the service moves into it" {
  in_lab '
    ip netns del redis-cache
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    scripts/lab.sh status | grep "running    redis-cache"
    [[ -n $(ip netns pids redis-cache) ]]
  '
  succeeds
}

@test "DRY_RUN=1 shows what up and down would do, and does nothing" {
  sandboxed '
    host_state >/run/before
    DRY_RUN=1 scripts/lab.sh up >/run/shown || { cat /run/shown; exit 1; }
    for text in "+ ip netns add redis-cache" "DNAT --to-destination" "program:postgres-db"; do grep -F -- "$text" /run/shown; done
    pristine /run/before
    bring_up
    DRY_RUN=1 scripts/lab.sh down >/run/shown
    grep "+ supervisorctl shutdown" /run/shown
    scripts/lab.sh status >/run/status || { cat /run/status; exit 1; }
    curl -fsS -o /dev/null http://localhost:8080/api/products
  '
  succeeds
}

@test "a frozen service is named by status and started anew by up" {
  in_lab '
    kill -STOP $(ip netns pids product3)
    refute scripts/lab.sh status >/run/status
    grep "not-ready  product-3" /run/status
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    scripts/lab.sh status >/run/status || { cat /run/status; exit 1; }
  '
  succeeds
}

@test "without a lab every tool says so in the same line, and writes no report" {
  sandboxed '
    export REPORTS=/run/reports
    for tool in "scripts/lab.sh status" "scripts/lab.sh services" "scripts/lab.sh policies" "scripts/verify.sh all" "scripts/services.sh logs" \
      "scripts/report.sh "{rules,topology,distribution,proof,documents,health,"health --once",connections} "scripts/scale.sh product-service 2" \
      "security/explain.sh redis-cache postgres-db 5432" monitoring/{monitor.sh,capture.sh,dashboard.sh,exporter.sh}" run"; do
      refute $tool &>/run/said
      [[ $(tail -n 1 /run/said) == *": the lab is not up: sudo make up" ]] || { echo "$tool"; cat /run/said; exit 1; }
    done
    [[ ! -e /run/reports ]]
  '
  succeeds
}

@test "verify names a dead bridge first, and says in words who reaches nobody, with the explain that tells why" {
  sandboxed '
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    for broken in "ip link set br-app down" "ip addr del 10.0.0.1/16 dev br-app"; do
      $broken
      fails_with 1 "bridge br-app is down, or without its address 10.0.0.1/16" scripts/verify.sh all
      scripts/network.sh up >/dev/null
    done
    ip -n redis-cache link set veth-redis down
    nsenter --net=/run/netns/product2 iptables -A INPUT -s 10.0.0.60 -j DROP
    refute scripts/verify.sh network >/run/said 2>&1
    cat /run/said
  '
  succeeds
  says "redis-cache: all pings to it and from it were lost"
  says "why: sudo make explain FROM=nginx-lb TO=redis-cache OPTIONS=--icmp"
  says "postgres-db does not reach product-2"
  says "why: sudo make explain FROM=redis-cache TO=world PORT=80"
  [[ $output != *"does not reach redis-cache"* ]]
}
