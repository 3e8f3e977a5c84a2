#!/usr/bin/env bash
# Check by experiment that the lab works: try each connection and endpoint.
#
#   scripts/verify.sh all        both of the following (the default)
#   scripts/verify.sh network    ping matrix; the source address seen outside; published ports
#   scripts/verify.sh services   every endpoint through the published port; an order read back from PostgreSQL
#   scripts/verify.sh help
#
# It creates a namespace cnet-outside (198.51.100.2, TEST-NET-2 of RFC 5737), which has a veth pair to the host and no
# route to the nodes, and deletes it at the end. Exit 1 if anything failed. --json (or JSON=1) prints JSON.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"
# shellcheck source=scripts/lib/checks.sh
source "$ROOT/scripts/lib/checks.sh"
# shellcheck source=scripts/lib/ping_matrix.sh
source "$ROOT/scripts/lib/ping_matrix.sh"

# shellcheck source=scripts/lib/ways.sh
source "$ROOT/scripts/lib/ways.sh"

read_order() { # ID: print the row from PostgreSQL, through its Unix socket
  local node
  node=$(nodes_running postgres | sed -n 1p)
  timeout 10 "$ROOT/scripts/contain.sh" exec "$node" psql -XAt -h /state -p "${LISTENS[$node]%%/*}" -d orders \
    -c "SELECT customer_id, product_id, quantity, total_price FROM orders WHERE id = $1"
}

# in_namespace NS COMMAND... (nsenter, not `ip netns exec`: that one remounts /sys)
in_namespace() { nsenter --net="/run/netns/$1" -- "${@:2}"; }

# --- phase 1 --------------------------------------------------------------------------------------

# The flows that the policy allows, among those tried, as keys of MAY; used only if HAS_POLICY.
HAS_POLICY=''
declare -A MAY=()
read_policy() {
  local flows=(icmp "world:tcp/$OUTSIDE_PORT") node item output
  policy_in_force || return 0
  for node in "${NODES[@]}"; do
    [[ ${PUBLISHES[$node]} != - ]] || continue
    for item in ${PUBLISHES[$node]//,/ }; do
      item=${item#*:}
      flows+=("$node:${item#*/}/${item%/*}")
    done
  done
  output=$("$ROOT/security/policy.sh" allowed "${flows[@]}")
  HAS_POLICY=1
  while read -r item; do MAY[$item]=1; done <<<"$output"
}
allowed() { [[ -z $HAS_POLICY || -n ${MAY["$*"]:-} ]]; } # FROM TO PROTOCOL[/PORT]

verify_services() {
  need_environment
  try_endpoints env PYTHONPATH="$ROOT" TOPOLOGY="$TABLE" "$VENV/bin/python" -m lab.verify lab
}

# Without the bridge, each check would wait for its timeout.
check_bridges() {
  local bridge
  for bridge in "${BRIDGES[@]}"; do
    [[ $(ip -o addr show dev "$bridge" up 2>/dev/null) == *" ${ADDRESS[$bridge]} "* ]] ||
      die "bridge $bridge is down, or without its address ${ADDRESS[$bridge]}: its nodes cannot be reached;" \
        "$DIAGNOSE"
  done
}

verify_network() {
  local family
  read_policy
  make_outside
  for family in 4 6; do
    choose_family "$family"
    ((${#HERE[@]} == 0)) || verify_family
  done
}

verify_family() {
  local node item
  title "Ping matrix$IN_FAMILY (ms)"
  show_matrix
  if [[ -n $IN_FAMILY && -z $FORWARDS6 ]]; then
    say "${YELLOW}note${PLAIN}  this kernel forwards no IPv6, so access to and from the outside is not tried in IPv6"
    return
  fi
  title "The way out: masquerading$IN_FAMILY"
  verify_outside_access
  for node in "${HERE[@]}"; do
    [[ ${PUBLISHES[$node]} != - ]] || continue
    title "The way in: published ports of $node$IN_FAMILY"
    for item in ${PUBLISHES[$node]//,/ }; do
      local inside=${item#*:}
      verify_published "$node" "${item%%:*}" "${inside%/*}" "${item#*/}"
    done
  done
}

main() {
  need_root
  need_tools ip jq fping curl nsenter python3
  load_topology
  need_lab
  check_bridges
  take_lock
  divert_text
  [[ $1 == services ]] || verify_network
  [[ $1 == network ]] || verify_services
  end_section
  [[ -n ${BRIEF:-} ]] || echo
  [[ -z $JSON ]] || checks_as_json >&"$DOCUMENT"
  ((FAILED == 0)) || die "some checks failed: see the lines marked FAIL; $DIAGNOSE"
  [[ -n ${BRIEF:-} ]] || say "${GREEN}all checks passed${PLAIN}"
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-all} in
  all | network | services) main "${1:-all}" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
