# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_let_the_uplink_forward() { sysctl -qw "net.ipv4.conf.$UPLINK.forwarding=1"; }
right_load_nat_and_forwarding() { scripts/nat.sh up; }

wrong_accept_in_forward() { iptables -I FORWARD -i "$UPLINK" -j ACCEPT; }
wrong_masquerade_by_hand() { iptables -t nat -I POSTROUTING -o "$UPLINK" -j MASQUERADE; }
