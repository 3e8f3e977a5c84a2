#!/usr/bin/env bash
# Reports of the live system: on the terminal, and as files in reports/.
#
#   scripts/report.sh rules      each live rule, its meaning and counters (Markdown, PDF)
#   scripts/report.sh topology   a diagram of the live system, of the policy, and of the kernel's hooks (SVG, PNG)
#   scripts/report.sh distribution   which instance answered how many requests, and when (CSV, PNG)
#   scripts/report.sh proof      try each possible flow; 1 if any differs from the policy (CSV, PNG)
#   scripts/report.sh documents  the security policy, isolation and routing, with their proof (Markdown, PDF)
#   scripts/report.sh health [OPTION...]   state and latency of each service: --once (or ONCE=1), --csv FILE,
#                                          --report FOLDER
#   scripts/report.sh connections [OPTION...]   connections by service and state: --watch SECONDS
#   scripts/report.sh help
#
# --json (or JSON=1) prints JSON instead of text: rules, topology, proof, health (a line for each
# round), connections.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

REPORTS=${REPORTS:-$ROOT/reports}

page() { # MODULE OPTION...
  need_root
  need_environment
  need_lab
  mark_watcher
  cd "$ROOT"
  "$VENV/bin/python" -m lab.as_command "$@"
}

rules() {
  page security.rules ${JSON:+--json} --markdown "$REPORTS/rules.md" --pdf "$REPORTS/rules.pdf"
  say "also: $REPORTS/rules.md and $REPORTS/rules.pdf"
}

topology() {
  page monitoring.diagram ${JSON:+--json} --svg "$REPORTS/topology.svg" --png "$REPORTS/topology.png" \
    --policy "$REPORTS/policy.svg" --policy "$REPORTS/policy.png" \
    --hooks "$REPORTS/hooks.svg" --hooks "$REPORTS/hooks.png"
  say "also, as .svg and .png in $REPORTS: topology, policy (the allowed connections), hooks (where the rules are)"
}

distribution() {
  page monitoring.distribution --csv "$REPORTS/distribution.csv" --png "$REPORTS/distribution.png"
  say "also: $REPORTS/distribution.csv and $REPORTS/distribution.png"
}

proof() {
  local status=0 began=$EPOCHSECONDS
  "$ROOT/security/prove.sh" ${JSON:+--json} --csv "$REPORTS/proof.csv" --png "$REPORTS/proof.png" || status=$?
  (($(stat -c %Y "$REPORTS/proof.csv" 2>/dev/null || echo 0) < began)) ||
    say "also: $REPORTS/proof.csv and $REPORTS/proof.png"
  return "$status"
}

health() { page monitoring.health ${ONCE:+--once} ${JSON:+--json} "$@"; }

connections() { page monitoring.connections --reports "$REPORTS" ${JSON:+--json} "$@"; }

documents() { "$ROOT/security/prove.sh" --documents "$REPORTS"; }

case ${1:-help} in
  distribution | documents) "$1" ;;
  rules | topology | proof | health | connections) read_json "${@:2}" && "$1" "${WORDS[@]}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
