# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_table() { in_namespace "$NAMESPACE" nft delete table ip guard; }
right_compare_with_the_table() { scripts/network.sh up; }

# One instance of several; and the name is wrong once it moves.
wrong_hard_code_the_name() { hard_code product-service.lab "$PEER_ADDRESS"; }
# An accept in one base chain does not end the others.
wrong_allow_names_in_iptables() { in_namespace "$NAMESPACE" iptables -I OUTPUT 1 -p udp --dport 53 -j ACCEPT; }
# All that the policy closes is open then, and the cause is still there.
wrong_flush_policy() { flush_policy; }
