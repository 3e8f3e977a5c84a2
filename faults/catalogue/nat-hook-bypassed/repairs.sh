# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() { iptables -t nat -D PREROUTING -p tcp --dport "$PUBLISHED" -j ACCEPT; }
right_put_the_hook_first_again() { scripts/nat.sh up; }

# Nothing dropped the connection there; no program listens.
wrong_accept_the_port_in_input() { iptables -I INPUT 1 -p tcp --dport "$PUBLISHED" -j ACCEPT; }
wrong_accept_the_port_in_forward() { iptables -I FORWARD 1 -p tcp --dport "$PUBLISHED" -j ACCEPT; }
