#!/usr/bin/env bats
# shellcheck disable=SC2154 # status and output are set by bats
# Two engines joined by a veth pair, one swarm; skipped, with the reason, where no Docker engine answers.

load helpers

setup() {
  docker info &>/dev/null || skip_by_docker "no engine answers"
  command -v dockerd >/dev/null || skip_by_docker "dockerd is not installed, so no second engine can be started"
}

@test "cross-node traffic, a rolling update without a failed request, a node cut off and back; down leaves nothing" {
  before=$(ls /run/netns /var/opt && ip -o link | wc -l)
  run "$ROOT/docker/swarm.sh" up
  succeeds
  # Into a file: a load that goes on would hold a pipe open, and `run` would wait for its end.
  status=0
  "$ROOT/docker/swarm.sh" verify &>"$BATS_TEST_TMPDIR/verify" || status=$?
  output=$(<"$BATS_TEST_TMPDIR/verify") loads=$(pgrep -f -- '-m faults.chaos.load --url http://192.0.2.1:') || :
  "$ROOT/docker/swarm.sh" down &>"$BATS_TEST_TMPDIR/down" || cat "$BATS_TEST_TMPDIR/down"
  succeeds
  says "requests, 0 failed"
  [[ -z $loads ]]
  [[ $(ls /run/netns /var/opt && ip -o link | wc -l) == "$before" ]]
}
