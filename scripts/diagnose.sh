#!/usr/bin/env bash
# Find out why the lab does not work: compare it with its tables, send probes, and rank the causes.
#
#   scripts/diagnose.sh run     print the causes, the most likely first; exit 1 if there are any (--json or JSON=1)
#   scripts/diagnose.sh help
#
# Each finding has the cause, its evidence (a command and the line that shows it), what it breaks, and the repair.
# It changes nothing. If the lab cannot be read, it says so, and exits with 3.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

diagnose() {
  need_root
  need_tools ip jq iptables-save
  need_environment
  load_topology
  need_lab
  export TOPOLOGY=$TABLE
  cd "$ROOT"
  "$VENV/bin/python" -m lab.as_command security.diagnose ${JSON:+--json}
}

# A lab that equals its tables may still drop packets. `status` prints foreign rules itself.
list_causes() {
  local found
  found=$(JSON=1 && diagnose 2> >(cat >&2)) || : # a pipe, so no progress: status shows its own
  [[ -z $found ]] || jq -r --arg word "${RED}cause${PLAIN}" '
    .findings[] | select(.kind != "foreign-rule") | "\($word)    \(.cause)"' <<<"$found"
}

read_json "$@"
set -- "${WORDS[@]}"
(($# < 2)) || bad_usage "unknown option: ${*:2}"
case ${1:-run} in
  run) diagnose ;;
  causes) list_causes ;; # internal: for lab.sh status
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
