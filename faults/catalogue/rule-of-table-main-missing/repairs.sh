# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_add_the_rule() { ip -n "$NAMESPACE" rule add priority 32766 lookup main; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_restart_the_program() { supervised restart "$NODE"; }
# Table default is empty.
wrong_look_into_another_table() { ip -n "$NAMESPACE" rule add priority 32765 lookup default; }
