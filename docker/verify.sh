#!/usr/bin/env bash
# Proof that the platform works in Docker, by trying it: the lab's own checks, then what only a container has.
#
#   docker/verify.sh all          all of the following (the default)
#   docker/verify.sh services     every endpoint through the published ports; an order read back from PostgreSQL
#   docker/verify.sh isolation    who reaches whom, tried from inside each container's network namespace
#   docker/verify.sh containers   no root, no capability, nothing writable, no build tools, limits that bite
#   docker/verify.sh help
#
# Exit 1 when anything failed.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"
# shellcheck source=scripts/lib/checks.sh
source "$ROOT/scripts/lib/checks.sh"

FROM=(engine_host)
HOST=127.0.0.1
WAY_IN=http://$HOST:${NGINX_PORT:-8081} GATEWAY=http://$HOST:3000 REGISTRY=http://$HOST:8501

read_order() { # ID
  docker exec "$(container_of postgres)" sh -c 'PGCONNECT_TIMEOUT=5 PGPASSWORD=$(cat /run/secrets/db_password) exec psql -XAt -h 127.0.0.1 -U orders -d orders -c "$0"' \
    "SELECT customer_id, product_id, quantity, total_price FROM orders WHERE id = $1"
}

# The namespace of a container, entered from here: no tool needs to be in the image.
inside() { # CONTAINER COMMAND...
  nsenter --target "$(docker inspect --format '{{.State.Pid}}' "$1")" --net -- "${@:2}"
}

verify_services() {
  title "Published ports"
  verify_own_endpoints_of api-gateway "$GATEWAY"
  verify_own_endpoints_of service-registry "$REGISTRY"
  local program wanted
  for program in product-service:2 order-service:1; do
    wanted=${program#*:} program=${program%:*}
    expect "$wanted of $program registered and passing" 200 "[.[] | select(.health == \"passing\")] | length == $wanted" "$REGISTRY/discover/$program?all=1"
  done
  title "The platform at $WAY_IN"
  verify_way_in "$WAY_IN"
  verify_products "$WAY_IN"
  verify_orders "$WAY_IN"
}

# SERVICE SERVICE PORT: each that the other must reach; all other pairs below must fail.
ALLOWED="nginx api-gateway 3000
api-gateway product-service 5000
api-gateway order-service 5000
api-gateway service-registry 8500
product-service redis 6379
product-service service-registry 8500
order-service postgres 5432
order-service product-service 5000
order-service service-registry 8500"
CLOSED="nginx redis 6379
nginx postgres 5432
nginx product-service 5000
nginx order-service 5000
api-gateway redis 6379
api-gateway postgres 5432
product-service postgres 5432
order-service redis 6379
redis postgres 5432
postgres redis 6379"

reaches() { # SERVICE SERVICE PORT: by any of the other's addresses
  local address
  while read -r address; do
    ! inside "$(container_of "$1")" timeout 1 "$BASH" -c "</dev/tcp/$address/$3" &>/dev/null || return 0
  done < <(docker inspect --format '{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}' "$(container_of "$2")" | grep .)
  return 1
}

verify_isolation() {
  local from to port
  title "Who reaches whom"
  while read -r from to port; do
    if reaches "$from" "$to" "$port"; then passed "$from -> $to:$port"; else failed "$from does not reach $to:$port"; fi
  done <<<"$ALLOWED"
  while read -r from to port; do
    if reaches "$from" "$to" "$port"; then failed "$from reaches $to:$port, and must not"; else passed "$from has no way to $to:$port"; fi
  done <<<"$CLOSED"
}

status_of() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$(docker inspect --format '{{.State.Pid}}' "$1")/status"; } # CONTAINER KEY

# The file of a limit: of cgroup v2, or of v1.
limit_of() { # CONTAINER V2_FILE V1_CONTROLLER/FILE
  local pid path
  pid=$(docker inspect --format '{{.State.Pid}}' "$1")
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    cat "/sys/fs/cgroup$(awk -F: '$1 == 0 { print $3 }' "/proc/$pid/cgroup")/$2"
  else
    path=$(awk -F: -v controller="${3%%/*}" '("," $2 ",") ~ "," controller "," { print $3 }' "/proc/$pid/cgroup")
    cat "/sys/fs/cgroup/${3%%/*}$path/${3#*/}"
  fi
}

verify_container() { # SERVICE
  local container seen
  container=$(container_of "$1")
  seen="uid $(status_of "$container" Uid), capabilities $(status_of "$container" CapEff), no new privileges $(status_of "$container" NoNewPrivs)"
  if [[ $seen == 'uid 0,'* || $seen != *'capabilities 0000000000000000, no new privileges 1' ]]; then failed "$1: $seen"; else passed "$1: $seen"; fi
  if docker exec "$container" sh -c 'echo x >/written' 2>/dev/null; then failed "$1: its root file system can be written"; else passed "$1: its root file system is read-only"; fi
  seen="memory $(limit_of "$container" memory.max memory/memory.limit_in_bytes)"
  if [[ $seen == "memory $((256 * 1024 * 1024))" ]]; then passed "$1: $seen"; else failed "$1: $seen"; fi
}

# Asks for more than the limit, and is killed for it; the container itself lives on.
verify_memory_bites() {
  local container
  container=$(container_of product-service)
  if docker exec "$container" python -c 'held = bytearray(400 << 20)' &>/dev/null; then
    failed 'product-service: 400 MB fit into its limit of 256 MB'
  else passed 'product-service: a process that asks for 400 MB is killed'; fi
}

# Wants a whole core for two seconds, and gets half of one.
verify_cpu_bites() {
  local container share
  container=$(container_of product-service)
  share=$(docker exec "$container" python -c 'import time
begin = time.monotonic()
while time.monotonic() - begin < 2: pass
print(round(time.process_time() / 2 * 100))')
  if ((share <= 60)); then passed "product-service: a loop gets $share % of a core, the limit is 50"; else failed "product-service: a loop gets $share % of a core"; fi
}

verify_containers() {
  local service
  title "Containers"
  for service in nginx "${PROGRAMS[@]}" redis postgres; do verify_container "$service"; done
  for service in "${PROGRAMS[@]}"; do
    if docker exec "$(container_of "$service")" python -c 'import pip' &>/dev/null; then failed "$service: pip is in the image"; else passed "$service: no pip in the image"; fi
  done
  title "Limits"
  verify_memory_bites
  verify_cpu_bites
}

main() {
  need_root
  need_compose
  need_tools nsenter curl jq
  [[ -n $(container_of api-gateway) ]] || die "the platform does not run in Docker; docker/compose.sh up"
  [[ $1 != all && $1 != services ]] || verify_services
  [[ $1 != all && $1 != isolation ]] || verify_isolation
  [[ $1 != all && $1 != containers ]] || verify_containers
  echo
  ((FAILED == 0)) || die "not everything worked; the lines marked FAIL say what"
  say "${GREEN}all of it works${PLAIN}"
}

case ${1:-all} in
  all | services | isolation | containers) main "${1:-all}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
