#!/usr/bin/env bash
# Compare the live links, addresses, routes and rules of the lab and of Docker, with the reason for each.
#
#   docker/diff.sh [run]     on the terminal, and as reports/docker_diff.md and .pdf; --json (or JSON=1): as JSON
#   docker/diff.sh help
#
# The platform must run in Docker (make docker-up); the lab is brought up in a sandbox, as TOPOLOGY says (tiers, as in
# docker/compose.yml), and removed at the end. Exits with 1 if a line is not explained.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"
# shellcheck source=scripts/lib/lab_in_sandbox.sh
source "$ROOT/scripts/lib/lab_in_sandbox.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

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
  divert_text
  compare --report "$REPORTS/docker_diff" ${JSON:+--json} >&"$DOCUMENT"
  say "also: $REPORTS/docker_diff.md and $REPORTS/docker_diff.pdf"
}

read_json "$@"
case ${WORDS[0]:-run} in
  run) run_all ;;
  help) print_help ;;
  *) bad_usage "unknown command \"${WORDS[0]}\"" ;;
esac
