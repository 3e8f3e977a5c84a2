# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_qdisc() { tc qdisc del dev "$PORT" root; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_raise_the_mtu() { ip link set "$PORT" mtu 9000; }
# TCP then sends segments of 1240 bytes to the node; the queue still takes 1000.
wrong_lower_the_mtu_of_the_node() { ip -n "$NAMESPACE" link set "$INTERFACE" mtu 1280; }
