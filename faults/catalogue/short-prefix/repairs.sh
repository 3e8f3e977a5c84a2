# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_add_the_right_prefix_and_the_route() {
  ip -n "$NAMESPACE" addr del "$ADDRESS/30" dev "$INTERFACE"
  ip -n "$NAMESPACE" addr add "$CIDR" brd + dev "$INTERFACE"
  ip -n "$NAMESPACE" route add default via "$GATEWAY"
}
right_compare_with_the_table() { scripts/network.sh up; }

wrong_flush_the_policy() { flush_policy; }
wrong_add_a_route_to_one_neighbour() { ip -n "$NAMESPACE" route add "$PEER_ADDRESS/32" dev "$INTERFACE"; }
