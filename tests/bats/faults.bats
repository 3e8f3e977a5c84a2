#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The faults of faults.tsv, each on one healthy lab: status names it, and up heals it or names the command that does.
# A third of them each day; all of them in make test-full.

load helpers

@test "each of 35 faults is named by status, and healed by up or by the command that it names" {
  mapfile -t numbers < <(grep -oE '^[0-9]+' "$BATS_TEST_DIRNAME/faults.tsv" | part_of_today 3)
  sandboxed "ONLY='${numbers[*]}'"'
    source tests/bats/inside_faults.bash
    mount -t tmpfs -o size=400m tmpfs /var/opt # whose end fill_disk reaches
    converge &>/run/up || { cat /run/up; exit 1; }
    is_well || { cat /run/status; exit 1; }
    faults
  '
  succeeds
  [[ $(grep -c '^[0-9]' "$BATS_TEST_DIRNAME/faults.tsv") == 35 ]]
  [[ $(grep -c "^ok " <<<"$output") == "${#numbers[@]}" ]]
}
