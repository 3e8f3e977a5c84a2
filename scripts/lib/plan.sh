# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# From facts that differ to `ip` commands, and from these to the kernel. Sourced after facts.sh.

BATCHES=$RUN_DIR/batches
COMPLAINTS='' # of the last removal

# --- from facts to commands ----------------------------------------------------------------------

# Commands for the host go to HOST, entries of its bridges' forwarding tables to FORWARDING (only bridge(8) makes
# them), its settings to SYSCTLS, commands inside a namespace to INSIDE[it]; ORDER is the table's order. Commands of other
# programs go to OTHERS: there are none unless somebody added something.
host() { HOST+=("$1"); }
other() { [[ " ${OTHERS[*]/%/ ;} " == *" $1 ; "* ]] || OTHERS+=("$1"); } # once
at() { if [[ $1 == - ]]; then host "$2"; else inside "$1" "$2"; fi; }
forwarding() { FORWARDING+=("$1"); }
mark() { inside "$1" "link set dev lo up alias \"cnet $1\""; } # NAMESPACE
inside() {
  [[ -n ${INSIDE[$1]:-} ]] || ORDER+=("$1")
  INSIDE[$1]+=$2$'\n'
}

# addrgenmode none: the lab speaks IPv4, and each IPv6 address that the kernel makes by itself would be
# announced to every port of the bridge (with 500 nodes that is half of the time) and pass by iptables.
# A kernel without IPv6 makes none, and refuses the word.
# A port's alias is the name of the namespace at its other end: by that a namespace is the lab's, in whatever table. Its
# loopback has the same alias from the moment that it is up, so that it is the lab's when its wire is cut, too.
plan_to_make() {
  local kind a b c d quiet='addrgenmode none'
  local -A wired=() marked=()
  [[ -d /proc/sys/net/ipv6/conf ]] || quiet=''
  for a in "${NODES[@]}"; do wired[${PORT[$a]}]=${NAMESPACE[$a]}; done
  while read -r kind a b c d; do
    case $kind in
      bridge) host "link add name $a group $LINK_GROUP address $b type bridge" && { [[ -z $quiet ]] || host "link set dev $a $quiet"; } ;;
      alias) host "link set dev $a alias \"$b $c${d:+ $d}\"" ;;
      no-learning) plan_without_learning "$a" "$b" ;;
      deaf) SYSCTLS+=("${PORT_SYSCTLS[*]/PORT/$a}") ;;
      forward) forwarding "fdb replace $c dev $a master static sticky" ;;
      filtered) host "link set dev $a type bridge $(filtering 1)" ;;
      bridge-address) host "addr add $b brd + dev $a" ;;
      up) host "link set dev $a up" ;;
      namespace) host "netns add $a" ;;
      veth) host "link add name $c group $LINK_GROUP type veth peer name $b address $d netns $a" ;;
      port) host "link set dev $a ${quiet:+$quiet }master $b${wired[$a]:+ alias \"cnet ${wired[$a]}\"}" ;;
      hairpin) host "link set dev $a type bridge_slave hairpin on" ;;
      address) { [[ -z $quiet ]] || inside "$a" "link set dev $b $quiet"; } && inside "$a" "addr add $c brd + dev $b" ;;
      mark) mark "$a" && marked["$a lo"]=1 ;;
      inside-up) [[ -n ${marked["$a $b"]:-} ]] || inside "$a" "link set dev $b up" ;;
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

plan_to_let_in() { # PORT OPTION
  case $2 in
    isolated) host "link set dev $1 type bridge_slave isolated off" ;;
    bcast_flood) host "link set dev $1 type bridge_slave bcast_flood on" ;;
    state) host "link set dev $1 type bridge_slave state 3" ;; # BR_STATE_FORWARDING
  esac
}

