#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2314 # the text between single quotes runs inside the sandbox; `!` ends a test
# The way out and the way in: each thing that is allowed, its forbidden twin, and the rule that counted it.

load helpers

# A network with NAT, and a web server in nginx-lb in place of nginx.
NAT_UP='scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
nsenter --net=/run/netns/nginx-lb python3 lab/echo_address.py 10.0.0.10 80 & retry 10 listens 80 nginx-lb
'

# Three more interfaces of the host, each with a namespace behind it that is its neighbour.
FAR='forwarding() { local one; for one; do cat /proc/sys/net/ipv4/conf/$one/forwarding; done | paste -sd" "; }
far() { ip netns add far$1; ip link add eth$1 type veth peer name eth0 netns far$1; ip addr add 192.168.$1.1/24 dev eth$1; ip link set eth$1 addrgenmode none up
  ip -n far$1 addr add 192.168.$1.2/24 dev eth0; ip -n far$1 link set eth0 up; ip -n far$1 route add default via 192.168.$1.1; }
pings() { ip netns exec "$1" ping -c 1 -W 1 "$2" >/dev/null; }
'

@test "a namespace reaches the outside, and is seen there with the host'\''s address" {
  sandboxed "$NAT_UP"'
    ip netns exec world python3 lab/echo_address.py 203.0.113.2 80 & retry 10 listens 80 world
    [[ $(ip netns exec redis-cache curl -fsS -m 3 http://203.0.113.2/) == 203.0.113.1 ]]
    iptables -t nat -D CNET-POSTROUTING -s 10.0.0.0/16 ! -o br-app -m comment --comment "cnet: br-app: masquerade: outgoing traffic uses the address of the host" -j MASQUERADE
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
    python3 lab/echo_address.py 127.0.0.1 9000 & retry 10 listens 9000
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
    fails_with 1 "port 8080 of the host is in use by python3 (pid $holder); stop it" scripts/nat.sh up
    fails_with 1 "port 8080 of the host is in use" scripts/nat.sh check
    pristine /run/before
    fails_with 1 "in use by python3" bash -c "scripts/lab.sh up 2>&1 >/dev/null | grep nat.sh >&2; exit \${PIPESTATUS[0]}"
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

@test "ports are compared with protocol, address and range, whichever tool made the rule" {
  sandboxed '
    scripts/network.sh up >/dev/null
    nft add table inet mine; nft "add chain inet mine in { type nat hook prerouting priority -100; }"
    by_iptables() { iptables -t nat -A PREROUTING "$@"; }
    by_nft() { nft add rule inet mine in "$@"; }
    forget() { iptables -t nat -F PREROUTING; nft flush chain inet mine in; }
    taken() { "$@"; fails_with 1 "is already forwarded by a rule that is not the lab" scripts/nat.sh check; forget; }
    free() { "$@"; scripts/nat.sh check; forget; }
    taken by_iptables -p tcp --dport 8000:8100 -j REDIRECT --to-ports 3128
    taken by_iptables -p tcp -m multiport --dports 22,8000:8100 -j REDIRECT --to-ports 3128
    taken by_iptables -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 192.0.2.1:80
    free by_iptables -p udp --dport 8080 -j REDIRECT --to-ports 3128
    free by_iptables -d 203.0.113.77 -p tcp --dport 8080 -j DNAT --to-destination 192.0.2.1:80
    free by_iptables -p tcp --dport 8081:8100 -j REDIRECT --to-ports 3128
    taken by_nft tcp dport 8000-8100 redirect to :3128
    taken by_nft dnat ip to tcp dport map "{ 8080 : 192.0.2.1 }"
    free by_nft udp dport 8080 redirect to :3128
    free by_nft ip daddr 203.0.113.77 tcp dport 8080 redirect to :3128
    by_nft tcp dport "{ 22, 8080 }" redirect to :3128
    scripts/doctor.sh check ports >/run/said || :
    grep -A 1 "problem  ports .*nft inet mine in" /run/said
    eval "$(sed -nE "s/.*fix: .sudo ([^\`]*).*/\1/p" /run/said)" # what doctor advises helps
    scripts/nat.sh up >/dev/null; scripts/nat.sh check # the lab'\''s own rules are none of others
  '
  succeeds
}

@test "a table that publishes a port of UDP is proven by UDP" {
  sandboxed '
    sed "s|\(10.0.0.32/16.*\)5000/tcp\t\t*-\t\t*product-service|\15000/tcp,53/udp\t5353:53/udp\t-|" topology/flat.tsv >/run/mine.tsv; grep 5353 /run/mine.tsv
    export TOPOLOGY=/run/mine.tsv
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    scripts/verify.sh network >/run/proof || { cat /run/proof; exit 1; }
    grep -E "from outside: host:5353 -> product-3:53 +from" /run/proof
    iptables -t nat -D CNET-PUBLISH 2; conntrack -F 2>/dev/null # the twin
    refute scripts/verify.sh network >/run/proof; grep "host:5353 does not reach product-3:53" /run/proof
  '
  succeeds
}

@test "without a bridge nat.sh says what to do first" {
  sandboxed 'fails_with 1 "there is no bridge br-app yet; scripts/network.sh up" scripts/nat.sh up'
  succeeds
}

@test "a second up changes nothing, and cuts no open connection" {
  sandboxed '
    security/policy.sh up >/dev/null; scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    nsenter --net=/run/netns/nginx-lb socat TCP-LISTEN:80,reuseaddr,fork EXEC:cat & retry 10 listens 80 nginx-lb
    ip netns exec world bash -c "exec 5<>/dev/tcp/203.0.113.1/8080; read -rt 20 answer <&5" & open=$!
    tracked() { conntrack -L -p tcp --orig-port-dst 8080 2>/dev/null | grep -c ESTABLISHED; }
    retry 5 tracked
    [[ -z $(scripts/nat.sh up) && -z $(security/policy.sh up) ]]
    tracked; kill "$open"
  '
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

@test "what Docker puts into FORWARD when it starts again is not before the lab'\''s hook in DOCKER-USER" {
  sandboxed '
    iptables -N DOCKER-USER; iptables -N DOCKER-FORWARD
    '"$NAT_UP"'
    restart() { iptables -I FORWARD 1 -j DOCKER-FORWARD; iptables -I FORWARD 1 -j DOCKER-USER; }
    behind() { refute scripts/nat.sh status >/run/status; grep -x "behind .* in filter FORWARD comes after a rule that is not the lab.s: $1" /run/status; }
    restart
    scripts/nat.sh status
    scripts/nat.sh up >/run/up; [[ ! -s /run/up ]]
    iptables -I FORWARD 1 -s 192.0.2.7 -j RETURN # the twins: before the jump, and without the hook that it leads to
    behind "-A FORWARD -s 192.0.2.7/32 -j RETURN"
    iptables -D FORWARD 1; iptables -F DOCKER-USER
    behind "-A FORWARD -j DOCKER-FORWARD"
    scripts/nat.sh up >/dev/null; scripts/nat.sh status
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
  sandboxed "$FAR"'
    scripts/network.sh up >/dev/null
    mkdir /run/bin; printf "#!/bin/sh\ncase \"\$*\" in *-qw*) kill -9 \$PPID;; esac; exec /usr/sbin/sysctl \"\$@\"\n" >/run/bin/sysctl; chmod +x /run/bin/sysctl
    PATH="/run/bin:$PATH" scripts/nat.sh up >/dev/null || :
    iptables -S CNET-FORWARD | grep "not-forwarding=uplink"
    scripts/nat.sh up >/dev/null; scripts/nat.sh status; scripts/nat.sh down >/dev/null
    [[ $(forwarding uplink br-app) == "0 0" ]]
  '
  succeeds
}

@test "what was not forwarded before up is not forwarded after it, and down restores each interface" {
  sandboxed "$FAR"'
    for n in 1 2 3; do far $n; done; sysctl -qw net.ipv4.conf.eth1.forwarding=1 net.ipv4.conf.eth2.forwarding=1
    ip -n world route add 192.168.1.0/24 via 203.0.113.1
    host_state >/run/before
    pings far1 192.168.2.2; refute pings far3 192.168.1.2; refute pings world 192.168.1.2
    '"$NAT_UP"'
    [[ $(forwarding all default br-app uplink eth1 eth2 eth3) == "0 0 1 1 1 1 0" ]]
    pings far1 192.168.2.2; refute pings far3 192.168.1.2; refute pings world 192.168.1.2
    ip netns exec world curl -fsS -m 3 http://203.0.113.1:8080/; pings redis-cache 203.0.113.2 # the lab'\''s own traffic passes there
    iptables -D CNET-FORWARD -i uplink -m comment --comment "cnet: uplink did not forward before up: drop its new connections to other interfaces" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
    pings world 192.168.1.2 # the twin: it is that rule
    scripts/nat.sh up >/dev/null; refute pings world 192.168.1.2
    kill %1; wait
    scripts/nat.sh down >/dev/null; scripts/network.sh down >/dev/null
    retry 5 pristine /run/before
  '
  succeeds
}

@test "down cuts nobody off who has switched forwarding on since up" {
  sandboxed "$FAR$NAT_UP"'
    far 7 # as docker0 is, when Docker starts later
    sysctl -qw net.ipv4.ip_forward=1
    iptables -t nat -A POSTROUTING -s 192.168.7.0/24 -j MASQUERADE
    pings far7 203.0.113.2
    scripts/nat.sh up >/dev/null; scripts/nat.sh status; pings far7 203.0.113.2
    scripts/nat.sh down 2>&1 >/dev/null | grep "uplink keeps forwarding, although it did not before up: net.ipv4.ip_forward is 1 now"
    scripts/network.sh down >/dev/null
    [[ $(forwarding all default uplink eth7) == "1 1 1 1" ]]; pings far7 203.0.113.2
    # The same by one interface, whose owner needs the way out, too.
    sysctl -qw net.ipv4.ip_forward=0; scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    sysctl -qw net.ipv4.conf.eth7.forwarding=1 net.ipv4.conf.uplink.forwarding=1
    pings far7 203.0.113.2
    scripts/nat.sh down 2>&1 >/dev/null | grep "keeps forwarding, although it did not before up: eth7 forwards now, and did not before up"
    [[ $(forwarding all uplink eth7 br-app) == "0 1 1 0" ]]; pings far7 203.0.113.2
  '
  succeeds
}

@test "status says in words what is dropped since somebody has made the host a router, and up ends that" {
  sandboxed "$FAR$NAT_UP"'
    far 7; ip -n world route add 192.168.7.0/24 via 203.0.113.1
    for router in "net.ipv4.ip_forward=1 net.ipv4.ip_forward.is.1.now" "net.ipv4.conf.eth7.forwarding=1 eth7.forwards.now,.and.did.not.before.up"; do
      scripts/nat.sh status
      sysctl -qw ${router% *}
      refute pings world 192.168.7.2
      refute scripts/nat.sh status >/run/status
      grep "surplus  uplink drops packets that others route through it: it did not forward before up: ${router#* }; sudo make network" /run/status || { cat /run/status; exit 1; }
      scripts/nat.sh up >/dev/null; scripts/nat.sh status
      pings world 192.168.7.2
      scripts/nat.sh down &>/dev/null; sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.ip_forward=0; scripts/nat.sh up >/dev/null
    done
  '
  succeeds
}

@test "what was before up is known without the rules, and without the file" {
  sandboxed "$FAR"'
    for loss in "nft flush ruleset" "rm -r /run/cnet"; do
      for way in down "up down"; do
        { scripts/network.sh up; scripts/nat.sh up; } >/dev/null
        [[ $(forwarding uplink br-app) == "1 1" ]]
        $loss
        for command in $way; do scripts/nat.sh $command >/dev/null; done
        [[ $(forwarding uplink br-app) == "0 0" && -z $(nft list ruleset) ]]
      done
    done
  '
  succeeds
}

@test "rules that were saved while it was up and are loaded after a boot make down change no setting" {
  sandboxed "$FAR$NAT_UP"'
    security/policy.sh up >/dev/null
    iptables-save >/run/saved
    { scripts/lab.sh down; } &>/dev/null
    for boot in "other 0" "other 1" "same 0" "same 1"; do
      sysctl -qw net.ipv4.ip_forward=${boot#* }; sysctl -qw net.ipv4.conf.uplink.forwarding=1 # its owner wants it so
      iptables-restore </run/saved
      if [[ $boot == other* ]]; then
        # The boot is another one, and somebody made the base chains in it.
        echo 01234567-89ab-cdef-0123-456789abcdef >/run/boot_id; mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
        scripts/network.sh up >/dev/null
      fi
      scripts/lab.sh down &>/dev/null
      umount /proc/sys/kernel/random/boot_id 2>/dev/null || :
      [[ $(forwarding all uplink) == "${boot#* } 1" ]]
      refute grep CNET- <(iptables-save)
    done
  '
  succeeds
}

@test "another way out is named by status, and up moves over to it" {
  sandboxed "$FAR$NAT_UP"'
    far 8; ip route replace default via 192.168.8.2
    refute scripts/nat.sh status >/run/status
    grep "missing  sysctl net/ipv4/conf/eth8/forwarding = 1" /run/status
    scripts/nat.sh up >/dev/null; scripts/nat.sh status
    [[ $(forwarding uplink eth8) == "0 1" ]]; pings redis-cache 192.168.8.2
    scripts/nat.sh down >/dev/null
    [[ $(forwarding uplink eth8 br-app) == "0 0 0" ]]
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
