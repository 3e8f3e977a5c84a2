# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_link_up_and_add_the_route() {
  ip -n "$NAMESPACE" link set "$INTERFACE" up
  ip -n "$NAMESPACE" route add default via "$GATEWAY"
}
right_compare_with_the_table() { scripts/network.sh up; }

# The connected route comes with the link, the default route does not.
wrong_only_set_the_link_up() { ip -n "$NAMESPACE" link set "$INTERFACE" up; }
wrong_restart_the_program() { supervised restart "$NODE"; }
wrong_set_the_other_end_down_and_up() { ip link set "$PORT" down && ip link set "$PORT" up; }
