# shellcheck shell=bash disable=SC2154 # variables of targets.py
in_namespace "$NAMESPACE" sysctl -qw net.ipv4.icmp_echo_ignore_all=1
