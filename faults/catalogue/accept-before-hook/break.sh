# shellcheck shell=bash disable=SC2154 # variables of targets.py
iptables -t security -I FORWARD 1 -s "$PEER_ADDRESS" -d "$ADDRESS" -j ACCEPT
