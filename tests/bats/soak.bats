#!/usr/bin/env bats
# A short soak. It measures growth, so tests/run.sh runs no other lab beside it.

load helpers

@test "a soak of a minute reports every process, and says that it is too short to judge growth" {
  run env MINUTES=1 PER_SECOND=20 REPORTS="$BATS_TEST_TMPDIR" "$ROOT/faults/chaos/soak.sh"
  succeeds
  says "too short to judge growth"
  says "0 failed"
  for node in nginx-lb api-gateway product-2 order-service redis-cache postgres-db service-registry; do
    grep -q ",$node," "$BATS_TEST_TMPDIR/soak.csv"
  done
  [[ $(head -c 4 "$BATS_TEST_TMPDIR/soak.png" | tail -c 3) == PNG ]]
}
