#!/usr/bin/env bats
# shellcheck disable=SC2154 # status and output are set by bats
# The platform in Docker, on a real engine; skipped, with the reason, where none answers.

load helpers

setup_file() {
  export ENGINE=yes
  docker info &>/dev/null && docker compose version &>/dev/null || ENGINE=
  [[ -z $ENGINE ]] || state >"$BATS_FILE_TMPDIR/before"
  [[ -z $ENGINE || -n $(docker ps -q --filter label=com.docker.compose.project=cnet) ]] || "$ROOT/docker/compose.sh" up &>"$BATS_FILE_TMPDIR/up" || cat "$BATS_FILE_TMPDIR/up" >&2
}

setup() { [[ -n $ENGINE ]] || skip "no Docker engine with Compose answers here"; }

engine_host() { ${DOCKER_NETNS:+nsenter --net="/run/netns/$DOCKER_NETNS" --} "$@"; }

# What the engine has, and what is in its network namespace.
state() {
  docker ps -aq
  docker network ls --format '{{.Name}}' | sort
  engine_host ip -o link | awk -F': ' '{ print $2 }'
  engine_host iptables-save | grep -v -e '^#' -e '^:' || :
}

@test "all containers are healthy, and every check of the lab holds in Docker" {
  run "$ROOT/docker/compose.sh" status
  succeeds
  run "$ROOT/docker/verify.sh" all
  succeeds
  says "PostgreSQL has it"
  says "postgres has no way to redis"
}

@test "a container that is killed comes back, and its orders are there" {
  container=$(docker ps -q --filter label=com.docker.compose.service=postgres)
  before=$(docker inspect --format '{{.RestartCount}}' "$container")
  kill -9 "$(docker inspect --format '{{.State.Pid}}' "$container")"
  back() { (($(docker inspect --format '{{.RestartCount}}' "$container") > before)) && "$ROOT/docker/compose.sh" status >/dev/null; }
  for _ in {1..60}; do
    ! back || break
    sleep 0.5
  done
  back
  run engine_host curl -fsS http://127.0.0.1:3000/api/orders/1
  succeeds
  says '"id":1'
}

@test "the gateway's container made anew gets another address, and nginx follows" {
  docker compose -p cnet -f "$ROOT/docker/compose.yml" up -d --wait --force-recreate --no-deps api-gateway
  answers() { engine_host curl -fsS -m 2 http://127.0.0.1:8081/api/products >/dev/null; }
  for _ in {1..30}; do
    ! answers || break
    sleep 0.5
  done
  answers
}

@test "the verification goes red for a way that should not be" {
  postgres=$(docker ps -q --filter label=com.docker.compose.service=postgres)
  docker network connect cnet_frontend "$postgres"
  run "$ROOT/docker/verify.sh" isolation
  docker network disconnect cnet_frontend "$postgres"
  [[ $status == 1 ]]
  says "nginx reaches postgres:5432, and must not"
}

@test "down leaves no container, network, link or rule; the orders stay for the next up" {
  run "$ROOT/docker/compose.sh" down
  succeeds
  state | diff "$BATS_FILE_TMPDIR/before" -
  docker volume inspect cnet_orders
  run "$ROOT/docker/compose.sh" status
  [[ $status == 1 ]]
  "$ROOT/docker/compose.sh" clean
  run docker volume inspect cnet_orders
  [[ $status != 0 ]]
  [[ -z $(docker image ls -q --filter label=cnet.program) && ! -e $ROOT/docker/secrets ]]
}

@test "without an engine each command says so in one line" {
  for command in "compose.sh up" "compose.sh verify" "images.sh up"; do
    # shellcheck disable=SC2086 # two words
    DOCKER_HOST=unix:///nowhere run "$ROOT"/docker/$command
    [[ $status == 1 && ${#lines[@]} == 1 ]]
    says "no Docker engine answers at unix:///nowhere"
  done
}
