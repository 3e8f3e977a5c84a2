#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# `make explain` of IPv6: a probe is sent, and the route, the neighbour and the rule that dropped it are named.

load helpers

FUNCTIONS='
  export TOPOLOGY=dual
  ends() { # KIND FROM TO PORT [OPTION...]: the outcome of a probe
    local status=0
    security/explain.sh "${@:2}" --json >/run/json || status=$?
    [[ $(jq -r .outcome.kind /run/json) == "$1" ]] || { jq -c ".outcome, .hops" /run/json; return 1; }
    [[ $1 == allowed ]] || ((status == 1))
    .venv/bin/python tests/lab/validate_json.py explain </run/json
  }
  NOT_OURS="dropped by a rule that is not the lab'"'"'s"
  says_hop() { jq -r ".hops[].what" /run/json | grep -F "$1"; } # TEXT
'

@test "a packet of IPv6 is explained by route, neighbour, rule and listener" {
  sandboxed "$FUNCTIONS"'
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    nsenter --net=/run/netns/nginx-lb python3 lab/echo_address.py :: 80 & retry 10 listens 80 nginx-lb
    ends allowed redis-cache nginx-lb 80 --6
    says_hop "who has fd00:cafe::10? it is at 02:42:0a:00:00:0a"; says_hop "fd00:cafe::10 tcp/80 answers"
    ends allowed host fd00:cafe::60 --icmp
    ends "no listener" redis-cache fd00:cafe::60 5432; says_hop "no program listens on fd00:cafe::60 tcp/5432"
    ip6tables -I OUTPUT -d fd00:cafe::10 -j DROP
    ends "$NOT_OURS" host nginx-lb 80 --6
    says_hop "dropped by -A OUTPUT -d fd00:cafe::10/128 -j DROP"
    ip6tables -F OUTPUT
    ends allowed host nginx-lb 80 --6 # the counterpart
    ip -n postgres-db addr del fd00:cafe::60/64 dev veth-pg
    ip -n redis-cache neigh flush dev veth-redis
    ends "no reply" redis-cache fd00:cafe::60 5432; says_hop "who has fd00:cafe::60? no reply"
    ip -n redis-cache -6 route flush dev veth-redis
    ends "no route" redis-cache nginx-lb 80 --6
    ip -n redis-cache addr del fd00:cafe::50/64 dev veth-redis
    ends "wrong address" redis-cache nginx-lb 80 --6
    kill %1
  '
  succeeds
}

@test "a packet of IPv6 that the policy drops is explained by the line of the policy" {
  sandboxed "$FUNCTIONS"'
    security/policy.sh up &>/dev/null; scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    ends "dropped by the policy" redis-cache postgres-db 5432 --6
    jq -e ".outcome.policy_id | length > 0" /run/json
  '
  succeeds
}

@test "what cannot be explained in IPv6 is refused in one line" {
  sandboxed "$FUNCTIONS"'
    scripts/network.sh up >/dev/null
    explain() { security/explain.sh "$@"; }
    fails_with 2 "leave out --static and --state" explain redis-cache nginx-lb 80 --6 --static
    fails_with 2 "in IPv6 the probe is a TCP connection, or a ping" explain redis-cache nginx-lb 80 --6 --udp
    fails_with 2 "in IPv6 both ends are nodes, or one end is the host" explain redis-cache world 80 --6
    fails_with 2 "in IPv6 both ends are nodes, or one end is the host" explain host ::1 80
    TOPOLOGY=flat fails_with 2 "redis-cache has no IPv6 address in" explain redis-cache nginx-lb 80 --6
  '
  succeeds
}
