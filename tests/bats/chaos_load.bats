#!/usr/bin/env bats
# Chaos under load. Its promises are about time, so tests/run.sh runs no other lab beside it.

load helpers

@test "chaos, the short one: every promise is kept and every order is there once" {
  # Its promises are about time: a machine that itself stalls for half a second gets a second chance, the ledger none.
  for _ in 1 2; do
    run env QUICK=1 GETS=100 REPORTS="$BATS_TEST_TMPDIR" "$ROOT/faults/chaos/run.sh"
    says " 0 lost, 0 doubled"
    ((status != 0)) || break
  done
  succeeds
  says " 0 lost, 0 doubled"
  [[ -s $BATS_TEST_TMPDIR/chaos.csv && -s $BATS_TEST_TMPDIR/chaos_timeline.png ]]
  [[ $(head -c 4 "$BATS_TEST_TMPDIR/chaos_report.pdf") == %PDF ]]
}
