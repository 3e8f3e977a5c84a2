# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_add_the_default_route() { ip -n "$NAMESPACE" route add default via "$GATEWAY"; }
right_compare_with_the_table() { scripts/network.sh up; }

# The one address that was tried is reached then; all others are not.
wrong_add_a_route_to_one_address() { ip -n "$NAMESPACE" route add "$UPLINK_GATEWAY" via "$GATEWAY"; }
# Nothing has this address, so nothing answers its ARP request.
wrong_take_another_gateway() { ip -n "$NAMESPACE" route add default via "$FREE_ADDRESS"; }
wrong_flush_the_policy() { flush_policy; }
