#!/usr/bin/env bash
# Phase 5: the same platform in Docker, as docker/compose.yml describes it.
#
#   docker/compose.sh up       images and passwords, then all containers, until all are healthy
#   docker/compose.sh down     remove containers and networks; orders and passwords stay
#   docker/compose.sh clean    remove these, and volumes, passwords and images
#   docker/compose.sh status   each container; 1 if one is not healthy
#   docker/compose.sh verify   try every endpoint, an order, limits, which service reaches which
#   docker/compose.sh help
#
# Where Docker's engine has a network namespace of its own, DOCKER_NETNS names it.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

SERVICES=(nginx api-gateway product-service order-service service-registry redis postgres)

up() {
  need_compose
  "$ROOT/docker/images.sh" up
  make_secrets
  compose up --detach --wait --wait-timeout 180 --remove-orphans || {
    compose ps >&2
    die "not every container became healthy; see docker compose -p $PROJECT logs"
  }
  local url
  url=http://localhost:${NGINX_PORT:-8081}
  say ""
  say "${BOLD}The platform is up in Docker: the shop is at $url/$PLAIN"
  say "  try:  curl $url/api/products"
  say "        sudo make docker-verify                 # prove it"
  say "        sudo make docker-diff                   # compare its network with the lab's"
}

down() {
  need_compose
  run compose down --remove-orphans
}

clean() {
  need_compose
  run compose down --remove-orphans --volumes
  "$ROOT/docker/images.sh" down
  run rm -f "$SECRETS"/{redis,db}_password
  [[ ! -d $SECRETS ]] || run rmdir --ignore-fail-on-non-empty "$SECRETS"
}

status() {
  need_compose
  local service state name word health colour drift=0
  for service in "${SERVICES[@]}"; do
    state=$(compose ps --format '{{.Name}} {{.State}} {{.Health}}' "$service" 2>/dev/null)
    [[ -n $state ]] || state="$service missing -"
    while read -r name word health; do
      [[ $word == running && $health == healthy ]] || drift=1
      colour=$RED
      [[ $health != healthy ]] || colour=$GREEN
      printf '%s%-10s%s %-10s %s\n' "$colour" "$word" "$PLAIN" "$health" "$name"
    done <<<"$state"
  done
  return "$drift"
}

case ${1:-help} in
  up | down | clean | status) "$1" ;;
  verify) exec "$ROOT/docker/verify.sh" all ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
