# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_add_the_right_prefix() {
  ip -n "$NAMESPACE" addr del "$ADDRESS/12" dev "$INTERFACE"
  ip -n "$NAMESPACE" addr add "$CIDR" brd + dev "$INTERFACE"
}
right_compare_with_the_table() { scripts/network.sh up; }

# The database again, and not the way in.
wrong_add_a_route_to_one_tier() { ip -n "$NAMESPACE" route add "$PEER_NETWORK" via "$GATEWAY"; }
wrong_add_the_right_address_too() { ip -n "$NAMESPACE" addr add "$CIDR" dev "$INTERFACE"; }
