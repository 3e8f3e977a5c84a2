# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_let_the_bridge_forward() { sysctl -qw "net.ipv4.conf.$BRIDGE.forwarding=1"; }
right_load_nat_and_forwarding() { scripts/nat.sh up; }

wrong_masquerade_by_hand() { iptables -t nat -A POSTROUTING -s "$NETWORK" -j MASQUERADE; }
wrong_accept_in_forward() { iptables -I FORWARD -i "$BRIDGE" -j ACCEPT; }
