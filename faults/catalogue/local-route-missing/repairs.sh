# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_add_the_local_route() {
  # With the source that the kernel gives it: the interface's first address.
  first=$(ip -n "$NAMESPACE" -4 -br addr show dev "$INTERFACE" | awk '{ print $3 }')
  ip -n "$NAMESPACE" route add local "$ADDRESS" dev "$INTERFACE" table local proto kernel scope host src "${first%/*}"
}
right_compare_with_the_table() { scripts/network.sh up; }

# The frame arrives then, and the kernel does not take the packet for its own.
wrong_set_its_mac_on_the_host() { ip neigh replace "$ADDRESS" lladdr "$MAC" dev "$BRIDGE" nud permanent; }
wrong_set_the_default_route_again() { ip -n "$NAMESPACE" route replace default via "$GATEWAY"; }
