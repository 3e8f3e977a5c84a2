# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_qdisc() { tc -n "$NAMESPACE" qdisc del dev "$INTERFACE" root; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_give_the_port_a_longer_queue() { tc qdisc add dev "$PORT" root pfifo limit 5000; }
wrong_allow_larger_bursts() {
  tc -n "$NAMESPACE" qdisc change dev "$INTERFACE" root tbf rate 32kbit burst 3000 latency 2s
}
