#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Instances come and go under load, the load is spread evenly, and faults are felt by nobody.

load helpers

LAB_UP='converge() { scripts/network.sh up; scripts/nat.sh up; scripts/services.sh up; }; converge &>/run/up || { cat /run/up; exit 1; }
state() { # what scaling may not leave behind
  scripts/topology.sh dump; ip -o link | sed "s/^[0-9]*: //; s/@if[0-9]*//; s/ .*//" | sort; ip netns list | cut -d" " -f1 | sort
  ls /etc/netns /var/opt/cnet/nodes /var/opt/cnet/log /run/cnet; ip -j link show br-app | jq -r ".[].ifalias"
  .venv/bin/supervisorctl -c /run/cnet/supervisord.conf status | cut -d" " -f1
}
'

@test "1 to 10 to 1 under load: no request fails, each instance serves, nothing is left" {
  sandboxed "$LAB_UP"'
    scripts/scale.sh product-service 1 &>/run/one
    state >/run/before
    ab -l -q -t 300 -n 1000000 -c 4 http://localhost:8080/api/products >/run/ab & load=$!
    sleep 1
    scripts/scale.sh product-service 10 &>/run/ten || { cat /run/ten; exit 1; }
    sleep 3
    scripts/network.sh status
    for number in {1..10}; do curl -fsS "http://10.0.0.20:3000/metrics" | grep "instance=\"product-$number\",outcome=\"200\"" >/dev/null; done
    ip netns exec redis-cache getent ahostsv4 product-service.lab | grep -c STREAM | grep "^10$"
    scripts/scale.sh product-service 1 &>/run/one || { cat /run/one; exit 1; }
    sleep 1
    kill -INT "$load"; wait "$load" || :
    grep -E "^(Complete|Failed|Non-2xx)" /run/ab
    (($(awk "/^Complete requests/ { print \$3 }" /run/ab) > 1000))
    grep -E "^Failed requests: +0" /run/ab; refute grep Non-2xx /run/ab
    state | diff /run/before -
    scripts/scale.sh product-service 3 &>/run/three
    [[ $(ip -j link show br-app | jq -r ".[].ifalias") == "cnet $ROOT/topology/flat.tsv" ]] # the table as it was
    scripts/lab.sh status >/run/status || { cat /run/status; exit 1; }
  '
  succeeds
}

@test "orders are served by several order services, each order once" {
  sandboxed "$LAB_UP"'
    scripts/scale.sh order-service 3 &>/run/three || { cat /run/three; exit 1; }
    scripts/scale.sh status | grep -E "order-service +3"
    for number in {1..30}; do
      curl -fsS -H "Content-Type: application/json" -d "{\"customer_id\":\"c\",\"product_id\":\"1\",\"quantity\":1,\"total_price\":1}" \
        -D - -o /dev/null http://localhost:8080/api/orders | tr -d "\r" | awk "tolower(\$1) == \"x-instance:\" { print \$2 }"
    done | sort | uniq -c | tee /dev/stderr | wc -l | grep "^3$"
  '
  succeeds
}

@test "kill -9 in the middle of scaling: the next run goes on from what is there, and down leaves nothing" {
  sandboxed "host_state >/run/before
    $LAB_UP"'
    for delay in 0.2 0.5 0.8 1.1; do
      for count in 4 1; do
        setsid scripts/scale.sh product-service "$count" &>/run/killed & pid=$!
        sleep "$delay"
        kill -9 -- "-$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
      done
      scripts/scale.sh product-service 2 &>/run/two || { echo "scale after a kill at $delay s"; cat /run/two; exit 1; }
      scripts/lab.sh status &>/run/status || { echo "status after a kill at $delay s"; cat /run/status; exit 1; }
      curl -fsS http://localhost:8080/api/products | jq -e ".products | length == 3"
    done
    scripts/lab.sh clean >/dev/null
    retry 5 pristine /run/before
  '
  succeeds
}

@test "what cannot be scaled is refused, and nothing changes" {
  sandboxed "$LAB_UP"'
    state >/run/before
    for bad in "redis-cache 2" "product-service 0" "product-service x" "product-service 101" "product-service"; do
      status=0; scripts/scale.sh $bad &>/run/said || status=$?
      [[ $status == 2 ]] || { echo "$bad: $status"; cat /run/said; exit 1; }
    done
    DRY_RUN=1 scripts/scale.sh product-service 5 | grep -P "product-5\tproduct5\t10.0.0.34/16"
    state | diff /run/before -
    scripts/services.sh down &>/dev/null; scripts/network.sh down >/dev/null
    fails_with 1 "the lab is not up: sudo make up" scripts/scale.sh product-service 2
  '
  succeeds
}

@test "the report of the distribution: even within 1 % while all are well" {
  sandboxed "$LAB_UP"'
    export REPORTS=/run
    fails_with 1 "no request for products was routed yet" scripts/report.sh distribution
    ab -l -q -n 1500 -c 4 http://localhost:8080/api/products >/dev/null
    sleep 1
    scripts/report.sh distribution | tee /run/said
    [[ $(awk -F, "NR > 1 { n++ } NR > 1 && (\$4 > 1 || \$4 < -1) { n = 99 } END { print n }" /run/distribution.csv) == 3 ]]
    [[ $(head -c 4 /run/distribution.png | tail -c 3) == PNG ]]
  '
  succeeds
}
