# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_switch_arp_on() { ip -n "$NAMESPACE" link set "$INTERFACE" arp on; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_forget_the_neighbours() { ip -n "$NAMESPACE" neigh flush all; }
wrong_restart_the_program() { supervised restart "$NODE"; }
