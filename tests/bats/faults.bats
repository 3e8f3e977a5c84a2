#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The faults of faults.tsv, each on one healthy lab: status names it, and up heals it or names the command that does.
# The others are in faults/catalogue.

load helpers

@test "each fault of the table is named by status, and healed by up or by the command that it names" {
  sandboxed '
    source tests/bats/inside_faults.bash
    converge &>/run/up || { cat /run/up; exit 1; }
    is_well || { cat /run/status; exit 1; }
    faults
  '
  succeeds
  [[ $(grep -c "^ok " <<<"$output") == "$(grep -c '^[0-9]' "$BATS_TEST_DIRNAME/faults.tsv")" ]]
}
