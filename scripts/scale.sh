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
# lab's table is a copy in /run/cnet. DRY_RUN=1 prints that table and does nothing.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/rules.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/rules.sh"

MAX_INSTANCES=100

successor() { # NAME: one number higher, or -2: product-3 -> product-4, order-service -> order-service-2
  local base=${1%"${1##*[!0-9]}"}
  if [[ $base == "$1" || -z $base ]]; then echo "$1-2"; else echo "$base$((10#${1#"$base"} + 1))"; fi
}

# Interface names have at most 15 characters; the number goes before a -br at the end.
successor_interface() {
  local base=${1%-br} suffix=''
  [[ $base == "$1" ]] || suffix=-br
  base=$(successor "$base")
  ((${#base} + ${#suffix} <= 15)) || base=$(successor "${base:0:$((10 - ${#suffix}))}")
  echo "$base$suffix"
}

ip_to_number() { # A.B.C.D; sets REPLY
  local IFS=.
  # shellcheck disable=SC2086 # split at dots
  set -- $1
  REPLY=$((($1 << 24) + ($2 << 16) + ($3 << 8) + $4))
}

successor_address() { # CIDR: the next one that no node has
  local taken number
  taken=" ${ADDRESS[*]%/*} "
  ip_to_number "${1%/*}"
  number=$REPLY
  while :; do
    number=$((number + 1))
    REPLY=$((number >> 24)).$((number >> 16 & 255)).$((number >> 8 & 255)).$((number & 255))
    [[ $taken == *" $REPLY "* ]] || break
  done
  echo "$REPLY/${1#*/}"
}

row_after() { # NODE: print the row of one more instance
  printf 'node\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t-\t%s%s\n' "$(successor "$1")" "$(place_after "$1" successor NAMESPACE)" \
    "$(successor_address "${ADDRESS[$1]}")" "$(place_after "$1" successor_interface INTERFACE)" \
    "$(place_after "$1" successor_interface PORT)" "${BRIDGE[$1]}" "${LISTENS[$1]}" "${RUNS[$1]}" \
    "${MTU[$1]:+$'\t'${MTU[$1]}}"
}

# If the node shares its namespace, the new one gets an address there; otherwise its own namespace.
place_after() { # NODE SUCCESSOR COLUMN
  local -n column=$3
  local sharing
  sharing=$(printf '%s\n' "${NAMESPACE[@]}" | grep -cxF -- "${NAMESPACE[$1]}")
  if ((sharing > 1)); then echo "${column[$1]}"; else "$2" "${column[$1]}"; fi
}

rows() { "$ROOT/scripts/topology.sh" dump "$1"; } # TABLE

# Write and load the table with COUNT nodes that run PROGRAM: first those of the base table, in its order, then those
# that are up, then new ones. All other rows stay.
write_scaled_table() { # PROGRAM COUNT BASE TABLE
  local nodes table=$4
  printf '# %s %s, made by scripts/scale.sh from\n# %s\n' "$2" "$1" "$3" >"$table"
  awk -F'\t' -v program="$1" -v count="$2" '
    FNR == 1 { file++ }
    file == 1 { up[$2] = 1; next }                       # the running table
    file == 2 { base[$2] = 1 }                           # the base table
    file == 3 && $2 in base { next }                     # the running table again: nodes that the base does not have
    $10 == program ? n++ < count : $2 in up' <(rows "$TABLE") <(rows "$3") <(rows "$TABLE") >>"$table"
  load_table "$table"
  mapfile -t nodes < <(nodes_running "$1")
  while ((${#nodes[@]} < $2)); do
    row_after "${nodes[-1]}" >>"$table"
    load_table "$table"
    mapfile -t nodes < <(nodes_running "$1")
  done
}

show_scaled_table() { # PROGRAM COUNT BASE
  local table
  table=$(mktemp)
  defer rm -f "$table"
  write_scaled_table "$@" "$table"
  cat "$table"
}

same_nodes() { cmp -s <(rows "$1") <(rows "$2"); }

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
  load_topology
  [[ -n $(nodes_running "$1") ]] || die "$TABLE has no node that runs $1"
  [[ -n $(nodes_running service-registry) ]] ||
    die "$TABLE has no service-registry, so clients would not find new instances"
  local base
  base=$(base_table)
  if [[ -n ${DRY_RUN:-} ]]; then show_scaled_table "$1" "$2" "$base" && return; fi
  need_root
  need_lab
  take_lock
  (write_scaled_table "$1" "$2" "$base" "$SCALED.new")
  export TOPOLOGY=$SCALED
  if same_nodes "$SCALED.new" "$base"; then TOPOLOGY=$base; else mv "$SCALED.new" "$SCALED"; fi
  apply "$1"
  rm -f "$SCALED.new"
  [[ $TOPOLOGY == "$SCALED" ]] || rm -f "$SCALED"
}

# Create before, delete after: a program always has its namespace.
apply() { # PROGRAM
  local before address_before after node address
  mapfile -t before < <(nodes_running "$1")
  address_before=$(for node in "${before[@]}"; do echo "$node ${ADDRESS[$node]%/*}"; done)
  load_topology
  mapfile -t after < <(nodes_running "$1")
  ((${#after[@]} < ${#before[@]})) || { adapt_policy && "$ROOT/scripts/network.sh" up; }
  "$ROOT/scripts/services.sh" up
  "$ROOT/scripts/network.sh" up
  adapt_policy
  while read -r node address; do
    [[ " ${after[*]} " == *" $node "* ]] || remove_traces "$node" "$address"
  done <<<"$address_before"
  say "$1: ${#before[@]} -> ${#after[@]} instances"
}

adapt_policy() { ! policy_in_force || "$ROOT/security/policy.sh" up; } # a policy line for a program covers new nodes

remove_traces() { # NODE ADDRESS: its files, and its conntrack entries
  rm -rf "$STATE_DIR/nodes/$1" "$STATE_DIR/log/$1".log*
  local end
  for end in -s -d; do forget_tracked "$end" "$2"; done
}

status() {
  load_topology
  local program
  for program in product-service order-service; do
    printf '%-18s %s\n' "$program" "$(nodes_running "$program" | wc -l)"
  done
}

case ${1:-} in
  status) status ;;
  help) print_help ;;
  *)
    (($# == 2)) ||
      bad_usage "needs a program and a number of instances: sudo make scale PROGRAM=product-service COUNT=5"
    scale "$@"
    ;;
esac
