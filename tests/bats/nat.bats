#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2314 # the text between single quotes runs inside the sandbox; `!` ends a test
# The way out and the way in: each thing that is allowed, its forbidden twin, and the rule that counted it.

load helpers

# A network with NAT, and a web server in nginx-lb in place of nginx.
NAT_UP='scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
nsenter --net=/run/netns/nginx-lb python3 scripts/echo_address.py 10.0.0.10 80 & retry 10 listens 80 nginx-lb
'

@test "a namespace reaches the outside, and is seen there with the host'\''s address" {
  sandboxed "$NAT_UP"'
    ip netns exec world python3 scripts/echo_address.py 203.0.113.2 80 & retry 10 listens 80 world
    [[ $(ip netns exec redis-cache curl -fsS -m 3 http://203.0.113.2/) == 203.0.113.1 ]]
    iptables -t nat -D CNET-POSTROUTING -s 10.0.0.0/16 ! -o br-app -m comment --comment "cnet: br-app: nodes leave with the address of the host, for nobody outside knows theirs" -j MASQUERADE
    conntrack -F 2>/dev/null
    refute ip netns exec redis-cache curl -fsS -m 1 http://203.0.113.2/ # without the rule there is no answer
  '
  succeeds
}

@test "port 8080 leads to the node from outside, from a namespace and from localhost, and the rule counts each" {
  sandboxed "$NAT_UP"'
    [[ $(ip netns exec world curl -fsS -m 3 http://203.0.113.1:8080/) == 203.0.113.2 ]] # the client'\''s own address is kept
    [[ $(packets CNET-PUBLISH) == 1 ]]
    [[ $(ip netns exec redis-cache curl -fsS -m 3 http://203.0.113.1:8080/) == 10.0.0.1 ]]
    [[ $(packets CNET-PUBLISH) == 2 ]]
    [[ $(curl -fsS -m 3 http://localhost:8080/) == 10.0.0.1 ]]
    [[ $(packets CNET-PUBLISH) == 3 ]]
    refute ip netns exec world curl -fsS -m 1 http://203.0.113.1:8081/
    [[ $(packets CNET-PUBLISH) == 3 ]]
  '
  succeeds
}

@test "route_localnet opens no loopback service of the host to a node" {
  sandboxed "$NAT_UP"'
    python3 scripts/echo_address.py 127.0.0.1 9000 & retry 10 listens 9000
    curl -fsS -m 2 http://127.0.0.1:9000/
    ip -n redis-cache route add 127.0.0.0/8 via 10.0.0.1 table 100; ip -n redis-cache rule add pref 0 to 127.0.0.1 dport 9000 lookup 100
    ip netns exec redis-cache sysctl -qw net.ipv4.conf.veth-redis.route_localnet=1
    ip -n redis-cache rule add pref 10 lookup local; ip -n redis-cache rule del pref 0 lookup local
    ip netns exec redis-cache curl -sS -m 1 --interface veth-redis http://127.0.0.1:9000/ && exit 1
    [[ $(packets CNET-INPUT) -gt 0 ]]
    iptables -F CNET-INPUT # the twin: without the rule it is open
    ip netns exec redis-cache curl -fsS -m 2 --interface veth-redis http://127.0.0.1:9000/
  '
  succeeds
}

@test "a host port that is held is refused, with its holder'\''s name, and nothing is changed" {
  sandboxed '
    scripts/network.sh up >/dev/null
    python3 -m http.server 8080 >/dev/null 2>&1 & holder=$!
    retry 10 listens 8080
    host_state >/run/before
    fails_with 1 "port 8080 of the host is held by python3 (pid $holder); stop it" scripts/nat.sh up
    fails_with 1 "port 8080 of the host is held" scripts/nat.sh check
    pristine /run/before
    fails_with 1 "held by python3" bash -c "scripts/lab.sh up 2>&1 >/dev/null | grep nat.sh >&2; exit \${PIPESTATUS[0]}"
  '
  succeeds
}

@test "a host port that somebody else forwards is refused, with the rule" {
  sandboxed '
    scripts/network.sh up >/dev/null
    iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 192.0.2.1:80
    fails_with 1 "port 8080 of the host is already forwarded by a rule that is not the lab" scripts/nat.sh up
  '
  succeeds
}

@test "without a bridge nat.sh says what to do first" {
  sandboxed 'fails_with 1 "there is no bridge br-app yet; scripts/network.sh up" scripts/nat.sh up'
  succeeds
}

@test "where Docker has set FORWARD to DROP, the lab works and Docker'\''s rules stay" {
  sandboxed '
    iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; iptables -A FORWARD -j DOCKER-USER; iptables -P FORWARD DROP
    iptables-save | grep -v "^#" >/run/docker
    '"$NAT_UP"'
    ip netns exec world curl -fsS -m 3 http://203.0.113.1:8080/
    ip netns exec redis-cache ping -c 1 -W 1 203.0.113.2
    iptables -S DOCKER-USER | grep CNET-FORWARD
    refute ip netns exec world curl -fsS -m 1 http://10.0.0.10/ # nobody outside has a way to a node as such
    scripts/nat.sh down >/dev/null
    diff <(grep -E "DOCKER|FORWARD" /run/docker) <(iptables-save | grep -E "DOCKER|FORWARD")
  '
  succeeds
}

@test "a rule that cannot be loaded leaves the old rules and their counters as they were" {
  sandboxed "$NAT_UP"'
    curl -fsS -m 3 http://localhost:8080/
    counted() { iptables-save -c | grep -e "-A CNET-"; } # the hooks count what the host says by itself, IGMP too
    counted >/run/before; grep "^\[[1-9].*DNAT" /run/before
    sed "s/8080:80/8081:80/" topology/flat.tsv >/run/other.tsv
    PATH="/run/bin:$PATH"; mkdir /run/bin
    printf "#!/bin/sh\nsed s/MASQUERADE/NONSENSE/ | /usr/sbin/iptables-restore \"\$@\"\n" >/run/bin/iptables-restore; chmod +x /run/bin/iptables-restore
    refute env TOPOLOGY=/run/other.tsv scripts/nat.sh up
    diff /run/before <(counted)
  '
  succeeds
}

@test "a published port that changes in the table changes in the kernel, and connections to the old one end" {
  sandboxed "$NAT_UP"'
    curl -fsS -m 3 http://localhost:8080/
    sed "s/8080:80/8081:80/" topology/flat.tsv >/run/other.tsv
    TOPOLOGY=/run/other.tsv scripts/nat.sh up >/dev/null
    curl -fsS -m 3 http://localhost:8081/
    refute curl -fsS -m 1 http://localhost:8080/
    TOPOLOGY=/run/other.tsv scripts/nat.sh status
  '
  succeeds
}

@test "killed between loading the rules and switching forwarding on, it still knows the old value" {
  sandboxed '
    scripts/network.sh up >/dev/null
    mkdir /run/bin; printf "#!/bin/sh\ncase \"\$*\" in *-qw*) kill -9 \$PPID;; esac; exec /usr/sbin/sysctl \"\$@\"\n" >/run/bin/sysctl; chmod +x /run/bin/sysctl
    PATH="/run/bin:$PATH" scripts/nat.sh up >/dev/null || :
    iptables -S CNET-FORWARD | grep "ip_forward=0"
    scripts/nat.sh up >/dev/null; scripts/nat.sh status; scripts/nat.sh down >/dev/null
    [[ $(sysctl -n net.ipv4.ip_forward) == 0 ]]
  '
  succeeds
}

@test "DRY_RUN=1 shows the rules and changes nothing" {
  sandboxed '
    scripts/network.sh up >/dev/null; host_state >/run/before
    DRY_RUN=1 scripts/nat.sh up | grep -- "-j DNAT --to-destination 10.0.0.10:80"
    pristine /run/before
  '
  succeeds
}

@test "what is proposed for a taken port and a routed network works" {
  sandboxed '
    python3 -m http.server 8080 &>/dev/null &
    ip link add vpn0 type veth peer name vpn1; ip link set vpn0 up; ip route add 10.0.0.0/8 dev vpn0
    held() { [[ -n $(ss -Hnlt "sport = :8080") ]]; }; retry 5 held
    refute scripts/network.sh check 2>/run/said; cat /run/said; (cd /run; sed -n "s#.*: sed \(.*\) topology/flat.tsv.*#sed \1 $ROOT/topology/flat.tsv >/run/first.tsv#p" said | bash -e)
    export TOPOLOGY=/run/first.tsv
    scripts/network.sh up >/run/out
    refute scripts/nat.sh check 2>/run/said; cat /run/said; (cd /run; sed -n "s#.*: sed \(.*\) /run/first.tsv.*#sed \1 /run/first.tsv >/run/second.tsv#p" said | bash -e)
    export TOPOLOGY=/run/second.tsv
    { scripts/network.sh up && scripts/nat.sh up && scripts/verify.sh network; } >/run/out || { cat /run/out; exit 1; }
    grep "localhost:8090 -> nginx-lb:80" /run/out
    diff <(sed "s/10\.0\.0\./172.30.0./; s/8080:80/8090:80/" topology/flat.tsv) /run/second.tsv
  '
  succeeds
}
