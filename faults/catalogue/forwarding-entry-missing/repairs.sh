# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_add_the_entry() { bridge fdb replace "$MAC" dev "$PORT" master static sticky; }
right_compare_with_the_table() { scripts/network.sh up; }

# ARP was right all the time.
wrong_set_its_mac_on_the_host() { ip neigh replace "$ADDRESS" lladdr "$MAC" dev "$BRIDGE" nud permanent; }
wrong_set_the_port_down_and_up() {
  ip link set "$PORT" down
  ip link set "$PORT" up
  ip -n "$NAMESPACE" route replace default via "$GATEWAY"
}
