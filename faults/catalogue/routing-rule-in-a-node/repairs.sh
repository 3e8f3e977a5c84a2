# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule_and_its_table() {
  ip -n "$NAMESPACE" rule del priority 100
  ip -n "$NAMESPACE" route flush table 100
}
right_compare_with_the_table() { scripts/network.sh up; }

# Table main is looked into after the rule with priority 100.
wrong_add_a_route_to_table_main() { ip -n "$NAMESPACE" route add "$PEER_ADDRESS" via "$GATEWAY"; }
wrong_add_a_rule_behind_it() { ip -n "$NAMESPACE" rule add priority 200 to "$PEER_ADDRESS" lookup main; }
