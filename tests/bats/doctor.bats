#!/usr/bin/env bats
# `make doctor`: what it finds on a machine (a sandbox, made sick in one way), and that it changes nothing.
# shellcheck disable=SC2016 # what stands in single quotes is for the sandbox's bash

load helpers

setup() { cd "$BATS_TEST_TMPDIR" || exit; }

# In a sandbox of its own; there `doctor` is the script, `fake NAME` puts a program before all others on
# PATH (its text from standard input), and `over FILE` lays standard input over a file of /proc or /etc.
in_sandbox() { # BASH
  sandboxed '
    PATH=/dev/shm/fake:$PATH
    doctor() { scripts/doctor.sh "$@"; }
    fake() { mkdir -p /dev/shm/fake && { echo "#!/bin/bash" && cat; } >/dev/shm/fake/"$1" && chmod +x /dev/shm/fake/"$1"; }
    over() { cat >/run/over"${1//\//-}" && mount --bind /run/over"${1//\//-}" "$1"; }
    writable() { # DIRECTORY: what is changed there is changed in the sandbox alone
      mkdir -p /run/upper"$1" /run/work"$1" && mount -t overlay overlay -o lowerdir="$1",upperdir=/run/upper"$1",workdir=/run/work"$1" "$1"
    }
    refused() { # TEXT: up names it before anything changes
      refute scripts/lab.sh up >/run/said 2>&1
      grep -F -- "lab.sh: $1" /run/said || grep -F -- "$1" <(tail -n 1 /run/said)
      refute ip link show br-app 2>/dev/null
      refute iptables -nL CNET-FORWARD 2>/dev/null
    }
    bridge_address() { scripts/topology.sh dump | awk "\$1 == \"bridge\" { print \$4 }"; }
    '"$1"
}

finds() { # LEVEL CHECK TEXT: one line begins with the first two and holds the third
  grep -qE "^$1 +$2 .*$3" <<<"$output" || { printf 'no line "%s %s ...%s" in:\n%s\n' "$@" "$output" && return 1; }
}

finds_no() { # LEVEL CHECK
  ! grep -E "^$1 +$2 " <<<"$output"
}

fix_is() { # TEXT
  grep -qE "^ +fix: .*$1" <<<"$output" || { printf 'no fix "%s" in:\n%s\n' "$1" "$output" && return 1; }
}

legacy_works() {
  in_sandbox 'iptables-legacy -N PROBE'
  ((status == 0)) || skip_by_kernel "no iptables-legacy: ${lines[-1]:-}"
}

