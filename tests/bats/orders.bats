#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Orders under kills, by properties: whatever is killed whenever, each acknowledged order is stored exactly once.

load helpers

@test "random schedules of kills lose no acknowledged order and double none" {
  sandboxed '
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null; scripts/services.sh up &>/run/up || { cat /run/up; exit 1; }
    LAB_URL=http://127.0.0.1:8080 .venv/bin/python -m pytest tests/lab/test_orders.py -p no:cacheprovider
  '
  succeeds
  says "1 passed"
}

@test "the ledger finds a lost, a doubled and a renumbered order" {
  run "$ROOT/.venv/bin/python" -c '
from faults.chaos.analysis import compare_orders
from faults.chaos.load import Sample
told = [Sample("order", 0, 1, 201, key=key, order_id=number) for key, number in (("a", "1"), ("b", "2"), ("c", "3"), ("d", "9"))]
ledger = compare_orders(told, [("1", "a"), ("3", "c"), ("4", "c"), ("5", "d")])
print(ledger.lost, ledger.doubled, ledger.mistaken, ledger.good)'
  [[ $output == "1 1 1 False" ]]
}
