# shellcheck shell=bash
# Own chains, one transaction: what turns the live rules into the wanted ones. Sourced.
#
# TOOL is whose rules: iptables or ebtables. A rule is a line "TABLE -A CHAIN ..." and a chain "TABLE -N CHAIN", spelt as iptables-save does. A chain
# of ours is CNET-*; a rule in a chain of the host is ours when it jumps to one: a hook. Nothing else is
# ever touched.

TOOL=iptables

# Rules in iptables-save's format to the lines above; only what is of CHAIN...
of_chains() {
  awk -v chains="$*" '
    BEGIN { count = split(chains, list, " "); for (i = 1; i <= count; i++) ours[list[i]] }
    /^\*/ { table = substr($0, 2) }
    /^:/ { chain = substr($1, 2); if (chain in ours) print table, "-N", chain }
    /^-A/ { target = ""; for (i = 3; i < NF; i++) if ($i == "-j" || $i == "-g") target = $(i + 1)
            if ($2 in ours || target in ours) print table, $0 }'
}

live_rules() { "$TOOL-save" | of_chains "$@"; }

# A chain of one's own; ebtables' have a policy.
new_chain() { if [[ $TOOL == ebtables ]]; then echo RETURN; else echo '- [0:0]'; fi; }

# The wanted rules (standard input) as this machine's iptables spells them, learned by loading them into
# a network namespace that ends at once. A rule that cannot be loaded is found here, not on the host.
spell() {
  awk -v new="$(new_chain)" '
    { rules[$1] = rules[$1] substr($0, length($1) + 2) "\n"; chains[$1] = chains[$1] " " $3 " " $NF }
    END {
      for (table in rules) {
        printf "*%s\n", table
        count = split(chains[table], list, " ")
        for (i = 1; i <= count; i++) if (list[i] ~ /^(CNET|DOCKER)-/ && !seen[table, list[i]]++) printf ":%s %s\n", list[i], new
        printf "%sCOMMIT\n", rules[table]
      }
    }' | unshare --net -- bash -c "set -o pipefail; $TOOL-restore && $TOOL-save" | of_chains "$@"
}

# change_rules WANTED LIVE: the input of one iptables-restore --noflush, nothing when they are equal. A chain
# that is as wanted is left alone, so its counters run on; a hook is put first in its chain, once.
change_rules() {
  awk -v new="$(new_chain)" '
    { table = $1; chain = $3; rule = substr($0, length(table) + 2); tables[table]; ours = chain ~ /^CNET-/ }
    ours && FILENAME == ARGV[1] { wanted_chain[table, chain] = wanted_chain[table, chain] rule "\n" }
    ours && FILENAME != ARGV[1] { live_chain[table, chain] = live_chain[table, chain] rule "\n" }
    !ours && FILENAME == ARGV[1] { wanted_hook[table, rule] }
    !ours && FILENAME != ARGV[1] { live_hook[table, rule]++ }
    function keys_of(map, list,   key, part, count) {
      for (key in map) { split(key, part, SUBSEP); if (part[1] == table) list[++count] = part[2] }
      return count
    }
    function surplus_hooks(   list, i, n, spare, out) {
      n = keys_of(live_hook, list)
      for (i = 1; i <= n; i++)
        for (spare = live_hook[table, list[i]] - ((table, list[i]) in wanted_hook); spare > 0; spare--)
          out = out "-D" substr(list[i], 3) "\n"
      return out
    }
    function missing_hooks(   list, i, n, out, chain) {
      n = keys_of(wanted_hook, list)
      for (i = 1; i <= n; i++) if (!((table, list[i]) in live_hook)) {
        split(list[i], word, " "); chain = word[2]
        out = out "-I " chain " 1" substr(list[i], length("-A " chain) + 1) "\n"
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

# apply_rules WANTED LIVE: shows and loads the change, whole or not at all.
apply_rules() {
  local change restore=("$TOOL-restore" --noflush)
  [[ $TOOL != iptables ]] || restore+=(--wait)
  change=$(change_rules "$1" "$2")
  [[ -n $change ]] || return 0
  echo_command "${restore[*]} <<'RULES'"$'\n'"$change"$'\n'RULES
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
BEFORE_UP=$RUN_DIR/before-up

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
