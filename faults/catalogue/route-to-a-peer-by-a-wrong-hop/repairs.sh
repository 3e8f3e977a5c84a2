# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_route() { ip -n "$NAMESPACE" route del "$PEER_ADDRESS" via "$FREE_ADDRESS"; }
right_compare_with_the_table() { scripts/network.sh up; }

# Of two routes with the same metric the first is used.
wrong_append_a_route_by_the_gateway() { ip -n "$NAMESPACE" route append "$PEER_ADDRESS" via "$GATEWAY"; }
wrong_set_the_mac_of_the_hop() { ip -n "$NAMESPACE" neigh replace "$FREE_ADDRESS" lladdr "$FREE_MAC" dev "$INTERFACE"; }
