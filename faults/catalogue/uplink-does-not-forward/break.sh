# shellcheck shell=bash disable=SC2154 # variables of targets.py
sysctl -qw "net.ipv4.conf.$UPLINK.forwarding=0"
