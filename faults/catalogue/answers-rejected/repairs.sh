# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() {
  iptables -D FORWARD -s "$PEER_ADDRESS" -d "$ADDRESS" -p tcp --sport "$PEER_LISTENS" -j REJECT
}
right_load_the_chain_again() {
  iptables -F FORWARD
  scripts/nat.sh up
}

# This is the direction that passes already.
wrong_accept_in_forward() { iptables -I FORWARD 1 -s "$ADDRESS" -d "$PEER_ADDRESS" -j ACCEPT; }
# Table security comes after table filter; and $PEER_NODE may send anything then.
wrong_allow_answers_in_the_policy() { iptables -t security -I CNET-FROM-NODES 1 -s "$PEER_ADDRESS" -j RETURN; }
