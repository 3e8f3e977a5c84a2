# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_bridge_up() { ip link set "$BRIDGE" up; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_set_the_port_up() { ip link set "$PORT" up; }
wrong_restart_the_program() { supervised restart "$NODE"; }
