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

# Run a command in the network namespace of the engine's bridges: the host's, or DOCKER_NETNS.
engine_host() { ${DOCKER_NETNS:+nsenter --net="/run/netns/$DOCKER_NETNS" --} "$@"; }

compose() { docker compose --project-name "$PROJECT" --file "$ROOT/docker/compose.yml" "$@"; }

container_of() { compose ps --quiet "$1" | sed -n 1p; } # SERVICE
address_of() {                                          # CONTAINER NETWORK
  docker inspect --format "{{(index .NetworkSettings.Networks \"${PROJECT}_$2\").IPAddress}}" "$1"
}

# Show the builder's output only when it fails.
docker_build() { # ARGUMENT...
  local output
  set -- --build-arg "PIP_NO_INDEX=${DOCKER_BUILD_OFFLINE:-}" "$@"
  echo_command docker build "$@"
  output=$(docker build --quiet "$@" 2>&1) || die "docker build: $(tail -5 <<<"$output")"
}

make_secrets() { # run once; all users in the container may read the files, on the host only the owner
  local name
  install -d -m 700 "$SECRETS"
  for name in redis_password db_password; do
    [[ -e $SECRETS/$name ]] || {
      od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$SECRETS/$name.part"
      mv "$SECRETS/$name.part" "$SECRETS/$name"
    }
    chmod 444 "$SECRETS/$name"
  done
}

# Run the function verify_PART of the part that is wanted, or of all parts; exit 1 if a check failed.
verify_parts() { # all|PART PART...
  local part
  for part in "${@:2}"; do [[ $1 != all && $1 != "$part" ]] || "verify_$part"; done
  echo
  ((FAILED == 0)) || die "not everything worked; see the lines marked FAIL"
  say "${GREEN}everything works${PLAIN}"
}
