# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_answer_pings() { in_namespace "$NAMESPACE" sysctl -qw net.ipv4.icmp_echo_ignore_all=0; }
right_write_the_file_of_proc() { in_namespace "$NAMESPACE" sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_all'; }

wrong_accept_ping_in_forward() { iptables -I FORWARD -p icmp -j ACCEPT; }
wrong_restart_the_program() { supervised restart "$NODE"; }
