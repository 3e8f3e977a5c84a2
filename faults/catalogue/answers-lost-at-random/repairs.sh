# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() {
  iptables -t mangle -D POSTROUTING -s "$ADDRESS" -p tcp --sport "$LISTENS" \
    -m statistic --mode random --probability 0.5 -j DROP
}
right_load_the_chain_again() {
  iptables -t mangle -F POSTROUTING
  scripts/nat.sh up
}

# POSTROUTING of table mangle comes after it.
wrong_accept_answers_in_filter() { iptables -I FORWARD 1 -s "$ADDRESS" -j ACCEPT; }
wrong_restart_the_program() { supervised restart "$NODE"; }
