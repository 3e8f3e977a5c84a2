# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_rule() {
  iptables -D FORWARD -d "$ADDRESS" -p tcp --syn -m statistic --mode nth --every 3 --packet 0 -j DROP
}
right_load_the_chain_again() {
  iptables -F FORWARD
  scripts/nat.sh up
}

# Rarer is not repaired.
wrong_drop_fewer() {
  iptables -R FORWARD 1 -d "$ADDRESS" -p tcp --syn -m statistic --mode nth --every 5 --packet 0 -j DROP
}
# A setting of the host, and no cure.
wrong_try_again_faster() { sysctl -qw net.ipv4.tcp_syn_retries=10; }
