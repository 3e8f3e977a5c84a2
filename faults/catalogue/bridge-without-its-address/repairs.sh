# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_add_the_address() { ip addr add "$BRIDGE_CIDR" brd + dev "$BRIDGE"; }
right_compare_with_the_table() { scripts/network.sh up; }

# With /32 the host is reached, and has no route back to anybody.
wrong_add_the_address_alone() { ip addr add "$GATEWAY/32" dev "$BRIDGE"; }
wrong_set_the_mac_of_the_gateway() { ip -n "$NAMESPACE" neigh replace "$GATEWAY" lladdr "$FREE_MAC" dev "$INTERFACE"; }
