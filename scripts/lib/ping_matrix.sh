# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The ping matrix of every node to every other. Sourced by verify.sh.

# One fping for each namespace asks all others at once; its lines: "ADDRESS : MS" or "ADDRESS : -".
# Who did not answer within half a second is asked once more and waited for: a busy machine is no broken wire.
ping_from() { # NODE
  local answers silent
  ((${#TARGETS[@]} > 0)) || return 0
  answers=$(ask_by_ping "$1" 500 "${TARGETS[@]}")
  mapfile -t silent < <(awk '$3 == "-" { print $1 }' <<<"$answers")
  awk '$3 != "-"' <<<"$answers"
  ((${#silent[@]} == 0)) || ask_by_ping "$1" 2000 "${silent[@]}"
}
ask_by_ping() { # NODE MILLISECONDS ADDRESS...
  in_namespace "${NAMESPACE[$1]}" fping -q -C 1 -t "$2" -i 1 -S "${ADDRESS[$1]%/*}" "${@:3}" 2>&1 || [[ $? == 1 ]]
}

show_matrix() {
  local from to word row answers=0 number=0 closed=0 pings=() lost=()
  local -A answer
  [[ -n ${BRIEF:-} ]] || ((${#NODES[@]} > 20)) || matrix_head
  for from in "${NODES[@]}"; do
    answer=() TARGETS=()
    for to in "${NODES[@]}"; do
      if allowed "$from" "$to" icmp; then TARGETS+=("${ADDRESS[$to]%/*}"); else answer[${ADDRESS[$to]%/*}]=closed; fi
    done
    while read -r to _ word; do answer[$to]=$word; done < <(ping_from "$from")
    row=''
    for to in "${NODES[@]}"; do
      word=${answer[${ADDRESS[$to]%/*}]:--}
      if [[ $word == closed ]]; then closed=$((closed + 1)) word=.; elif [[ $word =~ ^[0-9.]+$ ]]; then answers=$((answers + 1)); else lost+=("$from $to") word=--; fi
      [[ $word == . ]] || pings+=("$from $to")
      row+=$(printf '%8.7s' "$word")
    done
    if [[ -n ${BRIEF:-} ]]; then :; elif ((${#NODES[@]} > 20)); then printf '\r  %s pings so far' "${#pings[@]}" >&2; else printf '  %2s %-18s%s\n' "$((++number))" "$from" "$row"; fi
  done
  echo "$answers ping" >>"${PROOF_COUNTS:-/dev/null}"
  if ((${#lost[@]} == 0)); then passed "$answers of $answers pings answered$( ((closed == 0)) || echo "; the policy closes $closed pairs (.), make prove tries them")"; else
    failed "${#lost[@]} pings of ${#pings[@]} got no answer"
    tell_lost
  fi
}

why() { echo "        why: sudo make explain $*"; } # ARGUMENTS of make

# In words, which of the array `pings` are in the array `lost`: nodes that are cut off by one line, other pairs by one each.
tell_lost() {
  local pair node
  local -A asked=() missed=() cut=()
  for pair in "${pings[@]}"; do [[ ${pair% *} == "${pair#* }" ]] || { asked[${pair% *}]+=. && asked[${pair#* }]+=.; }; done
  for pair in "${lost[@]}"; do [[ ${pair% *} == "${pair#* }" ]] || { missed[${pair% *}]+=. && missed[${pair#* }]+=.; }; done
  for node in "${NODES[@]}"; do
    [[ -n ${missed[$node]:-} && ${missed[$node]} == "${asked[$node]}" ]] || continue
    cut[$node]=1
    echo "        $node: all pings to it and from it were lost"
    for pair in "${lost[@]}"; do [[ ${pair#* } != "$node" || ${pair% *} == "$node" ]] || break; done
    why "FROM=${pair% *} TO=${pair#* } OPTIONS=--icmp"
  done
  for pair in "${lost[@]}"; do
    [[ -z ${cut[${pair% *}]:-}${cut[${pair#* }]:-} ]] || continue
    echo "        ${pair% *} does not reach ${pair#* }"
    why "FROM=${pair% *} TO=${pair#* } OPTIONS=--icmp"
  done
}

matrix_head() { # columns bear the rows' numbers
  printf '  %-21s' 'from \ to'
  printf '%8s' $(seq "${#NODES[@]}")
  echo
}
