# shellcheck shell=bash
# Own chains, one transaction: what turns the live rules into the wanted ones. Sourced.
#
# TOOL is whose rules: iptables or ebtables. A rule is a line "TABLE -A CHAIN ..." and a chain "TABLE -N CHAIN", spelt as iptables-save does. A chain
# of ours is CNET-*; a rule in a chain of the host is ours when it jumps to one: a hook. Nothing else is
# ever touched. A hook is the first rule of its chain: "TABLE behind CHAIN COUNT RULE" tells of COUNT foreign rules
# before it, and the first of them.

TOOL=iptables

# Rules in iptables-save's format to the lines above, tables in one order; only what is of the chains CNET-PATTERN.
# What follows Docker's own jump to DOCKER-USER is not before our hook when there is one in DOCKER-USER too, which may be
# read later.
of_chains() { # PATTERN
  awk -v pattern="^CNET-($1)\$" '
    function tell(line) { lines[table] = lines[table] line "\n" }
    function tell_behind(count) { if (count) tell(table " behind " $2 " " count " " first[table, $2]) }
    /^\*/ { table = substr($0, 2) }
    /^:/ { chain = substr($1, 2); if (chain ~ pattern) tell(table " -N " chain) }
    $0 == "-A FORWARD -j DOCKER-USER" { before_docker[table] = count[table, $2] + 0; next }
    /^-A/ {
      target = ""; for (i = 3; i < NF; i++) if ($i == "-j" || $i == "-g") target = $(i + 1)
      hook = $2 !~ /^CNET-/ && target ~ pattern
      if ($2 ~ pattern || hook) tell(table " " $0)
      else if ($2 !~ /^CNET-/ && target !~ /^CNET-/ && !count[table, $2]++) first[table, $2] = $0
      if (!hook) next
      if ($2 == "DOCKER-USER") hooked_by_docker[table]
      if ($2 == "FORWARD" && table in before_docker) forward[table] += count[table, $2]
      else tell_behind(count[table, $2])
      count[table, $2] = 0
    }
    END {
      $2 = "FORWARD"
      for (table in forward) tell_behind(table in hooked_by_docker ? before_docker[table] : forward[table])
      n = split("raw mangle nat filter security", order, " "); for (i = 1; i <= n; i++) printf "%s", lines[order[i]]
    }'
}

live_rules() { "$TOOL-save" | of_chains "$1"; } # PATTERN

# rule_differences WANTED LIVE: a line for each, for people.
rule_differences() {
  local line table chain count rule
  while read -r line; do echo "${RED}missing${PLAIN}  rule $line"; done < <(grep -vxF -- "$2" <<<"$1")
  while read -r line; do
    if [[ $line == *' behind '* ]]; then
      read -r table _ chain count rule <<<"$line"
      echo "${RED}behind${PLAIN}   the lab's hook in $table $chain comes after a rule that is not the lab's: $rule$( ((count == 1)) || echo " (and $((count - 1)) more)")"
    else
      echo "${YELLOW}surplus${PLAIN}  rule $line"
    fi
  done < <([[ -z $2 ]] || grep -vxF -- "$1" <<<"$2")
}

# A chain of one's own; ebtables' have a policy.
new_chain() { if [[ $TOOL == ebtables ]]; then echo RETURN; else echo '- [0:0]'; fi; }

# The wanted rules (standard input) as this machine's iptables spells them, learned by loading them into
# a network namespace that ends at once. A rule that cannot be loaded is found here, not on the host.
spell() { # PATTERN
  awk -v new="$(new_chain)" '
    { rules[$1] = rules[$1] substr($0, length($1) + 2) "\n"; chains[$1] = chains[$1] " " $3 " " $NF }
    END {
      for (table in rules) {
        printf "*%s\n", table
        count = split(chains[table], list, " ")
        for (i = 1; i <= count; i++) if (list[i] ~ /^(CNET|DOCKER)-/ && !seen[table, list[i]]++) printf ":%s %s\n", list[i], new
        printf "%sCOMMIT\n", rules[table]
      }
    }' | unshare --net -- bash -c "set -o pipefail; $TOOL-restore && $TOOL-save" | of_chains "$1"
}

