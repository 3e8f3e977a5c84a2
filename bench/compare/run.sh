#!/usr/bin/env bash
# Namespaces against Docker: the same services, the same limits, in turn on one machine.
#
#   client -> the lab in a sandbox:  published port | node's address | node's address under the policy
#   client -> Docker:                published port | docker-proxy | container's address | host network
#
#   bench/compare/run.sh [run]    ROUNDS=5 rounds of REQUESTS=1000 requests, 50 at a time, and of SECONDS_OPEN=5 s at a
#                                 constant rate, on GET /api/products; QUICK=1: 2 rounds of 200 and 2 s
#   bench/compare/run.sh help
#
# Each service of either side has half a CPU and 256 MB. Without an engine only the lab is measured. --json (or JSON=1)
# prints JSON.
# Results in reports/: bench.csv, bench.png, bench_report.pdf, every run in bench_raw.csv, every request in bench_raw/.

export COMPOSE_PROJECT_NAME=cnet-bench # separate Compose project: other volumes stay as they are
# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../docker/engine.sh"
# shellcheck source=scripts/lib/lab_in_sandbox.sh
source "$ROOT/scripts/lib/lab_in_sandbox.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

REPORTS=${REPORTS:-$ROOT/reports}
ROUNDS=${ROUNDS:-${QUICK:+2}} ROUNDS=${ROUNDS:-5}
REQUESTS=${REQUESTS:-${QUICK:+200}} REQUESTS=${REQUESTS:-1000}
SECONDS_OPEN=${SECONDS_OPEN:-${QUICK:+2}} SECONDS_OPEN=${SECONDS_OPEN:-5}
export NGINX_PORT=${NGINX_PORT:-8081}
HOST_PORT=8082

PORTS=("$NGINX_PORT" "$HOST_PORT" 3000 8501 6380 5433) # of docker/compose.yml, and of nginx in the host's network

# Check before the start: Docker lists only the containers that did not start, not the port.
check_ports() {
  local port held=() by advice='free them'
  for port in "${PORTS[@]}"; do [[ -z $(engine_host ss -Hnlt "sport = :$port") ]] || held+=("$port"); done
  ((${#held[@]} > 0)) || return 0
  by=$(docker ps --filter "publish=${held[0]}" --format '{{.Names}} of project {{.Label "com.docker.compose.project"}}')
  [[ $by != *" of project cnet" ]] || advice+=': sudo make docker-down'
  die "ports that the comparison needs are held: ${held[*]}${by:+ (${held[0]} by container $by)}; $advice"
}

engine_answers() { docker info && docker compose version; }

start_docker() {
  export SECRETS=$WORK/secrets
  say "bringing the same up in Docker"
  make_secrets
  "$ROOT/docker/images.sh" up >"$WORK/images"
  defer docker_down
  defer say "taking both down"
  # As many instances as in the lab, without health checks during the measurement, and reachable from every address.
  # compose up would wait for health checks.
  HEALTH_INTERVAL=1h PUBLISH_ADDRESS=0.0.0.0 compose create --scale "product-service=$INSTANCES" &>"$WORK/compose" ||
    die "compose: $(tail -1 "$WORK/compose")"
  compose ps --all --quiet | xargs docker start 2>"$WORK/start" >/dev/null ||
    die "$(grep -v 'failed to start containers' "$WORK/start" | sed -n 1,3p)"
  docker run --detach --name "$PROJECT-nginx-host" --network host --label "com.docker.compose.project=$PROJECT" \
    --label com.docker.compose.service=nginx-host --cpus 0.5 --memory 256m \
    --env "GATEWAYS=$(address_of "$PROJECT-api-gateway-1" frontend):3000" \
    --env "SERVICE_PORT=$HOST_PORT" cnet/nginx:1 >/dev/null
  retry_until 60 answers "$NGINX_PORT" || die "the platform in Docker does not answer; docker compose -p $PROJECT logs"
  retry_until 60 answers "$HOST_PORT" ||
    die "nginx in the host's network does not answer; docker logs $PROJECT-nginx-host"
}
answers() { engine_host curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$1/api/products" 2>/dev/null; }
docker_down() {
  docker rm --force "$PROJECT-nginx-host" &>/dev/null || :
  compose down --volumes &>/dev/null
}

check_settings() {
  need_root
  need_number ROUNDS 2
  need_number REQUESTS 50
  need_number SECONDS_OPEN 1
  need_folder REPORTS
  make_private_file "$RUN_DIR/bench.lock"
  exec {LOCK}>"$RUN_DIR/bench.lock"
  flock --nonblock "$LOCK" || die "another make bench runs; wait until it ends"
  "$ROOT/scripts/install.sh" dev
  need_tools ab nsenter curl unshare setpriv
  ! engine_answers &>/dev/null || { docker_down && check_ports; } # docker_down: remove containers of a killed run
}

main() {
  divert_text
  check_settings
  cd "$ROOT"
  export TOPOLOGY=flat
  INSTANCES=$(awk -F'\t+' '$1 == "node" && $10 == "product-service"' "$ROOT/topology/$TOPOLOGY.tsv" | wc -l)
  WORK=$(mktemp -d)
  defer rm -rf "$WORK"
  defer "$VENV/bin/python" -c 'from bench.common.cgroups import remove_all; remove_all()'
  start_lab scripts/network.sh scripts/nat.sh scripts/services.sh # measure.py loads and removes the policy
  local docker=()
  if engine_answers &>/dev/null; then
    start_docker
    docker=(--docker "$NGINX_PORT" "$HOST_PORT")
  else say "${YELLOW}no Docker engine with Compose answers here, so only the lab is measured${PLAIN}"; fi
  rm -rf "$REPORTS/bench_raw"
  watch "$VENV/bin/python" -m lab.as_command bench.compare.measure --lab "$LAB_INSIDE" "${docker[@]}" \
    --rounds "$ROUNDS" --requests "$REQUESTS" --seconds "$SECONDS_OPEN" --reports "$REPORTS" \
    ${JSON:+--json} >&"$DOCUMENT"
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-run} in
  run) main ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
