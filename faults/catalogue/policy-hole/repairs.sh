# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() { iptables -t security -D "CNET-TO-$ADDRESS" -s "$PEER_ADDRESS" -j ACCEPT; }
right_load_the_policy_again() { security/policy.sh up; }

# The first rule that matches decides.
wrong_drop_at_the_end() { iptables -t security -A "CNET-TO-$ADDRESS" -s "$PEER_ADDRESS" -j DROP; }
# Those who may use it are shut out too.
wrong_drop_everybody_first() { iptables -t security -I "CNET-TO-$ADDRESS" 1 -j DROP; }
