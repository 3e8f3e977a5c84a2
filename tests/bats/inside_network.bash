# shellcheck shell=bash
# What the tests of the network use inside their sandbox, beside inside.bash.

network() { scripts/network.sh "$@"; }

fails() { ! "$@"; } # a bare `! command` does not stop a script under set -e

silent() { # it ends well, and has nothing to say
  local said
  said=$("$@") && [[ -z $said ]]
}

# Everything of the network, in the host and in each namespace, without what comes and goes by itself:
# timers, a carrier, the sandbox's own IPv6 addresses that take their time.
network_state() {
  local namespace
  ls -A /run/netns
  grep -c /run/netns /proc/self/mountinfo
  addresses_and_routes
  for namespace in $(ip netns list | cut -d" " -f1); do
    echo "== $namespace"
    addresses_and_routes -n "$namespace"
  done
}

addresses_and_routes() {
  ip "$@" -o -d link | sed 's/NO-CARRIER,//; s/,LOWER_UP//; s/ state [A-Z]*//; s/ [a-z_]*_timer *[0-9.]*//g'
  ip "$@" -o -4 addr
  ip "$@" -4 route show table all
}

unchanged() { # FILE: the network is as it was saved there
  network_state >"$1.now"
  diff "$1" "$1.now"
}

table() { # one of ROWS lines, each NAME NAMESPACE ADDRESS INTERFACE PORT BRIDGE, from standard input
  local name namespace address interface port bridge
  printf "kind\tname\tnamespace\taddress\tinterface\tbridge_interface\tbridge\tlistens\tpublishes\truns\n"
  while read -r name namespace address interface port bridge; do
    if [[ -z $namespace ]]; then echo; elif [[ -z $interface ]]; then
      printf "bridge\t%s\t-\t%s\t-\t-\t-\t-\t-\t-\n" "$name" "$namespace"
    else
      printf "node\t%s\t%s\t%s\t%s\t%s\t%s\t-\t-\t-\n" "$name" "$namespace" "$address" "$interface" "$port" "$bridge"
    fi
  done
}

many_nodes() { # N: a table of a pure network
  local n
  {
    echo br-many 10.99.0.1/16
    for ((n = 1; n <= $1; n++)); do echo "n$n node$n 10.99.$((n / 250)).$((n % 250 + 2))/16 eth0 port$n br-many"; done
  } | table
}

drifted() { # TEXT: status says so and ends with 1, `up` mends it, and status is content
  local said
  said=$(network status) && return 1
  [[ $said == "$1" ]] || {
    printf "wanted:\n%s\ngot:\n%s\n" "$1" "$said"
    return 1
  }
  network up >/dev/null
  network status >/dev/null
  silent network up
}

# An `ip` and a `bridge` that do a batch command by command, and at the Nth of all kill the run's whole process group.
kill_at() { # N
  local tool
  mkdir -p /run/deadly
  : >/run/deadly/count
  for tool in ip bridge; do
    cat >/run/deadly/$tool <<END
#!/bin/bash
tool=$(command -v $tool)
[[ \$* == *-batch*/batches/* ]] || exec \$tool "\$@"
while read -r line; do
  printf . >>/run/deadly/count
  read -r count </run/deadly/count
  ((\${#count} < $1)) || kill -9 0
  eval "\$tool \${*:1:\$#-2} \$line" || exit
done <"\${@: -1}"
END
    chmod +x /run/deadly/$tool
  done
  ! PATH=/run/deadly:$PATH setsid --wait scripts/network.sh up &>/dev/null
}
