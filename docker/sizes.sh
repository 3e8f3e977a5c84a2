#!/usr/bin/env bash
# Measure the saving of each optimisation of the images: sizes over the base image.
#
#   docker/sizes.sh [run]   builds each step of one service, measures; reports/docker_sizes.csv, .md and .pdf
#   docker/sizes.sh help
#
# NAME (product-service) is the service. The images of the steps are removed at the end.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

REPORTS=${REPORTS:-$ROOT/reports}
NAME=${NAME:-product-service}
BASE=${PYTHON_IMAGE:-python:3.11-slim}
STEPS=(everything own no-cache two-stages)
IMPORTS=5 # how often the service's modules are loaded, to measure what bytecode saves

size_of() { docker image inspect --format '{{.Size}}' "$1"; }

build_step() { # STEP
  docker_build --file "$ROOT/docker/sizes.Dockerfile" --target "$1" --tag "cnet-sizes/$1" \
    --build-arg "NAME=$NAME" --build-arg "BASE_IMAGE=$BASE" "$ROOT/services" >&2
}

remove_steps() { docker image rm --force "${STEPS[@]/#/cnet-sizes/}" &>/dev/null || :; }

# Seconds to load the service's modules, in a container that cannot keep bytecode.
loading() { # IMAGE
  docker run --rm --read-only --network none --env STATE_DIR=/tmp --env PYTHONDONTWRITEBYTECODE=1 \
    --entrypoint python "$1" \
    -c 'import time; began = time.perf_counter(); import app; print(f"{time.perf_counter() - began:.3f}")'
}

measure() { # prints lines: figure,image,value
  local step round image
  echo figure,image,value
  echo "size,base,$(size_of "$BASE")"
  for step in "${STEPS[@]}"; do
    build_step "$step"
    echo "size,$step,$(size_of "cnet-sizes/$step")"
  done
  echo "size,final,$(size_of "cnet/$NAME:1")"
  for image in "${PROGRAMS[@]}"; do echo "service,$image,$(size_of "cnet/$image:1")"; done
  for ((round = 0; round < IMPORTS; round++)); do
    echo "loading,two-stages,$(loading cnet-sizes/two-stages)"
    echo "loading,final,$(loading "cnet/$NAME:1")"
  done
}

run_all() {
  need_root
  printf '%s\n' "${PROGRAMS[@]}" | grep -xF -- "$NAME" >/dev/null || die "NAME=$NAME: must be one of ${PROGRAMS[*]}"
  need_folder REPORTS
  need_engine
  need_environment
  "$ROOT/docker/images.sh" up
  defer remove_steps
  defer rm -f "$REPORTS/docker_sizes.csv.part"
  measure >"$REPORTS/docker_sizes.csv.part"
  mv "$REPORTS/docker_sizes.csv.part" "$REPORTS/docker_sizes.csv"
  cd "$ROOT"
  "$VENV/bin/python" -m docker.sizes "$NAME" "$REPORTS/docker_sizes.csv"
  say "also: $REPORTS/docker_sizes.csv, .md and .pdf"
}

case ${1:-run} in
  run) run_all ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
