# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() { iptables -t nat -D OUTPUT -p tcp --dport "$PUBLISHED" -j REDIRECT --to-ports 3128; }
right_load_the_chain_again() {
  iptables -t nat -F OUTPUT
  scripts/nat.sh up
}

# No program listens there.
wrong_accept_the_port_of_the_proxy() { iptables -I INPUT 1 -p tcp --dport 3128 -j ACCEPT; }
wrong_restart_the_load_balancer() { supervised restart "$NODE"; }