@test "a healthy host has no problem, in at most 25 lines" {
  in_sandbox 'doctor'
  succeeds
  finds_no problem '.*'
  ((${#lines[@]} <= 25))
  finds ok kernel MASQUERADE
  finds ok ports 8080
  finds ok subnets 'no route'
}

@test "a host where the lab is up has no problem either" {
  in_sandbox 'scripts/network.sh up >/dev/null && scripts/nat.sh up >/dev/null && doctor'
  succeeds
  finds_no problem '.*'
  finds ok table 'its lab is up'
}

@test "a held port is named, with the process that holds it" {
  in_sandbox 'python3 -m http.server 8080 &>/dev/null & holder=$!
    held() { [[ -n $(ss -Hnlt "sport = :8080") ]]; }
    retry 5 held
    echo "holder $holder"; doctor'
  ((status == 1))
  finds problem ports "port 8080 of the host is in use by python3 \(pid ${lines[0]#holder }\)"
  fix_is "stop it, or use another port: sed '.*8080:.*8090:.*' topology/flat.tsv >my.tsv && sudo make up TOPOLOGY=my.tsv POLICY=security/flat.tsv"
}

@test "a VPN that routes the lab's network is named" {
  in_sandbox 'ip link add vpn0 type veth peer name vpn1; ip link set vpn0 up
    wide=$(bridge_address); ip route add "${wide%%.*}.0.0.0/8" dev vpn0; doctor check subnets'
  ((status == 1))
  finds problem subnets "overlaps with the host's route [0-9]+.0.0.0/8 by vpn0"
  fix_is "take another network: sed '.*' topology/flat.tsv >my.tsv && sudo make up TOPOLOGY=my.tsv POLICY=security/flat.tsv"
}

@test "Docker's FORWARD DROP and DOCKER-USER are noted as handled" {
  in_sandbox 'iptables -P FORWARD DROP; iptables -N DOCKER-USER; doctor check docker firewall'
  succeeds
  finds note docker 'FORWARD is DROP: handled.*DOCKER-USER'
}

@test "without Docker, FORWARD DROP is noted as handled" {
  in_sandbox 'iptables -P FORWARD DROP; doctor check docker firewall'
  succeeds
  finds note firewall 'FORWARD is DROP: handled'
  finds_no note docker
}

RULES='rules() { iptables -F; iptables -P INPUT ACCEPT; iptables -P OUTPUT ACCEPT; for rule; do iptables $rule; done; }
'

@test "what keeps the host from its nodes is tried, and named with the chain and what cures it; up refuses it before anything changes" {
  in_sandbox "$RULES"'cured() { # TEXT RULE...
      rules "${@:2}"
      ip netns add cnet-outside # a killed proof leaves it behind; it is in nobody'"'"'s way
      host_state >/run/before
      refute scripts/doctor.sh check firewall >/run/found; cat /run/found
      refused "$1"
      uncounted /run/before
      eval "$(sed -n "s/.*fix: //; T; s/sudo //gp" /run/found)"
      doctor check firewall
      ip netns del cnet-outside
    }
    cured "the policy of INPUT is DROP, and drops answers to the host'"'"'s own connections (tried)" "-P INPUT DROP"
    cured "the rule -A INPUT -j REJECT --reject-with icmp-port-unreachable drops answers to" "-A INPUT -m conntrack --ctstate ESTABLISHED -i lo -j ACCEPT" "-A INPUT -j REJECT"
    cured "the rule -A MINE -s 10.0.0.0/8 -j DROP drops answers to" "-N MINE" "-A INPUT -j MINE" "-A MINE -s 10.0.0.0/8 -j DROP"
    cured "the policy of OUTPUT is DROP, and drops what the host sends to br-app (tried)" "-P OUTPUT DROP"
    cured "the rule -A OUTPUT -j REJECT --reject-with icmp-port-unreachable drops what the host sends to br-app (tried)" "-A OUTPUT -j REJECT" "-A INPUT -j REJECT" "-I INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    cured "the host does not reach its test address: a rule of INPUT that no counter shows" "-A INPUT -j NFQUEUE"'
  succeeds
  finds ok firewall 'FORWARD ACCEPT, INPUT ACCEPT, OUTPUT DROP; the host reaches its nodes \(tried\)'
}

@test "a rule that no packet between the host and its nodes meets is no problem, and what cannot be tried is said to be untried" {
  in_sandbox "$RULES"'
    rules "-P INPUT DROP" "-P FORWARD DROP" "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT" "-A FORWARD -i docker0 -j DROP" "-A OUTPUT -d 198.51.100.0/24 -j DROP"
    host_state >/run/before; doctor check firewall; uncounted /run/before
    echo "/usr/sbin/iptables-save \"\$@\"; printf \"*filter\n-A INPUT -m set --match-set none src -j DROP\nCOMMIT\n\"" | fake iptables-save
    doctor check firewall; DRY_RUN=1 scripts/lab.sh up >/run/up 2>&1 || { cat /run/up; exit 1; }'
  succeeds
  finds ok firewall 'FORWARD DROP, INPUT DROP, OUTPUT ACCEPT; the host reaches its nodes \(tried\)'
  finds ok firewall 'FORWARD DROP, INPUT DROP, OUTPUT ACCEPT; whether the host reaches its nodes was not tried: .*iptables-restore'
}

@test "a resolv.conf that is a link to nothing, and an /etc that cannot be written, are refused; loopback alone is noted" {
  in_sandbox 'ln -sfn /nowhere/resolv.conf /etc/resolv.conf; doctor check resolver || status=$?
    refused "/etc/resolv.conf is a link to a file that does not exist, /nowhere/resolv.conf"; exit "${status:-0}"'
  ((status == 1))
  finds problem resolver 'link to a file that does not exist, /nowhere/resolv.conf'
  fix_is 'tee /etc/resolv.conf'
  in_sandbox 'mount -o remount,bind,ro /etc; doctor check resolver || status=$?; refused "/etc cannot be written"; exit "${status:-0}"'
  ((status == 1))
  finds problem resolver '/etc cannot be written'
  in_sandbox 'echo nameserver 127.0.0.53 >/etc/resolv.conf; doctor check resolver'
  succeeds
  finds note resolver 'all resolvers of the host are on loopback'
}

@test "a name of the table that is an alternative name of the host's interface is refused" {
  in_sandbox 'ip link property add dev uplink altname br-app; doctor check subnets || status=$?
    refused "br-app is an alternative name of interface uplink"; exit "${status:-0}"'
  ((status == 1))
  finds problem subnets 'br-app is an alternative name of interface uplink'
  fix_is 'ip link property del dev uplink altname br-app'
}

@test "rules in the other iptables backend are counted" {
  legacy_works
  in_sandbox '[[ $(iptables -V) == *nf_tables* ]]
    iptables-legacy -A FORWARD -j ACCEPT; iptables-legacy -A INPUT -j ACCEPT; doctor check iptables'
  succeeds
  finds note iptables 'iptables-legacy, the other backend, holds 2 rules'
}

@test "FORWARD DROP in the other iptables backend is a problem" {
  legacy_works
  in_sandbox '[[ $(iptables -V) == *nf_tables* ]]; iptables-legacy -P FORWARD DROP; doctor check iptables'
  ((status == 1))
  finds problem iptables 'iptables-legacy, the other backend, has FORWARD set to DROP'
}

@test "where the legacy backend is in use, nft's rules are counted and no legacy table comes into being" {
  legacy_works
  in_sandbox 'for name in iptables iptables-save iptables-restore; do echo "exec ${name/iptables/iptables-legacy} \"\$@\"" | fake $name; done
    iptables-nft -A FORWARD -j ACCEPT
    doctor check iptables firewall docker kernel; cat /proc/net/ip_tables_names; echo end of tables'
  succeeds
  finds ok iptables legacy
  finds note iptables 'iptables-nft, the other backend, holds 1 rule '
  [[ ${lines[-2]} == *problems,* && ${lines[-1]} == 'end of tables' ]]
}

@test "nft's own tables are noted, and a problem when they drop what is forwarded" {
  in_sandbox 'nft add table inet mine; nft "add chain inet mine f { type filter hook forward priority 0; }"
    nft add rule inet mine f counter; doctor check iptables'
  succeeds
  finds note iptables 'inet mine\) hold 1 rule '
  in_sandbox 'nft add table inet mine; nft "add chain inet mine f { type filter hook forward priority 0; policy drop; }"; doctor check iptables'
  ((status == 1))
  finds problem iptables 'nft chain inet mine f drops'
  in_sandbox 'nft add table inet mine; nft "add chain inet mine f { type filter hook forward priority 0; policy drop; }"
    nft insert rule inet mine f iifname br-app accept; nft insert rule inet mine f oifname br-app counter accept; doctor check iptables'
  succeeds
}

@test "firewalld and ufw are noted" {
  in_sandbox 'cp "$(command -v sleep)" /run/firewalld; /run/firewalld 60 & retry 5 pgrep -x firewalld; doctor check firewall'
  finds note firewall 'firewalld is active'
  in_sandbox 'writable /etc
    mkdir -p /etc/ufw; echo ENABLED=yes >/etc/ufw/ufw.conf; echo DEFAULT_FORWARD_POLICY=\"DROP\" >/etc/default/ufw; doctor check firewall'
  succeeds
  finds note firewall 'ufw is active, DEFAULT_FORWARD_POLICY="DROP"'
}

@test "a missing tool is named with its package in Debian, Fedora and Arch" {
  in_sandbox 'writable /usr; rm /usr/*bin/{fping,conntrack} 2>/dev/null || :; doctor check tools'
  finds '(note|problem)' tools 'missing: conntrack, fping'
  fix_is 'apt-get install conntrack fping \(Fedora: conntrack-tools fping; Arch: conntrack-tools fping\)'
}

@test "a tool that is too old is a problem" {
  in_sandbox 'echo "echo fping: Version 3.2" | fake fping; doctor check tools'
  ((status == 1))
  finds problem tools 'fping is 3.2; at least 4.0'
  in_sandbox 'echo "echo fping: Version 10.2" | fake fping; doctor check tools'
  succeeds
}

@test "a kernel without a feature is told which, by trying" {
  in_sandbox 'echo "[[ \$* != *MASQUERADE* && \$* != *hashlimit* ]] || { echo No such target >&2; exit 1; }; exec /usr/sbin/iptables \"\$@\"" | fake iptables
    doctor check kernel'
  ((status == 1))
  finds problem kernel 'no MASQUERADE \(No such target\)'
  finds note kernel 'no hashlimit'
  fix_is 'modprobe xt_MASQUERADE, or a kernel with CONFIG_NETFILTER_XT_TARGET_MASQUERADE'
  finds_no ok kernel
}

@test "a small MTU on the way out is noted, and no way out" {
  in_sandbox 'ip link set uplink mtu 1420; doctor check uplink'
  succeeds
  finds note uplink 'uplink, MTU 1420; nodes have 1500'
  fix_is clamp-mss-to-pmtu
  in_sandbox 'ip route del default; doctor check uplink'
  finds note uplink 'no default route'
}

@test "strict rp_filter is named, and is a note where there are two ways out" {
  in_sandbox 'sysctl -qw net.ipv4.conf.all.rp_filter=1; doctor check forwarding'
  succeeds
  finds ok forwarding 'strict on uplink'
  in_sandbox 'sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.uplink.rp_filter=2; doctor check forwarding'
  finds ok forwarding 'rp_filter is not strict'
  in_sandbox 'sysctl -qw net.ipv4.conf.all.rp_filter=1; ip link add two type veth peer name three; ip link set two up
    ip route add default dev two metric 9; doctor check forwarding'
  finds note forwarding 'several default routes'
}

@test "an interface that the lab needs and that does not forward is a note, and so is one by which no client comes in" {
  in_sandbox 'doctor check forwarding; scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null; doctor check forwarding
    echo stopped; sysctl -qw net.ipv4.conf.br-app.forwarding=0; doctor check forwarding
    echo closed; scripts/nat.sh up >/dev/null; ip link add two type veth peer name other; ip addr add 192.0.2.1/24 dev two; ip link set two up
    doctor check forwarding
    echo dotted; ip link set other name eth0.100; ip addr add 198.51.100.1/24 dev eth0.100; ip link set eth0.100 up
    sysctl -qw net.ipv4.conf.two.forwarding=1; doctor check forwarding; sysctl -qw net/ipv4/conf/eth0.100/forwarding=1
    doctor check forwarding'
  succeeds
  [[ ${output#*dotted} == *"sudo sysctl -w net/ipv4/conf/eth0.100/forwarding=1"*"ok "* && ${output##*eth0.100} != *"note "* ]]
  finds ok forwarding 'ip_forward is 0 and stays 0'
  [[ ${output%%stopped*} != *"note "* ]]
  finds note forwarding 'packets that enter by br-app are not forwarded'
  finds note forwarding 'clients on two do not reach published ports'
}

@test "a read-only /proc/sys is a problem" {
  in_sandbox 'mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; doctor check forwarding'
  ((status == 1))
  finds problem forwarding '/proc/sys is read-only'
}

@test "IPv6 on and off are told apart" {
  in_sandbox 'doctor check ipv6'
  finds ok ipv6 'on;'
  in_sandbox 'sysctl -qw net.ipv6.conf.all.disable_ipv6=1; doctor check ipv6'
  finds ok ipv6 'off;'
}

@test "br_netfilter for every bridge is noted, for none is not" {
  in_sandbox '[[ -e /proc/sys/net/bridge ]] || exit 77; sysctl -qw net.bridge.bridge-nf-call-iptables=1; doctor check bridging'
  ((status != 77)) || skip_by_kernel "br_netfilter is not loaded"
  finds note bridging 'frames of all bridges'
  in_sandbox 'sysctl -qw net.bridge.bridge-nf-call-iptables=0; doctor check bridging'
  finds ok bridging 'available and off'
}

@test "not root is named, with what the sandbox wants, and what was left out" {
  in_sandbox 'for file in subuid subgid; do echo | over /etc/$file; done
    setpriv --reuid=65534 --regid=65534 --clear-groups scripts/doctor.sh'
  ((status == 1))
  finds problem privileges 'not root, and no sandbox either'
  fix_is 'sudo usermod --add-subuids'
  finds note skipped 'without root: .*ports'
}

@test "not root is a note where the sandbox needs none" {
  in_sandbox 'setpriv --reuid=65534 --regid=65534 --clear-groups unshare --user --map-root-user --net true'
  ((status == 0)) || skip_by_kernel "users may make no namespaces: $output"
  in_sandbox 'for file in subuid subgid; do echo nobody:100000:65536 | over /etc/$file; done
    setpriv --reuid=65534 --regid=65534 --clear-groups scripts/doctor.sh check privileges'
  succeeds
  finds note privileges 'not root: .up. needs it, the sandbox does not'
}

@test "root without a capability is a problem" {
  in_sandbox 'setpriv --bounding-set -net_admin scripts/doctor.sh check privileges'
  ((status == 1))
  finds problem privileges 'without CAP_NET_ADMIN'
}

@test "WSL2 is noted, WSL1 is a problem" {
  in_sandbox 'echo 5.15.167.4-microsoft-standard-WSL2 | over /proc/sys/kernel/osrelease; doctor check machine'
  succeeds
  finds note machine 'WSL2: published ports'
  in_sandbox 'echo 4.4.0-19041-Microsoft | over /proc/sys/kernel/osrelease; doctor check machine'
  ((status == 1))
  finds problem machine WSL1
}

@test "a clock behind the checkout's files is noted" {
  cp -r "$ROOT/scripts" "$ROOT/lab" "$ROOT/topology" .
  touch -d '+2 days' topology/flat.tsv
  run scripts/doctor.sh check machine
  finds note machine 'the clock is at'
  touch topology/flat.tsv
  run scripts/doctor.sh check machine
  [[ $output != *'the clock is at'* ]]
}

@test "too little disk is a problem, and up refuses it" {
  in_sandbox 'mount -t tmpfs -o size=10m tmpfs /var/opt; doctor check space || status=$?; refused "10 MB free for"; exit "${status:-0}"'
  ((status == 1))
  finds problem space '10 MB free.*too little disk'
}

@test "little disk is no problem where no database is to be made, and what needs no program asks for no disk and no resolv.conf" {
  in_sandbox 'mount -t tmpfs -o size=10m tmpfs /var/opt; unlink /etc/resolv.conf
    scripts/lab.sh network >/run/up 2>&1 || { cat /run/up; exit 1; }
    scripts/lab.sh policies >/run/up 2>&1 || { cat /run/up; exit 1; }
    fails_with 1 "10 MB free for" bash -c "scripts/lab.sh services 2>&1 >/dev/null | grep lab.sh >&2; exit \${PIPESTATUS[0]}"
    echo nameserver 192.0.2.1 >/etc/resolv.conf
    mkdir -p /var/opt/cnet/nodes/postgres-db/15.new # which was not made wholly
    refute scripts/doctor.sh check space
    mkdir /var/opt/cnet/nodes/postgres-db/15; touch /var/opt/cnet/nodes/postgres-db/15/PG_VERSION # made before the disk was full
    doctor check space; DRY_RUN=1 scripts/lab.sh up >/run/up 2>&1 || { cat /run/up; exit 1; }
    rm -r /var/opt/cnet; scripts/topology.sh dump | grep -v postgres >/run/mine.tsv; TOPOLOGY=/run/mine.tsv doctor check space'
  succeeds
}

@test "network managers that would take the lab's interfaces are noted" {
  in_sandbox 'for name in NetworkManager systemd-networkd; do cp "$(command -v sleep)" /run/$name; /run/$name 60 & done
    retry 5 pgrep -x NetworkManager
    retry 5 pgrep -x systemd-network
    mkdir -p /run/systemd/network; printf "[Match]\nName=en* veth*\n[Network]\nDHCP=yes\n" >/run/systemd/network/all.network
    doctor check managers'
  succeeds
  finds note managers 'NetworkManager is running'
  fix_is 'unmanaged-devices=interface-name:br-app;'
  finds note managers '/run/systemd/network/all.network matches'
  in_sandbox 'doctor check managers'
  finds_no note managers
}

@test "a private mount namespace and stale names are noted" {
  in_sandbox 'unshare --mount scripts/doctor.sh check namespaces'
  finds note namespaces 'its own mount namespace'
  in_sandbox 'touch /run/netns/left; doctor check namespaces'
  finds note namespaces 'without a namespace: left'
  finds_no note 'namespaces +this shell'
}

@test "a small connection tracking table is noted" {
  in_sandbox '[[ -e /proc/sys/net/netfilter/nf_conntrack_max ]] || exit 77; echo 4096 | over /proc/sys/net/netfilter/nf_conntrack_max; doctor check limits'
  ((status != 77)) || skip_by_kernel "connection tracking is not loaded"
  succeeds
  finds note limits 'at most 4096'
}

wide_table() { # NODES, all on one bridge
  awk -v nodes="$1" 'BEGIN { OFS = "\t"; print "kind", "name", "namespace", "address", "interface", "bridge_interface", "bridge", "listens", "publishes", "runs"
    print "bridge", "wide", "-", "10.255.0.1/8", "-", "-", "-", "-", "-", "-"
    for (i = 0; i < nodes; i++) print "node", "n" i, "n" i, "10." int(i / 250) ".0." i % 250 + 1 "/8", "e" i, "p" i, "wide", "-", "-", "-" }'
}

@test "more nodes on a bridge than it has ports are a problem" {
  wide_table 1024 >wide.tsv
  TOPOLOGY=$PWD/wide.tsv in_sandbox 'doctor check subnets || status=$?; refused "would have 1024 ports"; exit "${status:-0}"'
  ((status == 1))
  finds problem subnets 'bridge wide would have 1024 ports, the kernel allows 1023'
  wide_table 1023 >wide.tsv
  TOPOLOGY=$PWD/wide.tsv in_sandbox 'doctor check subnets limits'
  succeeds
}

@test "more neighbours than the kernel keeps are noted" {
  local most # a sandbox does not see it; outside, the doctor only looks
  most=$(cat /proc/sys/net/ipv4/neigh/default/gc_thresh3) || skip_by_kernel "it does not show gc_thresh3"
  ((most < 1000000)) || skip_by_kernel "it keeps $most neighbours"
  wide_table 1001 >wide.tsv
  TOPOLOGY=$PWD/wide.tsv run "$ROOT/scripts/doctor.sh" check limits
  succeeds
  finds note limits "1001 nodes needs 1002001 neighbour entries; the kernel keeps at most $most"
}

@test "a lab from another table is noted" {
  cp "$ROOT/topology/flat.tsv" other.tsv
  OTHER=$PWD/other.tsv in_sandbox 'scripts/network.sh up >/dev/null; TOPOLOGY=$OTHER doctor check table'
  succeeds
  finds note table "a lab made from $ROOT/topology/flat.tsv is up: .* $PWD/other.tsv"
}

@test "a malformed table is one problem, and what needs it is left out" {
  printf 'kind\tname\n' >bad.tsv
  TOPOLOGY=$PWD/bad.tsv in_sandbox 'doctor check table ports subnets'
  ((status == 1))
  finds problem table "bad.tsv:1: namespace: the column is missing"
  finds note skipped 'without a valid table: ports, subnets'
  finds_no problem '(ports|subnets)'
}

@test "--json is JSON, with the same findings and exit status" {
  cp "$ROOT/topology/flat.tsv" 'a "quoted\table.tsv'
  TOPOLOGY=$PWD/'a "quoted\table.tsv' in_sandbox 'ip link set uplink mtu 1400; iptables -P INPUT DROP
    set -- firewall docker forwarding uplink table subnets ports tools
    doctor check "$@" >/run/text || text=$?
    doctor check --json "$@" >/run/json || json=$?
    jq -e . /run/json >/dev/null
    echo "${text:-0} ${json:-0}"
    diff <(sed "\$d; s/^  *fix: /fix /; t; s/^\([a-z]*\) *\([a-z]*\) */\1 \2 /" /run/text) \
      <(jq -r ".findings[] | \"\(.level) \(.check) \(.finding)\", (select(.fix) | \"fix \(.fix)\")" /run/json)
    jq -e "(.problems == ([.findings[] | select(.level == \"problem\")] | length)) and .notes > 0" /run/json'
  [[ ${lines[0]} == '1 1' ]]
  succeeds
  in_sandbox 'doctor --json | jq -e ".problems == 0 and (.findings | length > 10)"'
  succeeds
}

@test "a check that hangs is ended and named, one that breaks too; the others go on" {
  in_sandbox 'echo "exec sleep 60" | fake nft; echo "echo broken >&2; exit 3" | fake df
    DOCTOR_TIMEOUT_SECONDS=2 doctor check iptables space ipv6; ! pgrep -x sleep'
  succeeds
  finds note iptables 'no answer within 2 s'
  finds note space 'the check failed: broken'
  finds ok ipv6 ''
}

@test "it changes nothing, on an empty host and under a lab" {
  in_sandbox '
    settled() { [[ -z $(ip -o -6 addr show tentative) ]]; } # what IPv6 does by itself
    state() { # without counters: the kernel itself sends IGMP when a bridge is new
      host_state 2>&1 | sed "s/counter packets [0-9]* bytes [0-9]*//"
      find /run /var/opt /etc -printf "%p %s %T@\n"
    }
    doctor_leaves_all() {
      retry 5 settled
      state >/dev/shm/before
      doctor >/dev/null
      doctor --json >/dev/null
      state >/dev/shm/after
      diff /dev/shm/before /dev/shm/after
    }
    doctor_leaves_all
    scripts/network.sh up >/dev/null
    scripts/nat.sh up >/dev/null
    doctor_leaves_all
    wc -l </dev/shm/before'
  succeeds
  ((lines[-1] > 200))
}

@test "bad usage exits with 2; help lists each check" {
  for words in nonsense 'check nonsense' 'check --nonsense'; do
    # shellcheck disable=SC2086 # words
    run "$ROOT/scripts/doctor.sh" $words
    ((status == 2))
  done
  run "$ROOT/scripts/doctor.sh" help
  succeeds
  listed=$(grep -oE '^  [a-z0-9]+ ' <<<"$output" | tr -d ' ' | grep -vxE 'ok|note|problem' | sort)
  [[ $listed == "$(cat "$ROOT"/scripts/doctor/*.sh | sed -nE 's/^check_([a-z0-9]+)\(\).*/\1/p' | sort)" ]]
}
