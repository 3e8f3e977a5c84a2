#!/usr/bin/env bash
# The images of the lab's own services: multi-stage, without root, without what a running service does not need.
#
#   services/NAME + docker/service.Dockerfile -> cnet/NAME:1      services/nginx + docker/nginx.Dockerfile -> cnet/nginx:1
#
#   docker/images.sh up       build what changed
#   docker/images.sh down     remove them
#   docker/images.sh status   name, size, age; 1 if one is missing
#   docker/images.sh help
#
# DOCKER_BUILD_OFFLINE=1: containers have no way out, so the wheels are fetched here and come with the build context.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

TAG=1
IMAGES=("${PROGRAMS[@]}" nginx)

# Wheels for the image's Python, whatever Python is here.
fetch_wheels() { # PROGRAM
  local folder=$ROOT/services/$1/wheels
  [[ -n ${DOCKER_BUILD_OFFLINE:-} ]] || return 0
  [[ $folder -ot $ROOT/services/$1/requirements.txt ]] || return 0
  say "fetching the wheels of $1"
  rm -rf "$folder"
  "$VENV/bin/python" -m pip download --quiet --disable-pip-version-check --only-binary :all: --python-version 3.11 \
    --dest "$folder" --requirement "$ROOT/services/$1/requirements.txt" 2> >(grep -v ^WARNING >&2) ||
    { rm -rf "$folder" && die "pip could not fetch the wheels of $1"; }
}

# What the builder says of itself is of interest only when it fails.
docker_build() { # ARGUMENTS...
  local said
  echo_command docker build "$@"
  said=$(docker build --quiet "$@" 2>&1) || die "docker build: $(tail -5 <<<"$said")"
}

build() { # PROGRAM
  if [[ $1 == nginx ]]; then
    docker_build --file "$ROOT/docker/nginx.Dockerfile" --tag "cnet/$1:$TAG" \
      ${NGINX_IMAGE:+--build-arg "BASE_IMAGE=$NGINX_IMAGE"} "$ROOT/services/nginx"
  else
    fetch_wheels "$1"
    docker_build --file "$ROOT/docker/service.Dockerfile" --tag "cnet/$1:$TAG" --build-arg "NAME=$1" \
      --build-arg "PIP_NO_INDEX=${DOCKER_BUILD_OFFLINE:-}" ${PYTHON_IMAGE:+--build-arg "BASE_IMAGE=$PYTHON_IMAGE"} "$ROOT/services/$1"
  fi
}

up() {
  need_engine
  [[ -z ${DOCKER_BUILD_OFFLINE:-} ]] || need_environment
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