# change_rules WANTED LIVE: the input of one iptables-restore --noflush, nothing when they are equal. A chain
# that is as wanted is left alone, so its counters run on; a hook is put first in its chain, once. One that is behind
# a foreign rule is taken out and put first again.
change_rules() {
  awk -v new="$(new_chain)" '
    $2 == "behind" { behind[$1, $3]; tables[$1]; next }
    { table = $1; chain = $3; rule = substr($0, length(table) + 2); tables[table]; ours = chain ~ /^CNET-/ }
    ours && FILENAME == ARGV[1] { wanted_chain[table, chain] = wanted_chain[table, chain] rule "\n" }
    ours && FILENAME != ARGV[1] { live_chain[table, chain] = live_chain[table, chain] rule "\n" }
    !ours && FILENAME == ARGV[1] && !((table, rule) in wanted_hook) { wanted_hook[table, rule]; hook_table[++hooks] = table; hook[hooks] = rule }
    !ours && FILENAME != ARGV[1] { live_hook[table, rule]++ }
    function keys_of(map, list,   key, part, count) {
      for (key in map) { split(key, part, SUBSEP); if (part[1] == table) list[++count] = part[2] }
      return count
    }
    function stays(rule) { split(rule, word, " "); return (table, rule) in wanted_hook && !((table, word[2]) in behind) }
    function surplus_hooks(   list, i, n, spare, out) {
      n = keys_of(live_hook, list)
      for (i = 1; i <= n; i++)
        for (spare = live_hook[table, list[i]] - stays(list[i]); spare > 0; spare--)
          out = out "-D" substr(list[i], 3) "\n"
      return out
    }
    function missing_hooks(   i, out, chain) {
      for (i = 1; i <= hooks; i++) if (hook_table[i] == table && (!((table, hook[i]) in live_hook) || !stays(hook[i]))) {
        split(hook[i], word, " "); chain = word[2]
        out = out "-I " chain " 1" substr(hook[i], length("-A " chain) + 1) "\n"
      }
      return out
    }
    function changed_chains(   list, i, n, chains, out, rules) {  # chains first: rules jump to them
      n = keys_of(wanted_chain, list)
      for (i = 1; i <= n; i++) if (wanted_chain[table, list[i]] != live_chain[table, list[i]]) {
        rules = wanted_chain[table, list[i]]; sub(/^-N [^\n]*\n/, "", rules)
        chains = chains ":" list[i] " " new "\n"; out = out rules
      }
      return chains out
    }
    function surplus_chains(   list, i, n, flush, out) {
      n = keys_of(live_chain, list)
      for (i = 1; i <= n; i++) if (!((table, list[i]) in wanted_chain)) { flush = flush "-F " list[i] "\n"; out = out "-X " list[i] "\n" }
      return flush out
    }
    END {
      for (table in tables) {
        change = surplus_hooks() changed_chains() missing_hooks() surplus_chains()
        if (change) printf "*%s\n%sCOMMIT\n", table, change
      }
    }' <(printf '%s' "${1:+$1$'\n'}") <(printf '%s' "${2:+$2$'\n'}")
}

rules_differ() { [[ -n $(change_rules "$1" "$2") ]]; } # WANTED LIVE; the order of hooks in one chain is no difference

# apply_rules WANTED LIVE: load the change, whole or not at all; show it when DRY_RUN=1 or SHOW=1, else how many rules it is.
apply_rules() {
  local change restore=("$TOOL-restore" --noflush)
  [[ $TOOL != iptables ]] || restore+=(--wait)
  change=$(change_rules "$1" "$2")
  [[ -n $change ]] || return 0
  if [[ -n $SHOW$DRY_RUN ]]; then
    echo_command "${restore[*]} <<'RULES'"$'\n'"$change"$'\n'RULES
  else
    echo_command "${restore[*]} ($(grep -c '^-[AID]' <<<"$change" || :) rules; SHOW=1 prints them, sudo make rules explains them)"
  fi
  [[ -n ${DRY_RUN:-} ]] || "${restore[@]}" <<<"$change"
}

