#!/usr/bin/env bash
# The whole lab: each phase's script in its order.
#
#   scripts/lab.sh up         install what is missing, look for what is in the way, policy, network, NAT, services, proof
#   scripts/lab.sh down       take all of it away; data stays
#   scripts/lab.sh clean      the same, and the data
#   scripts/lab.sh network    phase 1 alone: namespaces, bridge, NAT, port forwarding, and its proof
#   scripts/lab.sh services   phase 2 alone: the programs, and their proof
#   scripts/lab.sh policies   phase 4.3: the policy on what is up, and its proof
#   scripts/lab.sh isolation [back]   phase 4.4: move over to three tiers, or back to the flat lab (also BACK=1); data stays
#   scripts/lab.sh status     one screen: nodes, services, rules and their counters; 1 when anything drifted
#   scripts/lab.sh shell NAMESPACE   a shell in a namespace
#   scripts/lab.sh help
#
# TOPOLOGY=NAME|PATH takes another table.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/topology.sh"
# shellcheck source=scripts/lib/rules.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/rules.sh"
# shellcheck source=scripts/lib/preconditions.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/preconditions.sh"
# shellcheck source=scripts/lib/foreign.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/foreign.sh"
# shellcheck source=scripts/lib/watchers.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/watchers.sh"

call() { "$ROOT/scripts/$1.sh" "${@:2}"; }
policy() { "$ROOT/security/policy.sh" "$@"; }

step() { say "$BOLD== $1$PLAIN"; }

prepare() { # COMMAND; all that can refuse, refuses before anything changes
  need_root
  load_topology
  step "install what is missing"
  call install up
  export TOPOLOGY=$TABLE
  take_lock
  step "look for what is in the way"
  require_preconditions "$1"
  name_foreign_rules >&2 || : # they may stand in nobody's way; the proof tells
  call network check
  call nat check
}

# First of all, so that there is no moment without it; a table of one's own may have none.
make_policy() {
  if [[ -n $(policy path) ]]; then
    step "policy: who may talk to whom"
    policy up
  else
    say "${YELLOW}there is no policy for $TABLE: everybody may talk to everybody${PLAIN}"
    ! policy_is_wanted || policy down # of another table
  fi
}

make_network() {
  step "network: namespaces, veth pairs, bridge"
  call network up
  step "NAT: the way out, the way in"
  call nat up
}

network() {
  prepare network
  ! policy_is_wanted || make_policy
  make_network
  [[ -n ${DRY_RUN:-} ]] || call verify network
}

services() {
  prepare services
  [[ -n ${DRY_RUN:-} ]] || need_lab
  call services check
  step "services"
  call services up
  [[ -n ${DRY_RUN:-} ]] || call verify services
}

up() {
  [[ -n $SHOW$DRY_RUN ]] || export BRIEF=1
  prepare up
  [[ -z $(policy path) ]] || policy check
  call services check
  leave_other_table
  make_policy
  make_network
  step "services"
  call services up
  [[ -z ${DRY_RUN:-} ]] || return 0
  step "proof"
  export PROVEN=$RUN_DIR/proven
  : >"$PROVEN"
  prove_all || {
    name_foreign_rules >&2
    return 1
  }
  farewell
}

prove_all() {
  call verify all || return
  ! policy_in_force || "$ROOT/security/prove.sh"
}

# From one table to another by way of nothing: what is half one and half the other has a policy for neither.
leave_other_table() {
  local running
  running=$(running_table)
  [[ $running != "$SCALED" ]] || running=$(TABLE=$SCALED base_table)
  [[ -n $running && $running != "$(base_table)" ]] || return 0
  step "take down what is up by $running"
  take_down
}

isolation() { # [back]
  case ${1:-} in
    '') TOPOLOGY=tiers up ;;
    back) TOPOLOGY=flat up ;;
    *) bad_usage "isolation takes nothing, or back" ;;
  esac
}

policies() {
  prepare policies
  need_lab
  policy check
  make_policy
  [[ -n ${DRY_RUN:-} ]] || "$ROOT/security/prove.sh"
}

