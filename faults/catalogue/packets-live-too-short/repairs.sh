# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_set_the_ttl() { in_namespace "$NAMESPACE" sysctl -qw net.ipv4.ip_default_ttl=64; }
right_set_a_longer_ttl() { in_namespace "$NAMESPACE" sysctl -qw net.ipv4.ip_default_ttl=128; }

wrong_set_the_default_route_again() { ip -n "$NAMESPACE" route replace default via "$GATEWAY"; }
wrong_lower_the_mtu() { ip -n "$NAMESPACE" link set "$INTERFACE" mtu 1400; }
