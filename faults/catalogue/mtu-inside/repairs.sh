# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_mtu_of_the_interface() { ip -n "$NAMESPACE" link set "$INTERFACE" mtu 1500; }
right_compare_with_the_table() { scripts/network.sh up; }

# Both ends are equal then, and too small for the others.
wrong_lower_the_port_too() { ip link set "$PORT" mtu 1300; }
wrong_raise_the_port() { ip link set "$PORT" mtu 9000; }