farewell() {
  local node url
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} == - || ${RUNS[$node]} != nginx ]] || url=http://localhost:${PUBLISHES[$node]%%:*}
  done
  say ""
  say "$(summary)"
  say "${BOLD}The lab is up${url:+: $url/api/products}$PLAIN"
  say "  try:  ${url:+curl $url/api/products}"
  ((${#NODES[@]} == 0)) || say "        sudo ip netns exec ${NAMESPACE[${NODES[0]}]} ip addr      # look into a namespace"
  say "        sudo make status                        # everything on one screen"
}

count() { echo "$1 $2$( (($1 == 1)) || echo s)"; } # NUMBER NOUN

# What was built, and how often it was tried: both proofs write lines "NUMBER NOUN" into PROVEN.
summary() {
  local rules node number noun programs=0 tried=''
  local -A namespaces=()
  for node in "${NODES[@]}"; do
    namespaces[${NAMESPACE[$node]}]=1
    [[ ${RUNS[$node]} == - ]] || ((++programs))
  done
  rules=$({ iptables-save && ebtables-save; } | grep -c '^-A.*CNET-') || : # there may be none
  while read -r number noun; do tried+="${tried:+, }$(count "$number" "$noun")"; done <"$PROVEN"
  echo "$(count ${#namespaces[@]} namespace), $(count ${#BRIDGES[@]} bridge), $(count "$rules" rule), $(count $programs program);" \
    "$tried: all passed ($SECONDS s)"
}

take_down() {
  call services down
  call nat down
  call network down
  policy down
}

down() {
  need_root
  take_lock
  end_watchers
  take_down
  run rm -rf --one-file-system "$RUN_DIR" # also what a killed run left there half-made
}

clean() {
  down
  call services clean
}

show_nodes() {
  local node
  printf '%s%-18s %-18s %-18s %-16s %-10s %s%s\n' "$BOLD" node namespace address interface bridge listens "$PLAIN"
  for node in "${NODES[@]}"; do
    printf '%-18s %-18s %-18s %-16s %-10s %s\n' "$node" "${NAMESPACE[$node]}" "${ADDRESS[$node]}" "${INTERFACE[$node]}" \
      "${BRIDGE[$node]}" "${LISTENS[$node]}${PUBLISHES[$node]:+$([[ ${PUBLISHES[$node]} == - ]] || echo "  host:${PUBLISHES[$node]}")}"
  done
}

show_rules() { # packets, bytes, chain, why; the policy's are many: make rules shows them
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

# What the policy has dropped, by id.
show_drops() {
  policy_in_force || return 0
  printf '\n%sdropped by the policy since the last proof%s\n' "$BOLD" "$PLAIN"
  { iptables-save -c && ebtables-save -c; } | awk '
    $3 ~ /^CNET-DROP-/ && / -j DROP/ { split(substr($1, 2), count, ":"); dropped[substr($3, 11)] += count[1] }
    END { for (id in dropped) if (dropped[id]) { printf "%10s  %s\n", dropped[id], id; any = 1 } if (!any) print "         0  packets" }' | sort -rn
}

status() {
  need_root
  need_tools ip jq iptables-save
  load_topology
  need_lab
  export TOPOLOGY=$TABLE
  local said foreign status=0
  exec {foreign}< <(name_foreign_rules) # meanwhile
  show_nodes
  show_rules
  show_drops
  printf '\n%sservices%s\n' "$BOLD" "$PLAIN"
  said=$(
    failed=0
    call services status || failed=1
    echo
    call network status || failed=1
    call nat status || failed=1
    ! policy_is_wanted || policy status || failed=1
    cat <&"$foreign"
    exit "$failed"
  ) || status=1
  echo "$said"
  tell_drift "$said" && return "$status"
}

# What to do about what status says: only what is missing, surplus or in the wrong place is repaired by `up`.
tell_drift() { # TEXT; 1 if there is anything
  local word name rest unwell='' repairable='' foreign='' other=''
  while read -r word name rest; do
    word=${word#$'\e[3'?m}
    case ${word%$'\e[0m'} in
      missing | surplus | behind | stopped | astray | old-password) repairable=1 ;;
      foreign) foreign=1 ;;
      disk-full | unreadable) other=1 ;; # their lines say all
      not-ready | degraded | backoff | starting | fatal | exited | stopping | unknown) unwell+=" $name" ;;
    esac
  done <<<"$1"
  [[ -z $repairable ]] || say "${RED}drift:${PLAIN} the lines above that begin with missing, surplus, behind, stopped or astray differ from $TABLE; repair with: sudo make up"
  for name in $unwell; do say "${RED}not well:${PLAIN} $name does not answer as it should; see: sudo make logs NODE=$name"; done
  [[ -z $foreign ]] || say "${RED}foreign:${PLAIN} up does not change what is not the lab's; each such line above has the command that does"
  [[ -z $repairable$unwell$foreign$other ]]
}

shell() { # NAMESPACE
  need_root
  [[ -n ${1:-} && -e /run/netns/$1 ]] || bad_usage "shell needs one of the namespaces: $(ip netns list | awk '{ print $1 }' | tr '\n' ' ')"
  trap - EXIT
  PS1="[$1] \w # " exec ip netns exec "$1" "$BASH" --norc
}

case ${1:-help} in
  up | down | clean | network | services | policies | status) "$1" ;;
  shell | isolation) "$1" "${2:-}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
