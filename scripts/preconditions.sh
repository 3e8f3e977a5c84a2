# shellcheck shell=bash
# What must be so before `up` changes anything, beside what network.sh, nat.sh and services.sh check themselves. doctor
# asks the same functions. Each prints nothing, or its problem as "what; how to fix it". Sourced after topology.sh.

# shellcheck source=scripts/names.sh
source "$ROOT/scripts/names.sh"
# shellcheck source=scripts/outside.sh
source "$ROOT/scripts/outside.sh"

LEAST_MEGABYTES=200 # of disk, for PostgreSQL's files

require_preconditions() { # COMMAND of lab.sh: die of the first that is not met
  local problem precondition asked=(answers_problem)
  [[ $1 != up && $1 != services ]] || asked+=(space_problem names_problem) # which only programs need
  for precondition in "${asked[@]}"; do
    problem=$("$precondition")
    [[ -z $problem ]] || die "$problem"
  done
}

free_megabytes() { # of the file system that holds DIRECTORY or will hold it
  local directory=$1
  until [[ -d $directory ]]; do directory=$(dirname "$directory"); done
  df -Pm "$directory" | awk 'END { print $4 }'
}

new_databases() { # nodes that will make one; services/postgres/start.sh names its folder after its version
  local node
  for node in $(nodes_running postgres); do
    compgen -G "$STATE_DIR/nodes/$node/[0-9]*[0-9]/PG_VERSION" >/dev/null || echo "$node"
  done
}

space_problem() {
  local disk
  disk=$(free_megabytes "$STATE_DIR")
  ((disk >= LEAST_MEGABYTES)) || [[ -z $(new_databases) ]] ||
    echo "$disk MB free for $STATE_DIR: too little disk for PostgreSQL's files; free some space, or mount a larger file system there"
}

# The lab writes /etc/netns/NAME/resolv.conf, and `ip netns exec` mounts it over /etc/resolv.conf, which must be there.
names_problem() {
  [[ -n $(dns_address) ]] || return 0
  local directory=$RESOLVERS
  [[ -d $directory ]] || directory=${directory%/*}
  if [[ ! -e /etc/resolv.conf ]]; then
    echo "/etc/resolv.conf $([[ -L /etc/resolv.conf ]] && echo "is a link to a file that does not exist, $(readlink /etc/resolv.conf)" || echo "does not exist"):" \
      "ip netns exec cannot mount a namespace's own over it; sudo rm -f /etc/resolv.conf && echo nameserver ADDRESS | sudo tee /etc/resolv.conf"
  elif [[ ! -w $directory ]]; then
    echo "$directory cannot be written, and the lab puts the resolv.conf of each namespace into $RESOLVERS; mount it writable"
  fi
}

# Without -t, for that makes a table of the legacy backend come into being.
save_filter() { iptables-save | awk '/^\*/ { filter = $0 == "*filter" } filter'; }

policy_of() { sed -n "s/^:$1 \([A-Z]*\) .*/\1/p" <<<"$2"; } # CHAIN FILTER

may_drop_input() { # FILTER; the lab's own rules do not
  [[ $(policy_of INPUT "$1") == DROP ]] || grep -v '^-A CNET-' <<<"$1" | grep -E -- '-j (DROP|REJECT)' >/dev/null
}

# Begin a connection to where nobody listens: the refusal is an answer, and passes INPUT as any answer does.
try_an_answer() (
  forget_undo
  trap unwind EXIT
  make_outside
  timeout 1 "$BASH" -c "</dev/tcp/$OUTSIDE/9" 2>/dev/null || (($? != 124))
)

answers_problem() {
  local filter
  filter=$(save_filter)
  may_drop_input "$filter" || return 0
  [[ ! -e /run/netns/$OUTSIDE_NAMESPACE ]] || return 0 # a proof runs, and has made an outside for itself
  try_an_answer ||
    echo "the policy of INPUT is $(policy_of INPUT "$filter"), and answers to the host's own connections are dropped (tried):" \
      "localhost cannot reach the published ports; sudo iptables -I INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
}
