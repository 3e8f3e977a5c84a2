# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_timeout() { sysctl -qw net.netfilter.nf_conntrack_udp_timeout=30; }
right_set_a_longer_timeout() { sysctl -qw net.netfilter.nf_conntrack_udp_timeout=60; }

# This one is for connections that have already been answered.
wrong_set_the_timeout_of_streams() { sysctl -qw net.netfilter.nf_conntrack_udp_timeout_stream=600; }
wrong_write_the_name_into_hosts() { hard_code "$PEER_PROGRAM.lab" "$PEER_ADDRESS"; }
