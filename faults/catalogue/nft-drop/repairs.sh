# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_table() { nft delete table inet host_guard; }
right_flush_the_chain() { nft flush chain inet host_guard forward; }

# An ACCEPT ends the chain FORWARD of iptables, and no other base chain.
wrong_accept_in_forward() { iptables -I FORWARD 1 -s "$ADDRESS" -d "$PEER_ADDRESS" -j ACCEPT; }
# The lab's hook is gone then, the table of nft is not.
wrong_flush_iptables() { iptables -F FORWARD; }
