#!/usr/bin/env bash
# Check that the platform works in Docker, by trying it: the lab's own checks, then those of containers.
#
#   docker/verify.sh all          all of the following (the default)
#   docker/verify.sh services     every endpoint through the published ports; an order read back from PostgreSQL
#   docker/verify.sh isolation    which service reaches which, tried from each container's network namespace
#   docker/verify.sh containers   no root, no capability, nothing writable, no build tools, limits that are enforced
#   docker/verify.sh help
#
# Exit 1 when anything failed.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"
# shellcheck source=scripts/lib/checks.sh
source "$ROOT/scripts/lib/checks.sh"

HOST=127.0.0.1
WAY_IN=http://$HOST:${NGINX_PORT:-8081} GATEWAY=http://$HOST:3000 REGISTRY=http://$HOST:8501

read_order() { # ID
  docker exec "$(container_of postgres)" sh -c 'export PGCONNECT_TIMEOUT=5 PGPASSWORD=$(cat /run/secrets/db_password)
    exec psql -XAt -h 127.0.0.1 -U orders -d orders -c "$0"' \
    "SELECT customer_id, product_id, quantity, total_price FROM orders WHERE id = $1"
}

# Run the host's command in a container's network namespace, because images have few tools.
inside() { # CONTAINER COMMAND...
  nsenter --target "$(pid_of "$1")" --net -- "${@:2}"
}

verify_services() {
  need_environment
  try_endpoints engine_host env PYTHONPATH="$ROOT" \
    "$VENV/bin/python" -m lab.verify docker "$GATEWAY" "$REGISTRY" "$WAY_IN"
}

# FROM TO PORT: connections that must work (yes) or must fail (no).
PATHS="yes nginx api-gateway 3000
yes api-gateway product-service 5000
yes api-gateway order-service 5000
yes api-gateway service-registry 8500
yes product-service redis 6379
yes product-service service-registry 8500
yes order-service postgres 5432
yes order-service product-service 5000
yes order-service service-registry 8500
no nginx redis 6379
no nginx postgres 5432
no nginx product-service 5000
no nginx order-service 5000
no api-gateway redis 6379
no api-gateway postgres 5432
no product-service postgres 5432
no order-service redis 6379
no redis postgres 5432
no postgres redis 6379"

reaches() { # SERVICE SERVICE PORT: by any of the other's addresses
  local address addresses format='{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}'
  addresses=$(docker inspect --format "$format" "$(container_of "$2")")
  for address in $addresses; do
    ! inside "$(container_of "$1")" timeout 1 "$BASH" -c "</dev/tcp/$address/$3" &>/dev/null || return 0
  done
  return 1
}
does_not_reach() { ! reaches "$@"; }

verify_isolation() {
  local wanted from to port
  title "Which service reaches which"
  while read -r wanted from to port; do
    if [[ $wanted == yes ]]; then
      check "$from -> $to:$port" "$from does not reach $to:$port" reaches "$from" "$to" "$port"
    else
      check "$from has no way to $to:$port" "$from reaches $to:$port, and must not" does_not_reach "$from" "$to" "$port"
    fi
  done <<<"$PATHS"
}

pid_of() { docker inspect --format '{{.State.Pid}}' "$1"; }                              # CONTAINER
status_of() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$(pid_of "$1")/status"; } # CONTAINER KEY

in_container() { docker exec "$(container_of "$1")" "${@:2}" &>/dev/null; } # SERVICE COMMAND...
fails_in_container() { ! in_container "$@"; }

verify_container() { # SERVICE
  local container uid caps privileges limit
  container=$(container_of "$1")
  uid=$(status_of "$container" Uid) caps=$(status_of "$container" CapEff)
  privileges=$(status_of "$container" NoNewPrivs)
  # One of these files exists: that of cgroup v2 or that of v1.
  limit=$(docker exec "$container" cat /sys/fs/cgroup/{memory.max,memory/memory.limit_in_bytes} 2>/dev/null) || :
  check "$1: uid $uid, not root" "$1: runs as root" test "$uid" != 0
  check "$1: no capability, no new privileges" "$1: capabilities $caps, no new privileges $privileges" \
    test "$caps $privileges" == '0000000000000000 1'
  check "$1: its root file system is read-only" "$1: its root file system can be written" \
    fails_in_container "$1" sh -c 'echo x >/written'
  check "$1: memory limit $limit" "$1: memory limit $limit" test "$limit" == $((256 * 1024 * 1024))
}

# A busy loop of two seconds gets half a core.
verify_cpu_limit() {
  local share
  share=$(docker exec "$(container_of product-service)" python -c 'import time
begin = time.monotonic()
while time.monotonic() - begin < 2: pass
print(round(time.process_time() / 2 * 100))')
  check "product-service: a loop gets $share % of a core, the limit is 50" \
    "product-service: a loop gets $share % of a core" test "$share" -le 60
}

verify_containers() {
  local service
  title "Containers"
  for service in nginx "${PROGRAMS[@]}" redis postgres; do verify_container "$service"; done
  for service in "${PROGRAMS[@]}"; do
    check "$service: no pip in the image" "$service: pip is in the image" \
      fails_in_container "$service" python -c 'import pip'
  done
  title "Limits"
  check 'product-service: a process that allocates 400 MB is killed' \
    'product-service: 400 MB fit into its limit of 256 MB' \
    fails_in_container product-service python -c 'held = bytearray(400 << 20)'
  verify_cpu_limit
}

main() { # all|services|isolation|containers
  need_root
  need_compose
  need_tools nsenter
  [[ -n $(container_of api-gateway) ]] || die "the platform does not run in Docker; docker/compose.sh up"
  verify_parts "$1" services isolation containers
}

case ${1:-all} in
  all | services | isolation | containers) main "${1:-all}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
