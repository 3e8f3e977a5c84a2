#!/usr/bin/env bats
# shellcheck disable=SC2154 # status and output are set by bats
# The platform in Docker, on a real engine; skipped, with the reason, where none answers.

load helpers

setup_file() {
  export ENGINE=yes COMPOSE_PROJECT_NAME=cnet-test SECRETS=$BATS_FILE_TMPDIR/secrets # nobody's orders or passwords are touched
  docker info &>/dev/null && docker compose version &>/dev/null || ENGINE=
  [[ -n $ENGINE ]] || return 0
  "$ROOT/docker/compose.sh" clean &>/dev/null # of tests that were killed
  state >"$BATS_FILE_TMPDIR/before"
  "$ROOT/docker/compose.sh" up &>"$BATS_FILE_TMPDIR/up" || cat "$BATS_FILE_TMPDIR/up" >&2
}
teardown_file() { [[ -z $ENGINE ]] || "$ROOT/docker/compose.sh" clean &>/dev/null; }

setup() { [[ -n $ENGINE ]] || skip_by_docker "no engine with Compose answers"; }

engine_host() { ${DOCKER_NETNS:+nsenter --net="/run/netns/$DOCKER_NETNS" --} "$@"; }

container_of() { docker compose -f "$ROOT/docker/compose.yml" ps --quiet "$1"; }

# What the engine has, and what is in its network namespace. Docker removes its jump to DOCKER-USER and inserts it again
# for each network, so networks made at once leave it twice (https://github.com/moby/moby/pull/43585).
state() {
  docker ps -aq
  docker network ls --format '{{.Name}}' | sort
  docker volume ls -q | grep -E '^[0-9a-f]{64}$' || : # nameless ones
  engine_host ip -o link | awk -F': ' '{ print $2 }'
  engine_host iptables-save | awk '!/^[#:]/ && !seen[$0]++'
}

@test "all containers are healthy, and every check of the lab holds in Docker" {
  run "$ROOT/docker/compose.sh" status
  succeeds
  run "$ROOT/docker/verify.sh" all
  succeeds
  says "PostgreSQL has it"
  says "postgres has no way to redis"
}

@test "make bench refuses at once while the platform holds the ports that it needs, and names the holder" {
  run env -u COMPOSE_PROJECT_NAME "$ROOT/bench/compare/run.sh"
  ((status == 1))
  says "ports that the comparison needs are held: 8081 3000 8501 6380 5433 (8081 by container cnet-test-nginx-1 of project cnet-test); free them"
}

@test "a container that is killed comes back, and its orders are there" {
  container=$(container_of postgres)
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

@test "nginx serves the shop's page" {
  run engine_host curl -fsS http://127.0.0.1:8081/
  succeeds
  says "<title>The shop</title>"
}

@test "the gateway's container made anew gets another address, and nginx follows" {
  docker compose -f "$ROOT/docker/compose.yml" up -d --wait --force-recreate --no-deps api-gateway
  answers() { engine_host curl -fsS -m 2 http://127.0.0.1:8081/api/products >/dev/null; }
  for _ in {1..30}; do
    ! answers || break
    sleep 0.5
  done
  answers
}

@test "the verification goes red for a way that should not be" {
  postgres=$(container_of postgres)
  docker network connect cnet-test_frontend "$postgres"
  run "$ROOT/docker/verify.sh" isolation
  docker network disconnect cnet-test_frontend "$postgres"
  [[ $status == 1 ]]
  says "nginx reaches postgres:5432, and must not"
}

@test "the lab's network and Docker's side by side: what is the same, what only one has, and no line without a reason" {
  export REPORTS=$BATS_TEST_TMPDIR
  run --separate-stderr "$ROOT/docker/diff.sh" --json
  succeeds
  "$ROOT/.venv/bin/python" "$ROOT/tests/lab/validate_json.py" docker-diff <<<"$output"
  relation() { jq -r --arg purpose "$1" '.rows[] | select(.purpose == $purpose) | .relation' <<<"$output"; }
  [[ $(relation "Nodes leave with the host's address") == "the same" ]]
  [[ $(relation "A published port") == "equivalent" ]]
  [[ $(relation "Networks do not reach each other") == "only in Docker" ]]
  [[ $(relation "Who may talk to whom") == "only in the lab" ]]
  jq -e '[.rows[].docker | to_entries[] | select(.key | startswith("inside rule")) | .value] | add > 0' <<<"$output"
  bridge=br-$(docker network inspect --format '{{printf "%.12s" .Id}}' cnet-test_backend)
  engine_host iptables -I DOCKER-USER -i "$bridge" -p sctp -j DROP
  run "$ROOT/docker/diff.sh" --json
  engine_host iptables -D DOCKER-USER -i "$bridge" -p sctp -j DROP
  [[ $status == 1 ]]
  says "not explained, see it in iptables-save: rule filter DOCKER-USER -i BRIDGE -p sctp -j DROP"
}

@test "down leaves no container, network, link or rule; the orders stay for the next up" {
  run "$ROOT/docker/compose.sh" down
  succeeds
  state | diff "$BATS_FILE_TMPDIR/before" -
  docker volume inspect cnet-test_orders
  run "$ROOT/docker/compose.sh" status
  [[ $status == 1 ]]
  "$ROOT/docker/compose.sh" clean
  run docker volume inspect cnet-test_orders
  [[ $status != 0 ]]
  [[ -z $(docker image ls -q --filter label=cnet.program) && ! -e $SECRETS ]]
}

@test "without an engine each command says so in one line" {
  for command in "compose.sh up" "compose.sh verify" "images.sh up"; do
    # shellcheck disable=SC2086 # two words
    DOCKER_HOST=unix:///nowhere run "$ROOT"/docker/$command
    [[ $status == 1 && ${#lines[@]} == 1 ]]
    says "no Docker engine answers at unix:///nowhere"
  done
}

@test "up ends with the address of the shop, and what to do next" {
  grep -F 'The platform is up in Docker: the shop is at http://localhost:8081/' "$BATS_FILE_TMPDIR/up"
  grep -F 'sudo make docker-verify' "$BATS_FILE_TMPDIR/up"
}
