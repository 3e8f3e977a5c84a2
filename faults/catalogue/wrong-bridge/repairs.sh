# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_move_the_port_back_with_its_settings() {
  ip link del br-spare # first: it is no link of the table, and stays if a command before it fails
  ip link set "$PORT" master "$BRIDGE"
  ip link set "$PORT" type bridge_slave learning off flood off
  bridge fdb replace "$MAC" dev "$PORT" master static sticky
}
right_compare_with_the_table() { scripts/network.sh up; }

# The ports of br-spare do not know the gateway's neighbours.
wrong_set_both_ends_down_and_up() {
  ip link set "$PORT" down && ip link set "$PORT" up
}
wrong_delete_the_other_bridge() { ip link del br-spare; } # the port is then of no bridge
