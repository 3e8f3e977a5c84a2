#!/usr/bin/env bash
# All tests: bats for the scripts, pytest for Python; the lab for real, each test in a sandbox of its own.
#
#   tests/run.sh [all]     everything; installs what is missing first
#   tests/run.sh bats      the scripts alone
#   tests/run.sh file FILE one file of them, or of Python's
#   tests/run.sh python    Python alone
#   tests/run.sh oracle    COUNT (10000) random captures of each kind against scapy, tshark, tcpdump; SEED (1)
#   tests/run.sh help
#
# A test may be skipped for a feature that the kernel does not have, or where no Docker engine answers. A test that was
# skipped for anything else, such as a missing tool, counts as failed.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"
cd "$ROOT"

# Two files at a time: much of a test is waiting. A file's results are printed when it is through,
# and what failed once more at the end, where it is looked for. Docker's own and what measures time want the
# machine for themselves.
run_bats() {
  FAILURES=$(mktemp)
  defer rm -f "$FAILURES"
  export FAILURES
  local alone=(tests/bats/{chaos,docker,swarm}.bats) failed=0 file
  printf '%s\n' tests/bats/*.bats | grep -vxF -f <(printf '%s\n' "${alone[@]}") | xargs -P 2 -I{} tests/run.sh file {} || failed=1
  for file in "${alone[@]}"; do tests/run.sh file "$file" || failed=1; done
  ((failed == 0)) || {
    printf '\n%sfailed:%s\n' "$RED" "$PLAIN"
    cat "$FAILURES"
    return 1
  }
}

run_file() {
  local results status=0
  if [[ $1 == *.bats ]]; then
    results=$(bats --print-output-on-failure --timing "$1" 2>&1) || status=$?
    printf '\n%s\n%s\n' "$1" "$results"
  else
    local shown # as it goes
    shown=$(mktemp)
    "$VENV/bin/python" -m pytest -rs "$1" | tee "$shown" || status=$?
    results=$(<"$shown")
    rm "$shown"
  fi
  refuse_skips "$1" <<<"$results" || status=1
  ((status == 0)) || failures_of "$1" <<<"$results" >>"${FAILURES:-/dev/null}"
  return "$status"
}

refuse_skips() { # FILE, whose results are the standard input
  local reasons='kernel|Docker' refused
  grep -qsx 'ID=debian' /etc/os-release || reasons+='|no package'
  refused=$(grep -E '^ok [0-9]+ .*# skip|^SKIPPED ' | grep -vE "(# skip|^SKIPPED .*:[0-9]+:) ($reasons): ") || return 0
  printf 'not ok %s: a test was skipped for a reason that is neither the kernel nor Docker:\n%s\n' "$1" "$refused" |
    tee -a "${FAILURES:-/dev/null}"
  return 1
}

# Each failed test with the last lines it printed.
failures_of() { # FILE
  awk -v file="$1" '
    function flush(   i) { if (name) { print file ": " name; for (i = (n > 15 ? n - 14 : 1); i <= n; i++) print line[i] } name = ""; n = 0 }
    /^(not )?ok / { flush() }
    /^not ok / { name = $0 }
    /^#/ && name { line[++n] = $0 }
    END { flush() }'
}

main() {
  local failed=0
  scripts/install.sh dev
  [[ $1 == python ]] || run_bats || failed=1
  [[ $1 == bats ]] || run_file tests/python || failed=1
  return "$failed"
}

run_oracle() { # COUNT SEED
  ORACLE=$1 run "$VENV/bin/python" -m pytest tests/python/test_oracle.py --hypothesis-seed="$2" --timeout 0
}

case ${1:-all} in
  file) run_file "${2:?file needs a name}" ;;
  all | bats | python) main "${1:-all}" ;;
  oracle) run_oracle "${2:-10000}" "${3:-1}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
