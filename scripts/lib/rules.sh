# shellcheck shell=bash disable=SC2034 # scripts that source this use the results
# Load the lab's rules: its own chains in one transaction, and what `down` restores. Sourced after topology.sh.

# The results of lab.ruleset: the input of TOOL-restore --noflush by tool, differences as text, numbers of rules.
declare -A CHANGE=()
DIFFERENCES='' LIVE_RULES=0 WANTED_RULES=0

# compare_rules MODULE ARGUMENT...: run lab.ruleset, or a module with the same output, and set the results above.
compare_rules() {
  local found
  found=$(run_python -m "$@") || exit 1
  eval "$found"
}

print_differences() {
  sed -E "s/^missing/$RED&$PLAIN/; s/^behind/$RED&$PLAIN/; s/^surplus/$YELLOW&$PLAIN/" <<<"$DIFFERENCES"
}

# Load the change of a tool, whole or not at all. Print it if DRY_RUN=1 or SHOW=1, else its number of rules.
apply_rules() { # TOOL
  local change=${CHANGE[$1]} restore=("$1-restore" --noflush)
  [[ -n $change ]] || return 0
  [[ $1 == ebtables ]] || restore+=(--wait)
  if [[ -n $SHOW$DRY_RUN ]]; then
    echo_command "${restore[*]} <<'RULES'"$'\n'"${change%$'\n'}"$'\n'RULES
  else
    echo_command "${restore[*]} ($(grep -c '^-[AID]' <<<"$change" || :) rules;" \
      "SHOW=1 prints them, sudo make rules explains them)"
  fi
  [[ -n ${DRY_RUN:-} ]] || "${restore[@]}" <<<"$change"
}

# forget_tracked MATCH...: delete connections from the kernel's tracking table. The exit status of conntrack is 1 both
# when there were none and when it failed, so read its message. It stops at an entry that expires meanwhile, so run it
# again.
forget_tracked() {
  local output tries=20
  until output=$(run conntrack -D "$@" 2>&1) || [[ $output == *": 0 flow entries have been deleted"* ]]; do
    [[ $((--tries)) -gt 0 && $output == *"such conntrack doesn't exist"* ]] || {
      say "$SCRIPT: a connection could not be deleted from the tracking table:"$'\n'"$output"
      return 1
    }
  done
}

# --- what `down` restores -------------------------------------------------------------------------

# The state is words such as "boot=1b2c3d4e chains=nat:OUTPUT", saved twice: in a file, and in the kernel as comments of
# rules that match all and do nothing. Either may be lost: `nft flush ruleset`, a cleaned /run. `up` writes the file
# before it changes anything; `down` removes it last.
declare -A STATE_CHAIN=([nat]=CNET-FORWARD [policy]=CNET-FROM-NODES)

this_boot() {
  local id
  read -r id </proc/sys/kernel/random/boot_id
  echo "boot=${id%%-*}"
}

# Print the saved state. Ignore that of another boot, and comments while no link of the lab exists: such rules were
# saved while the lab was up, and loaded again.
saved_state() { # nat|policy
  local found=''
  [[ ! -r $BEFORE_UP.$1 ]] || found=$(<"$BEFORE_UP.$1")
  if [[ " $found " != *" $(this_boot) "* ]]; then
    found=$(iptables-save | sed -nE "s/^-A ${STATE_CHAIN[$1]} .*\"cnet: before up: ([^\"]*)\".*/\1/p" | paste -sd' ')
    [[ " $found " == *" $(this_boot) "* && -n $(ip -o link show group "$LINK_GROUP" 2>/dev/null) ]] || found=''
  fi
  echo "$found"
}

state_words() { # STATE NAME: print the values of NAME=VALUE, one per line
  local word
  for word in $1; do [[ $word != "$2"=* ]] || echo "${word#*=}"; done
}

write_state() { [[ -n ${DRY_RUN:-} ]] || echo "$2" >"$BEFORE_UP.$1"; } # nat|policy STATE
remove_state() { [[ -n ${DRY_RUN:-} ]] || rm -f "$BEFORE_UP.$1"; }     # nat|policy

# Print the saved state, else a new one.
state_before_up() { # nat|policy FAMILY/TABLE...
  local found
  found=$(saved_state "$1")
  echo "${found:-$(this_boot) chains=$(builtin_chains "${@:2}" | awk -v OFS=: '
    { print ($1 == "ip6" ? "ip6." : "") $2, $3 }' | paste -sd,)}"
}

# Print FAMILY TABLE CHAIN of the built-in chains; the nft backend creates them at their first use.
builtin_chains() { # FAMILY/TABLE...
  [[ $(iptables -V) == *nf_tables* ]] && command -v nft >/dev/null || return 0
  nft -j list chains | jq -r '.nftables[].chain | select(.hook and ("\(.family)/\(.table)" | IN($ARGS.positional[]))) |
    "\(.family) \(.table) \(.name)"' --args "$@"
}

is_unused_chain() { # FAMILY TABLE CHAIN: no rule, and the kernel's own policy
  nft -j list chain "$@" |
    jq -e '.nftables | all(.[]; has("rule") | not) and any(.[]; .chain.policy == "accept")' >/dev/null
}

is_empty_table() { # FAMILY TABLE: true if the table exists and is empty
  local listed
  listed=$(nft list table "$@" 2>/dev/null) && [[ $listed != *chain* ]]
}

# Delete chains that did not exist before `up` and are unused, and then tables that are empty.
remove_empty_builtin_chains() { # STATE FAMILY/TABLE...
  local family table chain before key
  before=,$(state_words "$1" chains),
  while read -r family table chain; do
    key=$table:$chain
    [[ $family != ip6 ]] || key=ip6.$key
    [[ -z $chain || $before == *",$key,"* ]] || ! is_unused_chain "$family" "$table" "$chain" ||
      run nft delete chain "$family" "$table" "$chain"
  done < <(builtin_chains "${@:2}")
  for table in "${@:2}"; do
    key=${table#*/}:
    [[ $table != ip6/* ]] || key=ip6.$key
    [[ $before == *",$key"* ]] || ! is_empty_table "${table%/*}" "${table#*/}" ||
      run nft delete table "${table%/*}" "${table#*/}"
  done
}
