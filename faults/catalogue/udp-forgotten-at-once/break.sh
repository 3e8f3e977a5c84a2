# shellcheck shell=bash disable=SC2154 # variables of targets.py
sysctl -qw net.netfilter.nf_conntrack_udp_timeout=0
