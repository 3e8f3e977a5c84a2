#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Killed at any moment: the whole `up`, from installing to proving.

load helpers

# Kills `up` at every second of 26 points of its run, from FIRST on; half of the times it goes up again before down.
kill_points() { # FIRST
  sandboxed "first=$1"'
    host_state >/run/before
    begin=${EPOCHREALTIME/./}
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    took=$((${EPOCHREALTIME/./} - begin))
    scripts/lab.sh clean &>/dev/null
    retry 5 pristine /run/before >/dev/null
    for ((point = first; point <= 26; point += 2)); do
      setsid scripts/lab.sh up &>/run/killed & pid=$!
      sleep "$(printf "%d.%06d" $((took * point / 27 / 1000000)) $((took * point / 27 % 1000000)))"
      kill -9 -- "-$pid" 2>/dev/null || echo "point $point: it had ended"
      wait "$pid" 2>/dev/null || :
      if ((point / 2 % 2)); then
        { scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up; } &>/run/up || { echo "up after point $point"; cat /run/up; exit 1; }
        scripts/lab.sh status &>/run/status || { echo "status after point $point"; cat /run/status; exit 1; }
      fi
      scripts/lab.sh clean &>/run/down || { echo "down after point $point"; cat /run/down; exit 1; }
      retry 5 pristine /run/before >/run/diff || { echo "left after point $point:"; cat /run/diff; exit 1; }
    done
  '
}

@test "kill -9 of up at 13 points of its run: up converges, down leaves nothing" {
  kill_points 1
  succeeds
}

@test "kill -9 of up at 13 more points: up converges, down leaves nothing" {
  kill_points 2
  succeeds
}

@test "what a killed proof leaves of its own outside is taken away, by up and by down" {
  sandboxed '
    host_state >/run/before
    for way in up down; do
      ip netns add cnet-outside # killed before its link was there
      scripts/network.sh up >/run/up; [[ $way == down ]] || grep "netns del cnet-outside" /run/up
      [[ $way == up ]] || ip netns add cnet-outside
      scripts/network.sh down >/dev/null
      pristine /run/before
    done
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    ip netns add cnet-outside
    ip link add cnet-outside group 25955 type veth peer name uplink netns cnet-outside
    scripts/verify.sh network >/run/proof || { cat /run/proof; exit 1; }
  '
  succeeds
}

@test "a connection of a protocol without a name is forgotten as the others, and a failure to forget is told" {
  sandboxed '
    { scripts/network.sh up; scripts/nat.sh up; security/policy.sh up; } &>/run/up || { cat /run/up; exit 1; }
    grep -v "^operator" security/flat.tsv >/run/mine.tsv; export POLICY=/run/mine.tsv
    remember() { conntrack -I -p "$1" -s "$2" -d 10.0.0.60 -t 500 "${@:3}" 2>/dev/null; }
    remember 254 10.0.0.20
    for port in 4001 4002 4003; do remember tcp 10.0.0.50 --sport $port --dport 5432 --state ESTABLISHED; done
    remember tcp 10.0.0.40 --sport 4000 --dport 5432 --state ESTABLISHED
    security/policy.sh up &>/run/up || { cat /run/up; exit 1; }
    conntrack -L -d 10.0.0.60 2>/dev/null | awk "{ print \$1, \$5 }" | grep -xF "tcp src=10.0.0.40"
    [[ $(conntrack -L -d 10.0.0.60 2>/dev/null | wc -l) == 1 ]]
    source scripts/lib.sh; source scripts/rules.sh
    forget_tracked -s 10.0.0.99 # there is none
    mkdir /run/bin; printf "#!/bin/sh\necho \"conntrack v1: Operation failed\" >&2; exit 1" >/run/bin/conntrack; chmod +x /run/bin/conntrack
    PATH=/run/bin:$PATH; hash -r; status=0
    said=$(forget_tracked -s 10.0.0.99 2>&1) || status=$?
    [[ $status == 1 && $said == *"conntrack -D -s 10.0.0.99"*"Operation failed"* ]] || { echo "$status: $said"; exit 1; }
  '
  succeeds
}
