# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() { iptables -t raw -D PREROUTING -s "$ADDRESS" -d "$PEER_ADDRESS" -p tcp -j DROP; }
right_load_the_chain_again() {
  iptables -t raw -F PREROUTING
  security/policy.sh up
}

# Table filter is asked later.
wrong_accept_in_forward() { iptables -I FORWARD 1 -s "$ADDRESS" -d "$PEER_ADDRESS" -j ACCEPT; }
wrong_restart_the_cache() { supervised restart "$PEER_NODE"; }
