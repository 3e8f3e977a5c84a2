# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_close_the_port() {
  sysctl -qw "net.ipv4.conf.$PORT.arp_ignore=8" "net.ipv4.conf.$PORT.drop_unicast_in_l2_multicast=1"
}
right_compare_with_the_table() { scripts/network.sh up; }

# Half of it: ARP is closed, and the packet is still accepted.
wrong_close_arp_alone() { sysctl -qw "net.ipv4.conf.$PORT.arp_ignore=8"; }
# FORWARD is for packets that go on; this one is for the host.
wrong_drop_in_forward() { iptables -I FORWARD -i "$PORT" -j DROP; }
