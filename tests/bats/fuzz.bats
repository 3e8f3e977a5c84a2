#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Every endpoint of every service, fuzzed from the OpenAPI document that it serves: no 5xx but the documented
# 503, no hang, no HTML, nothing that the document does not say.

load helpers

setup_file() { share_lab 'scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up'; }

FUNCTIONS='fuzz() { # URL OPTION...
  timeout 200 .venv/bin/schemathesis --config-file tests/schemathesis.toml run "$1/openapi.json" "${@:2}" >/run/fuzzed 2>&1 || { cat /run/fuzzed; exit 1; }
  grep -A1 "Test cases" /run/fuzzed
}
'

@test "fuzzed: product service" {
  in_lab "$FUNCTIONS"'fuzz http://10.0.0.30:5000'
  succeeds
}

@test "fuzzed: order service" {
  in_lab "$FUNCTIONS"'fuzz http://10.0.0.40:5000'
  succeeds
}

@test "fuzzed: gateway, by itself and through nginx" {
  in_lab "$FUNCTIONS"'
    fuzz http://10.0.0.20:3000
    fuzz http://10.0.0.20:3000 --url http://localhost:8080 --exclude-path /health # which nginx answers itself
  '
  succeeds
}

@test "fuzzed: registry, as a node that may register and as the host" {
  in_lab "$FUNCTIONS"'
    fuzz http://10.0.0.70:8500
    nsenter --net=/run/netns/redis-cache -- bash -c "
      timeout 200 .venv/bin/schemathesis --config-file tests/schemathesis.toml run http://10.0.0.70:8500/openapi.json" >/run/fuzzed || { cat /run/fuzzed; exit 1; }
    retry 5 eval "curl -fsS http://10.0.0.70:8500/discover/product-service?all=1 | jq -e \"length == 3\"" # nobody was harmed
  '
  succeeds
}

@test "fuzzing finds what is wrong: a service that breaks its document" {
  sandboxed '
    cp -r services/product-service /run/broken && cd /run/broken
    sed -i "s/tail = empty/tail = empty.replace(b\"products\", b\"items\")/" app.py
    ip addr add 10.9.9.9/32 dev lo
    SERVICE_IP=10.9.9.9 SERVICE_PORT=5999 STATE_DIR=/run/broken /usr/bin/env "$ROOT/.venv/bin/python" -m gunicorn -c python:cnet_service.gunicorn_settings "app:create_app()" &>/run/log &
    cd "$ROOT"
    retry 10 curl -fs -o /dev/null http://10.9.9.9:5999/health || { cat /run/log; exit 1; }
    refute .venv/bin/schemathesis --config-file tests/schemathesis.toml run http://10.9.9.9:5999/openapi.json
  '
  succeeds
  says "Response violates schema"
}
