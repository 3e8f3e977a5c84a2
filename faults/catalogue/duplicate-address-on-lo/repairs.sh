# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_address_of_lo() { ip -n "$PEER_NAMESPACE" addr del "$ADDRESS/32" dev lo; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_hard_code_the_name() { hard_code product-service.lab "$PEER_ADDRESS"; }
wrong_add_a_route_to_it() { ip -n "$PEER_NAMESPACE" route add "$ADDRESS/32" via "$PEER_GATEWAY" dev "$PEER_INTERFACE"; }
