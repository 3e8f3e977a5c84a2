# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() { iptables -t security -D FORWARD -s "$PEER_ADDRESS" -d "$ADDRESS" -j ACCEPT; }
right_put_the_hooks_first_again() { security/policy.sh up; }

# The packet does not come here.
wrong_drop_in_the_chain_of_the_node() { iptables -t security -I "CNET-TO-$ADDRESS" 1 -s "$PEER_ADDRESS" -j DROP; }
# What the policy allows is closed too.
wrong_drop_all_of_the_caller() { iptables -I FORWARD 1 -s "$PEER_ADDRESS" -j DROP; }
