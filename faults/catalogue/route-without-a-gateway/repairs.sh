# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_route() { ip -n "$NAMESPACE" route del "$PEER_NETWORK" dev "$INTERFACE"; }
right_compare_with_the_table() { scripts/network.sh up; }

# The frame leaves, for a MAC that no port of this bridge leads to.
wrong_set_the_mac_of_the_peer() {
  ip -n "$NAMESPACE" neigh replace "$PEER_ADDRESS" lladdr "$PEER_MAC" dev "$INTERFACE" nud permanent
}
# It stands behind the route that is there.
wrong_append_a_route_by_the_gateway() { ip -n "$NAMESPACE" route append "$PEER_NETWORK" via "$GATEWAY"; }
