# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_route() { ip -n "$NAMESPACE" route del blackhole "$PEER_ADDRESS"; }
right_compare_with_the_table() { scripts/network.sh up; }

# The blackhole has the metric 0, and the lower one wins.
wrong_add_another_route() { ip -n "$NAMESPACE" route add "$PEER_ADDRESS" via "$GATEWAY" metric 100; }
wrong_write_the_address_into_hosts() { hard_code "$PEER_NODE" "$PEER_ADDRESS"; }
wrong_flush_the_policy() { flush_policy; }
