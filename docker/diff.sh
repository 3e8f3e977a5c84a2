#!/usr/bin/env bash
# Compare the live links, addresses, routes and rules of the lab and of Docker, with the reason for each.
#
#   docker/diff.sh [run]     on the terminal, and as reports/docker_diff.md and .pdf
#   docker/diff.sh --json    for programs
#   docker/diff.sh help
#
# The platform must run in Docker (make docker-up); the lab is brought up in a sandbox, as TOPOLOGY says (tiers, as in
# docker/compose.yml), and removed at the end. Exits with 1 if a line is not explained.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"
# shellcheck source=scripts/lib/lab_in_sandbox.sh
source "$ROOT/scripts/lib/lab_in_sandbox.sh"

REPORTS=${REPORTS:-$ROOT/reports}
export TOPOLOGY=${TOPOLOGY:-tiers}

compare() { # OPTION...
  need_root
  need_compose
  need_tools nsenter unshare setpriv
  need_environment
  [[ -n $(compose ps --quiet) ]] || die "the platform does not run in Docker; make docker-up"
  cd "$ROOT"
  start_lab security/policy.sh scripts/network.sh scripts/nat.sh scripts/services.sh
  watch "$VENV/bin/python" -m docker.diff --lab "$LAB_INSIDE" --project "$PROJECT" "$@"
}

run_all() {
  need_folder REPORTS
  compare --report "$REPORTS/docker_diff"
  say "also: $REPORTS/docker_diff.md and $REPORTS/docker_diff.pdf"
}

case ${1:-run} in
  run) run_all ;;
  --json) compare --json ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
