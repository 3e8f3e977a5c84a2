#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The proof, tested: each rule of a policy is broken in turn.

load helpers

@test "the proof notices each mutant of a small policy" {
  # A third of them each day; all of them in make test-full.
  local part=$((${DAY:-$((EPOCHSECONDS / 86400))} % 3 + 1))/3
  [[ -z ${FULL:-} ]] || part=1/1
  sandboxed "export PART=$part"'
    scripts/topology.sh dump | grep -E "^kind|br-app	-	|nginx-lb|api-gateway|service-registry" >/run/small.tsv
    lines="#|id|operator|way-in|front|gateway[[:space:]]|registry|names|web-out|ping"
    grep -E "^($lines)" security/flat.tsv >/run/small-policy.tsv
    export TOPOLOGY=/run/small.tsv POLICY=/run/small-policy.tsv
    security/mutants.sh inside | tee /run/mutants | tail -3
    grep ", 0 survived" /run/mutants
  '
  succeeds
}
