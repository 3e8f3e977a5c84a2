#!/usr/bin/env bats
# The catalogue of faults: red after the break, green after each right repair, red after each wrong one, nothing left
# after reset, and `make diagnose` names the cause first. A few faults each day, with one of the three seeds; all of
# them with all three in make test-full.

load helpers

DAY=${DAY:-$((EPOCHSECONDS / 86400))}

prove() { # TOPOLOGY COUNT: how many faults a day
  local faults today runs
  mapfile -t faults < <(grep -l "^topologies = .*\"$1\"" "$ROOT"/faults/catalogue/*/fault.toml | xargs -n 1 dirname |
    xargs -n 1 basename)
  mapfile -t today < <(printf '%s\n' "${faults[@]}" | part_of_today $(((${#faults[@]} + $2 - 1) / $2)))
  runs=${#today[@]}
  if [[ -n ${FULL:-} ]]; then
    runs=$((runs * 3))
    SEEDS=1,2,3 TOPOLOGY=$1 run "$ROOT/faults/exercise.sh" test # without names: the confusion table of all
  else
    SAMPLE=1 SEEDS=$((DAY % 3 + 1)) TOPOLOGY=$1 run "$ROOT/faults/exercise.sh" test "${today[@]}"
  fi
  succeeds
  [[ $(grep -c '^ok ' <<<"$output") == "$runs" ]]
}

@test "faults of the catalogue on the flat lab: each is seen, diagnosed and repaired, and nothing is left" {
  prove flat 4
}

@test "faults of the catalogue on the tiers: each is seen, diagnosed and repaired, and nothing is left" {
  prove tiers 2
}

@test "of two faults at once diagnose names both among its first three findings" {
  local pairs=1 seed=$((DAY % 20 + 1))
  [[ -z ${FULL:-} ]] || pairs=20 seed=1
  PAIRS=$pairs SEEDS=$seed run "$ROOT/faults/exercise.sh" test
  succeeds
  says "both causes among the first 3 findings: $pairs of $pairs pairs"
}
