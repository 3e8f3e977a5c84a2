#!/usr/bin/env bash
# What the linters say of every file git knows: shellcheck, shfmt, ruff, mypy --strict. No output is good output.
#
#   tests/lint.sh [check]   look
#   tests/lint.sh fix       let shfmt and ruff mend what they can
#   tests/lint.sh help

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
cd "$ROOT"

files() { git ls-files -co --exclude-standard -- "$@" | while read -r file; do [[ ! -f $file ]] || echo "$file"; done; }

# A reader that ends early (`grep -q`, `head -1`) leaves the command before it to die of SIGPIPE; under pipefail a match
# then looks like none. `grep ... >/dev/null` and `sed -n 1p` read to the end.
check_pipes() { # FILE...
  ! grep -nE '(^|[^|])[|]&? *([ef]?grep +(-[^ ]+ +)*(-[a-zA-Z]*q|--quiet|--silent)|head +-(n|[0-9]))' "$@" ||
    { say "the pipes above end early, which pipefail makes wrong; write \`grep ... >/dev/null\` or \`sed -n 1p\`" && return 1; }
}

check() {
  scripts/install.sh dev
  local bash_files python_files service failed=0
  mapfile -t bash_files < <(files '*.sh' '*.bash' '*.bats' .ci/run)
  mapfile -t python_files < <(files '*.py')
  shellcheck --external-sources --source-path=SCRIPTDIR --source-path="$ROOT" "${bash_files[@]}" || failed=1
  shfmt -i 2 -ci -d "${bash_files[@]}" || failed=1
  check_pipes "${bash_files[@]}" || failed=1
  "$VENV/bin/ruff" check --quiet "${python_files[@]}" || failed=1
  "$VENV/bin/ruff" format --quiet --check "${python_files[@]}" || failed=1
  # Services have modules of the same names, so each is checked by itself; what they share, once more.
  for service in services/*/app.py services/common/cnet_service/app.py; do
    (cd "${service%/*}" && "$VENV/bin/mypy" --config-file "$ROOT/pyproject.toml" --no-error-summary .) || failed=1
  done
  # shellcheck disable=SC2046 # file names without spaces
  "$VENV/bin/mypy" --no-error-summary $(files 'scripts/*.py' 'monitoring/*.py' 'security/*.py' 'bench/*.py' 'chaos/*.py' 'docker/*.py' 'tests/python/*.py' 'tests/lab/*.py' | grep -v original) || failed=1
  ((failed == 0)) || die "the lines above say what to mend; tests/lint.sh fix does what is mechanical"
}

fix() {
  scripts/install.sh dev
  local bash_files python_files
  mapfile -t bash_files < <(files '*.sh' '*.bash' '*.bats' .ci/run)
  mapfile -t python_files < <(files '*.py')
  run shfmt -i 2 -ci -w "${bash_files[@]}"
  run "$VENV/bin/ruff" check --quiet --fix "${python_files[@]}" || :
  run "$VENV/bin/ruff" format --quiet "${python_files[@]}"
}

case ${1:-check} in
  check | fix) "${1:-check}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
