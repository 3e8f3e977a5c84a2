# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_make_it_a_port_again() {
  ip link set "$PORT" master "$BRIDGE"
  ip link set "$PORT" type bridge_slave learning off flood off
  bridge fdb replace "$MAC" dev "$PORT" master static sticky
}
right_compare_with_the_table() { scripts/network.sh up; }

wrong_restart_the_program() { supervised restart "$NODE"; }
wrong_answer_arp_for_others() { sysctl -qw "net.ipv4.conf.$PORT.proxy_arp=1"; }
