# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The ping matrix of every node to every other, in one family (choose_family). Sourced by verify.sh.

# Run one fping in each namespace, to all others at once; the output lines are "ADDRESS : MS" or "ADDRESS : -".
# Retry once, with a longer timeout, if there is no answer within half a second: the machine may be busy.
ping_from() { # NODE
  local answers unanswered
  ((${#TARGETS[@]} > 0)) || return 0
  answers=$(send_pings "$1" 500 "${TARGETS[@]}")
  mapfile -t unanswered < <(awk '$3 == "-" { print $1 }' <<<"$answers")
  awk '$3 != "-"' <<<"$answers"
  ((${#unanswered[@]} == 0)) || send_pings "$1" 2000 "${unanswered[@]}"
}
send_pings() { # NODE MILLISECONDS ADDRESS...
  in_namespace "${NAMESPACE[$1]}" fping -q -C 1 -t "$2" -i 1 -S "${OWN[$1]}" "${@:3}" 2>&1 || [[ $? == 1 ]]
}

show_matrix() {
  local from to word row denied answers=0 number=0 closed=0 pings=() lost=()
  local -A answer
  [[ -n ${BRIEF:-} ]] || ((${#HERE[@]} > 20)) || matrix_head
  for from in "${HERE[@]}"; do
    answer=() TARGETS=()
    for to in "${HERE[@]}"; do
      if allowed "$from" "$to" icmp; then TARGETS+=("${OWN[$to]}"); else answer[${OWN[$to]}]=closed; fi
    done
    while read -r to _ word; do answer[$to]=$word; done < <(ping_from "$from")
    row=''
    for to in "${HERE[@]}"; do
      word=${answer[${OWN[$to]}]:--}
      case $word in
        closed) closed=$((closed + 1)) word=. ;;
        [0-9.]*) answers=$((answers + 1)) ;;
        *) lost+=("$from $to") word=-- ;;
      esac
      [[ $word == . ]] || pings+=("$from $to")
      row+=$(printf '%8.7s' "$word")
    done
    if [[ -n ${BRIEF:-} ]]; then
      :
    elif ((${#HERE[@]} > 20)); then
      printf '\r  %s pings so far' "${#pings[@]}" >&2
    else
      printf '  %2s %-18s%s\n' "$((++number))" "$from" "$row"
    fi
  done
  echo "$answers ping" >>"${PROOF_COUNTS:-/dev/null}"
  if ((${#lost[@]} > 0)); then
    failed pings "${#lost[@]} pings of ${#pings[@]} got no answer"
    report_lost
  elif ((closed > 0)); then
    denied="the policy denies $closed pairs (.), make prove tries them"
    passed pings "$answers of $answers pings answered$IN_FAMILY; $denied"
  else
    passed pings "$answers of $answers pings answered$IN_FAMILY"
  fi
}

count_ends() { # NAME_OF_MAP PAIR...: add a mark for both ends of each pair
  local -n marks=$1
  local pair
  for pair in "${@:2}"; do
    [[ ${pair% *} == "${pair#* }" ]] || { marks[${pair% *}]+=. && marks[${pair#* }]+=.; }
  done
}

# Report lost pings: a line for each node that is cut off, and a line for each other pair.
report_lost() {
  local pair node
  local -A sent=() missed=() cut=()
  count_ends sent "${pings[@]}"
  count_ends missed "${lost[@]}"
  for node in "${HERE[@]}"; do
    [[ -n ${missed[$node]:-} && ${missed[$node]} == "${sent[$node]}" ]] || continue
    cut[$node]=1
    echo "        $node: all pings to it and from it were lost"
    for pair in "${lost[@]}"; do [[ ${pair#* } != "$node" || ${pair% *} == "$node" ]] || break; done
    suggest_way "FROM=${pair% *} TO=${pair#* } OPTIONS=--icmp"
  done
  for pair in "${lost[@]}"; do
    [[ -z ${cut[${pair% *}]:-}${cut[${pair#* }]:-} ]] || continue
    echo "        ${pair% *} does not reach ${pair#* }"
    suggest_way "FROM=${pair% *} TO=${pair#* } OPTIONS=--icmp"
  done
}

matrix_head() { # columns have the rows' numbers
  printf '  %-21s' 'from \ to'
  printf '%8s' $(seq "${#HERE[@]}")
  echo
}
