# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The last lines of `up`. Sourced after topology.sh.

# Print what was built and how many checks passed: both proofs append lines "NUMBER NOUN" to PROOF_COUNTS.
summary() {
  local rules node number noun programs=0 tried=''
  local -A namespaces=()
  for node in "${NODES[@]}"; do
    namespaces[${NAMESPACE[$node]}]=1
    [[ ${RUNS[$node]} == - ]] || ((++programs))
  done
  rules=$({ iptables-save && ebtables-save; } | grep -c '^-A.*CNET-') || : # there may be no rules
  while read -r number noun; do tried+="${tried:+, }$(count "$number" "$noun")"; done <"$PROOF_COUNTS"
  echo "$(count ${#namespaces[@]} namespace), $(count ${#BRIDGES[@]} bridge), $(count "$rules" rule)," \
    "$(count $programs program);" \
    "$tried: all passed ($SECONDS s)"
}

print_next_steps() {
  local node url
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} == - || ${RUNS[$node]} != nginx ]] ||
      url=http://$(entry_host "$node"):${PUBLISHES[$node]%%:*}
  done
  say ""
  say "$(summary)"
  say "${BOLD}The lab is up${url:+: the shop is at $url/}$PLAIN"
  say "  try:  ${url:+curl $url/api/products}"
  ((${#NODES[@]} == 0)) ||
    say "        sudo ip netns exec ${NAMESPACE[${NODES[0]}]} ip addr      # look into a namespace"
  say "        sudo make status                        # everything on one screen"
}
