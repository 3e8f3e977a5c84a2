# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -I FORWARD 1 -s "$ADDRESS" -d "$PEER_ADDRESS" -j DROP
