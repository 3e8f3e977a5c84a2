# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_port_up() { ip link set "$PORT" up; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_set_the_inner_end_down_and_up() {
  ip -n "$NAMESPACE" link set "$INTERFACE" down
  ip -n "$NAMESPACE" link set "$INTERFACE" up
  ip -n "$NAMESPACE" route replace default via "$GATEWAY"
}
wrong_restart_the_program() { supervised restart "$NODE"; }
