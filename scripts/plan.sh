# shellcheck shell=bash
# From facts that differ to `ip` commands, and from these to the kernel. Sourced after facts.sh.

BATCHES=$RUN_DIR/batches

# --- from facts to commands ----------------------------------------------------------------------

# Commands for the host go to HOST, entries of its bridges' forwarding tables to FORWARDING (only bridge(8) makes
# them), its settings to SYSCTLS, commands inside a namespace to INSIDE[it]; ORDER is the table's order.
host() { HOST+=("$1"); }
forwarding() { FORWARDING+=("$1"); }
inside() {
  [[ -n ${INSIDE[$1]:-} ]] || ORDER+=("$1")
  INSIDE[$1]+=$2$'\n'
}

# addrgenmode none: the lab speaks IPv4, and each IPv6 address that the kernel makes by itself would be
# announced to every port of the bridge (with 500 nodes that is half of the time) and pass by iptables.
plan_to_make() {
  local kind a b c d
  while read -r kind a b c d; do
    case $kind in
      bridge) host "link add name $a group $LINK_GROUP address $b type bridge" && host "link set dev $a addrgenmode none" ;;
      alias) host "link set dev $a alias \"$b $c${d:+ $d}\"" ;;
      no-learning) plan_without_learning "$a" "$b" ;;
      deaf) SYSCTLS+=("${PORT_SYSCTLS[*]/PORT/$a}") ;;
      forward) forwarding "fdb replace $c dev $a master static sticky" ;;
      filtered) host "link set dev $a type bridge $(filtering 1)" ;;
      bridge-address) host "addr add $b brd + dev $a" ;;
      up) host "link set dev $a up" ;;
      namespace) host "netns add $a" ;;
      veth) host "link add name $c group $LINK_GROUP type veth peer name $b address $d netns $a" ;;
      port) host "link set dev $a addrgenmode none master $b" ;;
      hairpin) host "link set dev $a type bridge_slave hairpin on" ;;
      address) inside "$a" "link set dev $b addrgenmode none" && inside "$a" "addr add $c brd + dev $b" ;;
      inside-up) inside "$a" "link set dev $b up" ;;
      route) inside "$a" "route add default $b $c" ;;
    esac
  done < <(printf '%s\n' "${MISSING[@]}")
}

# What the port has learned before goes too. A static entry is sticky, or another port that learns would move it.
plan_without_learning() { # PORT BRIDGE, or BRIDGE
  if [[ -n ${2:-} ]]; then
    host "link set dev $1 type bridge_slave learning off flood off fdb_flush"
  else
    host "link set dev $1 type bridge no_linklocal_learn 1 mcast_snooping 0"
  fi
}

plan_to_remove() { # what is removed takes along what hangs on it
  local kind a b c _
  local -A gone=()
  while read -r kind a b c _; do
    case $kind in
      bridge) host "link del dev $a" && gone["bridge $a"]=1 ;;
      veth) host "link del dev $c" && gone["inside $a"]=1 && gone["port $c"]=1 ;;
      namespace | stale) host "netns del $a" && gone["inside $a"]=1 ;;
      forward) [[ -n ${gone["bridge $b"]:-}${gone["port $a"]:-} ]] || forwarding "fdb del $c dev $a master" ;;
      filtered) [[ -n ${gone["bridge $a"]:-} ]] || host "link set dev $a type bridge $(filtering 0)" ;;
      hairpin) [[ -n ${gone["port $a"]:-} ]] || host "link set dev $a type bridge_slave hairpin off" ;;
      bridge-address) [[ -n ${gone["bridge $a"]:-} ]] || host "addr del $b dev $a" ;;
      address) [[ -n ${gone["inside $a"]:-} ]] || inside "$a" "addr del $c dev $b" ;;
      route) [[ -n ${gone["inside $a"]:-} ]] || inside "$a" "route del default $b $c" ;;
    esac
  done < <(printf '%s\n' "${SURPLUS[@]}")
}

# --- from commands to the kernel -----------------------------------------------------------------

