# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_entry() { ip -n "$NAMESPACE" neigh del "$GATEWAY" dev "$INTERFACE"; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_flush_the_neighbours() { ip -n "$NAMESPACE" neigh flush all; } # all but permanent ones
wrong_set_the_default_route_again() {
  ip -n "$NAMESPACE" route replace default via "$GATEWAY" dev "$INTERFACE"
}
