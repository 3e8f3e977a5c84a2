# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() { in_namespace "$NAMESPACE" iptables -D INPUT -p tcp --dport "$LISTENS" -j DROP; }
right_compare_with_the_table() { scripts/network.sh up; }

# The host let it pass already.
wrong_accept_on_the_host() { iptables -I FORWARD 1 -d "$ADDRESS" -j ACCEPT; }
wrong_restart_the_program() { supervised restart "$NODE"; }