carry_out() { # [removing]: shows what will be done, then does it
  local namespace lines
  ((${#HOST[@]} + ${#FORWARDING[@]} + ${#SYSCTLS[@]} + ${#ORDER[@]} > 0)) || return 0
  ((${#HOST[@]} == 0)) || printf "$DIM+ ip %s$PLAIN\n" "${HOST[@]}"
  ((${#SYSCTLS[@]} == 0)) || printf "$DIM+ sysctl -qw %s$PLAIN\n" "${SYSCTLS[@]}"
  ((${#FORWARDING[@]} == 0)) || printf "$DIM+ bridge %s$PLAIN\n" "${FORWARDING[@]}"
  for namespace in "${ORDER[@]}"; do
    mapfile -t lines <<<"${INSIDE[$namespace]%$'\n'}"
    printf "$DIM+ ip -n $namespace %s$PLAIN\n" "${lines[@]}"
  done
  [[ -n ${DRY_RUN:-} ]] || run_batches "$@"
}

# One process for the host's links, one for its bridges' entries, then one for each namespace, as many at a time as
# there are processors.
run_batches() { # [removing]
  local namespace settings
  read -ra settings <<<"${SYSCTLS[*]}"
  [[ ! -e $BATCHES ]] || rm -r "$BATCHES" # of a run that was killed
  mkdir -p "$BATCHES/inside"
  printf '%s\n' "${HOST[@]}" >"$BATCHES/host"
  printf '%s\n' "${FORWARDING[@]}" >"$BATCHES/forwarding"
  for namespace in "${ORDER[@]}"; do printf '%s' "${INSIDE[$namespace]}" >"$BATCHES/inside/$namespace"; done
  if ! links "$@" 2>"$BATCHES/complaints" ||
    ! { ((${#SYSCTLS[@]} == 0)) || sysctl -qw "${settings[@]}" 2>"$BATCHES/complaints"; } ||
    ! { ((${#FORWARDING[@]} == 0)) || bridge -batch "$BATCHES/forwarding" 2>"$BATCHES/complaints"; } ||
    ! printf '%s\n' "${ORDER[@]}" | xargs -rP "$(nproc)" -I{} ip -n {} -batch "$BATCHES/inside/{}" 2>"$BATCHES/complaints"; then
    die_of_complaints
  fi
  rm -r "$BATCHES"
}

# A link that is to be removed may be gone already: the kernel ends the links of a deleted namespace after its name.
links() { # [removing]
  local complaints
  if [[ -z ${1:-} ]]; then
    ip -batch "$BATCHES/host"
  else
    complaints=$(ip -force -batch "$BATCHES/host" 2>&1 | sed -E '/^(Cannot find device|RTNETLINK answers: No such device)/ { N; d }')
    [[ -z $complaints ]] || { echo "$complaints" >&2 && return 1; }
  fi
}

die_of_complaints() { # ip's words, then "Command failed FILE:LINE"; that line is what people need
  local line words='' file=''
  while read -r line; do
    [[ ! $line =~ ^Command\ failed\ (.*):([0-9]+)$ ]] || { file=${BASH_REMATCH[1]} && break; }
    words+="$line; "
  done <"$BATCHES/complaints"
  [[ -n $file ]] || die "$words"
  line=$(sed -n "${BASH_REMATCH[2]}p" "$file")
  case $file in
    */host) line="ip $line" ;;
    */forwarding) line="bridge $line" ;;
    *) line="ip -n ${file##*/} $line" ;;
  esac
  rm -r "$BATCHES"
  die "${words}it was: $line"
}

converge() {
  local -A INSIDE=()
  local HOST=() FORWARDING=() SYSCTLS=() ORDER=()
  if ((${#SURPLUS[@]} > 0)); then
    plan_to_remove
    carry_out removing
    HOST=() FORWARDING=() SYSCTLS=() INSIDE=() ORDER=()
    # What was removed took other facts with it; only the kernel knows which.
    if [[ -n ${DRY_RUN:-} ]]; then say "# what goes with these is made again, too"; else compare_facts; fi
  fi
  plan_to_make
  carry_out
}
