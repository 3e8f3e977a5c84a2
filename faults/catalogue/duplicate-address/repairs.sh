# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_address_there() { ip -n "$PEER_NAMESPACE" addr del "$ADDRESS/32" dev "$PEER_INTERFACE"; }
right_compare_with_the_table() { scripts/network.sh up; }

# The table "local" comes before "main".
wrong_add_a_route_to_it() { ip -n "$PEER_NAMESPACE" route add "$ADDRESS/32" via "$PEER_GATEWAY" dev "$PEER_INTERFACE"; }
wrong_write_its_arp_entry() {
  ip -n "$PEER_NAMESPACE" neigh replace "$ADDRESS" lladdr "$MAC" dev "$PEER_INTERFACE" nud permanent
}
