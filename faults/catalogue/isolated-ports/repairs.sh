# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_end_the_isolation() {
  bridge link set dev "$PORT" isolated off
  bridge link set dev "$PEER_PORT" isolated off
}
right_compare_with_the_table() { scripts/network.sh up; }

wrong_flood_the_ports() {
  bridge link set dev "$PORT" flood on
  bridge link set dev "$PEER_PORT" flood on
}
# The host may send to both; the replies go directly, from isolated port to isolated port.
wrong_send_by_the_host() { ip -n "$NAMESPACE" route add "$PEER_ADDRESS" via "$GATEWAY"; }
