# shellcheck shell=bash
# Shared by the scripts of this folder: the engine, its network, the images. Sourced, never run.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"

# Programs with an image of service.Dockerfile; nginx has its own.
# shellcheck disable=SC2034 # used by the scripts that source this
PROGRAMS=(service-registry product-service order-service api-gateway)
PROJECT=${COMPOSE_PROJECT_NAME:-cnet}
SECRETS=${SECRETS:-$ROOT/docker/secrets}
export PROJECT SECRETS

need_engine() {
  command -v docker >/dev/null || die "docker is not installed; see https://docs.docker.com/engine/install/"
  docker info &>/dev/null ||
    die "no Docker engine answers at ${DOCKER_HOST:-the default socket}: $(docker info 2>&1 >/dev/null | tail -1)"
}

need_compose() {
  need_engine
  docker compose version &>/dev/null || die "docker has no compose plugin; see https://docs.docker.com/compose/install/"
}

# Run a command in the network namespace of the engine's bridges: this one, or the engine's own (DOCKER_NETNS).
engine_host() { ${DOCKER_NETNS:+nsenter --net="/run/netns/$DOCKER_NETNS" --} "$@"; }

compose() { docker compose --project-name "$PROJECT" --file "$ROOT/docker/compose.yml" "$@"; }

container_of() { compose ps --quiet "$1" | sed -n 1p; } # SERVICE
address_of() {                                          # CONTAINER NETWORK
  docker inspect --format "{{(index .NetworkSettings.Networks \"${PROJECT}_$2\").IPAddress}}" "$1"
}
