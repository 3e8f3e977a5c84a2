# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_move_the_port_back_with_its_settings() {
  ip link set "$PORT" master "$BRIDGE"
  ip link set "$PORT" type bridge_slave learning off flood off
  bridge fdb replace "$MAC" dev "$PORT" master static sticky
}
right_compare_with_the_table() { scripts/network.sh up; }

wrong_take_the_gateway_of_the_other_tier() {
  ip -n "$NAMESPACE" route replace default via "$PEER_GATEWAY" dev "$INTERFACE" onlink
}
wrong_flush_the_policy() { flush_policy; }
