# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_replace_the_default_route() { ip -n "$NAMESPACE" route replace default via "$GATEWAY"; }
right_compare_with_the_table() { scripts/network.sh up; }

# The frame then leaves, for a MAC that the bridge has no entry for.
wrong_set_the_mac_of_the_hop() { ip -n "$NAMESPACE" neigh replace "$FREE_ADDRESS" lladdr "$FREE_MAC" dev "$INTERFACE"; }
# A second route with a higher metric is never used.
wrong_add_a_second_route() { ip -n "$NAMESPACE" route add default via "$GATEWAY" metric 100; }
wrong_flush_the_policy() { flush_policy; }
