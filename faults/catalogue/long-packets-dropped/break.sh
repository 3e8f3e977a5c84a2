# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t mangle -I PREROUTING 1 -s "$ADDRESS" -p tcp -m length --length 1000:65535 -j DROP
