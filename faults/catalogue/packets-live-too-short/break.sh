# shellcheck shell=bash disable=SC2154 # variables of targets.py
in_namespace "$NAMESPACE" sysctl -qw net.ipv4.ip_default_ttl=1
