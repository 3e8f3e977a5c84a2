# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_add_the_local_route() {
  ip -n "$NAMESPACE" route add local "$ADDRESS" dev "$INTERFACE" table local proto kernel scope host src "$ADDRESS"
}
right_compare_with_the_table() { scripts/network.sh up; }

# The frame arrives then, and the kernel does not take the packet for its own.
wrong_set_its_mac_on_the_host() { ip neigh replace "$ADDRESS" lladdr "$MAC" dev "$BRIDGE" nud permanent; }
wrong_set_the_default_route_again() { ip -n "$NAMESPACE" route replace default via "$GATEWAY"; }
