# shellcheck shell=bash
# Firewall rules of the host that a packet of the lab meets: named with the command that helps, never changed. Sourced after
# topology.sh.

# RULE, a tab, WHAT TO DO: COMMAND, a line each.
foreign_host_rules() {
  [[ -s $VENV/digests ]] || return 0 # nothing is up without it
  (cd "$ROOT" && "$VENV/bin/python" -m security.rules.foreign "$TABLE")
}

name_foreign_rules() { # a line for each; 1 if any
  local rules rule advice status=0
  rules=$(foreign_host_rules) || { echo "${RED}unreadable${PLAIN}  firewall rules of the host: the error is above" && return 1; }
  while IFS=$'\t' read -r rule advice; do
    [[ -n $rule ]] || continue
    echo "${YELLOW}foreign${PLAIN}  rule $rule; it is not the lab's, $advice"
    status=1
  done <<<"$rules"
  return "$status"
}
