# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() {
  iptables -t nat -D OUTPUT -p tcp --dport "$PUBLISHED" \
    -m statistic --mode nth --every 3 --packet 0 -j REDIRECT --to-ports 9
}
right_load_the_chain_again() {
  iptables -t nat -F OUTPUT
  scripts/nat.sh up
}

wrong_restart_the_load_balancer() { supervised restart "$NODE"; }
# No program listens there.
wrong_accept_the_port_in_input() { iptables -I INPUT 1 -p tcp --dport 9 -j ACCEPT; }
