# shellcheck shell=bash
# doctor: conflicts with the lab's table, by each script's own check. Sourced.

report_check() { # SCRIPT OK: report the last line of a failed `SCRIPT check`: "SCRIPT: what; how to fix it"
  local output
  if output=$("$ROOT/scripts/$1.sh" check 2>&1); then
    ok "$2"
  else
    output=$(tail -n 1 <<<"$output")
    output=${output#"$1.sh: "}
    problem "${output%; *}" "$([[ $output == *'; '* ]] && echo "${output##*; }" || echo "scripts/$1.sh check")"
  fi
}

check_subnets() { report_check network "no route, interface or namespace of the host conflicts with the table"; }

check_ports() {
  load_topology
  report_check nat "free: $(published_ports)"
}

published_ports() {
  local node list=''
  for node in "${NODES[@]}"; do [[ ${PUBLISHES[$node]} == - ]] || list+=" ${PUBLISHES[$node]//,/ }"; done
  echo "${list:-none to publish}"
}

# Missing tools are reported by the checks tools and python.
check_services() {
  [[ -x $VENV/bin/supervisord ]] && path_of nginx && path_of redis-server && path_of postgres || return 0
  report_check services "their code and the virtual environment can be read by their users"
}

check_table() {
  local running others state='no lab is up'
  if ! running=$(load_topology 2>&1); then
    problem "${running#*.sh: }" "correct the table; topology/flat.tsv explains the columns"
    return
  fi
  load_topology
  running=$(running_tables | sort -u)
  [[ -z $running ]] || state='its lab is up'
  others=$(grep -vxF -- "$TABLE" <<<"$running" | paste -sd' ') || true # none
  if [[ -n $others ]]; then
    note "a lab made from $others is up: \`up\` would replace it by $TABLE" \
      "keep it: TOPOLOGY=${others%% *}; or remove it first: sudo make down"
  else
    ok "$TABLE: nodes ${#NODES[@]}, bridges ${#BRIDGES[@]}; $state"
  fi
}

# Without an environment no lab was brought up. diagnose prints nothing if it cannot read the lab; `table` says why.
check_running() {
  local found
  [[ -n $(ip -o link show group "$LINK_GROUP" 2>/dev/null) && -x $VENV/bin/python ]] || return 0
  found=$("$ROOT/scripts/diagnose.sh" run --json) || :
  [[ -n $found ]] || return 0
  found=$(jq -r '.findings | if length > 0 then "\(length): \(.[0].cause)" else empty end' <<<"$found")
  if [[ -n $found ]]; then
    note "the lab is up and does not work as its tables say; causes found: $found" "${DIAGNOSE##*: }"
  else ok "the lab is up, and works as its tables say"; fi
}

# `ip netns` creates names in this shell's mount namespace; other processes see them only if they share it.
check_namespaces() {
  local name stale=()
  if [[ $(readlink /proc/self/ns/mnt) != "$(readlink /proc/1/ns/mnt 2>/dev/null || readlink /proc/self/ns/mnt)" ]]; then
    note "this shell has its own mount namespace (of ip netns exec): namespaces created here are visible only here" \
      "leave it, and enter a network with nsenter --net=/run/netns/NAME instead"
  fi
  for name in /run/netns/*; do
    [[ ! -e $name || $(stat -fc %T "$name") == nsfs ]] || stale+=("$name")
  done
  if ((${#stale[@]} > 0)); then
    note "/run/netns holds names without a namespace: ${stale[*]##*/}" "sudo rm ${stale[*]}"
  else
    ok "/run/netns is $(findmnt -no PROPAGATION /run/netns 2>/dev/null || echo 'not there yet, ip creates it')"
  fi
}

read_number() { cat "/proc/sys/net/$1" 2>/dev/null || echo "$2"; }

check_limits() {
  local tracked max pairs
  load_topology
  pairs=$((${#NODES[@]} * ${#NODES[@]})) # in a ping matrix each node has a neighbour entry for each other
  max=$(read_number netfilter/nf_conntrack_max -1) tracked=$(read_number netfilter/nf_conntrack_count 0)
  ((max < 0 || (max >= 32768 && tracked * 5 < max * 4))) ||
    note "conntrack holds $tracked of at most $max connections: a benchmark fills it, and new connections are dropped" \
      "sudo sysctl -w net.netfilter.nf_conntrack_max=262144"
  max=$(read_number ipv4/neigh/default/gc_thresh3 -1)
  ((max < 0 || pairs < max)) ||
    note "a ping matrix of ${#NODES[@]} nodes needs $pairs neighbour entries; the kernel keeps at most $max" \
      "sudo sysctl -w net.ipv4.neigh.default.gc_thresh3=$((pairs * 2))"
  [[ -n $FOUND ]] || ok "the conntrack and neighbour tables are large enough"
}

check_resolver() {
  local short
  load_topology
  short=$(names_problem)
  if [[ -n $short ]]; then
    problem_of "$short"
  elif [[ -z $(resolvers) ]]; then
    note "all resolvers of the host are on loopback, which no namespace reaches: the lab resolves no outside names" \
      "add a nameserver that is not on loopback to /etc/resolv.conf; the lab's own names work without it"
  else
    ok "each namespace can have its own resolv.conf; the host uses $(resolvers)"
  fi
}
