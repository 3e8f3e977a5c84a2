# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_move_it_back_and_configure_it() {
  ip -n "$PEER_NAMESPACE" link set "$INTERFACE" netns "$NAMESPACE"
  scripts/network.sh up
}
right_make_a_new_pair_from_the_table() { scripts/network.sh up; }

# The link works there; the program is here.
wrong_configure_it_where_it_is() {
  ip -n "$PEER_NAMESPACE" addr add "$CIDR" dev "$INTERFACE"
  ip -n "$PEER_NAMESPACE" link set "$INTERFACE" up
}
wrong_restart_the_program() { supervised restart "$NODE"; }
