#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Peers that are frozen, slow or full, in the lab: what is known goes on being served, and no order is lost.

load helpers

setup_file() { share_lab 'scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up'; }

FUNCTIONS='order() { # PRODUCT [CURL OPTION...]: prints the status
  curl -s -m 8 -o /run/answer -w "%{http_code}\n" -H "Content-Type: application/json" "${@:2}" http://localhost:8080/api/orders \
    -d "{\"customer_id\":\"bats\",\"product_id\":\"$1\",\"quantity\":3,\"total_price\":239.96999999999997}"
}
ordered() { [[ $(order "$@") == 201 ]] || { cat /run/answer; return 1; }; }
supervisor() { .venv/bin/supervisorctl -c /run/cnet/supervisord.conf "$@"; }
signal() { ip netns pids "$2" | xargs kill "-$1"; } # SIGNAL NAMESPACE
get() { curl -fsS -m 3 -o /dev/null http://localhost:8080/api/products; }
retry 10 get
'

@test "a frozen registry costs no order, not even of a service that starts meanwhile" {
  in_own_lab "$FUNCTIONS"'
    signal STOP service-registry
    for number in 1 2 3; do ordered "$number"; done # none of them was asked for before
    acknowledged=3
    for _ in {1..30}; do ordered $((RANDOM % 3 + 1)); get; acknowledged=$((acknowledged + 1)); sleep 0.2; done
    supervisor restart order-service api-gateway
    retry 20 curl -fs -m 2 -o /dev/null http://10.0.0.20:3000/ready
    for number in 1 2 3; do ordered "$number"; get; acknowledged=$((acknowledged + 1)); done
    signal CONT service-registry
    for _ in {1..30}; do ordered $((RANDOM % 3 + 1)); get; acknowledged=$((acknowledged + 1)); sleep 0.1; done
    curl -fsS http://10.0.0.40:5000/orders/1 | jq -e ".total_price == 239.97"
    stored() { curl -s -o /dev/null -w "%{http_code}" "http://10.0.0.40:5000/orders/$1"; }
    [[ $(stored "$acknowledged") == 200 && $(stored $((acknowledged + 1))) == 404 ]] # as many as were acknowledged, and no more
  '
  succeeds
}

@test "60 orders for unknown products at product services that drip: each order for a known one gets 201" {
  in_lab "$FUNCTIONS"'
    ordered 1
    for number in 1 2 3; do supervisor stop "product-$number" & done; wait
    for number in 0 1 2; do
      namespace=$( ((number == 0)) && echo product-service || echo "product$((number + 1))")
      nsenter --net="/run/netns/$namespace" -- python3 tests/lab/slow_peer.py healthy "10.0.0.3$number" 5000 &
      retry 5 curl -fs -o /dev/null "http://10.0.0.3$number:5000/health"
      nsenter --net="/run/netns/$namespace" -- curl -fsS -o /dev/null -H "Content-Type: application/json" http://10.0.0.70:8500/register \
        -d "{\"name\":\"product-service\",\"instance_id\":\"product-$((number + 1))\",\"ip\":\"10.0.0.3$number\",\"port\":5000}"
    done
    printf "unknown-%s\n" {1..60} | xargs -P 60 -I{} curl -s -m 20 -o /dev/null -w "%{http_code}\n" -H "Content-Type: application/json" \
      http://localhost:8080/api/orders -d "{\"customer_id\":\"x\",\"product_id\":\"{}\",\"quantity\":1,\"total_price\":1}" >/run/unknown & unknown=$!
    for _ in {1..30}; do ordered 1; done
    wait "$unknown" || :
    sort /run/unknown | uniq -c | tee /dev/stderr | grep -E "^ *60 503$" # all of them, and quickly
    for _ in {1..10}; do ordered 1; done
  '
  succeeds
}

@test "without room for its files the gateway goes on and says so once; garbled files are named and ignored" {
  in_lab "$FUNCTIONS"'
    own=/var/opt/cnet/nodes/api-gateway
    retry 5 test -s $own/product-service.instances
    kept=$(<$own/product-service.instances)
    printf "[[[" >$own/order-service.instances
    supervisor stop api-gateway
    mount -t tmpfs -o size=2m,mode=700 tmpfs $own
    printf "[[[" >$own/order-service.instances; printf %s "$kept" >$own/product-service.instances; chown -R "$(stat -c %u $own/..)" $own
    head -c 10m /dev/zero >$own/ballast 2>/dev/null || : # not a byte is left
    supervisor start api-gateway
    retry 20 get; retry 10 ordered 1
    ignored() { grep -c "ignoring the saved instances in .*order-service.instances" /var/opt/cnet/log/api-gateway.log; }
    retry 20 eval "[[ \$(ignored) == 2 ]]" # two workers
    supervisor stop product-3 # a change, and one more
    retry 10 eval "[[ \$(curl -fsS http://10.0.0.70:8500/discover/product-service?all=1 | jq length) == 2 ]]"
    supervisor start product-3
    for _ in {1..30}; do ordered 1; get; done
    grep "cannot write /state/" /var/opt/cnet/log/api-gateway.log | tee /dev/stderr | wc -l | grep -E "^[1-4]$" # two workers, two files
  '
  succeeds
}
