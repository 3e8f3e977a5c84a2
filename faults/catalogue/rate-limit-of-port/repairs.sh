# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_delete_the_qdisc() { tc qdisc del dev "$PORT" root; }
right_compare_with_the_table() { scripts/network.sh up; }

wrong_allow_twice_the_rate() { tc qdisc change dev "$PORT" root tbf rate 64kbit burst 1600 latency 2s; }
wrong_shorten_the_queue() { tc qdisc change dev "$PORT" root tbf rate 32kbit burst 1600 latency 50ms; } # late or lost
