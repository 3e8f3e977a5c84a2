# shellcheck shell=bash
# Print the firewall rules of the host that match packets of the lab, each with a command that resolves it; change none.
# Sourced after topology.sh.

# Print a line for each: RULE, a tab, WHAT TO DO: COMMAND.
foreign_host_rules() {
  [[ -s $VENV/digests ]] || return 0 # without an environment the lab is not up
  (cd "$ROOT" && "$VENV/bin/python" -m security.rules.foreign "$TABLE")
}

list_foreign_rules() { # print one line per foreign rule; return 1 if there is any
  local rules rule advice status=0
  rules=$(foreign_host_rules) ||
    { echo "${RED}unreadable${PLAIN}  firewall rules of the host: the error is above" && return 1; }
  while IFS=$'\t' read -r rule advice; do
    [[ -n $rule ]] || continue
    echo "${YELLOW}foreign${PLAIN}  rule $rule; it is not the lab's, $advice"
    status=1
  done <<<"$rules"
  return "$status"
}
