# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_let_the_port_send_back() { bridge link set dev "$PORT" hairpin on; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_flood_to_the_port() { bridge link set dev "$PORT" flood on; }
wrong_restart_the_program() { supervised restart "$NODE"; }
