#!/usr/bin/env bash
# Run every linter on every file git knows: shellcheck, shfmt, ruff, mypy --strict, sizes, rooms.
# It prints only what is wrong.
#
#   tests/lint.sh [check]   report
#   tests/lint.sh fix       let shfmt and ruff fix what they can; remove exceptions that are no longer needed
#   tests/lint.sh help

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/common.sh"
cd "$ROOT"

TYPED=(lab monitoring security bench faults docker tests/python tests/lab) # folders that mypy checks together

files() { git ls-files -co --exclude-standard -- "$@" | while read -r file; do [[ ! -f $file ]] || echo "$file"; done; }

# A reader that ends early (`grep -q`, `head -1`) leaves the command before it to die of SIGPIPE; under pipefail a match
# then looks like none. `grep ... >/dev/null` and `sed -n 1p` read to the end.
check_pipes() { # FILE...
  ! grep -nE '(^|[^|])[|]&? *([ef]?grep +(-[^ ]+ +)*(-[a-zA-Z]*q|--quiet|--silent)|head +-(n|[0-9]))' "$@" ||
    { say "a reader of the pipes above ends early; write \`grep ... >/dev/null\` or \`sed -n 1p\`" && return 1; }
}

# The sizes of files and functions, and who may use whom. tests/python/exceptions.tsv has today's exceptions.
check_house() {
  local results
  results=$("$VENV/bin/python" -m pytest tests/python/test_{sizes,rooms}.py) || { echo "$results" && return 1; }
}

# Run a check in the background; check() prints what it said, in the order in which the checks began.
begin() { # CHECK...
  local printed=$PRINTED/${#CHECKS[@]}
  "$@" &>"$printed" &
  CHECKS+=("$!")
}

check_service() { # FOLDER: a program of its own, whose modules have the same names as others'
  cd "$1"
  "$VENV/bin/mypy" --config-file "$ROOT/pyproject.toml" --no-error-summary .
}

check() {
  local bash_files python_files typed service index failed=0 CHECKS=()
  scripts/install.sh dev
  PRINTED=$(mktemp -d)
  defer rm -r "$PRINTED"
  mapfile -t bash_files < <(files '*.sh' '*.bash' '*.bats' .ci/run)
  mapfile -t python_files < <(files '*.py')
  mapfile -t typed < <(files "${TYPED[@]/%//*.py}" | grep -v original)
  begin "$VENV/bin/mypy" --no-error-summary "${typed[@]}"
  begin shellcheck --external-sources --source-path=SCRIPTDIR --source-path="$ROOT" "${bash_files[@]}"
  for service in services/*/app.py services/common/cnet_service/app.py; do begin check_service "${service%/*}"; done
  begin shfmt -i 2 -ci -d "${bash_files[@]}"
  begin check_pipes "${bash_files[@]}"
  begin check_house
  begin "$VENV/bin/ruff" check --quiet "${python_files[@]}"
  begin "$VENV/bin/ruff" format --quiet --check "${python_files[@]}"
  begin "$VENV/bin/kubernetes-validate" --strict --quiet docker/kubernetes/*.yaml
  for index in "${!CHECKS[@]}"; do
    wait "${CHECKS[index]}" || failed=1
    cat "$PRINTED/$index"
  done
  ((failed == 0)) || die "fix the lines above; tests/lint.sh fix does what is mechanical"
}

fix() {
  scripts/install.sh dev
  local bash_files python_files
  mapfile -t bash_files < <(files '*.sh' '*.bash' '*.bats' .ci/run)
  mapfile -t python_files < <(files '*.py')
  run shfmt -i 2 -ci -w "${bash_files[@]}"
  run "$VENV/bin/ruff" check --quiet --fix "${python_files[@]}" || :
  run "$VENV/bin/ruff" format --quiet "${python_files[@]}"
  SHRINK=1 check_house
}

case ${1:-check} in
  check | fix) "${1:-check}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