# forget_tracked MATCH...: delete connections from the kernel's tracking table. conntrack's status is 1 when there were
# none and when it failed, so its words tell which. It stops at an entry that expires under its hands, so it is run again.
forget_tracked() {
  local said tries=20
  until said=$(run conntrack -D "$@" 2>&1) || [[ $said == *": 0 flow entries have been deleted"* ]]; do
    [[ $((--tries)) -gt 0 && $said == *"such conntrack doesn't exist"* ]] || {
      say "$SCRIPT: a connection could not be deleted from the tracking table:"$'\n'"$said"
      return 1
    }
  done
}

# --- what `down` restores --------------------------------------------------------------------------

# Words such as "boot=1b2c3d4e chains=nat:OUTPUT", saved twice: in a file, and in the kernel as comments of rules that
# match all and do nothing. Either may be lost: `nft flush ruleset`, a cleaned /run. `up` writes the file before it
# changes anything; `down` removes it last.
this_boot() {
  local id
  read -r id </proc/sys/kernel/random/boot_id
  echo "boot=${id%%-*}"
}

# Words of another boot are about another host; so are rules alone while no link of the lab exists: they were saved
# while the lab was up, and loaded again.
remembered() { # nat|policy LIVE
  local found
  found=$(cat "$BEFORE_UP.$1" 2>/dev/null) || :
  if [[ " $found " != *" $(this_boot) "* ]]; then
    found=$(sed -nE 's/.*"cnet: before up: ([^"]*)".*/\1/p' <<<"$2" | paste -sd' ')
    [[ " $found " == *" $(this_boot) "* && -n $(ip -o link show group "$LINK_GROUP" 2>/dev/null) ]] || found=''
  fi
  echo "$found"
}
saved_words() { awk -v RS=' |\n' -v name="$2=" 'index($0, name) == 1 { print substr($0, length(name) + 1) }' <<<"$1"; } # MEMORY NAME
keep_memory() { [[ -n ${DRY_RUN:-} ]] || echo "$2" >"$BEFORE_UP.$1"; }                                                  # nat|policy MEMORY
forget_memory() { [[ -n ${DRY_RUN:-} ]] || rm -f "$BEFORE_UP.$1"; }

chains_before() { # nat|policy LIVE FAMILY/TABLE...
  local found
  found=$(remembered "$1" "$2")
  echo "${found:-$(this_boot) chains=$(base_chains "${@:3}" | paste -sd,)}"
}

# base_chains FAMILY/TABLE...: TABLE:CHAIN of those that the kernel itself calls. The nft backend makes them at
# their first use.
base_chains() {
  [[ $(iptables -V) == *nf_tables* ]] && command -v nft >/dev/null || return 0
  local table
  for table; do
    nft -j list chains "${table%/*}" |
      jq -r --arg table "${table#*/}" '.nftables[].chain | select(.hook and .table == $table) | "\(.table):\(.name)"'
  done
}

unused_chain() { # FAMILY TABLE CHAIN: no rule, and the kernel's own policy
  nft -j list chain "$@" | jq -e '.nftables | all(.[]; has("rule") | not) and any(.[]; .chain.policy == "accept")' >/dev/null
}

is_filled() { # FAMILY TABLE: it holds a chain, or is not there at all
  ! nft list table "$@" &>/dev/null || nft list table "$@" 2>/dev/null | grep chain >/dev/null
}

# give_back_chains MEMORY FAMILY/TABLE...: chains that were not there before go again, where nobody else has put
# anything into them.
give_back_chains() {
  local table item before
  before=$(saved_words "$1" chains)
  for table in "${@:2}"; do
    for item in $(base_chains "$table"); do
      [[ ,$before, == *,"$item",* ]] || ! unused_chain "${table%/*}" "${table#*/}" "${item#*:}" ||
        run nft delete chain "${table%/*}" "${table#*/}" "${item#*:}"
    done
    [[ ,$before == *,"${table#*/}":* ]] || is_filled "${table%/*}" "${table#*/}" || run nft delete table "${table%/*}" "${table#*/}"
  done
}
