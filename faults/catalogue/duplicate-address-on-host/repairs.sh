# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_address_of_the_bridge() { ip addr del "$ADDRESS/32" dev "$BRIDGE"; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_write_its_arp_entry() { ip neigh replace "$ADDRESS" lladdr "$MAC" dev "$BRIDGE" nud permanent; }
wrong_restart_the_program() { supervised restart "$NODE"; }
