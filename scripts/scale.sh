#!/usr/bin/env bash
# Add or remove instances of a service while it is used: their namespaces, addresses and programs.
#
#   scripts/scale.sh PROGRAM COUNT   product-service or order-service, 1 to 100 instances
#   scripts/scale.sh status          print the number of instances of each program
#   scripts/scale.sh help
#
# Scaling up:   create the namespace, start the program; it registers, and the gateway sends it a growing share.
# Scaling down: deregister, finish open requests, stop, delete the namespace.
#
# New nodes are numbered after the last one (product-3 -> product-4) and get the next free addresses. Until `down`, the
# lab's table is a copy in /run/cnet. DRY_RUN=1 prints that table and does nothing. --json (or JSON=1) prints the
# result as JSON.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/rules.sh
source "$ROOT/scripts/lib/rules.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

MAX_INSTANCES=100

# Write and check the table with COUNT nodes that run PROGRAM.
write_scaled_table() { # PROGRAM COUNT BASE TABLE
  printf '# %s %s, made by scripts/scale.sh from\n# %s\n' "$2" "$1" "$3" >"$4"
  run_python -m lab.topology.scaled "$TABLE" "$3" "$1" "$2" >>"$4"
  (load_table "$4")
}

same_nodes() { cmp -s <("$ROOT/scripts/topology.sh" dump "$1") <("$ROOT/scripts/topology.sh" dump "$2"); } # TABLE TABLE

check() { # PROGRAM COUNT
  case $1 in
    product-service | order-service) ;;
    *) bad_usage "scale product-service or order-service; clients do not look up \"$1\" in the registry" ;;
  esac
  [[ $2 =~ ^[1-9][0-9]{0,2}$ && $2 -le $MAX_INSTANCES ]] ||
    bad_usage "\"$2\" is not a number of instances from 1 to $MAX_INSTANCES"
}

scale() { # PROGRAM COUNT
  check "$@"
  [[ -z $JSON || -z ${DRY_RUN:-} ]] || bad_usage "DRY_RUN=1 prints a table, not JSON: use one of the two"
  load_topology
  [[ -n $(nodes_running "$1") ]] || die "$TABLE has no node that runs $1"
  [[ -n $(nodes_running service-registry) ]] ||
    die "$TABLE has no service-registry, so clients would not find new instances"
  local base table
  base=$(base_table)
  if [[ -n ${DRY_RUN:-} ]]; then table=$(mktemp); else
    need_root
    need_lab
    take_lock
    divert_text
    table=$SCALED.new
  fi
  defer rm -f "$table"
  write_scaled_table "$1" "$2" "$base" "$table"
  if [[ -n ${DRY_RUN:-} ]]; then cat "$table" && return; fi
  export TOPOLOGY=$SCALED
  if same_nodes "$table" "$base"; then TOPOLOGY=$base; else mv "$table" "$SCALED"; fi
  apply "$1"
  [[ $TOPOLOGY == "$SCALED" ]] || rm -f "$SCALED"
}

# Create namespaces before programs start, and delete namespaces after programs end.
apply() { # PROGRAM
  local before address_before after node address address6
  mapfile -t before < <(nodes_running "$1")
  address_before=$(for node in "${before[@]}"; do echo "$node ${ADDRESS[$node]%/*} ${ADDRESS6[$node]:--}"; done)
  load_topology
  mapfile -t after < <(nodes_running "$1")
  ((${#after[@]} < ${#before[@]})) || { adapt_policy && "$ROOT/scripts/network.sh" up; }
  "$ROOT/scripts/services.sh" up
  "$ROOT/scripts/network.sh" up
  adapt_policy
  while read -r node address address6; do
    [[ " ${after[*]} " == *" $node "* ]] || remove_traces "$node" "$address" "$address6"
  done <<<"$address_before"
  say "$1: ${#before[@]} -> ${#after[@]} instances"
  [[ -z $JSON ]] || result_as_json "$1" "${#before[@]}" "$address_before" >&"$DOCUMENT"
}

result_as_json() { # PROGRAM BEFORE NODES_BEFORE
  local node
  for node in $(nodes_running "$1"); do echo "$node ${ADDRESS[$node]%/*}"; done |
    jq -Rn --arg program "$1" --arg before "$2" --arg nodes "$3" --arg seconds "$SECONDS" '
      [inputs | split(" ") | {node: .[0], address: .[1]}] as $now | [$now[].node] as $names |
      ($nodes | split("\n") | map(split(" ")[0])) as $old |
      {program: $program, before: ($before | tonumber), after: ($now | length), added: ($names - $old),
        removed: ($old - $names), instances: $now, seconds: ($seconds | tonumber)}'
}

adapt_policy() { ! policy_in_force || "$ROOT/security/policy.sh" up; } # a policy line for a program covers new nodes

remove_traces() { # NODE ADDRESS ADDRESS6: remove the node's files and conntrack entries
  rm -rf "$STATE_DIR/nodes/$1" "$STATE_DIR/log/$1".log*
  local end
  for end in -s -d; do
    forget_tracked "$end" "$2"
    [[ $3 == - ]] || forget_tracked -f ipv6 "$end" "${3%/*}"
  done
}

status() {
  load_topology
  local program
  for program in product-service order-service; do
    printf '%-18s %s\n' "$program" "$(nodes_running "$program" | wc -l)"
  done
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-} in
  status) status ;;
  help) print_help ;;
  *)
    (($# == 2)) ||
      bad_usage "needs a program and a number of instances: sudo make scale PROGRAM=product-service COUNT=5"
    scale "$@"
    ;;
esac
