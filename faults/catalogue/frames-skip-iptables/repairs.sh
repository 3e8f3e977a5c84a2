# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_pass_frames_to_iptables() { ip link set "$BRIDGE" type bridge nf_call_iptables 1; }
right_load_the_policy() { security/policy.sh up; }

# A rule more in tables that no frame meets.
wrong_drop_in_forward() { iptables -I FORWARD -s "$NETWORK" -d "$NETWORK" -j DROP; }
wrong_set_the_policy_of_forward() { iptables -P FORWARD DROP; }
