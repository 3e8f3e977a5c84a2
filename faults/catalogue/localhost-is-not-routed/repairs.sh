# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_let_the_bridge_route_localnet() { sysctl -qw "net.ipv4.conf.$BRIDGE.route_localnet=1"; }
right_load_nat_and_forwarding() { scripts/nat.sh up; }

# The same translation once more, with the same end.
wrong_forward_the_port_again() {
  iptables -t nat -I OUTPUT -p tcp -d 127.0.0.1 --dport "$PUBLISHED" -j DNAT --to-destination "$ADDRESS:$LISTENS"
}
wrong_restart_the_program() { supervised restart "$NODE"; }
