# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_lo_up() { ip -n "$NAMESPACE" link set lo up; }
right_compare_with_the_table() { scripts/network.sh up; }

# The table "local" comes first.
wrong_add_a_route_to_itself() { ip -n "$NAMESPACE" route add "$ADDRESS/32" dev "$INTERFACE"; }
wrong_restart_the_program() { supervised restart "$NODE"; }
