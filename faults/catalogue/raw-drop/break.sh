# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t raw -I PREROUTING 1 -s "$ADDRESS" -d "$PEER_ADDRESS" -p tcp -j DROP
