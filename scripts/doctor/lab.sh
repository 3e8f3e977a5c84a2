# shellcheck shell=bash
# doctor: what would be in the lab's own way; each script's own check is asked. Sourced.

ask() { # SCRIPT, OK: its refusal "SCRIPT: what; what to do" becomes a finding
  local said
  if said=$("$ROOT/scripts/$1.sh" check 2>&1); then
    ok "$2"
  else
    said=$(tail -n 1 <<<"$said")
    said=${said#"$1.sh: "}
    problem "${said%; *}" "$([[ $said == *'; '* ]] && echo "${said##*; }" || echo "scripts/$1.sh check")"
  fi
}

check_subnets() { ask network "no route, interface or namespace of the host is in the way"; }

check_ports() {
  load_topology
  ask nat "free: $(published_ports)"
}

published_ports() {
  local node list=''
  for node in "${NODES[@]}"; do [[ ${PUBLISHES[$node]} == - ]] || list+=" ${PUBLISHES[$node]//,/ }"; done
  echo "${list:-none to publish}"
}

# What its check would say of missing tools is said by tools and python already.
check_services() {
  path_of nginx >/dev/null && path_of redis-server >/dev/null && path_of postgres >/dev/null && [[ -x $VENV/bin/supervisord ]] || return 0
  ask services "their code and the virtual environment can be read by their users"
}

check_table() {
  local running others
  if ! running=$(load_topology 2>&1); then
    problem "${running#*.sh: }" "mend the table; its columns are explained in topology/flat.tsv"
    return
  fi
  load_topology
  running=$(running_tables | sort -u)
  others=$(grep -vxF -- "$TABLE" <<<"$running" | paste -sd' ') || true # there is no other
  if [[ -n $others ]]; then
    note "a lab made from $others is up: \`up\` would turn it into $TABLE" "go on with it: TOPOLOGY=${others%% *}; or take it down first: sudo make down"
  else
    ok "$TABLE: nodes ${#NODES[@]}, bridges ${#BRIDGES[@]}; $([[ -n $running ]] && echo "its lab is up" || echo "no lab is up")"
  fi
}

# `ip netns` binds names in this shell's mount namespace; others see them only if that is everyone's.
check_namespaces() {
  local name stale=()
  if [[ $(readlink /proc/self/ns/mnt) != "$(readlink /proc/1/ns/mnt 2>/dev/null || readlink /proc/self/ns/mnt)" ]]; then
    note "this shell has a mount namespace of its own (ip netns exec makes one): namespaces named here are seen here alone" \
      "leave it, and enter a network with nsenter --net=/run/netns/NAME instead"
  fi
  for name in /run/netns/*; do
    [[ ! -e $name || $(stat -fc %T "$name") == nsfs ]] || stale+=("$name")
  done
  if ((${#stale[@]} > 0)); then
    note "/run/netns holds names without a namespace: ${stale[*]##*/}" "sudo rm ${stale[*]}"
  else
    ok "/run/netns is $(findmnt -no PROPAGATION /run/netns 2>/dev/null || echo 'not there yet, ip makes it')"
  fi
}

read_number() { cat "/proc/sys/net/$1" 2>/dev/null || echo "$2"; }

conntrack_finding() {
  local tracked most
  most=$(read_number netfilter/nf_conntrack_max -1) tracked=$(read_number netfilter/nf_conntrack_count 0)
  ((most < 0 || (most >= 32768 && tracked * 5 < most * 4))) ||
    note "connection tracking holds $tracked of at most $most: a benchmark fills it, and new connections are dropped" \
      "sudo sysctl -w net.netfilter.nf_conntrack_max=262144"
}

neighbours_finding() { # every node of a ping matrix keeps every other's address
  local pairs most
  pairs=$((${#NODES[@]} * ${#NODES[@]})) most=$(read_number ipv4/neigh/default/gc_thresh3 -1)
  ((most < 0 || pairs < most)) ||
    note "a ping matrix of ${#NODES[@]} nodes needs $pairs neighbour entries, the kernel keeps $most for all namespaces" \
      "sudo sysctl -w net.ipv4.neigh.default.gc_thresh3=$((pairs * 2))"
}

check_limits() {
  local said
  load_topology
  said=$(conntrack_finding && neighbours_finding)
  if [[ -n $said ]]; then echo "$said"; else ok "connection tracking and neighbours suffice"; fi
}

check_resolver() {
  local short
  load_topology
  short=$(names_problem)
  if [[ -n $short ]]; then
    problem_of "$short"
  elif [[ -z $(resolvers) ]]; then
    note "every resolver of the host is on loopback, where no namespace reaches it: in the lab, names from outside are not resolved" \
      "put a nameserver that is not on loopback into /etc/resolv.conf; names of the lab work without it"
  else
    ok "namespaces can have a resolv.conf of their own; the host asks $(resolvers)"
  fi
}
