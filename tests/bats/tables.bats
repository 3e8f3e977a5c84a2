#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Small and odd tables that are legal: `up` finishes them, with its proof; what can never get ready is refused before anything changes.

load helpers

# Texts for a sandbox: tables in /run, a row an argument, its columns separated by blanks.
TABLES='topology() { printf "%s\n" "kind name namespace address interface bridge_interface bridge listens publishes runs" "$@" | tr " " "\t" >/run/t.tsv; }
policy() { printf "%s\n" "id from to protocol port rate verdict reason" "operator host any any - - accept r" "ping any any icmp - - accept r" "$@" | tr " " "\t" >/run/p.tsv; }
export TOPOLOGY=/run/t.tsv POLICY=/run/p.tsv
up() { scripts/lab.sh up >/run/up 2>&1 || { cat /run/up; exit 1; }; scripts/lab.sh status >/dev/null; }
state() { { ip netns list; ip link; iptables-save; sysctl net.ipv4.ip_forward; } 2>&1 | grep -v "^#"; }
'

@test "a table without a node, and one with a single node and a policy that keeps DNS from it" {
  sandboxed "$TABLES"'
    topology "bridge br-a - 10.71.0.1/24 - - - - - -"
    (unset POLICY; up)
    scripts/lab.sh down >/dev/null
    topology "bridge br-a - 10.71.0.1/24 - - - - - -" "node one one 10.71.0.2/24 eth0 v1 br-a 80/tcp 8080:80/tcp -"
    policy "in any one tcp 80 - accept r"
    echo nameserver 192.0.2.53 >/run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf # nobody answers there
    up
    grep "1 of 1 pings answered" /run/up
  '
  succeeds
}

@test "a full /30 beside another bridge, and a policy that opens port 53 of the host to everybody" {
  sandboxed "$TABLES"'
    topology "bridge br-a - 10.71.0.1/30 - - - - - -" "bridge br-b - 10.72.0.1/24 - - - - - -" \
      "node one one 10.71.0.2/30 eth0 v1 br-a 80/tcp - -" "node two two 10.72.0.2/24 eth0 v2 br-b 80/tcp - -" "node three three 10.72.0.3/24 eth0 v3 br-b 80/tcp - -"
    policy "in br-a br-b tcp 80 - accept r" "names br-a,br-b host udp 53 - accept r"
    up
    grep "differences: 0" /run/up
  '
  succeeds
}

@test "a registry alone, under another name and port" {
  sandboxed "$TABLES"'
    topology "bridge br-a - 10.71.0.1/24 - - - - - -" "node yellow_pages pages 10.71.0.2/24 eth0 v1 br-a 8600/tcp,53/tcp,53/udp - service-registry" \
      "node idle idle 10.71.0.3/24 eth0 v2 br-a - - -"
    policy "names br-a yellow_pages tcp,udp 53 - accept r"
    SHOW=1 up
    grep -E "ok +idle +yellow-pages.lab is 10.71.0.2" /run/up
  '
  succeeds
}

@test "a program whose upstream no node runs is refused by line and column, before anything changes" {
  sandboxed "$TABLES"'
    topology "bridge br-a - 10.71.0.1/24 - - - - - -" "node way way 10.71.0.2/24 eth0 v1 br-a 80/tcp - nginx"
    unset POLICY
    before=$(state)
    refute scripts/lab.sh up >/run/up 2>&1
    cat /run/up
    diff <(echo "$before") <(state)
  '
  succeeds
  says "/run/t.tsv:3: runs: nginx needs api-gateway, which no node runs"
}
