#!/usr/bin/env bash
# Build the images of the lab's own services: multi-stage, non-root, without build tools.
#
#   services/NAME, services/common, docker/service.Dockerfile -> cnet/NAME:1
#   services/nginx, docker/nginx.Dockerfile -> cnet/nginx:1
#
#   docker/images.sh up       build what changed
#   docker/images.sh down     remove them
#   docker/images.sh status   name, size, age; 1 if one is missing
#   docker/images.sh help
#
# DOCKER_BUILD_OFFLINE=1: for an engine without a network. The wheels are fetched here into services/wheels, which is
# part of the build context.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

TAG=1
IMAGES=("${PROGRAMS[@]}" nginx)

# Fetch the wheels of all services, for the Python of the image; also what pip needs to build services/common.
fetch_wheels() {
  local folder=$ROOT/services/wheels common=$ROOT/services/common wanted=("$ROOT"/services/*/requirements.txt) digest
  digest=$(cat "${wanted[@]}" "$common/pyproject.toml" "$ROOT/requirements.txt" | sha256sum)
  [[ $digest != "$(cat "$folder/digest" 2>/dev/null)" ]] || return 0
  say "fetching the wheels of the services"
  rm -rf "$folder"
  "$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --only-binary :all: --python-version 3.11 \
    --dest "$folder" --no-build-isolation "${wanted[@]/#/--requirement=}" "$common" \
    "$(grep '^flit-core==' "$ROOT/requirements.txt")" 2> >(grep -v ^WARNING >&2) ||
    die "pip could not fetch the wheels of the services"
  echo "$digest" >"$folder/digest"
}

build() { # PROGRAM
  local recipe=service context=services base=${PYTHON_IMAGE:-}
  [[ $1 != nginx ]] || recipe=nginx context=services/nginx base=${NGINX_IMAGE:-}
  docker_build --file "$ROOT/docker/$recipe.Dockerfile" --tag "cnet/$1:$TAG" --build-arg "NAME=$1" \
    ${base:+--build-arg "BASE_IMAGE=$base"} "$ROOT/$context"
}

up() {
  need_engine
  [[ -z ${DOCKER_BUILD_OFFLINE:-} ]] || { need_environment && fetch_wheels; }
  local image
  for image in "${IMAGES[@]}"; do build "$image"; done
}

down() {
  need_engine
  local found
  mapfile -t found < <(docker image ls --quiet --filter label=cnet.program | sort -u)
  ((${#found[@]} == 0)) || run docker image rm --force "${found[@]}"
}

status() {
  need_engine
  local image absent=0
  for image in "${IMAGES[@]}"; do
    docker image ls --format "{{.Repository}}:{{.Tag}}  {{.Size}}  {{.CreatedSince}}" "cnet/$image:$TAG" | grep . ||
      { echo "${RED}missing${PLAIN}  cnet/$image:$TAG; docker/images.sh up" && absent=1; }
  done
  return "$absent"
}

case ${1:-help} in
  up | down | status) "$1" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
