# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The output of `up` and `status`: nodes, rules, drops, a summary, and advice. Sourced after topology.sh.

show_nodes() {
  local node port
  printf '%s%-18s %-18s %-18s %-16s %-10s %s%s\n' "$BOLD" node namespace address interface bridge listens "$PLAIN"
  for node in "${NODES[@]}"; do
    port=${PUBLISHES[$node]/#-/}
    printf '%-18s %-18s %-18s %-16s %-10s %s\n' "$node" "${NAMESPACE[$node]}" "${ADDRESS[$node]}" \
      "${INTERFACE[$node]}" "${BRIDGE[$node]}" "${LISTENS[$node]}${port:+  host:$port}"
  done
}

show_rules() { # without the policy's rules, which are many: `make rules` shows them
  printf '\n%s%10s %12s  %-7s %-17s %s%s\n' "$BOLD" packets bytes table chain rule "$PLAIN"
  iptables-save -c | awk '
    /^\*/ { table = substr($0, 2) }
    table != "security" && table != "raw" && /^\[/ && / CNET-/ && !/"cnet: before up: / {
      split(substr($1, 2), count, /[:\]]/)
      why = $0; if (!sub(/.*--comment "cnet: /, "", why)) next
      sub(/".*/, "", why)
      printf "%10s %12s  %-7s %-17s %s\n", count[1], count[2], table, $3, why
    }'
}

show_drops() {
  policy_in_force || return 0
  printf '\n%sdropped by the policy since the last proof%s\n' "$BOLD" "$PLAIN"
  { iptables-save -c && ebtables-save -c; } | awk '
    $3 ~ /^CNET-DROP-/ && / -j DROP/ { split(substr($1, 2), count, ":"); dropped[substr($3, 11)] += count[1] }
    END {
      for (id in dropped) if (dropped[id]) { printf "%10s  %s\n", dropped[id], id; any = 1 }
      if (!any) print "         0  packets"
    }' | sort -rn
}

# Print how to repair what status found. Return 1 if it found anything.
print_advice() { # TEXT
  local word name rest failing='' repairable='' foreign='' other=''
  while read -r word name rest; do
    word=${word#$'\e[3'?m}
    case ${word%$'\e[0m'} in
      missing | surplus | behind | stopped | wrong-namespace | old-password) repairable=1 ;;
      foreign) foreign=1 ;;
      disk-full | unreadable) other=1 ;; # the lines of these findings contain the fix
      cause) other=1 ;;
      not-ready | degraded | backoff | starting | fatal | exited | stopping | unknown) failing+=" $name" ;;
    esac
  done <<<"$1"
  [[ -z $repairable ]] ||
    say "${RED}drift:${PLAIN} the lines above that begin with missing, surplus, behind, stopped," \
      "old-password or wrong-namespace differ from $TABLE; repair with: sudo make up"
  [[ -z $failing ]] || say "${RED}not ready:${PLAIN}$failing"
  [[ -z $foreign ]] ||
    say "${RED}foreign:${PLAIN} up does not change what is not the lab's; each line above that begins with" \
      "foreign contains a command that does"
  [[ -n $repairable$failing$foreign$other ]] || return 0
  say "$DIAGNOSE"
  return 1
}

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
    [[ ${PUBLISHES[$node]} == - || ${RUNS[$node]} != nginx ]] || url=http://localhost:${PUBLISHES[$node]%%:*}
  done
  say ""
  say "$(summary)"
  say "${BOLD}The lab is up${url:+: the shop is at $url/}$PLAIN"
  say "  try:  ${url:+curl $url/api/products}"
  ((${#NODES[@]} == 0)) ||
    say "        sudo ip netns exec ${NAMESPACE[${NODES[0]}]} ip addr      # look into a namespace"
  say "        sudo make status                        # everything on one screen"
}
