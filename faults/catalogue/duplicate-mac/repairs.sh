# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_give_it_its_own_mac() { ip -n "$NAMESPACE" link set "$INTERFACE" address "$MAC"; }
right_compare_with_the_table() { scripts/network.sh up && scripts/services.sh up; }

# Different, and both wrong.
wrong_give_the_other_one_a_new_mac() { ip -n "$PEER_NAMESPACE" link set "$PEER_INTERFACE" address "$FREE_MAC"; }
wrong_change_both() {
  ip -n "$PEER_NAMESPACE" link set "$PEER_INTERFACE" address "$MAC"
}