plan_to_remove() { # what is removed takes along what hangs on it
  local kind a b c rest
  local -A gone=() unmarked=()
  for a in "${MISSING[@]}"; do [[ $a != "mark "* ]] || unmarked[${a#* }]=1; done
  while read -r kind a b c rest; do
    case $kind in
      bridge) host "link del dev $a" && gone["bridge $a"]=1 ;;
      veth)
        host "link del dev $c" && gone["links $a"]=1 gone["link $a $b"]=1 gone["port $c"]=1
        [[ -z ${unmarked[$a]:-} ]] || mark "$a" # or without its wire it would be nobody's
        ;;
      namespace | stale) host "netns del $a" && gone["inside $a"]=1 ;;
      forward) [[ -n ${gone["bridge $b"]:-}${gone["port $a"]:-} ]] || forwarding "fdb del $c dev $a master" ;;
      filtered) [[ -n ${gone["bridge $a"]:-} ]] || host "link set dev $a type bridge $(filtering 0)" ;;
      hairpin) [[ -n ${gone["port $a"]:-} ]] || host "link set dev $a type bridge_slave hairpin off" ;;
      cut-off) [[ -n ${gone["port $a"]:-} ]] || plan_to_let_in "$a" "$b" ;;
      bridge-address) [[ -n ${gone["bridge $a"]:-} ]] || host "addr del $b dev $a" ;;
      address) [[ -n ${gone["inside $a"]:-}${gone["link $a $b"]:-} ]] || inside "$a" "addr del $c dev $b" ;;
      route) [[ -n ${gone["inside $a"]:-}${gone["links $a"]:-} ]] || inside "$a" "route del default $b $c" ;;
      *) [[ -n ${gone["inside $a"]:-}${gone["link $a $b"]:-}${gone["port $b"]:-}${gone["bridge $b"]:-} ]] || plan_to_remove_added "$kind" "$a" "$b" "$c" "$rest" ;;
    esac
  done < <(printf '%s\n' "${SURPLUS[@]}")
}

# What somebody added inside a namespace of the lab's or to a link of its own ("-": on the host).
plan_to_remove_added() { # KIND NAMESPACE WORD...
  local kind=$1 place=$2 words
  shift 2
  case $kind in
    own-route | own-rule) words="$*" && inside "$place" "${kind#own-} del ${words%% }" ;;
    no-rule) inside "$place" "rule add priority $1 table $2" ;;
    unconnected) at "$place" "addr del $2 dev $1" ;; # what is made again brings its routes
    neighbour) at "$place" "neigh del $2 dev $1" ;;
    mtu) at "$place" "link set dev $1 mtu $MTU" ;;
    no-arp) at "$place" "link set dev $1 arp on" ;;
    qdisc) other "tc$([[ $place == - ]] || echo " -n $place") qdisc del dev $1 $([[ $2 == clsact ]] && echo clsact || echo "$3")" ;;
    rules) other "nsenter --net=/run/netns/$place -- $(if [[ $1 == legacy ]]; then echo "iptables-legacy -t $2 -F"; else echo nft flush ruleset; fi)" ;;
  esac
}

# --- from commands to the kernel -----------------------------------------------------------------

tell_of_processes() { # NAMESPACE...: those that keep a namespace which loses its name; they are not the lab's to end
  local pid namespace
  while read -r pid namespace; do
    say "process $pid ($(cat "/proc/$pid/comm" 2>/dev/null || :)) is not the lab's and keeps running; its namespace $namespace has lost its name and its network"
  done < <(processes_in "$@")
}

