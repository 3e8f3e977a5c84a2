# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_mtu_of_the_port() { ip link set "$PORT" mtu 1500; }
right_compare_with_the_table() { scripts/network.sh up; }

# Both ends are equal then, and still too small for the others.
wrong_lower_the_other_end_too() { ip -n "$NAMESPACE" link set "$INTERFACE" mtu 1300; }
wrong_flush_the_policy() { flush_policy; }
