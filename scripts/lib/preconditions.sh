# shellcheck shell=bash
# Preconditions of `up`, except those that network.sh, nat.sh and services.sh check themselves; doctor calls the same
# functions. Each prints nothing, or its problem as "what; how to fix it". Sourced after topology.sh.

# shellcheck source=scripts/lib/names.sh
source "$ROOT/scripts/lib/names.sh"

MIN_MEGABYTES=200 # of disk, for PostgreSQL's files

require_preconditions() { # COMMAND of lab.sh: exit with the first problem
  local problem precondition preconditions=(answers_problem)
  [[ $1 != up && $1 != services ]] || preconditions+=(space_problem names_problem) # only programs need them
  for precondition in "${preconditions[@]}"; do
    problem=$("$precondition")
    [[ -z $problem ]] || die "$problem"
  done
}

free_megabytes() { # DIRECTORY: print the free space of its file system; it may be missing
  local directory=$1
  until [[ -d $directory ]]; do directory=$(dirname "$directory"); done
  df -Pm "$directory" | awk 'END { print $4 }'
}

new_databases() { # list nodes that will create a database; the folder's name is the version
  local node
  for node in $(nodes_running postgres); do
    compgen -G "$STATE_DIR/nodes/$node/[0-9]*[0-9]/PG_VERSION" >/dev/null || echo "$node"
  done
}

space_problem() {
  local disk
  disk=$(free_megabytes "$STATE_DIR")
  ((disk >= MIN_MEGABYTES)) || [[ -z $(new_databases) ]] ||
    echo "$disk MB free for $STATE_DIR: too little disk for PostgreSQL's files; free some space, or mount a larger" \
      "file system there"
}

# `ip netns exec` mounts /etc/netns/NAME/resolv.conf, which the lab writes, over /etc/resolv.conf, which must exist.
names_problem() {
  [[ -n $(dns_addresses) ]] || return 0
  local directory=$RESOLVERS state='does not exist'
  [[ -d $directory ]] || directory=${directory%/*}
  if [[ ! -e /etc/resolv.conf ]]; then
    [[ ! -L /etc/resolv.conf ]] || state="is a link to a file that does not exist, $(readlink /etc/resolv.conf)"
    echo "/etc/resolv.conf $state: ip netns exec cannot mount a namespace's resolv.conf over it;" \
      "sudo rm -f /etc/resolv.conf && echo nameserver ADDRESS | sudo tee /etc/resolv.conf"
  elif [[ ! -w $directory ]]; then
    echo "$directory cannot be written, and the lab puts the resolv.conf of each namespace into $RESOLVERS; mount" \
      "it writable"
  fi
}

# Without -t, because -t creates the table in the legacy backend.
save_filter() { iptables-save | awk '/^\*/ { filter = $0 == "*filter" } filter'; }

policy_of() { sed -n "s/^:$1 \([A-Z]*\) .*/\1/p" <<<"$2"; } # CHAIN FILTER

filters_itself() { grep -vE '^-A CNET-|-j CNET-' <<<"$1" | grep -E '^-A |^:(INPUT|OUTPUT) DROP' >/dev/null; } # FILTER

# Print the result of answers.sh; "untried WHY" if the rules cannot be copied, nothing if there are none.
tried_answers() { # FILTER
  local node output wires=()
  local -A seen=()
  filters_itself "$1" || return 0
  for node in "${NODES[@]}"; do
    [[ -n ${seen[${BRIDGE[$node]}]:-} ]] ||
      wires+=("${BRIDGE[$node]}" "${ADDRESS[${BRIDGE[$node]}]}" "${ADDRESS[$node]}")
    seen[${BRIDGE[$node]}]=1
  done
  output=$(unshare --net -- "$BASH" "$ROOT/scripts/lib/answers.sh" nodes "${wires[@]}" <<<"$1" 2>&1) ||
    output="untried $(grep . <<<"$output" | sed -n 1p)"
  echo "$output"
}

answers_in_words() { # RESULT of tried_answers: print the problem, nothing if none is known
  local chain bridge rule what fix
  read -r chain bridge rule <<<"$1"
  case $chain in
    INPUT)
      what="answers to the host's own connections"
      fix='iptables -I INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'
      ;;
    OUTPUT)
      what="what the host sends to $bridge"
      fix=$(printf ' && sudo iptables -I OUTPUT -o %s -j ACCEPT' "${BRIDGES[@]}")
      fix=${fix#' && sudo '}
      ;;
    *) return 0 ;;
  esac
  case $rule in
    policy) rule="the policy of $chain is DROP, and drops" ;;
    '') rule="the host does not reach its test address: a rule of $chain that no counter shows drops" ;;
    *) rule="the rule $rule drops" ;;
  esac
  echo "$rule $what (tried), so the host does not reach the nodes; sudo $fix"
}

answers_problem() { answers_in_words "$(tried_answers "$(save_filter)")"; }
