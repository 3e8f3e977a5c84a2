#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Killed at any moment, and what a killed run leaves.

load helpers

@test "kill -9 of commands at random moments: up converges, clean leaves nothing" {
  # make kills COUNT=40 SEED=2 tries more of them
  run "$ROOT/tests/lab/kills.sh" 3 1
  succeeds
  says "3 kills, 0 failed"
}

@test "down removes what killed runs left half-made, and who waits for the lock meanwhile gets the new one" {
  sandboxed '
    host_state >/run/before
    scripts/network.sh up >/dev/null
    mkdir -p /etc/netns/product9; touch /etc/netns/product9/resolv.conf.cnet /run/cnet/{scaled.tsv,scaled.tsv.new,supervisord.conf.new}
    mkdir -p /etc/netns/other; touch /etc/netns/other/resolv.conf
    take() { (source scripts/lib/common.sh; SCRIPT=$1 && take_lock 2>"/run/$1"; "${@:2}"); }
    remove() { retry 5 grep waiting /run/second; rm -rf "$RUN_DIR"; }
    holds() { refute flock --nonblock "$RUN_DIR/lock" true; }
    take first remove & sleep 0.5; take second holds; wait
    scripts/network.sh up >/dev/null; touch /run/cnet/{scaled.tsv,scaled.tsv.new,supervisord.conf.new}
    scripts/lab.sh clean >/dev/null
    [[ ! -e /run/cnet && ! -e /var/opt/cnet && ! -e /etc/netns/product9 && -e /etc/netns/other/resolv.conf ]]
    rm -r /etc/netns; pristine /run/before
  '
  succeeds
}

@test "a down that is killed before it has given the base chains back is finished by the next one, or after an up" {
  sandboxed '
    mkdir /run/shim; for tool in nft; do
      # Ends its caller before the first chain goes: the rules are gone by then.
      printf "#!/bin/sh\n[ ! -e /run/killing ] || case \$0\ \$1 in *nft\ delete) kill -9 \$PPID; exit 1 ;; esac\nexec $(command -v "$tool") \"\$@\"\n" >/run/shim/$tool
    done
    chmod +x /run/shim/*; export PATH=/run/shim:$PATH
    { scripts/network.sh up; scripts/nat.sh up; scripts/nat.sh down; } >/dev/null # a bridge keeps its route_localnet
    host_state >/run/before
    for script in scripts/nat.sh security/policy.sh; do
      for way in down "up down"; do
        $script up >/dev/null
        touch /run/killing; refute $script down >/dev/null; rm /run/killing
        refute pristine /run/before >/dev/null # it was killed in between
        for command in $way; do $script "$command" >/dev/null; done
        pristine /run/before
        [[ ! -e /run/cnet/before-up.nat && ! -e /run/cnet/before-up.policy ]]
      done
    done
  '
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
    source scripts/lib/common.sh; source scripts/lib/rules.sh
    forget_tracked -s 10.0.0.99 # there is none
    mkdir /run/bin; printf "#!/bin/sh\necho \"conntrack v1: Operation failed\" >&2; exit 1" >/run/bin/conntrack; chmod +x /run/bin/conntrack
    PATH=/run/bin:$PATH; hash -r; status=0
    said=$(forget_tracked -s 10.0.0.99 2>&1) || status=$?
    [[ $status == 1 && $said == *"conntrack -D -s 10.0.0.99"*"Operation failed"* ]] || { echo "$status: $said"; exit 1; }
    # conntrack stops at an entry that expires between its list and its delete: the rest is deleted in another run.
    printf "#!/bin/sh\n[ -e /run/second ] || { touch /run/second; echo \"conntrack v1: Operation failed: such conntrack doesn'"'"'t exist\" >&2; exit 1; }\n" >/run/bin/conntrack
    forget_tracked -s 10.0.0.99; [[ -e /run/second ]]
  '
  succeeds
}
