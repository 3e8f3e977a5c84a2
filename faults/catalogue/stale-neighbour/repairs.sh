# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_entry() { ip -n "$PEER_NAMESPACE" neigh del "$ADDRESS" dev "$PEER_INTERFACE"; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_flush_the_neighbours() { ip -n "$PEER_NAMESPACE" neigh flush all; } # all but permanent ones
wrong_give_the_node_that_mac() { ip -n "$NAMESPACE" link set "$INTERFACE" address "$FREE_MAC"; }
