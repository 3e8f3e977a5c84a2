#!/usr/bin/env bash
# All tests: bats for the scripts, pytest for Python; the lab for real, in sandboxes.
#
#   tests/run.sh [all]     everything; installs what is missing first
#   tests/run.sh full      the same, and whole: what `all` runs one part of each day
#   tests/run.sh bats      the scripts alone
#   tests/run.sh file FILE one file of them, or of Python's
#   tests/run.sh python    Python alone
#   tests/run.sh oracle    COUNT (10000) random captures of each kind against scapy, tshark, tcpdump; SEED (1)
#   tests/run.sh help
#
# JOBS=3: how many files run at a time. DAY=20785: run the parts of that day (of the Unix epoch) and not today's.
# A test may be skipped for a feature that the kernel does not have, or where no Docker engine answers. A test that was
# skipped for anything else, such as a missing tool, counts as failed.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"
cd "$ROOT"

JOBS=${JOBS:-3} DAY=${DAY:-$((EPOCHSECONDS / 86400))} FULL=${FULL:-}
export DAY FULL
MACHINE='tests/bats/sandbox.bats tests/bats/docker.bats' # they check the machine's own state, so in turn
LONGEST=(tests/bats/{catalogue,lab,mutants,monitoring,services,chaos,policy,stores,lessons,containers,attacks}.bats)
TIMED=(tests/bats/{swarm,chaos_load,soak}.bats) # they check times under load: one each day, and no lab beside it
ALONE=("${TIMED[@]}")
[[ -n $FULL ]] || ALONE=("${TIMED[DAY % 3]}")
PYTHON=tests/python
mapfile -t FILES < <(
  printf '%s\n' tests/bats/*.bats | grep -vxF "$(printf '%s\n' "${TIMED[@]}")"
  printf '%s\n' "${ALONE[@]}" "$PYTHON"
)
FAILURES=${FAILURES:-/dev/null} # a file for what failed; main reads it

main() { # all|bats|python
  need_number JOBS 1
  scripts/install.sh dev
  say "${FULL:+all parts of every test}${FULL:-DAY=$DAY}"
  local folder
  folder=$(mktemp -d)
  defer rm -rf "$folder"
  ENDED=$folder/ended FAILURES=$folder/failures
  touch "$ENDED" "$FAILURES"
  export ENDED FAILURES
  "run_$1" && return
  printf '\n%sfailed:%s\n' "$RED" "$PLAIN"
  cat "$FAILURES"
  return 1
}

# Python's tests run beside the files that need the machine for themselves, at a lower priority.
run_all() {
  local failed=0 python
  run_most || failed=1
  nice -n 10 "$0" files "$PYTHON" &
  python=$!
  run_files "${ALONE[*]}" || failed=1
  wait "$python" || failed=1
  return "$failed"
}
run_bats() { run_most && run_files "${ALONE[*]}"; }
run_python() { run_files "$PYTHON"; }

# Run JOBS files at a time, because much of a test is waiting; start with the longest.
run_most() {
  local elsewhere
  elsewhere=$(tr ' ' '\n' <<<"$MACHINE ${ALONE[*]} $PYTHON")
  printf '%s\n' "$MACHINE" "${LONGEST[@]}" "${FILES[@]}" | grep -vxF "$elsewhere" | awk '!seen[$0]++' |
    xargs -P "$JOBS" -d '\n' -n 1 "$0" files
}

# Run files one after the other. Print the results of each in one piece.
run_files() { # "FILE..."
  local file printed failed=0
  printed=$(mktemp)
  for file in $1; do
    run_file "$file" &>"$printed" || failed=1
    flock "$ENDED" "$0" report "$file" "$printed"
  done
  rm "$printed"
  return "$failed"
}

report_file() { # FILE PRINTED
  local ended failures
  echo "$1" >>"$ENDED"
  ended=$(wc -l <"$ENDED")
  failures=$(grep -c '^tests/' "$FAILURES") || :
  printf '\n%s\n%s\n%s\n' "$1" "$(<"$2")" "$DIM-- $ended of ${#FILES[@]} files ended, $failures failures$PLAIN"
}

run_file() { # FILE
  local results status=0 processes=()
  results=$(mktemp)
  [[ -f $1 ]] || processes=(--numprocesses 2)
  if [[ $1 == *.bats ]]; then
    env -u FAILURES bats --print-output-on-failure --timing "$1" 2>&1 | tee "$results" || status=$?
  else
    "$VENV/bin/python" -m pytest -rfEs "${processes[@]}" "$1" 2>&1 | tee "$results" || status=$?
  fi
  refuse_skips "$1" <"$results" || status=1
  ((status == 0)) || failures_of "$1" <"$results" >>"$FAILURES"
  rm "$results"
  return "$status"
}

refuse_skips() { # FILE, whose results are the standard input
  local reasons='kernel|Docker' refused
  grep -qsx 'ID=debian' /etc/os-release || reasons+='|no package'
  refused=$(grep -E '^ok [0-9]+ .*# skip|^SKIPPED ' | grep -vE "(# skip|^SKIPPED .*:[0-9]+:) ($reasons): ") || return 0
  printf 'not ok %s: a test was skipped for a reason that is neither the kernel nor Docker:\n%s\n' "$1" "$refused" |
    tee -a "$FAILURES"
  return 1
}

# Print each failed test with the last lines that it printed.
failures_of() { # FILE
  awk -v file="$1" '
    function flush(   i) {
      if (name) print file ": " name
      for (i = (n > 15 ? n - 14 : 1); i <= n; i++) print line[i]
      name = ""; n = 0
    }
    /^(not )?ok / { flush() }
    /^(not ok|FAILED|ERROR) / { flush(); name = $0; found = 1; next }
    /^#/ && name { line[++n] = $0 }
    { last = $0 }
    END { flush(); if (!found) print file ": ended early: " last }'
}

run_oracle() { # COUNT SEED
  ORACLE=$1 run "$VENV/bin/python" -m pytest tests/python/test_oracle.py --hypothesis-seed="$2" --timeout 0
}

case ${1:-all} in
  all | bats | python) main "${1:-all}" ;;
  full) FULL=1 exec "$0" all ;;
  file) run_file "${2:?file needs a name}" ;;
  files) run_files "$2" ;;        # only for itself
  report) report_file "${@:2}" ;; # only for itself
  oracle) run_oracle "${2:-10000}" "${3:-1}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
