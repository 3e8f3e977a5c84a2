# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# `status`: nodes, rules, drops, programs, and what differs from the tables, as text or JSON. Sourced after topology.sh,
# rules.sh, foreign.sh and json.sh.

PROGRESS='asking each service, and comparing the lab with its tables ...'

status() {
  need_root
  need_tools ip jq iptables-save
  load_topology
  need_lab
  export TOPOLOGY=$TABLE
  if [[ -n $JSON ]]; then status_as_json; else status_as_text; fi
}

status_as_text() {
  local output foreign causes status=0
  exec {foreign}< <(list_foreign_rules) {causes}< <(call diagnose causes) # run in parallel
  show_nodes
  show_rules
  show_drops
  printf '\n%sservices%s\n' "$BOLD" "$PLAIN"
  show_progress "$PROGRESS"
  output=$(
    failed=0
    call services status || failed=1
    echo
    call network status || failed=1
    call nat status || failed=1
    ! policy_is_wanted || policy status || failed=1
    cat <&"$foreign"
    ((failed)) || cat <&"$causes"
    exit "$failed"
  ) || status=1
  show_progress
  echo "$output"
  print_advice "$output" && return "$status"
}

has_ipv6() { ((${#ADDRESS6[@]} > 0)); } # whether the table has a column address6

show_nodes() {
  local node port six width=18 format='%-18s %-18s %-*s %-16s %-10s %s'
  ! has_ipv6 || width=36
  # shellcheck disable=SC2059 # the format is the same for the heading and each line
  printf "%s$format%s\n" "$BOLD" node namespace "$width" address interface bridge listens "$PLAIN"
  for node in "${NODES[@]}"; do
    port=${PUBLISHES[$node]/#-/} six=${ADDRESS6[$node]:--}
    six=${six/#-/}
    # shellcheck disable=SC2059
    printf "$format\n" "$node" "${NAMESPACE[$node]}" "$width" "${ADDRESS[$node]}${six:+ $six}" "${INTERFACE[$node]}" \
      "${BRIDGE[$node]}" "${LISTENS[$node]}${port:+  host:$port}"
  done
}

# Print the rules of ip6tables as iptables-save does, their tables as `*ip6tables TABLE`; none for a table without IPv6.
save_rules6() { ! has_ipv6 || ip6tables-save -c | sed 's/^\*/*ip6tables /'; }

# Print PACKETS, BYTES, TABLE, CHAIN and the comment of each rule, with tabs between; without the policy's rules, which
# are many: `make rules` shows them.
count_rules() {
  { iptables-save -c && save_rules6; } | awk -v OFS='\t' '
    /^\*/ { table = substr($0, 2) }
    table !~ /(security|raw)$/ && /^\[/ && / CNET-/ && !/"cnet: before up: / {
      split(substr($1, 2), count, /[:\]]/)
      why = $0; if (!sub(/.*--comment "cnet: /, "", why)) next
      sub(/".*/, "", why)
      print count[1], count[2], table, $3, why
    }'
}

show_rules() {
  local width=7
  ! has_ipv6 || width=16 # ip6tables mangle
  printf '\n%s%10s %12s  %-*s %-17s %s%s\n' "$BOLD" packets bytes "$width" table chain rule "$PLAIN"
  count_rules | awk -F '\t' -v format="%10s %12s  %-${width}s %-17s %s\n" '{ printf format, $1, $2, $3, $4, $5 }'
}

# Print PACKETS and the id of each policy line that dropped any since the last proof, the most packets first.
count_drops() {
  ! policy_in_force || { iptables-save -c && save_rules6 && ebtables-save -c; } | awk -v OFS='\t' '
    $3 ~ /^CNET-DROP-/ && / -j DROP/ { split(substr($1, 2), count, ":"); dropped[substr($3, 11)] += count[1] }
    END { for (id in dropped) if (dropped[id]) print dropped[id], id }' | sort -rn
}

show_drops() {
  policy_in_force || return 0
  printf '\n%sdropped by the policy since the last proof%s\n' "$BOLD" "$PLAIN"
  count_drops | awk -F '\t' '{ printf "%10s  %s\n", $1, $2 } END { if (!NR) print "         0  packets" }'
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

# --- JSON -----------------------------------------------------------------------------------------

# Each command prints objects with one key, the name of the list that its value belongs to.
status_as_json() {
  local printed policy=''
  show_progress "$PROGRESS"
  printed=$(
    exec {foreign}< <(list_foreign_rules) {causes}< <(call diagnose causes) # run in parallel
    nodes_as_json
    count_rules | rules_as_json
    count_drops | jq -Rc 'split("\t") | {drops: {policy_id: .[1], packets: (.[0] | tonumber)}}'
    failed=0
    call services status --json || failed=1
    print_drift network nat || failed=1
    ! policy_is_wanted || print_drift policy || failed=1
    differences_as_json drift <&"$foreign"
    if ((failed)); then echo '{"failed": true}'; else differences_as_json drift <&"$causes"; fi
  )
  ! policy_is_wanted || policy=$(policy path)
  printed=$(jq -s --arg topology "$TABLE" --arg policy "$policy" '
    reduce (.[] | to_entries[]) as $item ({nodes: [], programs: [], rules: [], drops: [], drift: [], failed: []};
      .[$item.key] += [$item.value]) |
    {topology: $topology, policy: ($policy | if . == "" then null else . end),
      matches: (.failed == [] and .drift == [] and all(.programs[]; .state == "running"))} + . | del(.failed)' \
    <<<"$printed")
  show_progress
  printf '%s\n' "$printed"
  jq -e .matches <<<"$printed" >/dev/null
}

nodes_as_json() {
  local node
  for node in "${NODES[@]}"; do
    printf '%s\t' "$node" "${NAMESPACE[$node]}" "${ADDRESS[$node]}" "${ADDRESS6[$node]:--}" "${INTERFACE[$node]}" \
      "${BRIDGE[$node]}" "${LISTENS[$node]}" "${PUBLISHES[$node]}"
    printf '%s\n' "${RUNS[$node]}"
  done | jq -Rc 'def items: if . == "-" then [] else split(",") end;
    def optional: if . == "-" then null else . end;
    split("\t") | {nodes: {name: .[0], namespace: .[1], address: .[2], address6: (.[3] | optional), interface: .[4],
      bridge: .[5], listens: (.[6] | items), publishes: (.[7] | items), runs: (.[8] | optional)}}'
}

rules_as_json() {
  jq -Rc 'split("\t") | {rules: {table: .[2], chain: .[3], meaning: .[4], packets: (.[0] | tonumber),
    bytes: (.[1] | tonumber)}}'
}

print_drift() { # SCRIPT...: for each script whose status is not 0, print what differs
  local script lines failed=0
  for script; do
    if [[ $script == policy ]]; then lines=$(policy status); else lines=$(call "$script" status); fi || {
      differences_as_json drift <<<"$lines"
      failed=1
    }
  done
  return "$failed"
}
