# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() { ebtables -D FORWARD -p ARP --arp-ip-src "$ADDRESS" -j DROP; }
right_flush_the_chain() { ebtables -F FORWARD; }

# One of the neighbours knows it then.
wrong_enter_the_neighbour_by_hand() {
  ip -n "$PEER_NAMESPACE" neigh replace "$ADDRESS" lladdr "$MAC" dev "$PEER_INTERFACE" nud permanent
}
wrong_accept_behind_it() { ebtables -A FORWARD -p ARP -j ACCEPT; }
