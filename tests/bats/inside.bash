# shellcheck shell=bash
# What a test uses inside its sandbox.

# Everything of the host that the lab may touch, as text: equal before and after means that nothing was left.
host_state() {
  echo "== links, addresses, routes, neighbours' owners"
  ip -o link | sed "s/ *<.*link/ link/"
  ip -o -4 addr
  ip -o -6 addr | sed 's/ tentative//; s/valid_lft.*//'
  ip route show table all
  ip rule
  echo "== namespaces and what is mounted"
  ip netns list | cut -d' ' -f1 | sort
  sort /proc/self/mounts | grep -vE 'docker|cnet-swarm' # whose containers come and go on the machine meanwhile
  echo "== resolvers of namespaces"
  [[ ! -d /etc/netns ]] || find /etc/netns
  echo "== rules, of both backends"
  iptables-save | grep -v '^#' || :
  ip6tables-save | grep -v '^#' || :
  iptables-legacy-save 2>/dev/null | grep -v '^#' || :
  nft list ruleset 2>/dev/null
  echo "== sysctls"
  sysctl -a 2>/dev/null | grep -E '^(net|kernel|vm|fs)\.' | grep -vE "$RESTLESS"
  echo "== processes"
  ps -eo pid,args --no-headers | awk -v self=$$ '$1 != 1 && $1 != self { $1 = ""; print }' | grep -vE 'ps -eo|host_state|grep|awk|sort|kills\.sh inside|^ bash -euo' || :
}

# Sysctls that count or wander by themselves.
RESTLESS='nf_conntrack_count|nf_conntrack_max|random|fs\.(dentry|inode|file-nr|aio-nr|quota)|ns_last_pid|pty\.nr|stat_|neigh.*retrans|kernel\.(perf|sched|ns_)|vm\.|hung_task'

pristine() { # FILE: the state is as it was saved there
  host_state >"$1.now"
  diff "$1" "$1.now"
}

uncounted() { # FILE: the same, but rules of others may have counted
  host_state >"$1.now"
  diff <(sed -E "$COUNTERS" "$1") <(sed -E "$COUNTERS" "$1.now")
}

# Bring the lab up without its proof, which takes longest and has tests of its own.
CONVERGE=${CONVERGE:-security/policy.sh up && scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up}
converge() { eval "$CONVERGE"; }
bring_up() { converge &>/run/up || { tail -n 20 /run/up && exit 1; }; }

# End the processes of a test and remove its files, for the next test of the same lab.
clean_up() {
  pgrep --session 0 | grep -vx "$$" | xargs -r kill -KILL 2>/dev/null || :
  find /run -mindepth 1 -maxdepth 1 ! -name netns ! -name lock ! -name xtables.lock ! -name etc ! -name cnet \
    -exec rm -rf --one-file-system {} + 2>/dev/null || : # a file system that is mounted there stays
}

# Waits for a fact: retry SECONDS COMMAND...
retry() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

listens() { # PORT [NETNS]: somebody does, there
  ${2:+ip netns exec "$2"} ss -Hltn "sport = :$1" | grep . >/dev/null
}

fails_with() { # STATUS TEXT COMMAND...: it ends so, and says so in one line on standard error
  local wanted=$1 text=$2 said status=0
  shift 2
  said=$("$@" 2>&1 >/dev/null) || status=$?
  [[ $status == "$wanted" && $said == *"$text"* && $said != *$'\n'* ]] || {
    printf 'wanted %s and one line with "%s", got %s:\n%s\n' "$wanted" "$text" "$status" "$said"
    return 1
  }
}

# Packet counters grow with the traffic of the proof itself; this takes them out of a state.
COUNTERS='s/counter packets [0-9]+ bytes [0-9]+/counter/; s/\[[0-9]+:[0-9]+\]//'
export COUNTERS

packets() { # CHAIN: all packets its rules have counted
  iptables-save -c | awk -v chain="$1" '$2 == "-A" && $3 == chain { split(substr($1, 2), count, ":"); sum += count[1] } END { print sum + 0 }'
}

# refute COMMAND...: it must fail (`! command` would not end a script that stops at failures).
refute() {
  if "$@"; then
    echo "succeeded, and should not have: $*"
    return 1
  fi
}