is_planned() { ((${#HOST[@]} + ${#FORWARDING[@]} + ${#SYSCTLS[@]} + ${#ORDER[@]} + ${#OTHERS[@]} > 0)); }

show_commands() {
  local namespace lines
  ((${#OTHERS[@]} == 0)) || printf "$DIM+ %s$PLAIN\n" "${OTHERS[@]}"
  ((${#HOST[@]} == 0)) || printf "$DIM+ ip %s$PLAIN\n" "${HOST[@]}"
  ((${#SYSCTLS[@]} == 0)) || printf "$DIM+ sysctl -qw %s$PLAIN\n" "${SYSCTLS[@]}"
  ((${#FORWARDING[@]} == 0)) || printf "$DIM+ bridge %s$PLAIN\n" "${FORWARDING[@]}"
  for namespace in "${ORDER[@]}"; do
    mapfile -t lines <<<"${INSIDE[$namespace]%$'\n'}"
    printf "$DIM+ ip -n $namespace %s$PLAIN\n" "${lines[@]}"
  done
}

count_commands() { # or shows them, where they are a few
  local number
  number=$(show_commands | wc -l)
  if ((number > 20)); then
    echo_command "ip, sysctl and bridge: $number commands; SHOW=1 prints them"
  else show_commands; fi
}

carry_out() { # [removing]: shows what will be done, then does it
  is_planned || return 0
  if [[ -n ${BRIEF:-} ]]; then count_commands; else show_commands; fi
  [[ -n ${DRY_RUN:-} ]] || run_batches "$@"
}

# What is to be removed may go by itself: the links of a deleted namespace, the routes of a deleted address. So a removal
# is judged by what is still there, not by what its commands complain of.
run_batches() { # [removing]
  local namespace
  [[ ! -e $BATCHES ]] || rm -r "$BATCHES" # of a run that was killed
  mkdir -p "$BATCHES/inside"
  printf '%s\n' "${HOST[@]}" >"$BATCHES/host"
  printf '%s\n' "${FORWARDING[@]}" >"$BATCHES/forwarding"
  for namespace in "${ORDER[@]}"; do printf '%s' "${INSIDE[$namespace]}" >"$BATCHES/inside/$namespace"; done
  if [[ -z ${1:-} ]]; then
    send_batches 2>"$BATCHES/complaints" || die_of_complaints
  else
    send_batches -force 2>"$BATCHES/complaints"
    COMPLAINTS=$(grep -v '^Command failed' "$BATCHES/complaints" | paste -sd' ') || :
  fi
  rm -r "$BATCHES"
}

# One process for the host's links, one for its bridges' entries, then one for each namespace, as many at a time as
# there are processors.
send_batches() { # [-force]: past what fails
  local force=$# command settings
  read -ra settings <<<"${SYSCTLS[*]}"
  # shellcheck disable=SC2086 # its words
  for command in "${OTHERS[@]}"; do $command || ((force)) || return; done
  ip "$@" -batch "$BATCHES/host" || ((force)) || return
  ((${#SYSCTLS[@]} == 0)) || sysctl -qw "${settings[@]}" || ((force)) || return
  ((${#FORWARDING[@]} == 0)) || bridge "$@" -batch "$BATCHES/forwarding" || ((force)) || return
  printf '%s\n' "${ORDER[@]}" | xargs -rP "$(nproc)" -I{} ip "$@" -n {} -batch "$BATCHES/inside/{}" || ((force))
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
  local HOST=() FORWARDING=() SYSCTLS=() ORDER=() OTHERS=()
  remove_surplus
  plan_to_make
  carry_out
}

# What was removed took other facts with it, and may have hidden some; only the kernel knows which.
remove_surplus() {
  local removed round
  mapfile -t removed < <(printf '%s\n' "${SURPLUS[@]}" | awk '$1 == "namespace" { print $2 }')
  tell_of_processes "${removed[@]}"
  for round in 1 2 3 4; do
    plan_to_remove
    is_planned || return 0
    ((round < 4)) || die "what is surplus cannot be removed (scripts/network.sh status names it): $COMPLAINTS"
    carry_out removing
    HOST=() FORWARDING=() SYSCTLS=() INSIDE=() ORDER=() OTHERS=()
    if [[ -n ${DRY_RUN:-} ]]; then say "# what goes with these is made again, too" && return; fi
    compare_facts
  done
}
