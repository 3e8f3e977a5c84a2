#!/usr/bin/env bash
# Pages made from the live system: on the terminal, and as files in reports/.
#
#   scripts/report.sh rules      every live rule, its meaning, why it is there, its counters (Markdown, PDF)
#   scripts/report.sh topology   what is connected to what (SVG, PNG)
#   scripts/report.sh distribution   which instance answered how many requests, and when (CSV, PNG)
#   scripts/report.sh proof      the policy, tried; 1 when anything differs (CSV, PNG)
#   scripts/report.sh documents  the security policy, isolation and routing, with their proof (Markdown, PDF)
#   scripts/report.sh health [OPTION...]   is each service well: --once (or ONCE=1), --json, --csv FILE, --report FOLDER
#   scripts/report.sh connections [OPTION...]   who is connected to whom: --watch SECONDS, --json
#   scripts/report.sh help

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/watchers.sh
source "$ROOT/scripts/lib/watchers.sh"

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
  page security.rules --markdown "$REPORTS/rules.md" --pdf "$REPORTS/rules.pdf"
  say "also: $REPORTS/rules.md and $REPORTS/rules.pdf"
}

topology() {
  page monitoring.diagram --svg "$REPORTS/topology.svg" --png "$REPORTS/topology.png" \
    --policy "$REPORTS/policy.svg" --policy "$REPORTS/policy.png"
  say "also: $REPORTS/topology.svg, .png, and who may talk to whom: $REPORTS/policy.svg, .png"
}

distribution() {
  page monitoring.distribution --csv "$REPORTS/distribution.csv" --png "$REPORTS/distribution.png"
  say "also: $REPORTS/distribution.csv and $REPORTS/distribution.png"
}

proof() {
  local status=0 began=$EPOCHSECONDS
  "$ROOT/security/prove.sh" --csv "$REPORTS/proof.csv" --png "$REPORTS/proof.png" || status=$?
  (($(stat -c %Y "$REPORTS/proof.csv" 2>/dev/null || echo 0) < began)) || say "also: $REPORTS/proof.csv and $REPORTS/proof.png"
  return "$status"
}

health() { page monitoring.health ${ONCE:+--once} "$@"; }

connections() { page monitoring.connections --reports "$REPORTS" "$@"; }

documents() { "$ROOT/security/prove.sh" documents "$REPORTS"; }

case ${1:-help} in
  rules | topology | distribution | proof | documents | health | connections) "$@" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
