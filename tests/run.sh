#!/usr/bin/env bash
# All tests: bats for the scripts, pytest for Python; the lab for real, each test in a sandbox of its own.
#
#   tests/run.sh [all]     everything; installs what is missing first
#   tests/run.sh bats      the scripts alone
#   tests/run.sh python    Python alone
#   tests/run.sh help

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
cd "$ROOT"

run_bats() { bats --print-output-on-failure --timing tests/bats; }
run_python() { "$VENV/bin/python" -m pytest; }

main() {
  scripts/install.sh dev
  [[ $1 == python ]] || run_bats
  [[ $1 == bats ]] || run_python
}

case ${1:-all} in
  all | bats | python) main "${1:-all}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
