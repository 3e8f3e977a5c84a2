# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() { iptables -D FORWARD -s "$ADDRESS" -d "$PEER_ADDRESS" -j DROP; }
right_load_the_chain_again() {
  iptables -F FORWARD
  scripts/nat.sh up
}

# The first rule that matches decides.
wrong_accept_behind_it() { iptables -A FORWARD -s "$ADDRESS" -d "$PEER_ADDRESS" -j ACCEPT; }
# Table security never sees the packet; all ports are open later.
wrong_allow_it_in_the_policy() { iptables -t security -I "CNET-TO-$PEER_ADDRESS" 1 -s "$ADDRESS" -j RETURN; }
